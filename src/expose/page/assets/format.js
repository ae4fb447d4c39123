// Numbers as people read them. What is not known is a dash, never 0.

export const DASH = '\u2013';
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = (n) => (Number.isFinite(n) ? grouped.format(n) : DASH);

// Three figures or so; below zero with a minus, which is as wide as a figure.
export const number = (n) => figures(n).replace(/^-/, '\u2212');

function figures(n) {
  if (!Number.isFinite(n)) return DASH;
  const size = Math.abs(n);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return n.toExponential(2);
  if (size >= 1000) return grouped.format(n);
  return String(Number(n.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 4)));
}

// 99.999 is not 100.
export const percent = (n) => (Number.isFinite(n) ? (n >= 100 ? '100 %' : `${Math.min(n, 99.99).toFixed(2)} %`) : DASH);

const UNITS = { '%': ' %', By: ' B', s: ' s', ms: ' ms', '1': '', '': '' };

// A value with its unit; `{order}` of OTLP is a word, not a unit.
export function value(n, unit = '') {
  if (!Number.isFinite(n)) return DASH;
  if (unit === 'By') return bytes(n);
  const bare = unit.replace(/^\{(.*)\}$/u, '$1');
  return number(n) + (UNITS[bare] ?? (bare.length > 24 ? '' : ` ${bare}`));
}

export function bytes(n) {
  if (!Number.isFinite(n)) return DASH;
  const names = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let at = 0;
  while (Math.abs(n) >= 1000 && at < names.length - 1) { n /= 1000; at += 1; }
  return `${at ? n.toFixed(n < 10 ? 2 : 1) : n} ${names[at]}`;
}

export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
