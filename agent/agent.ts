import { writeFile } from 'node:fs/promises';
import { query, type Options, type Query, type SDKMessage, type SessionStore } from '@anthropic-ai/claude-agent-sdk';
import type { Usage } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import type { Metadata } from '../contracts/metadata.js';
import type { ChainMode, StepName } from '../contracts/steps.js';
import { findAgentBinary } from './binary.js';
import { agentEnvironment, requireCredentials, shellGuard } from './environment.js';
import { agentHooks } from './hooks.js';
import { createMetadataServer } from './metadata-server.js';
import { prefixFor, probeContainment, spawnAgent, type AgentProcess, type Containment } from './process.js';
import { createProgress, type AgentProgress } from './progress.js';
import { judgeRun, noObservations, observe, type Observations } from './results.js';
import { createScratch, sweepScratch, type Scratch } from './scratch.js';
import { ownSpend } from './spend.js';
import { agentTools, allowedTools, houseRules, metadataServerName } from './steps.js';
import { createStop, type Stop } from './stop.js';
import { createToolGate, type ToolGate } from './tool-gate.js';
import { contextTokens, lastCounters, ownEntries, usageOfTurns, type Counters } from './transcript.js';

export interface AgentDependencies {
  /** What reaches the model: credentials, base URL, provider switches. */
  modelEnvironment: Readonly<Record<string, string>>;
  /** The worker's environment; only allow-listed names of it pass to the agent. */
  inheritedEnvironment: Readonly<Record<string, string | undefined>>;
  /** The Claude Code binary; left out, the one that came with the Agent SDK. */
  binaryPath?: string;
  /** Every run gets folders of its own below it, removed with the run. Workers may share it. */
  scratchRoot: string;
  /** Left out, Claude Code chooses. The same for every step: another model costs the prompt cache. */
  model?: string;
  log: (event: AgentEvent) => void;
}

/** What is worth a line in the worker's log. */
export type AgentEvent =
  | { event: 'agent.containment'; kind: Containment['kind'] }
  | { event: 'agent.swept'; run: string; killed: number }
  | { event: 'agent.started'; sessionId: string; step: StepName }
  | { event: 'agent.ended'; sessionId: string; step: StepName; outcome: string; durationMs: number };

export interface AgentRequest {
  step: StepName;
  mode: ChainMode;
  /** Chosen in advance; a uuid that no run has had. */
  sessionId: SessionId;
  /** The session that is forked and stays as it is; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** The project's transcripts. */
  store: SessionStore;
  /** The user message, see `promptFor` in steps.ts. */
  prompt: string;
  instructionKind: 'none' | 'free';
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
  /** Model turns that are in the transcript. */
  turns: number;
  durationMs: number;
}

export interface AgentResult extends AgentSpend {
  sessionId: SessionId;
  costUsd: number;
  /** The part of the duration spent waiting for the model. */
  apiDurationMs: number;
  /** Relative to the workspace; what the file tools wrote, not what shell commands wrote. */
  filesTouched: string[];
  /** The model's last message; empty after a compaction. */
  text: string;
  /** After a metadata step. */
  metadata?: Metadata;
  /** After a compact step. */
  compaction?: { preTokens: number; postTokens: number };
  /** Size of the context that the next step starts with. */
  contextTokens: number;
  agentVersion: string;
  model: string;
  warnings: string[];
}

/** A run that did not do its step; `spent` was spent all the same. */
export class AgentRunError extends SessionChainError {
  readonly spent: AgentSpend;

  constructor(error: SessionChainError, spent: AgentSpend) {
    super(error.code, error.message, error.remedy, { cause: error.cause });
    this.spent = spent;
  }
}

export interface Agent {
  /**
   * Runs one step and returns when the agent and all it started are dead. Throws AgentRunError, or
   * SessionChainError when nothing was started (CREDENTIALS_MISSING, AGENT_NOT_FOUND, CANCELLED).
   */
  run(
    request: AgentRequest,
    context: { signal: AbortSignal; onProgress: (progress: AgentProgress) => void },
  ): Promise<AgentResult>;
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

  return {
    async run(request, context) {
      if (context.signal.aborted) throw new SessionChainError('CANCELLED', 'Cancelled before the agent was started.');
      requireCredentials(dependencies.modelEnvironment);
      const binary = await findAgentBinary(dependencies.binaryPath);
      const containment = await (prepared ??= prepare());
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
        await scratch.remove();
        const durationMs = Math.round(performance.now() - startedAt);
        log({ event: 'agent.ended', sessionId: request.sessionId, step: request.step, outcome, durationMs });
      }
    },
    async recover() {
      await (prepared ??= prepare());
    },
  };
}

interface StepRun {
  dependencies: AgentDependencies;
  request: AgentRequest;
  context: { signal: AbortSignal; onProgress: (progress: AgentProgress) => void };
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
  const filesTouched = new Set<string>();
  const hooks = agentHooks({ gate, progress, workspace: request.workspace, filesTouched, stop });

  const onAbort = () => stop.orderly('cancelled');
  context.signal.addEventListener('abort', onAbort, { once: true });
  const deadline = setTimeout(() => stop.orderly('timed_out'), request.timeoutMs);
  const seen = noObservations();
  let agentProcess: AgentProcess | null = null;
  try {
    const prefix = await prefixFor(run.containment, request.workspace);
    const { options, start } = await queryOptions(run, gate, hooks, prefix);
    options.spawnClaudeCodeProcess = (spawnOptions) => {
      agentProcess = start(spawnOptions);
      stop.attachProcess(agentProcess);
      return agentProcess.spawned;
    };
    options.abortController = stop.abortController;
    const messages = query({ prompt: request.prompt, options });
    stop.attachQuery(messages);
    await readToTheEnd(messages, seen, progress, stop);
  } finally {
    clearTimeout(deadline);
    context.signal.removeEventListener('abort', onAbort);
    await stop.finish();
    progress.end();
  }
  return resultOf(run, gate, seen, stop, [...filesTouched], await exitOf(agentProcess));
}

/**
 * Reads the messages to the end of the iterator and not only to the result: the agent's counters are appended to the
 * store in between.
 */
async function readToTheEnd(
  messages: Query,
  seen: Observations,
  progress: ReturnType<typeof createProgress>,
  stop: Stop,
): Promise<void> {
  try {
    for await (const message of messages) {
      observe(seen, message);
      progress.onMessage(message);
      if (isHopelessRetry(message)) stop.orderly('unauthorized');
    }
  } catch (error) {
    seen.thrown = error instanceof Error ? error : new Error(String(error));
  }
}

/** Claude Code asks ten times over three minutes with a credential that was refused; twice is enough. */
function isHopelessRetry(message: SDKMessage): boolean {
  if (message.type !== 'system' || message.subtype !== 'api_retry') return false;
  return (message.error_status === 401 || message.error_status === 403) && message.attempt >= 2;
}

async function queryOptions(
  run: StepRun,
  gate: ToolGate,
  hooks: NonNullable<Options['hooks']>,
  prefix: string[],
): Promise<{ options: Options; start: (spawn: SpawnRequest) => AgentProcess }> {
  const { request, dependencies, scratch } = run;
  const environment = agentEnvironment({
    inherited: dependencies.inheritedEnvironment,
    model: dependencies.modelEnvironment,
    ...scratch,
    step: request.step,
    mode: request.mode,
    instructionKind: request.instructionKind,
  });
  if (environment.hidden.length > 0) {
    await writeFile(scratch.shellGuardPath, shellGuard(environment.hidden), { mode: 0o700 });
  }
  const options: Options = {
    pathToClaudeCodeExecutable: run.binary,
    cwd: request.workspace,
    env: environment.env,
    sessionId: request.sessionId,
    ...(request.baseSessionId === null ? {} : { resume: request.baseSessionId, forkSession: true }),
    sessionStore: gate.store,
    // Entry by entry, so that a killed worker has lost as little as possible.
    sessionStoreFlush: 'eager',
    maxTurns: request.maxTurns,
    ...(request.maxCostUsd === undefined ? {} : { maxBudgetUsd: request.maxCostUsd }),
    ...(dependencies.model === undefined ? {} : { model: dependencies.model }),
    // From here on the same in every step, but for what is allowed: anything else would cost the prompt cache.
    settingSources: [],
    tools: [...agentTools],
    strictMcpConfig: true,
    mcpServers: { [metadataServerName]: createMetadataServer() },
    systemPrompt: { type: 'preset', preset: 'claude_code', append: houseRules, excludeDynamicSections: true },
    permissionMode: 'dontAsk',
    allowedTools: allowedTools(request.step),
    hooks,
  };
  const start = (spawn: SpawnRequest) => {
    const config = spawn.env.CLAUDE_CONFIG_DIR;
    if (config !== undefined && config !== scratch.config) void scratch.noteResumeFolder(config);
    return spawnAgent({
      containment: run.containment,
      prefix,
      command: spawn.command,
      args: spawn.args,
      cwd: request.workspace,
      env: spawn.env,
      descriptors: environment.descriptors,
      marker: `${scratch.marker.name}=${scratch.marker.value}`,
    });
  };
  return { options, start };
}

type SpawnRequest = Parameters<NonNullable<Options['spawnClaudeCodeProcess']>>[0];

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
  const own = ownEntries(gate.appended(), base ?? []);
  const { turns, usage } = usageOfTurns(own);
  const counters = countersOf(seen, gate);
  const spent = counters === null ? null : ownSpend(counters, lastCounters(base ?? []), usage);
  const spend: AgentSpend = {
    usage: spent?.usage ?? usage,
    costUsd: spent?.costUsd ?? null,
    turns,
    durationMs: Math.round(performance.now() - run.startedAt),
  };
  try {
    const verdict = judgeRun({
      step: request.step,
      seen,
      stopped: stop.reason(),
      baseMissing: request.baseSessionId !== null && base === null,
      own,
      filesTouched,
      exit,
      timeoutMs: request.timeoutMs,
    });
    return {
      ...spend,
      ...verdict,
      sessionId: request.sessionId,
      costUsd: spend.costUsd ?? 0,
      apiDurationMs: Math.round(spent?.apiDurationMs ?? 0),
      filesTouched,
      contextTokens: verdict.compaction?.postTokens ?? contextTokens(own),
      agentVersion: seen.agentVersion,
      model: seen.model,
    };
  } catch (error) {
    throw error instanceof SessionChainError ? new AgentRunError(error, spend) : error;
  }
}

/** The agent's running totals: from the result, or from the counters that it stored at its end. */
function countersOf({ result }: Observations, gate: ToolGate): Counters | null {
  if (result === null) return lastCounters(gate.appended());
  const models = Object.values(result.modelUsage);
  const sum = (valueOf: (model: (typeof models)[number]) => number) =>
    models.reduce((total, model) => total + valueOf(model), 0);
  return {
    costUsd: result.total_cost_usd,
    apiDurationMs: result.duration_api_ms,
    usage: {
      inputTokens: sum((model) => model.inputTokens),
      outputTokens: sum((model) => model.outputTokens),
      cacheReadTokens: sum((model) => model.cacheReadInputTokens),
      cacheWriteTokens: sum((model) => model.cacheCreationInputTokens),
    },
  };
}
