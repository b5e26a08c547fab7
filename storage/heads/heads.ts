import type { Head } from '../../contracts/chain.js';
import type { AttemptId, ChainId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';
import { projectNotFound } from './errors.js';

/** The project's head. Throws PROJECT_NOT_FOUND. */
export async function readHead(pool: Pool, projectId: ProjectId): Promise<Head> {
  const [row] = await queryRows<Head>(pool, {
    name: 'read_head',
    text: `SELECT last_ai_session_id AS "sessionId", session_seq AS seq
           FROM projects WHERE project_id = session_chain.project_key($1)`,
    values: [projectId],
  });
  if (row) return row;
  throw projectNotFound(projectId);
}

/** A head together with what works on it, at one point in time. */
export interface HeadSnapshot {
  head: Head;
  /** The chain that holds the project. */
  holder: { chainId: ChainId; workflowId: string; ticket: number } | null;
  /** The attempt whose agent is at work; one whose lease has expired does not count. */
  running: { attemptId: AttemptId; step: string } | null;
}

/** Of each project that exists the head, the holder and its running attempt, read in one statement. */
export async function readHeadSnapshots(
  pool: Pool,
  projectIds: readonly ProjectId[],
): Promise<Map<ProjectId, HeadSnapshot>> {
  const rows = await queryRows<
    Head & {
      projectId: ProjectId;
      chainId: ChainId | null;
      workflowId: string;
      ticket: number;
      attemptId: AttemptId | null;
      step: string;
    }
  >(pool, {
    name: 'read_head_snapshots',
    text: `SELECT one.id AS "projectId", p.last_ai_session_id AS "sessionId", p.session_seq AS seq,
             h.id::text AS "chainId", h.workflow_id AS "workflowId", h.ticket, a.id::text AS "attemptId", a.step
           FROM unnest($1::text[]) AS one (id)
           JOIN projects p ON p.project_id = session_chain.project_key(one.id)
           LEFT JOIN LATERAL session_chain.holder_of(one.id) h ON true
           LEFT JOIN LATERAL (
             SELECT * FROM session_chain.attempts a WHERE a.chain = h.id AND a.state = 'running'
               AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()
             ORDER BY a.id DESC LIMIT 1) a ON true`,
    values: [projectIds],
    // All that wait do so for this answer.
    query_timeout: 10_000,
  });
  return new Map(
    rows.map(({ projectId, sessionId, seq, chainId, workflowId, ticket, attemptId, step }) => [
      projectId,
      {
        head: { sessionId, seq },
        holder: chainId === null ? null : { chainId, workflowId, ticket },
        running: attemptId === null ? null : { attemptId, step },
      },
    ]),
  );
}

/** The project's latest session, null for none. */
export async function getProjectSession(pool: Pool, projectId: ProjectId): Promise<SessionId | null> {
  return (await readHead(pool, projectId)).sessionId;
}

/** The warning to a caller whose operation found the head moved outside. */
export function adoptionWarning(adopted: SessionId): string {
  return `The head had been moved outside to ${adopted}; it was adopted as an import.`;
}

/** One move of a head; a row of `session_transitions` or of its archive. Rows from before session-chain have neither seq nor parent. */
export interface Transition {
  seq: number | null;
  source: TransitionSource;
  step: string | null;
  versionId: VersionId | null;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  /** What was forked; null for a session that started fresh. */
  parentSessionId: SessionId | null;
  /** Of a rewind: the number of the transition whose session it copied. */
  rewoundTo: number | null;
  createdAt: Date;
}

/** Where a page of transitions begins: below a number, and past so many that have none, which come last. */
export interface TransitionPlace {
  before: number | null;
  skip: number;
}

/** The moves of a project's head, newest first. */
export async function listTransitions(
  pool: Pool,
  projectId: ProjectId,
  limit: number,
  { before, skip }: TransitionPlace = { before: null, skip: 0 },
): Promise<Transition[]> {
  return await queryRows<Transition>(pool, {
    name: 'list_transitions',
    text: `SELECT seq, source, step, version_id AS "versionId", old_session_id AS "oldSessionId", new_session_id AS "newSessionId",
             parent_session_id AS "parentSessionId", rewound_to AS "rewoundTo", created_at AS "createdAt"
           FROM session_chain.all_transitions($1)
           WHERE $3::bigint IS NULL OR seq < $3 OR seq IS NULL
           ORDER BY seq DESC NULLS LAST, created_at DESC, length(id) DESC, id DESC LIMIT $2 OFFSET $4`,
    values: [projectId, limit, before, skip],
  });
}

/**
 * The true lineage of the head, the newest session first: each one followed by the one it replaced, a rewind by the one that
 * it copied.
 */
export async function getSessionChain(pool: Pool, projectId: ProjectId): Promise<SessionId[]> {
  const rows = await queryRows<{ id: SessionId }>(pool, {
    name: 'session_chain',
    text: `WITH line AS (
             SELECT * FROM session_chain.all_transitions($1) t WHERE t.seq IN (
               SELECT generate_series(l.low, l.high) FROM projects p
               CROSS JOIN LATERAL session_chain.line_of_heads($1, p.session_seq) l
               WHERE p.project_id = session_chain.project_key($1))
           )
           SELECT id FROM (
             SELECT seq, new_session_id AS id FROM line
             UNION ALL
             SELECT seq - 1, old_session_id FROM line WHERE prev_seq IS NULL AND old_session_id IS NOT NULL
           ) sessions ORDER BY seq DESC`,
    values: [projectId],
  });
  return rows.map((row) => row.id);
}
