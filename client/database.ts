import { requireAccess } from '../storage/db/host-access.js';
import { requireMigrations } from '../storage/db/migrate.js';
import { type Pool, type PoolOptions, createPool } from '../storage/db/pool.js';

/** A pool of a process that stays, which waits for a database that does not answer yet. Throws INVALID_INPUT. */
export function openDatabase(databaseUrl: string, options: PoolOptions): Pool {
  return createPool(databaseUrl, options);
}

/** A pool for a few statements on a migrated database. Throws DATABASE_UNAVAILABLE, DATABASE_REFUSED, MIGRATIONS_BEHIND. */
export async function openMigratedDatabase(databaseUrl: string, applicationName: string): Promise<Pool> {
  const pool = createPool(databaseUrl, { applicationName, max: 4 });
  try {
    await requireMigrations(pool);
    await requireAccess(pool);
    return pool;
  } catch (error) {
    await pool.end();
    throw error;
  }
}
