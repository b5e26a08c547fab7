import { createHash } from 'node:crypto';
import type { FailureCode } from '../../contracts/failures.js';
import type { BuildId, ChainId, ProjectId, VersionId } from '../../contracts/ids.js';
import type { ChainState } from '../../contracts/chain.js';
import type { ChainStatus } from '../../contracts/steps.js';
import type { WaitKind } from '../../contracts/waiting.js';
import { type Parameter, type Pool, queryRows } from '../db/pool.js';
import { type ChainFacts, factColumns, factTables, stateOf } from './chain-state.js';
import { type ChainRow, chainColumns } from './chains.js';

/** Which chains are wanted; an absent field does not restrict them. */
export interface ChainConditions {
  projectIds?: readonly ProjectId[];
  versionId?: VersionId;
  buildId?: BuildId;
  status?: readonly ChainStatus[];
  /** Open, and waiting for one of these. */
  waitingFor?: readonly WaitKind[];
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
  /** What it waits for; null while an agent works, and once it is closed. */
  waitKind: WaitKind | null;
  /** The activity of the host that was called and has not ended. */
  called: { activity: string; taskQueue: string } | null;
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
      Omit<ListedChain, 'chain' | 'state' | 'place' | 'called'> & {
        createdAtUs: string;
        activity: string | null;
        taskQueue: string;
      }
  >(pool, { name, text, values });
  return rows.map(({ activity, taskQueue, createdAtUs, ...row }) => ({
    chain: row,
    state: stateOf(row, row),
    place: { createdAtUs, chainId: row.chainId },
    costUsd: row.costUsd,
    attemptsOfUnknownCost: row.attemptsOfUnknownCost,
    progressAt: row.progressAt,
    waitKind: row.waitKind,
    called: activity === null ? null : { activity, taskQueue },
  }));
}

/** The statement of a list; a separate function so that a test can look at its plan. */
export function listQuery(
  { projectIds, versionId, buildId, status, waitingFor, since, stuckMs, failureCode }: ChainConditions,
  after: ListPlace | null,
  limit: number,
): { name: string; text: string; values: Parameter[] } {
  const values: Parameter[] = [limit];
  const conditions: string[] = [];
  const add = (condition: (value: string) => string, ...given: Parameter[]) => {
    values.push(...given);
    conditions.push(condition(`$${values.length}`));
  };
  const addOneOf = (column: string, given: readonly string[]) => {
    const [one, ...others] = given;
    if (one !== undefined && others.length === 0) add((value) => `${column} = ${value}`, one);
    else add((value) => `${column} = ANY (${value}::text[])`, [...given]);
  };
  // What is computed for a chain is read of open chains only, which an index finds.
  const addOpen = (column: string, condition: (value: string) => string, given: Parameter) => {
    add(
      (value) => `c.status IN ('queued', 'running', 'waiting') AND (
          SELECT o.${column} FROM session_chain.chain_overview o WHERE o.id = c.id) ${condition(value)}`,
      given,
    );
  };
  if (projectIds) addOneOf('c.project_id', projectIds);
  if (versionId !== undefined) add((value) => `c.version_id = ${value}`, versionId);
  if (buildId !== undefined) add((value) => `c.build_id = ${value}`, buildId);
  if (status) addOneOf('c.status', status);
  if (waitingFor) addOpen('waiting_for', (value) => `= ANY (${value}::text[])`, [...waitingFor]);
  if (since) add((value) => `c.created_at >= ${value}`, since);
  if (stuckMs !== undefined)
    addOpen('progress_at', (value) => `< clock_timestamp() - ${value} * interval '1 ms'`, stuckMs);
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
      SELECT ${columns}, ${factColumns}, o.progress_at AS "progressAt", o.waiting_for AS "waitKind",
        (extract(epoch FROM c.created_at) * 1000000)::bigint::text AS "createdAtUs",
        o.cost_usd AS "costUsd", o.attempts_of_unknown_cost AS "attemptsOfUnknownCost",
        called.activity, called.task_queue AS "taskQueue"
      FROM page c
      -- Row by row of the page: OFFSET keeps it from being joined as a whole.
      CROSS JOIN LATERAL (SELECT o.progress_at, o.waiting_for, o.cost_usd, o.attempts_of_unknown_cost
        FROM session_chain.chain_overview o WHERE o.id = c.id OFFSET 0) o
      ${factTables}
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

/** How many chains there are: the open ones, and those that have ended since a moment. */
export interface CountedChains {
  status: ChainStatus;
  /** Null of those that work, and of closed ones. */
  waitKind: WaitKind | null;
  failureCode: FailureCode | null;
  chains: number;
}

/** Counts chains of all projects, or of some. */
export async function countChains(
  pool: Pool,
  since: Date,
  projectIds: readonly ProjectId[] | null,
): Promise<CountedChains[]> {
  return await queryRows<CountedChains>(pool, {
    text: `
      SELECT status, wait_kind AS "waitKind", failure_code AS "failureCode", count(*)::integer AS chains FROM (
        SELECT o.project_id, o.status, o.waiting_for AS wait_kind, NULL AS failure_code FROM session_chain.chain_overview o
        WHERE o.status IN ('queued', 'running', 'waiting')
        UNION ALL
        SELECT o.project_id, o.status, NULL, o.failure_code FROM session_chain.chain_overview o WHERE o.closed_at >= $1) counted
      WHERE $2::text[] IS NULL OR project_id = ANY ($2) GROUP BY 1, 2, 3`,
    values: [since, projectIds],
  });
}
