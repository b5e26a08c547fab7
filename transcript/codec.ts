import { createHash } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { entryBytes } from './records.js';

/**
 * Transcript entries as they are stored. A fork appends all entries of its parent again, and these differ from copy to
 * copy in only a few top-level members (seen with Claude Code 2.1.330):
 *
 * - `sessionId` is the session that holds the copy;
 * - `promptId` is new in each fork, the same on all its entries; `cwd` and what else is stamped on every written
 *   entry belongs to the process that made the copy;
 * - `requestSessionId` is added as the last member when an assistant entry is first copied, and kept from then on;
 * - `slug` is added to every entry by a compaction, and dropped by the next fork.
 *
 * The content holds what the copies have in common, so that it is stored once; the patch of a batch holds the rest, and
 * is mostly the same for many batches. The way back is exact: `JSON.stringify` of a decoded entry equals
 * `JSON.stringify` of the encoded one. A member that does not fit this pattern stays in the content as it is.
 */
export interface EncodedBatch {
  contents: Stored[];
  /** What the contents lack, as input for `entryDecoder`; null for nothing. */
  patch: Stored | null;
  /** How many of the entries are user or assistant messages. */
  messages: number;
  /** The size of the entries as JSON in UTF-8. */
  bytes: number;
}

/** A text that is stored once per project. */
export interface Stored {
  text: string;
  /** SHA-256 of the text in UTF-8. */
  digest: Buffer;
}

const stampedMembers = ['promptId', 'userType', 'entrypoint', 'cwd', 'version', 'gitBranch'] as const;

type Patch = Partial<Record<(typeof stampedMembers)[number] | 'slug', string>> & {
  /** One character per entry: the position of its slug, see `SlugPlace`. */
  slugAt?: string;
};

/** '-': no slug; 'e': at the end; 'r': before a requestSessionId at the end. */
type SlugPlace = '-' | 'e' | 'r';

// JSON text never holds a raw control character, so these cannot be mistaken for anything in an entry.
const sessionIdMark = '\u0001';
const patchMark = '\u0002';

/** Encodes the entries of one append to the session `sessionId`. */
export function encodeBatch(sessionId: string, entries: readonly SessionStoreEntry[]): EncodedBatch {
  const patch = patchFor(entries);
  return {
    contents: entries.map((entry, index) =>
      stored(encodeEntry(entry, sessionId, patch, patch.slugAt?.[index])),
    ),
    patch: Object.keys(patch).length === 0 ? null : stored(JSON.stringify(patch)),
    messages: entries.filter(isMessage).length,
    bytes: entries.reduce((sum, entry) => sum + entryBytes(entry), 0),
  };
}

/** Decodes the entries of one batch of the session `sessionId`: the content at each index as it was appended. */
export function entryDecoder(
  sessionId: string,
  patchText: string | null,
): (content: string, index: number) => SessionStoreEntry {
  const patch = patchText === null ? {} : (JSON.parse(patchText) as Patch);
  const sessionIdJson = JSON.stringify(sessionId);
  const ownRequest = ownRequestEnding(sessionId);
  return (content, index) => {
    const json = (content.endsWith(ownRequest) ? `${content.slice(0, -ownRequest.length)}}` : content)
      .replaceAll(sessionIdMark, () => sessionIdJson)
      .replaceAll(markedMember, (_, key: keyof Patch) => `"${key}":${JSON.stringify(patch[key])}`);
    return withSlug(JSON.parse(json) as SessionStoreEntry, patch, index);
  };
}

// The names in full: a pattern with a loop keeps a backtracking position for each letter, and a long text has too many.
const markedMember = new RegExp(`"(${stampedMembers.join('|')})":${patchMark}`, 'g');

function patchFor(entries: readonly SessionStoreEntry[]): Patch {
  const patch: Patch = {};
  for (const key of [...stampedMembers, 'slug'] as const) {
    const value = entries.map((entry) => entry[key]).find((candidate) => typeof candidate === 'string');
    if (value !== undefined) patch[key] = value;
  }
  if (patch.slug !== undefined) patch.slugAt = entries.map((entry) => slugPlace(entry, patch.slug)).join('');
  return patch;
}

function encodeEntry(
  entry: SessionStoreEntry,
  sessionId: string,
  patch: Patch,
  slugAt: string | undefined,
): string {
  const members: string[] = [];
  for (const [key, value] of Object.entries(entry)) {
    if (key === 'slug' && (slugAt === 'e' || slugAt === 'r')) continue;
    const json = encodeMember(key, value, sessionId, patch);
    if (json !== undefined) members.push(`${JSON.stringify(key)}:${json}`);
  }
  const content = `{${members.join(',')}}`;
  // The first copy of an assistant entry adds this member: it is added now, so that the copy brings nothing new.
  return entry.type === 'assistant' && !Object.hasOwn(entry, 'requestSessionId')
    ? `${content.slice(0, -1)}${ownRequestEnding(sessionId)}`
    : content;
}

function encodeMember(key: string, value: unknown, sessionId: string, patch: Patch): string | undefined {
  // A requestSessionId that is this session's own is marked too: written out it means 'not there yet' (see above).
  if ((key === 'sessionId' || key === 'requestSessionId') && value === sessionId) return sessionIdMark;
  if (isStamped(key) && typeof value === 'string' && value === patch[key]) return patchMark;
  return JSON.stringify(value);
}

function isStamped(key: string): key is (typeof stampedMembers)[number] {
  return (stampedMembers as readonly string[]).includes(key);
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

function withSlug(entry: SessionStoreEntry, { slug, slugAt }: Patch, index: number): SessionStoreEntry {
  const place = slugAt?.[index] as SlugPlace | undefined;
  if (place === 'e') return { ...entry, slug };
  if (place === 'r') {
    const { requestSessionId, ...rest } = entry;
    return { ...rest, slug, requestSessionId };
  }
  return entry;
}

function stored(text: string): Stored {
  return { text, digest: digestOf(text) };
}

/** By what a text is found again. */
export function digestOf(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}

function isMessage({ type }: SessionStoreEntry): boolean {
  return type === 'user' || type === 'assistant';
}
