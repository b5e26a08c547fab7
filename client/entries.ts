import { z } from 'zod';
import type { EntryPart } from '../contracts/events.js';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, type SessionId, parseProjectId, parseSessionId } from '../contracts/ids.js';
import type { Pool } from '../storage/db/pool.js';
import { projectOfSession } from '../storage/operations/import.js';
import { type EntryPlace, type StoredEntry, readEntries } from '../storage/transcripts/entries.js';
import { shownEntryOf, subagentOf } from '../transcript/parts.js';
import { checked, limit as rows } from './input.js';

export interface EntriesRequest {
  sessionId: string;
  /** Needed only where several projects have a session of this id. */
  projectId?: string;
  /** `cursor` of an entry, or `nextCursor` of the page before: what comes after it. */
  after?: string;
  /** Entries at most, up to 10 000; a page with much text ends earlier. Default: 100. */
  limit?: number;
}

/** An entry of a transcript. */
export interface SessionEntry {
  /** Where to go on after it. */
  cursor: string;
  /** Its uuid, the same in every session that has a copy; null where it has none. */
  entryId: string | null;
  /** ISO 8601; when it was written, as Claude Code says; null where it does not. */
  at: string | null;
  /** Null where the entry says nothing that a conversation would show; then it has no parts. */
  role: 'user' | 'assistant' | 'system' | null;
  /** Of a subagent; null in the main conversation. */
  subagent: string | null;
  parts: EntryPart[];
  /** The entry as Claude Code wrote it. */
  raw: Record<string, unknown>;
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
}

export function createEntries(pool: Pool): Entries {
  return {
    async entries(request) {
      const { after, limit, ...given } = checked(schema, request, 'Entries cannot be read so', 'request');
      const sessionId = parseSessionId(given.sessionId);
      const asked = given.projectId === undefined ? null : parseProjectId(given.projectId);
      const place = after === undefined ? null : placeOf(after);
      const projectId = await projectOfSession(pool, sessionId, asked);
      if (projectId === null) {
        throw new SessionChainError(
          'SESSION_NOT_IN_STORE',
          `${asked === null ? 'No project has' : `The project ${asked} does not have`} the transcript of a session ${sessionId}.`,
          'Look at the lineage of the project (`tree`) for the sessions that it has.',
        );
      }
      const { entries, next } = await readEntries(pool, projectId, sessionId, { after: place, limit });
      return {
        projectId,
        sessionId,
        entries: entries.map(shown),
        nextCursor: next && cursorOf(next),
      };
    },
  };
}

const schema = z.strictObject({
  sessionId: z.string(),
  projectId: z.string().optional(),
  after: z.string().optional(),
  limit: rows.default(100),
});

function shown({ place, subpath, entry }: StoredEntry): SessionEntry {
  const { role, parts } = shownEntryOf(entry) ?? { role: null, parts: [] };
  return {
    cursor: cursorOf(place),
    entryId: typeof entry.uuid === 'string' ? entry.uuid : null,
    at: typeof entry.timestamp === 'string' ? entry.timestamp : null,
    role,
    subagent: subagentOf(subpath),
    parts,
    raw: entry,
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
