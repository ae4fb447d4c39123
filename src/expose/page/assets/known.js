// What is known of one agent, put together from the routes that tell parts of it.

import { get, post } from './api.js';
import { now } from './time.js';

const HOUR = 36e5;
const MOST_HOURS = 8760;

// Sessions and outages since `start`, as [{start, end, state}] in order of time; `end` is missing while it lasts.
export async function intervalsOf(id, start) {
  const hours = Math.min(MOST_HOURS, Math.max(1, Math.ceil((now() - start) / HOUR)));
  const answer = await get(`uptime-status/${encodeURIComponent(id)}`, { time_range_hours: hours });
  const read = (one) => ({ start: Date.parse(one.start), end: one.end ? Date.parse(one.end) : undefined, state: one.state });
  return [...answer.uptime_sessions, ...answer.downtime_periods].map(read).sort((a, b) => a.start - b.start);
}

// The newest verdicts on an agent's health, newest first.
export async function healthOf(id, limit, start) {
  const answer = await get('verdicts', { agent: id, kind: 'health', limit, start: new Date(start).toISOString() });
  return answer.verdicts;
}

// All of an agent that its view shows.
export async function agentOf(id) {
  const [assessed, line, sla, alerts] = await Promise.all([
    post('health-check', { target_id: id, target_type: 'agent' }), get(`agents/${encodeURIComponent(id)}`),
    get('verdicts', { agent: id, kind: 'sla', limit: 1 }), get('alerts', { agent: id, open: true, limit: 100 }),
  ]);
  const judged = assessed.health_assessment;
  return {
    health: judged.overall_health, health_score: judged.health_score, reported_status: judged.reported_status,
    clock_skew_ms: assessed.clock_skew_ms, components: judged.components, ...line,
    recommendations: assessed.health_recommendations, sla: sla.verdicts[0]?.body, open_alerts: alerts.alerts,
  };
}
