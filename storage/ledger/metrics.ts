import type { ModelUsage, Usage } from '../../contracts/chain.js';

/** What an attempt spent itself and how long it took; a row of `project_ai_session_metrics`. */
export interface AttemptMetrics {
  usage: Usage;
  byModel: Record<string, ModelUsage>;
  /** US dollars; null where nobody can tell. */
  costUsd: number | null;
  turns: number;
  durationMs: number;
  apiDurationMs: number | null;
  model: string | null;
  agentVersion: string | null;
  /** A model turn was under way when the attempt was stopped or died; it is in no figure. */
  turnInFlightUnknown: boolean;
}

/** Of an attempt that asked no model. */
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

/** The columns of an attempt's own figures with their types, in the order of `metricValues`. */
const columns = {
  input_tokens: 'bigint',
  output_tokens: 'bigint',
  cache_read_tokens: 'bigint',
  cache_write_tokens: 'bigint',
  usage_by_model: 'jsonb',
  cost_usd: 'numeric',
  turns: 'integer',
  duration_ms: 'bigint',
  api_duration_ms: 'bigint',
  model: 'text',
  agent_version: 'text',
  turn_in_flight_unknown: 'boolean',
};
const names = Object.keys(columns);

export const metricColumns = names.join(', ');
export const metricUpdates = names.map((name) => `${name} = excluded.${name}`).join(', ');

/** The parameters of these columns, numbered from `first` on. */
export function metricParameters(first: number): string {
  return Object.values(columns)
    .map((type, index) => `$${first + index}::${type}`)
    .join(', ');
}

export function metricValues(metrics: AttemptMetrics): unknown[] {
  const { usage } = metrics;
  return [
    usage.inputTokens,
    usage.outputTokens,
    usage.cacheReadTokens,
    usage.cacheWriteTokens,
    JSON.stringify(metrics.byModel),
    metrics.costUsd,
    metrics.turns,
    metrics.durationMs,
    metrics.apiDurationMs,
    metrics.model,
    metrics.agentVersion,
    metrics.turnInFlightUnknown,
  ];
}
