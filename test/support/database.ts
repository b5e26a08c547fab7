import { randomUUID } from 'node:crypto';
import { type Pool, createPool } from '../../storage/db/pool.js';
import { until } from './until.js';

export interface TestDatabase {
  url: string;
  pool: Pool;
  /**
   * Copies its present state. What is returned puts the copy in its place, as a restore or a fail-over to a standby that lags
   * does. Both break every connection.
   */
  backUp(): Promise<() => Promise<void>>;
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
  const copies: string[] = [];
  return {
    url: url.href,
    pool,
    async backUp() {
      const copy = `${name}_${copies.length}`;
      await asAdmin(async (admin) => {
        // Out of reach by its name, it takes no new connection that would keep it from being copied.
        await renamed(admin, name, copy);
        await admin.query(`CREATE DATABASE ${name} TEMPLATE ${copy} STRATEGY FILE_COPY`);
      });
      copies.push(copy);
      return async () =>
        await asAdmin(async (admin) => {
          await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
          await admin.query(`CREATE DATABASE ${name} TEMPLATE ${copy} STRATEGY FILE_COPY`);
        });
    },
    async drop() {
      await pool.end();
      await asAdmin(async (admin) => {
        const left = await connectionsTo(admin, name);
        for (const one of [name, ...copies]) await admin.query(`DROP DATABASE ${one} WITH (FORCE)`);
        if (left.length > 0) throw new Error(`Connections were left open: ${left.join(', ')}.`);
      });
    },
  };
}

/** Renames a database as soon as nothing is connected to it. */
async function renamed(admin: Pool, name: string, to: string): Promise<void> {
  await until(async () => {
    try {
      await admin.query(`ALTER DATABASE ${name} RENAME TO ${to}`);
      return true;
    } catch (error) {
      if ((error as { code?: unknown }).code !== objectInUse) throw error;
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}' AND pid <> pg_backend_pid()`,
      );
      return false;
    }
  });
}

const objectInUse = '55006';

/** Which clients are still connected, once those that are just leaving have had their time. Autovacuum is none. */
async function connectionsTo(admin: Pool, name: string): Promise<string[]> {
  let left: string[] = [];
  const noneLeft = async () => {
    const { rows } = await admin.query<{ application_name: string }>(
      `SELECT application_name FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`,
      [name],
    );
    left = rows.map((row) => row.application_name);
    return left.length === 0;
  };
  await until(noneLeft, 60_000).catch((error: unknown) => {
    if (left.length === 0) throw error;
  });
  return left;
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
