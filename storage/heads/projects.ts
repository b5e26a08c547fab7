import type { Head } from '../../contracts/chain.js';
import type { FailureCode } from '../../contracts/failures.js';
import type { ChainId, ChainKey, ProjectId, VersionId } from '../../contracts/ids.js';
import type { ChainStatus } from '../../contracts/steps.js';
import { type Parameter, type Pool, queryRows } from '../db/pool.js';
import { type DriftReason, driftOf } from './sync.js';

/** A project in a list. */
export interface ProjectSummary {
  projectId: ProjectId;
  head: Head;
  /** When the head moved last. */
  headMovedAt: Date | null;
  /** Its newest version. */
  versionId: VersionId | null;
  /** Whether the newest version names the head; null without a head or a version. */
  inSync: boolean | null;
  /** Why it drifted, without a look at its checkpoints; empty where it did not. */
  reasons: DriftReason[];
  /** Its newest chain; null before the first. */
  lastChain: (ChainKey & LastChain) | null;
  /** Chains that have not ended. */
  openChains: number;
  /** US dollars, over all its attempts, as far as they are known. */
  costUsd: number;
  attemptsOfUnknownCost: number;
}

export interface LastChain {
  status: ChainStatus;
  failureCode: FailureCode | null;
  createdAt: Date;
  closedAt: Date | null;
}

/** Which projects are wanted; null does not restrict them. */
export interface ProjectConditions {
  projectIds: readonly ProjectId[] | null;
  inSync: boolean | null;
  /** Of the newest chain. */
  status: readonly ChainStatus[] | null;
  /** A part of the id, whatever its case. */
  search: string | null;
}

/** `moved`: the head that moved last comes first, then projects whose head never moved. */
export const projectOrders = ['id', 'moved'] as const;
export type ProjectOrder = (typeof projectOrders)[number];

/** A place in the list, after the project that it names. */
export interface ProjectPlace {
  projectId: ProjectId;
  /** When its head moved last, in microseconds since 1970, which a Date would round; null where it never did. */
  movedUs: string | null;
}

export interface ProjectsFrom {
  order: ProjectOrder;
  after: ProjectPlace | null;
  limit: number;
}

/** Projects in an order, from a place on: two statements whatever their number. */
export async function listProjects(
  pool: Pool,
  conditions: ProjectConditions,
  from: ProjectsFrom,
): Promise<{ project: ProjectSummary; place: ProjectPlace }[]> {
  const rows = await queryRows<Omit<ProjectSummary, 'reasons' | 'lastChain'> & LastChainRow & ProjectPlace>(
    pool,
    projectsQuery(conditions, from),
  );
  const drift = await driftOf(
    pool,
    rows.map(({ projectId }) => projectId),
  );
  return rows.map(
    ({
      chain,
      chainVersionId,
      buildId,
      status,
      failureCode,
      createdAt,
      closedAt,
      movedUs,
      projectId,
      ...project
    }) => ({
      project: {
        projectId,
        ...project,
        reasons: drift.get(projectId) ?? [],
        lastChain:
          chain === null
            ? null
            : {
                projectId,
                versionId: chainVersionId,
                ...{ buildId, status, failureCode, createdAt, closedAt },
              },
      },
      place: { projectId, movedUs },
    }),
  );
}

type LastChainRow = LastChain & {
  chain: ChainId | null;
  chainVersionId: VersionId;
  buildId: ChainKey['buildId'];
};

/** The first statement of a list; a separate function so that a test can look at its plan. */
export function projectsQuery(
  { projectIds, inSync, status, search }: ProjectConditions,
  { order, after, limit }: ProjectsFrom,
) {
  const values: Parameter[] = [limit];
  const conditions: string[] = [];
  const add = (condition: (value: string) => string, value: Parameter | null) => {
    if (value === null) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  // As idx_projects_moved has it.
  const moved = `coalesce(p.last_ai_session_updated_at, '-infinity')`;
  if (after && order === 'moved') {
    values.push(after.movedUs);
    const at = `coalesce(timestamptz 'epoch' + $${values.length}::bigint * interval '1 microsecond', '-infinity')`;
    add(
      (value) =>
        `${moved} <= ${at} AND (${moved} < ${at} OR p.project_id > session_chain.project_key(${value}))`,
      after.projectId,
    );
  } else {
    add((value) => `p.project_id > session_chain.project_key(${value})`, after?.projectId ?? null);
  }
  add((value) => `strpos(lower(p.project_id::text), lower(${value})) > 0`, search);
  add(
    (value) =>
      `p.project_id = ANY (ARRAY(SELECT session_chain.project_key(one.id) FROM unnest(${value}::text[]) AS one (id)))`,
    projectIds,
  );
  add((value) => `s.in_sync = ${value}`, inSync);
  add((value) => `n.status = ANY (${value}::text[])`, status);
  const inOrder = order === 'moved' ? `${moved} DESC, p.project_id` : 'p.project_id';
  return {
    // Without a name: planned for what it asks.
    text: `
      WITH page AS MATERIALIZED (
        SELECT p.project_id::text AS id, p.last_ai_session_id AS head, p.session_seq AS seq, p.last_ai_session_updated_at AS moved_at,
          v.version_id, s.in_sync, n.id AS chain, row_number() OVER (ORDER BY ${inOrder}) AS place
        FROM projects p
        LEFT JOIN LATERAL (SELECT v.version_id, v.ai_session_id FROM project_versions v
          WHERE v.project_id = p.project_id ORDER BY v.created_at DESC LIMIT 1) v ON true
        CROSS JOIN LATERAL (SELECT CASE WHEN p.last_ai_session_id IS NOT NULL AND v.version_id IS NOT NULL
          THEN p.last_ai_session_id IS NOT DISTINCT FROM v.ai_session_id END AS in_sync) s
        LEFT JOIN LATERAL (SELECT c.id, c.status FROM session_chain.chains c
          WHERE c.project_id = p.project_id::text ORDER BY c.created_at DESC, c.id DESC LIMIT 1) n ON true
        WHERE ${[...conditions, 'true'].join(' AND ')}
        ORDER BY ${inOrder} LIMIT $1
      )
      SELECT o.id AS "projectId", jsonb_build_object('sessionId', o.head::text, 'seq', o.seq) AS head, o.moved_at AS "headMovedAt",
        (extract(epoch FROM o.moved_at::timestamptz) * 1000000)::bigint::text AS "movedUs",
        o.version_id::text AS "versionId", o.in_sync AS "inSync", o.chain::text AS chain,
        (SELECT count(*)::integer FROM session_chain.chains c WHERE c.project_id = o.id AND c.closed_at IS NULL) AS "openChains",
        spent.*, c.version_id AS "chainVersionId", c.build_id AS "buildId", c.status, c.result #>> '{failure,code}' AS "failureCode",
        c.created_at AS "createdAt", c.closed_at AS "closedAt"
      FROM page o LEFT JOIN session_chain.chains c ON c.id = o.chain
      CROSS JOIN LATERAL (
        SELECT sum(one.cost_usd) AS "costUsd", sum(one.unknown)::integer AS "attemptsOfUnknownCost" FROM (
          SELECT coalesce(sum(m.cost_usd), 0) AS cost_usd, count(*) FILTER (WHERE m.cost_usd IS NULL) AS unknown
          FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id WHERE a.project_id = o.id
          UNION ALL
          SELECT coalesce(sum(d.cost_usd), 0), coalesce(sum(d.attempts_of_unknown_cost), 0)
          FROM session_chain.spend_days d WHERE d.project_id = o.id AND d.model IS NULL
        ) one
      ) spent
      ORDER BY o.place`,
    values,
  };
}
