// Times: in the viewer's zone with UTC beside, ages by the server's clock.

import { h } from './dom.js';

// How far the server's clock is ahead of ours, milliseconds.
let ahead = 0;

export const now = () => Date.now() + ahead;
export const skew = () => ahead;

// Learns the server's clock from an answer that was asked for at `asked`.
export function learn(serverTime, asked = Date.now()) {
  const server = Date.parse(serverTime);
  if (!Number.isNaN(server)) ahead = server - (asked + Date.now()) / 2;
}

const two = (number) => String(number).padStart(2, '0');
const zone = () => new Intl.DateTimeFormat(undefined, { timeZoneName: 'short' }).formatToParts(new Date()).find((part) => part.type === 'timeZoneName')?.value ?? '';
export const zoneName = zone();
// Where the viewer's zone is UTC, it is not said twice.
export const inUtc = () => new Date().getTimezoneOffset() === 0 && zoneName === 'UTC';

const clock = (d, seconds) => `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? ':' + two(d.getSeconds()) : ''}`;
const day = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;

// `2026-03-01 13:32:10 UTC`
export const utc = (ms) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ') + ' UTC';
// `13:32:10`, with the day in front when it is another one.
export function local(ms, seconds = true) {
  const d = new Date(ms);
  const today = day(d) === day(new Date(now()));
  return (today ? '' : `${day(d)} `) + clock(d, seconds);
}
export const localFull = (ms) => `${day(new Date(ms))} ${clock(new Date(ms), true)}`;

const valid = (ms) => Number.isFinite(ms) && Math.abs(ms) < 8.64e15;

// An element of a time; its title has UTC.
export function time(value, { seconds = true } = {}) {
  const ms = typeof value === 'number' ? value : Date.parse(value);
  if (!valid(ms)) return h('span', { class: 'q', text: '\u2013' });
  return h('time', { datetime: new Date(ms).toISOString(), title: utc(ms), text: local(ms, seconds) });
}
// The same with UTC as text beside it.
export function timeBoth(value) {
  const ms = typeof value === 'number' ? value : Date.parse(value);
  if (!valid(ms)) return time(ms);
  return h('span', { class: 'n' }, time(ms), ` ${zoneName}`, !inUtc() && h('span', { class: 'q', text: ` (${new Date(ms).toISOString().slice(11, 19)} UTC)` }));
}

// `4 s`, `14 min`, `2 h 40 min`, `3 d 2 h`
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h${minutes % 60 ? ` ${minutes % 60} min` : ''}`;
  const days = Math.floor(hours / 24);
  return days < 14 && hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}
export const ago = (ms) => (valid(ms) ? span(now() - ms) : '\u2013');

// `1h`, `12h`, `7d` in milliseconds
export const range = (text) => {
  const [, number, unit] = /^(\d+)(m|h|d)$/.exec(text ?? '') ?? [];
  return number ? number * { m: 6e4, h: 36e5, d: 864e5 }[unit] : undefined;
};
