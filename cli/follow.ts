import { setTimeout as delay } from 'node:timers/promises';
import type { LiveProgress } from '../client/progress.js';
import type { SessionChain } from '../client/session-chain.js';
import type { ChainResult, ChainState } from '../contracts/chain.js';
import { type ChainKey, chainWorkflowId } from '../contracts/ids.js';
import { isClosed } from '../contracts/steps.js';
import { taskQueuesOf } from '../contracts/policy.js';
import { keyArguments } from './chain-options.js';
import { chainReport } from './chain-report.js';
import type { CommandContext } from './context.js';
import { type ExitCode, exitCodes } from './errors.js';
import { formatDuration, stepLine } from './format.js';
import { type OutputFormat, mayColour, note, print } from './output.js';
import { pollersOf } from './task-queues.js';

const lookEveryMs = 500;
/** A chain that nobody picked up for so long makes one wonder whether a worker runs. */
const pickedUpWithinMs = 10_000;

/**
 * Follows a chain until it ends: a line per finished step and what runs just now on stderr, the final state on stdout.
 * Ctrl-C stops following; the chain goes on.
 */
export async function followChain(
  context: CommandContext,
  key: ChainKey,
  output: OutputFormat,
): Promise<ExitCode> {
  const sessionChain = await context.sessionChain();
  const stopped = new AbortController();
  const onSignal = () => stopped.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const watching = new AbortController();
  const view = createView(process.stderr);
  const ended = sessionChain.wait(key);
  const stop = AbortSignal.any([watching.signal, stopped.signal]);
  const watched = watch(sessionChain, key, view, stop, () => tellOfMissingWorker(context, view));
  try {
    const result = await Promise.race([ended, aborted(stopped.signal)]);
    watching.abort();
    await watched;
    view.clear();
    if (result === null) {
      ended.catch(() => undefined); // its connection is about to be closed
      note(`No longer following; the chain goes on. See it: session-chain status ${keyArguments(key)}`);
      note(`Stop it: session-chain cancel ${keyArguments(key)}`);
      return exitCodes.interrupted;
    }
    view.finish(result);
    print(
      output,
      { workflowId: chainWorkflowId(key), ...result },
      chainReport(result, { colour: mayColour(process.stdout) }),
    );
    return endedWell(result) ? exitCodes.ok : exitCodes.endedBadly;
  } finally {
    watching.abort();
    await watched;
    view.clear();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

function endedWell({ status }: ChainResult): boolean {
  return status === 'completed' || status === 'completed_with_warnings';
}

/** Shows a chain on stderr until it has ended, as {@link followChain} does, and returns how. */
export async function showUntilEnded(sessionChain: SessionChain, key: ChainKey): Promise<ChainResult> {
  const view = createView(process.stderr);
  const ended = new AbortController();
  const watched = watch(sessionChain, key, view, ended.signal);
  try {
    const result = await sessionChain.wait(key);
    ended.abort();
    await watched;
    view.clear();
    view.finish(result);
    return result;
  } finally {
    ended.abort();
    await watched;
  }
}

/** Shows the chain until it is told to stop. A look that fails is left out: waiting is somebody else's. */
async function watch(
  sessionChain: SessionChain,
  key: ChainKey,
  view: View,
  stop: AbortSignal,
  notPickedUp: () => Promise<void> = async () => undefined,
): Promise<void> {
  const begun = Date.now();
  let told = false;
  while (!stop.aborted) {
    const [state, progress] = await Promise.all([
      sessionChain.state(key).catch(() => null),
      sessionChain.progress(key).catch(() => null),
    ]);
    if (stop.aborted) return;
    if (state) view.show(state, progress);
    if (state?.status === 'queued' && !told && Date.now() - begun > pickedUpWithinMs) {
      told = true;
      await notPickedUp().catch(() => undefined);
    }
    await delay(lookEveryMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

async function tellOfMissingWorker({ config, temporal }: CommandContext, view: View): Promise<void> {
  const { chains } = taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE);
  const pollers = await pollersOf(await temporal(), chains, 'workflow');
  if (pollers.length === 0) view.say(`No worker polls the task queue ${chains}. Run: session-chain worker`);
}

interface View {
  show(state: ChainState, progress: LiveProgress | null): void;
  /** What has not been shown yet of a chain that is over. */
  finish(state: ChainState): void;
  say(line: string): void;
  clear(): void;
}

/** Finished steps line by line; below them, on a terminal, one line that changes. */
function createView(stream: NodeJS.WriteStream): View {
  const shown = new Set<string>();
  let lastStatus = '';
  let current = { step: '', since: Date.now() };
  const clear = () => {
    if (stream.isTTY) stream.write('\r\x1b[K');
  };
  const say = (line: string) => {
    clear();
    stream.write(`${line}\n`);
  };
  const finish = (state: ChainState) => {
    for (const step of state.steps) {
      if (shown.has(step.step) || step.status === 'pending' || step.status === 'running') continue;
      // The journal says `failed` of an attempt that is going to be repeated.
      if (step.status === 'failed' && !isClosed(state.status)) continue;
      shown.add(step.step);
      say(stepLine(step));
    }
  };
  return {
    clear,
    say,
    finish,
    show(state, progress) {
      finish(state);
      if (stream.isTTY) {
        const step = progress?.step ?? state.status;
        if (step !== current.step) current = { step, since: Date.now() };
        clear();
        stream.write(
          liveLine(state, progress, Date.now() - current.since).slice(
            0,
            Math.max(20, (stream.columns || 80) - 1),
          ),
        );
      } else if (state.status !== lastStatus) {
        lastStatus = state.status;
        say(state.status);
      }
    },
  };
}

/** `build     12 turns  Write src/app.ts  1 min 05 s`, as of the last heartbeat. */
export function liveLine(state: ChainState, progress: LiveProgress | null, elapsedMs?: number): string {
  const elapsed = elapsedMs === undefined ? [] : [formatDuration(elapsedMs)];
  if (!progress) return [state.status, ...elapsed].join('  ');
  const { step, turns, activity, tries, lastFailure } = progress;
  return [
    step.padEnd(8),
    ...(turns === undefined ? [] : [`${turns} ${turns === 1 ? 'turn' : 'turns'}`]),
    ...(activity === undefined ? [] : [activity]),
    ...(tries > 1 ? [`try ${tries}`] : []),
    ...(lastFailure === undefined ? [] : [`after: ${lastFailure}`]),
    ...elapsed,
  ].join('  ');
}

function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((settle) => signal.addEventListener('abort', () => settle(null), { once: true }));
}
