import type { ChainState } from '../contracts/chain.js';
import { remedyInWords } from './remedies.js';
import { type Look, facts, formatStatus, formatTime, queuePosition, stepLine, stepTable } from './format.js';

/** A chain as text: why it waits or failed, where it stands, its steps, and what to do. */
export function chainReport(
  state: ChainState,
  {
    colour = false,
    width,
    reason = null,
    more = [],
  }: Look & {
    /** Why it waits, where that is more than its steps say. */
    reason?: string | null;
    more?: Parameters<typeof facts>[0];
  } = {},
): string {
  const { failure } = state;
  const look = { colour, ...(width === undefined ? {} : { width }) };
  const often = state.steps.filter(({ attempts }) => attempts > 1);
  return [
    facts(
      [
        ['status', formatStatus(state.status, { colour })],
        ['reason', reason, 'prose'],
        ['queue', state.queue && queuePosition(state.queue), 'prose'],
        ['waits until', state.waitingUntil && formatTime(new Date(state.waitingUntil))],
        ['project', state.projectId],
        ['version', state.versionId],
        ['build', state.buildId === (state.versionId as string) ? null : state.buildId],
        ['mode', state.mode],
        ['base session', state.baseSessionId ?? '(new)'],
        ['from', state.resumedFrom, 'prose'],
        ['head', state.head.sessionId ?? '(none)'],
        ...more,
      ],
      look,
    ),
    '',
    stepTable(state.steps, look),
    ...(often.length === 0
      ? []
      : [`\nattempts: ${often.map(({ step, attempts }) => `${step} ${attempts}`).join(', ')}`]),
    ...state.steps.flatMap((step) => (step.reason === undefined ? [] : [`\n${stepLine(step)}`])),
    ...state.warnings.map((warning) => `\nwarning: ${warning}`),
    ...(failure
      ? [`\nfailure ${failure.code}: ${failure.message}\nwhat to do: ${remedyInWords(failure)}`]
      : []),
  ].join('\n');
}
