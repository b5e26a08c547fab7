import { reservedSources } from '../../contracts/steps.js';
import { type Connection, queryRows } from './pool.js';

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

/** What the definition of an installation requires of the host's tables, beyond what every installation does. */
export interface Expectations {
  /** What it may write as the source of a transition: reserved sources and the names of its steps. */
  sources?: readonly string[];
  /** The columns that its submissions write to. */
  columns?: readonly SubmissionColumn[];
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

/** Every obstacle, found without changing anything; tables that do not exist yet are none. */
export async function findObstacles(
  connection: Connection,
  expectations: Expectations = {},
): Promise<Obstacle[]> {
  const tables = await readTables(connection);
  if (!tables.has('projects')) return [];
  return [
    ...[...tables.values()].flatMap((table) => obstaclesOf(table)),
    ...obstaclesBetween(tables),
    ...(await unmetExpectations(connection, tables, expectations)),
  ];
}

/** The obstacles that an up-to-date database can have, apart from what the definition requires. */
export async function findUnmetExpectations(
  connection: Connection,
  expectations: Expectations = {},
): Promise<Obstacle[]> {
  return await unmetExpectations(connection, await readTables(connection), expectations);
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
}

interface Table {
  name: HostTable;
  isView: boolean;
  columns: Map<string, Column>;
}

type HostTable = keyof typeof hostTables;
/** What a column of ours holds: an id of a host's row, a session's id, or other text. */
type Kind = 'project' | 'version' | 'chat' | 'session' | 'text' | 'other';

/**
 * The columns that we use and that a host may already have: what they hold, with `!` where we write to the row and
 * always fill it. A column that a host requires and that we do not always fill would make our INSERTs fail.
 */
const hostTables = {
  projects: { inserts: false, needs: { project_id: 'project' }, uses: { last_ai_session_id: 'session' } },
  project_versions: {
    inserts: false,
    needs: { id: 'other', version_id: 'version', project_id: 'project', status: 'text', created_at: 'other' },
    uses: { ai_session_id: 'session' },
  },
  session_transitions: {
    inserts: true,
    needs: {
      project_id: 'project!',
      new_session_id: 'session!',
      source: 'text!',
      created_at: 'other!',
      version_id: 'version',
      old_session_id: 'session',
    },
    uses: {},
  },
  project_ai_session_metrics: {
    inserts: true,
    needs: { session_id: 'session!' },
    uses: {
      project_id: 'project!',
      build_id: 'text!',
      step: 'text!',
      outcome: 'text!',
      attempt_id: 'other!',
      turn_in_flight_unknown: 'other!',
      input_tokens: 'other!',
      output_tokens: 'other!',
      cache_read_tokens: 'other!',
      cache_write_tokens: 'other!',
      usage_by_model: 'other!',
      turns: 'other!',
      duration_ms: 'other!',
      version_id: 'version',
    },
  },
  chat_plan_sessions: {
    inserts: true,
    needs: { session_id: 'chat!' },
    uses: { project_id: 'project!' },
  },
  project_chat_log_minimal: {
    inserts: true,
    needs: { session_id: 'chat!' },
    uses: {
      project_id: 'project!',
      question_id: 'other!',
      message_id: 'text!',
      question: 'text!',
      state: 'text!',
      read_when: 'text!',
      asked_at: 'other!',
      ai_session_id: 'session',
    },
  },
} as const satisfies Record<
  string,
  { inserts: boolean; needs: Record<string, Kind | `${Kind}!`>; uses: Record<string, Kind | `${Kind}!`> }
>;

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

async function readTables(connection: Connection): Promise<Map<HostTable, Table>> {
  const rows = await queryRows<Column & { table: HostTable; kind: string }>(connection, {
    text: `SELECT c.relname AS table, c.relkind AS kind, a.attname AS name,
             format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type,
             information_schema._pg_char_max_length(information_schema._pg_truetypid(a, t), information_schema._pg_truetypmod(a, t)) AS "maxLength", a.attnotnull AS "isRequired",
             a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS "hasDefault",
             EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS "isUnique"
           FROM unnest($1::text[]) AS host (name)
           JOIN pg_class c ON c.oid = to_regclass(host.name)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_type t ON t.oid = a.atttypid
           ORDER BY array_position($1, host.name), a.attnum`,
    values: [Object.keys(hostTables)],
  });
  const tables = new Map<HostTable, Table>();
  for (const { table: name, kind, ...column } of rows) {
    const table = tables.get(name) ?? { name, isView: kind !== 'r' && kind !== 'p', columns: new Map() };
    tables.set(name, table.columns.set(column.name, column) && table);
  }
  return tables;
}

function obstaclesOf(table: Table): Obstacle[] {
  const { name, isView, columns } = table;
  if (isView) {
    return [
      {
        table: name,
        column: null,
        problem: `${name} is a view, not a table; nothing can be added to it`,
        statement: `ALTER TABLE … RENAME TO ${name}; -- for the time of the migration; the whole recipe is in docs/host-databases.md`,
      },
    ];
  }
  const { inserts, needs, uses } = hostTables[name];
  const kinds: Record<string, string> = { ...needs, ...uses };
  const missing = Object.keys(needs)
    .filter((column) => !columns.has(column))
    .map((column) => ({
      table: name,
      column,
      problem: `${name} has no column ${column}`,
      statement: `ALTER TABLE ${name} ADD COLUMN ${column} ${definitions[column] ?? 'varchar(255)'};`,
    }));
  const wrong = [...columns.values()].flatMap((column): Obstacle[] => {
    const at = { table: name, column: column.name };
    const kind = kinds[column.name];
    const problems: Obstacle[] = [];
    if (kind?.startsWith('session') && (!isText(column) || (column.maxLength ?? 255) < sessionIdLength)) {
      problems.push({
        ...at,
        problem: `${name}.${column.name} (${column.type}) cannot hold every session id`,
        statement: `ALTER TABLE ${name} ALTER COLUMN ${quoted(column.name)} TYPE varchar(255);`,
      });
    }
    if (kind?.startsWith('text') && !isText(column)) {
      problems.push({
        ...at,
        problem: `${name}.${column.name} (${column.type}) cannot hold what we write to it as text`,
        statement: `ALTER TABLE ${name} ALTER COLUMN ${quoted(column.name)} TYPE varchar(255);`,
      });
    }
    if (kind && /^(project|version|chat)/.test(kind) && !idTypes.includes(column.type)) {
      problems.push({
        ...at,
        problem: `${name}.${column.name} is of the type ${column.type}; ids may be ${idTypes.join(', ')}`,
        statement: `ALTER TABLE ${name} ALTER COLUMN ${quoted(column.name)} TYPE text;`,
      });
    }
    const mustBeFilled = column.isRequired && !column.hasDefault;
    const canBeNull =
      name === 'project_versions' ? column.name === 'ai_session_id' : inserts && !kind?.endsWith('!');
    if (mustBeFilled && canBeNull) {
      problems.push({
        ...at,
        problem: `${name}.${column.name} is NOT NULL without a default, and ${kind === undefined ? 'we do not fill it' : 'we cannot always fill it'}`,
        statement: `ALTER TABLE ${name} ALTER COLUMN ${quoted(column.name)} DROP NOT NULL;`,
      });
    }
    return problems;
  });
  const unique = name === 'projects' ? ['project_id'] : [];
  const ambiguous = unique
    .filter((column) => columns.get(column)?.isUnique === false)
    .map((column) => ({
      table: name,
      column,
      problem: `${name}.${column} is not unique`,
      statement: `CREATE UNIQUE INDEX ON ${name} (${column});`,
    }));
  return [...missing, ...wrong, ...ambiguous];
}

async function unmetExpectations(
  connection: Connection,
  tables: Map<HostTable, Table>,
  { sources = shippedSources, columns = shippedColumns }: Expectations,
): Promise<Obstacle[]> {
  const source = tables.get('session_transitions')?.columns.get('source');
  const versions = tables.get('project_versions');
  const added = (column: string) => column === metadataColumn && !versions?.columns.has(column);
  return [
    ...(source ? lengthObstacles(source, sources) : []),
    ...(source ? await narrowChecks(connection, sources) : []),
    ...(versions
      ? columnObstacles(
          versions,
          columns.filter(({ column }) => !added(column)),
        )
      : []),
  ];
}

function lengthObstacles({ type, maxLength }: Column, sources: readonly string[]): Obstacle[] {
  const tooLong = sources.filter(({ length }) => length > (maxLength ?? length));
  if (tooLong.length === 0) return [];
  return [
    {
      table: 'session_transitions',
      column: 'source',
      problem: `session_transitions.source (${type}(${maxLength ?? ''})) is too short for ${tooLong.join(', ')}`,
      statement: 'ALTER TABLE session_transitions ALTER COLUMN source TYPE varchar(255);',
    },
  ];
}

/** Check constraints of a host, on the column or on its domain, that do not allow every source. */
async function narrowChecks(connection: Connection, sources: readonly string[]): Promise<Obstacle[]> {
  const checks = await queryRows<{
    owner: string;
    name: string;
    definition: string;
    rule: string;
    isAlone: boolean;
  }>(connection, {
    text: `SELECT 'TABLE session_transitions' AS owner, k.conname AS name, pg_get_constraintdef(k.oid) AS definition,
             pg_get_expr(k.conbin, k.conrelid) AS rule, cardinality(k.conkey) = 1 AS "isAlone"
           FROM pg_constraint k
           JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = 'source' AND a.attnum = ANY (k.conkey)
           WHERE k.conrelid = to_regclass('session_transitions') AND k.contype = 'c' AND k.conname <> 'session_transitions_source'
           UNION ALL
           SELECT 'DOMAIN ' || k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid),
             regexp_replace(pg_get_expr(k.conbin, 0), '\\mVALUE\\M', 'source', 'g'), true
           FROM pg_constraint k JOIN pg_attribute a ON a.atttypid = k.contypid AND a.attname = 'source'
           WHERE a.attrelid = to_regclass('session_transitions') AND k.contype = 'c'`,
  });
  const obstacles: Obstacle[] = [];
  for (const { owner, name, definition, rule, isAlone } of checks) {
    // A constraint that also covers other columns cannot be evaluated; one that does not name the source counts as a
    // refusal.
    const refused = isAlone
      ? (
          await queryRows<{ source: string }>(connection, {
            text: `SELECT source FROM unnest($1::text[]) AS s (source) WHERE NOT (${rule})`,
            values: [sources],
          })
        ).map(({ source }) => source)
      : sources.filter((source) => !definition.includes(`'${source}'`));
    if (refused.length === 0) continue;
    obstacles.push({
      table: 'session_transitions',
      column: 'source',
      problem: `session_transitions.source is bound to other values than ${refused.join(', ')}: ${definition}`,
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

/** A name as SQL takes it. */
function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function isText({ type }: Pick<Column, 'type'>): boolean {
  return textTypes.includes(type);
}

function isAlike(one: string, other: string): boolean {
  return (
    one === other ||
    [textTypes, integerTypes].some((family) => family.includes(one) && family.includes(other))
  );
}
