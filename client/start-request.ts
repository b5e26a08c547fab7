import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { chainModes, stepNames } from '../contracts/steps.js';
import type { StartRequest } from './session-chain.js';

const limits = z.strictObject({
  timeoutMs: z.number().int().min(1_000).optional(),
  maxTurns: z.number().int().min(1).optional(),
  maxCostUsd: z.number().positive().optional(),
  maxAttempts: z.number().int().min(1).optional(),
});

const schema = z.strictObject({
  projectId: z.string(),
  versionId: z.string(),
  buildId: z.string().optional(),
  workspace: z.string().startsWith('/', 'must be an absolute path'),
  mode: z.enum(chainModes).optional(),
  instruction: z.string().trim().min(1, 'must not be empty').max(100_000).optional(),
  steps: z.array(z.enum(stepNames)).min(1, 'must name at least one step').optional(),
  limits: z.partialRecord(z.enum(stepNames), limits).optional(),
  model: z.string().trim().min(1, 'must not be empty').max(200).optional(),
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

/** Checks a request at the door of the client. Throws INVALID_INPUT that names every field that is wrong. */
export function parseStartRequest(request: StartRequest): StartRequest {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data as StartRequest;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join('.') || 'request'}: ${issue.message}`,
  );
  throw new SessionChainError('INVALID_INPUT', `The chain cannot be started so: ${problems.join('; ')}.`);
}
