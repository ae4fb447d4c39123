// The service's own metrics, read from Prometheus text.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([\w]+)="((?:[^"\\]|\\.)*)"/g;

export function parsed(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    if (!line || line[0] === '#') continue;
    const [, name, inner, number] = LINE.exec(line) ?? [];
    if (!name) continue;
    const labels = {};
    for (const [, key, value] of (inner ?? '').matchAll(LABEL)) labels[key] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    samples.push({ name, labels, value: Number(number) });
  }
  return samples;
}

// The sum of a metric; nothing when it is not there.
export function total(samples, name, only = {}) {
  const own = samples.filter((one) => one.name === name && Object.entries(only).every(([key, value]) => one.labels[key] === value));
  return own.length ? own.reduce((sum, one) => sum + one.value, 0) : undefined;
}

export function byLabel(samples, label) {
  const groups = new Map();
  for (const one of samples) {
    const key = one.labels[label];
    if (key === undefined) continue;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(one);
  }
  return groups;
}
