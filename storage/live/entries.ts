import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { entryDecoder } from '../../transcript/codec.js';
import { type Pool, queryRows } from '../db/pool.js';
import type { SessionId } from '../../contracts/ids.js';
import type { LiveAttempt } from './attempts.js';

/** The next entry to read of a session: counted by its appends, from 1, and by the entries of each, from 0. */
export interface EntryPlace {
  append: number;
  index: number;
}

export interface LiveEntries {
  entries: { entry: SessionStoreEntry; subpath: string; next: EntryPlace }[];
  /** Behind all that was read, what is left out included. */
  next: EntryPlace;
  isMore: boolean;
  /** For the next call; null while the session is empty. */
  inheritedThrough: number | null;
}

/**
 * The entries that a session has stored since a place, without those that it has from its parent: at most 100, or about a
 * megabyte. Texts are numbered as they come, and a session begins when its parent has ended: what has a higher number than
 * all of the parent's is its own (`inheritedThrough`, found out at the first call: it reads the parent's list).
 */
export async function readLiveEntries(
  pool: Pool,
  { projectId, sessionId }: Pick<LiveAttempt, 'projectId' | 'sessionId'>,
  { append, index }: EntryPlace,
  inheritedThrough: number | null,
): Promise<LiveEntries> {
  const rows = await queryRows<{
    appends: number;
    inherited: number;
    total: number;
    append: number | null;
    index: number;
    subpath: string;
    patch: string | null;
    content: string;
  }>(pool, {
    name: 'read_live_entries',
    text: `
      WITH session AS MATERIALIZED (
        SELECT s.id, s.batches, coalesce($5::bigint, (
          SELECT max(u.id) FROM session_chain.sessions o
          JOIN session_chain.transcript_batches b ON b.session = o.id AND b.subpath = ''
          CROSS JOIN unnest(b.entry_ids) AS u (id)
          WHERE o.project_id = s.project_id AND o.session_id = s.parent_session_id), 0) AS inherited
        FROM session_chain.sessions s WHERE s.project_id = $1 AND s.session_id = $2
      ), own AS MATERIALIZED (
        SELECT b.ordinal, (u.n - 1)::integer AS index, b.subpath, b.patch_id, u.id
        FROM session s
        JOIN session_chain.transcript_batches b ON b.session = s.id AND b.ordinal >= $3
        CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
        WHERE u.id > s.inherited AND (b.ordinal > $3 OR u.n > $4)
        ORDER BY b.ordinal, u.n LIMIT 101
      ), text AS (
        SELECT o.*, t.content, count(*) OVER () AS total, row_number() OVER place AS place,
          sum(octet_length(t.content)) OVER place - octet_length(t.content) AS bytes_before
        FROM own o JOIN session_chain.transcript_texts t ON t.id = o.id
        WINDOW place AS (ORDER BY o.ordinal, o.index)
      )
      SELECT s.batches AS appends, s.inherited, coalesce(t.total, 0) AS total, t.ordinal AS append, t.index, t.subpath,
        p.content AS patch, t.content
      FROM session s
      LEFT JOIN text t ON t.place <= 100 AND t.bytes_before < 1000000
      LEFT JOIN session_chain.transcript_texts p ON p.id = t.patch_id
      ORDER BY t.ordinal, t.index`,
    values: [projectId, sessionId, append, index, inheritedThrough],
  });
  const [first] = rows;
  if (!first) return { entries: [], next: { append, index }, isMore: false, inheritedThrough: null };
  const entries = rows.flatMap((row) =>
    row.append === null
      ? []
      : [
          {
            entry: entryDecoder(sessionId, row.patch)(row.content, row.index),
            subpath: row.subpath,
            next: { append: row.append, index: row.index + 1 },
          },
        ],
  );
  const isMore = entries.length < first.total;
  const last = entries.at(-1);
  return {
    entries,
    next: isMore && last ? last.next : { append: Math.max(append, first.appends + 1), index: 0 },
    isMore,
    inheritedThrough: first.appends > 0 ? first.inherited : null,
  };
}

/**
 * The uuids of the entries that a session's parent has in other words: a fork may write an entry anew, such as the last one before
 * an interruption, and it is the same entry nevertheless. Reads only the texts that the session does not share.
 */
export async function readRewritten(
  pool: Pool,
  { projectId, sessionId }: Pick<LiveAttempt, 'projectId' | 'sessionId'>,
): Promise<Set<unknown>> {
  const rows = await queryRows<{ holder: string; index: number; patch: string | null; content: string }>(
    pool,
    {
      name: 'read_rewritten',
      text: `
      WITH session AS MATERIALIZED (
        SELECT s.id, o.id AS parent, o.session_id AS holder FROM session_chain.sessions s
        JOIN session_chain.sessions o ON o.project_id = s.project_id AND o.session_id = s.parent_session_id
        WHERE s.project_id = $1 AND s.session_id = $2
      ), shared AS MATERIALIZED (
        SELECT DISTINCT u.id FROM session s
        JOIN session_chain.transcript_batches b ON b.session = s.id AND b.subpath = ''
        CROSS JOIN unnest(b.entry_ids) AS u (id)
      )
      SELECT s.holder, (u.n - 1)::integer AS index, p.content AS patch, t.content
      FROM session s
      JOIN session_chain.transcript_batches b ON b.session = s.parent AND b.subpath = ''
      CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
      LEFT JOIN shared ON shared.id = u.id
      JOIN session_chain.transcript_texts t ON t.id = u.id
      LEFT JOIN session_chain.transcript_texts p ON p.id = b.patch_id
      WHERE shared.id IS NULL`,
      values: [projectId, sessionId],
    },
  );
  return new Set(
    rows.map(
      ({ holder, patch, content, index }) => entryDecoder(holder as SessionId, patch)(content, index).uuid,
    ),
  );
}
