import type { ChainState } from '../contracts/chain.js';
import { remedyInWords } from './remedies.js';
import {
  type Look,
  facts,
  formatStatus,
  formatTime,
  queuePosition,
  stepTable,
  wrappedStepLine,
} from './format.js';

/** A chain as text: why it waits or failed and what to do, where it stands, its steps. */
export function chainReport(
  state: ChainState,
  {
    colour = false,
    width,
    reason = null,
    remedy,
    more = [],
  }: Look & {
    /** Why it waits, if its steps do not say so already. */
    reason?: string | null;
    /** What to do about that. */
    remedy?: string;
    more?: Parameters<typeof facts>[0];
  } = {},
): string {
  const { failure } = state;
  const look = { colour, ...(width === undefined ? {} : { width }) };
  const often = state.steps.filter(({ attempts }) => attempts > 1);
  const told = state.steps.filter((step) => step.reason !== undefined && step.status !== 'waiting');
  return [
    facts(
      [
        ['status', formatStatus(state.status, { colour })],
        ['failure', failure && `${failure.code}: ${failure.message}`, 'prose'],
        ['what to do', failure && remedyInWords(failure), 'prose'],
        ['reason', reason ?? whyOpen(state), 'prose'],
        ['what to do', remedy, 'prose'],
        ['queue', state.queue && queuePosition(state.queue), 'prose'],
        ['waits until', state.waitingUntil && formatTime(new Date(state.waitingUntil))],
        ...state.warnings.map((warning) => ['warning', warning, 'prose'] as const),
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
    ...(state.steps.length === 0 ? [] : ['', stepTable(state.steps, look)]),
    ...(often.length === 0
      ? []
      : [`\nattempts: ${often.map(({ step, attempts }) => `${step} ${attempts}`).join(', ')}`]),
    ...told.map((step) => `\n${wrappedStepLine(step, width)}`),
  ].join('\n');
}

/** Why an open chain does not work just now, where its queue does not say it. */
function whyOpen({ status, queue, steps }: ChainState): string | null {
  if (status === 'queued' && !queue) return 'no worker has taken it up yet';
  return steps.find((step) => step.status === 'waiting')?.reason ?? null;
}
