// Alerts: open, acknowledged, resolved; what is known of one, and what is done with it.

import { all, fill, h, name, plain, say } from './dom.js';
import { get } from './api.js';
import { acknowledge, close, silence, unacknowledge, unsilence } from './actions.js';
import { empty, failed } from './dialog.js';
import { count } from './format.js';
import { Chart } from './charts.js';
import { SEVERITIES, severity } from './state.js';
import { ago, now, span, timeBoth } from './time.js';

const MOST = 1000;
const STATES = ['open', 'acknowledged', 'resolved'];
const AROUND = 18e5;

// What a person did, when, until when and why.
const did = (when, what, by, why, until) => when && h('li', null, timeBoth(when), what, until && [' until ', timeBoth(until)], ' by ', plain(by ?? 'somebody'), why && [': ', plain(why)]);

export async function open(main, query, frame) {
  const view = new AlertsView(main, query, frame);
  await view.load();
  view.select(query.id, false);
  return view;
}

class AlertsView {
  constructor(main, query, frame) {
    Object.assign(this, { main, frame, alerts: new Map(), next: undefined });
    this.shown = new Set((query.state ?? 'open,acknowledged,resolved').split(',').filter((one) => STATES.includes(one)));
    this.filters = { search: query.q ?? '', severity: SEVERITIES.includes(query.severity) ? query.severity : '' };
    this.keys = { a: () => this.act(), Escape: () => this.select() };
    this.took = (alert) => this.take(alert);
    this.build();
  }

  build() {
    this.title = h('h1', { 'aria-live': 'polite' });
    this.says = h('p');
    this.seg = h('div', { class: 'seg', role: 'group', 'aria-label': 'State' });
    this.search = h('input', { type: 'search', id: 'q', placeholder: 'Agent, message or kind', autocomplete: 'off', spellcheck: 'false' });
    this.search.value = this.filters.search;
    this.search.addEventListener('input', () => { this.filters.search = this.search.value.trim(); this.remember(); this.draw(); });
    const least = h('select', { id: 'least' }, h('option', { value: '', text: 'info' }), SEVERITIES.slice(1).map((one) => h('option', { value: one, text: one })));
    least.value = this.filters.severity;
    least.addEventListener('change', () => { this.filters.severity = least.value; this.remember(); this.draw(); });
    this.list = h('section', { class: 'card al', 'aria-label': 'Alerts' });
    this.detail = h('article', { class: 'card', 'aria-label': 'Alert', tabindex: -1 });
    this.split = h('div', { class: 'split' }, this.list, this.detail);
    fill(this.main, h('div', { class: 'head' }, h('div', null, this.title, this.says), h('a', { class: 'btn', href: 'api/v1/telemetry/alerts?format=csv&limit=10000', download: 'alerts.csv', text: 'As CSV' })),
      h('div', { class: 'filters', role: 'search', 'aria-label': 'Alerts' }, this.seg, h('div', { class: 'search' }, h('label', { class: 'vh', for: 'q', text: 'Search alerts' }), this.search, h('kbd', { 'aria-hidden': 'true', text: '/' })),
        h('label', { for: 'least' }, 'Severity from ', least)), this.split);
  }

  remember() {
    this.frame.setQuery({ q: this.filters.search, severity: this.filters.severity, state: this.shown.size === STATES.length ? '' : [...this.shown].join() });
  }

  async load() {
    const query = { limit: MOST };
    try {
      const [open, acknowledged, resolved] = await Promise.all([get('alerts', { ...query, state: 'open' }), get('alerts', { ...query, state: 'acknowledged' }), get('alerts', { ...query, state: 'resolved' })]);
      this.alerts = new Map([...open.alerts, ...acknowledged.alerts, ...resolved.alerts].map((alert) => [alert.alert_id, alert]));
      this.more = resolved.alerts.length >= MOST;
      this.draw();
    } catch (error) {
      if (error.status === 401) throw error;
      fill(this.list, failed('The alerts', error, () => this.load()));
    }
  }

  draw() {
    const list = [...this.alerts.values()];
    const text = this.filters.search.toLowerCase();
    const fits = (alert) => (!text || `${alert.agent_id}\n${alert.message}\n${alert.alert_type}\n${alert.metric_name ?? ''}`.toLowerCase().includes(text)) && SEVERITIES.indexOf(alert.severity) >= SEVERITIES.indexOf(this.filters.severity);
    const of = (word) => list.filter((alert) => alert.state === word);
    const counts = Object.fromEntries(STATES.map((word) => [word, of(word).length]));
    this.frame.openAlerts(counts.open);
    this.frame.title(`${counts.open ? `(${count(counts.open)}) ` : ''}Alerts: ${count(counts.open)} open`);
    say(this.title, counts.open || counts.acknowledged ? `${count(counts.open)} open, ${count(counts.acknowledged)} acknowledged` : 'No alert is open');
    const lengths = of('resolved').map((alert) => alert.duration_seconds).filter(Number.isFinite).sort((a, b) => a - b);
    say(this.says, lengths.length ? `${count(counts.resolved)}${this.more ? '+' : ''} resolved, after ${span(lengths[lengths.length >> 1] * 1000)} at the median.` : '');
    const toggle = (word) => {
      if (this.shown.has(word) && this.shown.size > 1) this.shown.delete(word); else this.shown.add(word);
      this.remember();
      this.draw();
    };
    const button = (pressed, number, word, act) => h('button', { type: 'button', 'aria-pressed': String(pressed), onclick: act, 'data-word': word }, h('b', { text: count(number) }), ` ${word}`);
    if (this.seg.children.length) {
      all('button', this.seg).forEach((one) => {
        const word = one.dataset.word;
        say(one.querySelector('b'), count(counts[word]));
        one.setAttribute('aria-pressed', String(this.shown.has(word)));
      });
    } else {
      fill(this.seg, STATES.map((word) => button(this.shown.has(word), counts[word], word, () => toggle(word))));
    }
    const focused = document.activeElement?.closest?.('li')?.dataset.id;
    const groups = STATES.filter((word) => this.shown.has(word)).map((word) => {
      const own = of(word).filter(fits).sort((a, b) => (word === 'resolved' ? 0 : SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity)) || b.timestamp.localeCompare(a.timestamp));
      return own.length > 0 && [h('h2', { class: 'al-h', id: `h-${word}`, text: word[0].toUpperCase() + word.slice(1) }), h('ul', { 'aria-labelledby': `h-${word}` }, own.map((alert) => this.row(alert)))];
    });
    const any = groups.some(Boolean);
    fill(this.list, any ? groups : list.length ? empty('No alert matches.', 'Fewer filters show more.') : h('div', { class: 'empty pad top' }, h('p', null, h('span', { class: 'st healthy' }, h('i', { class: 's', 'aria-hidden': 'true' }), 'No alert is open.'))),
      this.more && this.shown.has('resolved') && h('p', { class: 'note', text: `The newest ${count(MOST)} resolved ones.` }));
    if (focused) this.list.querySelector(`li[data-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  }

  row(alert) {
    const open = (event) => { event.preventDefault(); event.stopPropagation(); this.select(alert.alert_id); };
    const link = h('a', { href: `alerts?id=${encodeURIComponent(alert.alert_id)}`, 'data-open': true, 'aria-current': alert.alert_id === this.id ? 'true' : undefined, onclick: open },
      severity(alert.severity), h('span', { class: 'msg' }, plain(alert.message)),
      h('span', { class: 'ago', text: alert.state === 'resolved' ? `${ago(Date.parse(alert.resolved_at))} ago` : ago(Date.parse(alert.timestamp)) }),
      h('span', { class: 'sub' }, name(alert.agent_id), h('span', { class: 'n' }, alert.state === 'acknowledged' ? ['by ', plain(alert.acknowledged_by ?? 'somebody')] : alert.silenced_until && alert.state === 'open' ? 'silenced' : alert.alert_type.replace(/_/g, ' '))));
    return h('li', { 'data-row': true, 'data-id': alert.alert_id }, link);
  }

  async select(id, focus = true) {
    this.id = id;
    this.chart?.close();
    this.chart = undefined;
    this.frame.setQuery({ id });
    document.body.classList.toggle('one-alert', Boolean(id));
    for (const link of all('.al a', this.list)) {
      if (id && link.closest('li').dataset.id === id) link.setAttribute('aria-current', 'true'); else link.removeAttribute('aria-current');
    }
    if (!id) { fill(this.detail, empty('No alert is chosen.', 'Choose one to see what is behind it.')); return; }
    const alert = this.alerts.get(id);
    if (!alert) {
      fill(this.detail, empty('There is no such alert among those listed.', 'It may be older, or your token may not name its agent.'), this.back());
      return;
    }
    this.evidence = h('div');
    this.fillDetail(alert);
    if (focus) this.detail.focus({ preventScroll: innerWidth > 720 });
    await this.readEvidence(alert);
  }

  back() {
    return h('p', { class: 'back' }, h('button', { type: 'button', class: 'btn', onclick: () => this.select() }, '\u2039 All alerts'));
  }

  fillDetail(alert) {
    const button = (text, key, act, className = 'btn') => h('button', { type: 'button', class: className, onclick: act }, text, key && [' ', h('kbd', { text: key })]);
    const over = alert.state === 'resolved';
    const pair = (term, ...content) => content.some(Boolean) && [h('dt', { text: term }), h('dd', null, content)];
    this.log = h('div', { class: 'log-s' }, h('h3', { text: 'What was done' }), h('ol', { class: 'log' },
      h('li', null, timeBoth(alert.timestamp), ' raised as ', severity(alert.severity)),
      did(alert.acknowledged_at, ' acknowledged', alert.acknowledged_by, alert.acknowledge_comment),
      did(alert.silenced_at, ' silenced', alert.silenced_by, alert.silence_comment, alert.silenced_until),
      over && (alert.closed_by ? did(alert.resolved_at, ' closed', alert.closed_by, alert.close_comment) : h('li', null, timeBoth(alert.resolved_at), ' over'))));
    fill(this.detail, this.back(),
      h('header', null, h('h2', null, plain(alert.message)), severity(alert.severity)),
      h('div', { class: 'pad acts' }, alert.state === 'open' && button('Acknowledge', 'a', () => this.act(), 'btn main'),
        alert.state === 'acknowledged' && button('Take back\u2026', '', () => unacknowledge(alert, this.took)),
        !over && (alert.silenced_until ? button('End silence\u2026', '', () => unsilence(alert, this.took)) : button('Silence\u2026', '', () => silence(alert, this.took))),
        !over && button('Close\u2026', '', () => close(alert, this.took))),
      h('div', { class: 'pad' }, h('dl', { class: 'kv left' }, pair('agent', name(alert.agent_id, { href: `agent?id=${encodeURIComponent(alert.agent_id)}` })), pair('kind', alert.alert_type.replace(/_/g, ' ')), pair('measurement', alert.metric_name && plain(alert.metric_name)),
        pair('where', Object.entries(alert.attributes ?? {}).map(([key, one]) => `${key}=${one}`).join(', ')), pair('for', over ? span((alert.duration_seconds ?? 0) * 1000) : ago(Date.parse(alert.timestamp))))),
      h('div', { class: 'ev' }, this.evidence), this.log);
  }

  // The measurement around the alert, or the agent's liveness where none is named.
  async readEvidence(alert) {
    if (!alert.metric_name) { fill(this.evidence, h('p', { class: 'pad top q' }, 'It is about the agent as a whole: ', h('a', { href: `agent?id=${encodeURIComponent(alert.agent_id)}`, text: 'see its timeline' }), '.')); return; }
    try {
      const list = await get('series', { agent: alert.agent_id });
      const wanted = JSON.stringify(alert.attributes ?? {});
      const series = list.series.filter((one) => one.metric_name === alert.metric_name);
      const one = series.find((candidate) => JSON.stringify(candidate.attributes) === wanted) ?? series[0];
      if (!one) { fill(this.evidence, h('p', { class: 'pad top q', text: 'The measurement is not kept any more.' })); return; }
      const begun = Date.parse(alert.timestamp);
      const end = Math.min(now(), alert.resolved_at ? Date.parse(alert.resolved_at) + AROUND : begun + 4 * AROUND);
      const start = begun - AROUND;
      const query = { start: new Date(start).toISOString(), end: new Date(end + 1).toISOString() };
      const seconds = (end - start) / 1000;
      const [samples, outliers] = await Promise.all([get(`series/${one.series_id}/samples`, { ...query, limit: 20000, step: seconds > 7200 ? `${Math.ceil(seconds / 600)}s` : undefined }), get('verdicts', { agent: alert.agent_id, kind: 'outlier', limit: 500, ...query })]);
      if (this.id !== alert.alert_id) return;
      this.chart = new Chart(one, alert.metric_name, { zoomed: (from, to) => this.frame.go(`agent?id=${encodeURIComponent(alert.agent_id)}&from=${Math.round(from)}&to=${Math.round(to)}`), back: () => {} });
      fill(this.evidence, this.chart.element);
      const judged = outliers.verdicts.filter((verdict) => verdict.body.series === one.series_id).map((verdict) => ({ at: Date.parse(verdict.time), body: verdict.body, evidence: verdict.evidence }));
      this.chart.show({ samples: samples.samples.map((sample) => [Date.parse(sample.time), sample.value]), outliers: judged, silences: [], start, end, interval: 10000 });
    } catch (error) {
      fill(this.evidence, failed('The evidence', error, () => this.readEvidence(alert)));
    }
  }

  async act() {
    const focused = document.activeElement?.closest?.('li')?.dataset.id;
    const alert = this.alerts.get(focused ?? this.id);
    if (alert?.state !== 'open') return;
    await acknowledge(alert, this.took);
  }

  take(alert) {
    this.alerts.set(alert.alert_id, alert);
    this.draw();
    if (this.id === alert.alert_id) this.fillDetail(alert);
  }

  hear(kind, data) {
    if (kind === 'reload') this.load();
    if (kind === 'alert' && data.alert) this.take(data.alert);
  }

  tick() {
    this.seconds = (this.seconds ?? 0) + 1;
    if (this.seconds % 15 === 0 && !document.body.classList.contains('not-live')) this.draw();
  }

  close() {
    this.chart?.close();
    document.body.classList.remove('one-alert');
  }
}
