import { SessionChainError } from '../../contracts/failures.js';
import type { Obstacle } from './host-tables.js';
import { type Connection, queryRows } from './pool.js';
import { quoted } from './quoted.js';

/**
 * What keeps the roles that work with a host's tables from their rows, without an error that would say so: row-level security,
 * and what the owner of our functions lacks, as whom every write runs.
 */

/** What our functions do with each table, as the letters of pg_policy.polcmd: read, append, write, delete. */
const done = {
  projects: 'rw',
  project_versions: 'rw',
  session_transitions: 'rawd',
  project_ai_session_metrics: 'rawd',
  chat_plan_sessions: 'rawd',
  project_chat_log_minimal: 'rawd',
} as const;
const privileges = { r: 'SELECT', a: 'INSERT', w: 'UPDATE', d: 'DELETE' } as const;
type Command = keyof typeof privileges;

/**
 * The obstacles of the role as which our functions run, or will: the one of this connection, where there are none yet. And of
 * `callers`, the roles that read the tables themselves; the role of this connection is always one.
 */
export async function accessObstacles(
  connection: Connection,
  callers: readonly string[],
): Promise<Obstacle[]> {
  return [...(await missingOfOwner(connection)), ...(await hiddenRows(connection, callers))];
}

/**
 * Throws DATABASE_REFUSED, naming what hides rows of the host's tables from the role of this connection, or from the one that
 * owns our functions: a row that is hidden would be taken for one that is not there.
 */
export async function requireAccess(connection: Connection): Promise<void> {
  const obstacles = await accessObstacles(connection, []);
  if (obstacles.length === 0) return;
  throw new SessionChainError(
    'DATABASE_REFUSED',
    `The tables are not open to what works for chains: ${obstacles.map(({ problem }) => problem).join('; ')}.`,
    `Review, adapt and run as the owner of the tables: ${obstacles.map(({ statement }) => statement).join(' ')}`,
  );
}

/** Whether a row is missing, which a policy may hide: ask `requireAccess`. */
export function mayBeHidden({ code }: SessionChainError): boolean {
  return /^(PROJECT_NOT_FOUND|VERSION_NOT_FOUND|REQUEST_LOST|DATABASE_WENT_BACK)$/.test(code);
}

const madeBy = `(SELECT p.proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'session_chain' AND p.prosecdef LIMIT 1)`;
const owner = `coalesce(${madeBy}, current_user::regrole::oid)`;

/** Schemas, tables and sequences that the owner of the functions may not use. A role that could not even migrate is told so by `migrate`. */
async function missingOfOwner(connection: Connection): Promise<Obstacle[]> {
  const rows = await queryRows<{ table: string; what: string; name: string; role: string }>(connection, {
    text: `WITH host AS (
             SELECT c.oid, c.relname, c.relnamespace, ${owner} AS role, wanted.commands, wanted.n
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (name, commands, n)
             JOIN pg_class c ON c.oid = to_regclass(wanted.name)
             WHERE ${madeBy} IS NOT NULL OR pg_has_role(c.relowner, 'USAGE')
           )
           SELECT h.relname AS table, m.what, m.name, pg_get_userbyid(h.role) AS role FROM host h CROSS JOIN LATERAL (
             SELECT 1 AS n, 'USAGE ON SCHEMA' AS what, h.relnamespace::regnamespace::text AS name
             WHERE NOT has_schema_privilege(h.role, h.relnamespace, 'USAGE')
             UNION ALL
             SELECT 2, string_agg(p.privilege, ', ' ORDER BY p.n) || ' ON', h.oid::regclass::text
             FROM unnest(string_to_array(h.commands, ',')) WITH ORDINALITY AS p (privilege, n)
             WHERE NOT has_table_privilege(h.role, h.oid, p.privilege) HAVING count(*) > 0
             UNION ALL
             SELECT DISTINCT 3, 'USAGE ON SEQUENCE', s.oid::regclass::text FROM pg_attrdef d
             JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass
             JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
             WHERE d.adrelid = h.oid AND h.commands LIKE '%INSERT%' AND NOT has_sequence_privilege(h.role, s.oid, 'USAGE')) m
           ORDER BY h.n, m.n, m.name`,
    values: [
      Object.keys(done),
      Object.values(done).map((commands) =>
        letters(commands)
          .map((one) => privileges[one])
          .join(','),
      ),
    ],
  });
  return rows.map(({ table, what, name, role }) => ({
    table,
    column: null,
    problem: `${role}, as which session-chain writes to ${table}, lacks ${what} ${name}`,
    statement: `GRANT ${what} ${name} TO ${quoted(role)};`,
  }));
}

interface Guarded {
  table: keyof typeof done;
  role: string;
  isOwner: boolean;
  isOff: boolean;
  policies: { command: Command | '*'; permissive: boolean; lets: string | null; checks: string | null }[];
}

/**
 * Row-level security that may hide a row from a role or refuse one: a missing row would be taken for one that does not
 * exist. Only a policy whose condition is `true` is known to let all pass.
 */
async function hiddenRows(connection: Connection, callers: readonly string[]): Promise<Obstacle[]> {
  const guarded = await queryRows<Guarded>(connection, {
    text: `SELECT c.relname AS table, r.rolname AS role, r.oid = ${owner} AS "isOwner",
             CASE WHEN r.rolname = current_user THEN current_setting('row_security') = 'off' ELSE EXISTS (
               SELECT FROM pg_db_role_setting s WHERE s.setrole IN (r.oid, 0) AND 'row_security=off' = ANY (s.setconfig)
                 AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))) END AS "isOff",
             coalesce((SELECT jsonb_agg(jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive,
                 'lets', pg_get_expr(p.polqual, p.polrelid), 'checks', pg_get_expr(p.polwithcheck, p.polrelid)))
               FROM pg_policy p WHERE p.polrelid = c.oid AND (p.polroles = '{0}' OR EXISTS (
                 SELECT FROM unnest(p.polroles) AS m (role) WHERE pg_has_role(r.oid, m.role, 'USAGE')))), '[]') AS policies
           FROM unnest($1::text[]) AS host (name) JOIN pg_class c ON c.oid = to_regclass(host.name) AND c.relrowsecurity
           JOIN pg_roles r ON r.oid = ${owner} OR r.rolname = current_user OR r.rolname = ANY ($2)
           WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
           ORDER BY array_position($1, host.name), r.rolname`,
    values: [Object.keys(done), callers],
  });
  const off = new Set(guarded.flatMap(({ role, isOff }) => (isOff ? [role] : [])));
  return [
    ...guarded.flatMap((one) => obstacleOf(one) ?? []),
    ...[...off].map((role) => ({
      table: guarded[0]?.table ?? '',
      column: null,
      problem: `${role} has row_security = off, with which Postgres refuses every statement on a table whose policies concern the role`,
      statement: `ALTER ROLE ${quoted(role)} SET row_security = on;`,
    })),
  ];
}

function obstacleOf({ table, role, isOwner, policies }: Guarded): Obstacle | null {
  // A worker notes the state of a question itself; everything else is written by functions.
  const commands = isOwner
    ? letters(done[table])
    : letters(table === 'project_chat_log_minimal' ? 'rw' : 'r');
  const isClosed = (command: Command) => {
    const concerned = policies.filter((policy) => [command, '*'].includes(policy.command));
    const isOpen = ({ lets, checks }: (typeof policies)[number]) =>
      (command === 'a' || lets === 'true') && (!['a', 'w'].includes(command) || (checks ?? lets) === 'true');
    return (
      !concerned.some((policy) => policy.permissive && isOpen(policy)) ||
      concerned.some((policy) => !policy.permissive && !isOpen(policy))
    );
  };
  const closed = commands.filter(isClosed);
  if (closed.length === 0) return null;
  const isRestricted = policies.some(({ permissive }) => !permissive);
  const name = quoted(`session_chain_${role}`.slice(0, 63));
  return {
    table,
    column: null,
    problem: `row-level security of ${table} may hide rows from ${role}${isOwner ? ', as which session-chain writes,' : ','} or refuse them: no policy lets all pass for ${closed.map((command) => privileges[command]).join(', ')}`,
    statement: isRestricted
      ? `ALTER ROLE ${quoted(role)} BYPASSRLS;`
      : commands.length > 1
        ? `CREATE POLICY ${name} ON ${table} TO ${quoted(role)} USING (true) WITH CHECK (true);`
        : `CREATE POLICY ${name} ON ${table} FOR SELECT TO ${quoted(role)} USING (true);`,
  };
}

function letters(commands: string): Command[] {
  return [...commands] as Command[];
}
