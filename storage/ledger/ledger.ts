import type { ModelUsage, Usage } from '../../contracts/chain.js';
import type { AttemptId, ChainKey, ProjectId, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type AttemptMetrics, metricColumns, metricParameters, metricValues } from './metrics.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** What attempts spent themselves, failed and interrupted ones included. Nothing is counted twice. */
export interface Spent {
  attempts: number;
  turns: number;
  usage: Usage;
  /** US dollars, as far as they are known. */
  costUsd: number;
  /** Sum of the attempts' times, not counting what lies between them. */
  durationMs: number;
  /** The same tokens by model; a cost is null as soon as one attempt's is not known. */
  byModel: Record<string, ModelUsage>;
  /** Attempts whose cost nobody can tell: their tokens are counted, their cost is not. */
  attemptsOfUnknownCost: number;
  /** Attempts that were stopped or died; a model turn that was under way then is in no figure. */
  turnsInFlightUnknown: number;
}

export interface ChainSpend extends Spent {
  /** Steps without an attempt are left out. */
  steps: ({ step: StepName } & Spent)[];
}

/** What a chain has spent over all its runs. */
export async function chainSpend(pool: Pool, key: ChainKey): Promise<ChainSpend> {
  const rows = await queryRows<LedgerRow & { step: StepName }>(pool, {
    name: 'chain_spend',
    text: `SELECT step, ${ledgerColumns} FROM project_ai_session_metrics
           WHERE project_id = $1 AND version_id = $2 AND build_id = $3 AND attempt_id IS NOT NULL ORDER BY id`,
    values: [key.projectId, key.versionId, key.buildId],
  });
  const steps = [...new Set(rows.map(({ step }) => step))].map((step) => ({
    step,
    ...totalOf(rows.filter((row) => row.step === step)),
  }));
  return { ...totalOf(rows), steps };
}

/** What a project has spent over all its chains. */
export async function projectSpend(pool: Pool, projectId: ProjectId): Promise<Spent> {
  const rows = await queryRows<LedgerRow>(pool, {
    name: 'project_spend',
    text: `SELECT ${ledgerColumns} FROM project_ai_session_metrics WHERE project_id = $1 AND attempt_id IS NOT NULL`,
    values: [projectId],
  });
  return totalOf(rows);
}

interface LedgerRow extends Usage {
  turns: number;
  costUsd: number | null;
  durationMs: number;
  byModel: Record<string, ModelUsage>;
  turnInFlightUnknown: boolean;
}

const ledgerColumns = `coalesce(turns, 0) AS turns, coalesce(input_tokens, 0) AS "inputTokens",
  coalesce(output_tokens, 0) AS "outputTokens", coalesce(cache_read_tokens, 0) AS "cacheReadTokens",
  coalesce(cache_write_tokens, 0) AS "cacheWriteTokens", cost_usd AS "costUsd", coalesce(duration_ms, 0) AS "durationMs",
  coalesce(usage_by_model, '{}') AS "byModel", turn_in_flight_unknown AS "turnInFlightUnknown"`;

function totalOf(rows: readonly LedgerRow[]): Spent {
  const sum = (of: (row: LedgerRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    attempts: rows.length,
    turns: sum((row) => row.turns),
    usage: usageOf(rows),
    costUsd: toNanoDollars(sum((row) => row.costUsd ?? 0)),
    durationMs: sum((row) => row.durationMs),
    byModel: modelTotals(rows.map((row) => row.byModel)),
    attemptsOfUnknownCost: rows.filter((row) => row.costUsd === null).length,
    turnsInFlightUnknown: rows.filter((row) => row.turnInFlightUnknown).length,
  };
}

function modelTotals(rows: readonly Record<string, ModelUsage>[]): Record<string, ModelUsage> {
  const models = [...new Set(rows.flatMap((byModel) => Object.keys(byModel)))];
  return Object.fromEntries(
    models.map((model) => {
      const usages = rows.flatMap((byModel) => byModel[model] ?? []);
      const known = usages.every(({ costUsd }) => costUsd !== null);
      const costUsd = known ? usages.reduce((total, usage) => total + (usage.costUsd ?? 0), 0) : null;
      return [model, { ...usageOf(usages), costUsd: costUsd === null ? null : toNanoDollars(costUsd) }];
    }),
  );
}

function usageOf(rows: readonly Usage[]): Usage {
  const sum = (of: (row: Usage) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    inputTokens: sum((row) => row.inputTokens),
    outputTokens: sum((row) => row.outputTokens),
    cacheReadTokens: sum((row) => row.cacheReadTokens),
    cacheWriteTokens: sum((row) => row.cacheWriteTokens),
  };
}

/** The columns hold nano-dollars; what is finer comes from adding binary fractions. */
function toNanoDollars(costUsd: number): number {
  return Math.round(costUsd * 1e9) / 1e9;
}

/** How long a chain has held its turn, in ms. */
export async function chainElapsedMs(pool: Pool, key: ChainKey): Promise<number> {
  const { elapsed } = await queryOne<{ elapsed: number }>(pool, {
    name: 'chain_elapsed',
    text: `SELECT extract(epoch FROM clock_timestamp() - opened_at) * 1000 AS elapsed FROM session_chain.chains
           WHERE project_id = $1 AND version_id = $2 AND build_id = $3`,
    values: [key.projectId, key.versionId, key.buildId],
  });
  return elapsed;
}

/** An attempt that ended without a row of metrics: its worker died before it could write one. */
export interface UnaccountedAttempt {
  attemptId: AttemptId;
  sessionId: SessionId;
  /** What the session forked; null for a fresh one. */
  parentSessionId: SessionId | null;
  /** From its start to the last that was heard of it: the worker's last sign of life, or the last append. */
  durationMs: number;
}

export async function unaccountedAttempts(pool: Pool, projectId: ProjectId): Promise<UnaccountedAttempt[]> {
  return await queryRows<UnaccountedAttempt>(pool, {
    name: 'unaccounted_attempts',
    text: `SELECT a.id::text AS "attemptId", a.session_id AS "sessionId", s.parent_session_id AS "parentSessionId",
             floor(extract(epoch FROM greatest(a.seen_at, s.appended_at) - a.started_at) * 1000)::bigint AS "durationMs"
           FROM session_chain.attempts a
           JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
           WHERE a.project_id = $1 AND a.state = 'failed'
             AND NOT EXISTS (SELECT FROM project_ai_session_metrics m WHERE m.attempt_id = a.id)
           ORDER BY a.id`,
    values: [projectId],
  });
}

/** Writes the row of an attempt that died; one that is there already stays. */
export async function accountInterrupted(
  pool: Pool,
  attemptId: AttemptId,
  spent: AttemptMetrics,
): Promise<void> {
  await queryRows(pool, {
    name: 'account_interrupted',
    text: `INSERT INTO project_ai_session_metrics (session_id, project_id, version_id, build_id, step, attempt_id, outcome,
             ${metricColumns})
           SELECT session_id, session_chain.project_key(project_id), session_chain.version_key(version_id), build_id, step, id,
             'interrupted', ${metricParameters(2)}
           FROM session_chain.attempts WHERE id = $1
           ON CONFLICT (attempt_id) DO NOTHING`,
    values: [attemptId, ...metricValues(spent)],
  });
}

/** A row whose tokens are known and whose cost is not; a recorded operation may have told neither. */
export interface UncostedAttempt {
  attemptId: AttemptId;
  byModel: Record<string, ModelUsage>;
}

export async function uncostedAttempts(pool: Pool, projectId: ProjectId): Promise<UncostedAttempt[]> {
  return await queryRows<UncostedAttempt>(pool, {
    name: 'uncosted_attempts',
    text: `SELECT attempt_id::text AS "attemptId", usage_by_model AS "byModel" FROM project_ai_session_metrics
           WHERE project_id = $1 AND cost_usd IS NULL AND usage_by_model <> '{}' AND attempt_id IS NOT NULL`,
    values: [projectId],
  });
}

/** What other runs spent by the agent's own counters: the newest of the project, else the newest of all. */
export async function countedUsage(pool: Pool, projectId: ProjectId): Promise<Record<string, ModelUsage>[]> {
  const rows = await queryRows<{ byModel: Record<string, ModelUsage> }>(pool, {
    name: 'counted_usage',
    text: `WITH own AS (
             SELECT id, usage_by_model FROM project_ai_session_metrics
             WHERE project_id = $1 AND cost_usd > 0 AND NOT cost_derived AND usage_by_model IS NOT NULL
             ORDER BY id DESC LIMIT 20
           ), other AS (
             SELECT id, usage_by_model FROM project_ai_session_metrics
             WHERE NOT EXISTS (SELECT FROM own) AND cost_usd > 0 AND NOT cost_derived AND usage_by_model IS NOT NULL
             ORDER BY id DESC LIMIT 20
           )
           SELECT usage_by_model AS "byModel" FROM own UNION ALL SELECT usage_by_model FROM other`,
    values: [projectId],
  });
  return rows.map(({ byModel }) => byModel);
}

/** Writes a cost that was worked out afterwards. */
export async function writeDerivedCost(
  pool: Pool,
  attemptId: AttemptId,
  byModel: Record<string, ModelUsage>,
  costUsd: number,
): Promise<void> {
  await queryRows(pool, {
    name: 'write_derived_cost',
    text: `UPDATE project_ai_session_metrics SET cost_usd = $2, usage_by_model = $3, cost_derived = true
           WHERE attempt_id = $1 AND cost_usd IS NULL`,
    values: [attemptId, costUsd, JSON.stringify(byModel)],
  });
}
