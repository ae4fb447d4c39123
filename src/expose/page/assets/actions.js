// What a person does to alerts and agents.

import { post, put, remove } from './api.js';
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

// A maintenance window: a new one of `agents`, or `known` changed. Times are of the viewer's zone, by its name.
export function maintain(agents, from, known) {
  const of = known ? [Date.parse(known.start_time), Date.parse(known.end_time)] : [from, from + 36e5];
  return ask(known ? 'Change the maintenance' : 'Plan maintenance', 'It counts neither as up nor as down, and raises no alerts. Times are in your zone.', [
    { name: 'agents', label: 'Agents (* and ? stand for others)', value: (known?.agents ?? agents).join(' '), required: true },
    { name: 'start', label: 'From', type: 'datetime-local', value: localText(of[0]), required: true },
    { name: 'end', label: 'To', type: 'datetime-local', value: localText(of[1]), required: true },
    { ...WHY, name: 'reason', value: known?.reason ?? undefined },
  ], known ? 'Change' : 'Plan', async (given) => {
    const body = { agents: given.agents.split(/[\s,]+/).filter(Boolean), start_time: `${given.start}:00`, end_time: `${given.end}:00`, time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone, ...(given.reason ? { reason: given.reason } : {}) };
    // What was not touched keeps its seconds.
    if (known && given.start === localText(of[0])) body.start_time = known.start_time;
    if (known && given.end === localText(of[1])) body.end_time = known.end_time;
    await (known ? put(`maintenance/${id(known.window_id)}`, body) : post('maintenance', body));
    undoable(known ? 'The maintenance is changed.' : 'The maintenance is planned.');
  });
}

export const callOff = (window) => ask('Call the maintenance off', 'What has passed of it stays maintenance.', [], 'Call off', async () => {
  await remove(`maintenance/${id(window.window_id)}`);
  undoable('The maintenance is called off.');
});

export const retire = (agent, then) => ask(`Retire ${agent}`, 'Its series, verdicts, alerts and sessions are forgotten. If it is heard of again, it is new.', [], 'Retire', async () => {
  await remove(`agents/${id(agent)}`);
  undoable(`${agent} is retired.`);
  then();
});
