import type { ModelUsage, Usage } from '../../contracts/chain.js';
import type { AttemptId, ChainKey, ProjectId, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Parameter, type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';
import { type AttemptMetrics, metricsColumns } from './metrics.js';

/** What the attempts themselves spent, failed and interrupted ones included. Nothing is counted twice. */
export interface Spent {
  attempts: number;
  turns: number;
  usage: Usage;
  /** US dollars, as far as they are known. */
  costUsd: number;
  /** Sum of the attempts' durations, without the time between them. */
  durationMs: number;
  /** The same tokens by model; a cost is null as soon as one attempt's is unknown. */
  byModel: Record<string, ModelUsage>;
  /** Attempts whose cost is unknown: their tokens are counted, their cost is not. */
  attemptsOfUnknownCost: number;
  /** Attempts that were stopped or died; a model turn that was under way at that time is in no figure. */
  turnsInFlightUnknown: number;
}

export interface ChainSpend extends Spent {
  /** Steps without an attempt are left out. */
  steps: ({ step: StepName } & Spent)[];
}

/** What a chain has spent over all its runs. */
export async function chainSpend(pool: Pool, key: ChainKey): Promise<ChainSpend> {
  return spendOf(
    await queryRows<StepRow>(pool, {
      name: 'chain_spend',
      text: `${spentByStep} JOIN session_chain.chains c ON c.id = a.chain
             WHERE c.project_id = $1 AND c.version_id = $2 AND c.build_id = $3 ORDER BY m.id`,
      values: [key.projectId, key.versionId, key.buildId],
    }),
  );
}

function spendOf(rows: readonly StepRow[]): ChainSpend {
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
    text: `SELECT ${ledgerColumns} FROM ${ledger} WHERE a.project_id = $1`,
    values: [projectId],
  });
  return totalOf(rows);
}

export const spendGroups = ['day', 'step', 'model', 'project'] as const;
export type SpendGroup = (typeof spendGroups)[number];

/** What was spent on one day (`2026-11-26`, UTC), in one step, with one model, or by one project. */
export interface GroupedSpend {
  key: string;
  /** Attempts of it; one that used several models counts for each. */
  attempts: number;
  /** Model turns; null by model, of which only tokens and cost are known. */
  turns: number | null;
  usage: Usage;
  /** US dollars, as far as they are known. */
  costUsd: number;
  attemptsOfUnknownCost: number;
}

export interface SpendConditions {
  since: Date;
  /** Null: until now. */
  until: Date | null;
  /** Null: all projects. */
  projectIds: readonly ProjectId[] | null;
  /** Groups at most, those that cost most; null for all. */
  limit: number | null;
}

/**
 * What attempts that ended from `since` on and before `until` spent, by day, step, model or project, in one statement. Days are in
 * their order, the others by what they cost.
 */
export async function spendBy(
  pool: Pool,
  group: SpendGroup,
  conditions: SpendConditions,
): Promise<GroupedSpend[]> {
  const rows = await queryRows<Omit<GroupedSpend, 'usage'> & Usage>(pool, spendQuery(group, conditions));
  return rows.map(({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costUsd, ...row }) => ({
    ...row,
    usage: { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens },
    costUsd: toNanoDollars(costUsd),
  }));
}

export function spendQuery(
  group: SpendGroup,
  { since, until, projectIds, limit }: SpendConditions,
): { text: string; values: Parameter[] } {
  const { key, name = 'key', turns, tokens, cost, from } = groupedBy[group];
  const sums = (['input', 'output', 'cacheRead', 'cacheWrite'] as const).map(
    (kind) => `coalesce(sum(${tokens(kind)}), 0) AS "${kind}Tokens"`,
  );
  // Of all projects the index is enough; of some only their own rows are read.
  const rows =
    projectIds === null
      ? `project_ai_session_metrics m ${from} WHERE m.attempt_id IS NOT NULL AND $3::text[] IS NULL`
      : `${ledger} ${from} WHERE a.project_id = ANY ($3::text[])`;
  return {
    text: `
      SELECT ${name} AS key, attempts, turns, "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "costUsd",
        "attemptsOfUnknownCost"
      FROM (
        SELECT ${key} AS key, count(*)::integer AS attempts, ${turns} AS turns, ${sums.join(', ')},
          coalesce(sum(${cost}), 0) AS "costUsd", (count(*) FILTER (WHERE ${cost} IS NULL))::integer AS "attemptsOfUnknownCost"
        FROM ${rows} AND m.created_at >= $1 AND m.created_at < coalesce($2::timestamptz, 'infinity')
        GROUP BY 1 ORDER BY "costUsd" DESC, 1 LIMIT $4
      ) grouped ORDER BY ${group === 'day' ? 'grouped.key' : '"costUsd" DESC, grouped.key'}`,
    values: [since, until, projectIds, limit],
  };
}

type TokenKind = 'input' | 'output' | 'cacheRead' | 'cacheWrite';

const ofAttempt = {
  turns: 'coalesce(sum(m.turns), 0)::integer',
  tokens: (kind: TokenKind) => `m.${kind.replace('Re', '_re').replace('Wr', '_wr')}_tokens`,
  cost: 'm.cost_usd',
  from: '',
};

const groupedBy: Record<
  SpendGroup,
  Omit<typeof ofAttempt, 'tokens'> & {
    key: string;
    /** The key as a text, where it is none. */
    name?: string;
    tokens: (kind: TokenKind) => string;
  }
> = {
  // As the statistics metrics_days have it.
  day: {
    ...ofAttempt,
    key: `(m.created_at AT TIME ZONE 'UTC')::date`,
    name: `to_char(grouped.key, 'YYYY-MM-DD')`,
  },
  step: { ...ofAttempt, key: 'm.step' },
  project: { ...ofAttempt, key: 'm.project_id', name: 'grouped.key::text' },
  model: {
    key: 'used.model',
    turns: 'NULL::integer',
    tokens: (kind) => `(used.spent ->> '${kind}Tokens')::numeric`,
    cost: `(used.spent ->> 'costUsd')::numeric`,
    from: `CROSS JOIN LATERAL jsonb_each(coalesce(m.usage_by_model, '{}')) AS used (model, spent)`,
  },
};

interface LedgerRow extends Usage {
  turns: number;
  costUsd: number | null;
  durationMs: number;
  byModel: Record<string, ModelUsage>;
  turnInFlightUnknown: boolean;
}

interface StepRow extends LedgerRow {
  step: StepName;
}

/** A row of metrics with its attempt, in which the ids are those of our own tables. */
const ledger = `session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id`;

const ledgerColumns = `coalesce(m.turns, 0) AS turns, coalesce(m.input_tokens, 0) AS "inputTokens",
  coalesce(m.output_tokens, 0) AS "outputTokens", coalesce(m.cache_read_tokens, 0) AS "cacheReadTokens",
  coalesce(m.cache_write_tokens, 0) AS "cacheWriteTokens", m.cost_usd AS "costUsd", coalesce(m.duration_ms, 0) AS "durationMs",
  coalesce(m.usage_by_model, '{}') AS "byModel", m.turn_in_flight_unknown AS "turnInFlightUnknown"`;

const spentByStep = `SELECT a.step, ${ledgerColumns} FROM ${ledger}`;

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

/** The columns hold nano-dollars; anything finer comes from adding binary fractions. */
function toNanoDollars(costUsd: number): number {
  return Math.round(costUsd * 1e9) / 1e9;
}

/** How long a chain has held its project, or held it, in ms. */
export async function chainElapsedMs(pool: Pool, key: ChainKey): Promise<number> {
  const { elapsed } = await queryOne<{ elapsed: number }>(pool, {
    name: 'chain_elapsed',
    text: `SELECT extract(epoch FROM coalesce(closed_at, clock_timestamp()) - opened_at) * 1000 AS elapsed FROM session_chain.chains
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
  /** From its start to its last sign of life: the worker's last renewal, or the last append. */
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

/** Writes the row of an attempt that died; an existing row stays. */
export async function accountInterrupted(
  pool: Pool,
  attemptId: AttemptId,
  spent: AttemptMetrics,
): Promise<void> {
  await queryRows(pool, {
    name: 'account_interrupted',
    text: `SELECT session_chain.write_metrics($1, 'interrupted', $2, false)`,
    values: [attemptId, jsonbOf(metricsColumns(spent))],
  });
}

/** A row whose tokens are known and whose cost is not; a recorded operation may have given neither. */
export interface UncostedAttempt {
  attemptId: AttemptId;
  byModel: Record<string, ModelUsage>;
}

export async function uncostedAttempts(pool: Pool, projectId: ProjectId): Promise<UncostedAttempt[]> {
  return await queryRows<UncostedAttempt>(pool, {
    name: 'uncosted_attempts',
    text: `SELECT a.id::text AS "attemptId", m.usage_by_model AS "byModel" FROM ${ledger}
           WHERE a.project_id = $1 AND m.cost_usd IS NULL AND m.usage_by_model <> '{}'`,
    values: [projectId],
  });
}

/** What other runs spent by the agent's own counters: the newest of the project, else the newest of all. */
export async function countedUsage(pool: Pool, projectId: ProjectId): Promise<Record<string, ModelUsage>[]> {
  const rows = await queryRows<{ byModel: Record<string, ModelUsage> }>(pool, {
    name: 'counted_usage',
    // By the project's own rows, not by scanning those of all projects, newest first.
    text: `WITH attempt AS MATERIALIZED (
             SELECT id FROM session_chain.attempts WHERE project_id = $1
           ), newest AS (
             SELECT id FROM attempt ORDER BY id DESC LIMIT 500
           ), own AS (
             SELECT m.id, m.usage_by_model FROM newest a JOIN project_ai_session_metrics m ON m.attempt_id = a.id
             WHERE m.cost_usd > 0 AND NOT m.cost_derived AND m.usage_by_model IS NOT NULL
             ORDER BY m.id DESC LIMIT 20
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

/** Writes a cost that was derived afterwards. */
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
    values: [attemptId, costUsd, jsonbOf(byModel)],
  });
}
