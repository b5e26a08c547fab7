import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { type AgentResult, AgentRunError, type AgentSpend, type RunLimits } from '../agent/run.js';
import type { AgentTask } from '../agent/kinds/kind.js';
import { uptimeMs } from '../agent/process/lease.js';
import { kinds } from '../agent/kinds/kinds.js';
import { SessionChainError, toFailure, toSessionChainError } from '../contracts/failures.js';
import type { ChainId, ProjectId, SessionId } from '../contracts/ids.js';
import type { ChainMode } from '../contracts/steps.js';
import { type AttemptMetrics, nothingSpent } from '../storage/ledger/metrics.js';
import {
  type Attempt,
  type Begun,
  type OperationRequest,
  adoptSession,
  beginOperation,
  endOperation,
  isInterruption,
  journalFork,
  lostRow,
  noteCalls,
  quarantineParent,
  quarantineSession,
} from '../storage/operations/operations.js';
import { isDatabaseAway } from '../storage/db/pool.js';
import type { TranscriptStore } from '../storage/transcripts/store.js';
import type { ActivityDependencies } from './dependencies.js';
import { type EarlierWork, findEarlierWork, warningOfLostCalls } from './evidence.js';
import { AttemptError } from './failures.js';
import type { Heartbeat } from './heartbeat.js';
import { type Hold, holdAttempt, leaseTimes } from './hold.js';
import { settleLedger } from './ledger.js';
import { createLiveText } from './live-text.js';
import { failureFields, waitFields } from './log.js';
import type { AttemptOutcome } from './meter.js';
import { workerName } from './workspace.js';

/** An operation that an agent performs, with what differs between steps and questions. */
export interface AgentOperation<Stored, Outcome> {
  projectId: ProjectId;
  operation: OperationRequest['operation'];
  inputDigest: string;
  task: AgentTask;
  model: string;
  mode: ChainMode;
  instructionKind: 'none' | 'free';
  /** Real path. */
  workspace: string;
  killGraceMs: number;
  /** The chain whose stop requests count. */
  chainId?: ChainId;
  /** The session to look at first among those of earlier attempts; it does not change what is found. */
  hint?: () => Promise<string | null>;
  /** Called once the attempt is journalled, before anything is paid. */
  onBegun?: (attempt: Attempt, earlier: EarlierWork | null) => Promise<void>;
  /** Whether costs that became known later matter before the run. */
  hasCostLimit: boolean;
  /** The limits of the run. Throws BUDGET_EXCEEDED where nothing is left. */
  limits: () => Promise<RunLimits>;
  /** How long the process may wait for the next task; null: it ends. */
  keepWarm: { idleMs: number } | null;
  /** The user message of a run that does not continue from an earlier one. */
  message: (attempt: Attempt) => string;
  /**
   * The files that the run has written so far, with its session: at its start, at each new file, and from time to time.
   */
  onFiles?: (sessionId: SessionId, files: string[]) => void;
  /** The outcome of an operation that was committed before. */
  stored: (result: Stored) => Outcome;
  /** Why the work of this attempt's agent is not in the project's folder; null if it is. */
  replaced?: () => Promise<SessionChainError | null>;
  commit: (done: DoneOperation) => Promise<Outcome>;
  /**
   * Makes an attempt that the model service rejected, or that lost its folder, wait instead of failing; returns how
   * long, and the outcome.
   */
  waits?: (failure: SessionChainError, attempt: Attempt) => Promise<{ waitMs: number; outcome: Outcome }>;
}

/** An operation that is done and not yet committed. */
export interface DoneOperation {
  attempt: Attempt;
  /** The attempt's own session, or the one that it adopts. */
  sessionId: SessionId;
  /** What that session forked. */
  parentSessionId: SessionId | null;
  /** The base that the work was done on: the attempt's own, or that of the earlier attempt that it continues from. */
  baseSessionId: SessionId | null;
  text: string;
  value?: Record<string, unknown>;
  warnings: string[];
  spent: AttemptMetrics;
  /** How many appends the attempt's own session received. */
  appends: number;
  /** Whether the process waits for the next task. */
  parked: boolean;
}

/**
 * One attempt: journal it, judge what earlier attempts left in the store, let Claude Code do what is missing under the
 * session id that the journal chose, commit. An operation that is committed already returns its stored result, and what
 * an earlier attempt finished is adopted; neither costs anything.
 */
export async function perform<Stored, Outcome>(
  shared: ActivityDependencies,
  beat: Heartbeat,
  operation: AgentOperation<Stored, Outcome>,
): Promise<Outcome> {
  const times = leaseTimes(Context.current().info.heartbeatTimeoutMs ?? 30_000, operation.killGraceMs);
  const { begun, begunAtMs } = await beginOnceAlone(shared, operation, times.leaseMs);
  if (begun.outcome === 'committed') return operation.stored(begun.result);
  const { attempt } = begun;
  const { sessionId } = attempt;
  const deps = { ...shared, log: shared.log.with({ attempt: attempt.attempt, sessionId }) };
  const says = eventsOf[operation.operation.kind];
  deps.log.info(says.started, { from: attempt.baseSessionId, model: operation.model });
  const hold = holdAttempt(deps, attempt, { chainId: operation.chainId, begunAtMs, ...times });
  const ledger = { spent: nothingSpent };
  const store = deps.createTranscriptStore(operation.projectId);
  const count: Count = (outcome, spent) => {
    const step = operation.operation.kind === 'step' ? operation.operation.step : null;
    deps.meter.attemptEnded({ step, outcome, durationMs: uptimeMs() - begunAtMs, spent });
  };
  try {
    const hint = begun.earlier.length > 1 ? await operation.hint?.() : null;
    const earlier = await findEarlierWork(deps, operation, begun.earlier, hint);
    await operation.onBegun?.(attempt, earlier);
    if (attempt.attempt > 1 || operation.hasCostLimit) await settleLedger(deps, operation.projectId);
    const done =
      earlier?.evidence.kind === 'finished'
        ? await adopt(deps, attempt, earlier)
        : await run(deps, operation, { attempt, earlier, beat, hold, ledger, store });
    const replaced = done.sessionId === attempt.sessionId ? await operation.replaced?.() : null;
    if (replaced) throw replaced;
    const outcome = await whenDatabaseAnswers(deps, hold.signal, async () => {
      // This run shows the prices from which the cost of a killed one is calculated.
      if (attempt.attempt > 1) await settleLedger(deps, operation.projectId, done.spent.byModel);
      return await operation.commit(done);
    });
    const isAdopted = earlier?.evidence.kind === 'finished';
    count(isAdopted ? 'adopted' : 'committed', done.spent);
    const { costUsd, turns } = done.spent;
    deps.log.info(says.committed, {
      ...{ costUsd, turns, durationMs: Math.round(uptimeMs() - begunAtMs) },
      ...(isAdopted ? { adopted: done.sessionId } : {}),
      ...(done.warnings.length > 0 ? { warnings: done.warnings.length } : {}),
    });
    return outcome;
  } catch (error) {
    return await endedWithout(deps, operation, { attempt, hold, ledger, store }, error, count);
  } finally {
    hold.release();
  }
}

const eventsOf = {
  step: { started: 'step.started', committed: 'step.committed', waiting: 'chain.waiting' },
  outside: { started: 'question.started', committed: 'question.answered', waiting: 'question.waiting' },
} as const;

/** Counts the end of the attempt. */
type Count = (outcome: AttemptOutcome, spent: AttemptMetrics) => void;

/** Begins an attempt as soon as the leases of all earlier ones have expired; also returns when that was sent. */
async function beginOnceAlone<Stored>(
  { pool }: ActivityDependencies,
  { projectId, operation, inputDigest }: AgentOperation<Stored, unknown>,
  leaseMs: number,
): Promise<{ begun: Exclude<Begun<Stored>, { outcome: 'former_agent_alive' }>; begunAtMs: number }> {
  const { cancellationSignal, cancellationDetails } = Context.current();
  const worker = workerName();
  for (;;) {
    const begunAtMs = uptimeMs();
    const begun = await beginOperation<Stored>(pool, { projectId, operation, inputDigest, worker, leaseMs });
    if (begun.outcome !== 'former_agent_alive') return { begun, begunAtMs };
    // The former worker was told to stop and may report at any moment that it has.
    await delay(Math.min(begun.waitMs, 500), undefined, { signal: cancellationSignal }).catch(() => {
      throw cancellationDetails?.cancelRequested
        ? new SessionChainError('CANCELLED', 'Cancelled before the attempt began.')
        : new SessionChainError('WORKER_LOST', 'The worker was stopped before the attempt began.');
    });
  }
}

/** Takes over what an earlier attempt finished; it was paid then, and is accounted for in that attempt's own row. */
async function adopt(
  { pool }: ActivityDependencies,
  attempt: Attempt,
  { sessionId, baseSessionId, evidence, text }: EarlierWork,
): Promise<DoneOperation> {
  await adoptSession(pool, attempt, sessionId);
  const value = evidence.kind === 'finished' ? evidence.value : undefined;
  return {
    ...{ attempt, sessionId, baseSessionId, text },
    parentSessionId: baseSessionId,
    ...(value === undefined ? {} : { value }),
    warnings: [],
    spent: nothingSpent,
    appends: 0,
    parked: false,
  };
}

interface RunningAttempt {
  attempt: Attempt;
  earlier: EarlierWork | null;
  beat: Heartbeat;
  hold: Hold;
  /** What the attempt has spent so far, whether it is committed or not. */
  ledger: { spent: AttemptMetrics };
  store: TranscriptStore;
}

/** Often enough for a copy that is kept for an hour. */
const refreshFilesMs = 20 * 60_000;

async function run<Stored>(
  deps: ActivityDependencies,
  operation: AgentOperation<Stored, unknown>,
  { attempt, earlier, beat, hold, ledger, store }: RunningAttempt,
): Promise<DoneOperation> {
  const { task, model, onFiles } = operation;
  const limits = await operation.limits();
  const goesOn = earlier && kinds[task.kind].continueMessage(task.name);
  const parentSessionId = earlier && goesOn ? earlier.sessionId : attempt.baseSessionId;
  if (parentSessionId !== null && parentSessionId === attempt.head.sessionId && !attempt.headIsWhole) {
    throw new SessionChainError(
      'SESSION_NOT_IN_STORE',
      `The head of the project ${attempt.projectId} is the session ${parentSessionId}, whose transcript is not in the store.`,
    );
  }
  if (earlier && goesOn) await journalFork(deps.pool, attempt, earlier.sessionId);
  const known = earlier && goesOn ? [...earlier.own, ...earlier.bySubagents] : [];
  const warning = await warningOfLostCalls(deps, attempt, known);
  let files: string[] = [];
  const tellFiles = () => onFiles?.(attempt.sessionId, files);
  tellFiles();
  const refresh = setInterval(tellFiles, refreshFilesMs);
  const live = createLiveText(deps, attempt.attemptId);
  const running = deps.agent.run(
    {
      task,
      mode: operation.mode,
      sessionId: attempt.sessionId,
      baseSessionId: parentSessionId,
      store,
      prompt: operation.message(attempt),
      ...(earlier && goesOn ? { earlierEntries: earlier.own, earlierBySubagents: earlier.bySubagents } : {}),
      ...(warning === undefined ? {} : { warning }),
      instructionKind: operation.instructionKind,
      model,
      workspace: operation.workspace,
      killGraceMs: operation.killGraceMs,
      keepWarm: operation.keepWarm,
      ...limits,
    },
    {
      signal: hold.signal,
      lease: hold.lease,
      ids: deps.log.ids,
      onProgress: (progress) => beat.report(progress),
      onFiles: (written) => {
        files = written;
        tellFiles();
      },
      onText: (text, message) => live.add(text, message),
      noteCalls: (calls) => noteCalls(deps.pool, attempt, calls),
    },
  );
  const result: AgentResult = await running.finally(async () => {
    clearInterval(refresh);
    await live.end();
  });
  ledger.spent = metricsOf(result);
  const { value } = result;
  return {
    attempt,
    sessionId: result.sessionId,
    parentSessionId,
    baseSessionId: earlier && goesOn ? earlier.baseSessionId : attempt.baseSessionId,
    text: result.text,
    ...(value === undefined ? {} : { value }),
    warnings: result.warnings,
    spent: ledger.spent,
    appends: store.appends(attempt.sessionId),
    parked: result.parked,
  };
}

// The agent's work is done and paid: a database that is unavailable for a while must not waste it.
async function whenDatabaseAnswers<Result>(
  { log, outages }: Pick<ActivityDependencies, 'log' | 'outages'>,
  signal: AbortSignal,
  attempt: () => Promise<Result>,
): Promise<Result> {
  for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, 5_000)) {
    try {
      return await attempt();
    } catch (error) {
      if (!isDatabaseAway(error) || signal.aborted) throw error;
      // While connections from before a change of the password live, nothing else may notice it.
      outages.database.trouble(log, failureFields(toSessionChainError(error)));
      await delay(waitMs);
    }
  }
}

/** Records how an attempt that committed nothing ended, and tells the workflow that it waits or that it failed. */
async function endedWithout<Outcome>(
  deps: Pick<ActivityDependencies, 'pool' | 'log' | 'meter' | 'outages'>,
  {
    projectId,
    waits,
    replaced,
    operation,
  }: Pick<AgentOperation<never, Outcome>, 'projectId' | 'waits' | 'replaced' | 'operation'>,
  { attempt, hold, ledger, store }: Omit<RunningAttempt, 'earlier' | 'beat'>,
  error: unknown,
  count: Count,
): Promise<Outcome> {
  const { pool, log } = deps;
  const seen = classify(toSessionChainError(error), hold);
  // Whatever the error looks like, a missing row is its cause.
  const lost =
    seen.code === 'CANCELLED' ? null : await lostBy(deps, attempt, operation.kind === 'step', store);
  const failure = lost ?? seen;
  const spent = error instanceof AgentRunError ? metricsOf(error.spent) : ledger.spent;
  const hasOpenCalls = !(error instanceof AgentRunError) || error.spent.hasOpenCalls;
  const end = { failure: toFailure(failure), spent, hasOpenCalls };
  // A step in the right folder must not continue from what was done in another one.
  const elsewhere = failure.code === 'WORKSPACE_CHANGED' ? failure : await replaced?.();
  if (elsewhere) {
    await whenDatabaseAnswers(
      deps,
      hold.signal,
      async () => await quarantineSession(pool, projectId, attempt.sessionId, elsewhere.message),
    ).catch((cause: unknown) => {
      log.warn('attempt.not_quarantined', { err: cause });
    });
  }
  if (failure.code === 'MODEL_UNAVAILABLE') deps.outages.model.trouble(log, failureFields(failure));
  if ((failure.code === 'MODEL_UNAVAILABLE' || failure.code === 'WORKSPACE_CHANGED') && waits) {
    const { waitMs, outcome } = await waits(failure, attempt);
    log.info(eventsOf[operation.kind].waiting, {
      ...failureFields(failure),
      ...waitFields(failure.code === 'MODEL_UNAVAILABLE' ? 'the model service' : 'the folder', waitMs),
    });
    deps.meter.failed(failure);
    count('waiting', spent);
    await endOperation(pool, attempt, { ...end, waitMs });
    return outcome;
  }
  count(isInterruption(failure.code) ? 'interrupted' : 'failed', spent);
  try {
    await endOperation(pool, attempt, end);
    // A session that could not be loaded now must not be used again.
    if (failure.code === 'SESSION_NOT_IN_STORE') await quarantineParent(pool, attempt, failure.message);
  } catch (cause) {
    // The next attempt ends what is recorded as running.
    log.warn('attempt.not_recorded', { err: cause });
  }
  throw new AttemptError(failure, attempt.attempt, log);
}

async function lostBy(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  attempt: Attempt,
  ofChain: boolean,
  store: TranscriptStore,
): Promise<SessionChainError | null> {
  try {
    return await lostRow(pool, attempt, { ofChain, appends: store.appends(attempt.sessionId) });
  } catch (error) {
    log.warn('attempt.not_examined', { err: error });
    return null;
  }
}

function metricsOf(spent: AgentSpend): AttemptMetrics {
  const { usage, byModel, costUsd, turns, durationMs, apiDurationMs, model, agentVersion } = spent;
  const { turnInFlightUnknown } = spent;
  return {
    ...{ usage, byModel, turns, durationMs, apiDurationMs, model, agentVersion, turnInFlightUnknown },
    // Without a turn there is nothing to calculate later.
    costUsd: costUsd ?? (turns === 0 ? 0 : null),
  };
}

/** A run that was stopped is cancelled only if its chain was; else this worker lost it, and another continues it. */
function classify(failure: SessionChainError, hold: Hold): SessionChainError {
  if (failure.code !== 'CANCELLED' || hold.isCancelled()) return failure;
  return new SessionChainError('WORKER_LOST', 'The worker was stopped in the middle of the attempt.');
}
