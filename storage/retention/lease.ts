import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** A part that this worker may write, and no other, until the lease ends by the database's clock. */
export interface PartLease {
  /** False once it is lost: another worker may be writing the part. */
  renew(): Promise<boolean>;
}

/** Null while another worker writes the part, or once it is written. */
export async function leasePart(pool: Pool, part: string, leaseMs: number): Promise<PartLease | null> {
  let mine = await take(pool, part, null, leaseMs);
  if (mine === null) return null;
  return {
    async renew() {
      if (mine !== null) mine = await take(pool, part, mine, leaseMs);
      return mine !== null;
    },
  };
}

// As text: a Date has milliseconds only.
async function take(pool: Pool, part: string, mine: string | null, leaseMs: number): Promise<string | null> {
  const { until } = await queryOne<{ until: string | null }>(pool, {
    name: 'lease_part',
    text: `SELECT session_chain.lease_part($1, $2, $3 * interval '1 ms')::text AS until`,
    values: [part, mine, leaseMs],
  });
  return until;
}

/** Whether the part still waits for being written. */
export async function isPlanned(pool: Pool, part: string): Promise<boolean> {
  const rows = await queryRows(pool, {
    name: 'is_part_planned',
    text: `SELECT FROM session_chain.archive_parts WHERE id = $1 AND state = 'planned'`,
    values: [part],
  });
  return rows.length > 0;
}
