// How agents stand against the objective: availability, what is left of the error budget, how fast it burns.

import { fill, h, name, s } from './dom.js';
import { get } from './api.js';
import { empty, failed } from './dialog.js';
import { count, number, percent } from './format.js';
import { RISK, state } from './state.js';
import { now, time } from './time.js';
import { spark } from './strip.js';

// Reports are repeated at least so often, so that the last of each agent is in here.
const RECENT = 660000, MOST = 10000, SHOWN = 200;
const ORDER = { breached: 0, high: 1, medium: 2, low: 3 };
const DAYS = 30;

export async function open(main, query, frame) {
  const view = new ObjectivesView(main, query, frame);
  await view.load();
  return view;
}

class ObjectivesView {
  constructor(main, query, frame) {
    Object.assign(this, { main, frame, reports: new Map(), search: query.q ?? '', chosen: query.id ?? '', limit: SHOWN });
    this.keys = { Escape: () => this.choose('') };
    this.title = h('h1', { 'aria-live': 'polite' });
    this.body = h('tbody');
    this.count = h('div', { class: 'ends' });
    this.detail = h('div');
    const search = h('input', { type: 'search', id: 'q', placeholder: 'Agent', autocomplete: 'off', spellcheck: 'false' });
    search.value = this.search;
    search.addEventListener('input', () => { this.search = search.value.trim().toLowerCase(); this.frame.setQuery({ q: this.search }); this.draw(); });
    this.table = h('table', { class: 'cardy three' }, h('caption', { class: 'vh', text: 'Objectives, worst first' }), h('thead', null, h('tr', null, [['Agent'], ['Risk'], ['Target', 'n'], ['Available', 'n'], ['Budget left', 'n'], ['Burn 1 h', 'n'], ['6 h', 'n'], ['3 d', 'n']].map(([text, className]) => h('th', { scope: 'col', class: className, text })))), this.body);
    this.card = h('div', { class: 'card wide' }, this.table, this.count);
    fill(main, h('div', { class: 'head' }, h('div', null, this.title)), h('div', { class: 'filters', role: 'search', 'aria-label': 'Objectives' }, h('div', { class: 'search' }, h('label', { class: 'vh', for: 'q', text: 'Search agents' }), search, h('kbd', { 'aria-hidden': 'true', text: '/' }))), h('div', { class: 'stack' }, this.detail, this.card));
  }

  async load() {
    try {
      const end = now();
      const answer = await get('verdicts', { kind: 'sla', start: new Date(end - RECENT).toISOString(), end: new Date(end + 1000).toISOString(), limit: MOST });
      for (const verdict of answer.verdicts) if (!(this.reports.get(verdict.agent_id)?.time >= verdict.time)) this.reports.set(verdict.agent_id, verdict);
      this.draw();
      if (this.chosen) this.choose(this.chosen);
    } catch (error) {
      if (error.status === 401) throw error;
      fill(this.card, failed('The objectives', error, () => this.load()));
    }
  }

  draw() {
    const list = [...this.reports.values()].filter((one) => !this.search || one.agent_id.toLowerCase().includes(this.search));
    list.sort((a, b) => (ORDER[a.body.risk] ?? 9) - (ORDER[b.body.risk] ?? 9) || a.body.budget_left - b.body.budget_left || (a.agent_id < b.agent_id ? -1 : 1));
    const missed = [...this.reports.values()].filter((one) => one.body.risk === 'breached').length;
    const text = missed ? `${count(missed)} of ${count(this.reports.size)} agents miss their objective` : this.reports.size ? `All ${count(this.reports.size)} agents meet their objective` : 'No report yet';
    if (this.title.textContent !== text) this.title.textContent = text;
    this.frame.title(`Objectives: ${text}`);
    const focused = document.activeElement?.closest?.('tr')?.dataset.id;
    fill(this.body, list.slice(0, this.limit).map((one) => this.row(one)));
    fill(this.count, !list.length && empty('No report yet.', 'One comes within ten seconds of an agent\u2019s first evidence of life.'), list.length > this.limit && h('button', { type: 'button', class: 'btn', onclick: () => { this.limit += SHOWN; this.draw(); }, text: `Show more of ${count(list.length)}` }));
    if (focused) this.body.querySelector(`tr[data-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  }

  row({ agent_id, body }) {
    const risk = RISK[body.risk] ?? 'unknown';
    const cell = (head, ...content) => h('td', { class: 'n', 'data-h': head }, content);
    const left = Math.max(0, Math.min(1, body.budget_left));
    const open = (event) => { event.preventDefault(); event.stopPropagation(); this.choose(agent_id); };
    return h('tr', { 'data-row': true, 'data-id': agent_id },
      h('th', { scope: 'row', class: 'full' }, name(agent_id, { href: `objectives?id=${encodeURIComponent(agent_id)}`, 'data-open': true, onclick: open })),
      h('td', { 'data-h': 'Risk' }, state(risk, body.risk)), cell('Target', percent(body.target)), cell('Available', percent(body.availability)),
      cell('Budget left', h('div', { class: 'gauge' }, s('svg', { class: 'meter', 'aria-hidden': 'true' }, s('rect', { class: 'bg', width: '100%', height: 6 }), s('rect', { class: `fill ${risk}`, width: `${left * 100}%`, height: 6 })), h('span', { text: `${number(body.budget_left * 100)} %` }))),
      [0, 1, 2].map((at) => cell(['Burn 1 h', '6 h', '3 d'][at], number(body.burn?.[at]))));
  }

  // The budget of one agent over time.
  async choose(id) {
    this.chosen = id;
    this.frame.setQuery({ id });
    if (!id) { fill(this.detail); return; }
    try {
      const end = now();
      const answer = await get('verdicts', { agent: id, kind: 'sla', start: new Date(end - DAYS * 864e5).toISOString(), end: new Date(end + 1000).toISOString(), limit: MOST });
      if (this.chosen !== id) return;
      const all = answer.verdicts.slice().reverse();
      const every = Math.max(1, Math.ceil(all.length / 400));
      const points = all.filter((_, at) => at % every === 0 || at === all.length - 1).map((one) => [Date.parse(one.time), one.body.budget_left * 100]);
      const least = Math.min(0, ...points.map(([, left]) => left));
      const picture = spark(points, RISK[all.at(-1)?.body.risk] ?? 'unknown', `Error budget left of ${id}, in percent: now ${number(points.at(-1)?.[1])}, least ${number(Math.min(...points.map(([, left]) => left)))}`, { least, most: 100, limit: 0 });
      picture.classList.add('wide-spark');
      fill(this.detail, h('section', { class: 'card', 'aria-labelledby': 'bo' }, h('header', null, h('h2', { id: 'bo' }, 'Error budget of ', name(id, { href: `agent?id=${encodeURIComponent(id)}` })), h('button', { type: 'button', class: 'btn bare', onclick: () => this.choose(''), text: 'Close' })),
        points.length ? h('div', { class: 'pad' }, picture, h('p', { class: 'ends2' }, h('span', null, time(points[0][0])), h('span', { text: 'now' }))) : empty('No report within 30 days.'),
        h('details', { class: 'data' }, h('summary', { text: 'Data as a table' }), h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Error budget, data' }, h('table', null, h('thead', null, h('tr', null, ['Time', 'Budget left', 'Available', 'Risk'].map((text) => h('th', { scope: 'col', text })))), h('tbody', null, all.slice(-300).reverse().map((one) => h('tr', null, h('td', null, time(one.time)), h('td', { text: `${number(one.body.budget_left * 100)} %` }), h('td', { text: percent(one.body.availability) }), h('td', { text: one.body.risk })))))))));
    } catch (error) {
      fill(this.detail, h('section', { class: 'card' }, failed('The budget', error, () => this.choose(id))));
    }
  }

  hear(kind, data) {
    if (kind === 'reload') this.load();
    if (kind !== 'sla') return;
    this.reports.set(data.agent_id, data);
    this.drawing ??= setTimeout(() => { this.drawing = undefined; this.draw(); }, 1000);
  }

  close() {
    clearTimeout(this.drawing);
  }
}
