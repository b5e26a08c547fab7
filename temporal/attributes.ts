import type { Client } from '@temporalio/client';
import { TypedSearchAttributes, defineSearchAttributeKey } from '@temporalio/common';
import { SessionChainError } from '../contracts/failures.js';
import type { ChainKey } from '../contracts/ids.js';

/** The typed search attributes of a chain, set when it starts where the namespace knows them. */
export const searchAttributes = {
  projectId: defineSearchAttributeKey('SessionChainProjectId', 'KEYWORD'),
  versionId: defineSearchAttributeKey('SessionChainVersionId', 'KEYWORD'),
  buildId: defineSearchAttributeKey('SessionChainBuildId', 'KEYWORD'),
} as const;

/** `auto` sets them where the namespace knows them, `on` insists, `off` never asks. */
export const searchAttributeModes = ['auto', 'on', 'off'] as const;
export type SearchAttributeMode = (typeof searchAttributeModes)[number];

export interface SearchAttributes {
  /**
   * The attributes that a chain is started with; undefined for none. Throws SEARCH_ATTRIBUTES_NOT_REGISTERED in mode
   * `on`.
   */
  of(key: ChainKey): Promise<TypedSearchAttributes | undefined>;
}

/** Typed search attributes of chains. The namespace is asked once; a start with an unregistered one would fail. */
export function createSearchAttributes(client: Client, mode: SearchAttributeMode): SearchAttributes {
  let missing: Promise<readonly string[]> | undefined;
  return {
    async of(key) {
      if (mode === 'off') return undefined;
      missing ??= missingSearchAttributes(client).catch((error: unknown) => {
        missing = undefined;
        if (mode === 'on') throw error;
        return searchAttributeNames;
      });
      const absent = await missing;
      if (absent.length > 0 && mode === 'on') {
        throw new SessionChainError(
          'SEARCH_ATTRIBUTES_NOT_REGISTERED',
          `The namespace ${client.options.namespace} does not know the search attributes ${absent.join(', ')}.`,
          `Register them: ${registerCommand(client.options.namespace, absent)}; or set SESSION_CHAIN_SEARCH_ATTRIBUTES=auto.`,
        );
      }
      return absent.length > 0 ? undefined : attributesOf(key);
    },
  };
}

/** The names that the namespace does not know. Rejects if the server does not answer the question. */
export async function missingSearchAttributes(client: Client): Promise<string[]> {
  const { customAttributes } = await client.connection.operatorService.listSearchAttributes({
    namespace: client.options.namespace,
  });
  return searchAttributeNames.filter((name) => !customAttributes || !(name in customAttributes));
}

/** The command that registers search attributes. */
export function registerCommand(namespace: string, names: readonly string[]): string {
  const attributes = names.map((name) => `--name ${name} --type Keyword`).join(' ');
  return `temporal operator search-attribute create --namespace ${namespace} ${attributes}`;
}

const searchAttributeNames = Object.values(searchAttributes).map(({ name }) => name);

function attributesOf({ projectId, versionId, buildId }: ChainKey): TypedSearchAttributes {
  return new TypedSearchAttributes([
    { key: searchAttributes.projectId, value: projectId },
    { key: searchAttributes.versionId, value: versionId },
    { key: searchAttributes.buildId, value: buildId },
  ]);
}
