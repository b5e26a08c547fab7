import { EventEmitter, once } from 'node:events';
import type { ActivitySlotInfo, CustomSlotSupplier } from '@temporalio/worker';

/** How many agents run at the same time, whichever of two task queues they come from. */
export interface Places {
  /** For the queue that every worker polls: a poll has a place before it brings a task. */
  supplier: CustomSlotSupplier<ActivitySlotInfo>;
  /**
   * Takes a place for a task, and returns what gives it back; null where none is free. A task of the worker's own queue takes
   * precedence of a poll that has brought none yet, so that what that brings then may find no place.
   */
  take(queue: 'all' | 'own'): (() => void) | null;
  /** A process is kept for the next task of its chain: its place stays free for that for a moment. */
  keep(): void;
}

/** The next step is on the worker's own queue within milliseconds, or much later. */
const keptMs = 1_000;

export function createPlaces(max: number): Places {
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  /** Of polls, and of what they brought. */
  let permits = 0;
  const running = { all: 0, own: 0 };
  /** Timers, in the order in which they began. */
  const kept = new Set<NodeJS.Timeout>();

  function permit(): boolean {
    if (permits + running.own + kept.size >= max) return false;
    permits += 1;
    return true;
  }

  function forget(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    if (kept.delete(timer)) changes.emit('free');
  }

  return {
    supplier: {
      type: 'custom',
      async reserveSlot(_context, signal) {
        while (!permit()) {
          await once(changes, 'free', { signal }).catch(() => {
            // What Temporal's library takes for an orderly end.
            throw signal.reason;
          });
        }
        return {};
      },
      tryReserveSlot: () => (permit() ? {} : null),
      markSlotUsed: () => undefined,
      releaseSlot() {
        permits -= 1;
        changes.emit('free');
      },
    },
    take(queue) {
      if (running.all + running.own >= max) return null;
      const [first] = kept;
      if (queue === 'own' && first) forget(first);
      running[queue] += 1;
      let isGiven = false;
      return () => {
        if (isGiven) return;
        isGiven = true;
        running[queue] -= 1;
        changes.emit('free');
      };
    },
    keep() {
      const timer = setTimeout(() => forget(timer), keptMs);
      kept.add(timer.unref());
    },
  };
}
