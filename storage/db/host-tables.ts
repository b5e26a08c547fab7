import { reservedSources } from '../../contracts/steps.js';
import { accessObstacles } from './host-access.js';
import { type Connection, queryRows } from './pool.js';
import { quoted } from './quoted.js';

/** What a host's tables must look like so that the migrations can extend them and the product can write to them. */

/** Something about a host's table that stops a migration. */
export interface Obstacle {
  table: string;
  /** Null where the table itself is meant. */
  column: string | null;
  problem: string;
  /** The SQL that would help; a person decides. */
  statement: string;
}

/** The statements that would help, in one line, in which a comment must not hide what follows. */
export function helpOf(obstacles: readonly Obstacle[]): string {
  return obstacles.map(({ statement }) => statement.replace(/-- (.*)$/, '/* $1 */')).join(' ');
}

/** What the definition of an installation requires of the host's tables, beyond what every installation does. */
export interface Expectations {
  /** What it may write as the source of a transition: reserved sources and the names of its steps. */
  sources?: readonly string[];
  /** The columns that its submissions write to. */
  columns?: readonly SubmissionColumn[];
  /** What project_versions.status may become; none leaves the column alone. */
  statuses?: readonly string[];
}

/** What else decides whether the tables fit. */
export interface Installation {
  /** Whether the tables have our columns, and may be views of other names by now. */
  isMigrated: boolean;
  /** Roles that read the tables themselves, beside the one of this connection. */
  callers?: readonly string[];
}

/** A column of project_versions that gets the values of a submission. */
export interface SubmissionColumn {
  step: string;
  column: string;
}

const shippedSources = [...reservedSources, 'build', 'metadata', 'docs', 'compact'];
/** Added by the migrations. */
const metadataColumn = 'ai_metadata';
const shippedColumns: readonly SubmissionColumn[] = [{ step: 'metadata', column: metadataColumn }];
const shippedStatuses = ['deployed', 'failed'];

/** With what the shipped chain requires in the place of what is left open. */
export function inFull({
  sources = shippedSources,
  columns = shippedColumns,
  statuses = shippedStatuses,
}: Expectations): Required<Expectations> {
  return { sources, columns, statuses };
}

/** Every obstacle that can be read from the catalogs, found without changing anything; tables that do not exist yet are none. */
export async function findObstacles(
  connection: Connection,
  expectations: Expectations = {},
  { isMigrated, callers = [] }: Installation = { isMigrated: false },
): Promise<Obstacle[]> {
  const tables = await readTables(connection);
  if (!tables.has('projects')) return await elsewhere(connection);
  return [
    ...[...tables.values()].flatMap((table) =>
      table.isView && isMigrated ? [] : obstaclesOf(table, isMigrated),
    ),
    ...obstaclesBetween(tables),
    ...(await unmetExpectations(connection, tables, expectations)),
    ...(await accessObstacles(connection, callers)),
  ];
}

/** Tables that are surely meant and would not be found: new ones would be made beside them. */
async function elsewhere(connection: Connection): Promise<Obstacle[]> {
  const rows = await queryRows<{
    table: string;
    schema: string;
    path: string;
    isNearby: boolean;
    role: string;
    database: string;
  }>(connection, {
    text: `SELECT c.relname AS table, n.nspname AS schema, current_setting('search_path') AS path, current_user AS role,
               current_database() AS database, n.nspname = ANY (current_schemas(false)) AS "isNearby"
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname <> 'session_chain' AND n.nspname !~ '^pg_'
               AND lower(c.relname) = 'projects' AND CASE WHEN n.nspname = ANY (current_schemas(false)) THEN c.relname <> 'projects'
                 -- A table of this name alone may be anything.
                 ELSE 2 = (SELECT count(DISTINCT (k.relname, a.attname)) FROM pg_class k JOIN pg_attribute a ON a.attrelid = k.oid
                   WHERE k.relnamespace = n.oid AND (k.relname, a.attname) IN (('projects', 'project_id'), ('project_versions', 'version_id'))) END
             ORDER BY n.nspname`,
  });
  return rows.map(({ table, schema, path, isNearby, role, database }) => ({
    table: 'projects',
    column: null,
    problem: isNearby
      ? `${quoted(schema)}.${quoted(table)} is there and projects is not: Postgres tells names in capitals apart`
      : `the table projects is in the schema ${schema}, which is not in the search path (${path}) of ${role}`,
    statement: isNearby
      ? `ALTER TABLE ${quoted(schema)}.${quoted(table)} RENAME TO projects; -- for the time of the migration; the whole recipe is in docs/host-databases.md`
      : `ALTER ROLE ${quoted(role)} IN DATABASE ${quoted(database)} SET search_path TO ${quoted(schema)}; -- and connect again`,
  }));
}

/**
 * What keeps submissions from writing their values, as texts with the statements that would help; empty if nothing
 * does.
 */
export async function missingSubmissionColumns(
  connection: Connection,
  columns: readonly SubmissionColumn[],
): Promise<string[]> {
  const versions = (await readTables(connection)).get('project_versions');
  return columnObstacles(versions, columns).map(({ problem, statement }) => `${problem}: ${statement}`);
}

interface Column {
  name: string;
  /** Without length, as format_type writes it; of a domain, the underlying type. */
  type: string;
  /** Characters at most; null for any number. */
  maxLength: number | null;
  isRequired: boolean;
  hasDefault: boolean;
  /** A unique index on this column alone. */
  isUnique: boolean;
  /** GENERATED ALWAYS, as an expression or as an identity: nothing can be written to it. */
  isGenerated: boolean;
  isIdentity: boolean;
  /** The labels of an enum. */
  labels: string[] | null;
}

interface Table {
  name: HostTable;
  /** As in pg_class.relkind. */
  kind: string;
  isView: boolean;
  /** As in pg_class.relpersistence. */
  persistence: string;
  /** The columns that say in which partition a row is, with an empty one for an expression; null where there are none. */
  partitionedBy: string[] | null;
  /** The partitioned table that it is a part of. */
  partitionOf: string | null;
  /** Rules that replace or add to what is written. */
  rules: string[];
  /** Whether a publication has its changes, and Postgres cannot tell which row changed. */
  isUnidentified: boolean;
  columns: Map<string, Column>;
}

type HostTable = keyof typeof hostTables;
/** What a column of ours holds: an id of a host's row, a session's id, other text, or what Postgres has a type for. */
type Kind =
  'project' | 'version' | 'chat' | 'session' | 'text' | 'count' | 'cost' | 'time' | 'json' | 'flag' | 'other';

/**
 * The columns that we use and that a host may already have: what they hold, with `!` where we write to the row and
 * always fill it, and `?` where we never write. A column that a host requires and that we do not always fill would make
 * our INSERTs fail. `adds` are columns that the migrations add whatever is there. `keys` are the columns of one of our
 * unique keys, which a partitioned table allows only with the columns that it is partitioned by.
 */
const hostTables = {
  projects: {
    inserts: false,
    needs: { project_id: 'project?' },
    uses: {
      last_ai_session_id: 'session',
      last_ai_session_updated_at: 'time',
      session_seq: 'count',
      session_epoch: 'count',
    },
    adds: [],
    keys: null,
  },
  project_versions: {
    inserts: false,
    needs: {
      id: 'other?',
      version_id: 'version?',
      project_id: 'project?',
      status: 'other?',
      created_at: 'other?',
    },
    uses: { ai_session_id: 'session', ai_session_last_used_at: 'time' },
    adds: [],
    keys: null,
  },
  session_transitions: {
    inserts: true,
    needs: {
      id: 'other?',
      project_id: 'project!',
      new_session_id: 'session!',
      source: 'text!',
      created_at: 'time!',
      version_id: 'version',
      old_session_id: 'session',
    },
    uses: {},
    adds: ['seq', 'prev_seq', 'parent_session_id', 'step', 'attempt_id', 'rewound_to', 'project_ref'],
    keys: ['project_id'],
  },
  project_ai_session_metrics: {
    inserts: true,
    needs: { session_id: 'session!' },
    uses: {
      project_id: 'project!',
      build_id: 'text!',
      step: 'text!',
      outcome: 'text!',
      attempt_id: 'count!',
      turn_in_flight_unknown: 'flag!',
      input_tokens: 'count!',
      output_tokens: 'count!',
      cache_read_tokens: 'count!',
      cache_write_tokens: 'count!',
      usage_by_model: 'json!',
      turns: 'count!',
      duration_ms: 'count!',
      version_id: 'version',
      model: 'text',
      agent_version: 'text',
      cost_usd: 'cost',
      cost_derived: 'flag',
      api_duration_ms: 'count',
      created_at: 'time?',
    },
    adds: [],
    keys: ['attempt_id'],
  },
  chat_plan_sessions: {
    inserts: true,
    needs: { session_id: 'chat!' },
    uses: { project_id: 'project!', workspace: 'text' },
    adds: [],
    keys: null,
  },
  project_chat_log_minimal: {
    inserts: true,
    needs: { session_id: 'chat!' },
    uses: {
      project_id: 'project!',
      question_id: 'count!',
      message_id: 'text!',
      question: 'text!',
      state: 'text!',
      read_when: 'text!',
      asked_at: 'time!',
      ai_session_id: 'session',
      reply: 'text',
      kind: 'text',
      aside: 'flag!',
      head_session_id: 'session',
      failure: 'json',
      answered_at: 'time',
    },
    adds: [],
    keys: [],
  },
} as const satisfies Record<
  string,
  {
    inserts: boolean;
    needs: Record<string, Kind | `${Kind}${'!' | '?'}`>;
    uses: Record<string, Kind | `${Kind}${'!' | '?'}`>;
    adds: readonly string[];
    keys: readonly string[] | null;
  }
>;

/** The types that a column of a kind may have, the one to change to first. Other kinds have rules of their own. */
const typesOf: Partial<Record<Kind, readonly string[]>> = {
  count: ['bigint', 'integer', 'numeric'],
  cost: ['numeric', 'double precision', 'real'],
  time: ['timestamp with time zone', 'timestamp without time zone'],
  json: ['jsonb'],
  flag: ['boolean'],
};

export const hostTableNames: readonly string[] = Object.keys(hostTables);

/** Definitions of columns that a host lacks, in case it has no other column in their place. */
const definitions: Record<string, string> = {
  id: 'bigint GENERATED BY DEFAULT AS IDENTITY',
  created_at: 'timestamptz NOT NULL DEFAULT now()',
  status: 'varchar(50)',
  source: 'varchar(50)',
};

const textTypes = ['text', 'character varying', 'character'];
const integerTypes = ['smallint', 'integer', 'bigint'];
const idTypes = [...textTypes, ...integerTypes, 'uuid'];
/** A session of ours is a uuid. */
const sessionIdLength = 36;

type TableRow = Omit<Table, 'name' | 'isView' | 'columns'> & { table: HostTable };

async function readTables(connection: Connection): Promise<Map<HostTable, Table>> {
  const rows = await queryRows<Column & TableRow>(connection, {
    text: `SELECT c.relname AS table, c.relkind AS kind, c.relpersistence AS persistence,
             (SELECT array_agg(coalesce(k.attname, '')::text ORDER BY by.place) FROM pg_partitioned_table p
              CROSS JOIN unnest(p.partattrs::smallint[]) WITH ORDINALITY AS by (n, place)
              LEFT JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = by.n AND by.n > 0 WHERE p.partrelid = c.oid) AS "partitionedBy",
             (SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE c.relispartition AND i.inhrelid = c.oid) AS "partitionOf",
             ARRAY(SELECT w.rulename::text FROM pg_rewrite w
               WHERE w.ev_class = c.oid AND w.ev_type IN ('2', '3') AND w.ev_enabled IN ('O', 'A') ORDER BY 1) AS rules,
             NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisreplident OR (i.indisprimary AND c.relreplident = 'd')))
               AND c.relreplident <> 'f' AND EXISTS (SELECT FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname
                 WHERE t.schemaname = n.nspname AND t.tablename = c.relname AND (p.pubupdate OR p.pubdelete)) AS "isUnidentified",
             a.attname AS name, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type,
             information_schema._pg_char_max_length(information_schema._pg_truetypid(a, t), information_schema._pg_truetypmod(a, t)) AS "maxLength", a.attnotnull AS "isRequired",
             a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS "hasDefault",
             a.attgenerated <> '' OR a.attidentity = 'a' AS "isGenerated", a.attidentity <> '' AS "isIdentity",
             (SELECT array_agg(e.enumlabel::text) FROM pg_enum e WHERE e.enumtypid = coalesce(nullif(t.typbasetype, 0), t.oid)) AS labels,
             EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS "isUnique"
           FROM unnest($1::text[]) AS host (name)
           JOIN pg_class c ON c.oid = to_regclass(host.name)
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_type t ON t.oid = a.atttypid
           ORDER BY array_position($1, host.name), a.attnum`,
    values: [hostTableNames],
  });
  const tables = new Map<HostTable, Table>();
  for (const {
    table: name,
    kind,
    persistence,
    partitionedBy,
    partitionOf,
    rules,
    isUnidentified,
    ...column
  } of rows) {
    const isView = kind !== 'r' && kind !== 'p';
    const table = tables.get(name) ?? {
      ...{ name, kind, isView, persistence, partitionedBy, partitionOf, rules, isUnidentified },
      columns: new Map<string, Column>(),
    };
    tables.set(name, table);
    table.columns.set(column.name, column);
  }
  return tables;
}

function obstaclesOf(table: Table, isMigrated: boolean): Obstacle[] {
  if (table.isView) return [notATable(table)];
  const { name, columns } = table;
  const { needs } = hostTables[name];
  const missing = Object.keys(needs)
    .filter((column) => !columns.has(column))
    .map((column) => missingColumn(table, column));
  const unique = name === 'projects' ? ['project_id'] : [];
  const ambiguous = unique
    .filter((column) => columns.get(column)?.isUnique === false)
    .map((column) => ({
      table: name,
      column,
      problem: `${name}.${column} is not unique`,
      statement: `CREATE UNIQUE INDEX ON ${name} (${column});`,
    }));
  return [
    ...obstaclesOfTable(table),
    ...missing,
    ...[...columns.values()].flatMap((column) => obstaclesOfColumn(table, column, isMigrated)),
    ...ambiguous,
  ];
}

function notATable({ name, kind }: Table): Obstacle {
  const what = { v: 'a view', m: 'a materialized view', f: 'a foreign table' }[kind] ?? 'something else';
  return {
    table: name,
    column: null,
    problem: `${name} is ${what}, not a table; nothing can be added to it`,
    statement:
      kind === 'f'
        ? `-- migrate the database that has the table ${name} itself, and connect to that one`
        : `ALTER TABLE … RENAME TO ${name}; -- for the time of the migration; the whole recipe is in docs/host-databases.md`,
  };
}

function missingColumn({ name, columns }: Table, column: string): Obstacle {
  const like = [...columns.keys()].find((one) => one.toLowerCase() === column);
  return {
    table: name,
    column,
    problem: `${name} has no column ${column}${like === undefined ? '' : `, only ${quoted(like)}: Postgres tells names in capitals apart`}`,
    statement:
      like === undefined
        ? `ALTER TABLE ${name} ADD COLUMN ${column} ${definitions[column] ?? 'varchar(255)'};`
        : `ALTER TABLE ${name} RENAME COLUMN ${quoted(like)} TO ${column};`,
  };
}

/** What a table is, apart from its columns. */
function obstaclesOfTable({
  name,
  persistence,
  partitionedBy,
  partitionOf,
  rules,
  isUnidentified,
}: Table): Obstacle[] {
  const at = { table: name, column: null };
  const { keys } = hostTables[name] as { keys: readonly string[] | null };
  return [
    ...(persistence === 'p'
      ? []
      : [
          {
            ...at,
            problem: `${name} is unlogged: after a crash of the server it is empty`,
            statement: `ALTER TABLE ${name} SET LOGGED;`,
          },
        ]),
    ...(partitionedBy !== null && keys !== null && !partitionedBy.every((column) => keys.includes(column))
      ? [
          {
            ...at,
            problem: `${name} is partitioned by ${partitionedBy.map((column) => column || 'an expression').join(', ')}, so that it can have no unique key without ${partitionedBy.length > 1 ? 'these columns' : 'it'}`,
            statement: `CREATE SCHEMA IF NOT EXISTS former; ALTER TABLE ${name} SET SCHEMA former; -- migrate then makes the table anew, and the rows stay where they are`,
          },
        ]
      : []),
    ...(partitionOf === null
      ? []
      : [
          {
            ...at,
            problem: `${name} is a partition of ${partitionOf}, and Postgres adds columns to the whole alone`,
            statement: `-- give ${partitionOf} the name ${name}`,
          },
        ]),
    ...rules.map((rule) => ({
      ...at,
      problem: `the rule ${rule} of ${name} changes what is written, and Postgres takes no such rule where several tables are written at once`,
      statement: `DROP RULE ${quoted(rule)} ON ${name}; -- a trigger can do the same`,
    })),
    ...(isUnidentified
      ? [
          {
            ...at,
            problem: `${name} is published for logical replication and has no replica identity: Postgres refuses every update and delete`,
            statement: `ALTER TABLE ${name} REPLICA IDENTITY FULL; -- or give it a primary key`,
          },
        ]
      : []),
  ];
}

function obstaclesOfColumn(table: Table, column: Column, isMigrated: boolean): Obstacle[] {
  const { name } = table;
  const { inserts, needs, uses, adds } = hostTables[name];
  const declared = ({ ...needs, ...uses } as Record<string, string>)[column.name];
  const kind = declared?.replace(/[!?]$/, '') as Kind | undefined;
  const obstacle = (problem: string, change: string): Obstacle => ({
    ...{ table: name, column: column.name, problem },
    statement: `ALTER TABLE ${name} ${change};`,
  });
  const alter = `ALTER COLUMN ${quoted(column.name)}`;
  const where = `${name}.${column.name} (${column.type})`;
  const problems: Obstacle[] = [];
  if (!isMigrated && (adds as readonly string[]).includes(column.name)) {
    return [
      obstacle(
        `${name} has a column ${column.name} already, and session-chain adds one of this name`,
        `RENAME COLUMN ${column.name} TO host_${column.name}`,
      ),
    ];
  }
  if (column.isGenerated && kind !== undefined && !declared?.endsWith('?')) {
    problems.push(
      obstacle(
        `${name}.${column.name} is generated, and session-chain writes to it`,
        `${alter} DROP ${column.isIdentity ? 'IDENTITY' : 'EXPRESSION'}`,
      ),
    );
  }
  if (kind === 'session' && (!isText(column) || (column.maxLength ?? 255) < sessionIdLength)) {
    problems.push(obstacle(`${where} cannot hold every session id`, `${alter} TYPE varchar(255)`));
  }
  if (kind === 'text' && !isText(column) && !isCaseless(column)) {
    problems.push(obstacle(`${where} cannot hold what we write to it as text`, `${alter} TYPE varchar(255)`));
  }
  if ((kind === 'project' || kind === 'version' || kind === 'chat') && !idTypes.includes(column.type)) {
    problems.push(
      obstacle(
        `${name}.${column.name} is of the type ${column.type}; ids may be ${idTypes.join(', ')}`,
        `${alter} TYPE text`,
      ),
    );
  }
  const types = kind && typesOf[kind];
  if (types && !types.includes(column.type)) {
    problems.push(
      obstacle(
        `${where} cannot hold what we write to it, which is ${types[0] ?? ''}`,
        `${alter} TYPE ${types[0] ?? ''} USING ${quoted(column.name)}::text::${types[0] ?? ''}`,
      ),
    );
  }
  const mustBeFilled = column.isRequired && !column.hasDefault;
  const canBeNull =
    name === 'project_versions' ? column.name === 'ai_session_id' : inserts && !declared?.endsWith('!');
  if (mustBeFilled && canBeNull) {
    problems.push(
      obstacle(
        `${name}.${column.name} is NOT NULL without a default, and ${kind === undefined || declared?.endsWith('?') ? 'we do not fill it' : 'we cannot always fill it'}`,
        `${alter} DROP NOT NULL`,
      ),
    );
  }
  return problems;
}

async function unmetExpectations(
  connection: Connection,
  tables: Map<HostTable, Table>,
  expectations: Expectations,
): Promise<Obstacle[]> {
  const { sources, columns, statuses } = inFull(expectations);
  const written = [
    { table: tables.get('session_transitions'), name: 'source', values: sources },
    { table: tables.get('project_versions'), name: 'status', values: statuses },
  ];
  const versions = tables.get('project_versions');
  const added = (column: string) => column === metadataColumn && !versions?.columns.has(column);
  return [
    ...(
      await Promise.all(
        written.map(async ({ table, name, values }) => await refusedValues(connection, table, name, values)),
      )
    ).flat(),
    ...(versions
      ? columnObstacles(
          versions,
          columns.filter(({ column }) => !added(column)),
        )
      : []),
  ];
}

/** What keeps a column from holding each of the values that we may write to it. */
async function refusedValues(
  connection: Connection,
  table: Table | undefined,
  name: string,
  values: readonly string[],
): Promise<Obstacle[]> {
  const column = table?.columns.get(name);
  if (!table || !column || values.length === 0) return [];
  const { type, maxLength, labels, isGenerated } = column;
  const where = `${table.name}.${name}`;
  const obstacle = (problem: string, statement: string): Obstacle[] => [
    { table: table.name, column: name, problem, statement },
  ];
  const leftAlone =
    name === 'status'
      ? ', or leave the column alone: SESSION_CHAIN_STATUS_SUCCEEDED= SESSION_CHAIN_STATUS_FAILED='
      : '';
  if (isGenerated && name === 'status') {
    return obstacle(
      `${where} is generated, and session-chain writes to it`,
      `ALTER TABLE ${table.name} ALTER COLUMN ${name} DROP EXPRESSION; -- ${leftAlone.slice(2)}`,
    );
  }
  if (name === 'status' && !isText(column) && !isCaseless(column) && labels === null) {
    return obstacle(
      `${where} (${type}) cannot hold what we write to it as text`,
      `ALTER TABLE ${table.name} ALTER COLUMN ${name} TYPE varchar(255);`,
    );
  }
  const unknown = labels === null ? [] : values.filter((value) => !labels.includes(value));
  if (unknown.length > 0) {
    return unknown.flatMap((value) =>
      obstacle(
        `${where} (${type}) has no label ${value}`,
        `ALTER TYPE ${type} ADD VALUE '${value.replaceAll("'", "''")}';${leftAlone && ` -- ${leftAlone.slice(2)}`}`,
      ),
    );
  }
  const tooLong = values.filter(({ length }) => length > (maxLength ?? length));
  return [
    ...(tooLong.length === 0
      ? []
      : obstacle(
          `${where} (${type}(${maxLength ?? ''})) is too short for ${tooLong.join(', ')}`,
          `ALTER TABLE ${table.name} ALTER COLUMN ${name} TYPE varchar(255);`,
        )),
    ...(await narrowChecks(connection, table.name, column, values)),
  ];
}

/** Check constraints of a host, on the column or on its domain, that do not allow every value. */
async function narrowChecks(
  connection: Connection,
  table: HostTable,
  { name: column, type }: Column,
  values: readonly string[],
): Promise<Obstacle[]> {
  const checks = await queryRows<{
    owner: string;
    name: string;
    definition: string;
    rule: string;
    isAlone: boolean;
  }>(connection, {
    text: `SELECT 'TABLE ' || $1 AS owner, k.conname AS name, pg_get_constraintdef(k.oid) AS definition,
             pg_get_expr(k.conbin, k.conrelid) AS rule, cardinality(k.conkey) = 1 AS "isAlone"
           FROM pg_constraint k
           JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = $2 AND a.attnum = ANY (k.conkey)
           WHERE k.conrelid = to_regclass($1) AND k.contype = 'c' AND k.conname <> 'session_transitions_source'
           UNION ALL
           SELECT 'DOMAIN ' || k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid),
             regexp_replace(pg_get_expr(k.conbin, 0), '\\mVALUE\\M', quote_ident($2), 'g'), true
           FROM pg_constraint k JOIN pg_attribute a ON a.atttypid = k.contypid AND a.attname = $2
           WHERE a.attrelid = to_regclass($1) AND k.contype = 'c' ORDER BY owner DESC, name`,
    values: [table, column],
  });
  const obstacles: Obstacle[] = [];
  for (const { owner, name, definition, rule, isAlone } of checks) {
    // A constraint that also covers other columns cannot be evaluated; one that does not name the source counts as a
    // refusal. Of a status only a rehearsal can tell.
    const refused = isAlone
      ? (
          await queryRows<{ value: string }>(connection, {
            text: `SELECT value FROM (SELECT v.value, v.value::${type === 'character' ? 'bpchar' : type} AS ${column} FROM unnest($1::text[]) AS v (value)) c WHERE NOT (${rule})`,
            values: [values],
          })
        ).map(({ value }) => value)
      : values.filter((value) => column === 'source' && !definition.includes(`'${value}'`));
    if (refused.length === 0) continue;
    obstacles.push({
      table,
      column,
      problem: `${table}.${column} is bound to other values than ${refused.join(', ')}: ${definition}`,
      statement: `ALTER ${owner} DROP CONSTRAINT ${quoted(name)};`,
    });
  }
  return obstacles;
}

function columnObstacles(versions: Table | undefined, columns: readonly SubmissionColumn[]): Obstacle[] {
  return columns.flatMap(({ step, column }): Obstacle[] => {
    const type = versions?.columns.get(column)?.type;
    if (type === 'jsonb' || type === 'json') return [];
    const name = quoted(column);
    const target = `project_versions.${column}, to which the step ${step} writes`;
    return [
      type === undefined
        ? {
            table: 'project_versions',
            column,
            problem: `${target}, is not there`,
            statement: `ALTER TABLE project_versions ADD COLUMN ${name} jsonb;`,
          }
        : {
            table: 'project_versions',
            column,
            problem: `${target}, is of the type ${type} and not jsonb or json`,
            statement: `ALTER TABLE project_versions ALTER COLUMN ${name} TYPE jsonb USING ${name}::jsonb;`,
          },
    ];
  });
}

/** Ids that name the same thing in two tables must be comparable, or be held as text. */
function obstaclesBetween(tables: Map<HostTable, Table>): Obstacle[] {
  const typeOf = (table: HostTable, column: string) => tables.get(table)?.columns.get(column)?.type;
  const project = typeOf('projects', 'project_id');
  const version = typeOf('project_versions', 'version_id');
  const versions: Obstacle[] = tables.has('project_versions')
    ? []
    : [
        {
          table: 'project_versions',
          column: null,
          problem: 'projects is there and project_versions is not',
          statement: `CREATE TABLE project_versions (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, version_id ${project ?? 'text'} NOT NULL UNIQUE, project_id ${project ?? 'text'} NOT NULL REFERENCES projects (project_id), status varchar(50), created_at timestamptz NOT NULL DEFAULT now());`,
        },
      ];
  const others = [...tables.values()].flatMap(({ name, columns }) => {
    const { needs, uses } = hostTables[name];
    return Object.entries<string>({ ...needs, ...uses }).flatMap(([column, kind]) => {
      const type = columns.get(column)?.type;
      const like = kind.startsWith('project') ? project : kind.startsWith('version') ? version : undefined;
      if (type === undefined || like === undefined || isAlike(type, like)) return [];
      // The audit and the records may hold any id as text; the host's own queries join these two tables.
      if (isText({ type }) && name !== 'project_versions') return [];
      return [
        {
          table: name,
          column,
          problem: `${name}.${column} (${type}) cannot be compared with the ${like} that it refers to`,
          statement: `ALTER TABLE ${name} ALTER COLUMN ${column} TYPE ${like} USING ${column}::text::${like};`,
        },
      ];
    });
  });
  return [...versions, ...others];
}

function isText({ type }: Pick<Column, 'type'>): boolean {
  return textTypes.includes(type);
}

/** citext, wherever its extension is. */
function isCaseless({ type }: Pick<Column, 'type'>): boolean {
  return /(^|\.)citext$/.test(type);
}

function isAlike(one: string, other: string): boolean {
  return (
    one === other ||
    [textTypes, integerTypes].some((family) => family.includes(one) && family.includes(other))
  );
}
