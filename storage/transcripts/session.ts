import type { Usage } from '../../contracts/chain.js';
import type { Failure } from '../../contracts/failures.js';
import type { AttemptId, BuildId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';

/** A session, and what wrote it. */
export interface SessionDetails {
  projectId: ProjectId;
  sessionId: SessionId;
  /** The session that it forked; null for a fresh one and where that is unknown. */
  parentSessionId: SessionId | null;
  /**
   * `whole`: a step can continue from it. `hole`: entries are missing. `quarantined`: a step could not load it. `archived`: it is in the archive alone; a step restores it first. `lost`: nothing of
   * it is in the store any more. `unknown`: nothing of it ever was.
   */
  condition: 'whole' | 'hole' | 'quarantined' | 'archived' | 'lost' | 'unknown';
  /** Why it was quarantined. */
  quarantineReason: string | null;
  /** Entries of its main conversation; its subagents have their own. */
  entries: number;
  /** Tokens in its context at its end. */
  contextTokens: number;
  /** When its first entry was stored, and its last one. */
  createdAt: Date | null;
  appendedAt: Date | null;
  isHead: boolean;
  /** The transition that made it the head, the last one; null where none did. */
  transition: { seq: number; source: TransitionSource; at: Date } | null;
  /** The attempt that wrote it; null for a session that is not in the journal. */
  attempt: SessionAttempt | null;
  /** The attempt that committed it in place of its own session. */
  adoptedBy: { attemptId: AttemptId; sessionId: SessionId } | null;
  /** The sessions that forked it, the newest first, at most 100. */
  forks: { sessionId: SessionId; step: string | null }[];
}

/** An attempt, as a session that it wrote shows it. */
export interface SessionAttempt {
  attemptId: AttemptId;
  /** The step of a chain, or the source of an operation outside one. */
  step: string;
  round: number;
  attempt: number;
  state: 'running' | 'waiting' | 'failed' | 'committed';
  /** Of a chain; null outside one. */
  versionId: VersionId | null;
  buildId: BuildId | null;
  /** Of an answer. */
  question: { chatId: string; messageId: string } | null;
  startedAt: Date;
  endedAt: Date | null;
  failure: Failure | null;
  model: string | null;
  /** Of its own; null while it runs and where they are unknown. */
  turns: number | null;
  usage: Usage | null;
  costUsd: number | null;
}

/** What is known of a session; null where nothing is. */
export async function readSession(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<SessionDetails | null> {
  const [row] = await queryRows<
    SessionDetails & { isKnown: boolean; attemptAt: Date; endedAt: Date | null; movedAt: Date }
  >(pool, {
    name: 'read_session',
    text: `
      SELECT $1 AS "projectId", $2 AS "sessionId", coalesce(s.parent_session_id, t.parent_session_id) AS "parentSessionId",
        session_chain.session_fitness($1, $2) AS condition, s.quarantine_reason AS "quarantineReason",
        coalesce(s.entries, 0) AS entries, coalesce(s.context_tokens, 0) AS "contextTokens",
        s.created_at AS "createdAt", s.appended_at AS "appendedAt",
        EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key($1)
          AND p.last_ai_session_id = $2) AS "isHead",
        CASE WHEN t.seq IS NOT NULL THEN jsonb_build_object('seq', t.seq, 'source', t.source) END AS transition,
        t.created_at AS "movedAt",
        CASE WHEN a.id IS NOT NULL THEN jsonb_build_object('attemptId', a.id::text, 'step', a.step, 'round', a.round,
          'attempt', a.attempt, 'state', a.state, 'versionId', CASE WHEN a.chain IS NOT NULL THEN a.version_id END,
          'buildId', CASE WHEN a.chain IS NOT NULL THEN a.build_id END,
          'question', (SELECT jsonb_build_object('chatId', l.session_id::text, 'messageId', l.message_id)
            FROM project_chat_log_minimal l WHERE l.question_id = substring(a.build_id FROM '^chat:(\\d+)$')::bigint),
          'failure', a.failure, 'model', m.model, 'turns', m.turns, 'costUsd', m.cost_usd,
          'usage', CASE WHEN m.attempt_id IS NOT NULL THEN jsonb_build_object('inputTokens', m.input_tokens,
            'outputTokens', m.output_tokens, 'cacheReadTokens', m.cache_read_tokens,
            'cacheWriteTokens', m.cache_write_tokens) END) END AS attempt,
        a.started_at AS "attemptAt", a.ended_at AS "endedAt",
        (SELECT jsonb_build_object('attemptId', o.id::text, 'sessionId', o.session_id) FROM session_chain.attempts o
          WHERE o.project_id = $1 AND o.adopts = $2 ORDER BY o.id DESC LIMIT 1) AS "adoptedBy",
        coalesce((SELECT jsonb_agg(jsonb_build_object('sessionId', f.session_id, 'step', f.step) ORDER BY f.id DESC) FROM (
          SELECT c.id, c.session_id, b.step FROM session_chain.sessions c
          LEFT JOIN session_chain.attempts b ON b.project_id = $1 AND b.session_id = c.session_id
          WHERE c.project_id = $1 AND c.parent_session_id = $2 ORDER BY c.id DESC LIMIT 100) f), '[]') AS forks,
        (s.id IS NOT NULL OR t.seq IS NOT NULL) AS "isKnown"
      FROM (SELECT) AS one
      LEFT JOIN session_chain.sessions s ON s.project_id = $1 AND s.session_id = $2
      LEFT JOIN session_chain.attempts a ON a.project_id = $1 AND a.session_id = $2
      LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
      LEFT JOIN LATERAL (SELECT * FROM session_chain.all_transitions($1) o
        WHERE o.new_session_id = $2 AND o.seq IS NOT NULL
        ORDER BY o.seq DESC LIMIT 1) t ON true`,
    values: [projectId, sessionId],
  });
  if (!row?.isKnown) return null;
  const { isKnown: _, attemptAt, endedAt, movedAt, ...session } = row;
  return {
    ...session,
    transition: session.transition && { ...session.transition, at: movedAt },
    attempt: session.attempt && { ...session.attempt, startedAt: attemptAt, endedAt },
  };
}
