import type { ProjectId } from '../../contracts/ids.js';
import type { ProjectHold } from '../../contracts/retention.js';
import { type Pool, queryOne } from '../db/pool.js';
import { projectNotFound } from '../heads/errors.js';

/** Legal holds, and what else lets retention leave a project alone. */

/** Throws PROJECT_NOT_FOUND where nothing of the project is in the database, and PROJECT_BEING_ERASED. */
export async function holdProject(
  pool: Pool,
  projectId: ProjectId,
  { reason, by }: { reason: string; by: string },
): Promise<ProjectHold> {
  const { isKnown } = await queryOne<{ isKnown: boolean }>(pool, {
    name: 'hold_project',
    text: 'SELECT session_chain.hold_project($1, $2, $3) AS "isKnown"',
    values: [projectId, reason, by],
  });
  if (!isKnown) throw projectNotFound(projectId);
  return await readHold(pool, projectId);
}

/** Ends a hold; `released` is false where there was none. */
export async function releaseProject(
  pool: Pool,
  projectId: ProjectId,
): Promise<ProjectHold & { released: boolean }> {
  const { released } = await queryOne<{ released: boolean }>(pool, {
    name: 'release_project',
    text: 'SELECT session_chain.release_project($1) AS released',
    values: [projectId],
  });
  return { ...(await readHold(pool, projectId)), released };
}

/** Throws PROJECT_NOT_FOUND for a project without a row and without a hold. */
export async function readHold(pool: Pool, projectId: ProjectId): Promise<ProjectHold> {
  const row = await queryOne<{
    since: Date | null;
    by: string;
    reason: string;
    restoredUntil: Date | null;
    isKnown: boolean;
  }>(pool, {
    name: 'read_hold',
    text: `SELECT r.held_at AS since, r.held_by AS by, r.hold_reason AS reason,
             CASE WHEN r.restored_until > clock_timestamp() THEN r.restored_until END AS "restoredUntil",
             r.project_id IS NOT NULL OR EXISTS (
               SELECT FROM projects p WHERE p.project_id = session_chain.project_key($1)) AS "isKnown"
           FROM (SELECT) AS one LEFT JOIN session_chain.project_retention r ON r.project_id = $1`,
    values: [projectId],
  });
  if (!row.isKnown) throw projectNotFound(projectId);
  const { since, by, reason, restoredUntil } = row;
  return { projectId, hold: since && { since, by, reason }, restoredUntil };
}
