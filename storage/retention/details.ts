import { type Pool, queryOne, queryRows } from '../db/pool.js';
import type { ProjectId } from '../../contracts/ids.js';

/**
 * Drops the details that verified parts of a project hold, a part in one transaction: what their attempts spent counts in
 * `spend_days` and `chains.spent` from then on. Returns how many attempts and briefs it was.
 */
export async function rollUpDetails(
  pool: Pool,
  projectId: ProjectId,
  { hostTables }: { hostTables: boolean },
): Promise<number> {
  const parts = await queryRows<{ part: string }>(pool, {
    name: 'parts_to_roll_up',
    text: `SELECT id::text AS part FROM session_chain.archive_parts
           WHERE project_id = $1 AND state = 'verified' AND rolled_up_at IS NULL ORDER BY verified_at, id`,
    values: [projectId],
  });
  let details = 0;
  for (const { part } of parts) {
    const { dropped } = await queryOne<{ dropped: number }>(pool, {
      name: 'roll_up_part',
      text: 'SELECT session_chain.roll_up_part($1, $2) AS dropped',
      values: [part, hostTables],
    });
    details += dropped;
  }
  return details;
}
