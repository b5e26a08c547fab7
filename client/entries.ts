import { z } from 'zod';
import type { EntryPart } from '../contracts/events.js';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, type SessionId, parseProjectId, parseSessionId } from '../contracts/ids.js';
import type { Pool } from '../storage/db/pool.js';
import { projectOfSession } from '../storage/operations/import.js';
import { type EntryPlace, type StoredEntry, readEntries } from '../storage/transcripts/entries.js';
import { type SessionDetails, readSession } from '../storage/transcripts/session.js';
import { type Compaction, type ModelRequest, compactionOf, requestOf } from '../transcript/entries.js';
import { cutParts, imagesIn, shownEntryOf, subagentOf, typeOf } from '../transcript/parts.js';
import { checked, limit as rows } from './input.js';

export interface EntriesRequest {
  sessionId: string;
  /** Needed only where several projects have a session of this id. */
  projectId?: string;
  /** `cursor` of an entry, or `nextCursor` of the page before: what comes after it. */
  after?: string;
  /** Entries at most, up to 10 000; a page with much text ends earlier. Default: 100. */
  limit?: number;
  /** Whether each entry also has what Claude Code wrote. Default: true. */
  raw?: boolean;
  /** Texts of parts are cut to so many characters. Default: they are whole. */
  maxText?: number;
}

/** One entry of a session. */
export interface EntryRequest {
  sessionId: string;
  /** Needed only where several projects have a session of this id. */
  projectId?: string;
  /** The entry's own. */
  cursor: string;
}

/** An entry of a transcript. */
export interface SessionEntry {
  /** Where to go on after it. */
  cursor: string;
  /** Its uuid, the same in every session that has a copy; null where it has none. */
  entryId: string | null;
  /** ISO 8601; when it was written, as Claude Code says; null where it does not. */
  at: string | null;
  /**
   * What it is: the type that Claude Code gives it, with its kind behind a slash, such as `user`, `assistant`,
   * `system/compact_boundary`, `attachment/file`. `user/meta`, `user/command` and `user/summary` (of a compaction) are from Claude
   * Code itself, `assistant/error` is an answer that failed.
   */
  type: string;
  /** Null where the entry says nothing that a conversation would show; then it has no parts. */
  role: 'user' | 'assistant' | 'system' | null;
  /** Of a subagent; null in the main conversation. */
  subagent: string | null;
  /** Copied from the session that this one forked. */
  isInherited: boolean;
  parts: EntryPart[];
  /** A text of the parts was cut, because of `maxText`. */
  isCut: boolean;
  /** The number of images in it, which `raw` has. */
  images: number;
  /** The request to the model whose answer it is part of; an answer is stored in several entries, of which the last has all tokens. */
  request: ModelRequest | null;
  /** Of the boundary of a compaction: the tokens of the context before and after. */
  compaction: Compaction | null;
  /** The entry as Claude Code wrote it; null where it was not asked for. */
  raw: Record<string, unknown> | null;
}

/** A page of a transcript, oldest first. */
export interface EntriesPage {
  projectId: ProjectId;
  sessionId: SessionId;
  entries: SessionEntry[];
  /** For the next page; null at the end of what is stored. */
  nextCursor: string | null;
}

/** The transcripts of sessions. */
export interface Entries {
  /**
   * The entries of a session, with those that it has from the session that it forked, and of its subagents, in the order in which
   * they were stored. It may be running: what is stored later comes after the last cursor. Throws INVALID_INPUT,
   * SESSION_NOT_IN_STORE, also where an entry is no longer in the store.
   * @example
   * const { entries, nextCursor } = await sessionChain.entries({ sessionId, limit: 50 });
   * for (const { role, parts } of entries) for (const part of parts) if (part.kind === 'text') console.log(role, part.text);
   */
  entries(request: EntriesRequest): Promise<EntriesPage>;
  /**
   * One entry, whole. Throws INVALID_INPUT, also where no entry is at the cursor, SESSION_NOT_IN_STORE.
   * @example
   * const { raw } = await sessionChain.entry({ sessionId, cursor: '1.0' });
   */
  entry(request: EntryRequest): Promise<SessionEntry>;
  /**
   * What is known of a session: what it forked, in which condition its transcript is, whether it is or was the head, the attempt
   * that wrote it with what that spent, and what forked it. Throws INVALID_INPUT, SESSION_NOT_IN_STORE.
   * @example
   * const { attempt, condition, forks } = await sessionChain.session('shop', sessionId);
   */
  session(projectId: string, sessionId: string): Promise<SessionDetails>;
}

export function createEntries(pool: Pool): Entries {
  /** The session and the project that has its transcript. */
  const found = async ({
    sessionId: id,
    projectId: given,
  }: {
    sessionId: string;
    projectId?: string | undefined;
  }) => {
    const sessionId = parseSessionId(id);
    const asked = given === undefined ? null : parseProjectId(given);
    const projectId = await projectOfSession(pool, sessionId, asked);
    if (projectId === null) throw notInStore(sessionId, asked);
    return { sessionId, projectId };
  };
  return {
    async entries(request) {
      const { after, limit, raw, maxText, ...given } = checked(
        schema,
        request,
        'Entries cannot be read so',
        'request',
      );
      const place = after === undefined ? null : placeOf(after);
      const { projectId, sessionId } = await found(given);
      const { entries, next } = await readEntries(pool, projectId, sessionId, { after: place, limit });
      return {
        projectId,
        sessionId,
        entries: entries.map((entry) => shown(entry, { raw, maxText })),
        nextCursor: next && cursorOf(next),
      };
    },
    async entry(request) {
      const { cursor, ...given } = checked(oneSchema, request, 'An entry cannot be read so', 'request');
      const { ordinal, index } = placeOf(cursor);
      const { projectId, sessionId } = await found(given);
      const after = { ordinal, index: index - 1 };
      const [entry] = (await readEntries(pool, projectId, sessionId, { after, limit: 1 })).entries;
      if (entry?.place.ordinal === ordinal && entry.place.index === index) return shown(entry, { raw: true });
      throw new SessionChainError(
        'INVALID_INPUT',
        `The session ${sessionId} has no entry at the cursor ${cursor}.`,
        'Pass the cursor of an entry of this session, unchanged.',
      );
    },
    async session(project, id) {
      const [projectId, sessionId] = [parseProjectId(project), parseSessionId(id)];
      const session = await readSession(pool, projectId, sessionId);
      if (session) return session;
      throw notInStore(sessionId, projectId);
    },
  };
}

function notInStore(sessionId: SessionId, asked: ProjectId | null): SessionChainError {
  return new SessionChainError(
    'SESSION_NOT_IN_STORE',
    `${asked === null ? 'No project has' : `The project ${asked} does not have`} the transcript of a session ${sessionId}.`,
    'Look at the lineage of the project (`tree`) for the sessions that it has.',
  );
}

const sessionShape = { sessionId: z.string(), projectId: z.string().optional() };
const schema = z.strictObject({
  ...sessionShape,
  after: z.string().optional(),
  limit: rows.default(100),
  raw: z.boolean().default(true),
  maxText: z.number().int().min(1).max(10_000_000).optional(),
});
const oneSchema = z.strictObject({ ...sessionShape, cursor: z.string() });

function shown(
  { place, subpath, isInherited, entry }: StoredEntry,
  { raw, maxText = Infinity }: { raw: boolean; maxText?: number | undefined },
): SessionEntry {
  const { role, parts } = shownEntryOf(entry) ?? { role: null, parts: [] };
  return {
    cursor: cursorOf(place),
    entryId: typeof entry.uuid === 'string' ? entry.uuid : null,
    at: typeof entry.timestamp === 'string' ? entry.timestamp : null,
    type: typeOf(entry),
    role,
    subagent: subagentOf(subpath),
    isInherited,
    ...cutParts(parts, maxText),
    images: imagesIn(entry),
    request: requestOf(entry),
    compaction: compactionOf(entry),
    raw: raw ? entry : null,
  };
}

function cursorOf({ ordinal, index }: EntryPlace): string {
  return `${ordinal}.${index}`;
}

function placeOf(cursor: string): EntryPlace {
  const [, ordinal, index] = /^([1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/.exec(cursor) ?? [];
  if (ordinal !== undefined && index !== undefined) return { ordinal: Number(ordinal), index: Number(index) };
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a page of entries returned.',
    'Pass the cursor of an entry, or nextCursor of the page before, unchanged, or none to begin at the start.',
  );
}
