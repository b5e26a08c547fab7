import { posix } from 'node:path';
import { z } from 'zod';
import type { ChainBudget, StepLimits } from '../contracts/limits.js';
import type { ResetPolicy } from '../contracts/origin.js';
import { callerText } from './caller-text.js';
import { checked } from './input.js';
import { type ChainMode, type StepName, chainModes, stepNamePattern } from '../contracts/steps.js';

export interface StartRequest {
  projectId: string;
  versionId: string;
  /** The caller's key of this chain; a second start of the same key starts nothing. Default: the version id. */
  buildId?: string;
  /** Absolute path of the project's files, as the worker sees it. */
  workspace: string;
  /** Default: `initial` for a project without a session, else `update`. */
  mode?: ChainMode;
  /** What to build, in the user's words. Default: a standard instruction of the mode. */
  instruction?: string;
  /** A subset of the steps of the workers' definition, which decides their order. Default: all. */
  steps?: StepName[];
  /** Limits of steps, instead of those of the worker's definition. */
  limits?: Record<StepName, Partial<StepLimits>>;
  /** The model of every step, instead of those that the worker's definition names. */
  model?: string;
  /** Context size below which compaction is skipped, instead of what the worker's definition says. */
  compactThresholdTokens?: number;
  /** The limits of the whole chain; above them it ends as `budget_exceeded` and may be started again with more. */
  budget?: ChainBudget;
  /** When the build starts a fresh session, instead of what the worker's definition says; 0 for never. */
  reset?: Partial<ResetPolicy>;
  /** Continue from the nearest ancestor in the store, even where the head was moved outside and never was in it. */
  recover?: boolean;
  /** Insert missing rows of projects and project_versions; only where the migrations created these tables. */
  createRows?: boolean;
}

/** A path that no worker could have is rejected immediately. */
export const workspacePath = callerText
  .startsWith('/', 'must be an absolute path')
  .refine((path) => posix.normalize(path) === path, 'must be a path without . and ..');

const stepName = z.string().regex(stepNamePattern, 'must be the name of a step');
const limits = z.strictObject({
  timeoutMs: z.number().int().min(1_000).optional(),
  maxTurns: z.number().int().min(1).optional(),
  maxCostUsd: z.number().positive().optional(),
  maxAttempts: z.number().int().min(1).optional(),
});

export const startRequestSchema = z.strictObject({
  projectId: z.string(),
  versionId: z.string(),
  buildId: z.string().optional(),
  workspace: workspacePath,
  mode: z.enum(chainModes).optional(),
  instruction: callerText.trim().min(1, 'must not be empty').max(100_000).optional(),
  steps: z.array(stepName).min(1, 'must name at least one step').optional(),
  limits: z.record(stepName, limits).optional(),
  model: callerText.trim().min(1, 'must not be empty').max(200).optional(),
  compactThresholdTokens: z.number().int().min(0).optional(),
  budget: z
    .strictObject({
      maxCostUsd: z.number().positive().optional(),
      maxTurns: z.number().int().min(1).optional(),
      timeoutMs: z.number().int().min(1_000).optional(),
    })
    .optional(),
  reset: z
    .strictObject({
      operations: z.number().int().min(0).optional(),
      contextTokens: z.number().int().min(0).optional(),
    })
    .optional(),
  recover: z.boolean().optional(),
  createRows: z.boolean().optional(),
});

/** Checks a request. Throws INVALID_INPUT that names every field that is wrong. */
export function parseStartRequest(request: StartRequest): StartRequest {
  return checked(startRequestSchema, request, 'The chain cannot be started so', 'request') as StartRequest;
}
