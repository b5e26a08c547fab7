import { type ChainKey, parseBuildId, parseProjectId, parseVersionId } from '../contracts/ids.js';

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
  return {
    projectId: parseProjectId(key.projectId),
    versionId: parseVersionId(key.versionId),
    buildId: parseBuildId(key.buildId ?? key.versionId),
  };
}
