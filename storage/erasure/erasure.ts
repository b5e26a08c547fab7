import type { ErasedCounts, Erasure, EraseRequest, ErasureCertificate } from '../../contracts/erasure.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { BuildId, ProjectId, SessionId } from '../../contracts/ids.js';
import { chatWorkflowId } from '../../temporal/names.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';

/** Erasures of projects: each is a row, which ends as its certificate. */

/**
 * Records that a project is to be erased, from when on nothing is begun in it, and returns the id of the erasure; of the
 * one that is under way, where there is one. Throws PROJECT_ON_HOLD, and PROJECT_NOT_FOUND where nothing of the project is
 * here and none was erased under this id.
 */
export async function requestErasure(pool: Pool, request: EraseRequest): Promise<string> {
  const { erasureId } = await ask(pool, request, false);
  return erasureId;
}

/** What an erasure would delete in the database. Throws as `requestErasure`. */
export async function planErasure(pool: Pool, projectId: ProjectId): Promise<ErasedCounts> {
  const { counts } = await ask(pool, { projectId, by: '' }, true);
  return counts;
}

async function ask(pool: Pool, { projectId, by, reason }: EraseRequest, dryRun: boolean) {
  const asked = await queryOne<{
    outcome: 'requested' | 'under_way' | 'planned' | 'on_hold' | 'unknown';
    erasureId: string;
    counts: ErasedCounts;
  }>(pool, {
    name: 'request_erasure',
    text: 'SELECT outcome, erasure_id AS "erasureId", counts FROM session_chain.request_erasure($1, $2, $3, $4)',
    values: [projectId, by, reason ?? null, dryRun],
  });
  if (asked.outcome === 'on_hold') {
    throw new SessionChainError(
      'PROJECT_ON_HOLD',
      `The project ${projectId} is on legal hold; nothing of it was erased.`,
    );
  }
  if (asked.outcome !== 'unknown') return asked;
  throw new SessionChainError(
    'PROJECT_NOT_FOUND',
    `Nothing of the project ${projectId} is in this database, and no project was erased under this id.`,
  );
}

interface ErasureRow {
  erasureId: string;
  projectId: ProjectId;
  requestedBy: string;
  reason: string | null;
  requestedAt: Date;
  finishedAt: Date | null;
  counts: ErasedCounts;
  certificate: Pick<ErasureCertificate, 'left' | 'later'> | null;
}

const erasureColumns = `e.id AS "erasureId", e.project_id AS "projectId", e.requested_by AS "requestedBy", e.reason,
  e.requested_at AS "requestedAt", e.finished_at AS "finishedAt", e.counts, e.certificate`;

/** The erasure that is under way, else the last one. Throws ERASURE_NOT_FOUND. */
export async function lastErasure(pool: Pool, projectId: ProjectId): Promise<Erasure> {
  const [row] = await queryRows<ErasureRow>(pool, {
    text: `SELECT ${erasureColumns} FROM session_chain.erasures e WHERE e.project_id = $1
           ORDER BY e.requested_at DESC LIMIT 1`,
    values: [projectId],
  });
  if (row) return erasureOf(row);
  throw new SessionChainError(
    'ERASURE_NOT_FOUND',
    `No erasure of the project ${projectId} was ever requested in this database.`,
  );
}

/** An erasure by its id. */
export async function readErasure(pool: Pool, erasureId: string): Promise<Erasure> {
  return erasureOf(
    await queryOne<ErasureRow>(pool, {
      text: `SELECT ${erasureColumns} FROM session_chain.erasures e WHERE e.id = $1`,
      values: [erasureId],
    }),
  );
}

function erasureOf({ certificate, finishedAt, counts, ...row }: ErasureRow): Erasure {
  const { erasureId, projectId } = row;
  if (!certificate || !finishedAt)
    return { erasureId, projectId, state: 'running', counts, certificate: null };
  return {
    ...{ erasureId, projectId, state: 'finished', counts },
    certificate: { ...row, finishedAt, erased: counts, left: certificate.left, later: certificate.later },
  };
}

/**
 * Tells everything that works for the project to stop. The ms until the last lease, of an agent or of a file of the archive
 * that is being written, has expired; null where there is none.
 */
export async function stopErased(pool: Pool, erasureId: string): Promise<number | null> {
  const { waitMs } = await queryOne<{ waitMs: number | null }>(pool, {
    name: 'stop_erased',
    text: 'SELECT session_chain.stop_erased($1) AS "waitMs"',
    values: [erasureId],
  });
  return waitMs;
}

/** Deletes some rows, and counts them; false while there are more. `columns`: those of submissions in `project_versions`. */
export async function eraseRows(
  pool: Pool,
  erasureId: string,
  columns: readonly string[],
  limit = 5_000,
): Promise<boolean> {
  const { isDone } = await queryOne<{ isDone: boolean }>(pool, {
    name: 'erase_rows',
    text: 'SELECT session_chain.erase_rows($1, $2, $3) AS "isDone"',
    values: [erasureId, columns, limit],
  });
  return isDone;
}

/** For the certificate: what is not a row, noted before it is deleted. */
export async function noteErased(
  pool: Pool,
  erasureId: string,
  kind: string,
  {
    count = 0,
    left = [],
    later = [],
  }: { count?: number } & Partial<Pick<ErasureCertificate, 'left' | 'later'>>,
): Promise<void> {
  await queryRows(pool, {
    name: 'note_erased',
    text: 'SELECT session_chain.note_erased($1, $2, $3, $4, $5)',
    values: [erasureId, kind, count, jsonbOf(left), jsonbOf(later)],
  });
}

/** Ends the erasure with its certificate; false where rows of the project are left. */
export async function finishErasure(
  pool: Pool,
  erasureId: string,
  { left, later }: Pick<ErasureCertificate, 'left' | 'later'>,
): Promise<boolean> {
  const { isDone } = await queryOne<{ isDone: boolean }>(pool, {
    name: 'finish_erasure',
    text: 'SELECT session_chain.finish_erasure($1, $2, $3) AS "isDone"',
    values: [erasureId, jsonbOf(left), jsonbOf(later)],
  });
  return isDone;
}

/** The workflows that the rows of a project name. */
export async function workflowsOf(pool: Pool, projectId: ProjectId): Promise<string[]> {
  const rows = await queryRows<{ workflowId: string | null; chatId: string | null }>(pool, {
    text: `SELECT c.workflow_id AS "workflowId", NULL AS "chatId" FROM session_chain.chains c WHERE c.project_id = $1
           UNION SELECT NULL, q.session_id::text FROM project_chat_log_minimal q
             WHERE q.project_id = session_chain.chat_log_project_key($1) AND q.question_id IS NOT NULL`,
    values: [projectId],
  });
  return rows.map(
    ({ workflowId, chatId }) => workflowId ?? chatWorkflowId({ projectId, chatId: chatId ?? '' }),
  );
}

/** The build ids under which a project has chains. */
export async function buildsOf(pool: Pool, projectId: ProjectId): Promise<BuildId[]> {
  const rows = await queryRows<{ buildId: BuildId }>(pool, {
    text: 'SELECT DISTINCT c.build_id AS "buildId" FROM session_chain.chains c WHERE c.project_id = $1',
    values: [projectId],
  });
  return rows.map(({ buildId }) => buildId);
}

/** Those of some sessions that belong to another project. */
export async function sessionsOfOthers(
  pool: Pool,
  projectId: ProjectId,
  sessionIds: readonly SessionId[],
): Promise<Set<SessionId>> {
  const rows = await queryRows<{ sessionId: SessionId }>(pool, {
    text: `SELECT s.session_id AS "sessionId" FROM session_chain.sessions s
           WHERE s.session_id = ANY ($2) AND s.project_id <> $1 AND s.given_up_at IS NULL`,
    values: [projectId, sessionIds],
  });
  return new Set(rows.map(({ sessionId }) => sessionId));
}

/** What a certificate says of what lies outside of the database. */
export interface ErasedPlaces {
  /** The folder of the project, and the worker that last saw it; null for none. */
  workspace: { path: string; worker: string } | null;
  /** The archives in which files of the project are. */
  archives: string[];
}

export async function placesOf(pool: Pool, projectId: ProjectId): Promise<ErasedPlaces> {
  return await queryOne<ErasedPlaces>(pool, {
    text: `SELECT (SELECT jsonb_build_object('path', w.path, 'worker', w.worker) FROM session_chain.workspaces w
               WHERE w.project_id = $1) AS workspace,
             ARRAY(SELECT DISTINCT p.location FROM session_chain.archive_parts p WHERE p.project_id = $1 ORDER BY 1) AS archives`,
    values: [projectId],
  });
}
