import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { AgentRunError, type AgentResult, type AgentSpend } from '../agent/agent.js';
import type { AgentProgress } from '../agent/progress.js';
import { continuePrompt, digestOf, modelOf, promptFor } from '../agent/steps.js';
import type { CommittedStep, StepInput, StepProgress, StepResult, WaitingStep } from '../contracts/chain.js';
import { SessionChainError, toFailure, toSessionChainError } from '../contracts/failures.js';
import { firstMoveOf } from '../contracts/origin.js';
import {
  type Attempt,
  adoptSession,
  beginAttempt,
  commitStep,
  countWaits,
  endAttempt,
  isCommitted,
  journalFork,
  quarantineParent,
} from '../storage/operations/attempts.js';
import { type ChainRow, requireChain } from '../storage/chains/chains.js';
import { chainSpend } from '../storage/ledger/ledger.js';
import { type AttemptMetrics, nothingSpent } from '../storage/ledger/metrics.js';
import { contextTokens } from '../storage/transcripts/store.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import { notesFor } from './brief.js';
import { remainingLimits } from './budget.js';
import type { ActivityDependencies } from './dependencies.js';
import { type EarlierWork, findEarlierWork } from './evidence.js';
import { StepError } from './failures.js';
import { type Hold, holdAttempt } from './hold.js';
import { settleLedger } from './ledger.js';

/**
 * One step: begin an attempt, see what earlier ones left in the store, let Claude Code do what is missing under the
 * session id that the journal chose, commit the new session as the head. A step that is committed already returns its
 * stored result, and one that an earlier attempt finished is adopted; neither costs anything.
 */
export async function runStep(deps: ActivityDependencies, input: StepInput): Promise<StepResult> {
  const context = Context.current();
  const beat = heartbeat(context);
  try {
    const chain = await requireChain(deps.pool, input);
    const skipped = await reasonToSkip(deps, input);
    if (skipped) return { outcome: 'skipped', step: input.step, reason: skipped };
    const workspace = await resolveWorkspace(chain.workspace, deps.workspaceRoots);
    const { projectId, versionId, buildId, step, mode } = input;
    const asked = await promptFor(deps.definition, {
      ...{ projectId, versionId, buildId, step, mode, workspace },
      instruction: chain.instruction,
    }).catch(async (error: unknown) => {
      // What is committed needs no prompt any more.
      if (await isCommitted(deps.pool, input, step)) return '';
      throw error;
    });
    // Below the prompt, whatever it is made of: a definition cannot lose what the session does not know.
    const prompt = [asked, ...(await notesFor(deps, input, chain, workspace))].join('\n\n---\n\n');
    const model = modelOf(deps.definition, step, input.model);
    const leaseMs = (context.info.heartbeatTimeoutMs ?? 30_000) + input.killGraceMs;
    const begun = await beginOnceAlone(
      deps,
      input,
      // Not of the notes: which side branches there are may change from run to run, and what was paid for stays good.
      digestOf(deps.definition, { step, prompt: asked, model }),
      leaseMs,
    );
    if (begun.outcome === 'committed') return begun.result;
    const { attempt } = begun;
    const hold = holdAttempt(deps, attempt, { chainId: input.chainId, leaseMs });
    const ledger = { spent: nothingSpent };
    try {
      const hint = begun.earlier.length > 1 ? await deps.checkpoint.read(buildId) : null;
      const earlier = await findEarlierWork(deps, attempt, begun.earlier, hint?.sessionId);
      return await finishAttempt(deps, input, {
        chain,
        attempt,
        earlier,
        prompt,
        workspace,
        beat,
        hold,
        ledger,
      });
    } catch (error) {
      return await endedWithout(deps, input, { attempt, hold, ledger }, error);
    } finally {
      hold.release();
    }
  } finally {
    beat.stop();
  }
}

/** Begins an attempt as soon as no earlier attempt's agent can be alive. */
async function beginOnceAlone(
  deps: ActivityDependencies,
  input: StepInput,
  inputDigest: string,
  leaseMs: number,
) {
  const { cancellationSignal, info } = Context.current();
  for (;;) {
    const begun = await beginAttempt(deps.pool, {
      ...input,
      inputDigest,
      leaseMs,
      scheduledAtMs: info.currentAttemptScheduledTimestampMs,
      worker: `${process.pid}@${hostname()}`,
    });
    if (begun.outcome !== 'former_agent_alive') return begun;
    // Its worker was told to stop and may say at any moment that it has.
    await delay(Math.min(begun.waitMs, 500), undefined, { signal: cancellationSignal }).catch(() => {
      throw new SessionChainError('CANCELLED', 'Cancelled before the step began.');
    });
  }
}

interface AttemptContext {
  chain: ChainRow;
  attempt: Attempt;
  earlier: EarlierWork | null;
  prompt: string;
  /** Real path. */
  workspace: string;
  beat: Heartbeat;
  hold: Hold;
  /** What the attempt has spent so far, whether it comes to a commit or not. */
  ledger: { spent: AttemptMetrics };
}

async function finishAttempt(
  deps: ActivityDependencies,
  input: StepInput,
  context: AttemptContext,
): Promise<CommittedStep> {
  const { attempt, earlier, ledger } = context;
  if (attempt.attempt > 1 || input.budget.maxCostUsd !== undefined) await settleLedger(deps, input.projectId);
  if (earlier?.evidence.kind === 'finished') return await adopt(deps, input, context, earlier);
  const limits = await remainingLimits(deps.pool, input);
  const result = await runAgent(deps, input, context, limits);
  ledger.spent = metricsOf(result);
  return await commit(deps, input, context, {
    newSessionId: result.sessionId,
    parentSessionId: earlier?.sessionId ?? attempt.baseSessionId,
    ...(result.metadata === undefined ? {} : { metadata: result.metadata }),
    warnings: result.warnings,
  });
}

/** Commits what an earlier attempt finished; it was paid then, and accounted for in that attempt's own row. */
async function adopt(
  deps: ActivityDependencies,
  input: StepInput,
  context: AttemptContext,
  { sessionId, evidence }: EarlierWork,
): Promise<CommittedStep> {
  await adoptSession(deps.pool, context.attempt, sessionId);
  const metadata = evidence.kind === 'finished' ? evidence.metadata : undefined;
  return await commit(deps, input, context, {
    newSessionId: sessionId,
    parentSessionId: context.attempt.baseSessionId,
    ...(metadata === undefined ? {} : { metadata }),
    warnings: [],
  });
}

async function runAgent(
  deps: ActivityDependencies,
  input: StepInput,
  { chain, attempt, earlier, prompt, workspace, beat, hold }: AttemptContext,
  limits: Awaited<ReturnType<typeof remainingLimits>>,
): Promise<AgentResult> {
  const checkpoint = (filesCreated: string[]) =>
    deps.checkpoint.write({
      buildId: input.buildId,
      sessionId: attempt.sessionId,
      projectPath: workspace,
      filesCreated,
    });
  if (earlier) await journalFork(deps.pool, attempt, earlier.sessionId);
  void checkpoint([]);
  const result = await deps.agent.run(
    {
      step: input.step,
      mode: input.mode,
      sessionId: attempt.sessionId,
      baseSessionId: earlier?.sessionId ?? attempt.baseSessionId,
      store: deps.createTranscriptStore(input.projectId),
      prompt: earlier ? continuePrompt(input.step) : prompt,
      earlierEntries: earlier?.own ?? [],
      instructionKind: chain.instruction === null ? 'none' : 'free',
      ...(input.model === undefined ? {} : { model: input.model }),
      workspace,
      killGraceMs: input.killGraceMs,
      ...limits,
    },
    { signal: hold.signal, onProgress: (progress) => beat.report(progress) },
  );
  void checkpoint(result.filesTouched);
  return result;
}

async function commit(
  deps: ActivityDependencies,
  input: StepInput,
  { chain, attempt, hold, ledger }: AttemptContext,
  outcome: Pick<
    Parameters<typeof commitStep>[1],
    'newSessionId' | 'parentSessionId' | 'metadata' | 'warnings'
  >,
): Promise<CommittedStep> {
  return await whenDatabaseAnswers(hold.signal, async () => {
    // This run tells the prices that those of a killed one are worked out from.
    if (attempt.attempt > 1) await settleLedger(deps, input.projectId, ledger.spent.byModel);
    const before = attempt.attempt > 1 ? await chainSpend(deps.pool, input) : null;
    const earlier = before?.steps.find(({ step }) => step === input.step);
    return await commitStep(deps.pool, {
      attempt,
      source: firstMoveOf(chain.origin, input.head) ?? input.step,
      oldSessionId: input.head.sessionId,
      metrics: ledger.spent,
      ...(earlier ? { earlier } : {}),
      ...outcome,
    });
  });
}

// The agent's work is done and paid: a database that is away for a while must not waste it.
export async function whenDatabaseAnswers<Result>(
  signal: AbortSignal,
  attempt: () => Promise<Result>,
): Promise<Result> {
  for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, 5_000)) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof SessionChainError) || error.code !== 'DATABASE_UNAVAILABLE' || signal.aborted)
        throw error;
      await delay(waitMs);
    }
  }
}

/** Records how an attempt ended that committed nothing, and tells the chain: to wait, or that it failed. */
async function endedWithout(
  deps: ActivityDependencies,
  input: StepInput,
  { attempt, hold, ledger }: Pick<AttemptContext, 'attempt' | 'hold' | 'ledger'>,
  error: unknown,
): Promise<WaitingStep> {
  const failure = classify(toSessionChainError(error), hold);
  const spent = error instanceof AgentRunError ? metricsOf(error.spent) : ledger.spent;
  const end = { failure: toFailure(failure), spent };
  if (failure.code === 'MODEL_UNAVAILABLE') {
    const waitMs = failure.retryAfterMs ?? backOffMs(input, await countWaits(deps.pool, attempt));
    await endAttempt(deps.pool, attempt, { ...end, waitMs });
    return {
      outcome: 'waiting',
      step: input.step,
      attempt: attempt.attempt,
      waitMs,
      reason: failure.message,
    };
  }
  await recordEnd(deps, attempt, end).catch((cause: unknown) => {
    // The next begin_attempt ends what is recorded as running.
    deps.log.warn(
      { err: cause, attemptId: attempt.attemptId },
      'The end of the attempt could not be recorded.',
    );
  });
  throw new StepError(failure, attempt.attempt);
}

async function recordEnd(
  { pool }: ActivityDependencies,
  attempt: Attempt,
  end: Parameters<typeof endAttempt>[2],
): Promise<void> {
  await endAttempt(pool, attempt, end);
  // What could not be loaded now must not be handed out again.
  if (end.failure.code === 'SESSION_NOT_IN_STORE') {
    await quarantineParent(pool, attempt, end.failure.message);
  }
}

export function metricsOf(spent: AgentSpend): AttemptMetrics {
  const { usage, byModel, costUsd, turns, durationMs, apiDurationMs, model, agentVersion } = spent;
  const { turnInFlightUnknown } = spent;
  return {
    usage,
    byModel,
    // Of no turn there is nothing to work out later.
    costUsd: costUsd ?? (turns === 0 ? 0 : null),
    turns,
    durationMs,
    apiDurationMs,
    model,
    agentVersion,
    turnInFlightUnknown,
  };
}

/** A run that was stopped is cancelled only if its chain was; else this worker lost it, and another goes on with it. */
export function classify(failure: SessionChainError, hold: Hold): SessionChainError {
  if (failure.code !== 'CANCELLED' || hold.isCancelled()) return failure;
  return new SessionChainError('WORKER_LOST', 'The worker was stopped in the middle of the step.');
}

function backOffMs({ waitMs }: StepInput, waitsBefore: number): number {
  return Math.min(waitMs.initial * 2 ** waitsBefore, waitMs.max);
}

/** Why there is nothing to do: so far only a context too small to be worth compacting. */
async function reasonToSkip(deps: ActivityDependencies, input: StepInput): Promise<string | null> {
  if (input.step !== 'compact') return null;
  if (!input.baseSessionId) return 'There is no session to compact.';
  const tokens = await contextTokens(deps.pool, input.projectId, input.baseSessionId);
  if (tokens >= input.compactThresholdTokens) return null;
  // What made it so small may be this very step, in a former run of the chain; then its stored result counts.
  if (await isCommitted(deps.pool, input, input.step)) return null;
  return `The context holds ${tokens} tokens, fewer than the threshold of ${input.compactThresholdTokens}.`;
}

interface Heartbeat {
  report(progress: AgentProgress): void;
  stop(): void;
}

/** Beats at once, then at every report and at least at a third of the heartbeat timeout. */
export function heartbeat(context: Context): Heartbeat {
  let last: StepProgress = { turns: 0, activity: 'starting' };
  const beat = () => context.heartbeat(last);
  beat();
  const timer = setInterval(beat, (context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  return {
    report: ({ turns, toolName, file, status }) => {
      last = { turns, activity: [toolName, file].filter(Boolean).join(' ') || status || last.activity };
      beat();
    },
    stop: () => clearInterval(timer),
  };
}
