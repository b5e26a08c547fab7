import pg from 'pg';
import { SessionChainError } from '../../contracts/failures.js';
import { startOf, storableText } from '../../contracts/text.js';

export type Pool = pg.Pool;

/** A pool, or one connection of it whose transaction the statements belong to. */
export interface Connection {
  query<Row extends pg.QueryResultRow>(query: pg.QueryConfig): Promise<pg.QueryResult<Row>>;
}

export interface PoolOptions {
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** Connections at most. */
  max?: number;
  log?: (message: string) => void;
}

/** A connection pool on `url`. bigint columns of ours (epochs, sequence numbers, counters) arrive as numbers. */
export function createPool(url: string, { applicationName, max = 10, log }: PoolOptions): Pool {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: applicationName,
    max,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    types: { getTypeParser },
  });
  // An idle connection that breaks (a restarted server) is replaced at its next use; it must not end the process.
  pool.on('error', (error) => log?.(`An idle database connection broke: ${error.message}`));
  return pool;
}

const numbers = new Set<number>([pg.types.builtins.INT8, pg.types.builtins.NUMERIC]);

const getTypeParser = ((oid: number, format?: 'text') =>
  numbers.has(oid)
    ? Number
    : (pg.types.getTypeParser(oid, format) as unknown)) as typeof pg.types.getTypeParser;

/** A value of a statement. An object is none: what is to be jsonb goes through `jsonbOf`. */
export type Parameter = string | number | boolean | Date | null | readonly string[] | readonly Buffer[];

export interface Query {
  name?: string;
  text: string;
  values?: readonly Parameter[];
}

/** One statement that returns exactly one row. */
export async function queryOne<Row extends pg.QueryResultRow>(
  connection: Connection,
  query: Query,
): Promise<Row> {
  const [row] = await queryRows<Row>(connection, query);
  if (!row) throw new Error(`The statement ${query.name ?? startOf(query.text, 80)} returned no row.`);
  return row;
}

/**
 * The rows of one statement; a database that cannot be reached is DATABASE_UNAVAILABLE, a schema that is not there MIGRATIONS_BEHIND.
 * Texts are stored as `storableText` leaves them, whoever said them.
 */
export async function queryRows<Row extends pg.QueryResultRow>(
  connection: Connection,
  { values = [], ...query }: Query,
): Promise<Row[]> {
  try {
    // A pool that the host made has parsers of its own.
    const { rows } = await connection.query<Row>({
      types: { getTypeParser },
      ...query,
      values: values.map((value) => (typeof value === 'string' ? storableText(value) : value)),
    });
    return rows;
  } catch (error) {
    throw classified(error);
  }
}

/** The error as one of ours where it is known: DATABASE_UNAVAILABLE, MIGRATIONS_BEHIND. */
export function classified(error: unknown): unknown {
  const code = (error as { code?: unknown }).code;
  if (isConnectionError(error)) {
    return new SessionChainError(
      'DATABASE_UNAVAILABLE',
      `The database did not answer: ${describe(error)}`,
      undefined,
      {
        cause: error,
      },
    );
  }
  // undefined_table, invalid_schema_name, undefined_function, undefined_column
  if (code === '42P01' || code === '3F000' || code === '42883' || code === '42703') {
    return new SessionChainError(
      'MIGRATIONS_BEHIND',
      `The database lacks what this version needs: ${describe(error)}`,
      undefined,
      { cause: error },
    );
  }
  return error;
}

/** Whether the statement may not have reached a working server: worth waiting and asking again. */
export function isConnectionError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string') {
    return (
      /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(code) ||
      // connection exceptions, admin shutdown, crash shutdown, cannot connect now, too many connections, no such
      // database, wrong role or password
      /^(08...|57P0[1-3]|53300|3D000|28000|28P01)$/.test(code)
    );
  }
  return /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(
    String(message),
  );
}

function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  return error instanceof Error ? error.message : String(error);
}
