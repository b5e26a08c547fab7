import type { AttemptId, ChainId, ProjectId, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';

/** An attempt of a step or of an answer, as its watchers know it. */
export interface LiveAttempt {
  attemptId: AttemptId;
  projectId: ProjectId;
  sessionId: SessionId;
  /** Counts the attempts of the step or answer. */
  attempt: number;
  /** Null for an answer; then `questionId` names its question. */
  chainId: ChainId | null;
  step: StepName | null;
  questionId: string | null;
}

const columns = `a.id::text AS "attemptId", a.project_id AS "projectId", a.session_id AS "sessionId", a.attempt,
  a.chain::text AS "chainId", CASE WHEN a.chain IS NOT NULL THEN a.step END AS step,
  CASE WHEN a.chain IS NULL THEN substring(a.build_id FROM '^chat:(.*)$') END AS "questionId"`;
const isAgents = `(a.chain IS NOT NULL OR a.build_id LIKE 'chat:%')`;

/** These attempts, as far as they are a project's. */
export async function readLiveAttempts(
  pool: Pool,
  projectId: ProjectId,
  attemptIds: readonly AttemptId[],
): Promise<LiveAttempt[]> {
  return await queryRows<LiveAttempt>(pool, {
    name: 'read_live_attempts',
    text: `SELECT ${columns} FROM session_chain.attempts a
           WHERE a.id = ANY ($2::bigint[]) AND a.project_id = $1 AND ${isAgents} ORDER BY a.id`,
    values: [projectId, attemptIds],
  });
}

/**
 * The attempts of a project, or of one of its chains, that ran as of an event: it or an earlier one says that they began, and
 * none up to it that they ended.
 */
export async function readAttemptsRunningAt(
  pool: Pool,
  { projectId, chainId }: { projectId: ProjectId; chainId: ChainId | null },
  eventId: number,
): Promise<LiveAttempt[]> {
  return await queryRows<LiveAttempt>(pool, {
    name: 'read_attempts_running_at',
    text: `
      WITH began AS (
        SELECT e.id, e.chain, e.data FROM session_chain.events e
        WHERE e.project_id = $1 AND e.id <= $2 AND e.type IN ('step.started', 'question.started')
          AND e.data ->> 'attemptId' IS NOT NULL AND ($3::bigint IS NULL OR e.chain = $3)
        ORDER BY e.id DESC LIMIT 50
      )
      SELECT ${columns} FROM began e
      JOIN session_chain.attempts a ON a.id = (e.data ->> 'attemptId')::bigint AND a.project_id = $1 AND ${isAgents}
      WHERE NOT EXISTS (
        SELECT FROM session_chain.events l
        WHERE l.project_id = $1 AND l.id > e.id AND l.id <= $2 AND CASE
          WHEN l.type IN ('step.committed', 'step.failed') THEN l.data ->> 'attemptId' = e.data ->> 'attemptId'
          WHEN l.type IN ('step.started', 'chain.closed') THEN l.chain = e.chain
          WHEN l.type IN ('question.started', 'question.answered', 'question.failed')
            THEN l.data ->> 'questionId' = e.data ->> 'questionId'
          ELSE false END)
      ORDER BY a.id`,
    values: [projectId, eventId, chainId],
  });
}

/** How far an attempt has got: the appends of its session, and its newest piece of live text, 0 for none. */
export interface LiveState {
  appends: number;
  text: number;
}

/** How far attempts have got by now, in one statement however many; one that is gone is absent. */
export async function readLiveStates(
  pool: Pool,
  attemptIds: readonly AttemptId[],
): Promise<Map<AttemptId, LiveState>> {
  const rows = await queryRows<LiveState & { attemptId: AttemptId }>(pool, {
    name: 'read_live_states',
    text: `SELECT a.id::text AS "attemptId", s.batches AS appends, coalesce(
             (SELECT max(c.ordinal) FROM session_chain.live_chunks c WHERE c.attempt_id = a.id), 0) AS text
           FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
           WHERE a.id = ANY ($1::bigint[])`,
    values: [attemptIds],
    query_timeout: 5_000,
  });
  return new Map(rows.map(({ attemptId, appends, text }) => [attemptId, { appends, text }]));
}
