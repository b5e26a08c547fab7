import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type pg from 'pg';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { LocalTranscript, TranscriptPart } from '../../transcript/local-files.js';
import { entryBytes, isSameEntry } from '../../transcript/records.js';
import { type Pool, queryRows, sendStatement } from '../db/pool.js';
import { inTransaction } from '../db/transaction.js';
import { projectNotFound, sessionOfAnotherProject } from '../heads/errors.js';
import { appendQuery, createTranscriptStore, firstOfEachUuid, loadSubagents } from '../transcripts/store.js';
import { recordSession, unknownSpend } from './record.js';

/** Imports sessions that Claude Code wrote to a disk into the store, and exports them. */

export interface ImportRequest {
  projectId: ProjectId;
  /** Null: the newest version of the project moves along, where there is one. */
  versionId: VersionId | null;
  transcript: LocalTranscript;
}

export interface ImportedSession {
  projectId: ProjectId;
  sessionId: SessionId;
  /**
   * `copied`: the transcript was not in the store. `extended`: it had grown since it was stored. `unchanged`: all of it
   * was stored already.
   */
  transcript: 'copied' | 'extended' | 'unchanged';
  /** The number of entries stored by this call, subagents included. */
  entries: number;
  /**
   * The transition by which the session is or became the head; null for an earlier head, which does not become the head
   * again.
   */
  transition: { seq: number; source: string; isNew: boolean } | null;
  warnings: string[];
}

/**
 * Copies a transcript into the store, whole or not at all, and makes its session the head by an `import` transition; a
 * session that is the head already stays the head. May be repeated. Throws PROJECT_NOT_FOUND, VERSION_NOT_FOUND,
 * VERSION_OF_ANOTHER_PROJECT, PROJECT_BUSY while a chain holds the project, and SESSION_ALREADY_KNOWN for a session
 * that is being written here, that continued differently, or that is another project's.
 */
export async function importSession(
  pool: Pool,
  { projectId, versionId, transcript }: ImportRequest,
): Promise<ImportedSession> {
  const { sessionId } = transcript;
  const copied = await copyTranscript(pool, projectId, transcript);
  const imported = { projectId, sessionId, transcript: copied.outcome, entries: copied.entries };
  const warnings = [...transcript.warnings, ...copied.warnings];
  if (copied.wasHeadBefore !== null) {
    const stays = `The session was a head before; the head stays ${copied.wasHeadBefore}.`;
    return { ...imported, transition: null, warnings: [...warnings, stays] };
  }
  const recorded = await recordSession(pool, {
    projectId,
    versionId,
    sessionId,
    source: 'import',
    metrics: unknownSpend,
  });
  return {
    ...imported,
    transition: { seq: recorded.seq, source: recorded.source, isNew: !recorded.alreadyRecorded },
    warnings: [...warnings, ...recorded.warnings],
  };
}

interface Copied {
  outcome: ImportedSession['transcript'];
  entries: number;
  /** The present head, where the session was the head before. */
  wasHeadBefore: SessionId | null;
  warnings: string[];
}

/** One transaction under the project's lock: a reader finds nothing of the transcript, or all of it. */
async function copyTranscript(
  pool: Pool,
  projectId: ProjectId,
  { sessionId, parts }: LocalTranscript,
): Promise<Copied> {
  return await inTransaction(pool, async (client) => {
    const known = await lockAndLook(client, projectId, sessionId);
    if (known.holder !== null) {
      throw new SessionChainError(
        'PROJECT_BUSY',
        `The chain ${known.holder} works on the project ${projectId}; nothing was imported.`,
      );
    }
    if (known.isBeingWritten) {
      throw new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${sessionId} of the project ${projectId} is being written by a worker.`,
      );
    }
    if (known.isOfAnotherProject || !(await claimRow(client, projectId, sessionId))) {
      throw sessionOfAnotherProject(projectId, sessionId);
    }
    // Whatever a damaged store still has of it is replaced.
    if (!known.isWhole) await forgetTranscript(client, projectId, sessionId);
    const missing = known.isWhole
      ? await missingParts(pool, projectId, sessionId, parts)
      : { parts, warnings: [] };
    if (known.isWhole && known.isForked && missing.parts.some(({ subpath }) => subpath === '')) {
      throw new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${sessionId} has gone on since it was stored, and other sessions have forked what is stored.`,
        'Fork it in Claude Code where it went on (claude --resume … --fork-session), and import the session that this makes.',
      );
    }
    await appendParts(client, projectId, sessionId, missing.parts);
    const entries = missing.parts.reduce((sum, part) => sum + part.entries.length, 0);
    return {
      outcome: known.isWhole ? (entries > 0 ? 'extended' : 'unchanged') : 'copied',
      entries,
      wasHeadBefore: known.wasHead && known.head !== sessionId ? known.head : null,
      warnings: missing.warnings,
    };
  });
}

interface Known {
  head: SessionId | null;
  /** Workflow id of the chain that holds the project. */
  holder: string | null;
  wasHead: boolean;
  isWhole: boolean;
  isForked: boolean;
  isBeingWritten: boolean;
  isOfAnotherProject: boolean;
}

async function lockAndLook(
  client: pg.PoolClient,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<Known> {
  await client.query('SELECT session_chain.lock_project($1)', [projectId]);
  const { rows } = await client.query<Known>(
    `SELECT p.last_ai_session_id AS head,
       (SELECT h.workflow_id FROM session_chain.holder_of($1) h) AS holder,
       session_chain.was_head($1, $2) AS "wasHead",
       session_chain.session_fitness($1, $2) = 'whole' AS "isWhole",
       EXISTS (SELECT FROM session_chain.sessions s WHERE s.project_id = $1 AND s.parent_session_id = $2) AS "isForked",
       EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = $1 AND a.session_id = $2
         AND a.state IN ('running', 'waiting') AND a.build_id NOT LIKE 'record:%') AS "isBeingWritten",
       session_chain.is_of_another_project($1, $2) AS "isOfAnotherProject"
     FROM projects p WHERE p.project_id = session_chain.project_key($1)`,
    [projectId, sessionId],
  );
  if (rows[0]) return rows[0];
  throw projectNotFound(projectId);
}

/** Gives the session its row; false where another project has begun with it meanwhile. */
async function claimRow(client: pg.PoolClient, projectId: ProjectId, sessionId: SessionId): Promise<boolean> {
  await client.query(
    'INSERT INTO session_chain.sessions (project_id, session_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
    [projectId, sessionId],
  );
  const { rowCount } = await client.query(
    'SELECT FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2',
    [projectId, sessionId],
  );
  return rowCount === 1;
}

/** What the store lacks of a transcript that continues from what it has. */
async function missingParts(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  parts: TranscriptPart[],
): Promise<{ parts: TranscriptPart[]; warnings: string[] }> {
  const store = createTranscriptStore({ pool, projectId });
  const missing: TranscriptPart[] = [];
  const warnings: string[] = [];
  for (const { subpath, entries } of parts) {
    const stored =
      (await store.load({ projectKey: '', sessionId, ...(subpath === '' ? {} : { subpath }) })) ?? [];
    const rest = continuation(stored, firstOfEachUuid(entries));
    if (rest && rest.length > 0) missing.push({ subpath, entries: rest });
    if (rest) continue;
    if (subpath === '') {
      throw new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${sessionId} of the project ${projectId} is in the store with other entries than the local file.`,
        'Import the session under its own project, or go on from the one in the store.',
      );
    }
    warnings.push(`The store has another ${subpath} of this session and keeps it.`);
  }
  return { parts: missing, warnings };
}

/** What comes after the stored entries; empty where the store has as much or more, null where they differ. */
function continuation(stored: SessionStoreEntry[], local: SessionStoreEntry[]): SessionStoreEntry[] | null {
  const both = Math.min(stored.length, local.length);
  for (let index = 0; index < both; index++) {
    if (!isSameEntry(stored[index], local[index])) return null;
  }
  return local.slice(both);
}

async function forgetTranscript(
  client: pg.PoolClient,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<void> {
  await client.query(
    `WITH forgotten AS (
       UPDATE session_chain.sessions SET entries = 0, messages = 0, context_tokens = 0, quarantined_at = NULL, quarantine_reason = NULL
       WHERE project_id = $1 AND session_id = $2 RETURNING id
     )
     DELETE FROM session_chain.transcript_batches b USING forgotten f WHERE b.session = f.id`,
    [projectId, sessionId],
  );
}

/** The maximum entries of one append, and about how many bytes. */
const batchEntries = 500;
const batchBytes = 4_000_000;

async function appendParts(
  client: pg.PoolClient,
  projectId: ProjectId,
  sessionId: SessionId,
  parts: TranscriptPart[],
): Promise<void> {
  if (parts.length === 0) return;
  const seal = async (at: string) =>
    await client.query(
      `UPDATE session_chain.sessions SET sealed_at = ${at} WHERE project_id = $1 AND session_id = $2`,
      [projectId, sessionId],
    );
  await seal('NULL');
  for (const { subpath, entries } of parts) {
    for (const batch of batchesOf(entries)) {
      await sendStatement(client, appendQuery(projectId, { sessionId, subpath }, batch));
    }
  }
  await seal('clock_timestamp()');
}

function* batchesOf(entries: SessionStoreEntry[]): Generator<SessionStoreEntry[]> {
  let batch: SessionStoreEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    batch.push(entry);
    bytes += entryBytes(entry);
    if (batch.length < batchEntries && bytes < batchBytes) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** The whole transcript of a session, as it was appended. Throws SESSION_NOT_IN_STORE. */
export async function loadTranscript(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<TranscriptPart[]> {
  const store = createTranscriptStore({ pool, projectId });
  const main = await store.load({ projectKey: '', sessionId });
  if (!main) {
    throw new SessionChainError(
      'SESSION_NOT_IN_STORE',
      `The transcript of the session ${sessionId} of the project ${projectId} is not in the store.`,
      'Look at the lineage of the project (`tree`) for the sessions that it has.',
    );
  }
  return [{ subpath: '', entries: main }, ...(await loadSubagents(store, sessionId))];
}

/** The project whose store holds a session. */
export async function projectOfSession(
  pool: Pool,
  sessionId: SessionId,
  only: ProjectId | null = null,
): Promise<ProjectId | null> {
  const [row] = await queryRows<{ projectId: ProjectId }>(pool, {
    text: `SELECT project_id AS "projectId" FROM session_chain.sessions
           WHERE session_id = $1 AND ($2::text IS NULL OR project_id = $2) AND entries > 0
           ORDER BY given_up_at NULLS FIRST LIMIT 1`,
    values: [sessionId, only],
  });
  return row?.projectId ?? null;
}

/** A project's head as an import sees it. */
export interface HeadToImport {
  projectId: ProjectId;
  sessionId: SessionId;
  /** Its transcript is in the store and its transition is written. */
  isThere: boolean;
}

/** Every head, read page by page in the order of the project ids. */
export async function* headsToImport(pool: Pool): AsyncGenerator<HeadToImport> {
  const pageSize = 500;
  for (let after: ProjectId | null = null; ;) {
    const page: HeadToImport[] = await queryRows<HeadToImport>(pool, {
      text: `SELECT p.project_id::text AS "projectId", p.last_ai_session_id AS "sessionId",
               session_chain.session_fitness(p.project_id::text, p.last_ai_session_id::text) = 'whole' AND EXISTS (
                 SELECT FROM session_transitions t
                 WHERE t.project_id = session_chain.transition_project_key(p.project_id::text) AND t.seq = p.session_seq
                   AND t.new_session_id = p.last_ai_session_id) AS "isThere"
             FROM projects p
             WHERE p.last_ai_session_id IS NOT NULL ${after === null ? '' : 'AND p.project_id > session_chain.project_key($1)'}
             ORDER BY p.project_id LIMIT ${pageSize}`,
      values: after === null ? [] : [after],
    });
    yield* page;
    after = page.at(-1)?.projectId ?? null;
    if (page.length < pageSize) return;
  }
}
