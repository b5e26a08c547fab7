import {
  type ActivityOptions,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  defineQuery,
  defineSignal,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import type { CalledActivities, ChainActivities } from '../contracts/activities.js';
import type {
  ChainCost,
  ChainInput,
  ChainPolicy,
  ChainResult,
  ChainState,
  Head,
  OpenedChain,
  QueuedChain,
  StepInput,
  StepResult,
} from '../contracts/chain.js';
import { type FailureCode, failureOfCode } from '../contracts/failures.js';
import { sameInstallation } from '../contracts/installation.js';
import { type AgentStepPlan, type StepPlan, payloadVersion } from '../contracts/plan.js';
import { queries, signals } from '../temporal/names.js';
import { callHostActivity } from './activity-step.js';
import { createChainDetails, statusWords, stepSummary, stoppedStep } from './details.js';
import { type ActivityLimits, attemptOf, failureOf } from './failures.js';
import { offer, onAny, ownQueueOptions } from './own-queue.js';
import { rejectUnknownPayload, unknownPayload } from './payload-version.js';
import { type ChainEvent, baseOf, initialState, reduce, resultOf } from './reducer.js';
import { answerSessionRequests } from './session-requests.js';
import { taskTime } from './task-time.js';

/** The present state of the chain: the rolling session id, every step with its ids, cost and time. */
export const chainState = defineQuery<ChainState>(queries.chainState);

/** The head as the chain knows it: a moment behind the database while a step commits. `seq` tells which of two is newer. */
export const sessionNow = defineQuery<Head>(queries.sessionNow);

/** An empty hint that the project may be free: the chain asks again. */
export const projectFree = defineSignal(signals.projectFree);

/**
 * The chain of one build: open -> the steps of its plan -> commit. The state threads the session id from step to step; each
 * step commits its own transition before it returns, and the last activity frees the project. A failed chain fails the
 * workflow with the failure's code as its type; a cancelled one cancels it.
 */
export async function chain(input: ChainInput): Promise<ChainResult> {
  if (input?.version !== payloadVersion) return await rejectUnknownPayload(input);
  let state = initialState(input);
  let ticket: number | null = null;
  const details = createChainDetails(taskTime);
  const apply = (event: ChainEvent): void => {
    state = reduce(state, event);
    setCurrentDetails(details(state));
  };
  setHandler(chainState, () => state, {
    description: 'The chain so far: head, base session and every step with its ids, cost and time.',
  });
  setHandler(sessionNow, () => state.head, {
    description: 'The head of the project as this chain knows it, with its number.',
  });
  const chats = answerSessionRequests({
    projectId: input.projectId,
    head: () => state.head.sessionId,
    runsStep: () => state.steps.some(({ status }) => status === 'running' || status === 'waiting'),
  });

  async function work(opening: number): Promise<void> {
    if (opening > 1) await sleep(pauseBefore(opening, input.policy));
    const opened = await takeProject(input, opening, (queued) => {
      ticket = queued.ticket;
      apply({ type: 'queued', queued });
    });
    ticket = opened.ticket;
    if (opened.plan?.version !== payloadVersion) throw unknownPayload('the plan', opened.plan?.version);
    apply({ type: 'opened', opened });
    /** The queue of the worker that keeps the process of the last agent step. */
    let parkedOn: string | undefined;
    for (const step of opened.plan.steps) {
      const ended = await runStep(step, input, opened, parkedOn, () => state, apply);
      if (step.kind !== 'activity') parkedOn = parkedOnOf(ended);
      apply(ended);
      chats.stepEnded();
      if (ended.type === 'stepCancelled') apply({ type: 'failed', failure: cancelled });
      if (state.failure) break;
    }
  }

  async function close(result: ChainResult): Promise<ChainCost> {
    return await CancellationScope.nonCancellable(() =>
      databaseActivities(input).commit({ ...keyOf(input), ticket, result }),
    );
  }

  let result: ChainResult | undefined;
  let cost: ChainCost | undefined;
  for (let opening = 1; !result; opening += 1) {
    try {
      await work(opening).catch((error: unknown) => {
        if (hasWentBack(error)) throw error;
        apply({ type: 'failed', failure: isCancellation(error) ? cancelled : failureOf(error) });
      });
      cost = await close(resultOf(state));
      result = resultOf(state);
    } catch (error) {
      if (!hasWentBack(error)) throw error;
      // What the chain knows is no longer true: it asks for the project like a chain that never had it.
      ticket = null;
      apply({ type: 'wentBack' });
    }
  }
  setCurrentDetails(details(result, cost));
  await chats.chainEnded();
  if (result.status === 'cancelled') throw new CancelledFailure(cancelled.message);
  if (result.failure) {
    const { code, message, remedy } = result.failure;
    const step = stoppedStep(result);
    const how = `${statusWords(result)}${step ? ` in ${step.step}` : ''}`;
    throw ApplicationFailure.create({
      type: code,
      message: `${how}: ${message} ${remedy}`,
      nonRetryable: true,
    });
  }
  return result;
}

const cancelled = failureOfCode('CANCELLED');

/** Whether the database no longer knows what it had confirmed to the chain. */
function hasWentBack(error: unknown): boolean {
  return failureOf(error).code === 'DATABASE_WENT_BACK';
}

/**
 * How long a chain waits before it opens again: an agent of which no row is left is dead by then. Longer each time, so
 * that a database that keeps going back costs little.
 */
function pauseBefore(opening: number, { heartbeatTimeoutMs, killGraceMs }: ChainPolicy): number {
  return (heartbeatTimeoutMs + killGraceMs) * 2 ** Math.min(opening - 2, 6);
}

/** Hints that a queued chain follows; more cost its history too much, and it then asks by its timer alone. */
const maxHints = 100;

/** Asks for the project until the chain holds it: at every hint, and less and less often without one. */
async function takeProject(
  input: ChainInput,
  opening: number,
  onQueued: (queued: QueuedChain) => void,
): Promise<OpenedChain> {
  let hints = 0;
  let hinted = false;
  setHandler(projectFree, () => void (hinted = ++hints <= maxHints), {
    description: 'A hint that the project may be free; the chain asks again.',
  });
  let ticket: number | null = null;
  const { initial, max } = input.policy.queueWaitMs;
  for (let waitMs = initial; ;) {
    hinted = false;
    const answer = await databaseActivities(input).open({
      ...keyOf(input),
      ticket,
      ...(opening > 1 ? { opening } : {}),
      overrides: input.overrides,
      ...(input.recover ? { recover: true } : {}),
    });
    if (answer.outcome !== 'queued') return answer;
    ticket = answer.ticket;
    onQueued(answer);
    // However many hints come, the wait without one stays what it was.
    if (!(await condition(() => hinted, waitMs))) waitMs = Math.min(2 * waitMs, max);
  }
}

function parkedOnOf(ended: ChainEvent): string | undefined {
  return ended.type === 'stepEnded' && 'parkedOn' in ended.result ? ended.result.parkedOn : undefined;
}

async function runStep(
  plan: StepPlan,
  input: ChainInput,
  { ticket, plan: { budget, steps } }: OpenedChain,
  parkedOn: string | undefined,
  state: () => ChainState,
  apply: (event: ChainEvent) => void,
): Promise<ChainEvent> {
  const { name: step, critical } = plan;
  const call = { ...keyOf(input), ticket, step, round: 1 };
  try {
    if (plan.kind === 'activity') {
      apply({ type: 'stepStarted', step });
      const failure = await callHostActivity(databaseActivities(input), {
        ...call,
        plan,
        head: state().head,
      });
      return failure
        ? { type: 'stepFailed', step, failure, attempts: 0, critical }
        : { type: 'activityEnded', step };
    }
    const hasNext = steps.slice(steps.indexOf(plan) + 1).some(({ kind }) => kind !== 'activity');
    for (let waits = 0, tries = 0, own = parkedOn; ; own = undefined) {
      apply({ type: 'stepStarted', step });
      const { killGraceMs, waitMs } = input.policy;
      const result = await runAgent(
        input,
        plan,
        state(),
        { own, tries },
        {
          ...{ ...call, mode: input.mode, plan, head: state().head },
          ...{ budget, killGraceMs, waitMs, waits, hasNext },
        },
      );
      if (result.outcome !== 'waiting') return { type: 'stepEnded', result };
      if (result.attempt === 0) waits += 1;
      tries += result.tries ?? 0;
      apply({ type: 'stepWaits', waiting: result });
      await sleep(result.waitMs);
    }
  } catch (error) {
    const failure = failureOf(error, plan.kind === 'activity' ? undefined : limitsOf(input, plan));
    if (endsRun.has(failure.code)) throw error;
    // The last try may have committed though its answer was lost.
    const committed = await CancellationScope.nonCancellable(() =>
      databaseActivities(input).committedStep(call),
    );
    if (committed) return { type: 'stepEnded', result: committed };
    if (isCancellation(error) || failure.code === 'CANCELLED') return { type: 'stepCancelled', step };
    const isCritical = critical || endsChain.has(failure.code);
    return { type: 'stepFailed', step, failure, attempts: attemptOf(error), critical: isCritical };
  }
}

/**
 * After these failures the step is not settled. A chain that was taken over may not continue, whether the step is
 * optional or not.
 */
const endsRun: ReadonlySet<FailureCode> = new Set(['FENCED', 'PAYLOAD_UNKNOWN', 'DATABASE_WENT_BACK']);

/**
 * After a step that fails with one of these, every later step would fail, too: a row is gone, or they would fork the
 * same lost session, where the next start of the chain continues from an ancestor.
 */
const endsChain: ReadonlySet<FailureCode> = new Set([
  'PROJECT_NOT_FOUND',
  'VERSION_NOT_FOUND',
  'REQUEST_LOST',
  'SESSION_NOT_IN_STORE',
  'SESSION_ARCHIVED',
]);

// Database activities take milliseconds and must succeed in the end: a chain that cannot reach Postgres waits visibly
// at `open` or `commit`. 1 s doubling to 1 min, without limit.
function databaseActivities({ policy }: ChainInput): ChainActivities {
  return proxyActivities<ChainActivities>({
    taskQueue: policy.taskQueues.chains,
    startToCloseTimeout: '30 s',
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
}

/** Runs the step on the worker that keeps its process, where that takes it, else on any. `tries` failed before a wait. */
async function runAgent(
  input: ChainInput,
  plan: AgentStepPlan,
  state: ChainState,
  { own, tries }: { own: string | undefined; tries: number },
  call: StepInput,
): Promise<StepResult> {
  const pauseMs = Math.max(5_000, input.policy.killGraceMs);
  const maxAttempts = Math.max(1, plan.limits.maxAttempts - tries);
  let failed = 0;
  if (own !== undefined) {
    const run = agentActivity(input, plan, state, {
      taskQueue: own,
      ...ownQueueOptions,
    });
    const offered = await offer(() => run(call), { maxAttempts, pauseMs });
    if (offered.taken) return offered.result;
    failed = offered.tries;
  }
  const run = agentActivity(input, plan, state, {
    taskQueue: input.policy.taskQueues.agents,
    retry: {
      initialInterval: pauseMs * 2 ** failed,
      maximumInterval: '5 min',
      maximumAttempts: maxAttempts - failed,
    },
  });
  const result = await onAny(() => run(call));
  return failed > 0 && result.outcome === 'waiting'
    ? { ...result, tries: failed + (result.tries ?? 0) }
    : result;
}

// A step runs for minutes. Its worker sends heartbeats; silence for one heartbeat timeout means that it is lost. 5
// attempts wait 5 + 10 + 20 + 40 s between them (the lease in the journal, not this, keeps two agents apart). The agent
// keeps its own time limit; the activity's adds room to start, to wait for a former lease, and to commit.
function agentActivity(
  { policy }: ChainInput,
  plan: AgentStepPlan,
  state: ChainState,
  options: Pick<ActivityOptions, 'taskQueue' | 'scheduleToStartTimeout' | 'retry'>,
): CalledActivities[string] {
  const { name, limits } = plan;
  const base = baseOf(state);
  const { startToCloseTimeoutMs, heartbeatTimeoutMs } = limitsOf({ policy }, { limits });
  const activities = proxyActivities<CalledActivities>({
    ...options,
    startToCloseTimeout: startToCloseTimeoutMs,
    heartbeatTimeout: heartbeatTimeoutMs,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    summary: `${stepSummary(plan)} · from ${base ? base.slice(0, 8) : 'a fresh session'}`,
  });
  return activities[name] as CalledActivities[string];
}

function limitsOf(
  { policy }: Pick<ChainInput, 'policy'>,
  { limits: { timeoutMs } }: Pick<AgentStepPlan, 'limits'>,
): ActivityLimits {
  return {
    timeoutMs,
    startToCloseTimeoutMs: timeoutMs + policy.killGraceMs + 120_000,
    heartbeatTimeoutMs: policy.heartbeatTimeoutMs,
  };
}

function keyOf(input: ChainInput) {
  const { projectId, versionId, buildId, chainId } = input;
  const key = { version: payloadVersion, projectId, versionId, buildId, chainId } as const;
  return { ...key, ...sameInstallation(input) };
}
