import {
  ActivityFailure,
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
import type { ChainActivities } from '../contracts/activities.js';
import { turnFreeSignal } from '../contracts/chain-runs.js';
import type {
  ChainInput,
  ChainResult,
  ChainState,
  Head,
  OpenedChain,
  QueuedChain,
  StepInput,
  StepLimits,
} from '../contracts/chain.js';
import { type Failure, remedyFor } from '../contracts/failures.js';
import { type ChainPlan, planFor } from '../contracts/plan.js';
import type { StepName } from '../contracts/steps.js';
import { callAfterStep } from './after-step.js';
import { chainDetails } from './details.js';
import { failureOf } from './failures.js';
import { type ChainEvent, baseOf, initialState, reduce, resultOf } from './reducer.js';
import { answerSessionRequests } from './session-requests.js';

/** The chain as it stands: the rolling session id, every step with its ids, cost and time. */
export const chainState = defineQuery<ChainState>('chainState');

/** The head as the chain knows it: a moment behind the database while a step commits. `seq` tells which of two is newer. */
export const sessionNow = defineQuery<Head>('sessionNow');

/** An empty hint that the project may be free: the chain asks again. */
export const turnFree = defineSignal(turnFreeSignal);

/**
 * The chain of one build: open -> build -> metadata -> docs -> compact -> commit. The state threads the session id from
 * step to step; each step commits its own transition before it returns, and the last activity hands the turn on.
 * A failed chain fails the workflow with the failure's code as its type; a cancelled one cancels it.
 */
export async function chain(input: ChainInput): Promise<ChainResult> {
  let state = initialState(input);
  let turn: number | null = null;
  const apply = (event: ChainEvent): void => {
    state = reduce(state, event);
    setCurrentDetails(chainDetails(state));
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

  try {
    const opened = await takeTurn(input, (queued) => {
      turn = queued.turn;
      apply({ type: 'queued', queued });
    });
    turn = opened.turn;
    apply({ type: 'opened', opened });
    const plan = planFor(input, opened.plan);
    for (const step of input.steps) {
      let ended: ChainEvent;
      do {
        apply({ type: 'stepStarted', step });
        ended = await runStep(step, input, plan, state, turn);
        apply(ended);
        if (ended.type === 'stepWaits') await sleep(ended.waiting.waitMs);
      } while (ended.type === 'stepWaits');
      chats.stepEnded();
      if (ended.type === 'stepCancelled') apply({ type: 'failed', failure: cancelled });
      if (ended.type === 'stepEnded') await followStep(input, plan, opened, ended, apply);
      if (state.failure) break;
    }
  } catch (error) {
    apply({ type: 'failed', failure: isCancellation(error) ? cancelled : failureOf(error) });
  }

  const result = resultOf(state);
  await CancellationScope.nonCancellable(() =>
    databaseActivities(input).commit({
      ...keyOf(input),
      turn,
      result,
      versionStatus: input.steps.includes('build') ? versionStatusOf(input, result) : null,
    }),
  );
  setCurrentDetails(chainDetails(result));
  await chats.chainEnded();
  if (result.status === 'cancelled') throw new CancelledFailure(cancelled.message);
  if (result.failure) {
    throw ApplicationFailure.create({
      type: result.failure.code,
      message: `${result.failure.message} ${result.failure.remedy}`,
      nonRetryable: true,
    });
  }
  return result;
}

/** Asks for the project's turn until it is ours: at every hint, and ever more seldom without one. */
async function takeTurn(input: ChainInput, onQueued: (queued: QueuedChain) => void): Promise<OpenedChain> {
  let hinted = false;
  setHandler(turnFree, () => void (hinted = true), {
    description: 'A hint that the project may be free; the chain asks again.',
  });
  let turn: number | null = null;
  const { initial, max } = input.policy.turnWaitMs ?? { initial: 30_000, max: 600_000 };
  for (let waitMs = initial; ; waitMs = Math.min(2 * waitMs, max)) {
    hinted = false;
    const answer = await databaseActivities(input).open({
      ...keyOf(input),
      turn,
      ...(input.policy.reset ? { reset: input.policy.reset } : {}),
      ...(input.recover ? { recover: true } : {}),
    });
    if (answer.outcome !== 'queued') return answer;
    turn = answer.turn;
    onQueued(answer);
    await condition(() => hinted, waitMs);
  }
}

const cancelled: Failure = {
  code: 'CANCELLED',
  message: 'The chain was cancelled; the head is the last committed session.',
  remedy: remedyFor('CANCELLED'),
};

async function runStep(
  step: StepName,
  input: ChainInput,
  plan: ChainPlan,
  state: ChainState,
  turn: number,
): Promise<ChainEvent> {
  const { limits, critical } = plan.steps[step];
  const stepInput: StepInput = {
    ...keyOf(input),
    turn,
    step,
    mode: input.mode,
    head: state.head,
    baseSessionId: baseOf(state),
    limits,
    budget: input.policy.budget,
    killGraceMs: input.policy.killGraceMs,
    waitMs: input.policy.waitMs,
    compactThresholdTokens: plan.compactThresholdTokens,
    ...(input.policy.model === undefined ? {} : { model: input.policy.model }),
  };
  try {
    const result = await agentActivities(input, limits, summaryOf(step, state))[step](stepInput);
    return result.outcome === 'waiting'
      ? { type: 'stepWaits', waiting: result }
      : { type: 'stepEnded', result };
  } catch (error) {
    const failure = failureOf(error);
    if (isCancellation(error) || failure.code === 'CANCELLED') return { type: 'stepCancelled', step };
    // A fenced step belongs to a chain that somebody took over: it has no right to go on, optional or not.
    if (failure.code === 'FENCED') throw error;
    // The steps to come would fork the same lost session; the next start of the chain goes on from an ancestor.
    const isLost = failure.code === 'SESSION_NOT_IN_STORE';
    return { type: 'stepFailed', step, failure, attempts: attemptsOf(error), critical: critical || isLost };
  }
}

/** The host's own activity after a step that committed, where the definition names one. */
async function followStep(
  input: ChainInput,
  plan: ChainPlan,
  { workspace = '' }: OpenedChain,
  { result }: Extract<ChainEvent, { type: 'stepEnded' }>,
  apply: (event: ChainEvent) => void,
): Promise<void> {
  const { step } = result;
  const { after } = plan.steps[step];
  if (!after || result.outcome !== 'committed') return;
  const { activity, taskQueue, critical } = after;
  apply({ type: 'afterStarted', step, activity, taskQueue });
  try {
    const failure = await callAfterStep(input, result, after, workspace);
    apply({ type: 'afterEnded', step, failure, critical });
  } catch (error) {
    apply({ type: 'afterCancelled', step });
    throw error;
  }
}

// Database activities take milliseconds and must succeed in the end: a chain that cannot reach Postgres waits visibly
// at `open` or `commit`. 1 s doubling to 1 min, without end.
function databaseActivities({ policy }: ChainInput): ChainActivities {
  return proxyActivities<ChainActivities>({
    taskQueue: policy.taskQueues.chains,
    startToCloseTimeout: '30 s',
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
}

// A step runs for minutes. Its worker beats; silence of one heartbeat timeout means that it is lost. 5 attempts wait
// 5 + 10 + 20 + 40 s between them (the lease in the journal, not this, keeps two agents apart). The agent keeps its own
// time limit; the activity's adds room to start, to wait for a former agent's end, and to commit.
function agentActivities({ policy }: ChainInput, limits: StepLimits, summary: string): ChainActivities {
  return proxyActivities<ChainActivities>({
    taskQueue: policy.taskQueues.agents,
    startToCloseTimeout: limits.timeoutMs + policy.killGraceMs + 120_000,
    heartbeatTimeout: policy.heartbeatTimeoutMs,
    retry: {
      initialInterval: Math.max(5_000, policy.killGraceMs),
      maximumInterval: '5 min',
      maximumAttempts: limits.maxAttempts,
    },
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    summary,
  });
}

function summaryOf(step: StepName, state: ChainState): string {
  const base = baseOf(state);
  return base ? `${step} from ${base.slice(0, 8)}` : `${step} from a fresh session`;
}

function keyOf({ projectId, versionId, buildId, chainId }: ChainInput) {
  return { projectId, versionId, buildId, chainId };
}

function versionStatusOf({ policy }: ChainInput, result: ChainResult): string | null {
  const build = result.steps.find(({ step }) => step === 'build');
  // Where the host deploys by an activity of its own, that one says whether the version is deployed.
  const isDeployed = build?.status === 'committed' && (build.after?.status ?? 'completed') === 'completed';
  return isDeployed ? policy.versionStatus.succeeded : policy.versionStatus.failed;
}

/** How many attempts a failed step took, where its last failure tells. */
function attemptsOf(error: unknown): number {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  const attempts = cause instanceof ApplicationFailure ? cause.details?.[1] : undefined;
  return typeof attempts === 'number' ? attempts : 0;
}
