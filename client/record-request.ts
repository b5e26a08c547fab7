import { z } from 'zod';
import { parseProjectId, parseSessionId, parseVersionId } from '../contracts/ids.js';
import { type TransitionSource, sourceAlias, stepNamePattern } from '../contracts/steps.js';
import { callerText } from './caller-text.js';
import { checked } from './input.js';
import { type RecordRequest, unknownSpend } from '../storage/operations/record.js';

/** What an operation took, as far as its caller knows. Absent counts are 0; an absent cost is recorded as unknown. */
export interface RecordedMetrics {
  inputTokens?: number;
  outputTokens?: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
  /** US dollars. */
  costUsd?: number;
  turns?: number;
  durationMs?: number;
  /** With it, an absent cost is calculated from the tokens, once other runs of the model show its prices. */
  model?: string;
}

/** A Claude operation that ran outside a chain. */
export interface RecordSessionRequest {
  projectId: string;
  /** Default: the newest version of the project. */
  versionId?: string;
  /** The session on which the operation ended. */
  sessionId: string;
  /** The name of a step, or a reserved source such as `import`; `metadata_generation` is `metadata`. */
  source: TransitionSource;
  metrics?: RecordedMetrics;
  /**
   * Record it though its transcript is not in the store: no chain can continue from it before it is imported. Default:
   * false, and such a session is refused.
   */
  notInStore?: boolean;
}

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional();
const metricsSchema = z
  .strictObject({
    inputTokens: count,
    outputTokens: count,
    cacheReadTokens: count,
    cacheWriteTokens: count,
    costUsd: z.number().min(0).max(1_000_000).optional(),
    turns: z.number().int().min(0).max(1_000_000).optional(),
    durationMs: count,
    model: callerText.min(1).max(255).optional(),
  })
  .optional();
export const recordRequestSchema = z.strictObject({
  projectId: z.string(),
  versionId: z.string().optional(),
  sessionId: z.string(),
  source: z
    .string()
    .regex(stepNamePattern, 'must be a lower-case letter, then letters, digits and _, 40 characters at most'),
  metrics: metricsSchema,
  notInStore: z.boolean().default(false),
});

/** Checks a request. Throws INVALID_INPUT. */
export function parseRecordRequest(request: RecordSessionRequest): RecordRequest {
  const { projectId, versionId, sessionId, source, metrics, notInStore } = checked(
    recordRequestSchema,
    request,
    'The session cannot be recorded so',
    'request',
  );
  return {
    projectId: parseProjectId(projectId),
    versionId: versionId === undefined ? null : parseVersionId(versionId),
    sessionId: parseSessionId(sessionId),
    source: source === sourceAlias ? 'metadata' : source,
    metrics: metrics ? attemptMetrics(metrics) : unknownSpend,
    notInStore,
  };
}

function attemptMetrics(metrics: z.infer<typeof metricsSchema> & object): RecordRequest['metrics'] {
  const { inputTokens = 0, outputTokens = 0, cacheReadTokens = 0, cacheWriteTokens = 0 } = metrics;
  const { costUsd = null, turns = 0, durationMs = 0, model = null } = metrics;
  const usage = { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens };
  const byModel = model === null ? {} : { [model]: { ...usage, costUsd } };
  return { ...unknownSpend, usage, byModel, costUsd, turns, durationMs, model };
}
