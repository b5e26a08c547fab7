import { availableMemory } from 'node:process';
import type { SessionId } from '../contracts/ids.js';
import type { Line } from './line.js';

/**
 * The processes of a worker that wait for their next task. Each is a cache entry: what counts is in the store, and a task
 * that finds none that fits starts its own.
 */
export interface Lines {
  /** Takes a parked process that holds this session, if it fits. */
  take(sessionId: SessionId, fits: (line: Line) => boolean): Line | null;
  /** Parks a process for this time at most. */
  park(line: Line, idleMs: number): void;
  /** Gives up the processes that have waited longest until one more can start; `running` are at work. */
  makeRoom(running: number): Promise<void>;
  /** How many are parked. */
  count(): number;
  /** Gives up all. */
  close(): Promise<void>;
}

export interface LinesOptions {
  /** Processes at the same time, parked ones included. */
  maxProcesses: number;
  /** Whether the machine has memory for processes that only wait. */
  hasMemory: () => boolean;
  /** Called when a parked process was given up. */
  onGivenUp: (line: Line, reason: string) => void;
}

export function createLines({ maxProcesses, hasMemory, onGivenUp }: LinesOptions): Lines {
  /** In the order in which they were parked. */
  const parked = new Map<Line, NodeJS.Timeout>();
  const ending = new Set<Promise<void>>();
  let isClosed = false;

  function giveUp(line: Line, reason: string): void {
    if (!forget(line)) return;
    onGivenUp(line, reason);
    const ended = endLine(line).finally(() => ending.delete(ended));
    ending.add(ended);
  }

  function forget(line: Line): boolean {
    clearTimeout(parked.get(line));
    return parked.delete(line);
  }

  return {
    take(sessionId, fits) {
      for (const line of parked.keys()) {
        if (line.sessionId !== sessionId || !fits(line)) continue;
        forget(line);
        return line;
      }
      return null;
    },
    park(line, idleMs) {
      const timer = setTimeout(() => giveUp(line, 'No task came for it.'), idleMs);
      parked.set(line, timer);
      line.park(idleMs, (reason) => giveUp(line, reason));
      if (isClosed) giveUp(line, 'The worker stops.');
    },
    async makeRoom(running) {
      for (const line of parked.keys()) {
        if (running + parked.size < maxProcesses && hasMemory()) break;
        giveUp(line, 'Another task needs its place.');
      }
      await Promise.all(ending);
    },
    count: () => parked.size,
    async close() {
      isClosed = true;
      for (const line of parked.keys()) giveUp(line, 'The worker stops.');
      await Promise.all(ending);
    },
  };
}

/** Whether there is enough memory, of the machine or of the container, for what others start. */
export function hasMemoryToWait(): boolean {
  return availableMemory() >= 512 * 2 ** 20;
}

/** Ends a process that has nothing more to do, and removes what belongs to it. */
async function endLine(line: Line): Promise<void> {
  await killLine(line);
  await line.close();
}

/** Ends a process that has nothing more to do; in order it would take longer, for nothing that counts. */
export async function killLine({ process, abortController }: Line): Promise<void> {
  process?.kill();
  await process?.ended;
  // Before, the SDK would wait 2 s for a process that is dead by then.
  abortController.abort();
}
