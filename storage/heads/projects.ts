import type { Head } from '../../contracts/chain.js';
import type { FailureCode } from '../../contracts/failures.js';
import type { ChainId, ChainKey, ProjectId, VersionId } from '../../contracts/ids.js';
import type { ChainStatus } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';
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

interface LastChain {
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
}

/** Projects by their ids, from one on: two statements whatever their number. */
export async function listProjects(
  pool: Pool,
  conditions: ProjectConditions,
  { after, limit }: { after: ProjectId | null; limit: number },
): Promise<ProjectSummary[]> {
  const rows = await queryRows<Omit<ProjectSummary, 'reasons' | 'lastChain'> & LastChainRow>(
    pool,
    projectsQuery(conditions, after, limit),
  );
  const drift = await driftOf(
    pool,
    rows.map(({ projectId }) => projectId),
  );
  return rows.map(
    ({ chain, chainVersionId, buildId, status, failureCode, createdAt, closedAt, ...project }) => ({
      ...project,
      reasons: drift.get(project.projectId) ?? [],
      lastChain:
        chain === null
          ? null
          : {
              projectId: project.projectId,
              versionId: chainVersionId,
              ...{ buildId, status, failureCode, createdAt, closedAt },
            },
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
  { projectIds, inSync, status }: ProjectConditions,
  after: ProjectId | null,
  limit: number,
) {
  return {
    // Planned for what it asks.
    text: `
      WITH page AS MATERIALIZED (
        SELECT * FROM session_chain.project_overview o
        WHERE ($1::text IS NULL OR o.project_id > $1) AND ($2::text[] IS NULL OR o.project_id = ANY ($2))
          AND ($3::boolean IS NULL OR o.in_sync = $3) AND ($4::text[] IS NULL OR o.chain_status = ANY ($4))
        ORDER BY o.project_id LIMIT $5
      )
      SELECT o.project_id AS "projectId", jsonb_build_object('sessionId', o.head_session_id, 'seq', o.head_seq) AS head,
        o.head_moved_at AS "headMovedAt", o.version_id AS "versionId", o.in_sync AS "inSync", o.chain::text AS chain,
        o.open_chains AS "openChains", o.cost_usd AS "costUsd", o.attempts_of_unknown_cost AS "attemptsOfUnknownCost",
        c.version_id AS "chainVersionId", c.build_id AS "buildId", c.status, c.result #>> '{failure,code}' AS "failureCode",
        c.created_at AS "createdAt", c.closed_at AS "closedAt"
      FROM page o LEFT JOIN session_chain.chains c ON c.id = o.chain ORDER BY o.project_id`,
    values: [after, projectIds, inSync, status, limit],
  };
}
