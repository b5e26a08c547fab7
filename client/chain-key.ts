import { z } from 'zod';
import { type ChainKey, parseBuildId, parseProjectId, parseVersionId } from '../contracts/ids.js';
import { checked } from './input.js';

// What a list or a start returned names its chain as well.
const schema = z.object({
  projectId: z.string(),
  versionId: z.string(),
  buildId: z.string().optional(),
});

/**
 * The key of a chain from plain strings. Throws INVALID_INPUT.
 * @example
 * const state = await sessionChain.state(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
 */
export function chainKey(key: {
  projectId: string;
  versionId: string;
  buildId?: string | undefined;
}): ChainKey {
  const { projectId, versionId, buildId } = checked(schema, key, 'No chain can have this key', 'key');
  return {
    projectId: parseProjectId(projectId),
    versionId: parseVersionId(versionId),
    buildId: parseBuildId(buildId ?? versionId),
  };
}
