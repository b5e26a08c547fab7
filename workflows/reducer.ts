import type {
  AfterState,
  ChainInput,
  ChainResult,
  ChainState,
  CommittedStep,
  OpenedChain,
  QueuedChain,
  SkippedStep,
  StepState,
  WaitingStep,
} from '../contracts/chain.js';
import { assertNever } from '../contracts/assert-never.js';
import type { Failure } from '../contracts/failures.js';
import { describeOrigin, isAtOrigin } from '../contracts/origin.js';
import type { ClosedChainStatus, StepName } from '../contracts/steps.js';

/** What can happen to a chain. */
export type ChainEvent =
  | { type: 'queued'; queued: QueuedChain }
  | { type: 'opened'; opened: OpenedChain }
  | { type: 'stepStarted'; step: StepName }
  | { type: 'stepWaits'; waiting: WaitingStep }
  | { type: 'stepEnded'; result: CommittedStep | SkippedStep }
  | { type: 'stepFailed'; step: StepName; failure: Failure; attempts: number; critical: boolean }
  | { type: 'stepCancelled'; step: StepName }
  | { type: 'afterStarted'; step: StepName; activity: string; taskQueue: string }
  | { type: 'afterEnded'; step: StepName; failure: Failure | null; critical: boolean }
  | { type: 'afterCancelled'; step: StepName }
  | { type: 'failed'; failure: Failure };

export function initialState({ projectId, versionId, buildId, mode, steps }: ChainInput): ChainState {
  return {
    projectId,
    versionId,
    buildId,
    mode,
    status: 'queued',
    head: { sessionId: null, seq: null },
    baseSessionId: null,
    steps: steps.map((step) => ({
      step,
      status: 'pending',
      attempts: 0,
      oldSessionId: null,
      newSessionId: null,
      turns: 0,
      usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
      costUsd: 0,
      durationMs: 0,
    })),
    warnings: [],
  };
}

/** The state after an event. The only place where the rolling session id is threaded from step to step. */
export function reduce(state: ChainState, event: ChainEvent): ChainState {
  switch (event.type) {
    case 'queued': {
      const { place, waitsFor } = event.queued;
      return { ...state, line: { place, waitsFor } };
    }
    case 'opened': {
      const { head, baseSessionId, warnings, origin } = event.opened;
      return {
        ...withoutLine(state),
        status: 'running',
        head,
        baseSessionId,
        ...(origin ? { origin, resumedFrom: describeOrigin(origin, baseSessionId) } : {}),
        warnings: [...state.warnings, ...warnings],
      };
    }
    case 'stepStarted':
      return withStep({ ...state, status: 'running' }, event.step, { status: 'running' });
    case 'stepWaits': {
      const { step, attempt, reason, waitMs } = event.waiting;
      return withStep({ ...state, status: 'waiting' }, step, {
        status: 'waiting',
        attempts: attempt,
        reason: `Waits ${Math.ceil(waitMs / 1000)} s. ${reason}`,
      });
    }
    case 'stepEnded':
      return stepEnded(state, event.result);
    case 'stepFailed': {
      const failed = withStep(state, event.step, {
        status: 'failed',
        failure: event.failure,
        attempts: event.attempts,
      });
      return event.critical || isOverBudget(event.failure)
        ? { ...failed, failure: event.failure }
        : { ...failed, warnings: [...failed.warnings, `${event.step}: ${event.failure.message}`] };
    }
    case 'stepCancelled':
      return withStep(state, event.step, { status: 'cancelled' });
    case 'afterStarted': {
      const { step, activity, taskQueue } = event;
      return withStep(state, step, { after: { activity, taskQueue, status: 'running' } });
    }
    case 'afterEnded':
      return afterEnded(state, event);
    case 'afterCancelled':
      return withAfter(state, event.step, { status: 'cancelled' });
    case 'failed':
      return { ...state, failure: event.failure };
    default:
      return assertNever(event);
  }
}

/** How the chain ended, once nothing more will happen to it. */
export function resultOf(state: ChainState): ChainResult {
  return { ...withoutLine(state), status: closedStatusOf(state) };
}

function withoutLine({ line: _, ...state }: ChainState): ChainState {
  return state;
}

/** What the next step forks: the head, or until this run has moved it what the chain works from. */
export function baseOf(state: ChainState): ChainState['baseSessionId'] {
  if (state.origin) return isAtOrigin(state.origin, state.head) ? state.baseSessionId : state.head.sessionId;
  return state.steps.some((step) => step.status === 'committed') ? state.head.sessionId : state.baseSessionId;
}

function stepEnded(state: ChainState, result: CommittedStep | SkippedStep): ChainState {
  if (result.outcome === 'skipped') {
    return withStep(state, result.step, { status: 'skipped', reason: result.reason });
  }
  const moved = withStep(state, result.step, {
    status: 'committed',
    attempts: result.attempt,
    oldSessionId: result.oldSessionId,
    newSessionId: result.newSessionId,
    turns: result.turns,
    usage: result.usage,
    costUsd: result.costUsd,
    durationMs: result.durationMs,
  });
  const warnings = [...moved.warnings, ...result.warnings.map((warning) => `${result.step}: ${warning}`)];
  // A step that a former run of this chain committed lies behind the head that this run opened with.
  return result.seq <= (state.head.seq ?? 0)
    ? { ...moved, warnings }
    : { ...moved, warnings, head: { sessionId: result.newSessionId, seq: result.seq } };
}

function afterEnded(
  state: ChainState,
  { step, failure, critical }: { step: StepName; failure: Failure | null; critical: boolean },
): ChainState {
  if (!failure) return withAfter(state, step, { status: 'completed' });
  const failed = withAfter(state, step, { status: 'failed', failure });
  return critical
    ? { ...failed, failure }
    : { ...failed, warnings: [...failed.warnings, `${step}: ${failure.message}`] };
}

function withAfter(state: ChainState, name: StepName, change: Partial<AfterState>): ChainState {
  const after = state.steps.find(({ step }) => step === name)?.after;
  return after ? withStep(state, name, { after: { ...after, ...change } }) : state;
}

function withStep(state: ChainState, name: StepName, change: Partial<StepState>): ChainState {
  return { ...state, steps: state.steps.map((step) => (step.step === name ? { ...step, ...change } : step)) };
}

// Over budget is over for any step: a chain that is started again with more goes on from there.
function isOverBudget({ code }: Failure): boolean {
  return code === 'BUDGET_EXCEEDED' || code === 'STEP_TIMED_OUT';
}

function closedStatusOf({ failure, warnings }: ChainState): ClosedChainStatus {
  if (!failure) return warnings.length > 0 ? 'completed_with_warnings' : 'completed';
  if (failure.code === 'CANCELLED') return 'cancelled';
  return isOverBudget(failure) ? 'budget_exceeded' : 'failed';
}
