// All agents in a compact form: what is needed to sort, search and count 10,000 of them at once.

import { get } from './api.js';
import { now } from './time.js';
import { RANK, STATES, stateOf } from './state.js';

const PAGE = 10000;
// So long a row says what it was before.
const FRESH = 60000;

export class Fleet {
  constructor() {
    this.agents = new Map();
  }

  async load() {
    const found = new Map();
    let after;
    do {
      const page = await get('agents', { limit: PAGE, after });
      for (const item of page.agents) found.set(item.agent_id, this.taken(this.agents.get(item.agent_id), item));
      after = page.next;
    } while (after);
    this.agents = found;
  }

  take(item) {
    const known = this.agents.get(item.agent_id);
    const agent = this.taken(known, item);
    this.agents.set(agent.id, agent);
    return agent;
  }

  taken(known, item) {
    const agent = known ?? { id: item.agent_id, name: '', environment: '', location: '', reasons: [] };
    const before = agent.state;
    agent.name = item.agent_name ?? agent.name;
    agent.environment = item.environment ?? agent.environment;
    agent.location = item.geographic_location ?? agent.location;
    agent.score = item.health_score ?? undefined;
    agent.reasons = item.reasons ?? agent.reasons;
    const heard = Date.parse(item.last_evidence);
    if (!Number.isNaN(heard)) agent.heard = Math.max(heard, agent.heard ?? 0);
    agent.state = stateOf(item);
    if (before && before !== agent.state) Object.assign(agent, { was: before, changed: now(), since: undefined });
    this.explain(agent, agent.reasons);
    return agent;
  }

  // Why it is as it is.
  explain(agent, reasons) {
    agent.reasons = reasons;
    agent.text = `${agent.id}\n${agent.name}\n${agent.environment}\n${agent.location}\n${reasons.join('\n')}`.toLowerCase();
  }

  // An event of the stream; the agent, and whether it is new.
  hear(data) {
    if (data.change === 'gone') {
      const gone = this.agents.get(data.agent_id);
      this.agents.delete(data.agent_id);
      return gone && { agent: gone, gone: true };
    }
    const isNew = !this.agents.has(data.agent_id);
    return { agent: this.take(data), isNew };
  }

  counts() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const agent of this.agents.values()) counts[agent.state] += 1;
    return counts;
  }

  values(key) {
    return [...new Set([...this.agents.values()].map((agent) => agent[key]))].filter(Boolean).sort();
  }

  matches(agent, { search, state, environment, location }) {
    return (!state || agent.state === state) && (!environment || agent.environment === environment)
      && (!location || agent.location === location) && (!search || agent.text.includes(search.toLowerCase()));
  }

  // Those that match, worst first.
  sorted(filters) {
    return [...this.agents.values()].filter((agent) => this.matches(agent, filters)).sort(compare);
  }
}

export const compare = (one, other) => RANK[one.state] - RANK[other.state] || (one.score ?? 101) - (other.score ?? 101) || (one.id < other.id ? -1 : 1);

export const isFresh = (agent) => agent.changed !== undefined && now() - agent.changed < FRESH;

// In groups, each by its worst; `folded` says which are closed. Items are agents and {group, agents, sick, open}.
export function grouped(agents, by, isOpen) {
  const groups = new Map();
  for (const agent of agents) {
    const name = agent[by] || 'none';
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(agent);
  }
  // The agents are sorted, so the groups come by their worst.
  return [...groups].flatMap(([group, own], at) => {
    const head = { group, agents: own.length, sick: own.filter((agent) => agent.state !== 'healthy').length, open: isOpen(group, at) };
    return head.open ? [head, ...own] : [head];
  });
}
