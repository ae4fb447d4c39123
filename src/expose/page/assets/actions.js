// What a person does to alerts and agents.

import { post } from './api.js';
import { ask, failureText, undoable } from './dialog.js';

const id = encodeURIComponent;

const act = (alert, action, body) => post(`alerts/${id(alert.alert_id)}/${action}`, body);

// Acknowledges at once, with a way back. `take` gets the alert as it is then; what failed is said.
export async function acknowledge(alert, take = () => {}) {
  try {
    take(await act(alert, 'acknowledge'));
    undoable(`Acknowledged: ${alert.message}`, async () => take(await act(alert, 'unacknowledge')));
  } catch (error) {
    undoable(failureText(error));
  }
}

const WHY = { name: 'comment', label: 'Why' };
const comment = (given) => (given.comment ? { comment: given.comment } : {});
const asked = (title, says, fields, verb, action, body) => (alert, take) => ask(title, says, fields, verb, async (given) => {
  take(await act(alert, action, { ...comment(given), ...body?.(given) }));
});

export const unacknowledge = asked('Take the acknowledgement back', 'It escalates when its delay is over again.', [WHY], 'Take back', 'unacknowledge');
export const close = asked('Close the alert', 'It is over. While its cause lasts, another one is raised only if it gets worse.', [WHY], 'Close', 'close');
export const silence = asked('Silence the alert', 'Nobody is notified of it and it does not escalate until then. Its end is notified.', [
  { name: 'minutes', label: 'For', options: [[30, '30 minutes'], [60, '1 hour'], [240, '4 hours'], [1440, '1 day'], [10080, '7 days']], value: 60 }, WHY,
], 'Silence', 'silence', (given) => ({ duration_minutes: Number(given.minutes) }));
export const unsilence = asked('End the silence', 'What it has become meanwhile is notified.', [WHY], 'End', 'unsilence');

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
