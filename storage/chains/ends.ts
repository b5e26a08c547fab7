import type { ChainEnd, ChainEndCall } from '../../contracts/end.js';
import type { ChainKey, ProjectId } from '../../contracts/ids.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** The ends of chains that the host is told of. */

/**
 * Ends whose call is due, at most `limit`: each is the caller's for a minute. From the first call on, ends are recorded.
 */
export async function takeEnds(pool: Pool, limit: number): Promise<(ChainKey & { key: string })[]> {
  return await queryRows<ChainKey & { key: string }>(pool, {
    name: 'take_ends',
    text: `SELECT key, project_id AS "projectId", version_id AS "versionId", build_id AS "buildId"
           FROM session_chain.take_ends($1)`,
    values: [limit],
  });
}

const callColumns = `e.key, e.event AS "eventId", e.chain::text AS "chainId", e.project_id AS "projectId", e.version_id AS "versionId", e.build_id AS "buildId", e.status,
  e.failure_code AS "failureCode", e.session_id AS "sessionId", e.seq, e.steps, e.ended_at AS "endedAt"`;

type Row<End> = Omit<End, 'endedAt'> & { endedAt: Date };

/** What the activity of the host is called with; null for what was delivered, or is not there any more. */
export async function beginEnd(pool: Pool, key: string): Promise<ChainEndCall | null> {
  const [row] = await queryRows<Row<ChainEndCall>>(pool, {
    name: 'begin_end',
    text: `SELECT ${callColumns} FROM session_chain.begin_end($1) e`,
    values: [key],
  });
  return row ? { ...row, endedAt: row.endedAt.toISOString() } : null;
}

/** Notes how a round of calls came out; null for success. */
export async function noteEnd(pool: Pool, key: string, failure: string | null): Promise<void> {
  await queryRows(pool, {
    name: 'note_end',
    text: 'SELECT session_chain.note_end($1, $2)',
    values: [key, failure],
  });
}

/** The ends of a chain, the newest first. */
export async function listEnds(pool: Pool, { projectId, versionId, buildId }: ChainKey): Promise<ChainEnd[]> {
  const rows = await queryRows<Row<ChainEnd>>(pool, {
    name: 'chain_ends',
    text: `SELECT ${callColumns}, e.delivered_at AS "deliveredAt", e.rounds, e.failure,
             CASE WHEN e.delivered_at IS NULL THEN e.due_at END AS "dueAt"
           FROM session_chain.chain_ends e WHERE e.project_id = $1 AND e.version_id = $2 AND e.build_id = $3
           ORDER BY e.id DESC`,
    values: [projectId, versionId, buildId],
  });
  return rows.map((row) => ({ ...row, endedAt: row.endedAt.toISOString() }));
}

/** Ends of more than a minute ago that the host has not been told of, the newest first, of all projects or of some. */
export async function listLateEnds(
  pool: Pool,
  {
    projectIds,
    before,
    limit,
  }: { projectIds: readonly ProjectId[] | null; before: string | null; limit: number },
): Promise<{ place: string; end: ChainEnd }[]> {
  const rows = await queryRows<Row<ChainEnd> & { place: string }>(pool, {
    text: `SELECT e.id::text AS place, ${callColumns}, NULL::timestamptz AS "deliveredAt", e.rounds, e.failure, e.due_at AS "dueAt"
           FROM session_chain.chain_ends e
           WHERE ${isLate} AND ($1::text[] IS NULL OR e.project_id = ANY ($1)) AND ($2::bigint IS NULL OR e.id < $2)
           ORDER BY e.id DESC LIMIT $3`,
    values: [projectIds, before, limit],
  });
  return rows.map(({ place, ...row }) => ({ place, end: { ...row, endedAt: row.endedAt.toISOString() } }));
}

const isLate = `delivered_at IS NULL AND ended_at < clock_timestamp() - interval '1 minute'`;

/** Ends of more than a minute ago that the host has not been told of. */
export interface LateEnds {
  count: number;
  /** When the oldest of them ended; null for none. */
  since: Date | null;
  /** Why the last round of one of them failed; null where none has. */
  failure: string | null;
}

export async function lateEnds(pool: Pool): Promise<LateEnds> {
  return await queryOne<LateEnds & Record<string, unknown>>(pool, {
    name: 'late_ends',
    text: `SELECT count(*) AS count, min(ended_at) AS since,
             (array_agg(failure ORDER BY due_at DESC) FILTER (WHERE failure IS NOT NULL))[1] AS failure
           FROM session_chain.chain_ends WHERE ${isLate}`,
  });
}
