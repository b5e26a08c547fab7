import type {
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
import { describeOrigin, nextBase } from '../contracts/origin.js';
import type { StepPlan } from '../contracts/plan.js';
import type { ClosedChainStatus, StepName } from '../contracts/steps.js';

/** What can happen to a chain. */
export type ChainEvent =
  | { type: 'queued'; queued: QueuedChain }
  | { type: 'opened'; opened: OpenedChain }
  | { type: 'stepStarted'; step: StepName }
  | { type: 'stepWaits'; waiting: WaitingStep }
  | { type: 'stepEnded'; result: CommittedStep | SkippedStep }
  | { type: 'activityEnded'; step: StepName }
  | { type: 'stepFailed'; step: StepName; failure: Failure; attempts: number; critical: boolean }
  | { type: 'stepCancelled'; step: StepName }
  | { type: 'wentBack' }
  | { type: 'failed'; failure: Failure };

export function initialState({ projectId, versionId, buildId, mode }: ChainInput): ChainState {
  return {
    ...{ projectId, versionId, buildId, mode },
    status: 'queued',
    head: { sessionId: null, seq: null },
    baseSessionId: null,
    steps: [],
    warnings: [],
  };
}

/** A step of which only the plan is known yet. */
export function pendingStep({ name, kind, role }: Pick<StepPlan, 'name' | 'kind' | 'role'>): StepState {
  return {
    step: name,
    kind,
    ...(role ? { role } : {}),
    status: 'pending',
    attempts: 0,
    oldSessionId: null,
    newSessionId: null,
    turns: 0,
    usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
    costUsd: 0,
    durationMs: 0,
  };
}

/** The state after an event. The only place where the rolling session id is threaded from step to step. */
export function reduce(state: ChainState, event: ChainEvent): ChainState {
  switch (event.type) {
    case 'queued': {
      const { position, waitsFor } = event.queued;
      return { ...state, queue: { position, waitsFor } };
    }
    case 'opened': {
      const { head, baseSessionId, warnings, origin, plan } = event.opened;
      return {
        ...withoutQueue(state),
        status: 'running',
        head,
        baseSessionId,
        origin,
        resumedFrom: describeOrigin(origin, baseSessionId),
        steps: plan.steps.map(pendingStep),
        warnings: union(state.warnings, warnings),
      };
    }
    case 'stepStarted':
      return withStep({ ...state, status: 'running' }, event.step, { status: 'running' });
    case 'stepWaits': {
      const { step, attempt, reason, waitMs } = event.waiting;
      return withStep({ ...state, status: 'waiting' }, step, {
        status: 'waiting',
        ...(attempt > 0 ? { attempts: attempt } : {}),
        reason: `Waits ${Math.ceil(waitMs / 1000)} s. ${reason}`,
      });
    }
    case 'stepEnded':
      return stepEnded(state, event.result);
    case 'activityEnded':
      return withStep(state, event.step, { status: 'completed' });
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
    case 'wentBack': {
      // Everything about the steps is reported again once the chain has opened again.
      const ofSteps = (warning: string) => state.steps.some(({ step }) => warning.startsWith(`${step}: `));
      const { failure: _, ...rest } = state;
      return {
        ...rest,
        status: 'queued',
        steps: [],
        warnings: union(
          state.warnings.filter((warning) => !ofSteps(warning)),
          [wentBackWarning],
        ),
      };
    }
    case 'failed':
      return { ...state, failure: event.failure };
    default:
      return assertNever(event);
  }
}

const wentBackWarning =
  'The database went back to an earlier state: what it lost of this chain no longer counts, and the chain does it again where it goes on.';

function union(some: string[], more: string[]): string[] {
  return [...new Set([...some, ...more])];
}

/** How the chain ended, once nothing more will happen to it: a step that was under way has ended with it. */
export function resultOf(state: ChainState): ChainResult {
  const status = closedStatusOf(state);
  const stopped = status === 'cancelled' ? 'cancelled' : 'failed';
  const steps = state.steps.map((step) =>
    step.status === 'running' || step.status === 'waiting' ? { ...step, status: stopped } : step,
  ) satisfies StepState[];
  return { ...withoutQueue(state), steps, status };
}

function withoutQueue({ queue: _, ...state }: ChainState): ChainState {
  return state;
}

/** What the next step forks: the head or, until this run has moved it, what the chain started from. */
export function baseOf(state: ChainState): ChainState['baseSessionId'] {
  return nextBase(state, state.head);
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
  // A step that a former run of this chain committed precedes the head that this run opened with.
  return result.seq <= (state.head.seq ?? 0)
    ? { ...moved, warnings }
    : { ...moved, warnings, head: { sessionId: result.newSessionId, seq: result.seq } };
}

function withStep(state: ChainState, name: StepName, change: Partial<StepState>): ChainState {
  return { ...state, steps: state.steps.map((step) => (step.step === name ? { ...step, ...change } : step)) };
}

// A used-up budget ends the chain at any step: started again with more, it continues from there.
function isOverBudget({ code }: Failure): boolean {
  return code === 'BUDGET_EXCEEDED' || code === 'STEP_TIMED_OUT';
}

function closedStatusOf({ failure, warnings }: ChainState): ClosedChainStatus {
  if (!failure) return warnings.length > 0 ? 'completed_with_warnings' : 'completed';
  if (failure.code === 'CANCELLED') return 'cancelled';
  return isOverBudget(failure) ? 'budget_exceeded' : 'failed';
}
