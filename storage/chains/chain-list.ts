import { createHash } from 'node:crypto';
import type { FailureCode } from '../../contracts/failures.js';
import type { BuildId, ChainId, ProjectId, VersionId } from '../../contracts/ids.js';
import type { ChainState } from '../../contracts/chain.js';
import type { ChainStatus } from '../../contracts/steps.js';
import { type Parameter, type Pool, queryRows } from '../db/pool.js';
import { type ChainFacts, factColumns, factTables, stateOf } from './chain-state.js';
import { type ChainRow, chainColumns } from './chains.js';

/** Which chains are wanted; an absent field does not restrict them. */
export interface ChainConditions {
  projectId?: ProjectId;
  versionId?: VersionId;
  buildId?: BuildId;
  status?: readonly ChainStatus[];
  /** Asked for first at this moment or later. */
  since?: Date;
  /** Open, and without progress for this many ms. */
  stuckMs?: number;
  /** Failed with this code. */
  failureCode?: FailureCode;
}

/** A position in the list, after the chain that it names. */
export interface ListPlace {
  /** `created_at` in microseconds since 1970, which a Date would round. */
  createdAtUs: string;
  chainId: ChainId;
}

/** A chain of a list, with what other tables hold of it. */
export interface ListedChain {
  chain: ChainRow;
  state: ChainState;
  place: ListPlace;
  costUsd: number;
  attemptsOfUnknownCost: number;
  progressAt: Date;
  /** Whether an agent of it holds a lease that has not expired. */
  hasLiveAttempt: boolean;
  /** The activity of the host that was called and has not ended. */
  calledActivity: { taskQueue: string; since: Date } | null;
}

/**
 * Chains, newest first, from a position on: one statement whatever their number. Its text holds only the conditions
 * that apply, so that each combination gets a plan that uses its index.
 */
export async function listChains(
  pool: Pool,
  conditions: ChainConditions,
  { after, limit }: { after: ListPlace | null; limit: number },
): Promise<ListedChain[]> {
  const { name, text, values } = listQuery(conditions, after, limit);
  const rows = await queryRows<
    ChainRow &
      ChainFacts &
      Omit<ListedChain, 'chain' | 'state' | 'place' | 'calledActivity'> & {
        createdAtUs: string;
        taskQueue: string | null;
        calledAt: Date;
      }
  >(pool, { name, text, values });
  return rows.map(({ taskQueue, calledAt, createdAtUs, ...row }) => ({
    chain: row,
    state: stateOf(row, row),
    place: { createdAtUs, chainId: row.chainId },
    costUsd: row.costUsd,
    attemptsOfUnknownCost: row.attemptsOfUnknownCost,
    progressAt: row.progressAt,
    hasLiveAttempt: row.hasLiveAttempt,
    calledActivity: taskQueue === null ? null : { taskQueue, since: calledAt },
  }));
}

/** The statement of a list; a separate function so that a test can look at its plan. */
export function listQuery(
  { projectId, versionId, buildId, status, since, stuckMs, failureCode }: ChainConditions,
  after: ListPlace | null,
  limit: number,
): { name: string; text: string; values: Parameter[] } {
  const values: Parameter[] = [limit];
  const conditions: string[] = [];
  const add = (condition: (value: string) => string, ...given: Parameter[]) => {
    values.push(...given);
    conditions.push(condition(`$${values.length}`));
  };
  if (projectId !== undefined) add((value) => `c.project_id = ${value}`, projectId);
  if (versionId !== undefined) add((value) => `c.version_id = ${value}`, versionId);
  if (buildId !== undefined) add((value) => `c.build_id = ${value}`, buildId);
  const [one, ...others] = status ?? [];
  if (one !== undefined && others.length === 0) add((value) => `c.status = ${value}`, one);
  else if (status) add((value) => `c.status = ANY (${value}::text[])`, [...status]);
  if (since) add((value) => `c.created_at >= ${value}`, since);
  if (stuckMs !== undefined) {
    add(
      (value) => `c.status IN ('queued', 'running', 'waiting')
        AND ${progress} < clock_timestamp() - ${value} * interval '1 ms'`,
      stuckMs,
    );
  }
  if (failureCode !== undefined) add((value) => `c.result #>> '{failure,code}' = ${value}`, failureCode);
  if (after) {
    add(
      (value) =>
        `(c.created_at, c.id) < (timestamptz 'epoch' + $${values.length - 1}::bigint * interval '1 microsecond', ${value}::bigint)`,
      after.createdAtUs,
      after.chainId,
    );
  }
  const text = `
      WITH page AS MATERIALIZED (
        SELECT c.* FROM session_chain.chains c
        ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
        ORDER BY c.created_at DESC, c.id DESC LIMIT $1
      )
      SELECT ${columns}, ${factColumns}, ${progress} AS "progressAt",
        (extract(epoch FROM c.created_at) * 1000000)::bigint::text AS "createdAtUs",
        spent."costUsd", spent."attemptsOfUnknownCost",
        EXISTS (SELECT FROM session_chain.attempts a WHERE a.chain = c.id AND a.state = 'running'
          AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()) AS "hasLiveAttempt",
        called.task_queue AS "taskQueue", called.started_at AS "calledAt"
      FROM page c ${factTables}
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(m.cost_usd), 0) AS "costUsd",
          count(*) FILTER (WHERE m.cost_usd IS NULL) AS "attemptsOfUnknownCost"
        FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id WHERE a.chain = c.id
      ) spent
      LEFT JOIN session_chain.activity_steps called ON called.chain = c.id AND called.state = 'running'
      ORDER BY c.created_at DESC, c.id DESC`;
  // Of every combination a name of its own, within the 63 bytes that Postgres keeps of it.
  return {
    name: `list_chains_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`,
    text,
    values,
  };
}

/** Only the beginning of an instruction, which may be long. */
const columns = chainColumns.replace('c.instruction,', 'left(c.instruction, 1000) AS instruction,');

/**
 * When a chain `c` last made progress: it was asked for, opened or closed, an attempt or an activity of the host began
 * or ended, or an entry of a transcript was stored. An attempt that only waits for the model service does not count.
 */
const progress = `greatest(c.requested_at, c.opened_at, c.closed_at,
  (SELECT max(greatest(a.started_at, a.ended_at, s.appended_at)) FROM session_chain.attempts a
   JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
   WHERE a.chain = c.id AND a.state <> 'waiting'),
  (SELECT max(greatest(s.started_at, s.ended_at)) FROM session_chain.activity_steps s WHERE s.chain = c.id))`;
