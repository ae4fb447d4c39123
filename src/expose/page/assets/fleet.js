// Every agent, worst first. Live changes happen in place; the order changes when the reader says so.

import { all, fill, h, name, say } from './dom.js';
import { lane } from './api.js';
import { healthOf, intervalsOf } from './known.js';
import { Fleet, grouped, isFresh } from './fleet-data.js';
import { DASH, count, percent } from './format.js';
import { List } from './list.js';
import { STATES, state } from './state.js';
import { described, spark, strip, tally } from './strip.js';
import { ago, local, now, span, timeBoth } from './time.js';
import { empty } from './dialog.js';

const DAY = 864e5;
const KEEP_STRIPS = 120000, PAINT = 250, REFRESH = 10000, LARGE = 2000, SCORES = 60, UNTOUCHED = 30000, ANNOUNCE = 10000;

export async function open(main, query, frame) {
  const fleet = new Fleet();
  await fleet.load();
  return new FleetView(main, query, frame, fleet);
}

class FleetView {
  constructor(main, query, frame, fleet) {
    Object.assign(this, { frame, fleet, strips: new Map(), dirty: new Set(), folds: new Map(), touched: 0, announced: 0, ask: lane(1), each: lane(4), asOf: now() });
    this.filters = { search: query.q ?? '', state: STATES.includes(query.state) ? query.state : '', environment: query.environment ?? '', location: query.location ?? '' };
    this.group = ['state', 'environment', 'location'].includes(query.group) ? query.group : '';
    this.keys = { '.': () => this.sort(), '/': () => this.search.focus(), Escape: () => this.clear() };
    this.build(main);
    this.sort();
    this.announce(true);
    this.refresher = setInterval(() => this.refresh(), REFRESH);
  }

  build(main) {
    this.title = h('h1');
    this.spoken = h('p', { class: 'vh', role: 'status' });
    this.judged = h('p');
    this.search = h('input', { type: 'search', id: 'q', placeholder: 'Name, place or reason', autocomplete: 'off', spellcheck: 'false' });
    this.search.value = this.filters.search;
    this.search.addEventListener('input', () => this.filter({ search: this.search.value.trim() }));
    const choice = (id, label, values, value, change) => {
      const select = h('select', { id }, values.map(([key, text]) => h('option', { value: key, text })));
      select.value = value;
      select.addEventListener('change', () => change(select.value));
      return h('label', { for: id }, h('span', { text: label }), ' ', select);
    };
    const known = (key) => [['', 'all'], ...this.fleet.values(key).map((value) => [value, value])];
    this.states = h('div', { class: 'seg states', role: 'group', 'aria-label': 'Show only' });
    this.moved = h('span', { class: 'mv', role: 'status' });
    const again = h('button', { type: 'button', class: 'btn', onclick: () => this.sort() }, 'Sort again ', h('kbd', { text: '.' }));
    this.again = h('span', { class: 'moved', hidden: true }, this.moved, again);
    this.body = h('tbody', { role: 'rowgroup' });
    const head = (text, className, more) => h('th', { role: 'columnheader', scope: 'col', class: className, ...more }, text);
    this.table = h('table', { class: 'fleet', role: 'table', 'aria-label': 'Agents, worst first' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row', 'aria-rowindex': 1 },
        head('State, for', 'c-st', { 'aria-sort': 'descending' }), head('Agent', 'c-nm'), head('Why', 'c-why'), head('Score, 24 h', 'c-sc'), head('Availability, 24 h', 'c-av'),
        head(['Heard ', h('span', { class: 'vh', text: 'ago' })], 'c-ls n'))), this.body);
    this.nothing = h('div', { hidden: true });
    this.card = h('div', { class: 'card' }, this.table, this.nothing);
    fill(main,
      h('div', { class: 'head' }, h('div', null, this.title, this.spoken, this.judged)),
      h('div', { class: 'filters', role: 'search', 'aria-label': 'Agents' },
        h('div', { class: 'search' }, h('label', { class: 'vh', for: 'q', text: 'Search agents' }), this.search, h('kbd', { 'aria-hidden': 'true', text: '/' })),
        choice('env', 'Environment', known('environment'), this.filters.environment, (environment) => this.filter({ environment })),
        choice('loc', 'Location', known('location'), this.filters.location, (location) => this.filter({ location })),
        choice('grp', 'Group by', [['', 'nothing'], ['state', 'state'], ['environment', 'environment'], ['location', 'location']], this.group, (group) => { this.group = group; this.filter({}); }),
        this.again),
      h('div', { class: 'filters' }, this.states), this.card);
    this.narrow = matchMedia('(max-width: 45rem)');
    this.list = new List(this.body, { columns: 6, key: (item) => (item.group === undefined ? `a:${item.id}` : `g:${item.group}`), row: (item) => this.row(item), heights: () => this.heights() });
    this.list.seen = () => this.wantStrips();
    this.body.addEventListener('pointerenter', () => { this.hover = true; this.touched = now(); });
    this.body.addEventListener('pointerleave', () => { this.hover = false; this.touched = now(); });
    this.onNarrow = () => this.list.resized();
    this.narrow.addEventListener('change', this.onNarrow);
  }

  // As in the style sheet: one line, or three where there is little room.
  heights() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const [agent, group] = [rem * (this.narrow.matches ? 5.75 : 2), rem * 2];
    return (item) => (item.group === undefined ? agent : group);
  }

  close() {
    this.list.close();
    this.narrow.removeEventListener('change', this.onNarrow);
    clearInterval(this.refresher);
    clearTimeout(this.painting);
  }

  filter(changes) {
    Object.assign(this.filters, changes);
    const { search, state: only, environment, location } = this.filters;
    this.frame.setQuery({ q: search, state: only, environment, location, group: this.group });
    this.sort();
  }

  clear() {
    this.search.value = '';
    for (const id of ['env', 'loc']) this.card.parentNode.querySelector(`#${id}`).value = '';
    this.filter({ search: '', state: '', environment: '', location: '' });
  }

  sort() {
    this.order = this.fleet.sorted(this.filters);
    const items = this.group ? grouped(this.order, this.group, (group, at) => this.folds.get(group) ?? at === 0) : this.order;
    this.table.setAttribute('aria-rowcount', items.length + 1);
    this.list.set(items);
    this.again.hidden = true;
    this.head();
    this.stand();
  }

  // What stands in for an empty list.
  stand() {
    const nobody = !this.fleet.agents.size;
    this.nothing.hidden = this.order.length > 0;
    this.table.hidden = !this.order.length;
    if (this.order.length) return;
    if (nobody) {
      fill(this.nothing, empty('Nothing has been heard yet.', 'Point a Collector here; its host appears within a minute, without a reload.'),
        h('pre', { class: 'pre', tabindex: 0, role: 'region', 'aria-label': 'Collector configuration', text: `exporters:\n  otlp:\n    endpoint: ${location.hostname}:4317\n    tls: {insecure: true}` }));
    } else {
      const button = h('button', { type: 'button', class: 'btn', onclick: () => this.clear() }, 'Clear filters ', h('kbd', { text: 'Esc' }));
      fill(this.nothing, empty(this.filters.search ? `No agent matches \u201c${this.filters.search}\u201d.` : 'No agent is so.', `There are ${count(this.fleet.agents.size)} in all.`), h('p', { class: 'pad acts' }, button));
    }
  }

  head() {
    const counts = this.fleet.counts();
    const button = (key, icon, number, word) => {
      const pressed = String(this.filters.state === key);
      return h('button', { type: 'button', 'aria-pressed': pressed, 'data-state': key, onclick: () => this.filter({ state: key }) }, icon, h('b', { text: count(number) }), ` ${word}`);
    };
    const known = all('button', this.states);
    if (known.length) {
      known.forEach((one) => {
        say(one.querySelector('b'), count(one.dataset.state ? counts[one.dataset.state] : this.fleet.agents.size));
        one.setAttribute('aria-pressed', String(this.filters.state === one.dataset.state));
      });
    } else {
      fill(this.states, button('', null, this.fleet.agents.size, 'all'), STATES.map((one) => button(one, h('i', { class: `s ${one}`, 'aria-hidden': 'true' }), counts[one], one)));
    }
    const bad = ['critical', 'offline', 'degraded'].filter((one) => counts[one]);
    const words = bad.map((one) => `${count(counts[one])} ${one}`);
    const total = count(this.fleet.agents.size);
    this.sentence = words.length ? `${words.join(', ')} of ${total} agents` : this.fleet.agents.size ? `All ${total} agents are well` : 'No agent yet';
    this.frame.title(`${counts.critical ? `(${count(counts.critical)}) ` : ''}Fleet: ${words.length ? `${words.join(', ')} of ${total}` : this.sentence}`);
    this.heading = words.length ? [bad.map((one, at) => [at ? ', ' : '', h('span', { class: `st ${one}` }, h('b', { text: words[at] }))]), ` of ${total} agents`] : [this.sentence];
    fill(this.title, this.heading);
  }

  // The sentence is read out at most every ten seconds.
  announce(force) {
    if (!force && (now() - this.announced < ANNOUNCE || this.told === this.sentence)) return;
    this.announced = now();
    this.told = this.sentence;
    say(this.spoken, this.sentence);
    fill(this.judged, 'Judged up to ', timeBoth(now()), '.');
  }

  row(item) {
    if (item.group !== undefined) return this.groupRow(item);
    const fresh = isFresh(item);
    const since = fresh ? `was ${item.was} ${span(now() - item.changed)} ago` : item.since ? span(now() - item.since) : '';
    const tr = h('tr', { role: 'row', 'data-row': true, 'data-id': item.id, 'data-state': item.state, class: fresh ? `new ${item.state}` : this.fleet.matches(item, this.filters) ? '' : 'dim' });
    const cell = (className, ...content) => h('td', { role: 'cell', class: className }, content);
    const where = [item.environment, item.location].filter(Boolean).join(' ');
    const row = this.strips.get(item.id);
    const [why, more] = this.why(item);
    tr.append(
      cell('c-st', state(item.state), h('span', { class: 'more', text: since })),
      h('th', { role: 'rowheader', scope: 'row', class: 'c-nm' }, h('div', { class: 'who' }, name(item.id, { href: `agent?id=${encodeURIComponent(item.id)}`, 'data-open': true }), h('span', { class: 'q', title: where, text: where }))),
      cell('c-why', h('span', { text: why, title: item.reasons.join('\n') || undefined }), more ? h('span', { class: 'more', text: `+${more}` }) : ''),
      cell('c-sc', h('div', { class: 'duo' }, h('b', { text: Number.isFinite(item.score) ? Math.round(item.score) : DASH }), row?.spark?.cloneNode(true))),
      cell('c-av', h('div', { class: 'duo' }, row?.strip?.cloneNode(true) ?? h('span', { class: 'strip' }), h('span', { class: 'pc', text: row ? percent(row.available) : '' }))),
      cell('c-ls n', h('span', { class: 'heard', text: item.heard ? ago(item.heard) : DASH }), h('span', { class: 'ago', text: ' ago' })));
    return tr;
  }

  why(item) {
    if (item.reasons.length) return [item.reasons[0].replace(/-(?=\d)/g, '\u2212'), item.reasons.length - 1];
    if (item.state === 'offline' && item.heard) return [`silent since ${local(item.heard)}`, 0];
    if (item.state === 'late') return ['overdue', 0];
    if (item.state === 'unknown') return ['not enough is known', 0];
    return ['', 0];
  }

  groupRow(item) {
    const toggle = () => { this.folds.set(item.group, !item.open); this.sort(); };
    const button = h('button', { type: 'button', class: 'fold', 'aria-expanded': String(item.open), onclick: toggle }, this.group === 'state' ? state(item.group) : item.group);
    return h('tr', { role: 'row', class: 'grp' }, h('th', { role: 'rowheader', scope: 'rowgroup', colspan: 6 }, button, h('span', { text: `${count(item.agents)} agents, ${count(item.sick)} not healthy` })));
  }

  // Strips and sparklines of the rows on screen, a little after they came there.
  wantStrips() {
    clearTimeout(this.wanting);
    this.wanting = setTimeout(() => {
      const old = now() - KEEP_STRIPS;
      const wanted = this.list.visible.filter((item) => item.group === undefined && !(this.strips.get(item.id)?.at > old && this.strips.get(item.id).of === item.state));
      if (wanted.length) this.ask(() => this.readStrips(wanted)).catch(() => {});
    }, 120);
  }

  async readStrips(agents) {
    const shown = new Set(this.list.visible);
    const wanted = agents.filter((agent) => shown.has(agent)).slice(0, 100);
    if (!wanted.length) return;
    await Promise.all(wanted.map((agent) => this.each(() => this.readStrip(agent))));
    // Many are kept, not all that ever were on screen.
    while (this.strips.size > 2000) this.strips.delete(this.strips.keys().next().value);
  }

  async readStrip(agent) {
    const end = now(), start = end - DAY;
    const [intervals, verdicts] = await Promise.all([intervalsOf(agent.id, start), healthOf(agent.id, SCORES, start)]);
    const sums = tally(intervals, start, end);
    const scores = verdicts.map((one) => [Date.parse(one.time), one.body.score]).reverse();
    const last = intervals.at(-1);
    agent.since = last && !last.end && last.state !== 'up' ? last.start : undefined;
    if (verdicts.length) this.fleet.explain(agent, verdicts[0].body.reasons ?? []);
    this.strips.set(agent.id, {
      at: end, of: agent.state, available: sums.available, strip: strip(intervals, start, end, described(sums)),
      spark: scores.length ? spark(scores, agent.state, `Score of 24 h: least ${Math.round(Math.min(...scores.map(([, score]) => score)))}, now ${Math.round(agent.score)}`) : undefined,
    });
    this.list.patch(agent);
  }

  // When agents were heard is in the list only; a large one is read less often.
  async refresh() {
    if (document.hidden || (this.fleet.agents.size > LARGE && now() - this.asOf < 6 * REFRESH)) return;
    this.asOf = now();
    try {
      await this.fleet.load();
    } catch { return; }
    for (const item of this.list.visible) if (item.group === undefined) this.dirty.add(item);
    this.paintSoon();
  }

  hear(kind, data) {
    if (kind === 'reload') this.reload();
    if (kind !== 'liveness') return;
    const heard = this.fleet.hear(data);
    if (!heard) return;
    if (heard.isNew || heard.gone) this.restless = true; else this.dirty.add(heard.agent);
    this.paintSoon();
  }

  async reload() {
    try { await this.fleet.load(); } catch { return; }
    this.sort();
    this.announce();
  }

  paintSoon() {
    this.painting ??= setTimeout(() => requestAnimationFrame(() => { this.painting = undefined; this.paint(); }), PAINT);
  }

  paint() {
    for (const agent of this.dirty) this.list.patch(agent);
    this.dirty.clear();
    this.head();
    this.announce();
    // Nothing moves under the hand; what nobody touches sorts by itself.
    if (!this.held()) { this.sort(); return; }
    const moves = this.moves();
    this.again.hidden = !moves;
    say(this.moved, `${count(moves)} ${moves === 1 ? 'row' : 'rows'} would move`);
  }

  held() {
    if (!this.order.length) return false;
    return this.hover || this.body.contains(document.activeElement) || scrollY > 40 || now() - this.touched < UNTOUCHED;
  }

  moves() {
    const order = this.fleet.sorted(this.filters);
    let moved = Math.abs(order.length - this.order.length);
    for (let at = 0; at < Math.min(order.length, this.order.length); at += 1) if (order[at] !== this.order[at]) moved += 1;
    return moved;
  }

  tick() {
    for (const [key, tr] of this.list.rows) {
      const agent = key.startsWith('a:') && this.fleet.agents.get(key.slice(2));
      if (!agent) continue;
      if (document.body.classList.contains('not-live')) continue;
      say(tr.querySelector('.heard'), agent.heard ? ago(agent.heard) : DASH);
      const more = tr.querySelector('.c-st .more');
      if (isFresh(agent)) say(more, `was ${agent.was} ${span(now() - agent.changed)} ago`);
      else if (tr.classList.contains('new')) this.list.patch(agent);
      else if (agent.since) say(more, span(now() - agent.since));
    }
  }
}
