import { query, type SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import { readableClaudeMd } from './claude-md.js';
import { findAgentBinary, versionReader } from './process/binary.js';
import { requireCredentials } from './process/environment.js';
import { agentHooks } from './hooks.js';
import type { AgentExit, AgentProcess } from './process/process.js';
import { createEgress, type OpenEgress } from './egress/egress.js';
import { createDialogue } from './dialogue.js';
import { createProgress } from './progress.js';
import { queryOptions } from './query-options.js';
import { readToTheEnd } from './read-messages.js';
import { judgeRun, noObservations, type Observations } from './results.js';
import { type Scratch, createScratch, sweepScratch } from './process/scratch.js';
import { requireKeepingIn } from './sandbox/probes.js';
import { type Sandbox, openSandbox } from './sandbox/sandbox.js';
import { ownSpend, runningTotals } from '../transcript/counters.js';
import {
  type AgentDependencies,
  type AgentRequest,
  type AgentResult,
  AgentRunError,
  type AgentSpend,
  type Run,
  type RunContext,
} from './run.js';
import { createStop, type Stop } from './stop.js';
import { createToolGate, neverStored, type ToolGate } from './tool-gate.js';
import {
  acceptedCalls,
  agentVersion,
  lastCounters,
  lastModel,
  ownEntries,
  usageOfTurns,
  withUnknownCost,
} from '../transcript/entries.js';
import { contextTokensOf } from '../transcript/context-size.js';
import { writtenFile } from './workspace-guard.js';

export interface Agent {
  /**
   * Runs one step and returns when the agent and all it started are dead. Throws AgentRunError, or
   * SessionChainError when nothing was started (CREDENTIALS_MISSING, AGENT_NOT_FOUND,
   * SANDBOX_UNAVAILABLE, CANCELLED).
   */
  run(request: AgentRequest, context: RunContext): Promise<AgentResult>;
  /** Ends what dead workers left behind; called by a worker when it starts, else by the first run. */
  recover(): Promise<void>;
  /** Removes the folders of runs that are over and left them, on this host; returns how many. */
  sweep(): Promise<number>;
  /** The version of Claude Code that the next run starts; null if it cannot be determined. */
  version(): Promise<string | null>;
}

const defaultKillGraceMs = 5000;

/** Throws INVALID_INPUT where the model variables, or the worker's proxy, are not valid. */
export function createAgent(dependencies: AgentDependencies): Agent {
  const { inheritedEnvironment, scratchRoot, log } = dependencies;
  const egress = createEgress({
    model: dependencies.modelEnvironment,
    worker: inheritedEnvironment,
    allow: dependencies.sandbox.egress,
    log,
  });
  let prepared: Promise<Sandbox> | undefined;
  /** Of runs of this process that are over, and whose folders could not be removed. */
  const left = new Set<Scratch>();

  async function prepare(): Promise<Sandbox> {
    const sandbox = await openSandbox(dependencies.sandbox, inheritedEnvironment);
    log({ event: 'agent.sandbox', kind: sandbox.kind, hold: sandbox.hold });
    for (const swept of await sweepScratch(scratchRoot)) log({ event: 'agent.swept', ...swept });
    return sandbox;
  }

  function prepareOnce(): Promise<Sandbox> {
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
      const sandbox = await prepareOnce();
      const scratch = await createScratch(scratchRoot);
      log({ event: 'agent.started', sessionId: request.sessionId, step: request.task.name });
      const startedAt = performance.now();
      let outcome = 'done';
      let open: OpenEgress | undefined;
      try {
        const listen = sandbox.hasOwnNetwork ? { socket: scratch.socket } : 'loopback';
        open = await egress.open({ listen, sessionId: request.sessionId, step: request.task.name });
        const claudeMd = await readableClaudeMd(dependencies.definition, request.workspace);
        const run = {
          dependencies,
          request,
          context,
          binary,
          sandbox,
          scratch,
          egress: open,
          claudeMd,
          startedAt,
        };
        return await runStep(run);
      } catch (error) {
        outcome = error instanceof SessionChainError ? error.code : String(error);
        throw error;
      } finally {
        await open?.close();
        // Paid work is not lost because of a folder; the next start sweeps it.
        await scratch.remove().catch((error: unknown) => {
          left.add(scratch);
          log({ event: 'agent.scratch_left', sessionId: request.sessionId, error: String(error) });
        });
        const durationMs = Math.round(performance.now() - startedAt);
        log({
          event: 'agent.ended',
          sessionId: request.sessionId,
          step: request.task.name,
          outcome,
          durationMs,
        });
      }
    },
    async recover() {
      const sandbox = await prepareOnce();
      if (sandbox.kind === 'none') return;
      await requireKeepingIn(sandbox, {
        scratchRoot,
        binary: await findAgentBinary(dependencies.binaryPath),
        path: inheritedEnvironment.PATH ?? '',
        addresses: [],
      });
    },
    async sweep() {
      const swept = await sweepScratch(scratchRoot);
      for (const one of swept) log({ event: 'agent.swept', ...one });
      const again = [...left];
      for (const scratch of again) await scratch.remove().then(() => left.delete(scratch));
      return swept.length + again.length;
    },
    version: versionReader(dependencies.binaryPath),
  };
}

async function runStep(run: Run): Promise<AgentResult> {
  const { request, context } = run;
  const killGraceMs = request.killGraceMs ?? defaultKillGraceMs;
  const stop = createStop(killGraceMs);
  const gate = createToolGate({
    store: request.store,
    sessionId: request.sessionId,
    baseSessionId: request.baseSessionId,
    ...(context.noteCalls ? { noteCalls: context.noteCalls } : {}),
    // Nothing that comes now can be stored, so there is nothing to wait for.
    onRefused: () => stop.now('store_refused'),
  });
  const progress = createProgress(context.onProgress);
  const filesTouched = new Set<string>(writtenBefore(request));
  const hooks = agentHooks({
    gate,
    progress,
    workspace: request.workspace,
    onFile(file) {
      if (filesTouched.has(file)) return;
      filesTouched.add(file);
      context.onFiles?.([...filesTouched]);
    },
    stop,
    allowedTools: request.task.allowedTools,
    maxTurns: request.maxTurns,
  });

  const onAbort = () => stop.orderly('cancelled');
  context.signal.addEventListener('abort', onAbort, { once: true });
  if (context.signal.aborted) onAbort();
  const deadline = setTimeout(() => stop.orderly('timed_out'), request.timeoutMs);
  const seen = noObservations();
  const dialogue = createDialogue(request);
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
      guard: {
        lease: context.lease,
        noticeMs: killGraceMs,
        onEnding: () => stop.orderly('lease_lost'),
        onGone: () => stop.now('lease_lost'),
      },
      // What is in short supply for others as well is freed at once.
      onLimit: (limit) =>
        limit === 'processes' || limit === 'memoryMb' ? stop.now(limit) : stop.orderly(limit),
    });
    const messages = query({ prompt: dialogue.messages, options });
    stop.attachQuery(messages);
    await readToTheEnd(messages, {
      seen,
      progress,
      stop,
      maxTurns: request.maxTurns,
      onMessage: (message) => gate.onMessage(message),
      onResult: () =>
        stop.reason() === null ? dialogue.afterResult(seen, ownOf(request, gate)) : dialogue.end(),
      ...(context.onText ? { onText: context.onText } : {}),
    });
  } finally {
    dialogue.end();
    clearTimeout(deadline);
    context.signal.removeEventListener('abort', onAbort);
    await stop.finish();
    progress.end();
  }
  return resultOf(run, gate, seen, stop, [...filesTouched], await exitOf(agentProcess));
}

/** What earlier attempts of the step wrote counts for its result. */
function writtenBefore({ earlierEntries, earlierBySubagents, workspace }: AgentRequest): string[] {
  return [earlierEntries, earlierBySubagents]
    .flatMap((entries) => acceptedCalls(entries ?? []))
    .flatMap(({ name, input }) => writtenFile(name, input, workspace, workspace) ?? []);
}

/** What the task has added so far, in earlier attempts and in this run. */
function ownOf({ earlierEntries = [] }: AgentRequest, gate: ToolGate): SessionStoreEntry[] {
  return [...earlierEntries, ...ownEntries(gate.appended(), gate.base())];
}

/** A call that ran on its note, and whose entry never came. */
function lackOf(gate: ToolGate): Error | null {
  const [id] = gate.openCalls();
  return id === undefined ? null : neverStored(id);
}

async function exitOf(agentProcess: AgentProcess | null): Promise<AgentExit & { errorTail: string }> {
  if (agentProcess === null) return { code: null, signal: null, byGuard: false, errorTail: '' };
  return { ...(await agentProcess.ended), errorTail: agentProcess.errorTail() };
}

function resultOf(
  run: Run,
  gate: ToolGate,
  seen: Observations,
  stop: Stop,
  filesTouched: string[],
  exit: AgentExit & { errorTail: string },
): AgentResult {
  const { request } = run;
  const stopped = stop.reason() ?? (exit.byGuard ? 'lease_lost' : null);
  const base = gate.base();
  const own = ownEntries(gate.appended(), base);
  const bySubagents = gate.appendedBySubagents();
  const turns = usageOfTurns([...own, ...bySubagents]);
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
    hasOpenCalls: gate.openCalls().length > 0,
    turnInFlightUnknown:
      seen.result === null ||
      stopped !== null ||
      // Claude Code ends itself between two turns of the agent, but not of its subagents.
      (seen.result.subtype !== 'success' && bySubagents.length > 0),
  };
  try {
    const verdict = judgeRun({
      task: request.task,
      seen,
      stopped,
      baseFailure: gate.baseFailure(),
      refusal: gate.refusal() ?? lackOf(gate),
      own: ownOf(request, gate),
      filesTouched,
      exit,
      timeoutMs: request.timeoutMs,
      ...(request.limitsOf ? { limitsOf: request.limitsOf } : {}),
      sandboxLimits: run.dependencies.sandbox.limits,
      nowMs: Date.now(),
    });
    return {
      ...spend,
      ...verdict,
      warnings: [...run.claudeMd.warnings, ...verdict.warnings],
      sessionId: request.sessionId,
      costUsd: spend.costUsd ?? 0,
      apiDurationMs: spend.apiDurationMs ?? 0,
      filesTouched,
      contextTokens: contextTokensOf(own) ?? 0,
    };
  } catch (error) {
    throw error instanceof SessionChainError ? new AgentRunError(error, spend) : error;
  }
}
