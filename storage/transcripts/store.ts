import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionKey, SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { QueryConfig, QueryResultRow } from 'pg';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import {
  type Pool,
  type Query,
  isDatabaseAway,
  queryOne,
  queryRows,
  sendStatement,
  sqlState,
} from '../db/pool.js';
import { type Stored, digestOf, encodeBatch, entryDecoder } from '../../transcript/codec.js';
import { contextTokensOf } from '../../transcript/context-size.js';
import { ownEntries } from '../../transcript/entries.js';
import { type LoadedTranscript, type References, loadedTranscript, referTo } from './references.js';

export interface TranscriptStoreOptions {
  pool: Pool;
  projectId: ProjectId;
  /** How long one call waits for an unavailable database; below the 60 s after which the SDK gives up on the call. */
  waitForDatabaseMs?: number;
}

/** The SDK's store with all its optional methods except summaries. */
export type TranscriptStore = Required<
  Pick<SessionStore, 'append' | 'load' | 'listSessions' | 'delete' | 'listSubkeys'>
> & {
  /**
   * The first append of a session that goes on from another one of the project and repeats nothing of it: a copy of the
   * base's main transcript, made where it is stored, and then these entries; all or nothing. Errors besides those of
   * `append`: SESSION_NOT_IN_STORE when the base is not whole, INTERNAL when the session holds other appends.
   */
  appendToCopy(key: SessionKey, baseSessionId: SessionId, entries: SessionStoreEntry[]): Promise<void>;
  /** How many appends a session holds, as far as this store has appended to it; 0 where it has appended nothing. */
  appends(sessionId: string): number;
};

/**
 * The transcripts of one project, as the Agent SDK reads and writes them. The SDK's own projectKey, which is derived
 * from the working folder, is ignored: a session is found from any host, home and folder. `append` keeps the order of
 * each session's entries, waits for an unavailable database, stores an append whose answer was lost only once, and
 * after a failure refuses everything that follows in this session: a transcript may end early, but it has no hole. Each
 * append says how many come before it: a database that went back and lacks some refuses it, too. Errors: FENCED when
 * the session is sealed, DATABASE_WENT_BACK, STORE_REFUSED when the entries could not be stored. What the transcript that
 * was loaded last holds already is not sent again but referred to. `load` returns the
 * entries as they were appended, byte for byte as JSON, a repeated uuid once; null when the session has none. `delete`
 * refuses (SESSION_IN_USE) what a head, a version or an attempt needs.
 */
export function createTranscriptStore({
  pool,
  projectId,
  waitForDatabaseMs = 45_000,
}: TranscriptStoreOptions): TranscriptStore {
  const appendInOrder = createLanes();

  const appends = new Map<string, number>();

  /** What a fork will repeat. */
  let loaded: LoadedTranscript | null = null;

  async function send(append: QueryConfig, sessionId: string, deadlineMs: number): Promise<void> {
    const [row] = await untilDatabaseReturns(deadlineMs, (timeoutMs) =>
      sendStatement<{ ordinal: number }>(pool, timed(append, timeoutMs)),
    );
    if (row) appends.set(sessionId, row.ordinal);
  }

  async function write(append: Append, sessionId: string, deadlineMs: number): Promise<void> {
    const known = appends.get(sessionId);
    const sendIt = async (of: Append) => await send(of.query(known ?? null), sessionId, deadlineMs);
    try {
      await sendIt(append).catch(async (error: unknown) => {
        if (!append.whole || !isSqlError(error, otherTexts)) throw error;
        await sendIt(append.whole);
      });
    } catch (error) {
      if (!isStoredBefore(error)) throw await refusal(pool, projectId, sessionId, error);
      appends.set(sessionId, (known ?? 0) + 1);
    }
  }

  async function read<Row extends QueryResultRow>(query: Query): Promise<Row[]> {
    return untilDatabaseReturns(Date.now() + waitForDatabaseMs, (timeoutMs) =>
      queryRows<Row>(pool, timed(query, timeoutMs)),
    );
  }

  return {
    appends: (sessionId) => appends.get(sessionId) ?? 0,

    async append(key, entries) {
      if (entries.length === 0) return;
      const deadlineMs = Date.now() + waitForDatabaseMs;
      const append = appendOf(projectId, key, entries, loaded);
      await appendInOrder(key.sessionId, () => write(append, key.sessionId, deadlineMs));
    },

    async appendToCopy(key, baseSessionId, entries) {
      if (entries.length === 0) throw new Error('The first append of a copy has no entries.');
      const deadlineMs = Date.now() + waitForDatabaseMs;
      const query = copyQuery(projectId, key, baseSessionId, entries);
      await appendInOrder(key.sessionId, async () => {
        try {
          await send(query, key.sessionId, deadlineMs);
        } catch (error) {
          throw await refusal(pool, projectId, key.sessionId, error);
        }
      });
    },

    async load({ sessionId, subpath }) {
      const rows = await read<EntryRow>(loadQuery(projectId, sessionId, subpath ?? ''));
      if (rows.length === 0) return null;
      const entries = firstOfEachUuid(decodeRows(sessionId, rows));
      if (!subpath) {
        const digests = rows.map(({ content }) => digestOf(content ?? ''));
        loaded = loadedTranscript(sessionId, digests);
      }
      return entries;
    },

    async listSessions() {
      const rows = await read<{ session_id: string; appended_ms: number }>({
        text: `SELECT s.session_id, floor(extract(epoch FROM s.appended_at) * 1000)::bigint AS appended_ms
               FROM session_chain.sessions s
               WHERE s.project_id = $1 AND s.entries > 0`,
        values: [projectId],
      });
      return rows.map((row) => ({ sessionId: row.session_id, mtime: row.appended_ms }));
    },

    async delete({ sessionId, subpath }) {
      appends.delete(sessionId);
      const [row] = await read<{ outcome: string }>({
        text: 'SELECT session_chain.delete_session($1, $2, $3) AS outcome',
        values: [projectId, sessionId, subpath ?? null],
      });
      if (row?.outcome === 'referenced') {
        throw new SessionChainError(
          'SESSION_IN_USE',
          `Session ${sessionId} of project ${projectId} is still needed: a head, a version or an attempt refers to it.`,
        );
      }
    },

    async listSubkeys({ sessionId }) {
      const rows = await read<{ subpath: string }>({
        text: `SELECT DISTINCT b.subpath
               FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
               WHERE s.project_id = $1 AND s.session_id = $2 AND b.subpath <> ''
               ORDER BY b.subpath`,
        values: [projectId, sessionId],
      });
      return rows.map((row) => row.subpath);
    },
  };
}

/** The transcripts of the subagents that a session started itself; no fork has them. */
export async function loadSubagents(
  store: Pick<TranscriptStore, 'load' | 'listSubkeys'>,
  sessionId: SessionId,
): Promise<{ subpath: string; entries: SessionStoreEntry[] }[]> {
  const session = { projectKey: '', sessionId };
  return await Promise.all(
    (await store.listSubkeys(session)).map(async (subpath) => ({
      subpath,
      entries: (await store.load({ ...session, subpath })) ?? [],
    })),
  );
}

/**
 * What sessions have added to the sessions that they continue from, without their parents' entries, by session: one
 * statement whatever their number. Only what differs between a session and its parent is read. An entry that is no
 * longer in the store is left out.
 */
export async function loadOwnEntries(
  pool: Pool,
  projectId: ProjectId,
  sessions: readonly { sessionId: SessionId; baseSessionId: SessionId | null }[],
): Promise<Map<SessionId, OwnEntries>> {
  const rows = await queryRows<
    Omit<EntryRow, 'content'> & {
      sessionId: SessionId;
      isOwn: boolean;
      holder: string;
      subpath: string;
      content: string;
    }
  >(pool, {
    name: 'load_own_entries',
    text: `
      WITH wanted AS MATERIALIZED (
        SELECT w.session_id, s.id, o.id AS base, o.session_id AS base_session_id
        FROM unnest($2::text[], $3::text[]) AS w (session_id, base_session_id)
        JOIN session_chain.sessions s ON s.project_id = $1 AND s.session_id = w.session_id
        LEFT JOIN session_chain.sessions o ON o.project_id = $1 AND o.session_id = w.base_session_id
      ), side AS MATERIALIZED (
        SELECT session_id, true AS is_own, session_id AS holder, id AS session, base AS other FROM wanted
        UNION ALL
        SELECT session_id, false, base_session_id, base, id FROM wanted WHERE base IS NOT NULL
      ), of_other AS MATERIALIZED (
        SELECT DISTINCT d.session, d.other, u.id FROM side d
        JOIN session_chain.transcript_batches b ON b.session = d.other AND b.subpath = ''
        CROSS JOIN unnest(b.entry_ids) AS u (id)
      )
      SELECT d.session_id AS "sessionId", d.is_own AS "isOwn", d.holder, b.subpath, b.ordinal, (u.n - 1)::integer AS index,
        p.content AS patch, t.content
      FROM side d
      JOIN session_chain.transcript_batches b ON b.session = d.session AND (d.is_own OR b.subpath = '')
      CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
      LEFT JOIN of_other i ON i.session = d.session AND i.other = d.other AND i.id = u.id
      JOIN session_chain.transcript_texts t ON t.id = u.id
      LEFT JOIN session_chain.transcript_texts p ON p.id = b.patch_id
      WHERE i.id IS NULL
      ORDER BY b.session, b.ordinal, u.n`,
    values: [
      projectId,
      sessions.map(({ sessionId }) => sessionId),
      sessions.map(({ baseSessionId }) => baseSessionId ?? ''),
    ],
  });
  const entriesOf = (sessionId: SessionId, isWanted: (row: (typeof rows)[number]) => boolean) =>
    rows
      .filter((row) => row.sessionId === sessionId && isWanted(row))
      .map(({ holder, patch, content, index }) => entryDecoder(holder, patch)(content, index));
  return new Map(
    sessions.map(({ sessionId }) => {
      const main = entriesOf(sessionId, ({ isOwn, subpath }) => isOwn && subpath === '');
      // A compaction rewrites an entry that it keeps: it is the same entry by its uuid.
      const ofBase = entriesOf(sessionId, ({ isOwn }) => !isOwn);
      const bySubagents = entriesOf(sessionId, ({ isOwn, subpath }) => isOwn && subpath !== '');
      return [sessionId, { main: firstOfEachUuid(ownEntries(main, ofBase)), bySubagents }];
    }),
  );
}

export interface OwnEntries {
  main: SessionStoreEntry[];
  bySubagents: SessionStoreEntry[];
}

export interface SessionState {
  /** False for an id that was never seen here; everything else is then zero or false. */
  exists: boolean;
  /** Entries of the main transcript. */
  entries: number;
  sealed: boolean;
  quarantined: boolean;
  /** What the agent appended to it, before anything was shared. */
  appendedBytes: number;
}

export async function sessionState(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<SessionState> {
  const [row] = await queryRows<Omit<SessionState, 'exists'>>(pool, {
    text: `SELECT s.entries, s.sealed_at IS NOT NULL AS sealed, s.quarantined_at IS NOT NULL AS quarantined,
             s.appended_bytes AS "appendedBytes"
           FROM session_chain.sessions s WHERE s.project_id = $1 AND s.session_id = $2`,
    values: [projectId, sessionId],
  });
  return row
    ? { exists: true, ...row }
    : { exists: false, entries: 0, sealed: false, quarantined: false, appendedBytes: 0 };
}

/**
 * Whether an operation can continue from a session:
 * - `whole`: yes.
 * - `quarantined`: a step could not load it.
 * - `archived`: once it is restored; its transcript is in the archive alone.
 * - `hole`: entries of its transcript are no longer in the store.
 * - `lost`: it was here, or its operation ran here, or it was given up, and nothing of it is here.
 * - `unknown`: it never was here.
 */
export type SessionFitness = 'whole' | 'quarantined' | 'archived' | 'hole' | 'lost' | 'unknown';

/** Whether a step may continue from this session. */
export async function sessionFitness(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<SessionFitness> {
  const { fitness } = await queryOne<{ fitness: SessionFitness }>(pool, {
    name: 'session_fitness',
    text: 'SELECT session_chain.session_fitness($1, $2) AS fitness',
    values: [projectId, sessionId],
  });
  return fitness;
}

/** The size of a session's context in tokens; 0 when its transcript does not state it. */
export async function contextTokens(pool: Pool, projectId: ProjectId, sessionId: SessionId): Promise<number> {
  const [row] = await queryRows<{ tokens: number }>(pool, {
    name: 'context_tokens',
    text: `SELECT context_tokens AS tokens FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2`,
    values: [projectId, sessionId],
  });
  return row?.tokens ?? 0;
}

/**
 * What the agents of a project appended, and what its transcripts take in the database: the sum of the stored values
 * (compressed as they are) plus the row headers, without indexes.
 */
export async function transcriptBytes(
  pool: Pool,
  projectId: ProjectId,
): Promise<{ appendedBytes: number; storedBytes: number }> {
  const [row] = await queryRows<{ appended: number; stored: number }>(pool, {
    text: `
      WITH session AS (SELECT * FROM session_chain.sessions s WHERE s.project_id = $1),
      -- 23 bytes of header padded to 24, and a line pointer of 4
      size (bytes) AS (
        SELECT sum(28 + pg_column_size(s.id) + pg_column_size(s.project_id) + pg_column_size(s.session_id)
          + coalesce(pg_column_size(s.parent_session_id), 0) + 4 + 8 * 3 + 8 * 3) FROM session s
        UNION ALL
        SELECT sum(28 + pg_column_size(t.id) + pg_column_size(t.project_id) + pg_column_size(t.digest)
          + pg_column_size(t.content)) FROM session_chain.transcript_texts t WHERE t.project_id = $1
        UNION ALL
        SELECT sum(28 + pg_column_size(b.session) + pg_column_size(b.ordinal) + pg_column_size(b.append_id)
          + coalesce(pg_column_size(b.patch_id), 0) + pg_column_size(b.subpath) + pg_column_size(b.entry_ids))
        FROM session JOIN session_chain.transcript_batches b ON b.session = session.id
      )
      SELECT (SELECT coalesce(sum(appended_bytes), 0) FROM session)::bigint AS appended,
        (SELECT coalesce(sum(bytes), 0) FROM size)::bigint AS stored`,
    values: [projectId],
  });
  return { appendedBytes: row?.appended ?? 0, storedBytes: row?.stored ?? 0 };
}

/** The statement that stores one append to a session; each call makes a new key. */
export function appendQuery(
  projectId: ProjectId,
  key: Pick<SessionKey, 'sessionId' | 'subpath'>,
  entries: SessionStoreEntry[],
): QueryConfig {
  return appendOf(projectId, key, entries, null).query(null);
}

interface Append {
  /** The statement, by how many appends the session holds; null for not checked. */
  query: (after: number | null) => QueryConfig;
  /** The same without references; null where it has none. */
  whole: Append | null;
}

function appendOf(
  projectId: ProjectId,
  { sessionId, subpath = '' }: Pick<SessionKey, 'sessionId' | 'subpath'>,
  entries: SessionStoreEntry[],
  loaded: LoadedTranscript | null,
): Append {
  const { contents, ...batch } = encodeBatch(sessionId, entries);
  const appendId = randomUUID();
  const sending = (references: References | null): Append['query'] => {
    const texts = textsOf(references?.own ?? contents, batch.patch);
    return (after) => ({
      name: 'append_entries',
      text: 'SELECT session_chain.append_entries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS ordinal',
      values: [
        ...[projectId, sessionId, subpath, appendId, ...texts],
        ...[references?.baseSessionId ?? null, references?.runs ?? null, references?.proof ?? null],
        ...[batch.messages, batch.bytes, contextTokensIn(entries, subpath), after],
      ],
    });
  };
  const references = loaded && referTo(loaded, contents);
  return {
    query: sending(references),
    whole: references && { query: sending(null), whole: null },
  };
}

/** The statement that stores the first append of a session after a copy of its base. */
function copyQuery(
  projectId: ProjectId,
  { sessionId, subpath = '' }: Pick<SessionKey, 'sessionId' | 'subpath'>,
  baseSessionId: SessionId,
  entries: SessionStoreEntry[],
): QueryConfig {
  const { contents, patch, messages, bytes } = encodeBatch(sessionId, entries);
  return {
    name: 'append_to_copy',
    text: 'SELECT session_chain.append_to_copy($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS ordinal',
    values: [
      ...[projectId, sessionId, baseSessionId, subpath, randomUUID(), ...textsOf(contents, patch)],
      ...[messages, bytes, contextTokensIn(entries, subpath)],
    ],
  };
}

/** The texts of an append: their digests, the texts joined, and whether the last one is a patch. */
function textsOf(contents: readonly Stored[], patch: Stored | null): [Buffer[], string, boolean] {
  const texts = patch === null ? contents : [...contents, patch];
  return [
    texts.map(({ digest }) => digest),
    texts.map(({ text }) => text).join(textSeparator),
    patch !== null,
  ];
}

/** A subagent has its own context. */
function contextTokensIn(entries: SessionStoreEntry[], subpath: string): number | null {
  return subpath === '' ? contextTokensOf(entries) : null;
}

interface EntryRow {
  ordinal: number;
  index: number;
  patch: string | null;
  /** Null when the batch names an entry that is no longer stored. */
  content: string | null;
}

/** The entries of a transcript in append order; the patch of a batch comes with its first entry. */
function loadQuery(projectId: string, sessionId: string, subpath: string): Query {
  return {
    name: 'load_transcript',
    text: `
      SELECT b.ordinal, (u.n - 1)::integer AS index, p.content AS patch, t.content
      FROM session_chain.sessions s
      JOIN session_chain.transcript_batches b ON b.session = s.id AND b.subpath = $3
      CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
      LEFT JOIN session_chain.transcript_texts t ON t.id = u.id
      LEFT JOIN session_chain.transcript_texts p ON p.id = b.patch_id AND u.n = 1
      WHERE s.project_id = $1 AND s.session_id = $2
      ORDER BY b.ordinal, u.n`,
    values: [projectId, sessionId, subpath],
  };
}

function decodeRows(sessionId: string, rows: EntryRow[]): SessionStoreEntry[] {
  let decode = entryDecoder(sessionId, null);
  return rows.map(({ ordinal, index, patch, content }) => {
    if (content === null) throw holeIn(sessionId, ordinal, index);
    if (index === 0) decode = entryDecoder(sessionId, patch);
    return decode(content, index);
  });
}

/** The error of a transcript that lacks an entry. */
export function holeIn(sessionId: string, ordinal: number, index: number): SessionChainError {
  return new SessionChainError(
    'SESSION_NOT_IN_STORE',
    `The transcript of session ${sessionId} lacks entry ${index + 1} of its append ${ordinal}.`,
    'Restore session_chain.transcript_texts from a backup, or go on from an earlier session.',
  );
}

/** An entry's uuid is its idempotency key; entries without one (titles, modes) are all kept. */
export function firstOfEachUuid(entries: SessionStoreEntry[]): SessionStoreEntry[] {
  const seen = new Set<string>();
  return entries.filter(({ uuid }) => {
    if (typeof uuid !== 'string') return true;
    if (seen.has(uuid)) return false;
    seen.add(uuid);
    return true;
  });
}

/** Runs the tasks of one lane one after the other. Once one has failed, all later ones fail the same way, unrun. */
function createLanes(): (lane: string, task: () => Promise<void>) => Promise<void> {
  const lanes = new Map<string, Promise<void>>();
  return (lane, task) => {
    const result = (lanes.get(lane) ?? Promise.resolve()).then(task);
    lanes.set(lane, result);
    const forgetIfLast = () => {
      if (lanes.get(lane) === result) lanes.delete(lane);
    };
    result.then(forgetIfLast, () => undefined);
    return result;
  };
}

/** Retries with pauses of 50 ms to 2 s while the database is unavailable, until the deadline. */
async function untilDatabaseReturns<T>(
  deadlineMs: number,
  attempt: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    try {
      // A connection that died silently never answers: a limit per try, so that another connection is tried.
      return await attempt(Math.min(Math.max(deadlineMs - Date.now(), 1_000), 20_000));
    } catch (error) {
      if (!isDatabaseAway(error) || Date.now() + pauseMs >= deadlineMs) throw error;
      await sleep(pauseMs);
    }
  }
}

/**
 * node-postgres takes a limit per statement, which its types do not have; when it is reached, the connection is
 * dropped.
 */
function timed<Timed extends object>(query: Timed, timeoutMs: number): Timed {
  return { ...query, query_timeout: timeoutMs };
}

/** Between the texts of one append; JSON never holds it raw. */
const textSeparator = '\u0003';

/** Our own SQLSTATEs, raised by session_chain.append_entries and append_to_copy. */
const sessionSealed = 'SC001';
const appendsMissing = 'SC002';
const otherTexts = 'SC003';
const baseNotWhole = 'SC005';
const notTheFirst = 'SC006';

function isSqlError(error: unknown, state: string): boolean {
  return (error as { code?: unknown } | null)?.code === state;
}

/** The answer to the first try was lost, not the append. */
function isStoredBefore(error: unknown): boolean {
  return (
    isSqlError(error, '23505') &&
    (error as { constraint?: unknown }).constraint === 'transcript_batches_append_key'
  );
}

/** What ended the attempt of a sealed session; null where that cannot be read now. */
async function whySealed(pool: Pool, projectId: ProjectId, sessionId: string): Promise<string | null> {
  const rows = await queryRows<{ why: string }>(pool, {
    name: 'why_sealed',
    text: `SELECT session_chain.why_attempt_ended(a.id) AS why FROM session_chain.attempts a
           WHERE a.project_id = $1 AND a.session_id = $2`,
    values: [projectId, sessionId],
  }).catch(() => []);
  return rows[0]?.why ?? null;
}

async function refusal(
  pool: Pool,
  projectId: ProjectId,
  sessionId: string,
  error: unknown,
): Promise<SessionChainError> {
  const reason = String((error as { message?: unknown }).message);
  if (isSqlError(error, appendsMissing)) {
    return new SessionChainError(
      'DATABASE_WENT_BACK',
      `The session ${sessionId} lacks what was stored of it before: the database went back to an earlier state.`,
      undefined,
      { cause: error },
    );
  }
  if (isSqlError(error, sessionSealed)) {
    const why = await whySealed(pool, projectId, sessionId);
    return new SessionChainError(
      'FENCED',
      `The session ${sessionId} takes no further entry${why === null ? '' : `: ${why}`}.`,
      undefined,
      { cause: error },
    );
  }
  if (isSqlError(error, baseNotWhole)) {
    return new SessionChainError(
      'SESSION_NOT_IN_STORE',
      `The session ${sessionId} could not begin: ${reason}`,
      undefined,
      { cause: error },
    );
  }
  // A violated constraint of our own tables, and an error that no database raised, are our own errors.
  const state = sqlState(error);
  const isOurs = state === null ? !isDatabaseAway(error) : state === notTheFirst || /^23/.test(state);
  return new SessionChainError(
    isOurs ? 'INTERNAL' : 'STORE_REFUSED',
    `The transcript of session ${sessionId} could not be stored: ${reason}`,
    undefined,
    { cause: error },
  );
}
