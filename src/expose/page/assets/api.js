// The public REST routes, with the session's cookie.

import { learn } from './time.js';

const BASE = 'api/v1/telemetry/';
let csrf = '';
let onSignedOut = () => {};

export class Failure extends Error {
  constructor(status, detail, request) {
    super(detail);
    this.status = status;
    this.request = request;
  }
}

const texts = (detail) => (Array.isArray(detail) ? detail.map((problem) => `${(problem.loc ?? []).join('.')}: ${problem.msg}`).join('; ') : detail);

async function ask(path, method, body) {
  const headers = { accept: 'application/json' };
  if (method !== 'GET') headers['x-csrf-token'] = csrf;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin', cache: 'no-store' });
  } catch {
    throw new Failure(0, 'The service cannot be reached.', '');
  }
  const request = answer.headers.get('x-correlation-id') ?? '';
  const isJson = (answer.headers.get('content-type') ?? '').startsWith('application/json');
  const content = answer.status === 204 ? null : isJson ? await answer.json().catch(() => null) : await answer.text();
  if (answer.ok) return content;
  if (answer.status === 401 && !path.startsWith('session')) onSignedOut();
  throw new Failure(answer.status, texts(content?.detail) ?? `The service answered ${answer.status}.`, request);
}

const query = (parameters) => {
  const pairs = Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return pairs.length ? '?' + new URLSearchParams(pairs.map(([key, value]) => [key, String(value)])) : '';
};

export const get = (path, parameters) => ask(BASE + path + query(parameters), 'GET');
export const post = (path, body = {}) => ask(BASE + path, 'POST', body);
export const put = (path, body) => ask(BASE + path, 'PUT', body);
export const remove = (path) => ask(BASE + path, 'DELETE');
// The metrics of the service itself, as text.
export const metrics = () => ask('metrics', 'GET');
export const streamUrl = (parameters) => BASE + 'stream' + query(parameters);

async function session(method, body) {
  const asked = Date.now();
  const answer = await ask('session', method, body);
  if (answer?.time) learn(answer.time, asked);
  csrf = answer?.session?.csrf ?? '';
  return answer;
}
export const whoAmI = () => session('GET');
export const signIn = (how) => session('POST', how);
export const signOut = () => session('DELETE');
export const whenSignedOut = (then) => { onSignedOut = then; };

// Runs at most `most` of `work` at a time; the newest asked for goes first.
export function lane(most) {
  const waiting = [];
  let busy = 0;
  const next = async () => {
    if (busy >= most || !waiting.length) return;
    busy += 1;
    const { work, done, failed } = waiting.pop();
    try { done(await work()); } catch (error) { failed(error); }
    busy -= 1;
    next();
  };
  return (work) => new Promise((done, failed) => { waiting.push({ work, done, failed }); next(); });
}
