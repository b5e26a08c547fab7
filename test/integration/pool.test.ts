import { describe, expect, it } from '@jest/globals';
import { migrate, requireMigrations } from '../../storage/db/migrate.js';
import { createPool } from '../../storage/db/pool.js';

describe('a database that cannot be reached', () => {
  const url = 'postgres://nobody@127.0.0.1:1/none';

  it('is DATABASE_UNAVAILABLE for a statement, with what to check', async () => {
    const pool = createPool(url, { applicationName: 'test' });
    await expect(requireMigrations(pool)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
      remedy: expect.stringContaining('DATABASE_URL'),
    });
    await pool.end();
  });

  it('is DATABASE_UNAVAILABLE for the migrations', async () => {
    await expect(migrate(url)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  it('is DATABASE_UNAVAILABLE where the server knows no such database', async () => {
    const missing = new URL(process.env['TEST_POSTGRES_URL'] ?? '');
    missing.pathname = '/no_such_database';
    const pool = createPool(missing.href, { applicationName: 'test' });
    await expect(requireMigrations(pool)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining('no_such_database'),
    });
    await pool.end();
  });
});
