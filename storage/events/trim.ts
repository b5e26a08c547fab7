import { setTimeout as sleep } from 'node:timers/promises';
import { type Pool, queryOne } from '../db/pool.js';

const betweenMs = 60 * 60_000;
const batch = 10_000;

/** Trims events by age now and every hour, until it is closed. */
export function keepTrimmed(
  pool: Pool,
  keepDays: number,
  log: (message: string) => void,
): { close(): Promise<void> } {
  const closed = new AbortController();
  const { signal } = closed;
  const running = (async () => {
    while (!signal.aborted) {
      await trimEvents(pool, keepDays, signal).catch((error: unknown) => {
        if (!signal.aborted)
          log(`Old events were not trimmed: ${error instanceof Error ? error.message : String(error)}`);
      });
      await sleep(betweenMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  })();
  return {
    async close() {
      closed.abort();
      await running;
    },
  };
}

/** Deletes events that are older than so many days, in batches; where another process is at it, nothing. */
export async function trimEvents(pool: Pool, keepDays: number, signal?: AbortSignal): Promise<void> {
  for (let trimmed: number | null = batch; trimmed === batch && signal?.aborted !== true;) {
    ({ trimmed } = await queryOne<{ trimmed: number | null }>(pool, {
      name: 'trim_events',
      text: `SELECT session_chain.trim_events($1 * interval '1 day', $2) AS trimmed`,
      values: [keepDays, batch],
    }));
  }
}
