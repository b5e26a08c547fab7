import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import {
  type Grant,
  applyGrants,
  missingRights,
  notedGrants,
  pinnedPath,
  requireGrantable,
} from './grants.js';
import {
  type Expectations,
  type Obstacle,
  findObstacles,
  helpOf,
  hostTableNames,
  inFull,
} from './host-tables.js';
import { type Routine, idFunctions } from './id-functions.js';
import { migrationsFolder } from './migrations-folder.js';
import {
  type Connection,
  type Pool,
  classified,
  createPool,
  introductionOf,
  isDatabaseAway,
  queryOne,
  queryRows,
  sqlState,
} from './pool.js';
import { rehearse } from './rehearsal.js';
import { inTransaction } from './transaction.js';
import { transitionFunctions } from './transition-functions.js';

/**
 * Brings the database up to date in one transaction, under an advisory lock that a second process waits for: tables by
 * migrations that run once, then every function whose text has changed, which is recreated. Returns the names of what
 * was done: migrations, `functions/<name>`, and `grants/<part>=<role>`. Stops, and leaves everything as it was, if the host's
 * tables do not fit, or refuse what a rehearsal writes to them, and names the statements that would help. Gives roles their parts, those of `grants` and those
 * that were given before. Throws DATABASE_UNAVAILABLE, INVALID_INPUT for roles that cannot have a part, MIGRATION_FAILED.
 */
export async function migrate(
  databaseUrl: string,
  expectations: Expectations = {},
  grants: readonly Grant[] = [],
): Promise<string[]> {
  const pool = createPool(databaseUrl, { applicationName: 'session-chain migrate', max: 1 });
  try {
    const { hidden } = await introductionOf(pool);
    if (hidden) throw hidden;
    return await inTransaction(pool, async (client) => {
      await lockMigration(client);
      const { obstacles } = await planMigration(client, expectations, grants);
      if (obstacles.length > 0) throw stopped(obstacles);
      const { done, found } = await runMigration(client, expectations, grants);
      if (found.length > 0) throw stopped(found);
      return done;
    });
  } catch (error) {
    if (sqlState(error) === '42501') throw await mayNotMigrate(pool, error);
    if (error instanceof SessionChainError && error.code !== 'MIGRATIONS_BEHIND') throw error;
    throw new SessionChainError('MIGRATION_FAILED', describe(error), undefined, { cause: error });
  } finally {
    await pool.end();
  }
}

async function lockMigration(client: Connection): Promise<void> {
  await queryRows(client, {
    text: `SELECT pg_advisory_xact_lock(hashtextextended('session_chain migrate', 0))`,
  });
}

/** A role that may not do what a migration does, with the statements that would let it. */
async function mayNotMigrate(pool: Pool, cause: unknown): Promise<SessionChainError> {
  const { role, statements } = await queryOne<{ role: string; statements: string[] }>(pool, {
    text: `SELECT current_user AS role, ARRAY(
             SELECT format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user)
               WHERE NOT has_database_privilege(current_database(), 'CREATE') AND to_regnamespace('session_chain') IS NULL
             -- An index needs the right in the schema of its table.
             UNION ALL SELECT DISTINCT format('GRANT CREATE ON SCHEMA %I TO %I;', s.name, current_user)
               FROM (SELECT current_schema() AS name UNION SELECT c.relnamespace::regnamespace::name FROM unnest($1::text[]) AS host (name)
                 JOIN pg_class c ON c.oid = to_regclass(host.name)) s WHERE NOT has_schema_privilege(s.name, 'CREATE')
             UNION ALL SELECT DISTINCT format('GRANT %I TO %I;', o.rolname, current_user)
               FROM (SELECT c.relowner AS owner FROM unnest($1::text[]) AS host (name) JOIN pg_class c ON c.oid = to_regclass(host.name)
                 UNION SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'session_chain') owned
               JOIN pg_roles o ON o.oid = owned.owner WHERE NOT pg_has_role(o.oid, 'USAGE')) AS statements`,
    values: [hostTableNames],
  });
  return new SessionChainError(
    'MIGRATION_FAILED',
    `Nothing was changed: the role ${role} may not do what the migration does: ${(cause as Error).message}`,
    `Migrate as the role that owns the tables${statements.length === 0 ? '' : `, or let this one do it: ${statements.join(' ')}`}`,
    { cause },
  );
}

/** Returns what was done, and what a rehearsal found that the host's tables refuse; then the caller has to undo it all. */
async function runMigration(
  connection: Connection,
  expectations: Expectations,
  grants: readonly Grant[],
): Promise<{ done: string[]; found: Obstacle[]; isRehearsed: boolean }> {
  await requireGrantable(connection, grants);
  const pending = await pendingMigrations(connection, await pinnedPath(connection));
  // Tables that are made here are as they should be.
  const areNew = !(await presentTables(connection)).includes('projects');
  const applied = pending.length === 0 ? [] : await applyPending(connection, pending);
  const done = [...applied, ...(await giveParts(connection, grants, pending.length > 0))];
  if (areNew) return { done, found: [], isRehearsed: true };
  const { obstacles, hasRun } = await rehearse(connection, inFull(expectations));
  return { done, found: obstacles, isRehearsed: hasRun };
}

/** Functions that were made anew have lost their grants, and a restore may have lost all. */
async function giveParts(
  connection: Connection,
  asked: readonly Grant[],
  haveFunctionsChanged: boolean,
): Promise<string[]> {
  const noted = (await notedGrants(connection)).filter(
    ({ role }) => !asked.some((grant) => grant.role === role),
  );
  const lost: string[] = [];
  for (const grant of noted) {
    if (haveFunctionsChanged || (await missingRights(connection, grant.part, grant.role)) !== null)
      lost.push(grant.role);
  }
  const given = [...asked, ...noted.filter(({ role }) => lost.includes(role))];
  if (given.length > 0) await applyGrants(connection, given);
  return given.map(({ part, role }) => `grants/${part}=${role}`);
}

async function applyPending(connection: Connection, pending: readonly string[]): Promise<string[]> {
  const run = (text: string, ...values: unknown[]) => connection.query({ text, values });
  await run('CREATE SCHEMA IF NOT EXISTS session_chain');
  await run('REVOKE ALL ON SCHEMA session_chain FROM PUBLIC');
  await run(`CREATE TABLE IF NOT EXISTS session_chain.migrations
    (name text PRIMARY KEY, run_on timestamptz NOT NULL DEFAULT clock_timestamp())`);
  const migrations = pending.filter((name) => !isFunction(name));
  for (const name of migrations) {
    await inFile(name, () => run(readFileSync(fileOf(name), 'utf8')));
    await run('INSERT INTO session_chain.migrations (name) VALUES ($1)', name);
  }
  // A function may call one that is created after it.
  await run('SET LOCAL check_function_bodies = off');
  const path = await pinnedPath(connection);
  const { changed, gone } = await functionChanges(connection, path);
  for (const name of [...gone, ...changed.map((routine) => routine.name)]) {
    await inFile(`functions/${name}`, () => dropFunction(connection, name));
  }
  for (const { name, text, isInlined } of changed) {
    if (text === null) throw new Error(`The table that session_chain.${name} is for does not exist.`);
    await inFile(`functions/${name}`, async () => {
      await run(text);
      // With the owner's rights, whatever the caller's search path holds, and for roles that were given it alone.
      if (!isParsedOnce(text) && !isInlined) {
        await run(`ALTER FUNCTION session_chain.${name} SECURITY DEFINER SET search_path TO ${path}`);
      }
      await run(`REVOKE ALL ON FUNCTION session_chain.${name} FROM PUBLIC`);
    });
    await run('INSERT INTO session_chain.routines (name, hash) VALUES ($1, $2)', name, hashOf(text));
  }
  await run('UPDATE session_chain.installation SET version = $1', ownVersion());
  return [...migrations, ...changed.map(({ name }) => `functions/${name}`)];
}

/** Drops every function of this name, whatever its parameters, with its triggers or its view, and its recorded hash. */
async function dropFunction(connection: Connection, name: string): Promise<void> {
  const overloads = await queryRows<{ signature: string; isTrigger: boolean; views: string[] }>(connection, {
    text: `SELECT p.oid::regprocedure::text AS signature, p.prorettype = 'trigger'::regtype AS "isTrigger",
             ${viewsOf('p')} AS views
           FROM pg_proc p
           WHERE p.pronamespace = 'session_chain'::regnamespace AND p.proname = $1`,
    values: [name],
  });
  for (const { signature, isTrigger, views } of overloads) {
    // A view of the host's on ours stops this: it is not ours to drop.
    for (const view of views) await connection.query({ text: `DROP VIEW ${view}` });
    await connection.query({ text: `DROP FUNCTION ${signature}${isTrigger ? ' CASCADE' : ''}` });
  }
  await connection.query({ text: 'DELETE FROM session_chain.routines WHERE name = $1', values: [name] });
}

/** Our own views that read a function. */
function viewsOf(routine: string): string {
  return `ARRAY(SELECT DISTINCT c.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
             WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = ${routine}.oid
               AND c.relnamespace = 'session_chain'::regnamespace)`;
}

/** What `migrate` would do. */
export interface MigrationPlan {
  /** Names, in order: migrations, then `functions/<name>`. */
  pending: string[];
  /** The statements among them that change existing tables, in other words a host's. */
  additions: { migration: string; statement: string }[];
  /** What stops it; nothing is changed until it is resolved. */
  obstacles: Obstacle[];
}

/** Only looks, and changes nothing. Throws MIGRATION_FAILED for tables that no migration can bring up to date. */
export async function planMigration(
  connection: Connection,
  expectations: Expectations = {},
  grants: readonly Grant[] = [],
): Promise<MigrationPlan> {
  const pending = await pendingMigrations(connection, await pinnedPath(connection));
  const migrations = pending.filter((name) => !isFunction(name));
  if (pending.length > 0) await refuseOther(connection, migrations);
  const isMigrated = migrations.length === 0;
  const obstacles = await findObstacles(connection, expectations, {
    isMigrated,
    callers: callersOf([...grants, ...(isMigrated ? await notedGrants(connection) : [])]),
  });
  if (isMigrated) return { pending, additions: [], obstacles };
  const present = await presentTables(connection);
  return {
    pending,
    additions: pending.flatMap((migration) =>
      (hasFile(migration) ? statementsOf(readFileSync(fileOf(migration), 'utf8')) : [])
        .filter((statement) => addsTo(statement, present))
        .map((statement) => ({ migration, statement })),
    ),
    obstacles,
  };
}

/** A dashboard may be meant to see some rows only; what works for chains has to see all. */
function callersOf(grants: readonly Grant[]): string[] {
  return grants.flatMap(({ part, role }) => (['worker', 'client', 'archiver'].includes(part) ? [role] : []));
}

/** What a rehearsed migration comes to. */
export interface RehearsedMigration {
  obstacles: Obstacle[];
  /** Why nothing can be said; null where the rehearsal ran to its end. */
  notRehearsed: string | null;
}

/** For how long a rehearsal waits for a lock, and goes on at most: it locks the host's tables as the migration does. */
const rehearsal = { lockMs: 2_000, atMostMs: 10_000 };

/**
 * Migrates, writes to the tables what chains write, and undoes it all: finds what stops a migration and cannot be read from the
 * catalogs. Throws what `migrate` throws for other reasons.
 */
export async function rehearseMigration(
  pool: Pool,
  expectations: Expectations = {},
  grants: readonly Grant[] = [],
): Promise<RehearsedMigration> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const { found, isRehearsed } = await inTransaction(
      pool,
      async (client) => {
        const { pid } = await queryOne<{ pid: number }>(client, {
          text: `SELECT pg_backend_pid() AS pid, set_config('lock_timeout', $1, true)`,
          values: [String(rehearsal.lockMs)],
        });
        timer = setTimeout(() => {
          pool.query('SELECT pg_cancel_backend($1)', [pid]).catch(() => undefined);
        }, rehearsal.atMostMs);
        await lockMigration(client);
        return await runMigration(client, expectations, grants);
      },
      { undo: true },
    );
    return {
      obstacles: found,
      notRehearsed: isRehearsed
        ? null
        : 'projects has no row with a version on which nothing works, and none could be made',
    };
  } catch (error) {
    const state = sqlState(error);
    if (state === '42501')
      return { obstacles: [asObstacle(await mayNotMigrate(pool, error))], notRehearsed: null };
    if (state === '55P03' || state === '57014') {
      return {
        obstacles: [],
        notRehearsed: `${state === '55P03' ? `a lock was not to be had within ${rehearsal.lockMs / 1_000} s` : `it would take longer than ${rehearsal.atMostMs / 1_000} s`}; rehearse on a copy of the database`,
      };
    }
    if (error instanceof SessionChainError && error.code === 'MIGRATION_FAILED')
      return { obstacles: [asObstacle(error)], notRehearsed: null };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function asObstacle({ message, remedy }: SessionChainError): Obstacle {
  return {
    ...{ table: 'projects', column: null },
    problem: message.replace(/^Nothing was changed: /, ''),
    statement: `-- ${remedy}`,
  };
}

/** A database of another version, which this one does not fit or would downgrade. */
async function refuseOther(connection: Connection, pending: string[]): Promise<void> {
  const applied = await appliedMigrations(connection);
  const known = migrationNames();
  const later = applied.filter((name) => !known.includes(name) || pending.some((one) => one < name));
  const version = await laterVersion(connection);
  if (later.length === 0 && version === null) return;
  throw new SessionChainError(
    'MIGRATION_FAILED',
    `Nothing was changed: the database was migrated by a later version: ${version ?? later.join(', ')}.`,
    'Run the migrations of the latest version that uses this database.',
  );
}

function preRelease(): SessionChainError {
  return new SessionChainError(
    'MIGRATION_FAILED',
    'Nothing was changed: the schema session_chain has the tables of a pre-release, whose histories cannot be carried over.',
    'Export the sessions that are needed with the release that made it. Then use an empty database, or drop the schema ' +
      'session_chain and the columns that it added to your tables; migrate, and import the heads. After npm start: remove ' +
      'its state folder.',
  );
}

/** The tables of the search path outside our own schema. */
async function presentTables(connection: Connection): Promise<string[]> {
  const rows = await queryRows<{ name: string }>(connection, {
    text: `SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname <> 'session_chain' AND n.nspname = ANY (current_schemas(false))`,
  });
  return rows.map(({ name }) => name);
}

/** The statements of a migration without its comments; a semicolon in quotes does not end a statement. */
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
    `^CREATE TRIGGER [\\w ]+ ON ${table}`,
    `^COMMENT ON (TABLE|COLUMN) ${table}`,
    `^DO [^]*ALTER TABLE ${table}`,
  ];
  // What is done only where the migrations created the tables is not done to existing ones.
  return forms.some((form) => new RegExp(form).test(statement)) && !statement.includes('owns_host_tables');
}

function stopped(obstacles: Obstacle[]): SessionChainError {
  return new SessionChainError(
    'MIGRATION_FAILED',
    `Nothing was changed, because the existing tables do not fit: ${obstacles.map(({ problem }) => problem.replace(/\.$/, '')).join('; ')}.`,
    `Review, adapt and run these statements, then migrate again: ${helpOf(obstacles)}`,
  );
}

/** Runs the statements of a file; their errors name it. */
async function inFile(name: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const known = classified(error);
    if (isDatabaseAway(known)) throw known;
    throw new SessionChainError('MIGRATION_FAILED', `${name}: ${describe(error)}`, undefined, {
      cause: error,
    });
  }
}

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

/**
 * What this version has and the database lacks, in order: migrations, then `functions/<name>`. Throws MIGRATION_FAILED
 * for the tables of a pre-release, which cannot be brought up to date. `path` is what functions have to be pinned to; null:
 * to any.
 */
export async function pendingMigrations(
  connection: Connection,
  path: string | null = null,
): Promise<string[]> {
  const applied = await appliedMigrations(connection);
  if (applied.some((name) => name.startsWith('20261122'))) throw preRelease();
  const { changed, gone } = await functionChanges(connection, path);
  return [
    ...migrationNames().filter((name) => !applied.includes(name)),
    ...[...gone, ...changed.map(({ name }) => name)].map((name) => `functions/${name}`),
  ];
}

/**
 * Throws MIGRATIONS_BEHIND, naming what is missing. A database migrated by a later version does not count: migrations
 * keep the version before them working.
 */
export async function requireMigrations(pool: Pool): Promise<void> {
  const pending = await pendingMigrations(pool);
  if (pending.length === 0 || (await laterVersion(pool)) !== null) return;
  throw new SessionChainError(
    'MIGRATIONS_BEHIND',
    `The database lacks these migrations: ${pending.join(', ')}.`,
  );
}

async function appliedMigrations(connection: Connection): Promise<string[]> {
  if (!(await hasTable(connection, 'migrations'))) return [];
  const rows = await queryRows<{ name: string }>(connection, {
    text: 'SELECT name FROM session_chain.migrations ORDER BY name',
  });
  return rows.map(({ name }) => name);
}

interface FunctionChanges {
  /** Functions that are missing, were created from another text, look for tables elsewhere, or lack a trigger or view. */
  changed: Routine[];
  /** Names of functions that this version no longer has. */
  gone: string[];
}

async function functionChanges(connection: Connection, path: string | null): Promise<FunctionChanges> {
  const routines = [
    ...functionFiles(),
    ...(await idFunctions(connection)),
    ...(await transitionFunctions(connection)),
  ];
  const made = (await hasTable(connection, 'routines'))
    ? await queryRows<{
        name: string;
        hash: string;
        bodies: string[];
        isPinned: boolean;
        isPlain: boolean;
        dependents: number;
      }>(connection, {
        text: `SELECT r.name, r.hash, f.bodies, coalesce(f."isPinned", false) AS "isPinned",
                 coalesce(f."isPlain", false) AS "isPlain", coalesce(f.views, 0) + (
                 SELECT count(*)::integer FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                 WHERE p.pronamespace = 'session_chain'::regnamespace AND p.proname = r.name
                   AND t.tgenabled IN ('O', 'A') AND t.tgparentid = 0) AS dependents
               FROM session_chain.routines r CROSS JOIN LATERAL (
                 SELECT coalesce(array_agg(p.prosrc), '{}') AS bodies, bool_and(p.prosqlbody IS NOT NULL OR (p.prosecdef
                   AND CASE WHEN $1::text IS NULL THEN p.proconfig[1] LIKE 'search\\_path=%' ELSE p.proconfig = ARRAY['search_path=' || $1] END)) AS "isPinned",
                   bool_and(NOT p.prosecdef AND p.proconfig IS NULL) AS "isPlain",
                   sum(cardinality(${viewsOf('p')}))::integer AS views
                 FROM pg_proc p WHERE p.pronamespace = 'session_chain'::regnamespace AND p.proname = r.name) f
               ORDER BY r.name`,
        values: [path],
      })
    : [];
  return {
    changed: routines.filter(
      ({ name, text, isInlined }) =>
        text === null ||
        !made.some(
          // It has no overloads and the body of the text: a function may have been changed manually.
          ({ name: madeName, hash, isPinned, isPlain, dependents, bodies: [body, ...others] }) =>
            madeName === name &&
            (isInlined ? isPlain : isPinned) &&
            dependents === (text.match(/^CREATE (TRIGGER|VIEW) /gm) ?? []).length &&
            hash === hashOf(text) &&
            others.length === 0 &&
            body !== undefined &&
            (isParsedOnce(text) ? body === '' : text.includes(`$$${body}$$`)),
        ),
    ),
    gone: made.map(({ name }) => name).filter((name) => !routines.some((routine) => routine.name === name)),
  };
}

/** The version that last migrated the database, where it is later than this one; else null. */
async function laterVersion(connection: Connection): Promise<string | null> {
  if (!(await hasTable(connection, 'installation'))) return null;
  const [made] = await queryRows<{ version: string | null }>(connection, {
    // As JSON, because a pre-release has no such column.
    text: `SELECT to_jsonb(i) ->> 'version' AS version FROM session_chain.installation i`,
  });
  const version = made?.version ?? null;
  return version !== null && isLater(version, ownVersion()) ? version : null;
}

function isLater(one: string, other: string): boolean {
  const [a = [], b = []] = [one, other].map((version) => version.split(/[.-]/).slice(0, 3).map(Number));
  const at = a.findIndex((part, index) => part !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

/** The version of this package. */
function ownVersion(): string {
  const text = readFileSync(join(dirname(migrationsFolder()), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function hasTable(connection: Connection, name: string): Promise<boolean> {
  const { isThere } = await queryOne<{ isThere: boolean }>(connection, {
    text: 'SELECT to_regclass($1) IS NOT NULL AS "isThere"',
    values: [`session_chain.${name}`],
  });
  return isThere;
}

function fileOf(name: string): string {
  return join(migrationsFolder(), `${name}.sql`);
}

/** A function for a column of the host has no file. */
function hasFile(name: string): boolean {
  return existsSync(fileOf(name));
}

function isFunction(name: string): boolean {
  return name.startsWith('functions/');
}

/** Whether names in the body of a function were resolved when it was created, so that it needs no search path. */
function isParsedOnce(text: string): boolean {
  return !text.includes('$$');
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function migrationNames(): string[] {
  return sqlFiles(migrationsFolder());
}

/** The functions of migrations/functions, each in a file of its name. */
function functionFiles(): Routine[] {
  const folder = join(migrationsFolder(), 'functions');
  return sqlFiles(folder).map((name) => ({ name, text: readFileSync(join(folder, `${name}.sql`), 'utf8') }));
}

/** Names without `.sql`, in order. */
function sqlFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.replace(/\.sql$/, ''))
    .sort();
}
