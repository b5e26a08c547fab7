import type { ModelUsage, Usage } from '../../contracts/chain.js';

/** What an attempt itself spent and how long it took; a row of `project_ai_session_metrics`. */
export interface AttemptMetrics {
  usage: Usage;
  byModel: Record<string, ModelUsage>;
  /** US dollars; null where it is unknown. */
  costUsd: number | null;
  turns: number;
  durationMs: number;
  apiDurationMs: number | null;
  model: string | null;
  agentVersion: string | null;
  /** A model turn was under way when the attempt was stopped or died; it is in no figure. */
  turnInFlightUnknown: boolean;
}

/** The metrics of an attempt that made no model request. */
export const nothingSpent: AttemptMetrics = {
  usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
  byModel: {},
  costUsd: 0,
  turns: 0,
  durationMs: 0,
  apiDurationMs: 0,
  model: null,
  agentVersion: null,
  turnInFlightUnknown: false,
};

/** The metrics as SQL takes them, by the names of the columns. */
export function metricsColumns({ usage, ...metrics }: AttemptMetrics) {
  return {
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cache_read_tokens: usage.cacheReadTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    usage_by_model: metrics.byModel,
    cost_usd: metrics.costUsd,
    turns: metrics.turns,
    duration_ms: metrics.durationMs,
    api_duration_ms: metrics.apiDurationMs,
    model: metrics.model,
    agent_version: metrics.agentVersion,
    turn_in_flight_unknown: metrics.turnInFlightUnknown,
  };
}
