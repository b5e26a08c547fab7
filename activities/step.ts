import { Context } from '@temporalio/activity';
import { stepTask } from '../agent/kinds/kinds.js';
import type { CommittedStep, Head, StepInput, StepResult, WaitingStep } from '../contracts/chain.js';
import { SessionChainError, failureOfCode } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import { firstMoveOf, nextBase } from '../contracts/origin.js';
import type { AgentStepDefinition } from '../definition/definition.js';
import { inputDigest, stepOfDigest } from '../definition/digest.js';
import { promptFor } from '../definition/prompt.js';
import { type ChainRow, chainOfStep, noteSkipped, noteWaiting } from '../storage/chains/chains.js';
import { listTransitions } from '../storage/heads/heads.js';
import { chainSpend } from '../storage/ledger/ledger.js';
import {
  commitOperation,
  committedStep,
  countWaits,
  submittedValues,
} from '../storage/operations/operations.js';
import { isArchived, wasRestoredFor } from '../storage/retention/restore.js';
import { contextTokens } from '../storage/transcripts/store.js';
import { keepAgentVersion } from './agent-version.js';
import { type DoneOperation, perform } from './attempt.js';
import { notesFor } from './brief.js';
import { remainingLimits } from './budget.js';
import type { ActivityDependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import { nextLookMs } from './installation.js';
import { type ActivityLog, waitFields } from './log.js';
import { bringBack, restoredWarning } from './restore.js';
import {
  type WorkspaceRequest,
  findWorkspace,
  tellWait,
  triesBefore,
  waitForWorkspace,
  workerName,
} from './workspace.js';

/** The next step follows its predecessor at once, or after an activity of the host. */
const nextStepWithinMs = 5_000;

/** One try of a step of a chain: the next attempt of its operation. Its session becomes the head. */
export async function runStep(deps: ActivityDependencies, input: StepInput): Promise<StepResult> {
  return await withHeartbeat(async (beat) => {
    const { projectId, versionId, buildId, chainId, ticket, step, round, mode, plan } = input;
    const definition = stepOfDigest(deps.definition, { name: step, digest: plan.digest });
    if (!definition) return await leaveToOthers(deps, input);
    const chain = await chainOfStep(deps.pool, input);
    const isCommitted = async () => (await committedStep(deps.pool, input)) !== null;
    const baseSessionId = nextBase(chain, input.head);
    const skipped = await reasonToSkip(deps, input, definition.kind, baseSessionId, isCommitted);
    if (skipped) {
      await noteSkipped(deps.pool, input, skipped);
      deps.meter.stepSkipped(step);
      deps.log.info('step.skipped', { reason: skipped });
      return { outcome: 'skipped', step, reason: skipped };
    }
    const wanted = workspaceRequest(input, chain);
    const found = await findWorkspace(deps, wanted);
    // A committed step needs no folder.
    if ('trouble' in found && !(await isCommitted()))
      return await waitForFolder(deps, input, wanted, found.trouble);
    const version = await keepAgentVersion(deps, input, chain, isCommitted);
    if (version.outcome === 'waiting') return version;
    const restored = await restoredBase(deps, input, baseSessionId, isCommitted);
    const workspace = 'trouble' in found ? chain.workspace : found.path;
    const asked = await promptFor(deps.definition, definition, {
      ...{ projectId, versionId, buildId, mode, workspace },
      instruction: chain.instruction,
      values: await submittedValues(deps.pool, chainId),
    }).catch(async (error: unknown) => {
      // A committed step needs no prompt.
      if (await isCommitted()) return '';
      throw error;
    });
    const task = stepTask(definition);
    // Below the prompt, whatever that is: a definition cannot drop what the session does not know.
    const prompt = [asked, ...(await notesFor(deps, input, chain, baseSessionId, workspace))].join(
      '\n\n---\n\n',
    );
    const done = perform<CommittedStep, StepResult>(deps, beat, {
      ...{ projectId, task, mode, workspace, chainId },
      model: plan.model,
      operation: {
        kind: 'step',
        ...{ chainId, ticket, step, round },
        role: ('role' in definition && definition.role) || null,
        headSessionId: input.head.sessionId,
        baseSessionId,
        scheduledAtMs: Context.current().info.currentAttemptScheduledTimestampMs,
      },
      // Without the notes: the side branches may change from run to run, and paid work stays valid.
      inputDigest: inputDigest(deps.definition, {
        prompt: asked,
        allowedTools: task.allowedTools,
        model: plan.model,
      }),
      instructionKind: chain.instruction === null ? 'none' : 'free',
      killGraceMs: input.killGraceMs,
      hint: async () => (await deps.checkpoint.read(buildId))?.sessionId ?? null,
      onBegun: async ({ head }) => {
        if (head.sessionId !== input.head.sessionId) throw await headMoved(deps, input, head);
      },
      hasCostLimit: input.budget.maxCostUsd !== undefined,
      limits: () => remainingLimits(deps.pool, input),
      keepWarm: input.hasNext && deps.ownQueues !== null ? { idleMs: nextStepWithinMs } : null,
      message: () => prompt,
      onFiles: (sessionId, filesCreated) =>
        void deps.checkpoint.write({ buildId, sessionId, projectPath: workspace, filesCreated }),
      stored: (result) => result,
      replaced: async () => ('trouble' in found ? null : await found.replaced()),
      commit: (done) =>
        commitStep(
          deps,
          input,
          chain,
          { ...done, warnings: [...version.warnings, ...restored, ...done.warnings] },
          'column' in definition ? definition.column : undefined,
        ),
      waits: async (failure, attempt) => {
        const { initial, max } = input.waitMs;
        const waitMs =
          failure.retryAfterMs ?? Math.min(initial * 2 ** (await countWaits(deps.pool, attempt)), max);
        const reason = failureOfCode(failure.code).message;
        const waiting = { step, attempt: attempt.attempt, waitMs, reason, tries: triesBefore() };
        return { waitMs, outcome: { outcome: 'waiting', ...waiting } };
      },
    });
    return await done.finally(() => ('trouble' in found ? undefined : found.keepMarker()));
  });
}

/** Restores what the step continues from, where that is in the archive alone; the warnings of it. */
async function restoredBase(
  deps: ActivityDependencies,
  { projectId, chainId }: StepInput,
  baseSessionId: SessionId | null,
  isCommitted: () => Promise<boolean>,
): Promise<string[]> {
  if (baseSessionId === null) return [];
  // A committed step continues from nothing.
  if ((await isArchived(deps.pool, projectId, baseSessionId)) && !(await isCommitted()))
    await bringBack(deps, projectId, baseSessionId);
  // Also where an earlier try restored it.
  return (await wasRestoredFor(deps.pool, chainId, baseSessionId)) ? [restoredWarning(baseSessionId)] : [];
}

function workspaceRequest(
  { projectId, chainId, ticket, waits }: StepInput,
  { workspace }: ChainRow,
): WorkspaceRequest {
  return {
    projectId,
    path: workspace,
    chain: { chainId, ticket },
    search: `chain:${chainId}:${ticket}`,
    hasWaited: waits > 0,
  };
}

/** Leaves the step to a worker that has the project's folder, as {@link leaveToOthers} does, for a limited time. */
async function waitForFolder(
  deps: ActivityDependencies,
  input: StepInput,
  wanted: WorkspaceRequest,
  trouble: SessionChainError,
): Promise<WaitingStep> {
  const { step } = input;
  const waitMs = await waitForWorkspace(deps, wanted, trouble);
  await noteWaiting(deps.pool, input, {
    waitMs,
    code: trouble.code,
    waitingFor: `${step}: a worker that has the folder ${wanted.path}. ${workerName()}: ${trouble.message}`,
  });
  return {
    outcome: 'waiting',
    ...{ step, waitMs, attempt: 0, tries: triesBefore() },
    reason: `No worker that has the project's folder has taken it: start one, or look at status for what is wrong.`,
  };
}

async function commitStep(
  { pool, ownQueues }: ActivityDependencies,
  input: StepInput,
  { origin }: ChainRow,
  { attempt, sessionId, parentSessionId, value, warnings, spent, appends, parked }: DoneOperation,
  column: string | undefined,
): Promise<CommittedStep> {
  // The result also counts what earlier attempts took.
  const before = attempt.attempt > 1 ? (await chainSpend(pool, input)).steps : [];
  const earlier = before.find(({ step }) => step === input.step);
  const { usage } = spent;
  const result: Omit<CommittedStep, 'seq'> = {
    outcome: 'committed',
    step: input.step,
    attemptId: attempt.attemptId,
    attempt: attempt.attempt,
    oldSessionId: input.head.sessionId,
    newSessionId: sessionId,
    turns: spent.turns + (earlier?.turns ?? 0),
    usage: {
      inputTokens: usage.inputTokens + (earlier?.usage.inputTokens ?? 0),
      outputTokens: usage.outputTokens + (earlier?.usage.outputTokens ?? 0),
      cacheReadTokens: usage.cacheReadTokens + (earlier?.usage.cacheReadTokens ?? 0),
      cacheWriteTokens: usage.cacheWriteTokens + (earlier?.usage.cacheWriteTokens ?? 0),
    },
    costUsd: (spent.costUsd ?? 0) + (earlier?.costUsd ?? 0),
    durationMs: spent.durationMs + (earlier?.durationMs ?? 0),
    warnings,
  };
  const committed = await commitOperation<CommittedStep>(pool, {
    ...{ attempt, parentSessionId, result, appends },
    source: firstMoveOf(origin, input.head) ?? input.step,
    newSessionId: sessionId,
    metrics: spent,
    ...(value === undefined ? {} : { value }),
    ...(column === undefined ? {} : { column }),
  });
  // Beside what is stored, which outlives the process.
  return parked && ownQueues ? { ...committed.result, parkedOn: ownQueues.agents } : committed.result;
}

// A chain may wait for weeks, and each try adds to its history.
const slowestLookMs = 600_000;
/** Of a database, which is back sooner. */
const longestOutageLookMs = 60_000;

/**
 * This worker has another definition of the step than the chain was planned with: during a rollout another worker has the
 * right one. It is not a failure, so no attempt is used up, and it is visible as what the chain waits for.
 */
export async function leaveToOthers(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  input: StepInput,
): Promise<WaitingStep> {
  const { step, plan, waits } = input;
  const waitMs = Math.min(1_000 * 2 ** waits, slowestLookMs);
  tellWait(log, waits + 1, waitFields(`a worker with the definition ${plan.digest.slice(0, 12)}`, waitMs));
  await noteWaiting(pool, input, {
    waitMs,
    code: 'INVALID_CONFIG',
    waitingFor: `${step}: a worker with the definition ${plan.digest.slice(0, 12)}`,
  });
  return {
    outcome: 'waiting',
    ...{ step, waitMs, attempt: 0, tries: triesBefore() },
    reason: `No worker with the definition ${plan.digest.slice(0, 12)} of the step has taken it: start one, or cancel the chain and start it again.`,
  };
}

/** Leaves the step to a worker of its own installation, of whose database this worker knows nothing. */
export function leftToOwnInstallation(why: string, { step, waits }: StepInput): WaitingStep {
  return {
    outcome: 'waiting',
    ...{ step, waitMs: nextLookMs(waits, slowestLookMs), attempt: 0, tries: triesBefore() },
    reason: `No worker of its database has taken it: ${why}`,
  };
}

/** Leaves the step until the database answers: its tries are for what the agent does. */
export function stepWaitsForDatabase(log: ActivityLog, { step, waits }: StepInput): WaitingStep {
  const waitMs = nextLookMs(waits, longestOutageLookMs);
  tellWait(log, waits + 1, waitFields('the database', waitMs));
  return {
    outcome: 'waiting',
    ...{ step, waitMs, attempt: 0, tries: triesBefore() },
    reason: 'The database does not answer, or refuses the worker: look at the log of the worker.',
  };
}

/** Why there is nothing to do: so far only a context too small to be worth compacting. */
async function reasonToSkip(
  { pool }: ActivityDependencies,
  { projectId, plan }: StepInput,
  kind: AgentStepDefinition['kind'],
  baseSessionId: SessionId | null,
  isCommitted: () => Promise<boolean>,
): Promise<string | null> {
  if (kind !== 'compaction') return null;
  if (!baseSessionId) return 'There is no session to compact.';
  const tokens = await contextTokens(pool, projectId, baseSessionId);
  const threshold = plan.thresholdTokens ?? 0;
  // This same step may have made it so small, in a former run of the chain; then its stored result counts.
  if (tokens >= threshold || (await isCommitted())) return null;
  return `The context holds ${tokens} tokens, fewer than the threshold of ${threshold}.`;
}

async function headMoved(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { projectId, head, step }: StepInput,
  found: Head,
): Promise<SessionChainError> {
  const move = (await listTransitions(pool, projectId, 1)).find(({ seq }) => seq === found.seq);
  const how = move
    ? `: the transition ${move.seq} (${move.source}) made it that at ${move.createdAt.toISOString()}`
    : '';
  return new SessionChainError(
    'FENCED',
    `The head of the project ${projectId} is ${found.sessionId ?? 'none'} and not ${head.sessionId ?? 'none'}, from which the ${step} step was to continue${how}.`,
  );
}
