import type { ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
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
  buildId: string | null;
  /** The journal's state; null for a session that is not in the journal. */
  state: 'running' | 'waiting' | 'failed' | 'committed' | null;
  /** Whether its transcript is whole: a step can continue from it. */
  isWhole: boolean;
  createdAt: Date;
}

export interface Lineage {
  projectId: ProjectId;
  headSessionId: SessionId | null;
  /** The sessions in the order in which they began; the last `limit` heads, and what was forked beside them. */
  nodes: LineageNode[];
  /** Whether older heads were left out. */
  isCut: boolean;
}

/** The sessions of a project and how they are related. Throws PROJECT_NOT_FOUND. */
export async function readLineage(pool: Pool, projectId: ProjectId, limit: number): Promise<Lineage> {
  const { sessionId: headSessionId, seq } = await readHead(pool, projectId);
  const oldest = Math.max((seq ?? 0) - limit, 0);
  const nodes = await queryRows<LineageNode>(pool, {
    name: 'read_lineage',
    text: `
      WITH remembered AS MATERIALIZED (SELECT * FROM session_chain.line_of_heads($1, $3)),
      moved AS (
        SELECT t.*, EXISTS (SELECT FROM remembered r WHERE t.seq BETWEEN r.low AND r.high) AS is_remembered
        FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key($1) AND t.seq > $2
      ), line AS (
        -- Of a session that older writers made the head twice: the last time on the line, else the first time off it.
        SELECT DISTINCT ON (t.new_session_id) t.* FROM moved t
        ORDER BY t.new_session_id, t.is_remembered DESC, CASE WHEN t.is_remembered THEN -t.seq ELSE t.seq END
      ), since AS (SELECT min(created_at) AS at FROM line)
      SELECT coalesce(t.new_session_id::text, s.session_id) AS "sessionId",
        coalesce(t.parent_session_id::text, s.parent_session_id) AS "parentSessionId",
        CASE WHEN t.is_remembered THEN 'head'
             WHEN t.seq IS NOT NULL THEN 'rewound'
             WHEN a.step = 'chat_plan' AND a.state = 'committed' AND a.adopts IS NULL THEN 'side_branch'
             WHEN adopter.step = 'chat_plan' THEN 'side_branch' ELSE 'attempt' END AS kind,
        t.seq, t.rewound_to AS "rewoundTo", t.source, t.old_session_id::text AS "oldSessionId",
        coalesce(t.version_id::text, a.version_id) AS "versionId",
        coalesce(t.step, a.step) AS step, a.build_id AS "buildId", a.state,
        session_chain.session_fitness($1, coalesce(t.new_session_id::text, s.session_id)) = 'whole' AS "isWhole",
        coalesce(a.started_at, s.created_at, t.created_at) AS "createdAt"
      FROM line t
      FULL JOIN (SELECT * FROM session_chain.sessions WHERE project_id = $1) s ON s.session_id = t.new_session_id
      LEFT JOIN session_chain.attempts a ON a.project_id = $1 AND a.session_id = s.session_id
      LEFT JOIN session_chain.attempts adopter ON adopter.project_id = $1 AND adopter.adopts = s.session_id
        AND adopter.state = 'committed'
      WHERE t.seq IS NOT NULL
        OR (coalesce(a.started_at, s.created_at) >= (SELECT at FROM since) - interval '1 hour'
          AND NOT EXISTS (SELECT FROM session_transitions o
            WHERE o.project_id = session_chain.transition_project_key($1) AND o.new_session_id = s.session_id AND o.seq <= $2))
        OR (SELECT at FROM since) IS NULL
      ORDER BY coalesce(a.started_at, s.created_at, t.created_at), t.seq`,
    values: [projectId, oldest, seq],
  });
  return { projectId, headSessionId, nodes, isCut: oldest > 0 };
}
