import type { ChainState } from '../contracts/chain.js';
import { chainWorkflowId } from '../temporal/names.js';
import { remedyInWords } from './remedies.js';
import { type Look, facts, formatStatus, formatTime, queuePosition, stepLine, stepTable } from './format.js';

/** A chain as text: where it stands, its steps, what went wrong and what to do about it. */
export function chainReport(
  state: ChainState,
  { colour = false, more = [] }: Look & { more?: readonly (readonly [string, string | null])[] } = {},
): string {
  const { failure } = state;
  return [
    facts([
      ['chain', chainWorkflowId(state)],
      ['mode', state.mode],
      ['status', formatStatus(state.status, { colour })],
      ['queue', state.queue && queuePosition(state.queue)],
      ['waits until', state.waitingUntil && formatTime(new Date(state.waitingUntil))],
      ['base session', state.baseSessionId ?? '(new)'],
      ['from', state.resumedFrom],
      ['head', state.head.sessionId ?? '(none)'],
      ...more,
    ]),
    '',
    stepTable(state.steps, { colour }),
    ...state.steps.flatMap((step) => (step.reason === undefined ? [] : [`\n${stepLine(step)}`])),
    ...state.warnings.map((warning) => `\nwarning: ${warning}`),
    ...(failure
      ? [`\nfailure ${failure.code}: ${failure.message}\nwhat to do: ${remedyInWords(failure)}`]
      : []),
  ].join('\n');
}
