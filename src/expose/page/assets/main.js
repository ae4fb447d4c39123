// The frame: who is signed in, which view is open, what stands above it.

import { $, all, fill, h, say } from './dom.js';
import * as api from './api.js';
import * as live from './live.js';
import { bones, failed } from './dialog.js';
import { codeInAddress, showSignIn } from './sign-in.js';
import { listenToKeys, showKeys } from './keys.js';
import { inUtc, local, now, skew, span, utc, zoneName } from './time.js';
import * as fleet from './fleet.js';
import * as agent from './agent.js';
import * as alerts from './alerts.js';
import * as objectives from './objectives.js';
import * as plugins from './plugins.js';
import * as service from './service.js';

const VIEWS = { '': fleet, agent, alerts, objectives, plugins, service };
const main = $('#main');
let view, session, opened = 0;

// What a view may use of the frame.
const frame = {
  go, setQuery, title, openAlerts,
  get session() { return session; },
};

const place = () => location.pathname.split('/').pop();
const parameters = () => Object.fromEntries(new URLSearchParams(location.search));

function title(text) {
  document.title = `${text} - vitals`;
}

export function go(href) {
  history.pushState(null, '', href);
  show(true);
}

// Changes parts of the query; what is undefined or empty goes.
function setQuery(changes, push = false) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined || value === null || value === '') query.delete(key); else query.set(key, value);
  }
  const text = query.toString();
  history[push ? 'pushState' : 'replaceState'](null, '', place() === '' ? `./${text ? '?' + text : ''}` : `${place()}${text ? '?' + text : ''}`);
}

let alertCount;
function openAlerts(count) {
  if (count !== undefined) alertCount = count;
  const pill = $('#open-alerts');
  pill.hidden = !alertCount;
  fill(pill, h('span', { class: 'vh', text: ', open: ' }), String(alertCount ?? ''));
}

async function show(moved) {
  const mine = opened += 1;
  const name = place();
  view?.close?.();
  view = undefined;
  for (const link of all('.nav a')) {
    const to = new URL(link.href).pathname.split('/').pop();
    if (to === name || (name === 'agent' && to === '')) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  }
  fill(main);
  const stopBones = bones(main);
  try {
    const next = await (VIEWS[name] ?? fleet).open(main, parameters(), frame);
    stopBones();
    if (mine !== opened) { next?.close?.(); return; }
    view = next;
  } catch (error) {
    stopBones();
    if (mine !== opened || error.status === 401) return;
    fill(main, h('section', { class: 'card' }, failed('This view', error, () => show())));
  }
  if (moved) main.focus();
}

// Above the page, one at a time, the worst.
const ORDER = ['ended', 'down', 'polled', 'version', 'gap', 'clock'];
const LOOK = { ended: 'critical', down: 'offline', polled: 'late', version: 'unknown', gap: 'unknown', clock: 'degraded' };
const banners = {};
function banner(kind, text, button, act) {
  if (text) banners[kind] = { text, button, act }; else delete banners[kind];
  const worst = ORDER.find((one) => banners[one]);
  const where = $('#banner');
  document.body.classList.toggle('not-live', Boolean(banners.down || banners.ended));
  if (!worst) { fill(where); where.dataset.kind = ''; return; }
  const { text: says, button: label, act: then } = banners[worst];
  if (where.dataset.kind === worst) { say($('span', where), says); return; }
  where.dataset.kind = worst;
  const pressed = label && h('button', { type: 'button', class: 'btn', text: label, onclick: then });
  fill(where, h('div', { class: `banner ${LOOK[worst]}`, role: ['ended', 'down'].includes(worst) ? 'alert' : 'status' }, h('i', { class: 's', 'aria-hidden': 'true' }), h('span', { text: says }), pressed));
}

function tick() {
  const ms = now();
  const clock = $('#clock');
  fill(clock, h('time', { datetime: new Date(ms).toISOString(), title: utc(ms), text: local(ms) }), ` ${zoneName} `, !inUtc() && h('span', { class: 'q', text: `${new Date(ms).toISOString().slice(11, 19)} UTC` }));
  if (!live.link.up && !live.link.polled && session && now() - live.link.since > 2000) {
    const wait = Math.max(0, Math.ceil((live.link.nextTry - Date.now()) / 1000));
    banner('down', `Not connected since ${local(live.link.since)}. What is below was true then.${wait ? ` Trying again in ${wait} s.` : ' Trying again.'}`, 'Try now', live.tryNow);
  }
  if (Math.abs(skew()) > 60000) {
    banner('clock', `Your clock is ${span(Math.abs(skew()))} ${skew() > 0 ? 'behind' : 'ahead of'} the server's. Ages are counted by the server's.`);
  } else banner('clock');
  if (session && Date.parse(session.ends) <= ms) ended();
  view?.tick?.();
}

function ended() {
  if (!session) return;
  session = undefined;
  live.stop();
  $('#live').hidden = true;
  banner('down');
  banner('ended', 'Your session has ended. Sign in to go on; this view comes back as it was.', 'Sign in', () => begin('Your session has ended.'));
}

async function begin(says) {
  const who = await showSignIn(main, says);
  signedIn(who.session);
  show();
}

function signedIn(who) {
  session = who;
  banner('ended');
  fill($('#who'), h('bdi', { text: who.subject }));
  $('#sign-out').hidden = false;
  live.stop();
  live.start();
  api.get('alerts', { state: 'open', limit: 1000 }).then((list) => openAlerts(list.alerts.length)).catch(() => {});
}

live.listen((kind, data) => {
  const lamp = $('#live');
  if (kind === 'up') { lamp.hidden = false; banner('down'); banner('polled'); }
  if (kind === 'down') lamp.hidden = true;
  if (kind === 'polled') { banner('down'); banner('polled', 'The stream of changes is refused. Lists are read anew every 10 s instead.'); }
  if (kind === 'gap') banner('gap', `Something was skipped: ${data.skipped ?? 'an unknown number of'} events. Lists were read anew at ${local(now())}.`, 'Dismiss', () => banner('gap'));
  if (kind === 'version') banner('version', 'The service was updated. Load this page anew to match it.', 'Load anew', () => location.reload());
  if (kind === 'ended') ended();
  if (kind === 'alert' && alertCount !== undefined) countAlert(data);
  view?.hear?.(kind, data);
});

function countAlert({ change }) {
  if (change === 'raised' || change === 'unacknowledged') openAlerts(alertCount + 1);
  else if (['acknowledged', 'closed', 'resolved'].includes(change)) {
    api.get('alerts', { state: 'open', limit: 1000 }).then((list) => openAlerts(list.alerts.length)).catch(() => {});
  }
}

// Links between views do not load the page anew.
addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  const folder = new URL('./', location.href).pathname;
  if (to.origin !== location.origin || !to.pathname.startsWith(folder) || to.hash || !(to.pathname.slice(folder.length) in VIEWS)) return;
  event.preventDefault();
  go(to.pathname + to.search);
});
addEventListener('popstate', () => (view?.moved?.(parameters()) ? undefined : show()));
api.whenSignedOut(ended);
$('#show-keys').addEventListener('click', showKeys);
$('#sign-out').addEventListener('click', async () => {
  await api.signOut().catch(() => {});
  live.stop();
  location.reload();
});
listenToKeys(() => view, go);

async function boot() {
  const code = codeInAddress();
  tick();
  setInterval(tick, 1000);
  try {
    let who;
    if (code) who = await api.signIn({ code }).catch(() => undefined);
    who ??= await api.whoAmI();
    if (who.session) { signedIn(who.session); await show(); } else await begin(code ? 'The link was used or is too old. Run `vitals open` again.' : '');
  } catch (error) {
    fill(main, h('section', { class: 'card' }, failed('The service', error, () => location.reload())));
  }
}
boot();
