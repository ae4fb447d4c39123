// What a person does to alerts and agents.

import { post } from './api.js';
import { ask, failureText, undoable } from './dialog.js';

const id = encodeURIComponent;

// The alert as it is then; nothing when it failed, which is said.
export async function acknowledge(alert) {
  try {
    const done = await post(`alerts/${id(alert.alert_id)}/acknowledge`);
    undoable(`Acknowledged: ${alert.message}`);
    return done;
  } catch (error) {
    undoable(failureText(error));
    return undefined;
  }
}

const localText = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 6e4).toISOString().slice(0, 16);

export function maintain(agentId, from) {
  return ask(`Plan maintenance of ${agentId}`, 'It counts neither as up nor as down, and raises no alerts. Times are in your zone.', [
    { name: 'start', label: 'From', type: 'datetime-local', value: localText(from), required: true },
    { name: 'end', label: 'To', type: 'datetime-local', value: localText(from + 36e5), required: true },
  ], 'Plan', async (given) => {
    await post('maintenance', { agent_id: agentId, start_time: new Date(given.start).toISOString(), end_time: new Date(given.end).toISOString() });
    undoable('The maintenance is planned.');
  });
}
