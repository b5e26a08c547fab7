import type { FailureCode } from '../../contracts/failures.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';

/**
 * Operations that wait for a worker with their project's folder, or with the version of Claude Code that they began
 * with.
 */

/** Why a worker left an operation to others. */
export interface Trouble {
  code: FailureCode;
  message: string;
}

export interface Search {
  /** How often workers looked. */
  looks: number;
  /** Since the first look. */
  searchedMs: number;
  /** What each worker last said. */
  workers: Record<string, Trouble>;
}

/** Records that a worker looked without success. A search without a look for `forgetAfterMs` starts over. */
export async function noteLook(
  pool: Pool,
  {
    search,
    worker,
    trouble,
    forgetAfterMs,
  }: { search: string; worker: string; trouble: Trouble; forgetAfterMs: number },
): Promise<Search> {
  return await queryOne<Search>(pool, {
    name: 'note_look',
    text: `WITH forgotten AS (
             DELETE FROM session_chain.workspace_searches WHERE operation <> $1 AND looked_at < clock_timestamp() - interval '1 day')
           INSERT INTO session_chain.workspace_searches AS s (operation, workers) VALUES ($1, jsonb_build_object($2::text, $3::jsonb))
           ON CONFLICT (operation) DO UPDATE SET (workers, looks, since, looked_at) = (
             SELECT CASE WHEN goes_on THEN s.workers ELSE '{}' END || excluded.workers, CASE WHEN goes_on THEN s.looks ELSE 0 END + 1,
               CASE WHEN goes_on THEN s.since ELSE excluded.since END, excluded.looked_at
             FROM (SELECT s.looked_at > excluded.looked_at - $4 * interval '1 ms' AS goes_on) one)
           RETURNING looks, round(extract(epoch FROM looked_at - since) * 1000)::float8 AS "searchedMs", workers`,
    values: [search, worker, jsonbOf(trouble), forgetAfterMs],
  });
}

/** Whether a worker that has not looked is at work for another chain: it may have had no free slot for this one. */
export async function othersAtWork(pool: Pool, workers: string[]): Promise<boolean> {
  const busy = await queryRows(pool, {
    name: 'others_at_work',
    text: `SELECT FROM session_chain.chains c JOIN session_chain.attempts a ON a.chain = c.id AND a.state = 'running'
           WHERE c.status = 'running' AND a.worker <> ALL ($1)
             AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp() LIMIT 1`,
    values: [workers],
  });
  return busy.length > 0;
}

/** Ends a search, successful or not, so that the next one has its full time. */
export async function endSearch(pool: Pool, search: string): Promise<void> {
  await queryRows(pool, {
    name: 'end_search',
    text: 'DELETE FROM session_chain.workspace_searches WHERE operation = $1',
    values: [search],
  });
}
