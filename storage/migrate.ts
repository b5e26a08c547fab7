import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runner } from 'node-pg-migrate';
import { SessionChainError } from '../contracts/failures.js';
import { type Pool, classified, queryRows } from './pool.js';

const ledger = { migrationsSchema: 'session_chain', migrationsTable: 'migrations' };

/**
 * Brings the database up to date in one transaction, under an advisory lock that a second process waits for. Returns the
 * names that were applied now. Throws DATABASE_UNAVAILABLE, MIGRATION_FAILED.
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const applied = await runner({
    databaseUrl,
    dir: migrationsFolder(),
    direction: 'up',
    ...ledger,
    createMigrationsSchema: true,
    checkOrder: true,
    singleTransaction: true,
    advisoryLockMode: 'wait',
    ignorePattern: '(?!.*_).*',
    logger: silent,
  }).catch((error: unknown) => {
    const known = classified(error);
    if (known instanceof SessionChainError && known.code === 'DATABASE_UNAVAILABLE') throw known;
    throw new SessionChainError('MIGRATION_FAILED', describe(error), undefined, { cause: error });
  });
  return applied.map((migration) => migration.name);
}

// The runner logs every statement; what matters is in its result and its error.
const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** What Postgres said, with the place in the schema that it names. */
function describe(error: unknown): string {
  const { message, table, column, constraint, detail } = error as Record<string, string | undefined>;
  const where = [
    table && `table ${table}`,
    column && `column ${column}`,
    constraint && `constraint ${constraint}`,
    detail,
  ];
  return ['The migration was rolled back:', message, ...where].filter(Boolean).join(' · ');
}

/** The migrations that this version brings and the database lacks, in their order. */
export async function pendingMigrations(pool: Pool): Promise<string[]> {
  const known = migrationNames();
  const rows = await queryRows<{ name: string }>(pool, {
    text: `SELECT name FROM session_chain.migrations`,
  }).catch((error: unknown) => {
    if (error instanceof SessionChainError && error.code === 'MIGRATIONS_BEHIND') return [];
    throw error;
  });
  const applied = new Set(rows.map((row) => row.name));
  return known.filter((name) => !applied.has(name));
}

/** Throws MIGRATIONS_BEHIND, naming what is missing. */
export async function requireMigrations(pool: Pool): Promise<void> {
  const pending = await pendingMigrations(pool);
  if (pending.length === 0) return;
  throw new SessionChainError(
    'MIGRATIONS_BEHIND',
    `The database lacks these migrations: ${pending.join(', ')}.`,
  );
}

function migrationNames(): string[] {
  return readdirSync(migrationsFolder())
    .filter((file) => /^\d+_.*\.sql$/.test(file))
    .map((file) => file.replace(/\.sql$/, ''))
    .sort();
}

/** migrations/ at the root of the package: beside storage/ in the sources, one level further up from dist/. */
function migrationsFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'migrations'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`No folder migrations/ above ${import.meta.dirname}.`);
    folder = parent;
  }
  return join(folder, 'migrations');
}
