// Elements from data. Text only ever becomes text: there is no way here to make markup of a string.

const SVG = 'http://www.w3.org/2000/svg';

function put(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'text') element.textContent = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(3)) {
    if (child !== undefined && child !== null && child !== false && child !== '') element.append(child);
  }
  return element;
}

// An HTML element: `h('a', {class: 'nm', href}, 'text', other)`.
export const h = (tag, properties, ...children) => put(document.createElement(tag), properties, children);
// An SVG element.
export const s = (tag, properties, ...children) => put(document.createElementNS(SVG, tag), properties, children);

export const $ = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Puts `children` in place of what is in `element`.
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false && child !== ''));
  return element;
}

// Sets a text only if it differs, so that nothing is painted and nothing announced in vain.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Characters that change what others look like, spelled out: `U+202E`.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb]/u;

function spelled(text) {
  if (!HIDDEN.test(text)) return [text];
  return [...text].reduce((parts, c) => {
    if (HIDDEN.test(c)) parts.push(h('em', { text: 'U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0') }));
    else if (typeof parts.at(-1) === 'string') parts[parts.length - 1] += c;
    else parts.push(c);
    return parts;
  }, []);
}

const TAIL = 14;

// A name of any length: the middle goes, the last characters stay; the whole is in the title.
export function name(text, properties = {}) {
  const tag = properties.href === undefined ? 'span' : 'a';
  const letters = [...text];
  if (letters.length <= 40) return h(tag, { class: 'nm', ...properties }, h('bdi', null, spelled(text)));
  const [head, tail] = [letters.slice(0, -TAIL).join(''), letters.slice(-TAIL).join('')];
  return h(tag, { class: 'nm', title: text, ...properties }, h('bdi', null, spelled(head)), h('bdi', null, spelled(tail)));
}

// A name in a sentence.
export const plain = (text) => h('bdi', null, spelled(text));

// A picture of data, with the same as text and as a table.
export function table(label, head, rows, properties = {}) {
  return h('details', { class: 'data' },
    h('summary', null, 'Data as a table', h('span', { class: 'vh', text: `: ${label}` })),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `${label}, data` },
      h('table', properties, h('thead', null, h('tr', null, head.map((text) => h('th', { scope: 'col', text })))),
        h('tbody', null, rows.map((row) => h('tr', null, row.map((cell) => h('td', null, cell))))))));
}
