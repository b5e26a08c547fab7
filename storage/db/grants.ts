import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import { jsonbOf } from '../jsonb.js';
import { migrationsFolder } from './migrations-folder.js';
import { type Connection, queryOne, queryRows, sqlState } from './pool.js';
import { quoted } from './quoted.js';

/**
 * The rights of each part in the database, as migrations/grants/<part>.sql gives them: whoever runs `migrate` owns
 * everything; another role gets one part or several, and no more. Functions run with the owner's rights.
 */

export const parts = ['worker', 'client', 'server', 'keys', 'reader', 'archiver'] as const;
export type Part = (typeof parts)[number];

/** A role of the database and a part that it has. */
export interface Grant {
  part: Part;
  role: string;
}

/** A right that a part needs, with the statement of its file that gives it. */
interface Right {
  kind: 'schema' | 'table' | 'function';
  name: string;
  privilege: string;
  /** Null for the whole table. */
  columns: string[] | null;
  statement: string;
}

/** The statements that give roles their parts: in our schema exactly these, on the host's tables in addition. */
export async function grantStatements(connection: Connection, grants: readonly Grant[]): Promise<string[]> {
  const roles = [...new Set(grants.map(({ role }) => role))];
  const statements: string[] = [];
  for (const role of roles) {
    const own = quoted(role);
    const ofRole = parts.filter((part) => grants.some((grant) => grant.role === role && grant.part === part));
    const schemas = await queryRows<{ name: string }>(connection, {
      text: `SELECT DISTINCT n.nspname AS name FROM unnest($1::text[]) AS host (name)
             JOIN pg_class c ON c.oid = to_regclass(host.name) JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE NOT has_schema_privilege($2, n.oid, 'USAGE') ORDER BY 1`,
      values: [hostTableNames(ofRole), role],
    });
    statements.push(
      ...['SCHEMA', 'ALL TABLES IN SCHEMA', 'ALL FUNCTIONS IN SCHEMA', 'ALL SEQUENCES IN SCHEMA'].map(
        (what) => `REVOKE ALL ON ${what} session_chain FROM ${own};`,
      ),
      ...schemas.map(({ name }) => `GRANT USAGE ON SCHEMA ${quoted(name)} TO ${own};`),
      ...new Set(ofRole.flatMap((part) => rightsOf(part, role).map(({ statement }) => statement))),
    );
  }
  return statements;
}

/** Gives roles their parts, and notes them for later migrations. Throws INVALID_INPUT, MIGRATION_FAILED. */
export async function applyGrants(connection: Connection, grants: readonly Grant[]): Promise<void> {
  await requireGrantable(connection, grants);
  for (const statement of await grantStatements(connection, grants)) {
    await queryRows(connection, { text: statement }).catch((error: unknown) => {
      throw sqlState(error) === '42501' ? mayNotGrant(error, statement) : error;
    });
  }
  await queryRows(connection, {
    text: `DELETE FROM session_chain.grants WHERE role_name = ANY ($1)`,
    values: [grants.map(({ role }) => role)],
  });
  await queryRows(connection, {
    text: `INSERT INTO session_chain.grants (part, role_name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING`,
    values: [grants.map(({ part }) => part), grants.map(({ role }) => role)],
  });
}

/** The parts that roles were given; a role that no longer exists is left out. */
export async function notedGrants(connection: Connection): Promise<Grant[]> {
  return await queryRows<Grant>(connection, {
    text: `SELECT g.part, g.role_name AS role FROM session_chain.grants g JOIN pg_roles r ON r.rolname = g.role_name
           ORDER BY g.role_name, g.part`,
  });
}

function mayNotGrant(error: unknown, statement: string): SessionChainError {
  return new SessionChainError(
    'MIGRATION_FAILED',
    `Nothing was changed: this role may not give away the rights: ${(error as Error).message}`,
    `Let the owner of what is named run this, then migrate again: ${statement}`,
  );
}

/** A role of its own for each part: one that owns the schema, or may become its owner, has every right already. */
export async function requireGrantable(connection: Connection, grants: readonly Grant[]): Promise<void> {
  const roles = await queryRows<{ role: string; exists: boolean; isOwner: boolean }>(connection, {
    text: `SELECT g.role, r.oid IS NOT NULL AS exists, coalesce(r.rolsuper OR pg_has_role(r.oid,
             coalesce((SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'session_chain'), current_user::regrole::oid), 'MEMBER'),
             false) AS "isOwner"
           FROM unnest($1::text[]) AS g (role) LEFT JOIN pg_roles r ON r.rolname = g.role`,
    values: [grants.map(({ role }) => role)],
  });
  for (const { role, exists, isOwner } of roles) {
    if (!exists) {
      throw new SessionChainError(
        'INVALID_INPUT',
        `There is no role ${role} in this database server.`,
        `Create it, then grant again: CREATE ROLE ${quoted(role)} LOGIN PASSWORD '…';`,
      );
    }
    if (isOwner) {
      throw new SessionChainError(
        'INVALID_INPUT',
        `The role ${role} owns the schema session_chain, or may act as its owner, and so has every right already.`,
        'Name a role that is neither a superuser nor a member of the role that migrates.',
      );
    }
  }
}

/** The role of this connection. */
export async function currentRole(connection: Connection): Promise<{ role: string; isSuperuser: boolean }> {
  return await queryOne(connection, {
    text: 'SELECT rolname AS role, rolsuper AS "isSuperuser" FROM pg_roles WHERE rolname = current_user',
  });
}

/** What a role lacks for its part. */
export interface MissingRights {
  role: string;
  /** The statements that would help, for the role that owns the tables. */
  statements: string[];
}

/**
 * What the role of this connection, or another one, lacks for a part; null for nothing. Nothing is lacking while there
 * is no schema of ours: then the migrations are.
 */
export async function missingRights(
  connection: Connection,
  part: Part,
  other?: string,
): Promise<MissingRights | null> {
  const { role, database, path } = await queryOne<{ role: string; database: string; path: string | null }>(
    connection,
    {
      text: `SELECT coalesce($1, current_user) AS role, current_database() AS database, (
               SELECT substr(s.setting, length('search_path=') + 1)
               FROM pg_proc p CROSS JOIN unnest(p.proconfig) AS s (setting)
               WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'session_chain')
                 AND s.setting LIKE 'search\\_path=%' LIMIT 1) AS path`,
      values: [other ?? null],
    },
  );
  if (path === null) return null;
  const rights = rightsOf(part, role);
  const missing = await queryRows<{
    n: number;
    schema: string | null;
    isHidden: boolean;
    isMissing: boolean;
  }>(connection, {
    text: `
        WITH wanted AS (
          SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (n integer, kind text, schema text, name text, privilege text, columns text[])
        ), found AS (
          SELECT w.*, c.oid, c.nspname AS "inSchema" FROM wanted w LEFT JOIN LATERAL (
            SELECT c.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE w.kind = 'table' AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v')
              AND CASE WHEN w.schema IS NULL THEN quote_ident(n.nspname) = ANY (string_to_array($3, ', ')) AND n.nspname <> 'session_chain'
                       ELSE n.nspname = w.schema END
            ORDER BY array_position(string_to_array($3, ', '), quote_ident(n.nspname)) LIMIT 1) c ON true
        )
        SELECT n, "inSchema" AS schema,
          kind = 'table' AND schema IS NULL AND oid IS NOT NULL AND NOT $4 AND NOT pg_table_is_visible(oid) AS "isHidden",
          NOT coalesce(CASE kind
            WHEN 'schema' THEN has_schema_privilege($2, (SELECT s.oid FROM pg_namespace s WHERE s.nspname = name), privilege)
            WHEN 'function' THEN (SELECT bool_and(has_function_privilege($2, p.oid, privilege)) FROM pg_proc p
              JOIN pg_namespace s ON s.oid = p.pronamespace WHERE s.nspname = schema AND p.proname = name)
            ELSE has_schema_privilege($2, "inSchema", 'USAGE') AND (has_table_privilege($2, oid, privilege)
              OR (columns IS NOT NULL AND (SELECT bool_and(has_column_privilege($2, oid, a.attnum, privilege)) FROM pg_attribute a
                WHERE a.attrelid = oid AND a.attname = ANY (columns) AND NOT a.attisdropped)))
          END, false) AS "isMissing"
        FROM found ORDER BY n`,
    values: [jsonbOf(rights.map(located)), role, path, other !== undefined],
  });
  const schemas = new Set(
    missing.flatMap(({ isMissing, isHidden, schema }) =>
      (isMissing || isHidden) && schema !== null && schema !== 'session_chain' ? [schema] : [],
    ),
  );
  const closed = await queryRows<{ name: string }>(connection, {
    text: `SELECT name FROM unnest($1::text[]) AS s (name) WHERE NOT has_schema_privilege($2, name, 'USAGE')`,
    values: [[...schemas], role],
  });
  const isHidden = missing.some((one) => one.isHidden);
  const statements = [
    ...closed.map(({ name }) => `GRANT USAGE ON SCHEMA ${quoted(name)} TO ${quoted(role)};`),
    ...missing.flatMap(({ n, isMissing }) => (isMissing ? [rights[n]?.statement ?? ''] : [])),
    ...(isHidden
      ? [
          `ALTER ROLE ${quoted(role)} IN DATABASE ${quoted(database)} SET search_path TO ${path.replace(/^session_chain, /, '').replace(/, pg_temp$/, '')};`,
        ]
      : []),
  ];
  return statements.length === 0 ? null : { role, statements: [...new Set(statements)] };
}

/** Throws DATABASE_REFUSED, naming what the role of this connection lacks for its part. */
export async function requireRights(connection: Connection, part: Part): Promise<void> {
  const missing = await missingRights(connection, part);
  if (missing === null) return;
  throw new SessionChainError(
    'DATABASE_REFUSED',
    `The role ${missing.role} lacks rights of a ${part}: ${missing.statements.join(' ')}`,
    remedyOf(part, missing),
  );
}

/** What a person does about missing rights. */
export function remedyOf(part: Part, { role }: MissingRights): string {
  return `Run as the role that migrates: session-chain migrate --grants ${part}=${role}; or run the statements that are named.`;
}

/**
 * Schemas in the search path in which every role may create: there anyone could put a table or an operator in the place
 * of one that statements of ours mean. Names them with the statements that would help.
 */
export async function openSchemas(connection: Connection): Promise<string[]> {
  const rows = await queryRows<{ name: string }>(connection, {
    text: `SELECT n.nspname AS name FROM pg_namespace n WHERE n.nspname = ANY (current_schemas(false)) AND ${anyoneCreates} ORDER BY 1`,
  });
  return rows.map(({ name }) => `REVOKE CREATE ON SCHEMA ${quoted(name)} FROM PUBLIC;`);
}

const anyoneCreates = `EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
  WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')`;

/**
 * The search path that functions are pinned to: our schema, then those of this connection's path that hold a table of
 * the host, or in which not everybody may create; temporary objects last.
 */
export async function pinnedPath(connection: Connection): Promise<string> {
  const { path } = await queryOne<{ path: string }>(connection, {
    text: `SELECT concat_ws(', ', 'session_chain', string_agg(quote_ident(s.name), ', ' ORDER BY s.n), 'pg_temp') AS path
           FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, n) JOIN pg_namespace n ON n.nspname = s.name
           WHERE s.name NOT IN ('session_chain', 'pg_catalog') AND n.oid <> pg_my_temp_schema()
             AND (NOT ${anyoneCreates} OR EXISTS (SELECT FROM unnest($1::text[]) AS host (name)
               JOIN pg_class c ON c.oid = to_regclass(host.name) WHERE c.relnamespace = n.oid))`,
    values: [hostTableNames(parts)],
  });
  return path;
}

/** The tables of the host that parts of a file name. */
function hostTableNames(of: readonly Part[]): string[] {
  const names = of.flatMap((part) => rightsOf(part, '').map(located));
  return [
    ...new Set(
      names.flatMap(({ kind, schema, name }) => (kind === 'table' && schema === null ? [name] : [])),
    ),
  ];
}

function located(right: Right, n: number) {
  const { kind, name, privilege, columns } = right;
  const [schema = null, local = name] =
    kind !== 'schema' && name.includes('.') ? name.split('.') : [null, name];
  return { n, kind, schema, name: local, privilege, columns };
}

/** The rights in the file of a part, with the role in the place of its variable. */
function rightsOf(part: Part, role: string): Right[] {
  const text = readFileSync(join(migrationsFolder(), 'grants', `${part}.sql`), 'utf8').replace(
    /^--.*\n/gm,
    '',
  );
  return text
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
    .flatMap((statement) => rightsIn(statement, role));
}

function rightsIn(statement: string, role: string): Right[] {
  const [, privileges, kind = 'TABLE', names] =
    /^GRANT ([^]+?)\s+ON\s+(?:(SCHEMA|FUNCTION)\s+)?([^]+?)\s+TO\s+:"role"$/.exec(statement) ?? [];
  if (privileges === undefined || names === undefined) throw new Error(`Not a grant: ${statement}`);
  const written = `${statement.replace(':"role"', quoted(role)).replaceAll(/\s+/g, ' ')};`;
  return [...privileges.matchAll(/(\w+)(?:\s*\(([^)]*)\))?/g)].flatMap(([, privilege = '', columns]) =>
    names.split(',').map((name) => ({
      kind: kind.toLowerCase() as Right['kind'],
      name: name.trim(),
      privilege,
      columns: columns?.split(',').map((column) => column.trim()) ?? null,
      statement: written,
    })),
  );
}
