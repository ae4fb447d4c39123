// Single keys. Off inside fields and with modifiers; a switch turns them off altogether.

import { $, all, h } from './dom.js';
import { dialog } from './dialog.js';

const STORE = 'vitals.keys';
const KEYS = [
  ['/', 'search'], ['j k', 'next, previous row'], ['Enter', 'open'], ['Esc', 'leave the field, close, zoom out'],
  ['.', 'sort again now'], ['a', 'acknowledge'], ['[ ]', 'earlier, later'], ['c', 'compare with'],
  ['g f', 'fleet'], ['g a', 'alerts'], ['g o', 'objectives'], ['g p', 'plugins'], ['g s', 'service'], ['?', 'these keys'],
];
const GO = { f: './', a: 'alerts', o: 'objectives', p: 'plugins', s: 'service' };

let going = 0;

const on = () => localStorage.getItem(STORE) !== 'off';

export function showKeys() {
  const box = h('input', { type: 'checkbox', id: 'single-keys' });
  box.checked = on();
  box.addEventListener('change', () => localStorage.setItem(STORE, box.checked ? 'on' : 'off'));
  dialog('Keys', [
    h('dl', { class: 'keylist' }, KEYS.map(([keys, what]) => [h('dt', null, keys.split(' ').map((key) => [h('kbd', { text: key }), ' '])), h('dd', { text: what })])),
    h('label', { class: 'check' }, box, 'Single keys are on'),
  ]);
}

// Moves the focus along the links of a list.
function step(by) {
  const links = all('[data-row] a[data-open], a[data-open]').filter((link) => link.offsetParent);
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + by))].focus();
}

// `view()` is the view that is open; its `keys` come first.
export function listenToKeys(view, go) {
  addEventListener('keydown', (event) => {
    const field = event.target.closest?.('input, select, textarea, [contenteditable]');
    if (event.key === 'Escape') {
      if (field) { field.blur(); return; }
      view()?.keys?.Escape?.(event);
      return;
    }
    if (field || event.ctrlKey || event.metaKey || event.altKey || $('dialog[open]') || !on()) return;
    const second = Date.now() - going < 1500 ? GO[event.key] : undefined;
    going = event.key === 'g' ? Date.now() : 0;
    const own = view()?.keys?.[event.key];
    if (second !== undefined) go(second);
    else if (own) { if (own(event) === false) return; } else if (event.key === '/') $('input[type=search]')?.focus();
    else if (event.key === 'j') step(1);
    else if (event.key === 'k') step(-1);
    else if (event.key === '?') showKeys();
    else return;
    event.preventDefault();
  });
}
