import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { LiveProgress } from '../client/progress.js';
import type { SessionChain } from '../client/session-chain.js';
import type { ChainResult, ChainState } from '../contracts/chain.js';
import type { WatchItem } from '../contracts/events.js';
import type { ChainKey } from '../contracts/ids.js';
import { type StepName, isClosed } from '../contracts/steps.js';
import { chainWorkflowId, taskQueuesOf } from '../temporal/names.js';
import { pollersOf } from '../temporal/task-queues.js';
import { keyArguments } from './chain-options.js';
import { chainReport } from './chain-report.js';
import type { CommandContext } from './context.js';
import { formatDuration, queuePosition, stepLine, stepWidth, wrappedStepLine } from './format.js';
import { createDoing, eventText, saidLines } from './live.js';
import { createLiveView } from './live-view.js';
import { type StreamFormat, jsonLine, lookOfStdout, note, print, writeLine } from './output.js';

/** After this time without a worker picking up the chain it is checked whether one runs. */
const pickedUpWithinMs = 10_000;

export interface FollowOptions {
  /** Stops following; its reason is thrown. */
  signal?: AbortSignal;
  /** Lines for people on stderr, or with jsonl every item on stdout. Default: text. */
  output?: StreamFormat;
}

/**
 * Shows a chain from its newest start until it ends: what its steps say and which tools they call, a line per finished step, and on
 * a terminal what runs just now.
 */
export async function showUntilEnded(
  sessionChain: SessionChain,
  key: ChainKey,
  { signal, output = 'text' }: FollowOptions = {},
): Promise<ChainResult> {
  const over = new AbortController();
  const view = output === 'jsonl' ? jsonView : createTextView(sessionChain, key, process.stderr);
  const watching = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  try {
    const [result] = await Promise.all([
      sessionChain.wait(key, signal ? { signal } : {}),
      showItems(sessionChain.watch(key, { signal: watching }), view),
    ]);
    view.finish(result);
    return result;
  } finally {
    over.abort();
    view.close();
  }
}

async function showItems(items: AsyncIterable<WatchItem>, view: View): Promise<void> {
  for await (const item of items) {
    await view.add(item);
    // What comes after it is of another start.
    if (item.type === 'chain.closed') return;
  }
}

/**
 * Follows a chain until it ends, and prints its final state on stdout. Ctrl-C stops following, not the chain; the result
 * is null then.
 */
export async function followChain(
  context: CommandContext,
  key: ChainKey,
  output: StreamFormat,
): Promise<ChainResult | null> {
  const sessionChain = await context.sessionChain();
  const stopped = new AbortController();
  setMaxListeners(0, stopped.signal); // every poll adds one
  const stop = () => stopped.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const warned = warnOfMissingWorker(context, key, stopped.signal);
  try {
    const result = await showUntilEnded(sessionChain, key, { signal: stopped.signal, output });
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

interface View {
  add(item: WatchItem): Promise<void>;
  /** What has not been shown yet of a chain that is over. */
  finish(result: ChainResult): void;
  close(): void;
}

/** For programs: every item, at the speed of the reader. */
const jsonView: View = {
  add: async (item) => void (await writeLine(jsonLine(item))),
  finish: () => undefined,
  close: () => undefined,
};

/** The line that changes does so by itself so often. */
export const tickMs = 1_000;
/** So many ticks pass between two looks at the queue: what moves a chain in it is no event of the chain. */
const ticksPerLook = 2;

/** For people: line by line; below them, on a terminal, one line that changes. */
function createTextView(sessionChain: SessionChain, key: ChainKey, stream: NodeJS.WriteStream): View {
  const view = createLiveView(stream);
  const doing = createDoing();
  const shown = new Set<StepName>();
  let state: ChainState | null = null;
  let ticks = 0;
  let lastSaid = '';
  let isOver = false;

  async function look(): Promise<void> {
    // A look that fails is left out: the caller waits for the chain itself.
    state = (await sessionChain.state(key).catch(() => null)) ?? state;
    const standing = state && !isClosed(state.status) ? standingOf(state) : lastSaid;
    if (view.isTerminal || standing === lastSaid) return;
    lastSaid = standing;
    view.say(standing);
  }
  function show(): void {
    if (!state || isOver || !view.isTerminal) return;
    const elapsedMs = Math.max(0, Date.now() - doing.since().getTime());
    view.show(liveLine(state, doing.progress(Math.max(20, view.width - besideActivity)), elapsedMs));
  }
  /** A step of which it is not known yet how it ended is shown at the end. */
  function sayStep(name: StepName): void {
    const step = state?.steps.find(({ step }) => step === name);
    if (!state || !step || ['pending', 'running', 'waiting'].includes(step.status)) return;
    shown.add(name);
    // In a log a step is one line.
    view.say(wrappedStepLine(step, view.isTerminal ? view.width : Infinity, stepWidth(state.steps)));
  }
  function sayItem(item: WatchItem): void {
    switch (item.type) {
      case 'live.text':
        return;
      case 'live.entry':
        for (const line of saidLines(item, item.step ?? '', view.width)) view.say(line);
        return;
      case 'gap':
        view.say('What happened before is not known: its events are no longer kept.');
        return;
      case 'step.committed':
      case 'step.completed':
      case 'step.skipped':
        sayStep(item.data.step);
        return;
      case 'chain.waiting':
        view.say(eventText(item));
        return;
      default:
        // The line that changes shows it, or the report at the end.
        return;
    }
  }

  const timer = setInterval(() => {
    ticks += 1;
    if (state?.status === 'queued' && ticks % ticksPerLook === 0) void look().then(show);
    else show();
  }, tickMs);
  return {
    async add(item) {
      doing.add(item);
      if (item.type !== 'live.text' && item.type !== 'live.entry') await look();
      sayItem(item);
      show();
    },
    finish(result) {
      state = result;
      for (const { step } of result.steps) if (!shown.has(step)) sayStep(step);
    },
    close() {
      isOver = true;
      clearInterval(timer);
      view.clear();
    },
  };
}

/** Columns of what stands beside the activity: the step, turns, elapsed time. */
export const besideActivity = 36;

/** `running`, or `queued  position 2, behind chain/shop/v1/v1`. */
function standingOf({ status, queue }: ChainState): string {
  return queue ? `${status}  ${queuePosition(queue)}` : status;
}

/** `build     12 turns  Write src/app.ts  1 min 05 s`. */
export function liveLine(state: ChainState, progress: LiveProgress | null, elapsedMs?: number): string {
  if (progress) return progressLine(progress, stepWidth(state.steps), elapsedMs);
  const waiting = state.steps.find(({ status }) => status === 'waiting');
  return [
    waiting ? stepLine(waiting, stepWidth(state.steps)) : standingOf(state),
    ...elapsedOf(elapsedMs),
  ].join('  ');
}

/** What runs just now, on one line. */
export function progressLine(
  { step, turns, activity, tries, lastFailure }: LiveProgress,
  width: number,
  elapsedMs?: number,
): string {
  return [
    step.padEnd(width),
    ...(turns === undefined ? [] : [`${turns} ${turns === 1 ? 'turn' : 'turns'}`]),
    ...(activity === undefined ? [] : [activity]),
    ...(tries > 1 ? [`try ${tries}`] : []),
    ...(lastFailure === undefined ? [] : [`after: ${lastFailure}`]),
    ...elapsedOf(elapsedMs),
  ].join('  ');
}

function elapsedOf(elapsedMs: number | undefined): string[] {
  return elapsedMs === undefined ? [] : [formatDuration(elapsedMs)];
}
