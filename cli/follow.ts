import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { LiveProgress } from '../client/progress.js';
import type { SessionChain } from '../client/session-chain.js';
import type { ChainResult, ChainState } from '../contracts/chain.js';
import type { ChainKey } from '../contracts/ids.js';
import { isClosed } from '../contracts/steps.js';
import { endOf, startOf } from '../contracts/text.js';
import { chainWorkflowId, taskQueuesOf } from '../temporal/names.js';
import { keyArguments } from './chain-options.js';
import { chainReport } from './chain-report.js';
import type { CommandContext } from './context.js';
import { formatDuration, queuePosition, stepLine, stepWidth, wrappedStepLine } from './format.js';
import { doingNow } from './live.js';
import { type OutputFormat, lookOfStdout, note, print, printable } from './output.js';
import { pollersOf } from '../temporal/task-queues.js';

const lookEveryMs = 500;
/** After this time without a worker picking up the chain it is checked whether one runs. */
const pickedUpWithinMs = 10_000;

/**
 * Shows a chain on stderr until it ends: a line per finished step and, on a terminal, what runs right now. Throws the
 * signal's reason.
 */
export async function showUntilEnded(
  sessionChain: SessionChain,
  key: ChainKey,
  signal?: AbortSignal,
): Promise<ChainResult> {
  const view = createView(process.stderr);
  const over = new AbortController();
  const doing: Doing = { now: '' };
  const watched = Promise.all([
    watch(sessionChain, key, view, doing, over.signal),
    listen(sessionChain, key, doing, over.signal),
  ]);
  try {
    const result = await sessionChain.wait(key, signal ? { signal } : {});
    over.abort();
    await watched;
    view.finish(result);
    return result;
  } finally {
    over.abort();
    await watched;
    view.clear();
  }
}

/**
 * Follows a chain until it ends, and prints its final state on stdout. Ctrl-C stops following, not the chain; the result
 * is null then.
 */
export async function followChain(
  context: CommandContext,
  key: ChainKey,
  output: OutputFormat,
): Promise<ChainResult | null> {
  const sessionChain = await context.sessionChain();
  const stopped = new AbortController();
  setMaxListeners(0, stopped.signal); // every poll adds one
  const stop = () => stopped.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const warned = warnOfMissingWorker(context, key, stopped.signal);
  try {
    const result = await showUntilEnded(sessionChain, key, stopped.signal);
    print(output, { workflowId: chainWorkflowId(key), ...result }, chainReport(result, lookOfStdout()));
    return result;
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
    note(`No longer following; the chain goes on. See it: session-chain status ${keyArguments(key)}`);
    note(`Stop it: session-chain cancel ${keyArguments(key)}`);
    return null;
  } finally {
    stopped.abort();
    await warned;
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Prints a remark if a chain is not picked up and no worker polls for it. */
async function warnOfMissingWorker(
  { config, sessionChain, temporal }: CommandContext,
  key: ChainKey,
  stop: AbortSignal,
): Promise<void> {
  try {
    await delay(pickedUpWithinMs, undefined, { signal: stop });
    const { status } = await (await sessionChain()).state(key);
    const { chains } = taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE).chains;
    if (status !== 'queued' || (await pollersOf(await temporal(), chains, 'workflow')).length > 0) return;
    note(`\nNo worker polls the task queue ${chains}; the chain waits. Run: session-chain worker`);
  } catch {
    // Stopped before, or not known: only a remark is lost.
  }
}

/** Shows the chain until it is told to stop. A look that fails is left out: the caller waits for the chain itself. */
async function watch(
  sessionChain: SessionChain,
  key: ChainKey,
  view: View,
  doing: Doing,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    const [state, progress] = await Promise.all([
      sessionChain.state(key).catch(() => null),
      sessionChain.progress(key).catch(() => null),
    ]);
    const activity = doing.now === '' ? {} : { activity: doing.now };
    if (state && !stop.aborted) view.show(state, progress && { ...progress, ...activity });
    await delay(lookEveryMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** What the running step says or calls just now; empty where that is not known. */
interface Doing {
  now: string;
}

/** Keeps what the step does just now up to date. Best effort: the last heartbeat says it less precisely. */
async function listen(
  sessionChain: SessionChain,
  key: ChainKey,
  doing: Doing,
  stop: AbortSignal,
): Promise<void> {
  let writing = { message: '', text: '' };
  try {
    for await (const item of sessionChain.watch(key, { signal: stop })) {
      if (item.type === 'step.started') doing.now = '';
      if (item.type === 'live.text') {
        const message = `${item.attemptId}/${item.message}`;
        // The end of it: it is one line.
        const text = `${message === writing.message ? writing.text : ''}${item.text}`.slice(-500);
        writing = { message, text };
        doing.now = endOf(text.replace(/\s+/g, ' ').trim(), 60);
      } else doing.now = doingNow(item) ?? doing.now;
    }
  } catch {
    // The chain itself is waited for by the caller, which learns of it.
  }
}

interface View {
  show(state: ChainState, progress: LiveProgress | null): void;
  /** What has not been shown yet of a chain that is over. */
  finish(state: ChainState): void;
  clear(): void;
}

/** Finished steps line by line; below them, on a terminal, one line that changes. */
function createView(stream: NodeJS.WriteStream): View {
  const shown = new Set<string>();
  let lastSaid = '';
  let current = { step: '', since: Date.now() };
  const clear = () => {
    if (stream.isTTY) stream.write('\r\x1b[K');
  };
  const say = (line: string) => {
    clear();
    stream.write(`${printable(line)}\n`);
  };
  const finish = (state: ChainState) => {
    for (const [index, step] of state.steps.entries()) {
      if (shown.has(step.step) || ['pending', 'running', 'waiting'].includes(step.status)) continue;
      // The journal says `failed` for an attempt that will be retried.
      const isOver =
        isClosed(state.status) || state.steps.slice(index + 1).some(({ status }) => status !== 'pending');
      if (step.status === 'failed' && !isOver) continue;
      shown.add(step.step);
      // In a log a step is one line.
      say(wrappedStepLine(step, stream.isTTY ? stream.columns : Infinity, stepWidth(state.steps)));
    }
  };
  return {
    clear,
    finish,
    show(state, progress) {
      if (!stream.isTTY && !isClosed(state.status) && standing(state) !== lastSaid) {
        lastSaid = standing(state);
        say(lastSaid);
      }
      finish(state);
      if (stream.isTTY) {
        const step = progress?.step ?? state.status;
        if (step !== current.step) current = { step, since: Date.now() };
        clear();
        stream.write(
          printable(
            startOf(
              liveLine(state, progress, Date.now() - current.since),
              Math.max(20, (stream.columns || 80) - 1),
            ),
          ),
        );
      }
    },
  };
}

/** `running`, or `queued  position 2, behind chain/shop/v1/v1`. */
function standing({ status, queue }: ChainState): string {
  return queue ? `${status}  ${queuePosition(queue)}` : status;
}

/** `build     12 turns  Write src/app.ts  1 min 05 s`, as of the last heartbeat. */
export function liveLine(state: ChainState, progress: LiveProgress | null, elapsedMs?: number): string {
  const elapsed = elapsedMs === undefined ? [] : [formatDuration(elapsedMs)];
  if (!progress) {
    const waiting = state.steps.find(({ status }) => status === 'waiting');
    return [waiting ? stepLine(waiting, stepWidth(state.steps)) : standing(state), ...elapsed].join('  ');
  }
  const { step, turns, activity, tries, lastFailure } = progress;
  return [
    step.padEnd(stepWidth(state.steps)),
    ...(turns === undefined ? [] : [`${turns} ${turns === 1 ? 'turn' : 'turns'}`]),
    ...(activity === undefined ? [] : [activity]),
    ...(tries > 1 ? [`try ${tries}`] : []),
    ...(lastFailure === undefined ? [] : [`after: ${lastFailure}`]),
    ...elapsed,
  ].join('  ');
}
