import type { Brief, BriefPart } from '../../contracts/brief.js';
import type { BuildId, ChainId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';

/** What the database knows of a project's past, for a session that does not. */
export interface ProjectPast {
  /** The newest metadata, with the version that it describes; null where none was ever submitted. */
  metadata: { versionId: VersionId; value: unknown } | null;
  /** What callers asked of the last builds, oldest first. */
  requests: { versionId: VersionId; buildId: BuildId; instruction: string }[];
  /** The last moves of the head, oldest first. */
  operations: PastOperation[];
}

export interface PastOperation {
  seq: number;
  source: TransitionSource;
  versionId: VersionId | null;
  createdAt: Date;
}

/** The past of a project before a chain of it, as far as its head comes from it: its last 10 requests and 20 operations. */
export async function readPast(pool: Pool, projectId: ProjectId, chainId: ChainId): Promise<ProjectPast> {
  const [metadata, requests, operations] = await Promise.all([
    queryRows<{ versionId: VersionId; value: unknown }>(pool, {
      name: 'latest_metadata',
      text: `SELECT version_id::text AS "versionId", ai_metadata AS value FROM project_versions
             WHERE project_id = session_chain.project_key($1) AND ai_metadata IS NOT NULL
               -- The last submitted value, where a rewind took that back.
               AND coalesce((SELECT NOT session_chain.is_rewound($1, coalesce(a.adopts, a.session_id)) FROM session_chain.attempts a
                 WHERE a.project_id = $1 AND a.version_id = project_versions.version_id::text AND a.state = 'committed'
                   AND a.value IS NOT NULL ORDER BY a.id DESC LIMIT 1), true)
             ORDER BY created_at DESC LIMIT 1`,
      values: [projectId],
    }),
    queryRows<ProjectPast['requests'][number]>(pool, {
      name: 'past_requests',
      text: `SELECT version_id AS "versionId", build_id AS "buildId", instruction FROM session_chain.chains c
             WHERE project_id = $1 AND id < $2 AND instruction IS NOT NULL AND EXISTS (
               SELECT FROM session_chain.attempts a WHERE a.chain = c.id AND a.role = 'build' AND a.state = 'committed'
                 AND NOT session_chain.is_rewound($1, coalesce(a.adopts, a.session_id)))
             ORDER BY id DESC LIMIT 10`,
      values: [projectId, chainId],
    }),
    lastOperations(pool, projectId, 0, 20),
  ]);
  return { metadata: metadata[0] ?? null, requests: requests.reverse(), operations };
}

/**
 * The moves of the head after the one that made a session the head: what a session that continued from it does not
 * know. What a rewind took back is not among them.
 */
export async function operationsSince(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<PastOperation[]> {
  const { seq } = await queryOne<{ seq: number }>(pool, {
    name: 'seq_of_session',
    // A session that never was head, such as the unfinished one of a killed attempt, comes before the first that forked
    // it.
    text: `SELECT coalesce(
             (SELECT max(t.seq) FROM session_chain.all_transitions($1) t WHERE t.new_session_id = $2),
             (SELECT min(t.seq) FROM session_chain.all_transitions($1) t WHERE t.parent_session_id = $2),
             0)::bigint AS seq`,
    values: [projectId, sessionId],
  });
  return await lastOperations(pool, projectId, seq, 20);
}

/** Operations that a rewind took back, for a build that continues from the head. */
export interface RewoundOperations {
  /** The last 20, oldest first. */
  operations: PastOperation[];
  /** Their number. */
  count: number;
}

/**
 * The operations that rewinds took off the line of the head since the last build on it, which was told about those
 * before.
 */
export async function rewoundOperations(pool: Pool, projectId: ProjectId): Promise<RewoundOperations> {
  const newestFirst = await queryRows<PastOperation & { count: number }>(pool, {
    name: 'rewound_operations',
    text: `WITH line AS MATERIALIZED (
             SELECT l.* FROM projects p CROSS JOIN LATERAL session_chain.line_of_heads($1, p.session_seq) l
             WHERE p.project_id = session_chain.project_key($1)
           ), transition AS (
             SELECT t.*, known.seq IS NOT NULL AS is_known
             FROM session_chain.all_transitions($1) t
             LEFT JOIN (SELECT generate_series(l.low, l.high) AS seq FROM line l) known ON known.seq = t.seq
             WHERE
               -- Nothing before the first rewind's target is off the line.
               t.seq > (SELECT min(l.high) FROM line l)
           )
           SELECT t.seq, t.source, t.version_id AS "versionId", t.created_at AS "createdAt", count(*) OVER () AS count
           FROM transition t WHERE NOT t.is_known AND t.rewound_to IS NULL AND t.seq > coalesce((
             SELECT max(b.seq) FROM transition b JOIN session_chain.attempts a ON a.id = b.attempt_id
             WHERE b.is_known AND a.role = 'build'), 0)
           ORDER BY t.seq DESC LIMIT 20`,
    values: [projectId],
  });
  const operations = newestFirst.map(({ count: _, ...operation }) => operation).reverse();
  return { operations, count: newestFirst[0]?.count ?? 0 };
}

async function lastOperations(
  pool: Pool,
  projectId: ProjectId,
  afterSeq: number,
  limit: number,
): Promise<PastOperation[]> {
  const newestFirst = await queryRows<PastOperation>(pool, {
    name: 'last_operations',
    text: `SELECT t.seq, t.source, t.version_id AS "versionId", t.created_at AS "createdAt"
           FROM session_chain.all_transitions($1) t
           WHERE t.seq > $2 AND t.seq IN (
             SELECT generate_series(l.low, l.high) FROM projects p
             CROSS JOIN LATERAL session_chain.line_of_heads($1, p.session_seq) l
             WHERE p.project_id = session_chain.project_key($1))
           ORDER BY t.seq DESC LIMIT $3`,
    values: [projectId, afterSeq, limit],
  });
  return newestFirst.reverse();
}

/** Stores a brief; the first one for a head stays, and is returned. */
export async function keepBrief(
  pool: Pool,
  chainId: ChainId,
  brief: { headSessionId: SessionId; content: string; parts: BriefPart[] },
): Promise<Brief> {
  await queryRows(pool, {
    name: 'keep_brief',
    text: `INSERT INTO session_chain.briefs (chain, head_session_id, content, parts) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING`,
    values: [chainId, brief.headSessionId, brief.content, jsonbOf(brief.parts)],
  });
  const kept = await readBrief(pool, chainId, brief.headSessionId);
  if (kept) return kept;
  throw new Error(`The brief of the chain ${chainId} is not in the database.`);
}

/** What a chain was told in place of the memory of a head; null where it was told nothing. */
export async function readBrief(
  pool: Pool,
  chainId: ChainId,
  headSessionId: SessionId,
): Promise<Brief | null> {
  const [brief] = await queryRows<Brief>(pool, {
    name: 'read_brief',
    text: `SELECT head_session_id AS "headSessionId", content, parts, created_at AS "createdAt"
           FROM session_chain.briefs WHERE chain = $1 AND head_session_id = $2`,
    values: [chainId, headSessionId],
  });
  return brief ?? null;
}
