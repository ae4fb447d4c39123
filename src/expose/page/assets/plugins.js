// The plugins in force: whether they run, what they cost, what they found, why one was locked away.

import { fill, h, plain } from './dom.js';
import { get, metrics } from './api.js';
import { empty, failed } from './dialog.js';
import { DASH, bytes, count, many, number } from './format.js';
import { state } from './state.js';
import { byLabel, parsed } from './prometheus.js';
import { now, span, time } from './time.js';

const EVERY = 5000;

export async function open(main, query, frame) {
  const view = new PluginsView(main, query, frame);
  await view.load();
  return view;
}

const LOOK = { ok: ['running', 'running'], quarantined: ['quarantined', 'quarantined'], refused: ['quarantined', 'refused'], disabled: ['unknown', 'disabled'], shadow: ['shadow', 'shadow'] };

class PluginsView {
  constructor(main, query, frame) {
    Object.assign(this, { main, frame, keys: {} });
    this.title = h('h1', { 'aria-live': 'polite' });
    this.says = h('p');
    this.body = h('tbody');
    this.notes = h('div', { class: 'stack' });
    const head = ['Plugin', 'State', 'Calls', 'Calls/s', 'Failures', 'Last call', 'Memory', 'Verdicts'];
    this.table = h('table', { class: 'cardy three loose plug' }, h('caption', { class: 'vh', text: 'Plugins' }), h('thead', null, h('tr', null, head.map((text, at) => h('th', { scope: 'col', class: at > 1 ? 'n' : undefined, text })))), this.body);
    this.card = h('div', { class: 'card wide' }, this.table);
    fill(main, h('div', { class: 'head' }, h('div', null, this.title, this.says)), h('div', { class: 'stack' }, this.card, this.notes));
    this.reader = setInterval(() => { if (!document.hidden && !document.body.classList.contains('not-live')) this.load(); }, EVERY);
  }

  async load() {
    try {
      const [list, text] = await Promise.all([get('plugins'), metrics().catch(() => '')]);
      this.failures = byLabel(parsed(text), 'plugin');
      this.draw(list.plugins);
    } catch (error) {
      if (error.status === 401) throw error;
      if (!this.drawn) fill(this.card, failed('The plugins', error, () => this.load()));
    }
  }

  draw(plugins) {
    const locked = plugins.filter((one) => one.state === 'quarantined' || one.quarantined > 0);
    const refused = plugins.filter((one) => one.state === 'refused');
    const trouble = [locked.length && `${count(locked.length)} quarantined`, refused.length && `${count(refused.length)} refused`].filter(Boolean);
    const at = now();
    const text = plugins.length ? `${many(plugins.length, 'plugin')}${trouble.length ? `, ${trouble.join(', ')}` : ', all run'}` : 'No plugin is in force';
    if (this.title.textContent !== text) this.title.textContent = text;
    this.frame.title(`Plugins: ${text}`);
    const counted = plugins.some((one) => one.calls !== undefined);
    const words = counted ? 'Counted since the start of the service, over all tenants.' : 'How they do is counted over all tenants; a token with the scope admin sees it.';
    if (this.says.textContent !== words) this.says.textContent = words;
    fill(this.body, plugins.map((one) => this.row(one, at)));
    this.before = { at, calls: new Map(plugins.map((one) => [one.name, one.calls])) };
    fill(this.notes, plugins.map((one) => this.note(one)));
    this.drawn = true;
  }

  row(one, at) {
    const [look, word] = LOOK[one.quarantined > 0 ? 'quarantined' : one.state] ?? ['unknown', one.state];
    const cell = (head, ...content) => h('td', { class: 'n', 'data-h': head }, content);
    const known = this.before?.calls.get(one.name);
    const rate = known !== undefined && at > this.before.at ? ((one.calls - known) * 1000) / (at - this.before.at) : undefined;
    return h('tr', { 'data-row': true }, h('th', { scope: 'row', class: 'full' }, h('span', { class: 'nm', text: one.name }), ` ${one.version}`, h('br'), h('span', { class: 'q sm', text: one.kind ?? '' })),
      h('td', { 'data-h': 'State' }, state(look, word), h('br'), h('span', { class: 'q sm', text: one.quarantined_until ? `until ${new Date(one.quarantined_until).toLocaleTimeString()}` : one.stale ? 'its last verdicts may be out of date' : '' })),
      cell('Calls', count(one.calls)), cell('Calls/s', rate === undefined ? DASH : number(rate)), cell('Failures', one.failures ? h('b', { class: 'bad', text: count(one.failures) }) : count(one.failures)),
      cell('Last call', Number.isFinite(one.last_call_ms) ? `${number(one.last_call_ms)} ms` : DASH), cell('Memory', bytes(one.memory_bytes)), cell('Verdicts', count(one.verdicts)));
  }

  note(one) {
    const trouble = one.last_error || one.quarantined > 0 || one.state === 'refused';
    const why = (this.failures.get(one.name) ?? []).filter((sample) => sample.name === 'vitals_plugin_failures_total').map((sample) => `${sample.labels.reason ?? sample.labels.kind ?? 'failure'} ${count(sample.value)}`).join(', ');
    return h('section', { class: 'card', 'aria-label': `${one.name}, details` }, h('header', null, h('h2', { text: one.name }), h('span', { class: 'q sm', text: one.source })),
      trouble && h('div', { class: 'warn critical' }, one.state === 'refused' ? 'Refused: it cannot be used, the service runs without it. ' : one.quarantined > 0 ? 'Quarantined: it failed again and again. ' : 'It lost a turn. ', one.last_error && plain(one.last_error), why && h('span', { class: 'q', text: ` (${why})` })),
      h('div', { class: 'pad' }, h('dl', { class: 'kv left' }, h('dt', { text: 'component' }), h('dd', null, h('code', { text: one.digest })), h('dt', { text: 'settings' }), h('dd', null, h('code', { text: one.config })))),
      one.log?.length > 0 && h('pre', { class: 'pre', tabindex: 0, role: 'region', 'aria-label': `Log lines of ${one.name}`, text: one.log.map((line) => (typeof line === 'string' ? line : `${line.time ?? ''} ${line.text ?? ''}`)).join('\n') }));
  }

  hear(kind) {
    if (kind === 'reload') this.load();
  }

  close() {
    clearInterval(this.reader);
  }
}
