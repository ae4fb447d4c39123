// Signing in: a token is pasted, or a one-time link was followed. The token goes to the service once and is not kept here.

import { fill, h } from './dom.js';
import { failureText } from './dialog.js';
import { signIn } from './api.js';

// The code of a one-time link, taken out of the address at once.
export function codeInAddress() {
  const code = /^#open=([\w-]+)$/.exec(location.hash)?.[1];
  if (code) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

export function showSignIn(main, says) {
  document.title = 'Sign in - vitals';
  return new Promise((done) => {
    const input = h('input', { type: 'password', id: 'token', name: 'token', required: true, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'how' });
    const wrong = h('p', { class: 'warn critical', role: 'alert', hidden: !says, text: says });
    const button = h('button', { type: 'submit', class: 'btn main', text: 'Sign in' });
    const form = h('form', { class: 'pad field' }, h('label', { for: 'token', text: 'Token' }), input, button);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        done(await signIn({ token: input.value }));
      } catch (error) {
        fill(wrong, failureText(error));
        wrong.hidden = false;
        button.disabled = false;
        input.select();
      }
    });
    fill(main, h('section', { class: 'card narrow', 'aria-labelledby': 'sign-in-h' }, h('header', null, h('h1', { id: 'sign-in-h', text: 'Sign in' })), wrong, form,
      h('div', { class: 'note', id: 'how' }, 'Paste a token, or run ', h('code', { text: 'vitals open' }),
        ' where the service runs: it prints a link that signs in once. ', h('code', { text: 'vitals token --subject me --email me@example.com' }), ' makes a token.')));
    input.focus();
  });
}
