import { createHash } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';

/**
 * Transcript entries as they are stored. A fork appends all entries of its parent again, and these differ from copy to
 * copy in a few members only (seen with Claude Code 2.1.330):
 *
 * - `sessionId`: the id of the session that holds the copy;
 * - `promptId`: one new value per fork, the same on all its entries;
 * - `requestSessionId`: added as the last member when an assistant entry is first copied, and kept from then on;
 * - `slug`: added by a compaction to every entry, gone again in the next fork.
 *
 * The content holds what the copies have in common, so that it is stored once; the patch of a batch holds the rest.
 * The way back is exact: `JSON.stringify` of a decoded entry equals `JSON.stringify` of the encoded one. A member that
 * does not fit this pattern stays in the content as it is.
 */
export interface EncodedBatch {
  entries: EncodedEntry[];
  /** What `entryDecoder` needs beside the contents; null for nothing. */
  patch: string | null;
  /** How many of the entries are user or assistant messages. */
  messages: number;
  /** The size of the entries as JSON in UTF-8. */
  bytes: number;
}

export interface EncodedEntry {
  content: string;
  /** SHA-256 of the content in UTF-8. */
  digest: Buffer;
}

interface Patch {
  promptId?: string;
  slug?: string;
  /** One character per entry: where its slug stands, see `SlugPlace`. */
  slugAt?: string;
}

/** '-': no slug; 'e': at the end; 'r': before a requestSessionId at the end. */
type SlugPlace = '-' | 'e' | 'r';

// JSON text never holds a raw control character, so these cannot be mistaken for anything in an entry.
const sessionIdMark = '\u0001';
const promptIdMark = '\u0002';

/** Encodes the entries of one append to the session `sessionId`. */
export function encodeBatch(sessionId: string, entries: readonly SessionStoreEntry[]): EncodedBatch {
  const promptId = firstString(entries, 'promptId');
  const slug = firstString(entries, 'slug');
  const slugAt = entries.map((entry) => slugPlace(entry, slug)).join('');
  const patch: Patch = {
    ...(promptId === undefined ? {} : { promptId }),
    ...(slug === undefined ? {} : { slug, slugAt }),
  };
  return {
    entries: entries.map((entry, index) => {
      const content = encodeEntry(entry, sessionId, promptId, slugAt[index] !== '-');
      return { content, digest: createHash('sha256').update(content, 'utf8').digest() };
    }),
    patch: Object.keys(patch).length === 0 ? null : JSON.stringify(patch),
    messages: entries.filter(isMessage).length,
    bytes: entries.reduce((sum, entry) => sum + Buffer.byteLength(JSON.stringify(entry)), 0),
  };
}

/** Gives back the entries of one batch of the session `sessionId`: the content at each index as it was appended. */
export function entryDecoder(
  sessionId: string,
  patch: string | null,
): (content: string, index: number) => SessionStoreEntry {
  const { promptId, slug, slugAt } = patch === null ? ({} as Patch) : (JSON.parse(patch) as Patch);
  const ownRequest = ownRequestEnding(sessionId);
  return (content, index) => {
    const json = (content.endsWith(ownRequest) ? `${content.slice(0, -ownRequest.length)}}` : content)
      .replaceAll(sessionIdMark, () => JSON.stringify(sessionId))
      .replaceAll(promptIdMark, () => JSON.stringify(promptId));
    return withSlug(JSON.parse(json) as SessionStoreEntry, slug, slugAt?.[index] as SlugPlace | undefined);
  };
}

function encodeEntry(
  entry: SessionStoreEntry,
  sessionId: string,
  promptId: string | undefined,
  omitSlug: boolean,
): string {
  const members: string[] = [];
  for (const [key, value] of Object.entries(entry)) {
    if (key === 'slug' && omitSlug) continue;
    const json = encodeMember(key, value, sessionId, promptId);
    if (json !== undefined) members.push(`${JSON.stringify(key)}:${json}`);
  }
  const content = `{${members.join(',')}}`;
  // An assistant entry is given this member by its first copy: it gets it now, so that the copy brings nothing new.
  return entry.type === 'assistant' && !Object.hasOwn(entry, 'requestSessionId')
    ? `${content.slice(0, -1)}${ownRequestEnding(sessionId)}`
    : content;
}

function encodeMember(
  key: string,
  value: unknown,
  sessionId: string,
  promptId: string | undefined,
): string | undefined {
  // A requestSessionId that is this session's own is marked too: written out it means 'not there yet' (see above).
  if ((key === 'sessionId' || key === 'requestSessionId') && value === sessionId) return sessionIdMark;
  if (key === 'promptId' && promptId !== undefined && value === promptId) return promptIdMark;
  return JSON.stringify(value);
}

function ownRequestEnding(sessionId: string): string {
  return `,"requestSessionId":${JSON.stringify(sessionId)}}`;
}

function slugPlace(entry: SessionStoreEntry, slug: string | undefined): SlugPlace {
  if (slug === undefined || entry.slug !== slug) return '-';
  const [beforeLast, last] = Object.keys(entry).slice(-2);
  if ((last ?? beforeLast) === 'slug') return 'e';
  return beforeLast === 'slug' && last === 'requestSessionId' ? 'r' : '-';
}

function withSlug(
  entry: SessionStoreEntry,
  slug: string | undefined,
  place: SlugPlace | undefined,
): SessionStoreEntry {
  if (place === 'e') return { ...entry, slug };
  if (place === 'r') {
    const { requestSessionId, ...rest } = entry;
    return { ...(rest), slug, requestSessionId };
  }
  return entry;
}

function firstString(entries: readonly SessionStoreEntry[], key: string): string | undefined {
  return entries.map((entry) => entry[key]).find((value) => typeof value === 'string');
}

function isMessage({ type }: SessionStoreEntry): boolean {
  return type === 'user' || type === 'assistant';
}
