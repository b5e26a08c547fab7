import { requireMigrations } from '../storage/db/migrate.js';
import { type Pool, createPool } from '../storage/db/pool.js';

/** A pool for a few statements on a migrated database. Throws DATABASE_UNAVAILABLE, MIGRATIONS_BEHIND. */
export async function openMigratedDatabase(databaseUrl: string, applicationName: string): Promise<Pool> {
  const pool = createPool(databaseUrl, { applicationName, max: 4 });
  try {
    await requireMigrations(pool);
    return pool;
  } catch (error) {
    await pool.end();
    throw error;
  }
}
