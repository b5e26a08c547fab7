import type pg from 'pg';
import { SessionChainError } from '../../contracts/failures.js';

/** What the sessions of a database are like for a role, read once per pool, with what its own statements need to know of them. */
export interface Introduction {
  /** A pooler is in between: two statements may run on two connections of the server. */
  isPooled: boolean;
  /** The server repeats what another one does, and writes nothing. */
  isStandby: boolean;
  /** Settings by name, as Postgres shows them; milliseconds for time-outs; those that the server has. */
  settings: Partial<Record<Setting, string>>;
  /** Why nothing can be written, where a setting says so. */
  readOnly: SessionChainError | null;
  /** Why tables of the host are not found, where the search path hides them. */
  hidden: SessionChainError | null;
}

type Setting = (typeof settings)[number];

/** The settings that matter; of each, the value that our statements need, where they need one. */
const settings = [
  'server_encoding',
  'client_encoding',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'DateStyle',
  'standard_conforming_strings',
  'session_replication_role',
  'quote_all_identifiers',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
  'idle_session_timeout',
  'synchronous_commit',
] as const;

interface Need {
  name: Setting;
  fits: RegExp;
  value: string;
  because: string;
}

const needs: readonly Need[] = [
  {
    name: 'default_transaction_isolation',
    fits: /^read (un)?committed$/,
    value: `'read committed'`,
    because: 'functions lock a row and then read what others committed before',
  },
  { name: 'client_encoding', fits: /^UTF8$/, value: `'UTF8'`, because: 'texts are sent as UTF-8' },
  {
    name: 'DateStyle',
    fits: /^ISO\b/,
    value: `'ISO'`,
    because: 'points in time are read in this style alone',
  },
  {
    name: 'standard_conforming_strings',
    fits: /^on$/,
    value: 'on',
    because: 'a backslash in a statement is itself',
  },
  {
    name: 'session_replication_role',
    fits: /^(origin|local)$/,
    value: `'origin'`,
    because: 'events are written by triggers, and keys keep the lineage whole',
  },
  {
    name: 'quote_all_identifiers',
    fits: /^off$/,
    value: 'off',
    because: 'names are compared as Postgres prints them',
  },
];

/** What is wrong with a database may be put right while a process waits for it, as a password may. */
export class Unsuitable extends Error {}

/**
 * Reads what a connection brings along. Throws DATABASE_REFUSED, with the statement that helps, where nothing of ours can work, as
 * before anything is changed. Other errors are Postgres's own.
 */
export async function introduce(client: pg.PoolClient, timeoutMs: number): Promise<Introduction> {
  const send = async <Row extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
  ): Promise<Row[]> => {
    const query: pg.QueryConfig & { query_timeout: number } = { text, values, query_timeout: timeoutMs };
    return (await client.query<Row>(query)).rows;
  };
  const [found] = await send<Found>(look, [settings, hostTables]);
  if (!found) throw new Error('A connection could not be looked at.');
  const isPooled = found.pid !== (client as { processID?: number | null }).processID;
  // A pooler in statement mode refuses this, as classified() says.
  if (isPooled) for (const text of ['BEGIN', 'ROLLBACK']) await send(text);
  requireFitting(found, isPooled);
  const { isStandby } = found;
  return {
    isPooled,
    isStandby,
    settings: Object.fromEntries(found.settings.map(({ name, setting }) => [name, setting])),
    readOnly: isStandby ? null : readOnlyOf(found, isPooled),
    hidden: hiddenOf(found, isPooled),
  };
}

interface Found {
  pid: number;
  role: string;
  database: string;
  isStandby: boolean;
  settings: { name: Setting; setting: string; isOfClient: boolean }[];
  /** Tables of the host as the functions find them, where this connection does not find the same. */
  hidden: { name: string; table: string; isShadowed: boolean }[];
  /** The schemas that the functions look in, for a search path. */
  path: string | null;
}

/** The tables that statements outside our functions read. */
const hostTables = [
  'projects',
  'project_versions',
  'session_transitions',
  'project_ai_session_metrics',
  'chat_plan_sessions',
  'project_chat_log_minimal',
];

const look = `
  WITH pinned AS (
    SELECT string_to_array(substr(c.setting, length('search_path=') + 1), ', ') AS path
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN unnest(p.proconfig) AS c (setting)
    WHERE p.proname = 'register_chain' AND n.nspname = 'session_chain' AND c.setting LIKE 'search\\_path=%' LIMIT 1
  )
  SELECT pg_backend_pid() AS pid, session_user AS role, current_database() AS database, pg_is_in_recovery() AS "isStandby",
    (SELECT jsonb_agg(jsonb_build_object('name', s.name, 'setting', s.setting, 'isOfClient', s.source = 'client'))
     FROM pg_settings s WHERE s.name = ANY ($1)) AS settings,
    (SELECT array_to_string(array_remove(array_remove(path, 'session_chain'), 'pg_temp'), ', ') FROM pinned) AS path,
    coalesce((SELECT jsonb_agg(jsonb_build_object('name', h.name, 'table', format('%I.%I', c.nspname, h.name),
        'isShadowed', to_regclass(quote_ident(h.name)) IS NOT NULL))
      FROM pinned CROSS JOIN unnest($2::text[]) AS h (name) CROSS JOIN LATERAL (
        SELECT c.oid, n.nspname FROM unnest(pinned.path) WITH ORDINALITY AS s (name, n)
        JOIN pg_namespace n ON quote_ident(n.nspname) = s.name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = h.name
        WHERE n.nspname <> 'session_chain' ORDER BY s.n LIMIT 1) c (oid, nspname)
      WHERE to_regclass(quote_ident(h.name)) IS DISTINCT FROM c.oid), '[]') AS hidden`;

function requireFitting(found: Found, isPooled: boolean): void {
  const encoding = found.settings.find(({ name }) => name === 'server_encoding')?.setting;
  if (encoding !== 'UTF8') {
    throw unsuitable(
      `The database ${found.database} has the encoding ${encoding}, in which not every text can be stored.`,
      `Make one in UTF-8 and move the tables there: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;`,
    );
  }
  const wrong = needs.flatMap((need) => {
    const [one] = found.settings.filter(({ name }) => name === need.name);
    return one && !need.fits.test(one.setting) ? [{ ...need, ...one }] : [];
  });
  if (wrong.length > 0) {
    throw unsuitable(
      `Sessions of the role ${found.role} have ${wrong.map(({ name, setting, because }) => `${name} = ${setting} (${because})`).join('; ')}.`,
      remedy(found, isPooled, wrong),
    );
  }
  const shadowed = found.hidden.filter(({ isShadowed }) => isShadowed);
  if (shadowed.length > 0) throw hiddenBy(found, isPooled, shadowed, 'finds another table in the place of');
}

function readOnlyOf(found: Found, isPooled: boolean): SessionChainError | null {
  const [one] = found.settings.filter(({ name }) => name === 'default_transaction_read_only');
  if (one?.setting !== 'on') return null;
  return unsuitable(
    `Transactions of the role ${found.role} write nothing: default_transaction_read_only is on.`,
    remedy(found, isPooled, [{ ...one, value: 'off' }]),
  );
}

function hiddenOf(found: Found, isPooled: boolean): SessionChainError | null {
  return found.hidden.length === 0 ? null : hiddenBy(found, isPooled, found.hidden, 'does not find');
}

function hiddenBy(found: Found, isPooled: boolean, hidden: Found['hidden'], verb: string): SessionChainError {
  return unsuitable(
    `The search path of the role ${found.role} ${verb} ${hidden.map(({ table }) => table).join(', ')}.`,
    `Set the path, and give the right to use its schemas: ${alter(found)} search_path TO ${found.path ?? 'public'};${anew(isPooled)}`,
  );
}

/** How a setting becomes another: for new connections of this role, whatever database, server or role say now. */
function remedy(
  found: Found,
  isPooled: boolean,
  wrong: readonly { name: string; isOfClient: boolean; value: string }[],
): string {
  const statements = wrong.map(({ name, isOfClient, value }) =>
    isOfClient && !isPooled
      ? `Leave ${name} out of the address (options) and of PGOPTIONS, or set it to ${value}.`
      : `${alter(found)} ${name} TO ${value};`,
  );
  return `${statements.join(' ')}${anew(isPooled)}`;
}

function alter({ role, database }: Found): string {
  return `ALTER ROLE ${identifier(role)} IN DATABASE ${identifier(database)} SET`;
}

function anew(isPooled: boolean): string {
  return isPooled ? ' Then let the pooler connect anew (PgBouncer: RECONNECT).' : '';
}

function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function unsuitable(message: string, remedy: string): SessionChainError {
  return new SessionChainError('DATABASE_REFUSED', message, remedy, { cause: new Unsuitable(message) });
}
