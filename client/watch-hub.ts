import { setTimeout as delay } from 'node:timers/promises';
import type { AttemptId, ProjectId } from '../contracts/ids.js';
import { type Pool, isDatabaseAway } from '../storage/db/pool.js';
import { createEventListener } from '../storage/events/listener.js';
import { type LiveState, readLiveStates } from '../storage/live/attempts.js';

/**
 * What all watchers of a client share: one connection that listens, one look for all attempts that are waited for, and one
 * statement for those that read the same at the same time.
 */
export interface WatchHub {
  pool: Pool;
  /** Calls back when the client is closed, at once where it is; returns what ends that. */
  onClose(stop: () => void): () => void;
  /** Counts what is heard of a project, or with null of any, until `leave`. */
  join(projectId: ProjectId | null): Interest;
  /** The same promise for all who ask under a key until it is settled. */
  shared<Value>(key: string, load: () => Promise<Value>): Promise<Value>;
  /**
   * Resolves when something was heard since `version`, when one of the attempts has got further, when it is time for a look
   * without that, or when a signal aborts.
   */
  changed(interest: Interest, since: ChangesSince): Promise<void>;
  close(): Promise<void>;
}

export interface Interest {
  version(): number;
  leave(): void;
  /** Called at the next change. */
  onChange: () => void;
  isOfAll: boolean;
}

export interface ChangesSince {
  version: number;
  /** How far the watcher has read the attempts that it waits for. */
  attempts: ReadonlyMap<AttemptId, LiveState>;
  signal: AbortSignal;
}

/** Often enough for a reader's eye; one statement, however many watch. */
const lookAtAttemptsMs = 250;
/** A watcher looks by itself so often: while notifications arrive, without them, and at all projects, where an event may become readable some time after its notification. */
const lookMs = { listening: 15_000, deaf: 2_000, all: 1_000 };

export function createWatchHub(pool: Pool): WatchHub {
  const listener = createEventListener(pool);
  const stops = new Set<() => void>();
  let isClosed = false;
  const loads = new Map<string, Promise<unknown>>();
  const waiting = new Set<{ attempts: ChangesSince['attempts']; wake: () => void }>();
  let looking = false;

  async function lookAtAttempts(): Promise<void> {
    looking = true;
    while (waiting.size > 0) {
      await delay(lookAtAttemptsMs);
      const wanted = new Set([...waiting].flatMap(({ attempts }) => [...attempts.keys()]));
      // While the database is away there is nothing to see.
      const states = await readLiveStates(pool, [...wanted]).catch(() => new Map<AttemptId, LiveState>());
      for (const { attempts, wake } of [...waiting]) {
        if ([...attempts].some(([attemptId, seen]) => isFurther(states.get(attemptId), seen))) wake();
      }
    }
    looking = false;
  }

  return {
    pool,
    onClose(stop) {
      if (isClosed) stop();
      stops.add(stop);
      return () => stops.delete(stop);
    },
    join(projectId) {
      let version = 0;
      const interest: Interest = {
        version: () => version,
        leave: listener.subscribe(projectId, () => {
          version += 1;
          interest.onChange();
        }),
        onChange: () => undefined,
        isOfAll: projectId === null,
      };
      return interest;
    },
    shared<Value>(key: string, load: () => Promise<Value>) {
      const known = loads.get(key) as Promise<Value> | undefined;
      if (known) return known;
      const loading = load().finally(() => loads.delete(key));
      loads.set(key, loading);
      return loading;
    },
    async changed(interest, { version, attempts, signal }) {
      if (interest.version() !== version || signal.aborted) return;
      const waiter = { attempts, wake: () => undefined as void };
      const deafOrNot = listener.isListening() ? lookMs.listening : lookMs.deaf;
      let timer: NodeJS.Timeout | undefined;
      try {
        await new Promise<void>((resolve) => {
          waiter.wake = interest.onChange = resolve;
          signal.addEventListener('abort', waiter.wake);
          timer = setTimeout(resolve, interest.isOfAll ? lookMs.all : deafOrNot);
          if (attempts.size === 0) return;
          waiting.add(waiter);
          if (!looking) void lookAtAttempts();
        });
      } finally {
        clearTimeout(timer);
        interest.onChange = () => undefined;
        signal.removeEventListener('abort', waiter.wake);
        waiting.delete(waiter);
      }
    },
    async close() {
      isClosed = true;
      for (const stop of [...stops]) stop();
      await listener.close();
    },
  };
}

function isFurther(now: LiveState | undefined, seen: LiveState): boolean {
  if (!now) return false;
  // After a crash of the server the pieces of live text are gone, and are counted anew.
  return now.appends > seen.appends || (now.text !== seen.text && now.text !== 0);
}

const longestPauseMs = 5_000;

/**
 * The result of a read that is repeated for as long as the database is away, unless `mayWait` says no; null where the signal
 * aborts first.
 */
export async function whenAnswered<Value>(
  read: () => Promise<Value>,
  { mayWait, signal }: { mayWait: () => boolean; signal: AbortSignal },
): Promise<Value | null> {
  let stop = () => undefined as void;
  // A statement that waits for a connection of a pool that is closed would hold it up.
  const stopped = new Promise<null>((resolve) => (stop = () => resolve(null)));
  signal.addEventListener('abort', stop);
  try {
    for (let waitMs = 100; !signal.aborted; waitMs = Math.min(2 * waitMs, longestPauseMs)) {
      try {
        return await Promise.race([read(), stopped]);
      } catch (error) {
        if (signal.aborted) return null;
        if (!mayWait() || !isDatabaseAway(error)) throw error;
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
    return null;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
