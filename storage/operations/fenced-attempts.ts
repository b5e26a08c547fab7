import type { AttemptId, BuildId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';

/** An attempt whose right to go on ended before it could commit: another took over, or its worker was not seen any more. */
export interface FencedAttempt {
  attemptId: AttemptId;
  projectId: ProjectId;
  versionId: VersionId | null;
  /** Of a chain its build; outside a chain it names the operation, as `chat:7`. */
  buildId: BuildId;
  isOfChain: boolean;
  step: StepName;
  round: number;
  attempt: number;
  /** What it wrote; a later attempt may have gone on from there. */
  sessionId: SessionId;
  /** The process that ran it, as `pid@host`. */
  worker: string;
  startedAt: Date;
  endedAt: Date;
  /** FENCED: it was rejected. WORKER_LOST: it was not seen to end. */
  code: 'FENCED' | 'WORKER_LOST';
  /** Why, for people. */
  reason: string;
  /** The next attempt of the same operation; null where none began. */
  next: { attempt: number; worker: string; state: 'running' | 'waiting' | 'failed' | 'committed' } | null;
}

/** Attempts that were fenced, the newest first, of all projects or of some. */
export async function listFencedAttempts(
  pool: Pool,
  {
    projectIds,
    before,
    limit,
  }: { projectIds: readonly ProjectId[] | null; before: AttemptId | null; limit: number },
): Promise<FencedAttempt[]> {
  return await queryRows<FencedAttempt & Record<string, unknown>>(pool, {
    text: fencedAttemptsQuery,
    values: [projectIds, before, limit],
  });
}

// Without a name, so that it is planned for what it asks.
export const fencedAttemptsQuery = `
  SELECT a.id::text AS "attemptId", a.project_id AS "projectId", a.version_id AS "versionId", a.build_id AS "buildId",
    a.chain IS NOT NULL AS "isOfChain", a.step, a.round, a.attempt, a.session_id AS "sessionId", a.worker,
    a.started_at AS "startedAt", a.ended_at AS "endedAt", a.failure ->> 'code' AS code, a.failure ->> 'message' AS reason,
    n.next
  FROM session_chain.attempts a
  LEFT JOIN LATERAL (
    SELECT jsonb_build_object('attempt', n.attempt, 'worker', n.worker, 'state', n.state) AS next
    FROM (
      SELECT * FROM session_chain.attempts c WHERE c.chain = a.chain AND c.step = a.step AND c.round = a.round
      UNION ALL
      SELECT * FROM session_chain.attempts o
      WHERE a.chain IS NULL AND o.chain IS NULL AND o.project_id = a.project_id AND o.build_id = a.build_id AND o.step = a.step
    ) n WHERE n.attempt > a.attempt ORDER BY n.attempt LIMIT 1) n ON true
  WHERE a.state = 'failed' AND a.failure ->> 'code' IN ('FENCED', 'WORKER_LOST')
    AND ($1::text[] IS NULL OR a.project_id = ANY ($1)) AND ($2::bigint IS NULL OR a.id < $2)
  ORDER BY a.id DESC LIMIT $3`;
