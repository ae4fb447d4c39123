// Dialogs that ask, a line that can undo, and the parts that stand in for a list.

import { $, fill, h } from './dom.js';

// A modal dialog; the focus returns to where it was.
export function dialog(title, content, buttons = []) {
  const before = document.activeElement;
  const close = h('button', { type: 'button', class: 'btn', text: buttons.length ? 'Cancel' : 'Close' });
  const box = h('dialog', { 'aria-labelledby': 'dialog-h' }, h('h2', { id: 'dialog-h', text: title }), content, h('p', { class: 'acts ends-r' }, close, buttons));
  close.addEventListener('click', () => box.close());
  box.addEventListener('close', () => { box.remove(); before?.isConnected && before.focus(); });
  document.body.append(box);
  box.showModal();
  return box;
}

// Asks for the fields; resolves with their values when `act` succeeded, and with nothing when it was called off.
// A field is {name, label, type, value, required, options: [[value, text]]}.
export function ask(title, says, fields, verb, act) {
  return new Promise((done) => {
    const inputs = fields.map((field) => {
      const properties = { id: `f-${field.name}`, name: field.name, required: field.required };
      const input = field.options
        ? h('select', properties, field.options.map(([value, text]) => h('option', { value, text })))
        : h('input', { ...properties, type: field.type ?? 'text', maxlength: field.type ? undefined : 500, autocomplete: 'off' });
      if (field.value !== undefined) input.value = field.value;
      return input;
    });
    const wrong = h('p', { class: 'warn critical', role: 'alert', hidden: true });
    const button = h('button', { type: 'submit', class: 'btn main', text: verb, form: 'dialog-form' });
    const form = h('form', { id: 'dialog-form', method: 'dialog' }, says && h('p', { text: says }),
      fields.map((field, at) => h('p', { class: 'field' }, h('label', { for: `f-${field.name}`, text: field.label }), inputs[at])), wrong);
    const box = dialog(title, form, [button]);
    let result;
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      button.disabled = true;
      button.textContent = `${verb}\u2026`;
      try {
        const values = Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
        result = (await act(values)) ?? values;
        box.close();
      } catch (error) {
        fill(wrong, failureText(error));
        wrong.hidden = false;
        button.disabled = false;
        button.textContent = verb;
      }
    });
    box.addEventListener('close', () => done(result));
  });
}

// Says what was done for ten seconds, with a way back.
let undoTimer;
export function undoable(text, undo) {
  const line = $('#undo');
  clearTimeout(undoTimer);
  const button = h('button', { type: 'button', class: 'btn', text: 'Undo' });
  button.addEventListener('click', async () => {
    button.disabled = true;
    try { await undo(); fill(line); } catch (error) { fill(line, failureText(error)); }
  });
  fill(line, h('span', { text }), undo && button);
  undoTimer = setTimeout(() => fill(line), 10000);
}

export const failureText = (error) => (error.status === undefined ? `Something went wrong on this page: ${error.message}` : error.message);

// A part that failed: what, why, the status and the request, and a button to try again.
export function failed(what, error, again) {
  const button = h('button', { type: 'button', class: 'btn', text: 'Try again' });
  button.addEventListener('click', again);
  return h('div', { class: 'empty pad top', role: 'status' },
    h('p', null, h('span', { class: 'st critical' }, h('i', { class: 's', 'aria-hidden': 'true' }), `${what} could not be read.`), h('br'), failureText(error)),
    h('p', { class: 'acts' }, button, h('span', { class: 'q mono', text: [error.status || '', error.request && `request ${error.request}`].filter(Boolean).join(', ') })));
}

export const empty = (title, ...more) => h('div', { class: 'empty pad top' }, h('p', null, h('b', { text: title }), h('br'), more));

// Rows without words, shown only when loading takes longer than a glance, and only while nothing else is there.
export function bones(where, rows = 6) {
  const timer = setTimeout(() => where.firstElementChild || fill(where, h('div', { 'aria-busy': 'true' }, h('p', { class: 'pad top q', role: 'status', text: 'Loading\u2026' }),
    Array.from({ length: rows }, () => h('div', { class: 'bones' })))), 300);
  return () => clearTimeout(timer);
}
