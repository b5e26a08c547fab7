import { defineSearchAttributeKey } from '@temporalio/common';

/** The typed search attributes of a chain, set when it starts where the namespace knows them. */
export const searchAttributes = {
  projectId: defineSearchAttributeKey('SessionChainProjectId', 'KEYWORD'),
  versionId: defineSearchAttributeKey('SessionChainVersionId', 'KEYWORD'),
  buildId: defineSearchAttributeKey('SessionChainBuildId', 'KEYWORD'),
} as const;
