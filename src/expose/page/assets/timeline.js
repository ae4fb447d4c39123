// What an agent was over time, and its alerts: lanes over one axis.

import { fill, h, s, table } from './dom.js';
import { state, severityClass } from './state.js';
import { local, span, time } from './time.js';

// The words for what availability knows.
export const WORDS = { up: 'healthy', silent: 'offline', unhealthy: 'critical', maintenance: 'maintenance' };
const SAYS = { up: 'up', silent: 'silent', unhealthy: 'critical', maintenance: 'maintenance' };
// Top and height in the lane.
const LOOK = { up: [30, 4], silent: [4.5, 29], unhealthy: [4, 30], maintenance: [18, 16] };

const STEPS = [6e4, 3e5, 6e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];

// Times at which an axis of `start` to `end` has a line; whole ones in the viewer's zone.
export function ticks(start, end, most = 6) {
  const step = STEPS.find((one) => (end - start) / one <= most) ?? STEPS.at(-1);
  const offset = new Date(start).getTimezoneOffset() * 6e4;
  const found = [];
  for (let at = Math.ceil((start - offset) / step) * step + offset; at <= end; at += step) found.push(at);
  return found;
}

export function timeline(label, intervals, alerts, start, end) {
  const x = (ms) => (Math.min(Math.max(ms, start), end) - start) / (end - start) * 100;
  const bar = (from, to, name, top, height) => {
    const width = Math.max(x(to) - x(from), 0.15);
    return s('rect', { class: name, x: `${x(from)}%`, y: top, width: `${width}%`, height });
  };
  const lanes = ['judged', 'alerts'];
  const plot = s('svg', { class: 'plot', height: 96, 'aria-hidden': 'true' },
    ticks(start, end).map((at) => [s('line', { x1: `${x(at)}%`, x2: `${x(at)}%`, y1: 0, y2: 72 }),
      s('text', { x: `${x(at)}%`, y: 90, 'text-anchor': x(at) > 96 ? 'end' : x(at) < 4 ? 'start' : 'middle' }, local(at, false).slice(-5))]),
    intervals.map((one) => LOOK[one.state] && bar(one.start, one.end ?? end, WORDS[one.state], ...LOOK[one.state])),
    alerts.map((alert) => bar(Date.parse(alert.timestamp), alert.resolved_at ? Date.parse(alert.resolved_at) : end, severityClass(alert.severity), 50, 12)));
  const axis = s('svg', { class: 'ax', height: 96, 'aria-hidden': 'true' }, lanes.map((text, at) => s('text', { x: 54, y: at ? 61 : 25, 'text-anchor': 'end' }, text)));
  const trouble = intervals.filter((one) => one.state !== 'up');
  const said = trouble.length ? trouble.slice(-6).map((one) => `${SAYS[one.state]} ${local(one.start, false)} to ${one.end ? local(one.end, false) : 'now'}`).join(', ') : 'no outage';
  const rows = [...intervals].reverse().map((one) => [time(one.start), one.end ? time(one.end) : 'now', state(WORDS[one.state] ?? 'unknown', SAYS[one.state] ?? one.state), span((one.end ?? end) - one.start)]);
  return [h('div', { class: 'line', role: 'img', 'aria-label': `${label}: ${said}` }, axis, plot), table(label, ['From', 'To', 'State', 'For'], rows)];
}

export function redraw(where, ...of) {
  fill(where, timeline(...of));
}
