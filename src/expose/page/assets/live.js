// The stream of changes: one connection for the page, reconnected and resumed; views hear of events.

import { streamUrl, whoAmI } from './api.js';
import { learn, now } from './time.js';

const KINDS = ['liveness', 'health', 'outlier', 'sla', 'alert', 'maintenance', 'sample'];
// Without a word for so long the connection is dead; the service says something each 15 s.
const SILENCE = 40000;
const RETRY = [1000, 2000, 4000, 8000, 15000];
const POLL = 10000;

let source, lastId, watchdog, retry, poll, version;
let tries = 0, running = false;
let series = [];
const listeners = new Set();

// `up`, since when it is not, whether lists are polled instead.
export const link = { up: false, since: 0, polled: false, nextTry: 0 };

// Calls `hear(kind, data)` for each event, and for `up`, `down`, `reload` and `ended` of the connection itself.
export function listen(hear) {
  listeners.add(hear);
  return () => listeners.delete(hear);
}
const tell = (kind, data) => listeners.forEach((hear) => hear(kind, data));

export function start() {
  if (running) return;
  running = true;
  // The lists are read at the start: what was before it is in them.
  lastId = undefined;
  link.since = now();
  connect();
}

export function stop() {
  running = false;
  drop();
  clearTimeout(retry);
  clearInterval(poll);
  link.polled = false;
}

// Also hear samples of these series; the stream is opened anew when they differ.
export function watch(ids) {
  if (ids.join() === series.join()) return;
  series = ids;
  if (running && source) { drop(); connect(); }
}

export function tryNow() {
  clearTimeout(retry);
  drop();
  connect();
}

function drop() {
  clearTimeout(watchdog);
  source?.close();
  source = undefined;
}

function alive() {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => { lost(); drop(); again(); }, SILENCE);
}

function connect() {
  if (!running) return;
  const opened = new EventSource(streamUrl({ kind: KINDS.slice(0, -1).join(), series: series.join(), last_event_id: lastId }));
  source = opened;
  alive();
  const on = (kind, then) => opened.addEventListener(kind, (event) => {
    if (source !== opened) return;
    alive();
    if (event.lastEventId) lastId = event.lastEventId;
    let data;
    try { data = JSON.parse(event.data || '{}'); } catch { return; }
    then(data);
  });
  on('hello', (data) => {
    learn(data.time);
    clearInterval(poll);
    tries = 0;
    const wasPolled = link.polled;
    Object.assign(link, { up: true, polled: false });
    if (version !== undefined && version !== data.version) tell('version', data);
    version = data.version;
    tell('up', data);
    if (wasPolled) tell('reload', {});
  });
  on('heartbeat', (data) => { learn(data.time); tell('heartbeat', data); });
  on('gap', (data) => { tell('gap', data); tell('reload', data); });
  on('end', (data) => {
    lost();
    drop();
    if (data.reason?.startsWith('token')) tell('ended', data); else again();
  });
  for (const kind of KINDS) on(kind, (data) => tell(kind, data));
  opened.onerror = () => {
    if (source !== opened) return;
    lost();
    // While it is not closed for good, the browser tries again by itself; a refusal closes it.
    if (opened.readyState === EventSource.CLOSED) { drop(); again(); }
  };
}

function lost() {
  if (link.up || !link.since) link.since = now();
  link.up = false;
  tell('down', {});
}

// Tries again later. If the service answers but refuses the stream, lists are read anew instead.
function again() {
  if (!running) return;
  const wait = RETRY[Math.min(tries, RETRY.length - 1)] * (0.75 + Math.random() / 2);
  tries += 1;
  link.nextTry = Date.now() + wait;
  clearTimeout(retry);
  retry = setTimeout(async () => {
    if (!running || source) return;
    try {
      const who = await whoAmI();
      if (!who.session) { tell('ended', {}); return; }
      if (tries > 1 && !link.polled) {
        link.polled = true;
        poll = setInterval(() => tell('reload', {}), POLL);
        tell('reload', {});
        tell('polled', {});
      }
    } catch {
      clearInterval(poll);
      link.polled = false;
    }
    connect();
  }, wait);
}
