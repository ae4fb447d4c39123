// A chart of a series: data in ink, what is judged in colour, the judged point ringed with the bounds that it broke.

import uPlot from './uplot.js';
import { fill, h, plain, say, table } from './dom.js';
import { value } from './format.js';
import { local, time, utc } from './time.js';

const HEIGHT = 170;
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
};

// [[ms], [value]] with a hole wherever values stop for longer than usual.
function columns(samples) {
  const times = [], values = [];
  const steps = samples.slice(1).map(([at], index) => at - samples[index][0]).sort((a, b) => a - b);
  const usual = steps[steps.length >> 1] ?? Infinity;
  for (const [at, one] of samples) {
    const last = times.at(-1);
    if (last !== undefined && at - last * 1000 > usual * 4) { times.push((last * 1000 + usual) / 1000); values.push(null); }
    times.push(at / 1000);
    values.push(one);
  }
  return [times, values];
}

export class Chart {
  // `series` is an item of /series; `zoomed(from, to)` is called with the range that was dragged.
  constructor(series, label, { zoomed, back }) {
    Object.assign(this, { series, label, zoomed, back, samples: [], outliers: [], silences: [], other: undefined });
    this.read = h('p', { class: 'read' });
    this.now = h('span', { class: 'now' });
    this.plot = h('div', { class: 'u', tabindex: 0, role: 'img' });
    this.data = h('div');
    const id = `c-${series.series_id}`;
    this.element = h('figure', { class: 'card', 'aria-labelledby': id },
      h('figcaption', null, h('h3', { id }, plain(label)), h('span', { class: 'q sm' }, series.metric_type === 'custom' ? '' : series.metric_type.replace('_', ' ')), this.now),
      this.read, this.plot, this.data);
    this.plot.addEventListener('keydown', (event) => this.key(event));
    this.plot.addEventListener('dblclick', () => this.back());
  }

  // All that is drawn: samples [[ms, value]], outliers of /verdicts, silences [{start, end}], the other agent's samples.
  show({ samples, outliers, silences, other, start, end, interval }) {
    Object.assign(this, { samples, outliers, silences, other, start, end, interval });
    this.draw();
  }

  append(added, end) {
    const last = this.samples.at(-1)?.[0] ?? -Infinity;
    this.samples.push(...added.filter(([at]) => at > last));
    const length = this.end - this.start;
    Object.assign(this, { end, start: end - length });
    while (this.samples.length && this.samples[0][0] < this.start) this.samples.shift();
    this.draw();
  }

  aligned() {
    const [times, values] = columns(this.samples);
    if (!this.other?.length) return [times, values];
    const mine = new Map(times.map((at, index) => [at, values[index]]));
    const [theirTimes, theirValues] = columns(this.other);
    const theirs = new Map(theirTimes.map((at, index) => [at, theirValues[index]]));
    const all = [...new Set([...times, ...theirTimes])].sort((a, b) => a - b);
    // Not there is a gap to be spanned, null is one to be shown.
    return [all, all.map((at) => mine.get(at)), all.map((at) => theirs.get(at))];
  }

  draw() {
    const data = this.aligned();
    const last = this.samples.findLast(([, one]) => Number.isFinite(one));
    say(this.now, last ? value(last[1], this.series.unit) : '');
    this.plot.setAttribute('aria-label', this.described(last));
    this.idle();
    this.tabulate();
    if (!this.samples.length) {
      this.u?.destroy();
      this.u = undefined;
      fill(this.plot, h('p', { class: 'q pad', text: `No samples from ${local(this.start)} to ${local(this.end)}.` }));
      return;
    }
    if (this.u && this.u.series.length === data.length + (this.other ? 0 : 0)) {
      this.u.setData(data, false);
      this.u.setScale('x', { min: this.start / 1000, max: this.end / 1000 });
      return;
    }
    this.make(data);
  }

  make(data) {
    this.u?.destroy();
    fill(this.plot);
    const of = colours();
    const axis = { stroke: of('ink-3'), font: '11px system-ui, sans-serif', grid: { stroke: of('line'), width: 1 }, ticks: { show: false } };
    const line = { stroke: of('ink-2'), width: 1.5, points: { show: false }, spanGaps: false };
    this.of = of;
    this.u = new uPlot({
      width: this.width(), height: HEIGHT, padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: 'agent' }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
      scales: { x: { time: true, range: () => [this.start / 1000, this.end / 1000] }, y: { range: (_, min, max) => this.extent(min, max) } },
      axes: [{ ...axis, size: 28, space: 70, values: (_, all) => all.map((at) => local(at * 1000, false).slice(-5)) }, { ...axis, size: 52, values: (_, all) => all.map((one) => short(one)) }],
      series: [{}, line, ...(data.length > 2 ? [{ ...line, stroke: of('ink-3'), width: 1.25, dash: [3, 3] }] : [])],
      hooks: { drawClear: [(u) => this.under(u)], draw: [(u) => this.over(u)], setCursor: [(u) => this.point(u)], setSelect: [(u) => this.select(u)] },
    }, data, this.plot);
  }

  width() {
    return Math.max(200, this.element.clientWidth - 20);
  }

  resize() {
    this.u?.setSize({ width: this.width(), height: HEIGHT });
  }

  recolour() {
    if (this.u) this.make(this.aligned());
  }

  // Room for outliers and their bounds; percentages begin at 0.
  extent(min, max) {
    const shown = this.outliers.filter(({ at }) => at >= this.start && at <= this.end);
    const all = [min, max, ...shown.flatMap(({ body }) => [body.value, body.lower, body.upper])].filter(Number.isFinite);
    if (!all.length) return [0, 1];
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (low >= 0 && low < high / 2) low = 0;
    if (low === high) { low -= Math.abs(low) / 10 || 1; high += Math.abs(high) / 10 || 1; }
    const room = (high - low) * 0.06;
    return [low === 0 ? 0 : low - room, high + room];
  }

  // Below the line: silences, and the bounds over the values that they were made of.
  under(u) {
    const { ctx, bbox } = u;
    const x = (ms) => Math.min(Math.max(u.valToPos(ms / 1000, 'x', true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = this.of('offline-w');
    for (const one of this.silences) ctx.fillRect(x(one.start), bbox.top, x(one.end ?? this.end) - x(one.start), bbox.height);
    ctx.fillStyle = this.of('band');
    for (const { at, body } of this.outliers) {
      if (!Number.isFinite(body.lower) || !Number.isFinite(body.upper)) continue;
      const begun = this.samples[Math.max(0, this.samples.findIndex(([ms]) => ms >= at) - body.window)]?.[0] ?? at;
      const from = x(Math.max(begun, at - Math.max(1, body.window) * this.interval)), to = x(at);
      const [top, bottom] = [u.valToPos(body.upper, 'y', true), u.valToPos(body.lower, 'y', true)];
      ctx.fillRect(from, top, Math.max(to - from, 4), Math.max(bottom - top, 1));
    }
    ctx.restore();
  }

  // Above it: a ring on each judged point.
  over(u) {
    const { ctx } = u, ratio = devicePixelRatio;
    ctx.save();
    for (const { at, body } of this.outliers) {
      if (at < this.start || at > this.end || !Number.isFinite(body.value)) continue;
      const [x, y] = [u.valToPos(at / 1000, 'x', true), u.valToPos(body.value, 'y', true)];
      ctx.lineWidth = 1.5 * ratio;
      ctx.strokeStyle = this.of('critical');
      ctx.fillStyle = this.of('surface');
      ctx.beginPath();
      ctx.arc(x, y, 5 * ratio, 0, 7);
      ctx.fill();
      ctx.stroke();
      ctx.fillStyle = this.of('critical');
      ctx.beginPath();
      ctx.arc(x, y, 2.2 * ratio, 0, 7);
      ctx.fill();
    }
    ctx.restore();
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 6) return;
    const [from, to] = [u.posToVal(left, 'x') * 1000, u.posToVal(left + width, 'x') * 1000];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoomed(from, to);
  }

  point(u) {
    const at = u.cursor.idx;
    if (at === null || at === undefined) { this.idle(); return; }
    const ms = u.data[0][at] * 1000;
    const other = u.data[2]?.[at];
    this.tell(ms, u.data[1][at], other);
  }

  // What is under the crosshair, in its own line: no floating box.
  tell(ms, one, other) {
    const judged = this.outliers.find((outlier) => Math.abs(outlier.at - ms) < 1);
    fill(this.read, h('b', { text: local(ms) }), h('span', { class: 'q', text: ` (${utc(ms).slice(11)}) ` }), h('b', { text: value(one ?? NaN, this.series.unit) }),
      other !== undefined && other !== null ? ` other ${value(other, this.series.unit)}` : '', judged ? this.evidence(judged) : '');
  }

  evidence({ body, evidence }) {
    const score = Number.isFinite(body.score) ? ` \u00d7${body.score.toFixed(1)}` : '';
    return ` bounds ${value(body.lower, this.series.unit)} to ${value(body.upper, this.series.unit)}, outlier${score}, ${evidence.plugin} ${evidence.version}`;
  }

  idle() {
    const count = this.outliers.length;
    fill(this.read, count ? `${count} ${count === 1 ? 'outlier' : 'outliers'}, the last at ${local(this.outliers[0].at)}:${this.evidence(this.outliers[0])}` : '');
  }

  described(last) {
    const known = this.samples.map(([, one]) => one).filter(Number.isFinite);
    if (!known.length) return `${this.label}: no samples`;
    const unit = this.series.unit;
    return `${this.label}, ${local(this.start)} to ${local(this.end)}: between ${value(Math.min(...known), unit)} and ${value(Math.max(...known), unit)}, now ${value(last?.[1], unit)}. ${this.outliers.length} outliers. Arrow keys step.`;
  }

  tabulate() {
    const open = this.data.firstChild?.open;
    if (!open && this.data.firstChild) return;
    const details = table(this.label, ['Time', 'Value', 'Judged'], []);
    const rows = () => {
      const judged = new Map(this.outliers.map((one) => [one.at, one]));
      const all = [...this.samples.map(([at, one]) => [at, one]), ...this.outliers.filter((one) => !this.samples.some(([at]) => at === one.at)).map((one) => [one.at, one.body.value])];
      all.sort((a, b) => b[0] - a[0]);
      fill(details.querySelector('tbody'), all.slice(0, 500).map(([at, one]) => h('tr', null, h('td', null, time(at)), h('td', { text: value(one ?? NaN, this.series.unit) }), h('td', { text: judged.has(at) ? this.evidence(judged.get(at)) : '' }))));
    };
    details.addEventListener('toggle', () => details.open && rows());
    if (open) { details.open = true; rows(); }
    fill(this.data, details);
  }

  // Steps along the points; with Shift along the outliers.
  key(event) {
    if (!this.u || !['ArrowLeft', 'ArrowRight', 'Enter'].includes(event.key)) return;
    if (event.key === 'Enter') { this.data.firstChild.open = true; event.preventDefault(); return; }
    const by = event.key === 'ArrowLeft' ? -1 : 1;
    event.preventDefault();
    const times = this.u.data[0];
    let at = this.at ?? (by < 0 ? times.length : -1);
    if (event.shiftKey) {
      const from = at < 0 || at >= times.length ? (by < 0 ? Infinity : -Infinity) : times[at] * 1000;
      const next = this.outliers.map((one) => one.at).filter((one) => (by < 0 ? one < from : one > from)).sort((a, b) => (a - b) * by)[0];
      if (next === undefined) return;
      at = times.reduce((best, one, index) => (Math.abs(one * 1000 - next) < Math.abs(times[best] * 1000 - next) ? index : best), 0);
      this.at = at;
      this.move(at);
      const outlier = this.outliers.find((one) => one.at === next);
      this.tell(outlier.at, outlier.body.value);
      return;
    }
    do { at += by; } while (at > 0 && at < times.length - 1 && this.u.data[1][at] === null);
    this.at = Math.max(0, Math.min(times.length - 1, at));
    this.move(this.at);
  }

  move(at) {
    this.u.setCursor({ left: this.u.valToPos(this.u.data[0][at], 'x'), top: HEIGHT / 3 });
  }

  close() {
    this.u?.destroy();
  }
}

function short(one) {
  const size = Math.abs(one);
  if (size >= 1e9) return `${Number((one / 1e9).toFixed(2))}G`;
  if (size >= 1e6) return `${Number((one / 1e6).toFixed(2))}M`;
  if (size >= 1e4) return `${Number((one / 1e3).toFixed(1))}k`;
  return String(Number(one.toFixed(4)));
}
