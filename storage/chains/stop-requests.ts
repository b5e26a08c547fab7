import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { AttemptId, ChainId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';

/** What is to stop: all that works for a chain, or one attempt that was superseded. */
export type StopTarget = `chain:${ChainId}` | `attempt:${AttemptId}`;

/** Requests to stop that reach a worker at once, past Temporal's heartbeats. A hint: a worker that misses one is stopped later. */
export interface StopRequests {
  /** Calls back when the target is to stop, until the returned function is called. */
  onStop(target: StopTarget, stop: () => void): () => void;
  close(): Promise<void>;
}

const channel = 'session_chain_stop';

/** Asks every worker to stop what it does for the target. */
export async function requestStop(pool: Pool, target: StopTarget): Promise<void> {
  await queryRows(pool, {
    name: 'request_stop',
    text: `SELECT pg_notify('${channel}', $1)`,
    values: [target],
  });
}

/** Listens on a connection of its own, and on a new one whenever that breaks. */
export function listenForStopRequests(databaseUrl: string, log: (message: string) => void): StopRequests {
  const stops = new Map<string, Set<() => void>>();
  const closed = new AbortController();
  let client: pg.Client | undefined;
  const listening = listen();
  return {
    onStop(target, stop) {
      const ofTarget = stops.get(target) ?? new Set();
      stops.set(target, ofTarget.add(stop));
      return () => {
        ofTarget.delete(stop);
        if (ofTarget.size === 0) stops.delete(target);
      };
    },
    async close() {
      closed.abort();
      await client?.end().catch(() => undefined);
      await listening;
    },
  };

  async function listen(): Promise<void> {
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
    const connection = new pg.Client({
      connectionString: databaseUrl,
      application_name: 'session-chain stop requests',
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    });
    client = connection;
    const broken = new Promise<void>((resolve, reject) => connection.on('error', reject).on('end', resolve));
    broken.catch(() => undefined);
    connection.on('notification', ({ payload }) => {
      for (const stop of [...(stops.get(payload ?? '') ?? [])]) stop();
    });
    await connection.connect();
    if (closed.signal.aborted) await connection.end();
    else await connection.query(`LISTEN ${channel}`);
    await broken;
  }
}
