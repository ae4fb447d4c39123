// Small pictures of a row: what an agent was over a day, and its score. Calm is flat, trouble stands up.

import { s } from './dom.js';
import { percent, many } from './format.js';

const WIDTH = 288, HEIGHT = 16;
// Top and height of each state; what is not known is a hairline.
const LOOK = { up: ['healthy', 13, 3], silent: ['offline', 0.6, 15.4], unhealthy: ['critical', 0, 16], maintenance: ['maintenance', 8, 8] };

// Shares of intervals [{start, end, state}] of ms in a range.
export function tally(intervals, start, end) {
  const sum = { up: 0, silent: 0, unhealthy: 0, maintenance: 0 };
  const outages = { silent: 0, unhealthy: 0, maintenance: 0, up: 0 };
  for (const one of intervals) {
    const long = Math.min(one.end ?? end, end) - Math.max(one.start, start);
    if (long <= 0 || sum[one.state] === undefined) continue;
    sum[one.state] += long;
    outages[one.state] += 1;
  }
  const counted = sum.up + sum.silent + sum.unhealthy;
  return { sum, outages, available: counted ? (100 * sum.up) / counted : undefined };
}

export function described({ outages, available }, hours = 24) {
  const parts = [available === undefined ? 'nothing known' : `available ${percent(available)}`];
  if (outages.silent) parts.push(many(outages.silent, 'outage'));
  if (outages.unhealthy) parts.push(`critical ${outages.unhealthy === 1 ? 'once' : `${outages.unhealthy} times`}`);
  if (outages.maintenance) parts.push('planned maintenance');
  return `Last ${hours} h: ${parts.join(', ')}`;
}

const round = (n) => Math.round(n * 10) / 10;

export function strip(intervals, start, end, label) {
  const paths = {};
  const scale = WIDTH / (end - start);
  for (const one of intervals) {
    const look = LOOK[one.state];
    if (!look) continue;
    const from = Math.max(0, (one.start - start) * scale);
    // Even a short outage must be seen.
    const to = Math.max(from + (one.state === 'up' ? 0 : 1.5), Math.min(WIDTH, ((one.end ?? end) - start) * scale));
    const [name, top, height] = look;
    paths[name] = `${paths[name] ?? ''}M${round(from)} ${top}H${round(to)}V${round(top + height)}H${round(from)}Z`;
  }
  const order = ['healthy', 'maintenance', 'critical', 'offline'];
  return s('svg', { class: 'strip', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    s('path', { class: 'unknown', d: `M0 15.5H${WIDTH}V16H0Z` }), order.filter((name) => paths[name]).map((name) => s('path', { class: name, d: paths[name] })));
}

// A line of [[time, value]] within `least` and `most`; its end has the colour of the state.
export function spark(points, state, label, { least = 0, most = 100, limit } = {}) {
  const known = points.filter(([, value]) => Number.isFinite(value));
  const svg = s('svg', { class: `spark ${state}`, viewBox: '0 0 96 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  if (!known.length) return svg;
  const [first, last] = [known[0][0], known.at(-1)[0]];
  const x = (time) => round(last > first ? ((time - first) / (last - first)) * 96 : 96);
  const y = (value) => round(1.2 + (1 - (Math.min(Math.max(value, least), most) - least) / (most - least || 1)) * 17.6);
  if (limit !== undefined) svg.append(s('path', { class: 'lim', d: `M0 ${y(limit)}H96` }));
  svg.append(s('path', { d: 'M' + known.map(([time, value]) => `${x(time)} ${y(value)}`).join(' ') }));
  const [time, value] = known.at(-1);
  svg.append(s('path', { class: 'end', d: `M${x(time)} ${y(value)}h0` }));
  return svg;
}
