import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { entryDecoder } from '../../transcript/codec.js';
import { type Pool, queryRows } from '../db/pool.js';
import { holeIn } from './store.js';

/** Where an entry of a session is: in which append, counted from 1, and where in it, counted from 0. */
export interface EntryPlace {
  ordinal: number;
  index: number;
}

export interface StoredEntry {
  place: EntryPlace;
  /** Empty for the main transcript, else `subagents/agent-…`. */
  subpath: string;
  /** Copied from the session that it forked. */
  isInherited: boolean;
  entry: SessionStoreEntry;
}

/** A page ends after so many bytes of entries, but for one that is larger by itself. */
const pageBytes = 4_000_000;

/**
 * The entries of a session and its subagents in the order in which they were appended, from a place on; one that was appended
 * again is left out. `next` is where to go on; null at the end. What the parent has as well is inherited. Where the parent is in
 * the archive alone, its row says up to which text that is: texts are numbered as they come, and a session begins when its
 * parent has ended.
 */
export async function readEntries(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  { after, limit }: { after: EntryPlace | null; limit: number },
): Promise<{ entries: StoredEntry[]; next: EntryPlace | null }> {
  const rows = await queryRows<{
    ordinal: number;
    index: number;
    subpath: string;
    patch: string | null;
    content: string | null;
    isInherited: boolean;
    isRepeated: boolean;
    hasMore: boolean;
  }>(pool, {
    name: 'read_entries',
    text: `
      WITH session AS MATERIALIZED (
        SELECT s.id, o.id AS parent, CASE WHEN o.dropped_at IS NOT NULL THEN o.last_text ELSE 0 END AS inherited
        FROM session_chain.sessions s
        LEFT JOIN session_chain.sessions o ON o.project_id = s.project_id AND o.session_id = s.parent_session_id
        WHERE s.project_id = $1 AND s.session_id = $2
      ), of_parent AS MATERIALIZED (
        SELECT u.id FROM session s JOIN session_chain.transcript_batches b ON b.session = s.parent AND b.subpath = ''
        CROSS JOIN unnest(b.entry_ids) AS u (id)
      ), page AS MATERIALIZED (
        SELECT s.id AS session, b.ordinal, u.n, b.subpath, b.patch_id, u.id,
          u.id <= s.inherited OR u.id IN (SELECT o.id FROM of_parent o) AS is_inherited
        FROM session s
        JOIN session_chain.transcript_batches b ON b.session = s.id AND b.ordinal >= $3
        CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
        WHERE (b.ordinal, u.n - 1) > ($3, $4::bigint)
        ORDER BY b.ordinal, u.n LIMIT $5 + 1
      ), sized AS (
        SELECT p.*, t.content, row_number() OVER place AS place, count(*) OVER () AS found,
          coalesce(sum(octet_length(t.content)) OVER place - octet_length(t.content), 0) AS before
        FROM page p LEFT JOIN session_chain.transcript_texts t ON t.id = p.id
        WINDOW place AS (ORDER BY p.ordinal, p.n)
      ), wanted AS (
        SELECT * FROM sized WHERE place <= $5 AND before < ${pageBytes}
      )
      SELECT w.ordinal, (w.n - 1)::integer AS index, w.subpath, p.content AS patch, w.content,
        w.is_inherited AS "isInherited",
        EXISTS (SELECT FROM session_chain.transcript_batches e WHERE e.session = w.session AND e.ordinal < w.ordinal
          AND e.subpath = w.subpath AND e.entry_ids @> ARRAY[w.id]) AS "isRepeated",
        w.found > count(*) OVER () AS "hasMore"
      FROM wanted w LEFT JOIN session_chain.transcript_texts p ON p.id = w.patch_id
      ORDER BY w.ordinal, w.n`,
    values: [projectId, sessionId, after?.ordinal ?? 0, after?.index ?? 0, limit],
  });
  const seen = new Set<string>();
  const entries = rows.flatMap((row): StoredEntry[] => {
    const { ordinal, index, subpath, patch, content, isInherited, isRepeated } = row;
    if (content === null) throw holeIn(sessionId, ordinal, index);
    const entry = entryDecoder(sessionId, patch)(content, index);
    // What has no uuid, such as a title, is no copy of what came before.
    if (typeof entry.uuid === 'string') {
      if (isRepeated || seen.has(`${subpath}/${entry.uuid}`)) return [];
      seen.add(`${subpath}/${entry.uuid}`);
    }
    return [{ place: { ordinal, index }, subpath, isInherited, entry }];
  });
  const last = rows.at(-1);
  return { entries, next: last?.hasMore ? { ordinal: last.ordinal, index: last.index } : null };
}
