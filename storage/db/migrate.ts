import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runner } from 'node-pg-migrate';
import { SessionChainError } from '../../contracts/failures.js';
import { type Obstacle, findObstacles } from './host-tables.js';
import { type Pool, classified, createPool, queryRows } from './pool.js';

const ledger = { migrationsSchema: 'session_chain', migrationsTable: 'migrations' };

/**
 * Brings the database up to date in one transaction, under an advisory lock that a second process waits for. Returns the
 * names that were applied now. Stops before it changes anything where the host's tables stand in the way, and names the
 * statements that would help. Throws DATABASE_UNAVAILABLE, MIGRATION_FAILED.
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const pool = createPool(databaseUrl, { applicationName: 'session-chain migrate', max: 1 });
  try {
    const { obstacles } = await planMigration(pool);
    if (obstacles.length > 0) throw stopped(obstacles);
  } finally {
    await pool.end();
  }
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

/** What `migrate` would do. */
export interface MigrationPlan {
  /** Names, in their order. */
  pending: string[];
  /** The statements among them that add to tables which are there, in other words to a host's. */
  additions: { migration: string; statement: string }[];
  /** What stops it; nothing is changed before it is out of the way. */
  obstacles: Obstacle[];
}

/** Looks, and changes nothing. */
export async function planMigration(pool: Pool): Promise<MigrationPlan> {
  const pending = await pendingMigrations(pool);
  if (pending.length === 0) return { pending, additions: [], obstacles: [] };
  const present = await presentTables(pool);
  return {
    pending,
    additions: pending.flatMap((migration) =>
      statementsOf(readFileSync(join(migrationsFolder(), `${migration}.sql`), 'utf8'))
        .filter((statement) => addsTo(statement, present))
        .map((statement) => ({ migration, statement })),
    ),
    obstacles: await findObstacles(pool),
  };
}

/** The tables of the search path outside of our own schema. */
async function presentTables(pool: Pool): Promise<string[]> {
  const rows = await queryRows<{ name: string }>(pool, {
    text: `SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname <> 'session_chain' AND n.nspname = ANY (current_schemas(false))`,
  });
  return rows.map(({ name }) => name);
}

/** The statements of a migration without its comments; what is quoted is no end of a statement. */
function statementsOf(sql: string): string[] {
  const statements = [''];
  for (const [token] of sql.matchAll(/--.*\n|\$(\w*)\$[^]*?\$\1\$|'(?:[^']|'')*'|[^]/g)) {
    if (token === ';') statements.push('');
    else if (!token.startsWith('--')) statements.push(`${statements.pop() ?? ''}${token}`);
  }
  return statements.map((statement) => statement.trim()).filter((statement) => statement !== '');
}

function addsTo(statement: string, tables: string[]): boolean {
  const table = `(${tables.join('|')})\\b`;
  const forms = [
    `^ALTER TABLE ${table}`,
    `^CREATE (UNIQUE )?INDEX [\\w ]+ ON ${table}`,
    `^COMMENT ON (TABLE|COLUMN) ${table}`,
    `^DO [^]*ALTER TABLE ${table}`,
  ];
  // What is done only where the migrations made the tables themselves is not done to any that is there.
  return forms.some((form) => new RegExp(form).test(statement)) && !statement.includes('owns_host_tables');
}

function stopped(obstacles: Obstacle[]): SessionChainError {
  return new SessionChainError(
    'MIGRATION_FAILED',
    `Nothing was changed, for the tables that are there stand in the way: ${obstacles.map(({ problem }) => problem).join('; ')}.`,
    `Judge, adapt and run, then call it again: ${obstacles.map(({ statement }) => statement).join(' ')}`,
  );
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
