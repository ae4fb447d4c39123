// What a person does to alerts, agents and maintenance: who may, what is asked, how it is undone.

import { post, put, remove } from './api.js';
import { ask, failureText, undoable } from './dialog.js';

const id = encodeURIComponent;
const HOURS = [['1800', '30 minutes'], ['3600', '1 hour'], ['14400', '4 hours'], ['86400', '1 day'], ['604800', '7 days']];

export async function acknowledge(alert) {
  try {
    await post(`alerts/${id(alert.alert_id)}/acknowledge`);
    undoable(`Acknowledged: ${alert.message}`, () => post(`alerts/${id(alert.alert_id)}/unacknowledge`));
    return true;
  } catch (error) {
    undoable(failureText(error));
    return false;
  }
}

export const unacknowledge = (alert) => post(`alerts/${id(alert.alert_id)}/unacknowledge`);
export const unsilence = (alert) => post(`alerts/${id(alert.alert_id)}/unsilence`);

const reason = { name: 'reason', label: 'Why', required: true };

export const closeAlert = (alert) => ask('Close this alert', alert.message, [reason], 'Close alert', (given) => post(`alerts/${id(alert.alert_id)}/close`, { reason: given.reason }));

export const silence = (alert) => ask('Silence this alert', alert.message, [{ name: 'seconds', label: 'For', options: HOURS, value: '3600' }, reason], 'Silence',
  (given) => post(`alerts/${id(alert.alert_id)}/silence`, { seconds: Number(given.seconds), reason: given.reason }));

const localText = (ms) => {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 6e4);
  return d.toISOString().slice(0, 16);
};

export function maintain(agentId, from) {
  return ask('Plan maintenance', `It counts neither as up nor as down, and raises no alerts. Times are in your zone.`, [
    { name: 'agents', label: 'Agents (patterns, separated by commas)', value: agentId, required: true },
    { name: 'start', label: 'From', type: 'datetime-local', value: localText(from), required: true },
    { name: 'end', label: 'To', type: 'datetime-local', value: localText(from + 36e5), required: true },
    reason,
  ], 'Plan', (given) => post('maintenance', {
    agents: given.agents.split(',').map((text) => text.trim()).filter(Boolean), reason: given.reason,
    start_time: new Date(given.start).toISOString(), end_time: new Date(given.end).toISOString(),
  }));
}

export const endMaintenance = (window) => remove(`maintenance/${id(window.window_id)}`);
export const moveMaintenance = (window, changes) => put(`maintenance/${id(window.window_id)}`, { start_time: window.start_time, end_time: window.end_time, ...changes });

export const retire = (agentId) => ask('Retire this agent', `Everything known of ${agentId} is forgotten: series, state, catalogue. If it sends again, it comes back as new.`,
  [{ name: 'typed', label: `Type ${agentId} to go on`, required: true }], 'Retire', async (given) => {
    if (given.typed !== agentId) throw Object.assign(new Error('That is not the name.'), { status: 0 });
    await remove(`agents/${id(agentId)}`);
    return true;
  });
