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

// The agent's line in the list. Lists go by id, so it is the first behind what sorts just before it.
async function listed(id) {
  const last = id.codePointAt(id.length - 1);
  const page = await get('agents', { after: `${id.slice(0, -1)}${String.fromCodePoint(Math.max(1, last - 1))}\u{10ffff}`, limit: 1 });
  return page.agents.find((agent) => agent.agent_id === id);
}

// All of an agent that its view shows.
export async function agentOf(id) {
  const start = now() - 24 * HOUR;
  const [assessed, line, health, sla, alerts] = await Promise.all([
    post('health-check', { target_id: id, target_type: 'agent' }), listed(id), healthOf(id, 1, start),
    get('verdicts', { agent: id, kind: 'sla', limit: 1 }), get('alerts', { agent: id, open: true, limit: 100 }),
  ]);
  const judged = assessed.health_assessment;
  return {
    agent_id: id, health: judged.overall_health, health_score: judged.health_score, reported_status: judged.reported_status,
    clock_skew_ms: assessed.clock_skew_ms, components: judged.components, ...line,
    reasons: health[0]?.body.reasons ?? [], recommendations: assessed.health_recommendations, sla: sla.verdicts[0]?.body, open_alerts: alerts.alerts,
  };
}
