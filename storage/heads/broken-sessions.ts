import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';
import type { SessionFitness } from '../transcripts/store.js';
import { unfit } from './recovery.js';

/** A session from which no operation can go on. */
export interface BrokenSession {
  projectId: ProjectId;
  sessionId: SessionId;
  /** `unknown`: it was recorded, and no transcript of it was ever stored here. */
  reason: Exclude<SessionFitness, 'whole' | 'archived'>;
  /** Why, for people. */
  detail: string;
  /** The project's next operation goes on from it, and so needs `validateAndRecover`. */
  isHead: boolean;
  /** When it was found; null where it is not in quarantine, and only the store lacks it. */
  quarantinedAt: Date | null;
  /** When an entry of it was stored last. */
  appendedAt: Date | null;
  /** Since when the next chain goes on from an ancestor instead; null where it was not given up. */
  givenUpAt: Date | null;
}

/** A place in the list: the session before it. */
export type BrokenPlace = Pick<BrokenSession, 'projectId' | 'sessionId'>;

/**
 * Heads from which no operation can go on, and sessions in quarantine, in the order of their projects and ids. What is found is what
 * the counters of the store tell; that a text itself is gone, or an entry names one that is missing, a look at the one session finds.
 */
export async function listBrokenSessions(
  pool: Pool,
  {
    projectIds,
    after,
    limit,
  }: { projectIds: readonly ProjectId[] | null; after: BrokenPlace | null; limit: number },
): Promise<BrokenSession[]> {
  const rows = await queryRows<Omit<BrokenSession, 'detail'> & { quarantineReason: string | null }>(pool, {
    text: brokenSessionsQuery,
    values: [projectIds, after?.projectId ?? null, after?.sessionId ?? null, limit],
  });
  return rows.map(({ quarantineReason, ...row }) => ({
    ...row,
    detail: quarantineReason ?? unfit[row.reason],
  }));
}

// Without a name, so that it is planned for what it asks.
export const brokenSessionsQuery = `
  WITH head AS (
    SELECT p.project_id::text AS project_id, p.last_ai_session_id AS session_id FROM projects p
    WHERE p.last_ai_session_id IS NOT NULL AND ($1::text[] IS NULL OR p.project_id = ANY (ARRAY(
      SELECT session_chain.project_key(one.id) FROM unnest($1::text[]) AS one (id))))
  ),
  suspect AS (
    SELECT h.project_id, h.session_id, true AS is_head FROM head h
    LEFT JOIN session_chain.sessions s ON s.project_id = h.project_id AND s.session_id = h.session_id
    WHERE coalesce(s.messages, 0) = 0 OR s.quarantined_at IS NOT NULL OR s.entries IS DISTINCT FROM (
      SELECT sum(cardinality(b.entry_ids)) FROM session_chain.transcript_batches b WHERE b.session = s.id AND b.subpath = '')
    UNION ALL
    SELECT s.project_id, s.session_id, false FROM session_chain.sessions s
    WHERE s.quarantined_at IS NOT NULL AND ($1::text[] IS NULL OR s.project_id = ANY ($1))
      AND NOT EXISTS (SELECT FROM head h WHERE h.project_id = s.project_id AND h.session_id = s.session_id)
  )
  SELECT o.project_id AS "projectId", o.session_id AS "sessionId", o.is_head AS "isHead", f.reason,
    s.quarantine_reason AS "quarantineReason", s.quarantined_at AS "quarantinedAt", s.appended_at AS "appendedAt",
    s.given_up_at AS "givenUpAt"
  FROM suspect o
  LEFT JOIN session_chain.sessions s ON s.project_id = o.project_id AND s.session_id = o.session_id
  CROSS JOIN LATERAL (SELECT session_chain.session_fitness(o.project_id, o.session_id) AS reason) f
  WHERE f.reason NOT IN ('whole', 'archived') AND ($2::text IS NULL OR (o.project_id, o.session_id) > ($2, $3))
  ORDER BY o.project_id, o.session_id LIMIT $4`;
