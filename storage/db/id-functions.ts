import { type Connection, queryRows } from './pool.js';

/**
 * Our own tables hold ids as text. Where a host's column is compared, one of these functions casts the text to the
 * column's type, so that the column's index can be used. An id that the type cannot hold, or that is not written as
 * Postgres prints it, is not an id of that column: the function returns null, so that two spellings of one id are never
 * two projects in our tables. Their bodies are parsed when they are created, so that no search path can change what they
 * mean and the planner can still inline them.
 */
const columns = {
  project_key: { table: 'projects', column: 'project_id' },
  version_key: { table: 'project_versions', column: 'version_id' },
  transition_project_key: { table: 'session_transitions', column: 'project_id' },
  chat_key: { table: 'chat_plan_sessions', column: 'session_id' },
  chat_log_key: { table: 'project_chat_log_minimal', column: 'session_id' },
  chat_log_project_key: { table: 'project_chat_log_minimal', column: 'project_id' },
};

/** A function of the schema session_chain with the statement that creates it. */
export interface Routine {
  name: string;
  /** Null for a function whose text depends on a table that does not exist yet. */
  text: string | null;
  /** Whether the planner has to be able to put its body in place of a call: then it has the caller's rights and search path. */
  isInlined?: boolean;
}

/** The functions for the columns as they are now. */
export async function idFunctions(connection: Connection): Promise<Routine[]> {
  const types = await queryRows<{ name: string; type: string }>(connection, {
    text: `SELECT k.name, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text AS type
           FROM unnest($1::text[], $2::text[], $3::text[]) AS k (name, tab, col)
           JOIN pg_attribute a ON a.attrelid = to_regclass(k.tab) AND a.attname = k.col
           JOIN pg_type t ON t.oid = a.atttypid`,
    values: [
      Object.keys(columns),
      Object.values(columns).map(({ table }) => table),
      Object.values(columns).map(({ column }) => column),
    ],
  });
  return Object.entries(columns).map(([name, { table, column }]) => {
    const type = types.find((one) => one.name === name)?.type;
    return { name, text: type === undefined ? null : textOf(name, `${table}.${column}`, type) };
  });
}

/** The greatest value of each integer type. */
const integers: Record<string, string> = {
  smallint: '32767',
  integer: '2147483647',
  bigint: '9223372036854775807',
};

function textOf(name: string, column: string, columnType: string): string {
  // As SQL reads it, `character` is one character long.
  const type = columnType === 'character' ? 'bpchar' : columnType;
  const greatest = integers[type];
  const body =
    type === 'uuid'
      ? `CASE WHEN p_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p_id::uuid END`
      : greatest !== undefined
        ? `CASE WHEN p_id ~ '^(0|[1-9][0-9]{0,18})$' THEN CASE WHEN p_id::numeric <= ${greatest} THEN p_id::${type} END END`
        : `p_id::${type}`;
  return `-- An id in the type of ${column}; null for what is no id of it.
CREATE FUNCTION session_chain.${name}(p_id text) RETURNS ${type} LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN ${body};
`;
}
