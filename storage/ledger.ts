import type { Usage } from '../contracts/chain.js';
import type { AttemptId, ChainKey, ProjectId, SessionId } from '../contracts/ids.js';
import type { StepName } from '../contracts/steps.js';
import { type Pool, queryOne, queryRows } from './pool.js';

/** What was spent so far, over all attempts that ended; what nobody can tell is not in it. */
export interface Spent {
  costUsd: number;
  turns: number;
}

/** What a chain and one step of it have spent, and how long the chain has held its turn. */
export async function spentSoFar(
  pool: Pool,
  key: ChainKey,
  step: StepName,
): Promise<{ chain: Spent; step: Spent; chainElapsedMs: number }> {
  const row = await queryOne<{
    cost: number;
    turns: number;
    step_cost: number;
    step_turns: number;
    elapsed_ms: number;
  }>(pool, {
    name: 'spent_so_far',
    text: `SELECT coalesce(sum(m.cost_usd), 0) AS cost, coalesce(sum(m.turns), 0) AS turns,
             coalesce(sum(m.cost_usd) FILTER (WHERE m.step = $4), 0) AS step_cost,
             coalesce(sum(m.turns) FILTER (WHERE m.step = $4), 0) AS step_turns,
             extract(epoch FROM clock_timestamp() - max(c.opened_at)) * 1000 AS elapsed_ms
           FROM session_chain.chains c
           LEFT JOIN project_ai_session_metrics m
             ON m.project_id = c.project_id AND m.version_id = c.version_id AND m.build_id = c.build_id
           WHERE c.project_id = $1 AND c.version_id = $2 AND c.build_id = $3`,
    values: [key.projectId, key.versionId, key.buildId, step],
  });
  return {
    chain: { costUsd: row.cost, turns: row.turns },
    step: { costUsd: row.step_cost, turns: row.step_turns },
    chainElapsedMs: row.elapsed_ms,
  };
}

/** An attempt that ended without a row of metrics: its worker died before it could write one. */
export interface UnaccountedAttempt {
  attemptId: AttemptId;
  sessionId: SessionId;
  /** What the session forked; null for a fresh one. */
  parentSessionId: SessionId | null;
}

export async function unaccountedAttempts(pool: Pool, projectId: ProjectId): Promise<UnaccountedAttempt[]> {
  return await queryRows<UnaccountedAttempt>(pool, {
    name: 'unaccounted_attempts',
    text: `SELECT a.id::text AS "attemptId", a.session_id AS "sessionId", s.parent_session_id AS "parentSessionId"
           FROM session_chain.attempts a
           JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
           WHERE a.project_id = $1 AND a.state = 'failed'
             AND NOT EXISTS (SELECT FROM project_ai_session_metrics m WHERE m.attempt_id = a.id)
           ORDER BY a.id`,
    values: [projectId],
  });
}

/** What a transcript proves that an attempt spent. The model turn that was under way when it died is in no transcript. */
export interface InterruptedSpend {
  usage: Usage;
  turns: number;
  /** Null where the agent was killed before it could write its counters. */
  costUsd: number | null;
  model: string | null;
}

/** Writes the row of an attempt that died; one that is there already stays. */
export async function accountInterrupted(
  pool: Pool,
  attemptId: AttemptId,
  spent: InterruptedSpend,
): Promise<void> {
  await queryRows(pool, {
    name: 'account_interrupted',
    text: `INSERT INTO project_ai_session_metrics (session_id, project_id, version_id, build_id, step, attempt_id, outcome,
             turn_in_flight_unknown, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, turns, model)
           SELECT session_id, project_id, version_id, build_id, step, id, 'interrupted', true, $2, $3, $4, $5, $6, $7, $8
           FROM session_chain.attempts WHERE id = $1
           ON CONFLICT (attempt_id) DO NOTHING`,
    values: [
      attemptId,
      spent.usage.inputTokens,
      spent.usage.outputTokens,
      spent.usage.cacheReadTokens,
      spent.usage.cacheWriteTokens,
      spent.costUsd,
      spent.turns,
      spent.model,
    ],
  });
}
