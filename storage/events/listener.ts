import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { ProjectId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';
import { eventChannel } from './events.js';

/** Tells that something happened, over one connection however many ask; what happened is in the table. */
export interface EventListener {
  /**
   * Calls back whenever something may have happened to a project, or with null to any; also when a connection that broke is
   * back, because what was notified meanwhile is lost. Returns what ends it.
   */
  subscribe(projectId: ProjectId | null, wake: () => void): () => void;
  /** Whether notifications arrive at present; while they do not, each subscriber has to look by itself. */
  isListening(): boolean;
  /** Ends every subscription and gives the connection back. */
  close(): Promise<void>;
}

/** Between two questions to the server whether the connection still lives. */
const probeMs = 10_000;
/** How long each may take: a connection that died silently never answers. */
const probe = { name: 'probe_listener', text: 'SELECT 1', query_timeout: 5_000 };
const longestPauseMs = 5_000;

/** Connected while there are subscribers. A pool of one connection is left to its statements: it never listens. */
export function createEventListener(pool: Pool): EventListener {
  const subscribers = new Map<ProjectId | null, Set<() => void>>();
  const mayListen = ((pool as Partial<Pool>).options?.max ?? 10) > 1;
  let isListening = false;
  let isClosed = false;
  let running: AbortController | null = null;
  let ended = Promise.resolve();

  const onNotification = ({ payload }: pg.Notification) => {
    for (const wake of subscribers.get((payload ?? '') as ProjectId) ?? []) wake();
    for (const wake of subscribers.get(null) ?? []) wake();
  };

  async function listenOnce(signal: AbortSignal): Promise<void> {
    await onConnection(pool, async (connection, broken) => {
      connection.on('notification', onNotification);
      try {
        await queryRows(connection, { text: `LISTEN ${eventChannel}` });
        isListening = true;
        for (const wakes of [...subscribers.values()]) for (const wake of wakes) wake();
        while (await Promise.race([broken, pause(probeMs, signal)])) await queryRows(connection, probe);
        await queryRows(connection, {
          text: `UNLISTEN ${eventChannel}`,
          ...{ query_timeout: probe.query_timeout },
        });
      } finally {
        isListening = false;
        connection.off('notification', onNotification);
      }
    });
  }

  async function listen(signal: AbortSignal): Promise<void> {
    for (let waitMs = 100; !signal.aborted; waitMs = Math.min(2 * waitMs, longestPauseMs)) {
      // What is wrong with the database is said by the statements of the subscribers.
      await listenOnce(signal).catch(() => undefined);
      await pause(waitMs, signal);
    }
  }

  const end = () => {
    running?.abort();
    running = null;
  };
  return {
    subscribe(projectId, wake) {
      const wakes = subscribers.get(projectId) ?? new Set();
      subscribers.set(projectId, wakes.add(wake));
      if (!running && mayListen && !isClosed) {
        const { signal } = (running = new AbortController());
        ended = ended.then(() => listen(signal));
      }
      return () => {
        wakes.delete(wake);
        if (wakes.size === 0 && subscribers.get(projectId) === wakes) subscribers.delete(projectId);
        if (subscribers.size === 0) end();
      };
    },
    isListening: () => isListening,
    async close() {
      isClosed = true;
      subscribers.clear();
      end();
      await ended;
    },
  };
}

/** Takes a connection for as long as `use` does; `broken` rejects as soon as it is lost. One on which something failed is not used again. */
async function onConnection(
  pool: Pool,
  use: (connection: pg.PoolClient, broken: Promise<never>) => Promise<void>,
): Promise<void> {
  const connection = await pool.connect();
  const over = new AbortController();
  const { signal } = over;
  // `once` rejects at an error, too.
  const broken = once(connection, 'end', { signal }).then(() => {
    throw new Error('The connection has ended.');
  });
  broken.catch(() => undefined);
  const ignore = () => undefined;
  connection.on('error', ignore);
  let failed = false;
  try {
    await use(connection, broken);
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    over.abort();
    connection.release(failed);
    connection.off('error', ignore);
  }
}

/** True after the time, false at once where the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return await delay(ms, true, { signal }).catch(() => false);
}
