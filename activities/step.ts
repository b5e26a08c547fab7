import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { AgentRunError, type AgentResult } from '../agent/agent.js';
import type { AgentProgress } from '../agent/progress.js';
import { agentTools, allowedTools, houseRules, promptFor } from '../agent/steps.js';
import type { CommittedStep, StepInput, StepProgress, StepResult } from '../contracts/chain.js';
import { SessionChainError, toFailure, toSessionChainError } from '../contracts/failures.js';
import type { StepName } from '../contracts/steps.js';
import { type Attempt, beginAttempt, commitStep, failAttempt } from '../storage/attempts.js';
import { type ChainRow, requireChain } from '../storage/chains.js';
import { contextTokens } from '../storage/transcripts.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import type { ActivityDependencies } from './dependencies.js';
import { StepError } from './failures.js';

/**
 * One step: begin an attempt, run Claude Code under the session id that the journal chose, commit the new session as
 * the head. A step that is committed already returns its stored result and costs nothing.
 */
export async function runStep(deps: ActivityDependencies, input: StepInput): Promise<StepResult> {
  const context = Context.current();
  const beat = heartbeat(context);
  try {
    const chain = await requireChain(deps.pool, input);
    const skipped = await reasonToSkip(deps, input);
    if (skipped) return { outcome: 'skipped', step: input.step, reason: skipped };
    const workspace = await resolveWorkspace(chain.workspace, deps.workspaceRoots);
    const prompt = promptFor(input.step, input.mode, chain.instruction ?? undefined);
    const begun = await beginAttempt(deps.pool, {
      ...input,
      inputDigest: digestOf(input.step, prompt, deps.model),
      scheduledAtMs: context.info.currentAttemptScheduledTimestampMs,
      worker: `${process.pid}@${hostname()}`,
    });
    if (begun.outcome === 'committed') return begun.result;
    return await runAttempt(deps, input, {
      chain,
      attempt: begun.attempt,
      prompt,
      workspace,
      beat,
    });
  } finally {
    beat.stop();
  }
}

interface AttemptContext {
  chain: ChainRow;
  attempt: Attempt;
  prompt: string;
  /** Real path. */
  workspace: string;
  beat: Heartbeat;
}

async function runAttempt(
  deps: ActivityDependencies,
  input: StepInput,
  { chain, attempt, prompt, workspace, beat }: AttemptContext,
): Promise<CommittedStep> {
  const { cancellationSignal } = Context.current();
  const checkpoint = (filesCreated: string[]) =>
    deps.checkpoint.write({
      buildId: input.buildId,
      sessionId: attempt.sessionId,
      projectPath: workspace,
      filesCreated,
    });
  try {
    checkpoint([]);
    const result = await deps.agent.run(
      {
        step: input.step,
        mode: input.mode,
        sessionId: attempt.sessionId,
        baseSessionId: attempt.baseSessionId,
        store: deps.createTranscriptStore(input.projectId),
        prompt,
        instructionKind: chain.instruction === null ? 'none' : 'free',
        workspace,
        ...limitsOf(input),
      },
      { signal: cancellationSignal, onProgress: (progress) => beat.report(progress) },
    );
    checkpoint(result.filesTouched);
    return await whenDatabaseAnswers(cancellationSignal, () =>
      commitStep(deps.pool, {
        attempt,
        source: input.step,
        oldSessionId: input.head.sessionId,
        newSessionId: result.sessionId,
        metrics: metricsOf(result),
        ...(result.metadata === undefined ? {} : { metadata: result.metadata }),
        warnings: result.warnings,
      }),
    );
  } catch (error) {
    const failure = toSessionChainError(error);
    const spent = error instanceof AgentRunError ? error.spent : null;
    await failAttempt(deps.pool, attempt, toFailure(failure), spent).catch((cause: unknown) => {
      // The next begin_attempt ends what is recorded as running.
      deps.log.warn(
        { err: cause, attemptId: attempt.attemptId },
        'The failed attempt could not be recorded.',
      );
    });
    throw new StepError(failure, attempt.attempt);
  }
}

/** Why there is nothing to do: so far only a context too small to be worth compacting. */
async function reasonToSkip(deps: ActivityDependencies, input: StepInput): Promise<string | null> {
  if (input.step !== 'compact') return null;
  if (!input.baseSessionId) return 'There is no session to compact.';
  const tokens = await contextTokens(deps.pool, input.projectId, input.baseSessionId);
  if (tokens >= input.compactThresholdTokens) return null;
  return `The context holds ${tokens} tokens, fewer than the threshold of ${input.compactThresholdTokens}.`;
}

// The agent's work is done and paid: a database that is away for a while must not waste it.
async function whenDatabaseAnswers<Result>(
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

interface Heartbeat {
  report(progress: AgentProgress): void;
  stop(): void;
}

/** Beats at once, then at every report and at least at a third of the heartbeat timeout. */
function heartbeat(context: Context): Heartbeat {
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

function limitsOf({ limits, killGraceMs }: StepInput) {
  const { timeoutMs, maxTurns, maxCostUsd } = limits;
  return { timeoutMs, maxTurns, killGraceMs, ...(maxCostUsd === undefined ? {} : { maxCostUsd }) };
}

function metricsOf({ usage, costUsd, turns, durationMs, apiDurationMs, model, agentVersion }: AgentResult) {
  return { usage, costUsd, turns, durationMs, apiDurationMs, model, agentVersion };
}

/** Names what an attempt is asked to do: evidence of another attempt counts only for the same. */
function digestOf(step: StepName, prompt: string, model: string | undefined): string {
  const asked = { prompt, houseRules, tools: agentTools, allowedTools: allowedTools(step), model: model ?? null };
  return createHash('sha256').update(JSON.stringify(asked)).digest('hex');
}
