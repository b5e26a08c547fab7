import { EventEmitter, once } from 'node:events';
import type { ActivitySlotInfo, CustomSlotSupplier } from '@temporalio/worker';

/** How many agents run at the same time, whichever of two task queues they come from. */
export interface Places {
  /** For the queue that every worker polls: a poll has a place before it brings a task, and keeps it for the task. */
  supplier: CustomSlotSupplier<ActivitySlotInfo>;
  /** For a task of the worker's own queue: returns what gives the place back; null where none is free. */
  take(): (() => void) | null;
  /** A process is kept for the next task of its chain: its place stays free for that for a moment. */
  keep(): void;
}

/** The next step is on the worker's own queue within milliseconds, or much later. */
const keptMs = 1_000;

export function createPlaces(max: number): Places {
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  /** By tasks, and by polls. */
  let taken = 0;
  /** Timers, in the order in which they began. */
  const kept = new Set<NodeJS.Timeout>();
  const hasRoom = () => taken + kept.size < max;

  function give(): void {
    taken -= 1;
    changes.emit('free');
  }

  function forget(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    if (kept.delete(timer)) changes.emit('free');
  }

  return {
    supplier: {
      type: 'custom',
      async reserveSlot(_context, signal) {
        while (!hasRoom()) {
          await once(changes, 'free', { signal }).catch(() => {
            // What Temporal's library takes for an orderly end.
            throw signal.reason;
          });
        }
        taken += 1;
        return {};
      },
      tryReserveSlot() {
        if (!hasRoom()) return null;
        taken += 1;
        return {};
      },
      markSlotUsed: () => undefined,
      releaseSlot: give,
    },
    take() {
      if (taken >= max) return null;
      const [first] = kept;
      if (first) forget(first);
      taken += 1;
      let isGiven = false;
      return () => {
        if (isGiven) return;
        isGiven = true;
        give();
      };
    },
    keep() {
      const timer = setTimeout(() => forget(timer), keptMs);
      kept.add(timer.unref());
    },
  };
}
