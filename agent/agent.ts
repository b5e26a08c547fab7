import { SessionChainError, toSessionChainError } from '../contracts/failures.js';
import { readableClaudeMd } from './claude-md.js';
import { createEgress } from './egress/egress.js';
import { type Line, openLine } from './line.js';
import { createLines, hasMemoryToWait } from './lines.js';
import { findAgentBinary, versionReader } from './process/binary.js';
import { requireCredentials } from './process/environment.js';
import { type Scratch, createScratch, sweepScratch } from './process/scratch.js';
import { queryOptions } from './query-options.js';
import type {
  AgentDependencies,
  AgentEvent,
  AgentRequest,
  AgentResult,
  Run,
  RunContext,
  RunIds,
} from './run.js';
import { openFence } from './sandbox/fence.js';
import { requireKeepingIn } from './sandbox/probes.js';
import { type Sandbox, openSandbox } from './sandbox/sandbox.js';
import { type Starter, defaultKillGraceMs, runTask } from './task.js';
import { canBeFenced, fits, keyOf, toolsOfProcess } from './warm.js';

export interface Agent {
  /**
   * Runs one task, and returns when the agent and all it started are dead, or its process waits for the next task. Throws
   * AgentRunError, or SessionChainError when nothing was started (CREDENTIALS_MISSING, AGENT_NOT_FOUND,
   * SANDBOX_UNAVAILABLE, CANCELLED).
   */
  run(request: AgentRequest, context: RunContext): Promise<AgentResult>;
  /** Ends what dead workers left behind; called by a worker when it starts, else by the first run. */
  recover(): Promise<void>;
  /** Removes the folders of runs that are over and left them, on this host; returns how many. */
  sweep(): Promise<number>;
  /** The version of Claude Code that the next run starts; null if it cannot be determined. */
  version(): Promise<string | null>;
  /** How many processes wait for a task. */
  parked(): number;
  /** Ends the processes that wait for a task; from now on none waits. */
  close(): Promise<void>;
}

/** Throws INVALID_INPUT where the model variables, or the worker's proxy, are not valid. */
export function createAgent(dependencies: AgentDependencies): Agent {
  const { inheritedEnvironment, scratchRoot } = dependencies;
  /** Of the tasks that are under way, by session. */
  const ofTasks = new Map<string, RunIds>();
  /** Of the last task of a process. */
  const ofLines = new WeakMap<Line, RunIds>();
  const log = (event: AgentEvent, ids = ('sessionId' in event && ofTasks.get(event.sessionId)) || {}) =>
    dependencies.log(event, ids);
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

  const lines = createLines({
    maxProcesses: dependencies.maxProcesses ?? Infinity,
    hasMemory: hasMemoryToWait,
    onGivenUp: (line, reason) => {
      const { sessionId, step } = line;
      log({ event: 'agent.given_up', sessionId, step, reason }, ofLines.get(line));
    },
  });
  let running = 0;

  async function removeScratch(scratch: Scratch, sessionId: string): Promise<void> {
    // Paid work is not lost because of a folder; the next start sweeps it.
    await scratch.remove().catch((error: unknown) => {
      left.add(scratch);
      log({ event: 'agent.scratch_left', sessionId, error: String(error) });
    });
  }

  async function start(run: Run, place: Place, starter: Starter): Promise<Line> {
    const { request } = run;
    const { sandbox, binary, key, allowedTools } = place;
    const { task, stop, abortController } = starter;
    const scratch = await createScratch(scratchRoot);
    const closing = [async () => await removeScratch(scratch, request.sessionId)];
    const close = async () => {
      for (const each of closing.toReversed()) await each();
    };
    try {
      const listen = sandbox.hasOwnNetwork ? { socket: scratch.socket } : 'loopback';
      const open = await egress.open({ listen });
      closing.push(async () => await open.close());
      const killGraceMs = request.killGraceMs ?? defaultKillGraceMs;
      const at = { binary, sandbox, scratch, egress: open, allowedTools, killGraceMs };
      const { maxTurns, maxCostUsd } = request;
      return await openLine(
        {
          ...{ key, maxTurns, maxCostUsd, egress: open, abortController, close },
          options: async (parts) => await queryOptions(run, at, parts),
          onStarted: (started) => stop.attachProcess(started),
          fence: !request.keepWarm
            ? null
            : ({ pid = 0 }, config) =>
                openFence({
                  ...{ pid, scratch, config, workspace: request.workspace, binary, sandbox },
                  path: inheritedEnvironment.PATH ?? '',
                  processes: dependencies.sandbox.limits.processes,
                }),
        },
        task,
      );
    } catch (error) {
      await close();
      throw error;
    }
  }

  return {
    async run(request, context) {
      if (context.signal.aborted)
        throw new SessionChainError('CANCELLED', 'Cancelled before the agent was started.');
      requireCredentials(dependencies.modelEnvironment);
      const binary = await findAgentBinary(dependencies.binaryPath);
      const sandbox = await prepareOnce();
      const claudeMd = await readableClaudeMd(dependencies.definition, request.workspace);
      const run = { dependencies, request, context, claudeMd, startedAt: performance.now() };
      const allowedTools = toolsOfProcess(run);
      const key = await keyOf(run, binary, allowedTools);
      const { sessionId, baseSessionId, task, keepWarm = null } = request;
      const parked = baseSessionId && lines.take(baseSessionId, (line) => fits(line, key, request));
      const ids = context.ids ?? {};
      const step = task.name;
      const durationMs = () => Math.round(performance.now() - run.startedAt);
      ofTasks.set(sessionId, ids);
      log({ event: 'agent.started', sessionId, step, warm: parked !== null });
      running += 1;
      try {
        if (!parked) await lines.makeRoom(running - 1);
        const result = await runTask(run, {
          parked,
          start: async (starter) => await start(run, { binary, sandbox, key, allowedTools }, starter),
          mayWait: (line) =>
            keepWarm !== null && hasMemoryToWait() && canBeFenced(line, dependencies.definition, sandbox),
          park(line) {
            ofLines.set(line, ids);
            lines.park(line, keepWarm?.idleMs ?? 0);
            log({ event: 'agent.parked', sessionId, step });
          },
          onGivenUp: (reason) => log({ event: 'agent.given_up', sessionId, step, reason }),
        });
        log({ event: 'agent.ended', sessionId, step, durationMs: durationMs() });
        return result;
      } catch (error) {
        const failure = toSessionChainError(error);
        log({ event: 'agent.failed', sessionId, step, error: failure, durationMs: durationMs() });
        throw error;
      } finally {
        running -= 1;
        ofTasks.delete(sessionId);
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
    parked: () => lines.count(),
    close: async () => await lines.close(),
  };
}

/** Where a process runs, and what its tasks have in common. */
interface Place {
  binary: string;
  sandbox: Sandbox;
  allowedTools: readonly string[];
  key: string;
}
