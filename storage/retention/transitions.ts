import type { ProjectId } from '../../contracts/ids.js';
import type { RetentionPolicy } from '../../contracts/retention.js';
import { type Connection, type Pool, queryOne } from '../db/pool.js';

/**
 * Moves the oldest transitions of a project that are due to the archive, at most `limit`, and returns how many. The last one
 * stays, whatever its age.
 */
export async function archiveTransitions(
  pool: Pool,
  projectId: ProjectId,
  { transitionsDays, hostTables }: RetentionPolicy,
  limit: number,
): Promise<number> {
  const { moved } = await queryOne<{ moved: number }>(pool, {
    name: 'archive_transitions',
    text: 'SELECT session_chain.archive_transitions($1, $2, $3, $4) AS moved',
    values: [projectId, transitionsDays, limit, hostTables],
  });
  return moved;
}

/**
 * Brings the transitions of a month (`2026-11`, UTC) and all after it back into `session_transitions`, and returns how many;
 * without a month all of them.
 */
export async function restoreTransitions(
  connection: Connection,
  projectId: ProjectId,
  month: string | null,
): Promise<number> {
  const { restored } = await queryOne<{ restored: number }>(connection, {
    name: 'restore_transitions',
    text: 'SELECT session_chain.restore_transitions($1, $2) AS restored',
    values: [projectId, month === null ? null : `${month}-01T00:00:00Z`],
  });
  return restored;
}
