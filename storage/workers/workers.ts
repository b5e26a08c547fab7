import type { ShownDefinition, WorkerFacts, WorkerLimitsInForce } from '../../contracts/workers.js';
import type { SandboxSettings } from '../../contracts/sandbox.js';
import { jsonbOf } from '../jsonb.js';
import { type Pool, queryRows } from '../db/pool.js';

/** Workers as they say of themselves; no chain depends on it. */

export interface Running {
  agents: number;
  chats: number;
  /** Processes that wait for their next task. */
  parked: number;
}

/** Writes a worker's row, or renews it. */
export async function renewWorker(
  pool: Pool,
  id: string,
  facts: WorkerFacts,
  { agents, chats, parked }: Running,
): Promise<void> {
  await queryRows(pool, {
    name: 'renew_worker',
    text: 'SELECT session_chain.renew_worker($1, $2, $3, $4, $5)',
    values: [id, jsonbOf(facts), agents, chats, parked],
    query_timeout: 5_000,
  });
}

export async function removeWorker(pool: Pool, id: string): Promise<void> {
  await queryRows(pool, {
    text: 'SELECT session_chain.remove_worker($1)',
    values: [id],
    query_timeout: 5_000,
  });
}

/** A row of the table, with the definition's digest alone. */
export interface StoredWorker {
  id: string;
  identity: string;
  host: string;
  version: string;
  release: string;
  deployment: string | null;
  claudeCode: string | null;
  sdk: string;
  sandbox: SandboxSettings['kind'];
  namespace: string;
  taskQueue: string;
  limits: WorkerLimitsInForce;
  digest: string;
  file: string | null;
  runningAgents: number;
  runningChats: number;
  parked: number;
  startedAt: Date;
  seenAt: Date;
  /** Seen within the last minute. */
  alive: boolean;
  /** Queues that its definition calls activities of the host on. */
  hostQueues: string[];
}

/** Workers that were seen within a day, those that are alive first, the newest first. */
export async function listWorkers(pool: Pool): Promise<StoredWorker[]> {
  return await queryRows<StoredWorker & Record<string, unknown>>(pool, {
    name: 'list_workers',
    text: `SELECT w.id, w.identity, w.host, w.version, w.release, w.deployment, w.claude_code AS "claudeCode", w.sdk, w.sandbox, w.namespace,
             w.task_queue AS "taskQueue", w.limits, w.definition_digest AS digest, w.definition_file AS file,
             w.running_agents AS "runningAgents", w.running_chats AS "runningChats", w.parked, w.started_at AS "startedAt",
             w.seen_at AS "seenAt", ${alive} AS alive,
             ARRAY(SELECT q #>> '{}' FROM jsonb_path_query(w.definition, '$.steps[*].taskQueue') q
               WHERE jsonb_typeof(q) = 'string' UNION SELECT w.definition #>> '{onEnd,taskQueue}'
               WHERE w.definition #>> '{onEnd,taskQueue}' IS NOT NULL ORDER BY 1) AS "hostQueues"
           FROM session_chain.workers w WHERE w.stopped_at IS NULL AND w.seen_at > clock_timestamp() - interval '1 day'
           ORDER BY alive DESC, w.started_at DESC, w.id`,
  });
}

/** What this database knows of workers: `gone` has stopped or not been seen for a minute, `unknown` not for a day. */
export interface KnownWorkers {
  living: string[];
  gone: string[];
  unknown: string[];
}

export async function knownWorkers(pool: Pool, identities: readonly string[]): Promise<KnownWorkers> {
  const rows = await queryRows<{ identity: string; state: keyof KnownWorkers }>(pool, {
    name: 'known_workers',
    text: `SELECT p.identity, CASE WHEN bool_or(${alive}) THEN 'living' WHEN count(w.id) > 0 THEN 'gone' ELSE 'unknown' END AS state
           FROM unnest($1::text[]) p (identity) LEFT JOIN session_chain.workers w ON w.identity = p.identity
           GROUP BY p.identity ORDER BY p.identity`,
    values: [identities],
  });
  const those = (state: keyof KnownWorkers) =>
    rows.filter((row) => row.state === state).map(({ identity }) => identity);
  return { living: those('living'), gone: those('gone'), unknown: those('unknown') };
}

export interface StoredDefinition {
  digest: string;
  definition: ShownDefinition;
  files: string[];
  /** `identity` of the workers that are alive and have it. */
  workers: string[];
}

/** The definitions of the workers that are alive, the one of most workers first. */
export async function listDefinitions(pool: Pool): Promise<StoredDefinition[]> {
  return await queryRows<StoredDefinition & Record<string, unknown>>(pool, {
    name: 'list_definitions',
    text: `SELECT w.definition_digest AS digest, (array_agg(w.definition ORDER BY w.started_at DESC, w.id))[1] AS definition,
             array_remove(array_agg(DISTINCT w.definition_file), NULL) AS files,
             array_agg(w.identity ORDER BY w.started_at DESC, w.id) AS workers
           FROM session_chain.workers w WHERE ${alive}
           GROUP BY w.definition_digest ORDER BY count(*) DESC, max(w.started_at) DESC, w.definition_digest`,
  });
}

const alive = `(w.stopped_at IS NULL AND w.seen_at > clock_timestamp() - interval '1 minute')`;
