import type { PoolClient } from 'pg';
import type { ArchivedAppend, ArchivedSession, PartLine, PartWritten } from '../../contracts/archive.js';
import { type Failure, SessionChainError } from '../../contracts/failures.js';
import type { ChainId, ProjectId, SessionId } from '../../contracts/ids.js';
import type { Restored } from '../../contracts/retention.js';
import { digestOf } from '../../transcript/codec.js';
import { type Connection, type Pool, queryOne, queryRows } from '../db/pool.js';
import { inTransaction } from '../db/transaction.js';
import { sessionOfAnotherProject } from '../heads/errors.js';
import { jsonbOf } from '../jsonb.js';

/** Brings back what a file of the archive holds. Each file is one transaction, and may be restored again. */

/** A file of the archive that was verified. */
export interface RestorableFile {
  /** Where it is, for people and for archive_parts. */
  location: string;
  object: string;
  part: string;
  /** As `2026-11`. */
  month: string;
  written: PartWritten;
}

export type RestoredLines = Pick<Restored, 'sessions' | 'entries' | 'details' | 'left'>;

export interface RestoreOptions {
  /** Only this session, with the texts that it needs, as `textsOf` finds them. */
  only?: { sessionId: SessionId; texts: ReadonlySet<string> };
  /** Days for which retention leaves the project alone; absent: as before. */
  keepDays?: number;
  signal?: AbortSignal;
}

/** The digests of the texts that a session needs of a file; null where the file does not hold the session. */
export async function textsOf(
  lines: AsyncIterable<PartLine>,
  sessionId: SessionId,
): Promise<Set<string> | null> {
  const texts = new Set<string>();
  let isThere = false;
  for await (const line of lines) {
    if (line.kind === 'session') isThere ||= line.session_id === sessionId;
    if (line.kind !== 'append' || line.session_id !== sessionId) continue;
    for (const digest of textsOfAppend(line)) texts.add(digest);
  }
  return isThere ? texts : null;
}

/**
 * Restores what the lines of a verified file say, in one transaction. A session that is here and the same is left. Throws
 * SESSION_DIFFERS for one that is here and is another, SESSION_ALREADY_KNOWN for one of another project, ARCHIVE_DAMAGED for
 * lines that no transcript is made of, and PROJECT_BEING_ERASED; then nothing was changed.
 */
export async function restoreLines(
  pool: Pool,
  projectId: ProjectId,
  file: RestorableFile,
  lines: AsyncIterable<PartLine>,
  { only, keepDays, signal }: RestoreOptions = {},
): Promise<RestoredLines> {
  return await inTransaction(pool, async (client) => {
    await beginRestore(client, projectId, keepDays);
    const isKnown = await notePart(client, projectId, file);
    const restoring = createRestoring(client, projectId, file, { isKnown });
    for await (const line of lines) {
      signal?.throwIfAborted();
      switch (line.kind) {
        case 'text':
          if (!only || only.texts.has(line.digest)) await restoring.text(line);
          break;
        case 'session':
          if (!only || only.sessionId === line.session_id) await restoring.session(line);
          break;
        case 'append':
          if (!only || only.sessionId === line.session_id) restoring.append(line);
          break;
        default:
          if (!only) restoring.detail(line);
      }
    }
    return await restoring.end();
  });
}

/** Texts of so many characters, or so many rows, are written by one statement. */
const chunkCharacters = 4_000_000;
const chunkRows = 500;

function createRestoring(
  client: PoolClient,
  projectId: ProjectId,
  file: RestorableFile,
  { isKnown }: { isKnown: boolean },
) {
  const restored: RestoredLines = {
    sessions: 0,
    entries: 0,
    details: 0,
    left: { transitions: 0, details: 0 },
  };
  let texts: { digest: string; content: string }[] = [];
  let characters = 0;
  let session: ArchivedSession | null = null;
  let appends: ArchivedAppend[] = [];
  const details: Detail[] = [];
  const transitions: object[] = [];

  async function writeTexts(): Promise<void> {
    if (texts.length === 0) return;
    await queryRows(client, {
      name: 'restore_texts',
      text: 'SELECT session_chain.restore_texts($1, $2, $3)',
      values: [
        projectId,
        texts.map(({ digest }) => Buffer.from(digest, 'hex')),
        texts.map(({ content }) => content).join(separator),
      ],
    });
    texts = [];
    characters = 0;
  }

  async function writeSession(): Promise<void> {
    if (!session) return;
    await writeTexts();
    const { session_id: sessionId } = session;
    const { outcome } = await queryOne<{ outcome: 'restored' | 'present' | 'differs' | 'elsewhere' }>(
      client,
      {
        name: 'restore_session',
        text: 'SELECT session_chain.restore_session($1, $2, $3, $4) AS outcome',
        values: [projectId, file.part, jsonbOf(session), jsonbOf(appends)],
      },
    );
    if (outcome === 'differs') throw differs(projectId, sessionId, file);
    if (outcome === 'elsewhere') throw sessionOfAnotherProject(projectId, sessionId);
    if (outcome === 'restored') {
      restored.sessions += 1;
      restored.entries += Number(session.entries);
    }
    session = null;
    appends = [];
  }

  async function writeDetails(): Promise<void> {
    if (details.length > 0) {
      const of = (kind: Detail['kind']) => jsonbOf(details.filter((line) => line.kind === kind).map(rowOf));
      const { restored: count, left } = await queryOne<{ restored: number; left: number }>(client, {
        name: 'restore_details',
        text: `SELECT session_chain.restore_details($2, $3, $4, $5) AS restored, (
                 SELECT count(*)::integer FROM jsonb_array_elements($3) AS r WHERE NOT EXISTS (SELECT FROM session_chain.attempts a
                   WHERE a.project_id = $1 AND a.session_id = r ->> 'session_id' AND a.id = (r ->> 'id')::bigint)) AS left`,
        values: [projectId, file.part, of('attempt'), of('metrics'), of('brief')],
      });
      restored.details += count;
      restored.left.details += left;
    }
    if (transitions.length > 0) {
      const { left } = await queryOne<{ left: number }>(client, {
        name: 'restore_archived',
        text: 'SELECT session_chain.restore_archived($1, $2, $3) AS left',
        values: [projectId, file.part, jsonbOf(transitions)],
      });
      restored.left.transitions += left;
    }
  }

  /** A line as the row of its table; another database has rows of its own under the ids of metrics. */
  function rowOf(line: Detail): Record<string, unknown> {
    const { kind, ...columns } = line;
    const row: Record<string, unknown> = {
      ...columns,
      ...(kind === 'brief' ? {} : { project_id: projectId }),
    };
    for (const name of jsonColumns[kind]) {
      const text = row[name];
      if (typeof text === 'string') row[name] = JSON.parse(text) as unknown;
    }
    if (kind !== 'metrics') return row;
    const { host, id, ...rest } = row;
    return { ...(host as object), ...rest, ...(isKnown ? { id } : {}) };
  }

  return {
    async text({ digest, content }: { digest: string; content: string }): Promise<void> {
      if (digestOf(content).toString('hex') !== digest || content.includes(separator)) {
        throw damaged(file, `the text ${digest} is not the one that its digest is of`);
      }
      texts.push({ digest, content });
      characters += content.length;
      if (characters >= chunkCharacters || texts.length >= chunkRows) await writeTexts();
    },
    async session({ kind: _, ...line }: Extract<PartLine, { kind: 'session' }>): Promise<void> {
      await writeSession();
      session = line;
    },
    append(line: ArchivedAppend): void {
      if (session?.session_id !== line.session_id) {
        throw damaged(file, `an append of the session ${line.session_id} does not follow its session`);
      }
      appends.push(line);
    },
    detail(line: Detail | TransitionLine): void {
      if (line.kind === 'transition') transitions.push(line);
      else details.push(line);
    },
    async end(): Promise<RestoredLines> {
      await writeSession();
      await writeTexts();
      await writeDetails();
      return restored;
    },
  };
}

type TransitionLine = Extract<PartLine, { kind: 'transition' }>;
type Detail = Extract<PartLine, { kind: 'attempt' | 'metrics' | 'brief' }>;

const jsonColumns: Record<Detail['kind'], readonly string[]> = {
  attempt: ['result', 'value', 'failure', 'evidence'],
  metrics: ['usage_by_model', 'host'],
  brief: ['parts'],
};

// No text of a transcript holds it.
const separator = '\u0003';

function textsOfAppend({ patch, entries }: ArchivedAppend): string[] {
  return patch === null ? entries : [...entries, patch];
}

async function beginRestore(
  connection: Connection,
  projectId: ProjectId,
  keepDays: number | undefined,
): Promise<void> {
  await queryRows(connection, { text: 'SELECT session_chain.begin_restore($1)', values: [projectId] });
  if (keepDays === undefined) return;
  await queryRows(connection, {
    text: 'SELECT session_chain.keep_restored($1, $2)',
    values: [projectId, keepDays],
  });
}

/** Whether this database knew the file. */
async function notePart(
  connection: Connection,
  projectId: ProjectId,
  { part, month, location, object, written }: RestorableFile,
): Promise<boolean> {
  const { isKnown } = await queryOne<{ isKnown: boolean }>(connection, {
    text: 'SELECT session_chain.restore_part($1, $2, $3, $4, $5, $6, $7, $8) AS "isKnown"',
    values: [
      ...[projectId, part, `${month}-01`, location, object],
      ...[written.bytes, written.sha256, jsonbOf(written.counts)],
    ],
  });
  return isKnown;
}

/**
 * Brings the transitions of a project from a month on (null: all) back into `session_transitions`; returns how many. Nothing
 * is changed where there are none. Throws PROJECT_BEING_ERASED.
 */
export async function restoreTransitions(
  pool: Pool,
  projectId: ProjectId,
  month: string | null,
  keepDays: number,
): Promise<number> {
  return await inTransaction(pool, async (client) => {
    await beginRestore(client, projectId, undefined);
    const { transitions } = await queryOne<{ transitions: number }>(client, {
      text: `SELECT session_chain.restore_transitions($1, ($2::date)::timestamp AT TIME ZONE 'UTC') AS transitions`,
      values: [projectId, month === null ? null : `${month}-01`],
    });
    if (transitions > 0) {
      await queryRows(client, {
        text: 'SELECT session_chain.keep_restored($1, $2)',
        values: [projectId, keepDays],
      });
    }
    return transitions;
  });
}

/** Whether a month, as `2026-11`, has transitions in the archive of the database. */
export async function hasTransitionsOf(pool: Pool, projectId: ProjectId, month: string): Promise<boolean> {
  const found = await queryRows(pool, {
    name: 'has_transitions_of',
    text: `SELECT FROM session_chain.session_transitions_archive a
           WHERE a.project_id = $1 AND date_trunc('month', a.created_at AT TIME ZONE 'UTC') = $2::date LIMIT 1`,
    values: [projectId, `${month}-01`],
  });
  return found.length > 0;
}

/** A file that the database knows of. */
export interface KnownFile {
  location: string;
  object: string;
  /** As `2026-11`. */
  month: string;
  expected: Pick<PartWritten, 'bytes' | 'sha256'>;
}

/** The verified files of a project, of one month where one is given, or the one that holds a session; the newest first. */
export async function knownFiles(
  pool: Pool,
  projectId: ProjectId,
  { month, sessionId }: { month?: string; sessionId?: SessionId },
): Promise<KnownFile[]> {
  return await queryRows<KnownFile>(pool, {
    name: 'known_files',
    text: `SELECT p.location, p.object, to_char(p.month, 'YYYY-MM') AS month,
             jsonb_build_object('bytes', p.bytes, 'sha256', p.sha256) AS expected
           FROM session_chain.archive_parts p
           WHERE p.project_id = $1 AND p.state = 'verified' AND ($2::date IS NULL OR p.month = $2::date)
             AND ($3::text IS NULL OR p.id = (SELECT s.archive_part FROM session_chain.sessions s
               WHERE s.project_id = $1 AND s.session_id = $3))
           ORDER BY p.month DESC, p.planned_at DESC, p.id`,
    values: [projectId, month === undefined ? null : `${month}-01`, sessionId ?? null],
  });
}

/** Whether the transcript of a session is in the archive alone. */
export async function isArchived(pool: Pool, projectId: ProjectId, sessionId: SessionId): Promise<boolean> {
  const [row] = await queryRows(pool, {
    name: 'is_archived',
    text: `SELECT FROM session_chain.sessions s
           WHERE s.project_id = $1 AND s.session_id = $2 AND s.dropped_at IS NOT NULL`,
    values: [projectId, sessionId],
  });
  return row !== undefined;
}

/** Why the last restoration of a project failed, in full; null where it did not. */
export async function readRestoreFailure(pool: Pool, projectId: ProjectId): Promise<Failure | null> {
  const [row] = await queryRows<{ failure: Failure | null }>(pool, {
    name: 'read_restore_failure',
    text: 'SELECT restore_failure AS failure FROM session_chain.project_retention WHERE project_id = $1',
    values: [projectId],
  });
  return row?.failure ?? null;
}

/** Keeps why a restoration failed, in full: Temporal's history holds the code. Null once one has succeeded. */
export async function noteRestoreFailure(
  pool: Pool,
  projectId: ProjectId,
  failure: Failure | null,
): Promise<void> {
  await queryRows(pool, {
    name: 'note_restore_failure',
    text: 'SELECT session_chain.note_restore_failure($1, $2)',
    values: [projectId, failure && jsonbOf(failure)],
  });
}

/** Whether the session from which a chain continues was brought back after the chain had opened. */
export async function wasRestoredFor(pool: Pool, chainId: ChainId, sessionId: SessionId): Promise<boolean> {
  const [row] = await queryRows(pool, {
    name: 'was_restored_for',
    text: `SELECT FROM session_chain.chains c JOIN session_chain.sessions s ON s.project_id = c.project_id
           WHERE c.id = $1 AND s.session_id = $2 AND s.restored_at >= c.opened_at`,
    values: [chainId, sessionId],
  });
  return row !== undefined;
}

function differs(projectId: ProjectId, sessionId: SessionId, file: RestorableFile): SessionChainError {
  return new SessionChainError(
    'SESSION_DIFFERS',
    `The session ${sessionId} of the project ${projectId} is in the store, with another transcript than in the file ${file.object} of the archive ${file.location}; nothing of that file was restored.`,
  );
}

function damaged(file: RestorableFile, what: string): SessionChainError {
  return new SessionChainError(
    'ARCHIVE_DAMAGED',
    `The file ${file.object} of the archive ${file.location} is not usable: ${what}.`,
  );
}
