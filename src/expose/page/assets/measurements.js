// The charts of an agent: which series, over which range, beside which other agent.

import { fill, h } from './dom.js';
import { get, lane } from './api.js';
import * as live from './live.js';
import { Chart } from './charts.js';
import { empty, failed } from './dialog.js';
import { intervalsOf } from './known.js';
import { now } from './time.js';

const MOST_POINTS = 600, AT_ONCE = 6;
const RANGES = ['15m', '1h', '6h', '12h', '24h', '7d', '30d'];
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

// Which series of another agent is the same measurement.
const same = (series) => [series.metric_name, series.part, JSON.stringify(series.attributes)].join('\n');

function label(series) {
  const attributes = Object.entries(series.attributes ?? {});
  const part = series.part && series.part !== 'value' ? ` ${series.part}` : '';
  return series.metric_name + part + (attributes.length ? ` {${attributes.map(([key, one]) => `${key}=${one}`).join(', ')}}` : '');
}

// What only rises says nothing as a line; its rate does.
const isTelling = (series) => series.shape === 'gauge' || series.origin === 'derived';

export class Charts {
  constructor(view) {
    Object.assign(this, { view, charts: new Map(), shown: AT_ONCE, ask: lane(4), round: 0 });
    this.grid = h('div', { class: 'grid2' });
    this.more = h('p', { class: 'acts pad' });
    this.seg = h('div', { class: 'seg', role: 'group', 'aria-label': 'Range' });
    view.comparer = h('input', { id: 'compare', list: 'others', autocomplete: 'off', placeholder: 'nothing', spellcheck: 'false' });
    this.others = h('datalist', { id: 'others' });
    view.comparer.value = view.compare;
    view.comparer.addEventListener('focus', () => this.offer(), { once: true });
    view.comparer.addEventListener('change', () => view.compareWith(view.comparer.value.trim()));
    const key = (text, picture) => h('span', null, picture, text);
    this.element = h('section', { 'aria-labelledby': 'ch' },
      h('div', { class: 'filters' }, h('h2', { id: 'ch', text: 'Measurements' }), this.seg, h('label', { for: 'compare' }, 'Compare with ', view.comparer, ' ', h('kbd', { text: 'c' })), this.others,
        h('span', { class: 'key' }, key('bounds', h('i', { class: 'k band' })), key('outlier', h('i', { class: 'k ring' })), key('silent', h('i', { class: 'k gap' })))),
      this.grid, this.more);
    this.watcher = new ResizeObserver(() => this.charts.forEach((chart) => chart.resize()));
    this.watcher.observe(this.grid);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.recolour = () => this.charts.forEach((chart) => chart.recolour());
    this.scheme.addEventListener('change', this.recolour);
  }

  async offer() {
    const list = await get('agents', { limit: 500 }).catch(() => ({ agents: [] }));
    fill(this.others, list.agents.filter((agent) => agent.agent_id !== this.view.id).map((agent) => h('option', { value: agent.agent_id })));
  }

  drawRanges() {
    const { view } = this;
    const shift = (text, title, by) => h('button', { type: 'button', title, 'aria-label': title, onclick: () => view.shift(by), text });
    fill(this.seg, shift('\u2039', 'Earlier', -1), RANGES.map((text) => h('button', { type: 'button', 'aria-pressed': String(!view.fixed && view.ranges === text), onclick: () => view.setRange(text), text: text.replace(/(\d+)/, '$1 ').replace(' m', ' min') })),
      shift('\u203a', 'Later', 1), view.fixed && h('button', { type: 'button', 'aria-pressed': 'true', onclick: () => view.zoom() }, 'Zoomed ', h('kbd', { text: 'Esc' })));
  }

  async load() {
    const round = this.round += 1;
    this.drawRanges();
    const { start, end } = this.view.span;
    const query = { start: new Date(start).toISOString(), end: new Date(end + 1).toISOString() };
    try {
      const id = this.view.id;
      const [series, outliers, line, others] = await Promise.all([
        get('series', { agent: id }), get('verdicts', { agent: id, kind: 'outlier', limit: 1000, ...query }),
        intervalsOf(id, start),
        this.view.compare ? get('series', { agent: this.view.compare }).catch(() => undefined) : undefined,
      ]);
      if (round !== this.round) return;
      this.series = series.series.filter(isTelling).sort((a, b) => (a.metric_type === 'custom') - (b.metric_type === 'custom') || a.series_id - b.series_id);
      this.outliers = new Map();
      for (const verdict of outliers.verdicts) this.note(verdict);
      this.silences = line.filter((one) => one.state === 'silent');
      this.theirs = new Map((others?.series ?? []).map((one) => [same(one), one]));
      this.view.comparer.setCustomValidity(this.view.compare && !others ? 'There is no such agent.' : '');
      // Those that were judged come first: they are what one looks for.
      this.series.sort((a, b) => this.outliers.has(b.series_id) - this.outliers.has(a.series_id));
      await this.read(round);
    } catch (error) {
      if (round === this.round) fill(this.grid, h('div', { class: 'card' }, failed('The measurements', error, () => this.load())));
    }
  }

  note(verdict) {
    const list = this.outliers.get(verdict.body.series) ?? [];
    list.push({ at: Date.parse(verdict.time), body: verdict.body, evidence: verdict.evidence });
    this.outliers.set(verdict.body.series, list);
  }

  async read(round) {
    const shown = this.series.slice(0, this.shown);
    const { start, end } = this.view.span;
    if (!shown.length) fill(this.grid, h('div', { class: 'card' }, empty('Nothing is measured yet.')));
    for (const [id, chart] of this.charts) if (!shown.some((one) => one.series_id === id)) { chart.close(); this.charts.delete(id); }
    const handlers = { zoomed: (from, to) => this.view.zoom(from, to), back: () => this.view.zoom() };
    const elements = shown.map((one) => {
      if (!this.charts.has(one.series_id)) this.charts.set(one.series_id, new Chart(one, label(one), handlers));
      return this.charts.get(one.series_id).element;
    });
    if (shown.length && elements.some((element, at) => this.grid.children[at] !== element)) fill(this.grid, elements);
    fill(this.more, this.series.length > shown.length && h('button', { type: 'button', class: 'btn', onclick: () => { this.shown += AT_ONCE; this.load(); }, text: `Show ${Math.min(AT_ONCE, this.series.length - shown.length)} more of ${this.series.length}` }));
    if (!this.view.fixed) live.watch(shown.map((one) => one.series_id).slice(0, 200));
    await Promise.all(shown.map((one) => this.ask(async () => {
      const theirs = this.theirs.get(same(one));
      const [samples, other] = await Promise.all([this.samples(one, start, end), theirs && this.samples(theirs, start, end)]);
      if (round !== this.round) return;
      this.charts.get(one.series_id)?.show({ samples, other, start, end, outliers: this.outliers.get(one.series_id) ?? [], silences: this.silences, interval: this.view.interval });
    })));
  }

  // As they are where that is little, else means of steps: the judged points are drawn as they were all the same.
  async samples(series, start, end) {
    const seconds = (end - start) / 1000;
    const few = seconds / (this.view.interval / 1000) <= MOST_POINTS * 4;
    const step = STEPS.find((one) => seconds / one <= MOST_POINTS) ?? 86400;
    const answer = await get(`series/${series.series_id}/samples`, { start: new Date(start).toISOString(), end: new Date(end + 1).toISOString(), limit: MOST_POINTS * 8, step: few ? undefined : `${step}s` });
    return answer.samples.map((sample) => [Date.parse(sample.time), sample.value]);
  }

  hear({ series_id, samples }) {
    this.fresh ??= new Map();
    const list = this.fresh.get(series_id) ?? [];
    list.push(...samples.map((sample) => [Date.parse(sample.time), sample.value]));
    this.fresh.set(series_id, list);
  }

  judged(verdict) {
    if (!this.outliers) return;
    const list = this.outliers.get(verdict.body.series) ?? [];
    if (list.some((one) => one.at === Date.parse(verdict.time))) return;
    list.unshift({ at: Date.parse(verdict.time), body: verdict.body, evidence: verdict.evidence });
    this.outliers.set(verdict.body.series, list);
    const chart = this.charts.get(verdict.body.series);
    if (chart?.samples.length) { chart.outliers = list; chart.draw(); }
  }

  // Once a second: what came since.
  tick() {
    if (!this.fresh || this.view.fixed) return;
    const end = now();
    for (const [id, samples] of this.fresh) {
      const chart = this.charts.get(id);
      if (chart && chart.start) chart.append(samples.sort((a, b) => a[0] - b[0]), end);
    }
    this.fresh = undefined;
  }

  close() {
    this.watcher.disconnect();
    this.scheme.removeEventListener('change', this.recolour);
    this.charts.forEach((chart) => chart.close());
    this.round += 1;
  }
}
