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
  const rows = await queryRows<{ step: StepName } & SpentRow>(pool, {
    name: 'chain_spend',
    text: `WITH one AS (
             SELECT id, spent FROM session_chain.chains WHERE project_id = $1 AND version_id = $2 AND build_id = $3
           ), spent AS (
             SELECT 0 AS place, row_number() OVER () AS n, r.*
             FROM one CROSS JOIN LATERAL jsonb_populate_recordset(NULL::session_chain.spend_days, one.spent) r
             UNION ALL
             SELECT 1, m.attempt_id, ${spentColumns} FROM one JOIN session_chain.attempts a ON a.chain = one.id ${spentTables}
           )
           SELECT s.step, s.model, ${spentSums} FROM spent s GROUP BY s.step, s.model ORDER BY min(s.place), min(s.n)`,
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
  const rows = await queryRows<SpentRow>(pool, {
    name: 'project_spend',
    text: `SELECT s.model, ${spentSums} FROM (
             SELECT * FROM session_chain.spend_days WHERE project_id = $1
             UNION ALL
             SELECT ${spentColumns} FROM session_chain.attempts a ${spentTables} WHERE a.project_id = $1
           ) s GROUP BY s.model ORDER BY s.model`,
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
 * their order, the others by what they cost. Of a day whose metrics were rolled up the hours are no longer known: it counts whole
 * where it begins in this time.
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
  const { key, name = 'key', dayKey, turns, tokens, cost, from } = groupedBy[group];
  const sums = (['input', 'output', 'cacheRead', 'cacheWrite'] as const).map(
    (kind) => `coalesce(sum(${tokens(kind)}), 0) AS ${columnOf(kind)}`,
  );
  // Of all projects the index is enough; of some only their own rows are read.
  const rows =
    projectIds === null
      ? `project_ai_session_metrics m ${from} WHERE m.attempt_id IS NOT NULL AND $3::text[] IS NULL`
      : `${ledger} ${from} WHERE a.project_id = ANY ($3::text[])`;
  return {
    text: `
      WITH live AS (
        SELECT ${key} AS key, count(*) AS attempts, ${turns} AS turns, ${sums.join(', ')},
          coalesce(sum(${cost}), 0) AS cost_usd, count(*) FILTER (WHERE ${cost} IS NULL) AS unknown
        FROM ${rows} AND m.created_at >= $1 AND m.created_at < coalesce($2::timestamptz, 'infinity')
        GROUP BY 1
      ), grouped AS (
        SELECT key, sum(attempts)::integer AS attempts, sum(turns)::integer AS turns, sum(input_tokens) AS "inputTokens",
          sum(output_tokens) AS "outputTokens", sum(cache_read_tokens) AS "cacheReadTokens",
          sum(cache_write_tokens) AS "cacheWriteTokens", sum(cost_usd) AS "costUsd", sum(unknown)::integer AS "attemptsOfUnknownCost"
        FROM (
          SELECT ${name} AS key, attempts, turns, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, unknown
          FROM live
          UNION ALL
          SELECT ${dayKey}, sum(d.attempts), ${group === 'model' ? 'NULL' : 'sum(d.turns)'}, sum(d.input_tokens), sum(d.output_tokens),
            sum(d.cache_read_tokens), sum(d.cache_write_tokens), sum(d.cost_usd), sum(d.attempts_of_unknown_cost)
          FROM session_chain.spend_days d
          WHERE d.model IS ${group === 'model' ? 'NOT NULL' : 'NULL'} AND ($3::text[] IS NULL OR d.project_id = ANY ($3::text[]))
            AND d.day >= $1::timestamptz AT TIME ZONE 'UTC'
            AND d.day < coalesce($2::timestamptz AT TIME ZONE 'UTC', 'infinity')
          GROUP BY 1
        ) both_kinds GROUP BY key ORDER BY "costUsd" DESC, key LIMIT $4
      )
      SELECT * FROM grouped ORDER BY ${group === 'day' ? 'key' : '"costUsd" DESC, key'}`,
    values: [since, until, projectIds, limit],
  };
}

type TokenKind = 'input' | 'output' | 'cacheRead' | 'cacheWrite';

function columnOf(kind: TokenKind): string {
  return `${kind.replace('Re', '_re').replace('Wr', '_wr')}_tokens`;
}

const ofAttempt = {
  turns: 'coalesce(sum(m.turns), 0)::integer',
  tokens: (kind: TokenKind) => `m.${columnOf(kind)}`,
  cost: 'm.cost_usd',
  from: '',
};

const groupedBy: Record<
  SpendGroup,
  Omit<typeof ofAttempt, 'tokens'> & {
    key: string;
    /** The key as a text, where it is none. */
    name?: string;
    /** The same key, of `spend_days`. */
    dayKey: string;
    tokens: (kind: TokenKind) => string;
  }
> = {
  // As the statistics metrics_days have it.
  day: {
    ...ofAttempt,
    key: `(m.created_at AT TIME ZONE 'UTC')::date`,
    name: `to_char(key, 'YYYY-MM-DD')`,
    dayKey: `to_char(d.day, 'YYYY-MM-DD')`,
  },
  step: { ...ofAttempt, key: 'm.step', dayKey: 'd.step' },
  project: { ...ofAttempt, key: 'm.project_id', name: 'key::text', dayKey: 'd.project_id' },
  model: {
    key: 'used.model',
    dayKey: 'd.model',
    turns: 'NULL::integer',
    tokens: (kind) => `(used.spent ->> '${kind}Tokens')::numeric`,
    cost: `(used.spent ->> 'costUsd')::numeric`,
    from: `CROSS JOIN LATERAL jsonb_each(coalesce(m.usage_by_model, '{}')) AS used (model, spent)`,
  },
};

/** What attempts spent (`model` null), or what they spent with one model. */
interface SpentRow extends Usage {
  model: string | null;
  attempts: number;
  attemptsOfUnknownCost: number;
  turns: number;
  turnsInFlightUnknown: number;
  costUsd: number;
  durationMs: number;
}

/** A row of metrics with its attempt, in which the ids are those of our own tables. */
const ledger = `session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id`;

/** Rows of the columns of `spend_days` for an attempt `a`: one for itself, and one for each model that it used. */
const spentTables = `JOIN project_ai_session_metrics m ON m.attempt_id = a.id
  CROSS JOIN LATERAL (
    SELECT NULL AS model, m.turns, m.turn_in_flight_unknown, m.input_tokens, m.output_tokens, m.cache_read_tokens,
      m.cache_write_tokens, m.cost_usd, m.duration_ms
    UNION ALL
    SELECT used.model, 0, false, ${['input', 'output', 'cacheRead', 'cacheWrite']
      .map((kind) => `(used.spent ->> '${kind}Tokens')::numeric`)
      .join(', ')}, (used.spent ->> 'costUsd')::numeric, 0
    FROM jsonb_each(coalesce(m.usage_by_model, '{}')) AS used (model, spent)) u`;
const spentColumns = `a.project_id, NULL::date, a.step, u.model, 1, (u.cost_usd IS NULL)::integer, coalesce(u.turns, 0),
  u.turn_in_flight_unknown::integer, coalesce(u.input_tokens, 0), coalesce(u.output_tokens, 0), coalesce(u.cache_read_tokens, 0),
  coalesce(u.cache_write_tokens, 0), coalesce(u.cost_usd, 0), coalesce(u.duration_ms, 0)`;

/** The sums over rows `s` of `spend_days`. */
const spentSums = Object.entries({
  attempts: 'attempts',
  attempts_of_unknown_cost: 'attemptsOfUnknownCost',
  turns: 'turns',
  turns_in_flight_unknown: 'turnsInFlightUnknown',
  input_tokens: 'inputTokens',
  output_tokens: 'outputTokens',
  cache_read_tokens: 'cacheReadTokens',
  cache_write_tokens: 'cacheWriteTokens',
  cost_usd: 'costUsd',
  duration_ms: 'durationMs',
})
  .map(([column, name]) => `coalesce(sum(s.${column}), 0) AS "${name}"`)
  .join(', ');

function totalOf(rows: readonly SpentRow[]): Spent {
  const whole = rows.filter(({ model }) => model === null);
  const sum = (of: (row: SpentRow) => number) => whole.reduce((total, row) => total + of(row), 0);
  return {
    attempts: sum((row) => row.attempts),
    turns: sum((row) => row.turns),
    usage: usageOf(whole),
    costUsd: toNanoDollars(sum((row) => row.costUsd)),
    durationMs: sum((row) => row.durationMs),
    byModel: modelTotals(rows),
    attemptsOfUnknownCost: sum((row) => row.attemptsOfUnknownCost),
    turnsInFlightUnknown: sum((row) => row.turnsInFlightUnknown),
  };
}

function modelTotals(rows: readonly SpentRow[]): Record<string, ModelUsage> {
  const models = [...new Set(rows.flatMap(({ model }) => model ?? []))];
  return Object.fromEntries(
    models.map((model) => {
      const own = rows.filter((row) => row.model === model);
      const isKnown = own.every(({ attemptsOfUnknownCost }) => attemptsOfUnknownCost === 0);
      const costUsd = isKnown ? toNanoDollars(own.reduce((total, row) => total + row.costUsd, 0)) : null;
      return [model, { ...usageOf(own), costUsd }];
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
           WHERE a.project_id = $1 AND a.state = 'failed' AND a.archive_part IS NULL
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
           WHERE a.project_id = $1 AND m.cost_usd IS NULL AND m.usage_by_model <> '{}' AND a.archive_part IS NULL`,
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

/** Writes a cost that was derived afterwards; not once the attempt is planned for the archive. */
export async function writeDerivedCost(
  pool: Pool,
  attemptId: AttemptId,
  byModel: Record<string, ModelUsage>,
  costUsd: number,
): Promise<void> {
  await queryRows(pool, {
    name: 'write_derived_cost',
    text: 'SELECT session_chain.derive_cost($1, $2, $3)',
    values: [attemptId, jsonbOf(byModel), costUsd],
  });
}
