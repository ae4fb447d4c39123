// States and severities: the word, the shape, and which is worse.

import { h } from './dom.js';

export const STATES = ['critical', 'offline', 'degraded', 'late', 'unknown', 'maintenance', 'healthy'];
export const RANK = Object.fromEntries(STATES.map((state, at) => [state, at]));
export const SEVERITIES = ['info', 'warning', 'error', 'critical', 'emergency'];

// One word for health and liveness: late only matters while nothing worse is known.
export function stateOf(agent) {
  const health = RANK[agent.health] === undefined ? 'unknown' : agent.health;
  return agent.liveness === 'late' && RANK[health] > RANK.late ? 'late' : health;
}

const shape = (className, big) => h('i', { class: `s ${className}${big ? ' big' : ''}`, 'aria-hidden': 'true' });

// Shape and word of a state.
export const state = (name, text = name, big = false) => h('span', { class: `st ${name}` }, h('i', { class: big ? 's big' : 's', 'aria-hidden': 'true' }), text);
export const mark = shape;

const CLASS = { critical: 'sev-critical' };
export const severityClass = (name) => CLASS[name] ?? (SEVERITIES.includes(name) ? name : 'info');
export const severity = (name) => state(severityClass(name), SEVERITIES.includes(name) ? name : 'unknown');

export const RISK = { low: 'healthy', medium: 'degraded', high: 'critical', breached: 'critical' };
