import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { parseProjectId, parseRewindKey, parseVersionId } from '../contracts/ids.js';
import type { RewindRequest } from '../storage/operations/rewind.js';
import { checkedOptions } from './input.js';

export interface RewindOptions {
  /** The number of the transition to go back to: what its session knows, the project's next session knows. */
  to: number;
  /** The key of this rewind: with it a call may be repeated, and moves nothing if it was done before. */
  key?: string;
  /** The version that moves along. Default: the newest version of the project. */
  versionId?: string;
  /** Report what would be done, and do nothing. */
  dryRun?: boolean;
}

const shape = {
  to: z.number(),
  key: z.string().optional(),
  versionId: z.string().optional(),
  dryRun: z.boolean().default(false),
};

/** Checks a request. Throws INVALID_INPUT. */
export function parseRewindRequest(projectId: string, options: RewindOptions): RewindRequest {
  const { to, key, versionId, dryRun } = checkedOptions(shape, options);
  if (!Number.isSafeInteger(to) || to < 1) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `The transition ${String(to)} to go back to is no number of a transition.`,
      'Pass the number of a transition, a whole number of at least 1.',
    );
  }
  return {
    projectId: parseProjectId(projectId),
    to,
    key: key === undefined ? null : parseRewindKey(key),
    versionId: versionId === undefined ? null : parseVersionId(versionId),
    dryRun,
  };
}
