import { setTimeout as delay } from 'node:timers/promises';
import type { AttemptId, ProjectId } from '../contracts/ids.js';
import { type Pool, isDatabaseAway } from '../storage/db/pool.js';
import { type EventsSeen, eventsHorizon, projectsWithNews } from '../storage/events/events.js';
import { onAbort } from '../temporal/signal.js';
import { type LiveState, readLiveStates } from '../storage/live/attempts.js';

/**
 * What all watchers of a client share: one look at what has happened, and one statement for those that read the same at the
 * same time. No connection is kept for it.
 */
export interface WatchHub {
  pool: Pool;
  /** Calls back when the client is closed, at once where it is; returns what ends that. */
  onClose(stop: () => void): () => void;
  /** The same promise for all who ask under a key until it is settled. */
  shared<Value>(key: string, load: () => Promise<Value>): Promise<Value>;
  /** Resolves when there may be more than was seen, or when the signal aborts. */
  changed(seen: Seen, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** What a watcher has read. */
export interface Seen {
  /** Null for all projects. */
  projectId: ProjectId | null;
  /** How far there were events, as its last page said. */
  through: number;
  /** How far it has read the attempts that it waits for. */
  attempts: ReadonlyMap<AttemptId, LiveState>;
}

/** Often enough for a reader's eye; a few statements, however many watch. */
const lookMs = 250;

export function createWatchHub(pool: Pool): WatchHub {
  const stops = new Set<() => void>();
  let isClosed = false;
  const loads = new Map<string, Promise<unknown>>();
  const waiting = new Map<() => void, Seen>();
  let isLooking = false;

  async function look(): Promise<void> {
    isLooking = true;
    for (await delay(lookMs); waiting.size > 0; await delay(lookMs)) {
      const waiters = [...waiting];
      try {
        const hasNews = await readNews(
          pool,
          waiters.map(([, seen]) => seen),
        );
        for (const [wake, seen] of waiters) if (hasNews(seen)) wake();
      } catch (error) {
        // While the database is away there is nothing to see; what else is wrong each of them finds out.
        if (!isDatabaseAway(error)) for (const [wake] of waiters) wake();
      }
    }
    isLooking = false;
  }

  return {
    pool,
    onClose(stop) {
      if (isClosed) stop();
      stops.add(stop);
      return () => stops.delete(stop);
    },
    shared<Value>(key: string, load: () => Promise<Value>) {
      const known = loads.get(key) as Promise<Value> | undefined;
      if (known) return known;
      const loading = load().finally(() => loads.delete(key));
      loads.set(key, loading);
      return loading;
    },
    async changed(seen, signal) {
      if (signal.aborted) return;
      let wake = () => undefined as void;
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const forget = onAbort(signal, wake);
      waiting.set(wake, seen);
      if (!isLooking) void look();
      await woken;
      waiting.delete(wake);
      forget();
    },
    close() {
      isClosed = true;
      for (const stop of [...stops]) stop();
    },
  };
}

/** Tells of each who has seen so much whether there is more: other events, or an attempt that has got further. */
async function readNews(pool: Pool, all: readonly Seen[]): Promise<(seen: Seen) => boolean> {
  const projects = new Map<string, EventsSeen>();
  for (const { projectId, through } of all) {
    if (projectId !== null) projects.set(placeOf({ projectId, through }), { projectId, through });
  }
  const news = projects.size > 0 ? await projectsWithNews(pool, [...projects.values()]) : [];
  const places = new Set(news.map(placeOf));
  const horizon = all.some(({ projectId }) => projectId === null) ? await eventsHorizon(pool) : null;
  const attemptIds = [...new Set(all.flatMap(({ attempts }) => [...attempts.keys()]))];
  const states =
    attemptIds.length > 0 ? await readLiveStates(pool, attemptIds) : new Map<AttemptId, LiveState>();
  return ({ projectId, through, attempts }) =>
    (projectId === null ? through !== horizon : places.has(placeOf({ projectId, through }))) ||
    [...attempts].some(([attemptId, seen]) => isFurther(states.get(attemptId), seen));
}

function placeOf({ projectId, through }: EventsSeen): string {
  return `${through}/${projectId}`;
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
  const forget = onAbort(signal, stop);
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
    forget();
  }
}
