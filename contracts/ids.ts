import { SessionChainError } from './failures.js';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type ProjectId = Branded<'ProjectId'>;
export type VersionId = Branded<'VersionId'>;
/** The caller's key for one chain of a version; also names the Redis checkpoint. */
export type BuildId = Branded<'BuildId'>;
/** A Claude session: one transcript. A uuid for every session of ours; imported ones may be any id. */
export type SessionId = Branded<'SessionId'>;
/** `session_chain.attempts.id`, a bigint written in decimal. */
export type AttemptId = Branded<'AttemptId'>;
/** `session_chain.chains.id`, a bigint written in decimal. */
export type ChainId = Branded<'ChainId'>;

/** The key of one chain. */
export interface ChainKey {
  projectId: ProjectId;
  versionId: VersionId;
  buildId: BuildId;
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$/;

export const parseProjectId = (value: string): ProjectId => parseId('project id', value) as ProjectId;
export const parseVersionId = (value: string): VersionId => parseId('version id', value) as VersionId;
/** Ids that begin with `chat:`, `record:` or `rewind:` name operations outside chains. */
export const parseBuildId = (value: string): BuildId => {
  if (!/^(chat|record|rewind):/.test(value)) return parseId('build id', value) as BuildId;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The build id ${shown(value)} is reserved.`,
    'Use one that does not begin with "chat:", "record:" or "rewind:".',
  );
};
export const parseChatId = (value: string): string => parseId('chat id', value);
export const parseMessageId = (value: string): string => parseId('message id', value);
/** Part of a build id, which must fit the ledger's column. */
export const parseRewindKey = (value: string): string => {
  const key = parseId('key', value);
  if (key.length <= 200) return key;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The key ${shown(key)} is too long.`,
    'Use 200 characters at most.',
  );
};
export const parseSessionId = (value: string): SessionId => parseId('session id', value) as SessionId;

/** A host's types cannot be relied on: a missing id is also rejected. */
function parseId(what: string, value: unknown): string {
  if (typeof value === 'string' && idPattern.test(value)) return value;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The ${what} ${shown(value)} is malformed.`,
    'Use 1 to 255 characters: letters, digits, ".", "_", ":" and "-", starting with a letter or a digit.',
  );
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 300)) : `of type ${typeof value}`;
}
