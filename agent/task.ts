import type { SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import { agentHooks } from './hooks.js';
import type { AgentExit, AgentProcess } from './process/process.js';
import { createDialogue } from './dialogue.js';
import { kinds } from './kinds/kinds.js';
import type { Line, LineTask } from './line.js';
import { killLine } from './lines.js';
import { createProgress } from './progress.js';
import { readMessages } from './read-messages.js';
import { judgeRun, noObservations, type Observations } from './results.js';
import { ownSpend, runningTotals } from '../transcript/counters.js';
import {
  type AgentRequest,
  type AgentResult,
  AgentRunError,
  type AgentSpend,
  type Run,
  type RunStore,
} from './run.js';
import { createStop, type Stop } from './stop.js';
import { createToolGate, neverStored, type ToolGate } from './tool-gate.js';
import {
  acceptedCalls,
  agentVersion,
  type Counters,
  lastCounters,
  lastModel,
  ownEntries,
  usageOfTurns,
  withUnknownCost,
} from '../transcript/entries.js';
import { contextTokensOf } from '../transcript/context-size.js';
import { writtenFile } from './workspace-guard.js';

export const defaultKillGraceMs = 5000;

/** What a task that has no process yet gives to the one that is started for it. */
export interface Starter {
  task: LineTask;
  stop: Stop;
  abortController: AbortController;
}

export interface TaskProcess {
  /** A process that holds the base session and fits; null to start one. */
  parked: Line | null;
  start: (starter: Starter) => Promise<Line>;
  /** Whether a process may wait for another task, apart from how this one ends. */
  mayWait: (line: Line) => boolean;
  park: (line: Line) => void;
  /** Says why a process that was to wait cannot. */
  onGivenUp: (reason: string) => void;
}

/** Does one task. Returns when the agent and all it started are dead, or its process is parked. Throws AgentRunError. */
export async function runTask(run: Run, { parked, ...rest }: TaskProcess): Promise<AgentResult> {
  const { request, context } = run;
  const { sessionId, baseSessionId, task, maxTurns } = request;
  const abortController = parked?.abortController ?? new AbortController();
  const stop = createStop(request.killGraceMs ?? defaultKillGraceMs, abortController);
  const gate = createToolGate({
    store: parked && baseSessionId ? onTopOf(request.store, baseSessionId) : request.store,
    sessionId,
    baseSessionId: parked ? null : baseSessionId,
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
    allowedTools: task.allowedTools,
    maxTurns,
    hasOwnTurnLimit: parked === null || parked.maxTurns === maxTurns,
  });
  const lineTask: LineTask = {
    headers: { sessionId, task, mode: request.mode, instructionKind: request.instructionKind },
    store: gate.store,
    hooks,
    allowedTools: task.allowedTools,
    lease: context.lease,
    onEnding: () => stop.orderly('lease_lost'),
    onGone: () => stop.now('lease_lost'),
    // What is in short supply for others as well is freed at once.
    onLimit: (limit) =>
      limit === 'processes' || limit === 'memoryMb' ? stop.now(limit) : stop.orderly(limit),
  };

  const onAbort = () => stop.orderly('cancelled');
  context.signal.addEventListener('abort', onAbort, { once: true });
  if (context.signal.aborted) onAbort();
  const deadline = setTimeout(() => stop.orderly('timed_out'), request.timeoutMs);
  const ended = () => {
    clearTimeout(deadline);
    context.signal.removeEventListener('abort', onAbort);
    progress.end();
  };
  const seen = noObservations();
  const dialogue = createDialogue(request);
  const judge = (line: Line, exit: Exit) => {
    const totalsBefore = parked ? line.totals : lastCounters(gate.base());
    return resultOf(run, { gate, seen, stop, filesTouched: [...filesTouched], totalsBefore }, exit);
  };
  let started = parked;
  let isParked = false;
  try {
    const line = parked ?? (await rest.start({ task: lineTask, stop, abortController }));
    started = line;
    if (parked) {
      if (parked.process) stop.attachProcess(parked.process);
      parked.attach(lineTask);
    }
    stop.attachQuery(line.messages);
    line.say(dialogue.first);
    let [isDone, waits] = [false, false];
    await readMessages(line.messages, {
      seen,
      progress,
      stop,
      maxTurns,
      onMessage: (message) => gate.onMessage(message),
      onResult() {
        const text = stop.reason() === null ? dialogue.afterResult(seen, ownOf(request, gate)) : null;
        isDone = text === null && hasDoneWell(run, { gate, seen, stop });
        waits = isDone && rest.mayWait(line);
        if (text !== null) line.say(text);
        else if (!isDone) line.end();
        return isDone;
      },
      ...(context.onText ? { onText: context.onText } : {}),
    });
    ended();
    if (waits) {
      const reason = (await line.closeFence()) ?? elsewhere(ownOf(request, gate), request.workspace);
      // An append that is refused later would end the process under the next task.
      await gate.settled();
      if (reason === null && stop.reason() === null && gate.refusal() === null) {
        const result = judge(line, withoutExit);
        line.count(runningTotals(seen.result, gate.appended()), result.costUsd);
        rest.park(line);
        isParked = true;
        return { ...result, parked: true };
      }
      if (reason !== null) rest.onGivenUp(reason);
    }
    // The result of a compaction lacks what Claude Code stores at its end.
    if (isDone && task.kind !== 'compaction') await killLine(line);
    line.end();
    await stop.finish();
    return judge(line, await exitOf(line.process));
  } finally {
    ended();
    if (!isParked) {
      started?.end();
      await stop.finish();
      await started?.close();
    }
  }
}

/** The store of a session that the process of its base goes on with: what the base holds is copied, not appended again. */
function onTopOf(store: RunStore, baseSessionId: SessionId): Pick<SessionStore, 'append' | 'load'> {
  let isCopied = false;
  return {
    load: async (key) => await store.load(key),
    async append(key, entries) {
      if (isCopied || entries.length === 0 || !store.appendToCopy) return await store.append(key, entries);
      // What comes meanwhile follows it: a store keeps the order of the calls.
      isCopied = true;
      await store.appendToCopy(key, baseSessionId, entries);
    },
  };
}

/** Whether the task is done, by its result and by what is stored: only then may the process do another. */
function hasDoneWell(
  { request }: Run,
  { gate, seen, stop }: { gate: ToolGate; seen: Observations; stop: Stop },
): boolean {
  const { result } = seen;
  return (
    stop.reason() === null &&
    result?.subtype === 'success' &&
    !result.is_error &&
    seen.lostEntries === null &&
    gate.refusal() === null &&
    gate.openCalls().length === 0 &&
    kinds[request.task.kind].evidence(request.task, ownOf(request, gate)).kind === 'finished'
  );
}

/** The shell of a new process begins in the workspace. Null if that of this one is there. */
function elsewhere(own: SessionStoreEntry[], workspace: string): string | null {
  const cwd = own.findLast((entry) => typeof entry.cwd === 'string')?.cwd;
  return cwd === undefined || cwd === workspace ? null : 'Its shell is in another folder.';
}

type Exit = AgentExit & { errorTail: string };
const withoutExit: Exit = { code: null, signal: null, byGuard: false, errorTail: '' };

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

async function exitOf(agentProcess: AgentProcess | null): Promise<Exit> {
  if (agentProcess === null) return withoutExit;
  return { ...(await agentProcess.ended), errorTail: agentProcess.errorTail() };
}

interface Done {
  gate: ToolGate;
  seen: Observations;
  stop: Stop;
  filesTouched: string[];
  /** Claude Code's running totals before. */
  totalsBefore: Counters | null;
}

function resultOf(run: Run, { gate, seen, stop, filesTouched, totalsBefore }: Done, exit: Exit): AgentResult {
  const { request } = run;
  const stopped = stop.reason() ?? (exit.byGuard ? 'lease_lost' : null);
  const own = ownEntries(gate.appended(), gate.base());
  const bySubagents = gate.appendedBySubagents();
  const turns = usageOfTurns([...own, ...bySubagents]);
  const counters = runningTotals(seen.result, gate.appended());
  const spent = counters === null ? null : ownSpend(counters, totalsBefore, turns.usage);
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
      parked: false,
    };
  } catch (error) {
    throw error instanceof SessionChainError ? new AgentRunError(error, spend) : error;
  }
}
