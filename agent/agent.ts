import { query, type SessionStore, type SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { ModelUsage, Usage } from '../contracts/chain.js';
import type { ChainDefinition } from '../definition/definition.js';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import type { AgentTask, ChainMode } from '../contracts/steps.js';
import { findAgentBinary } from './process/binary.js';
import { requireCredentials } from './process/environment.js';
import { agentHooks } from './hooks.js';
import { probeContainment, type AgentProcess, type Containment } from './process/process.js';
import { createProgress, type AgentProgress } from './progress.js';
import { queryOptions } from './query-options.js';
import { readToTheEnd } from './read-messages.js';
import { judgeRun, noObservations, type Observations } from './results.js';
import { createScratch, sweepScratch, type Scratch } from './process/scratch.js';
import { ownSpend, runningTotals } from '../transcript/counters.js';
import { allowedTools } from './steps.js';
import { createStop, type Stop } from './stop.js';
import { createToolGate, type ToolGate } from './tool-gate.js';
import {
  acceptedCalls,
  agentVersion,
  contextTokens,
  lastCounters,
  lastModel,
  ownEntries,
  usageOfTurns,
  withUnknownCost,
} from '../transcript/entries.js';
import { writtenFile } from './workspace-guard.js';

export interface AgentDependencies {
  /** What reaches the model: credentials, base URL, provider switches. */
  modelEnvironment: Readonly<Record<string, string>>;
  /** The worker's environment; only allow-listed names of it pass to the agent. */
  inheritedEnvironment: Readonly<Record<string, string | undefined>>;
  /** The Claude Code binary; left out, the one that came with the Agent SDK. */
  binaryPath?: string;
  /** Every run gets folders of its own below it, removed with the run. Workers may share it. */
  scratchRoot: string;
  /** Tools, rules, servers and models of the steps. */
  definition: ChainDefinition;
  log: (event: AgentEvent) => void;
}

/** What is worth a line in the worker's log. */
export type AgentEvent =
  | { event: 'agent.containment'; kind: Containment['kind'] }
  | { event: 'agent.swept'; run: string; killed: number }
  | { event: 'agent.scratch_left'; sessionId: string; error: string }
  | { event: 'agent.started'; sessionId: string; step: AgentTask }
  | { event: 'agent.ended'; sessionId: string; step: AgentTask; outcome: string; durationMs: number };

export interface AgentRequest {
  step: AgentTask;
  mode: ChainMode;
  /** Chosen in advance; a uuid that no run has had. */
  sessionId: SessionId;
  /** The session that is forked and stays as it is; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** The project's transcripts. */
  store: SessionStore;
  /** The user message, see `promptFor` and `continuePrompt` in steps.ts. */
  prompt: string;
  /** What earlier attempts added to the step, where their last session is forked; counts for the result, not for the spend. */
  earlierEntries?: SessionStoreEntry[];
  instructionKind: 'none' | 'free';
  /** Instead of the one that the definition names. */
  model?: string;
  /** The real path of the project's folder. */
  workspace: string;
  maxTurns: number;
  timeoutMs: number;
  /** US dollars of this run alone. */
  maxCostUsd?: number;
  /** From the interrupt to the kill; 5 s when left out. */
  killGraceMs?: number;
}

/** What a run spent itself, whether it did its step or not. */
export interface AgentSpend {
  usage: Usage;
  /** US dollars by Claude Code's price list; null when the agent was killed before it could say. */
  costUsd: number | null;
  /** The same by model; the cost of each is null where that of the whole is. */
  byModel: Record<string, ModelUsage>;
  /** Model turns that are in the transcript. */
  turns: number;
  durationMs: number;
  /** The part of the duration spent waiting for the model; null where the agent was killed before it could say. */
  apiDurationMs: number | null;
  agentVersion: string | null;
  model: string | null;
  /** The run did not end by itself: a model turn that was under way then is in no figure. */
  turnInFlightUnknown: boolean;
}

export interface AgentResult extends AgentSpend {
  sessionId: SessionId;
  costUsd: number;
  apiDurationMs: number;
  /** Relative to the workspace; what the file tools wrote, not what shell commands wrote. */
  filesTouched: string[];
  /** The model's last message; empty after a compaction. */
  text: string;
  /** After a metadata step. */
  metadata?: Record<string, unknown>;
  /** After a compact step. */
  compaction?: { preTokens: number; postTokens: number };
  /** Size of the context that the next step starts with. */
  contextTokens: number;
  warnings: string[];
}

/** A run that did not do its step; `spent` was spent all the same. */
export class AgentRunError extends SessionChainError {
  readonly spent: AgentSpend;

  constructor(error: SessionChainError, spent: AgentSpend) {
    const { cause, retryAfterMs } = error;
    super(error.code, error.message, error.remedy, {
      cause,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
    this.spent = spent;
  }
}

/** How a run is stopped and watched. */
export interface RunContext {
  signal: AbortSignal;
  onProgress: (progress: AgentProgress) => void;
  /** Gets what the model says while it says it; `message` counts its messages from 1. */
  onText?: (text: string, message: number) => void;
}

export interface Agent {
  /**
   * Runs one step and returns when the agent and all it started are dead. Throws AgentRunError, or
   * SessionChainError when nothing was started (CREDENTIALS_MISSING, AGENT_NOT_FOUND, CANCELLED).
   */
  run(request: AgentRequest, context: RunContext): Promise<AgentResult>;
  /** Ends what dead workers left behind; a worker calls it when it starts, and the first run does otherwise. */
  recover(): Promise<void>;
}

const defaultKillGraceMs = 5000;

export function createAgent(dependencies: AgentDependencies): Agent {
  const { inheritedEnvironment, scratchRoot, log } = dependencies;
  let prepared: Promise<Containment> | undefined;

  async function prepare(): Promise<Containment> {
    const containment = await probeContainment(inheritedEnvironment);
    log({ event: 'agent.containment', kind: containment.kind });
    for (const swept of await sweepScratch(scratchRoot)) log({ event: 'agent.swept', ...swept });
    return containment;
  }

  function prepareOnce(): Promise<Containment> {
    prepared ??= prepare().catch((error: unknown) => {
      prepared = undefined;
      throw error;
    });
    return prepared;
  }

  return {
    async run(request, context) {
      if (context.signal.aborted)
        throw new SessionChainError('CANCELLED', 'Cancelled before the agent was started.');
      requireCredentials(dependencies.modelEnvironment);
      const binary = await findAgentBinary(dependencies.binaryPath);
      const containment = await prepareOnce();
      const scratch = await createScratch(scratchRoot);
      log({ event: 'agent.started', sessionId: request.sessionId, step: request.step });
      const startedAt = performance.now();
      let outcome = 'done';
      try {
        return await runStep({ dependencies, request, context, binary, containment, scratch, startedAt });
      } catch (error) {
        outcome = error instanceof SessionChainError ? error.code : String(error);
        throw error;
      } finally {
        // What was paid for is not lost over a folder; the next start sweeps it.
        await scratch.remove().catch((error: unknown) => {
          log({ event: 'agent.scratch_left', sessionId: request.sessionId, error: String(error) });
        });
        const durationMs = Math.round(performance.now() - startedAt);
        log({ event: 'agent.ended', sessionId: request.sessionId, step: request.step, outcome, durationMs });
      }
    },
    async recover() {
      await prepareOnce();
    },
  };
}

/** What one run works with. */
export interface StepRun {
  dependencies: AgentDependencies;
  request: AgentRequest;
  context: RunContext;
  binary: string;
  containment: Containment;
  scratch: Scratch;
  startedAt: number;
}

async function runStep(run: StepRun): Promise<AgentResult> {
  const { request, context } = run;
  const stop = createStop(request.killGraceMs ?? defaultKillGraceMs);
  const gate = createToolGate({
    store: request.store,
    sessionId: request.sessionId,
    baseSessionId: request.baseSessionId,
    // Nothing that comes now can be stored, so nothing is worth waiting for.
    onRefused: () => stop.now('store_refused'),
  });
  const progress = createProgress(context.onProgress);
  const filesTouched = new Set<string>(writtenBefore(request));
  const hooks = agentHooks({
    gate,
    progress,
    workspace: request.workspace,
    filesTouched,
    stop,
    ...(request.step === 'chat_plan'
      ? { onlyTools: allowedTools(run.dependencies.definition, request.step) }
      : {}),
  });

  const onAbort = () => stop.orderly('cancelled');
  context.signal.addEventListener('abort', onAbort, { once: true });
  if (context.signal.aborted) onAbort();
  const deadline = setTimeout(() => stop.orderly('timed_out'), request.timeoutMs);
  const seen = noObservations();
  let agentProcess: AgentProcess | null = null;
  try {
    const options = await queryOptions(run, {
      store: gate.store,
      hooks,
      abortController: stop.abortController,
      onStarted: (started) => {
        agentProcess = started;
        stop.attachProcess(started);
      },
    });
    const messages = query({ prompt: request.prompt, options });
    stop.attachQuery(messages);
    await readToTheEnd(messages, seen, progress, stop, context.onText);
  } finally {
    clearTimeout(deadline);
    context.signal.removeEventListener('abort', onAbort);
    await stop.finish();
    progress.end();
  }
  return resultOf(run, gate, seen, stop, [...filesTouched], await exitOf(agentProcess));
}

/** What earlier attempts of the step wrote counts for its result. */
function writtenBefore({ earlierEntries, workspace }: AgentRequest): string[] {
  return acceptedCalls(earlierEntries ?? []).flatMap(
    ({ name, input }) => writtenFile(name, input, workspace, workspace) ?? [],
  );
}

async function exitOf(agentProcess: AgentProcess | null) {
  if (agentProcess === null) return { code: null, signal: null, errorTail: '' };
  return { ...(await agentProcess.ended), errorTail: agentProcess.errorTail() };
}

function resultOf(
  run: StepRun,
  gate: ToolGate,
  seen: Observations,
  stop: Stop,
  filesTouched: string[],
  exit: { code: number | null; signal: string | null; errorTail: string },
): AgentResult {
  const { request } = run;
  const base = gate.base();
  const own = ownEntries(gate.appended(), base);
  const turns = usageOfTurns(own);
  const counters = runningTotals(seen.result, gate.appended());
  const spent = counters === null ? null : ownSpend(counters, lastCounters(base), turns.usage);
  const spend: AgentSpend = {
    usage: spent?.usage ?? turns.usage,
    byModel: spent?.byModel ?? withUnknownCost(turns.byModel),
    costUsd: spent?.costUsd ?? null,
    turns: turns.turns,
    durationMs: Math.round(performance.now() - run.startedAt),
    apiDurationMs: spent === null ? null : Math.round(spent.apiDurationMs),
    agentVersion: seen.agentVersion || agentVersion(own),
    model: seen.model || lastModel(own),
    turnInFlightUnknown: seen.result === null || stop.reason() !== null,
  };
  try {
    const verdict = judgeRun({
      step: request.step,
      metadataSchema: run.dependencies.definition.steps.metadata.schema,
      seen,
      stopped: stop.reason(),
      baseFailure: gate.baseFailure(),
      refusal: gate.refusal(),
      own: [...(request.earlierEntries ?? []), ...own],
      filesTouched,
      exit,
      timeoutMs: request.timeoutMs,
      nowMs: Date.now(),
    });
    return {
      ...spend,
      ...verdict,
      sessionId: request.sessionId,
      costUsd: spend.costUsd ?? 0,
      apiDurationMs: spend.apiDurationMs ?? 0,
      filesTouched,
      contextTokens: verdict.compaction?.postTokens ?? contextTokens(own),
    };
  } catch (error) {
    throw error instanceof SessionChainError ? new AgentRunError(error, spend) : error;
  }
}
