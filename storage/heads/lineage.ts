import type { FailureCode } from '../../contracts/failures.js';
import type { BuildId, ChainId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { ChainStatus, StepKind, TransitionSource } from '../../contracts/steps.js';
import type { SessionFitness } from '../transcripts/store.js';
import { readHead } from './heads.js';
import { type Pool, queryRows } from '../db/pool.js';

/** A session of a project: one that was a head, or one beside the line of heads. */
export interface LineageNode {
  sessionId: SessionId;
  /** What it forked; null for a fresh one and where that is unknown. */
  parentSessionId: SessionId | null;
  /**
   * `head`: it is the head, or the head comes from it. `rewound`: it was the head until a rewind went back before it.
   * `side_branch`: an answer that never became head. `attempt`: a try of an operation that was not committed, or whose work
   * another one committed.
   */
  kind: 'head' | 'rewound' | 'side_branch' | 'attempt';
  /** Number of the transition that made it the head. */
  seq: number | null;
  /** Of a rewind: the number of the transition whose session it copied. */
  rewoundTo: number | null;
  source: TransitionSource | null;
  /** The head that it replaced. */
  oldSessionId: SessionId | null;
  versionId: VersionId | null;
  /** The step of a chain, or the source of an operation outside one; null for a session that is not in the journal. */
  step: string | null;
  /** What the step does, by the plan of its chain; null outside a chain. */
  stepKind: StepKind | null;
  /** One of {@link Lineage.chains}; null outside a chain. */
  chainId: ChainId | null;
  /** The question that it was to answer; null for anything else. */
  question: { questionId: string; chatId: string; messageId: string } | null;
  buildId: string | null;
  /** The journal's state; null for a session that is not in the journal. */
  state: 'running' | 'waiting' | 'failed' | 'committed' | null;
  /** Counts the attempts of its operation; null for a session that is not in the journal. */
  attempt: number | null;
  /** Why it failed, or what it waits for; null for anything else. */
  failureCode: FailureCode | null;
  /** The finished session of an earlier attempt that this attempt committed in place of its own. */
  adopts: SessionId | null;
  /** What its transcript is worth: a step can continue from a `whole` one. `empty`: nothing was written to it so far. */
  condition: SessionFitness | 'empty';
  /** Entries of its main transcript, those of the session that it forked included. */
  entries: number;
  /** Size of its context, as its last entry that states it says; null where none does. */
  contextTokens: number | null;
  /** What it cost itself, in US dollars; null where unknown, until it has ended, and outside the journal. */
  costUsd: number | null;
  createdAt: Date;
  /** When its attempt ended; null while it runs, and for a session that is not in the journal. */
  endedAt: Date | null;
}

/** A chain to which sessions of a lineage belong. */
export interface LineageChain {
  chainId: ChainId;
  versionId: VersionId;
  buildId: BuildId;
  status: ChainStatus;
  failureCode: FailureCode | null;
  /** Absolute path of the project's files, as the worker sees it. */
  workspace: string;
  createdAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
}

export interface Lineage {
  projectId: ProjectId;
  headSessionId: SessionId | null;
  /** The sessions in the order in which they began; the last `limit` heads, and what was forked beside them. */
  nodes: LineageNode[];
  /** The chains that wrote them, and the open ones, in the order in which they were asked for. */
  chains: LineageChain[];
  /** Whether older heads were left out. */
  isCut: boolean;
}

/** The sessions of a project and how they are related. Throws PROJECT_NOT_FOUND. */
export async function readLineage(pool: Pool, projectId: ProjectId, limit: number): Promise<Lineage> {
  const { sessionId: headSessionId, seq } = await readHead(pool, projectId);
  const oldest = Math.max((seq ?? 0) - limit, 0);
  const nodes = await queryRows<LineageNode>(pool, lineageQuery(projectId, oldest, seq));
  const chains = await queryRows<LineageChain>(pool, {
    name: 'read_lineage_chains',
    text: `SELECT id::text AS "chainId", version_id AS "versionId", build_id AS "buildId", status,
             result #>> '{failure,code}' AS "failureCode", workspace, created_at AS "createdAt", opened_at AS "openedAt", closed_at AS "closedAt"
           FROM session_chain.chains WHERE project_id = $1 AND (closed_at IS NULL OR id = ANY ($2::bigint[]))
           ORDER BY created_at, id`,
    values: [projectId, [...new Set(nodes.flatMap(({ chainId }) => chainId ?? []))]],
  });
  return { projectId, headSessionId, nodes, chains, isCut: oldest > 0 };
}

/** The statement; a separate function so that a test can look at its plan. */
export function lineageQuery(projectId: ProjectId, oldest: number, seq: number | null) {
  return {
    name: 'read_lineage',
    text: `
      WITH remembered AS MATERIALIZED (
        SELECT generate_series(greatest(l.low, $2::bigint), l.high) AS seq FROM session_chain.line_of_heads($1, $3) l),
      moved AS (
        SELECT t.*, r.seq IS NOT NULL AS is_remembered
        FROM session_chain.all_transitions($1) t LEFT JOIN remembered r ON r.seq = t.seq WHERE t.seq > $2
      ), line AS (
        -- Of a session that older writers made the head twice: the last time on the line, else the first time off it.
        SELECT DISTINCT ON (t.new_session_id) t.* FROM moved t
        ORDER BY t.new_session_id, t.is_remembered DESC, CASE WHEN t.is_remembered THEN -t.seq ELSE t.seq END
      ), since AS (SELECT min(created_at) AS at FROM line)
      SELECT coalesce(t.new_session_id, s.session_id) AS "sessionId",
        coalesce(t.parent_session_id, s.parent_session_id) AS "parentSessionId",
        CASE WHEN t.is_remembered THEN 'head'
             WHEN t.seq IS NOT NULL THEN 'rewound'
             WHEN a.step = 'chat_plan' AND a.state = 'committed' AND a.adopts IS NULL THEN 'side_branch'
             WHEN adopter.step = 'chat_plan' THEN 'side_branch' ELSE 'attempt' END AS kind,
        t.seq, t.rewound_to AS "rewoundTo", t.source, t.old_session_id AS "oldSessionId",
        coalesce(t.version_id, a.version_id) AS "versionId",
        coalesce(t.step, a.step) AS step, a.build_id AS "buildId", a.state, a.attempt, a.failure ->> 'code' AS "failureCode", a.adopts,
        (SELECT one ->> 'kind' FROM session_chain.chains c CROSS JOIN jsonb_array_elements(c.plan) AS one
          WHERE c.id = a.chain AND one ->> 'name' = a.step LIMIT 1) AS "stepKind",
        a.chain::text AS "chainId",
        (SELECT jsonb_build_object('questionId', q.question_id::text, 'chatId', q.session_id::text, 'messageId', q.message_id)
          FROM project_chat_log_minimal q
          WHERE q.question_id = substring(a.build_id FROM '^chat:(\\d{1,18})$')::bigint) AS question,
        CASE WHEN s.batches = 0 AND s.given_up_at IS NULL AND t.seq IS NULL AND adopter.id IS NULL THEN 'empty'
             ELSE session_chain.session_fitness($1, coalesce(t.new_session_id, s.session_id)) END AS condition,
        coalesce(s.entries, 0) AS entries, nullif(s.context_tokens, 0) AS "contextTokens", m.cost_usd AS "costUsd",
        coalesce(a.started_at, s.created_at, t.created_at) AS "createdAt", a.ended_at AS "endedAt"
      FROM line t
      FULL JOIN (SELECT * FROM session_chain.sessions WHERE project_id = $1) s ON s.session_id = t.new_session_id
      LEFT JOIN session_chain.attempts a ON a.project_id = $1 AND a.session_id = s.session_id
      LEFT JOIN session_chain.attempts adopter ON adopter.project_id = $1 AND adopter.adopts = s.session_id
        AND adopter.state = 'committed'
      LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
      WHERE t.seq IS NOT NULL
        OR (coalesce(a.started_at, s.created_at) >= (SELECT at FROM since) - interval '1 hour'
          AND NOT EXISTS (SELECT FROM session_chain.all_transitions($1) o
            WHERE o.new_session_id = s.session_id AND o.seq <= $2))
        OR (SELECT at FROM since) IS NULL
      ORDER BY coalesce(a.started_at, s.created_at, t.created_at), t.seq, "sessionId"`,
    values: [projectId, oldest, seq],
  };
}
