// A table body of which only what is on screen exists. Rows have one height each kind; two spacers keep the length.

import { h } from './dom.js';

const AROUND = 12;

export class List {
  // `row(item, index)` makes a <tr>, `heights()` gives what says how tall an item is, `key(item)` what it is.
  constructor(body, { row, heights, key, columns }) {
    Object.assign(this, { body, row, heights, key, items: [], tops: [0], rows: new Map() });
    const spacer = () => h('tr', { class: 'spacer', role: 'presentation', 'aria-hidden': 'true' }, h('td', { colspan: columns, role: 'presentation' }));
    this.before = spacer();
    this.after = spacer();
    body.replaceChildren(this.before, this.after);
    this.onScroll = () => { this.frame ??= requestAnimationFrame(() => { this.frame = undefined; this.draw(); }); };
    addEventListener('scroll', this.onScroll, { passive: true });
    this.resized = () => { this.measure(); this.draw(true); };
    addEventListener('resize', this.resized);
  }

  close() {
    removeEventListener('scroll', this.onScroll);
    removeEventListener('resize', this.resized);
    cancelAnimationFrame(this.frame);
  }

  set(items) {
    this.items = items;
    this.measure();
    this.draw(true);
  }

  measure() {
    this.tops = new Array(this.items.length + 1);
    const height = this.heights();
    let top = 0;
    for (let at = 0; at < this.items.length; at += 1) {
      this.tops[at] = top;
      top += height(this.items[at]);
    }
    this.tops[this.items.length] = top;
  }

  // The last item that begins at or above `y`.
  at(y) {
    let low = 0, high = this.items.length;
    while (low < high - 1) {
      const middle = (low + high) >> 1;
      if (this.tops[middle] <= y) low = middle; else high = middle;
    }
    return low;
  }

  // The items on screen.
  get visible() {
    return this.items.slice(this.first ?? 0, this.last ?? 0);
  }

  draw(anew = false) {
    const offset = -this.body.getBoundingClientRect().top;
    const first = Math.max(0, this.at(offset) - AROUND);
    const last = Math.min(this.items.length, this.at(offset + innerHeight) + 1 + AROUND);
    if (!anew && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const focused = document.activeElement?.closest?.('tr')?.dataset.key;
    if (focused) this.focused = focused;
    const kept = new Map();
    let at = this.before;
    for (let index = first; index < last; index += 1) {
      const item = this.items[index], key = this.key(item);
      const tr = (!anew && this.rows.get(key)) || this.row(item, index);
      tr.dataset.key = key;
      tr.setAttribute('aria-rowindex', index + 2);
      kept.set(key, tr);
      if (at.nextSibling !== tr) at.after(tr);
      at = tr;
    }
    for (const [key, tr] of this.rows) if (kept.get(key) !== tr) tr.remove();
    this.rows = kept;
    this.before.firstChild.style.setProperty('height', `${this.tops[first]}px`);
    this.after.firstChild.style.setProperty('height', `${this.tops[this.items.length] - this.tops[last]}px`);
    // The focus follows what it was on, not the place.
    if (focused && !document.activeElement?.closest?.('tr')) kept.get(this.focused)?.querySelector('a')?.focus({ preventScroll: true });
    this.seen?.();
  }

  // Makes the row of an item anew, if it is on screen.
  patch(item) {
    const key = this.key(item), old = this.rows.get(key);
    if (!old) return;
    const had = old.contains(document.activeElement);
    const tr = this.row(item, Number(old.getAttribute('aria-rowindex')) - 2);
    tr.dataset.key = key;
    tr.setAttribute('aria-rowindex', old.getAttribute('aria-rowindex'));
    old.replaceWith(tr);
    this.rows.set(key, tr);
    if (had) tr.querySelector('a')?.focus({ preventScroll: true });
  }
}
