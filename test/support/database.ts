import { randomUUID } from 'node:crypto';
import { type Pool, createPool } from '../../storage/db/pool.js';

export interface TestDatabase {
  url: string;
  pool: Pool;
  /** Drops the database. Connections that were left open fail the test. */
  drop(): Promise<void>;
}

/** A migrated database of its own, copied from the template; `empty` for one without any table. */
export async function createTestDatabase({ empty = false } = {}): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await asAdmin((admin) =>
    admin.query(`CREATE DATABASE ${name}${empty ? '' : ' TEMPLATE session_chain_template'}`),
  );
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  const pool = createPool(url.href, { applicationName: 'test', max: 64 });
  return {
    url: url.href,
    pool,
    async drop() {
      await pool.end();
      await asAdmin(async (admin) => {
        const left = await connectionsTo(admin, name);
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
        if (left.length > 0) throw new Error(`Connections were left open: ${left.join(', ')}.`);
      });
    },
  };
}

/** Who is still connected, once connections that are just closing have had their time. */
async function connectionsTo(admin: Pool, name: string): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const { rows } = await admin.query<{ application_name: string }>(
      'SELECT application_name FROM pg_stat_activity WHERE datname = $1',
      [name],
    );
    if (rows.length === 0 || tries === 100) return rows.map((row) => row.application_name);
    await admin.query('SELECT pg_sleep(0.02)');
  }
}

async function asAdmin(work: (admin: Pool) => Promise<unknown>): Promise<void> {
  const admin = createPool(serverUrl(), { applicationName: 'test admin', max: 1 });
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}

function serverUrl(): string {
  const url = process.env['TEST_POSTGRES_URL'];
  if (!url) throw new Error('TEST_POSTGRES_URL is not set: the global set-up has not run.');
  return url;
}
