import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { AttemptId, ChainId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';

/** What may have to stop: everything that works for a chain, or one attempt that was superseded. */
export type StopTarget = `chain:${ChainId}` | `attempt:${AttemptId}`;

/**
 * Notifications that make a worker check whether it must stop; they do not depend on Temporal's heartbeats. Any client
 * may send one, so it proves nothing: the row decides (`renewLease`). A worker that misses one checks with its next
 * renewal.
 */
export interface StopRequests {
  /** Begins to listen; until then a worker checks only with its renewals. */
  listen(): void;
  /** Calls back when the target may have to stop, until the returned function is called. */
  onNotice(target: StopTarget, look: () => void): () => void;
  close(): Promise<void>;
}

const channel = 'session_chain_stop';

/** Asks everything that works for a chain under its present ticket to stop as cancelled. */
export async function requestStop(pool: Pool, chainId: ChainId): Promise<void> {
  await queryRows(pool, {
    name: 'request_stop',
    text: 'SELECT session_chain.request_stop($1)',
    values: [chainId],
  });
}

/** Listens on a connection that it keeps from the pool, and on a new one whenever that breaks. */
export function createStopRequests(pool: Pool, log: (message: string) => void): StopRequests {
  const looks = new Map<string, Set<() => void>>();
  const closed = new AbortController();
  let listening: Promise<void> | undefined;
  return {
    listen() {
      listening ??= listenUntilClosed();
    },
    onNotice(target, look) {
      const ofTarget = looks.get(target) ?? new Set();
      looks.set(target, ofTarget.add(look));
      return () => {
        ofTarget.delete(look);
        if (ofTarget.size === 0) looks.delete(target);
      };
    },
    async close() {
      closed.abort();
      await listening;
    },
  };

  async function listenUntilClosed(): Promise<void> {
    while (!closed.signal.aborted) {
      try {
        await listenUntilBroken();
      } catch (error) {
        if (closed.signal.aborted) return;
        log(`Listening for stop requests broke: ${error instanceof Error ? error.message : String(error)}`);
      }
      await sleep(1_000, undefined, { signal: closed.signal }).catch(() => undefined);
    }
  }

  async function listenUntilBroken(): Promise<void> {
    const connection = await pool.connect();
    const over = new Promise<void>((resolve, reject) => {
      connection.on('error', reject).on('end', resolve);
      closed.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    over.catch(() => undefined);
    const onNotification = ({ payload = '' }: pg.Notification) => {
      for (const look of [...(looks.get(payload) ?? [])]) look();
    };
    connection.on('notification', onNotification);
    try {
      await connection.query(`SET application_name TO 'session-chain stop requests'`);
      await connection.query(`LISTEN ${channel}`);
      if (!closed.signal.aborted) await over;
    } finally {
      // Closed, not returned to the pool: it still listens.
      connection.release(true);
    }
  }
}
