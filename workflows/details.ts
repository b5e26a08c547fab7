import type { ChainCost, ChainState, StepState } from '../contracts/chain.js';
import { type Failure, failureOfCode } from '../contracts/failures.js';
import type { StepPlan } from '../contracts/plan.js';
import { isClosed } from '../contracts/steps.js';
import { startOf } from '../contracts/text.js';
import { cacheShare } from '../contracts/usage.js';

/**
 * The details of a chain, as markdown: what Temporal's Web UI shows of a workflow in a window of some ten lines. First what
 * matters on call (status, since when, cost, why, what is next), then the steps. `now` is asked when the status changes;
 * `cost` is what the closed chain cost in all, which a chain at work does not know.
 */
export function createChainDetails(now: () => Date): (state: ChainState, cost?: ChainCost) => string {
  let shown = '';
  let since = '';
  let waits: { step: string; times: string[] } = { step: '', times: [] };
  return (state, cost) => {
    const step = activeStep(state);
    const phase = [statusWords(state), step?.step, step?.status].join();
    if (phase !== shown) {
      [shown, since] = [phase, timeOf(now())];
      if (step && step.step !== waits.step) waits = { step: step.step, times: [] };
      if (step?.status === 'waiting') waits.times.push(since);
    }
    return chainDetails(state, since, waits.times, cost);
  };
}

/** `waits`: when the step that works now began to wait, each time. */
function chainDetails(
  state: ChainState,
  since: string,
  waits: readonly string[],
  cost: ChainCost | undefined,
): string {
  const lines = [
    `${headline(state, since, waits)} · ${costOf(state, cost)}`,
    reasonOf(state),
    nextOf(state),
  ].filter((line) => line !== null);
  return [
    lines.join('  \n'),
    '',
    ...(state.steps.length === 0
      ? []
      : [
          '| step | status | from | to | turns | cached | cost |',
          '|---|---|---|---|---:|---:|---:|',
          ...state.steps.map(stepRow),
          '',
        ]),
    [`Head ${shortId(state.head.sessionId)}.`, ...(state.resumedFrom ? [state.resumedFrom] : [])].join(' '),
    ...state.warnings.map((warning) => `\n⚠ ${warning}`),
  ].join('\n');
}

function headline(state: ChainState, since: string, [first, ...more]: readonly string[]): string {
  const step = activeStep(state) ?? stoppedStep(state);
  const waits =
    state.status === 'waiting' && more.length > 0 ? ` (wait ${more.length + 1}, the first at ${first})` : '';
  return `**${statusWords(state)}**${step ? ` in ${step.step}` : ''} since ${since}${waits}`;
}

/** What a person reads for a status: `budget exceeded`. */
export function statusWords({ status, failure }: Pick<ChainState, 'status' | 'failure'>): string {
  return failure && !isClosed(status) ? 'closing' : status.replaceAll('_', ' ');
}

function reasonOf(state: ChainState): string | null {
  if (state.failure)
    return `${state.failure.code}: ${state.failure.message}${whereInFull(state, state.failure)}`;
  if (state.queue)
    return `Position ${state.queue.position} in the queue, behind \`${state.queue.waitsFor}\`.`;
  const step = activeStep(state);
  return step?.status === 'waiting' ? (step.reason ?? null) : null;
}

/** Of most failures the workflow knows what the code means, and the database what was said. */
function whereInFull({ projectId, versionId, buildId }: ChainState, { code, message }: Failure): string {
  if (code === 'CANCELLED' || message !== failureOfCode(code).message) return '';
  const build = String(buildId) === versionId ? '' : ` --build ${buildId}`;
  return ` In full: \`session-chain status --project ${projectId} --version ${versionId}${build}\``;
}

function nextOf(state: ChainState): string | null {
  if (state.failure) return `Next: ${state.failure.remedy}`;
  if (isClosed(state.status)) return null;
  if (state.queue) return 'Next: it asks for the project when that chain ends.';
  if (state.steps.length === 0) return 'Next: it opens on a worker of the chains.';
  const step = activeStep(state);
  const pending = state.steps.filter(({ status }) => status === 'pending').map((one) => one.step);
  const steps = [...(step?.status === 'waiting' ? [`${step.step} again`] : []), ...pending];
  return `Next: ${[...steps, 'commit of the chain'].join(', ')}.`;
}

function costOf({ steps }: ChainState, cost: ChainCost | undefined): string {
  if (cost) return `${cost.attemptsOfUnknownCost > 0 ? 'at least ' : ''}${dollars(cost.costUsd)}`;
  return `${dollars(steps.reduce((sum, { costUsd }) => sum + costUsd, 0))} so far`;
}

function activeStep({ steps }: ChainState): StepState | undefined {
  return steps.find(({ status }) => status === 'running' || status === 'waiting');
}

/** The step that ended the chain, or else one that failed on the way. */
export function stoppedStep({ steps }: Pick<ChainState, 'steps'>): StepState | undefined {
  return steps.findLast(({ status }) => status === 'failed' || status === 'cancelled');
}

const summaryLength = 60;

/** What the Web UI shows beside the name of a step's activity: the first words of its purpose, else the name again. */
export function stepSummary({ name, purpose = name }: Pick<StepPlan, 'name' | 'purpose'>): string {
  if (purpose.length <= summaryLength) return purpose;
  return `${startOf(purpose, summaryLength).replace(/\s+\S*$/, '')} …`;
}

/** The figures of a step that is not committed are known to the database only. */
function stepRow({ step, status, oldSessionId, newSessionId, turns, usage, costUsd }: StepState): string {
  const cells =
    newSessionId === null
      ? ['', '', '', '', '']
      : [shortId(oldSessionId), shortId(newSessionId), turns, cacheShare(usage), dollars(costUsd)];
  return `| ${[step, status, ...cells].join(' | ')} |`;
}

function dollars(amount: number): string {
  return `$${amount.toFixed(4)}`;
}

function shortId(sessionId: string | null): string {
  return sessionId ? `\`${sessionId.slice(0, 8)}\`` : 'none';
}

/** `2026-11-22 16:20:01 UTC`. */
export function timeOf(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
