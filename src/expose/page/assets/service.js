// The service itself: what comes in and what is refused, how far it is behind, what it holds, how it is set.

import { fill, h, plain } from './dom.js';
import { get, metrics } from './api.js';
import { failed } from './dialog.js';
import { DASH, bytes, count, number } from './format.js';
import { parsed, total } from './prometheus.js';
import { state } from './state.js';
import { now, span, timeBoth } from './time.js';

const EVERY = 5000;

export async function open(main, query, frame) {
  const view = new ServiceView(main, query, frame);
  await view.load();
  return view;
}

class ServiceView {
  constructor(main, query, frame) {
    Object.assign(this, { main, frame, keys: {} });
    this.title = h('h1', { 'aria-live': 'polite' });
    this.parts = h('div', { class: 'grid2' });
    fill(main, h('div', { class: 'head' }, h('div', null, this.title)), this.parts);
    this.reader = setInterval(() => { if (!document.hidden && !document.body.classList.contains('not-live')) this.load(); }, EVERY);
  }

  async load() {
    try {
      const [health, text, audit] = await Promise.all([get('health'), metrics(), get('audit', { limit: 20 })]);
      this.draw(health, parsed(text), audit.entries);
    } catch (error) {
      if (error.status === 401) throw error;
      if (!this.drawn) fill(this.parts, h('div', { class: 'card' }, failed('The service', error, () => this.load())));
    }
  }

  draw(health, samples, audit) {
    const at = now();
    const text = health.status === 'healthy' ? `The service is healthy, version ${health.version}` : `The service is ${health.status}`;
    if (this.title.textContent !== text) this.title.textContent = text;
    this.frame.title(`Service: ${health.status}`);
    const sum = (name, only) => total(samples, name, only);
    const rate = (name, only) => {
      const key = name + JSON.stringify(only ?? {});
      const value = sum(name, only);
      const before = this.before?.get(key);
      this.next.set(key, { at, value });
      return before && value !== undefined && at > before.at ? `${number(((value - before.value) * 1000) / (at - before.at))}/s` : '';
    };
    this.next = new Map();
    const both = (name, only) => [count(sum(name, only)), ' ', h('span', { class: 'q', text: rate(name, only) })];
    const part = (id, title, rows, more) => h('section', { class: 'card', 'aria-labelledby': id }, h('header', null, h('h2', { id, text: title })), h('div', { class: 'pad' }, h('dl', { class: 'kv' }, rows.filter(Boolean).map(([term, ...content]) => [h('dt', null, term), h('dd', null, content)]))), more);
    const refusals = samples.filter((one) => /refused|rejected|dropped|failed|dead|conflicting|unknown_series|rows_ahead|rows_late|duplicate/.test(one.name) && !/bucket|_sum|_count/.test(one.name) && one.value > 0);
    const good = health.processing_queue_status === 'healthy';
    const mean = (name) => (sum(`${name}_count`) ? `${number((1000 * sum(`${name}_sum`)) / sum(`${name}_count`))} ms` : DASH);
    fill(this.parts,
      part('in', 'What comes in', [['points', both('vitals_normalize_points_total')], ['OTLP requests', both('vitals_receive_requests_total')], ['REST requests', both('vitals_rest_requests_total')], ['rows judged', both('vitals_rows_judged_total')], ['series', count(sum('vitals_series'))]]),
      part('no', 'What is refused, and why', refusals.length ? refusals.sort((a, b) => b.value - a.value).slice(0, 14).map((one) => [one.name.replace(/^vitals_|_total$/g, '').replace(/_/g, ' ') + Object.entries(one.labels).map(([key, value]) => `, ${key} ${value}`).join(''), count(one.value)]) : [['nothing', count(0)]]),
      part('lag', 'How far it is behind', [['processing', state(good ? 'healthy' : 'critical', health.processing_queue_status)], ['waiting for the log', count(sum('vitals_log_queued'))], ['waiting for evaluation', count(sum('vitals_evaluate_queued'))], ['a commit takes', mean('vitals_log_commit_seconds')], ['a seal takes', mean('vitals_store_seal_seconds')], ['server\u2019s time', timeBoth(health.timestamp)]]),
      part('size', 'What it holds', [['store', plain(health.database_status)], ['samples', count(sum('vitals_store_samples'))], ['store size', bytes(sum('vitals_store_bytes'))], ['not sealed yet', count(sum('vitals_store_pending'))], ['log', bytes(sum('vitals_log_bytes'))], ['records in the log', count(sum('vitals_log_records'))],
        sum('vitals_store_outbox_samples') !== undefined && ['outbox', `${count(sum('vitals_store_outbox_samples'))} samples, ${bytes(sum('vitals_store_outbox_bytes'))}, oldest ${span(1000 * sum('vitals_store_outbox_age_seconds'))}`], ['notifications waiting', count(sum('vitals_alerts_queued'))]]),
      part('audit', 'What was done', audit.length ? audit.map((one) => [timeBoth(one.time), plain(`${one.action}: ${one.agents.join(', ')}`), ' by ', plain(one.by), one.detail && [', ', plain(one.detail)], one.comment && [': ', plain(one.comment)]]) : [['nothing', 'Nobody did anything yet.']]));
    this.before = this.next;
    this.drawn = true;
  }

  hear(kind) {
    if (kind === 'reload') this.load();
  }

  close() {
    clearInterval(this.reader);
  }
}
