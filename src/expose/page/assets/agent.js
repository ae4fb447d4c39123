// One agent: why it is as it is, what it was, what was measured, who judged.

import { fill, h, plain, s, say } from './dom.js';
import { get } from './api.js';
import * as live from './live.js';
import { acknowledge, callOff, maintain, retire } from './actions.js';
import { agentOf, intervalsOf } from './known.js';
import { empty, failed } from './dialog.js';
import { DASH, many, number, percent, value } from './format.js';
import { ago, local, now, range, span, time, timeBoth } from './time.js';
import { RISK, severity, state, stateOf } from './state.js';
import { tally } from './strip.js';
import { timeline } from './timeline.js';
import { Charts } from './measurements.js';

const RANGES = ['15m', '1h', '6h', '12h', '24h', '7d', '30d'];
const DEFAULT = '1h', MOST_VERDICTS = 200;

// A window that is planned or under way, with what can be done to it.
const windowLine = (one) => h('li', null, one.state === 'active' ? 'Maintenance now: ' : 'Maintenance planned: ', timeBoth(one.start_time), ' to ', timeBoth(one.end_time), ' by ', plain(one.by), one.reason && [': ', plain(one.reason)],
  one.agents.length > 1 || one.agents[0].includes('*') ? [' (', plain(one.agents.join(', ')), ')'] : '', ' ', h('button', { type: 'button', class: 'btn', text: 'Change\u2026', onclick: () => maintain(one.agents, 0, one) }), ' ', h('button', { type: 'button', class: 'btn', text: 'Call off\u2026', onclick: () => callOff(one) }));

export async function open(main, query, frame) {
  const view = new AgentView(main, query, frame);
  await view.load();
  return view;
}

class AgentView {
  constructor(main, query, frame) {
    Object.assign(this, { main, frame, id: query.id ?? '', ranges: RANGES.includes(query.range) ? query.range : DEFAULT, compare: query.compare ?? '' });
    const [from, to] = [Number(query.from), Number(query.to)];
    this.fixed = from && to > from ? { start: from, end: to } : undefined;
    this.keys = {
      a: () => this.act(), '[': () => this.shift(-1), ']': () => this.shift(1),
      c: () => this.comparer?.focus(), Escape: () => this.zoom(),
    };
  }

  get span() {
    if (this.fixed) return this.fixed;
    const end = now();
    return { start: end - range(this.ranges), end };
  }

  async load() {
    try {
      this.agent = await agentOf(this.id);
    } catch (error) {
      if (![403, 404, 422].includes(error.status)) throw error;
      this.frame.title('No such agent');
      fill(this.main, h('section', { class: 'card' }, empty('', 'There is no agent ', plain(this.id), '. It may have been retired, or your token may not name it.'),
        h('p', { class: 'pad acts' }, h('a', { class: 'btn', href: './' }, 'To the fleet ', h('kbd', { text: 'g' }), ' ', h('kbd', { text: 'f' })))));
      return;
    }
    this.build();
    await Promise.all([this.readTimeline(), this.readVerdicts(), this.charts.load()]);
  }

  build() {
    const part = (id, title, ...content) => h('section', { class: 'card', 'aria-labelledby': id }, h('header', null, h('h2', { id, text: title })), content);
    this.top = h('div', { class: 'head' });
    this.why = h('section', { class: 'card', 'aria-labelledby': 'why' });
    this.says = h('div', { class: 'pad' });
    this.objective = h('div', { class: 'pad' });
    this.line = h('div');
    this.alerts = h('div');
    this.verdicts = h('div');
    this.charts = new Charts(this);
    fill(this.main,
      h('nav', { class: 'crumb', 'aria-label': 'Path' }, h('a', { href: './', text: 'Fleet' }), this.agent.environment && [' \u203a ', h('a', { href: `./?environment=${encodeURIComponent(this.agent.environment)}` }, plain(this.agent.environment))], this.agent.geographic_location && [' \u203a ', plain(this.agent.geographic_location)]),
      this.top,
      h('div', { class: 'stack' },
        h('div', { class: 'cols' }, this.why, h('div', { class: 'stack' }, part('says', 'What it says, what was judged', this.says), part('obj', 'Objective', this.objective))),
        part('tl', 'Timeline', this.line), this.charts.element,
        h('div', { class: 'grid2' }, part('al', 'Alerts', this.alerts), part('vd', 'Verdicts', this.verdicts))));
    this.fill();
  }

  // All that comes with the agent itself.
  fill() {
    const { agent } = this;
    const word = stateOf(agent);
    const score = Number.isFinite(agent.health_score) ? `, score ${Math.round(agent.health_score)}` : '';
    this.frame.title(`${agent.agent_id}: ${word}`);
    const since = agent.since ? ` for ${ago(Date.parse(agent.since))}` : '';
    const open = (agent.open_alerts ?? []).filter?.((alert) => alert.state === 'open') ?? [];
    const button = (text, key, act, className = 'btn') => h('button', { type: 'button', class: className, onclick: act }, text, key && [' ', h('kbd', { text: key })]);
    this.heard = h('dd', { text: agent.last_evidence ? `${ago(Date.parse(agent.last_evidence))} ago` : DASH });
    const fact = (term, ...content) => h('div', null, h('dt', { text: term }), content[0]?.tagName === 'DD' ? content : h('dd', null, content));
    const interval = agent.interval_seconds ?? (agent.interval_ms ? agent.interval_ms / 1000 : undefined);
    this.interval = (interval ?? 10) * 1000;
    fill(this.top,
      h('div', null, h('div', { class: 'title' }, h('h1', null, plain(agent.agent_id)), state(word, `${word}${since}${score}`, true)),
        h('dl', { class: 'facts' }, fact('heard', this.heard), interval && fact('every', span(interval * 1000)), agent.timeout_seconds && fact('silent after', span(agent.timeout_seconds * 1000)),
          agent.agent_name && fact('name', plain(agent.agent_name)), agent.agent_version && fact('version', plain(agent.agent_version)), fact('first seen', time(agent.first_seen)),
          Number.isFinite(agent.clock_skew_ms) && Math.abs(agent.clock_skew_ms) >= 1000 && fact('clock', `${number(Math.abs(agent.clock_skew_ms) / 1000)} s ${agent.clock_skew_ms > 0 ? 'ahead' : 'behind'}`), fact('series', String(agent.series ?? DASH)))),
      h('div', { class: 'acts' }, open.length > 0 && button(open.length > 1 ? `Acknowledge ${open.length} alerts` : 'Acknowledge', 'a', () => this.act(), 'btn main'),
        button('Maintenance\u2026', '', () => maintain([agent.agent_id], now())),
        button('Retire\u2026', '', () => retire(agent.agent_id, () => this.frame.go('./')))));
    this.fillWhy(word);
    this.fillSays(word);
    this.fillObjective();
    this.fillAlerts(agent.open_alerts ?? []);
  }

  fillWhy(word) {
    const { agent } = this;
    const cuts = (agent.reasons ?? []).map((text) => ({ text, by: Number(/: -(\d+(?:\.\d+)?)$/.exec(text)?.[1] ?? NaN) }));
    const advice = agent.recommendations ?? [];
    const known = cuts.filter((cut) => cut.by > 0);
    fill(this.why, h('header', null, h('h2', { id: 'why', text: word === 'healthy' ? 'Why it is healthy' : `Why it is ${word}` })),
      known.length > 0 && h('div', { class: 'pad' }, sum(known, agent.health_score)),
      cuts.length ? h('ul', { class: 'pad reasons' }, cuts.map((cut) => h('li', null, state(cut.by >= 25 ? 'critical' : 'degraded', cut.text.replace(/: -(\d)/, ': \u2212$1'))))) : h('p', { class: 'pad', text: word === 'healthy' ? 'Nothing was taken off its score.' : word === 'offline' ? `Nothing was heard since ${agent.last_evidence ? local(Date.parse(agent.last_evidence)) : 'it is known'}.` : 'No reason is given.' }),
      advice.length > 0 && h('div', { class: 'note' }, h('h3', { text: 'What to do' }), h('ul', { class: 'advice' }, advice.map((text) => h('li', { text })))));
  }

  fillSays(word) {
    const { agent } = this;
    const row = (of, says, judged) => h('tr', null, h('th', { scope: 'row', class: 'q', text: of }), h('td', null, says), h('td', null, judged));
    const vitals = Object.entries(agent.vitals ?? {}).filter(([, one]) => Number.isFinite(one));
    const units = { percent: ' %', ms: ' ms', mb: ' MB', mbps: ' Mbit/s' };
    fill(this.says, h('table', null, h('thead', null, h('tr', null, h('th', { scope: 'col' }, h('span', { class: 'vh', text: 'Of' })), h('th', { scope: 'col', text: 'It says' }), h('th', { scope: 'col', text: 'Judged' }))),
      h('tbody', null, row('status', agent.reported_status ? state(agent.reported_status) : DASH, state(word)), row('alive', agent.last_report ? time(agent.last_report) : DASH, (agent.liveness ?? DASH).replace('_', ' ')),
        vitals.slice(0, 8).map(([key, one]) => {
          const [, what, unit] = /^(.*?)(?:_(percent|ms|mb|mbps))?$/.exec(key);
          return row(what.replace(/_/g, ' '), `${number(one)}${units[unit] ?? ''}`, '');
        }))));
  }

  fillObjective() {
    const sla = this.agent.sla;
    if (!sla) { fill(this.objective, h('p', { class: 'q', text: 'No report against the objective yet.' })); return; }
    const left = Math.max(0, Math.min(1, sla.budget_left));
    const risk = RISK[sla.risk] ?? 'unknown';
    fill(this.objective, h('dl', { class: 'kv' }, h('dt', { text: 'risk' }), h('dd', null, state(risk, sla.risk)), h('dt', { text: 'target' }), h('dd', { text: percent(sla.target) }), h('dt', { text: 'available' }), h('dd', { text: percent(sla.availability) }), h('dt', { text: 'error budget left' }), h('dd', { text: `${number(sla.budget_left * 100)} %` })),
      s('svg', { class: 'budget', role: 'img', 'aria-label': `${number(sla.budget_left * 100)} % of the error budget is left` }, s('rect', { class: 'bg', width: '100%', height: 10, rx: 2 }), s('rect', { class: `fill ${risk}`, width: `${left * 100}%`, height: 10, rx: 2 })),
      h('dl', { class: 'kv' }, h('dt', { text: 'burn 1 h, 6 h, 3 d' }), h('dd', { text: (sla.burn ?? []).map((one) => number(one)).join(', ') })));
  }

  fillAlerts(open) {
    const list = [...(this.past ?? []), ...open].filter((one, at, whole) => whole.findLastIndex((other) => other.alert_id === one.alert_id) === at);
    list.sort((one, other) => other.timestamp.localeCompare(one.timestamp));
    fill(this.alerts, list.length ? h('ul', { class: 'al' }, list.slice(0, 30).map((alert) => h('li', null, h('a', { href: `alerts?id=${encodeURIComponent(alert.alert_id)}` }, severity(alert.severity), h('span', { class: 'msg' }, plain(alert.message)), h('span', { class: 'sub' }, `${alert.state}, `, time(alert.timestamp)))))) : empty('No alert in this range.'));
  }

  async readTimeline() {
    const { start, end } = this.spanOfTimeline;
    try {
      const [intervals, past, planned] = await Promise.all([intervalsOf(this.id, start), get('alerts', { agent: this.id, limit: 200 }), get('maintenance', { agent: this.id })]);
      this.windows = planned.windows.filter((one) => one.state === 'planned' || one.state === 'active').reverse();
      this.past = past.alerts;
      this.intervals = intervals.filter((one) => one.start < end && !(one.end < start)).map((one) => ({ ...one, start: Math.max(one.start, start) }));
      this.drawTimeline();
      this.fillAlerts(this.agent.open_alerts ?? []);
    } catch (error) {
      fill(this.line, failed('The timeline', error, () => this.readTimeline()));
    }
  }

  // At least a day, so that what led here is seen.
  get spanOfTimeline() {
    const { start, end } = this.span;
    return { start: Math.min(start, end - 864e5), end };
  }

  drawTimeline() {
    const { start, end } = this.spanOfTimeline;
    const sums = tally(this.intervals, start, end);
    const shown = this.past.filter((alert) => Date.parse(alert.timestamp) < end && !(alert.resolved_at && Date.parse(alert.resolved_at) < start));
    fill(this.line, h('p', { class: 'pad key' }, h('span', { text: many(sums.outages.up, 'session') }), h('span', { text: many(sums.outages.silent, 'outage') }), sums.outages.maintenance > 0 && h('span', { text: many(sums.outages.maintenance, 'planned window') }), h('span', { text: `available ${percent(sums.available)}` })),
      timeline(`Timeline of ${this.id}, ${span(end - start)}`, this.intervals, shown, start, end), this.windows.length > 0 && h('ul', { class: 'log pad', 'aria-label': 'Maintenance that is planned or under way' }, this.windows.map(windowLine)));
  }

  async readVerdicts() {
    const { start, end } = this.span;
    try {
      const answer = await get('verdicts', { agent: this.id, start: new Date(start).toISOString(), end: new Date(end + 1000).toISOString(), limit: MOST_VERDICTS });
      this.judged = answer.verdicts;
      this.fillVerdicts();
    } catch (error) {
      fill(this.verdicts, failed('Verdicts', error, () => this.readVerdicts()));
    }
  }

  fillVerdicts() {
    const shown = this.judged.filter((verdict) => !this.plugin || verdict.evidence.plugin === this.plugin);
    const rows = shown.map((verdict) => h('tr', null, h('td', null, time(verdict.time)), h('td', null, `${verdict.evidence.plugin} ${verdict.evidence.version}`, h('br'), h('span', { class: 'q mono', title: `digest ${verdict.evidence.digest}, settings ${verdict.evidence.config}`, text: `settings ${verdict.evidence.config.slice(0, 8)}` })), h('td', null, verdictText(verdict))));
    const plugins = [...new Set([this.plugin, ...this.judged.map((verdict) => verdict.evidence.plugin)])].filter(Boolean);
    const select = h('select', { id: 'by-plugin' }, h('option', { value: '', text: 'all plugins' }), plugins.map((one) => h('option', { value: one, text: one })));
    select.value = this.plugin ?? '';
    select.addEventListener('change', () => { this.plugin = select.value || undefined; this.fillVerdicts(); });
    fill(this.verdicts, h('div', { class: 'pad' }, h('label', { for: 'by-plugin' }, 'By ', select)),
      rows.length ? h('div', { class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': 'List of verdicts' }, h('table', { class: 'loose' }, h('thead', null, h('tr', null, ['Time', 'Plugin', 'Verdict'].map((text) => h('th', { scope: 'col', text })))), h('tbody', null, rows))) : empty('No verdict in this range.'),
      this.judged.length >= MOST_VERDICTS && h('p', { class: 'note', text: `The newest ${MOST_VERDICTS}; a shorter range shows the rest.` }));
  }

  // The range: relative and live, or absolute once zoomed.
  setRange(text) {
    Object.assign(this, { ranges: text, fixed: undefined });
    this.frame.setQuery({ range: text, from: undefined, to: undefined }, true);
    this.reread();
  }

  zoom(from, to) {
    if (from === undefined && !this.fixed) return;
    this.fixed = from === undefined ? undefined : { start: Math.round(from), end: Math.round(to) };
    this.frame.setQuery({ from: this.fixed?.start, to: this.fixed?.end }, true);
    this.reread();
  }

  shift(by) {
    const { start, end } = this.span;
    const step = ((end - start) / 2) * by;
    if (by > 0 && end + step > now()) { if (this.fixed) this.zoom(); return; }
    this.zoom(start + step, end + step);
  }

  compareWith(id) {
    this.compare = id;
    this.frame.setQuery({ compare: id }, true);
    this.charts.load();
  }

  reread() {
    this.charts.load();
    this.readTimeline();
    this.readVerdicts();
  }

  // The back button within this view.
  moved(query) {
    if (query.id !== this.id || !this.agent) return false;
    const [from, to] = [Number(query.from), Number(query.to)];
    Object.assign(this, { ranges: RANGES.includes(query.range) ? query.range : DEFAULT, compare: query.compare ?? '', fixed: from && to > from ? { start: from, end: to } : undefined });
    this.reread();
    return true;
  }

  async act() {
    const open = (this.agent?.open_alerts ?? []).filter?.((alert) => alert.state === 'open') ?? [];
    if (!open.length) return;
    for (const alert of open) await acknowledge(alert);
    this.refresh();
  }

  async refresh() {
    if (!this.agent) return;
    try {
      this.agent = await agentOf(this.id);
    } catch { return; }
    this.fill();
  }

  hear(kind, data) {
    if (!this.agent) return;
    if (kind === 'reload') { this.refresh(); this.reread(); return; }
    if (kind === 'sample') { if (!this.fixed) this.charts.hear(data); return; }
    if (kind === 'maintenance') this.readTimeline();
    if (data.agent_id !== this.id) return;
    if (kind === 'alert' && data.alert && this.past) this.past = [...this.past.filter((one) => one.alert_id !== data.alert.alert_id), data.alert];
    if (kind === 'outlier' && !this.fixed) this.charts.judged(data);
    if (['liveness', 'alert', 'sla'].includes(kind)) this.refreshSoon();
    if (kind === 'liveness' && data.before !== data.liveness) this.readTimeline();
    if (['health', 'outlier', 'sla'].includes(kind) && this.judged && !this.fixed) {
      this.judged = [data, ...this.judged].slice(0, 200);
      this.verdictsDirty = true;
    }
  }

  refreshSoon() {
    this.refreshing ??= setTimeout(() => { this.refreshing = undefined; this.refresh(); }, 300);
  }

  tick() {
    if (!this.agent || document.body.classList.contains('not-live')) return;
    if (this.agent.last_evidence) say(this.heard, `${ago(Date.parse(this.agent.last_evidence))} ago`);
    this.seconds = (this.seconds ?? 0) + 1;
    if (this.seconds % 10 === 0 && !document.hidden) this.refreshSoon();
    if (this.verdictsDirty && this.seconds % 2 === 0 && !this.verdicts.contains(document.activeElement)) { this.verdictsDirty = false; this.fillVerdicts(); }
    this.charts.tick();
  }

  close() {
    clearTimeout(this.refreshing);
    this.charts?.close();
    live.watch([]);
  }
}

// The score as what is left of 100 and what was taken off.
function sum(cuts, score) {
  const total = cuts.reduce((all, cut) => all + cut.by, 0);
  const scale = Math.min(1, 100 / Math.max(total, 1));
  let x = 100 - total * scale;
  const kept = x;
  const parts = [...cuts].reverse().map((cut) => {
    const width = cut.by * scale;
    const part = s('g', { class: cut.by >= 25 ? 'critical' : 'degraded' }, s('rect', { class: 'cut', x: `${x + 0.2}%`, y: 0, width: `${Math.max(width - 0.2, 0.2)}%`, height: 20 }),
      width > 5 && s('text', { class: 't', x: `${x + width / 2}%`, y: 36, 'text-anchor': 'middle' }, `\u2212${cut.by}`));
    x += width;
    return part;
  });
  return s('svg', { class: 'sum', role: 'img', 'aria-label': `Score ${Math.round(score)}: 100, less ${cuts.map((cut) => cut.text.replace(/: -/, ', ')).join('; ')}` },
    s('rect', { class: 'keep', x: 0, y: 0, width: `${kept}%`, height: 20 }), kept > 8 && s('text', { x: `${kept / 2}%`, y: 36, 'text-anchor': 'middle' }, `${Math.round(100 - total)} left`), parts);
}

export function verdictText({ kind, body }) {
  if (body.status !== undefined || kind === 'health') return [state(body.status), ` score ${Number.isFinite(body.score) ? Math.round(body.score) : DASH}`, body.reasons?.length ? h('span', { class: 'q', text: ` ${body.reasons.join('; ')}` }) : ''];
  if (body.risk !== undefined || kind === 'sla') return [`risk ${body.risk}, available ${percent(body.availability)}, budget left ${number(body.budget_left * 100)} %`];
  return [state('critical', 'outlier'), ' ', plain(body.metric_name ?? ''), ` ${value(body.value)} outside ${value(body.lower)} to ${value(body.upper)}`];
}
