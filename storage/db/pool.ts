import type { Duplex } from 'node:stream';
import pg from 'pg';
import { type FailureCode, SessionChainError } from '../../contracts/failures.js';
import { startOf, storableText } from '../../contracts/text.js';
import { settingsOf } from './address.js';
import { type Introduction, Unsuitable, introduce } from './suitable.js';

export type Pool = pg.Pool;

/** A pool, or one of its connections, whose transaction the statements belong to. */
export interface Connection {
  query<Row extends pg.QueryResultRow>(query: pg.QueryConfig): Promise<pg.QueryResult<Row>>;
}

export interface PoolOptions {
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** The maximum number of connections. */
  max?: number;
  log?: (message: string) => void;
}

/**
 * A connection pool on `url`. bigint columns of ours (epochs, sequence numbers, counters) arrive as numbers. Throws
 * INVALID_INPUT for an address that cannot be used.
 */
export function createPool(url: string, { applicationName, max = 10, log }: PoolOptions): Pool {
  const settings: pg.PoolConfig = {
    application_name: applicationName,
    max,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    types: { getTypeParser },
    ...settingsOf(url),
  };
  const pool = new pg.Pool({ ...settings, Client });
  // An idle connection that breaks (a restarted server) is replaced at the next use; it must not end the process.
  pool.on('error', (error) => log?.(`An idle database connection broke: ${error.message}`));
  // Nor must one that breaks the moment it is made, before its user can listen; the user's first statement fails.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Hangs up where it is refused: node-postgres would leave it to the server, which waits a minute for a password, say. */
class Client extends pg.Client {
  override connect(): Promise<pg.Client>;
  override connect(callback: ((error: Error) => void) | ((error: null, client: pg.Client) => void)): void;
  override connect(callback?: unknown): Promise<pg.Client> | void {
    if (callback === undefined) return super.connect();
    super.connect((error: Error | null) => {
      // Not end(), which would wait for a TLS that has failed.
      if (error) (this as unknown as { connection: { stream: Duplex } }).connection.stream.destroy();
      (callback as (error: Error | null) => void)(error);
    });
  }
}

const numbers = new Set<number>([pg.types.builtins.INT8, pg.types.builtins.NUMERIC]);

const getTypeParser = ((oid: number, format?: 'text') =>
  numbers.has(oid)
    ? Number
    : (pg.types.getTypeParser(oid, format) as unknown)) as typeof pg.types.getTypeParser;

/** A parameter of a statement. Objects are not allowed: a jsonb value goes through `jsonbOf`. */
export type Parameter = string | number | boolean | Date | null | readonly string[] | readonly Buffer[];

export interface Query {
  name?: string;
  text: string;
  values?: readonly Parameter[];
  /** Gives the answer up after so many milliseconds, and the connection with it. */
  query_timeout?: number;
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
 * The rows of one statement; a database that cannot be reached is DATABASE_UNAVAILABLE, one that denies permission or does not
 * suit DATABASE_REFUSED, a missing schema MIGRATIONS_BEHIND. Texts are stored as `storableText` leaves them, whatever their
 * origin.
 */
export async function queryRows<Row extends pg.QueryResultRow>(
  connection: Connection,
  { values = [], ...query }: Query,
): Promise<Row[]> {
  try {
    return await sendStatement<Row>(connection, {
      ...query,
      values: values.map((value) => (typeof value === 'string' ? storableText(value) : value)),
    });
  } catch (error) {
    if (isReadOnly(error) && isPool(connection)) closeIdle(connection);
    const known = explained(error, introductions.get(connection));
    throw classified(known, {
      connectMs: (connection as Partial<pg.Pool>).options?.connectionTimeoutMillis,
      answerMs: query.query_timeout,
    });
  }
}

/** As `queryRows`, with values as they are, and errors as Postgres and node-postgres have them. */
export async function sendStatement<Row extends pg.QueryResultRow>(
  connection: Connection,
  { name, ...query }: pg.QueryConfig & { query_timeout?: number },
): Promise<Row[]> {
  const known =
    introductions.get(connection) ??
    (isPool(connection) ? await introductionOf(connection, query.query_timeout) : null);
  const { rows } = await connection.query<Row>({
    // A pool created by the host has its own parsers.
    types: { getTypeParser },
    ...query,
    // Another connection of the server might not know the statement, or know another of that name.
    ...(name !== undefined && known?.isPooled === false ? { name } : {}),
  });
  return rows;
}

/** Of pools, and of their connections that run a transaction. */
const introductions = new WeakMap<object, Introduction>();
const underWay = new WeakMap<object, Promise<Introduction>>();
const introductionMs = 10_000;

/** What connections of a pool are like, which its first statement finds out. Errors as those of `queryRows`. */
export async function introductionOf(pool: Pool, timeoutMs = Infinity): Promise<Introduction> {
  const known = introductions.get(pool);
  if (known) return known;
  const asked = underWay.get(pool) ?? introducePool(pool).finally(() => void underWay.delete(pool));
  underWay.set(pool, asked);
  try {
    return timeoutMs >= introductionMs ? await asked : await within(timeoutMs, asked);
  } catch (error) {
    throw classified(error, {
      connectMs: (pool as Partial<pg.Pool>).options?.connectionTimeoutMillis,
      answerMs: Math.min(timeoutMs, introductionMs),
    });
  }
}

/** A connection that was not introduced is used as it is, without names. */
function isPool(connection: Connection): connection is Pool {
  return 'connect' in connection && !('processID' in connection);
}

async function introducePool(pool: Pool): Promise<Introduction> {
  const client = await pool.connect();
  const ignore = () => undefined;
  client.on('error', ignore);
  // One that does not suit is closed: the next one may have other settings.
  let isFit = false;
  try {
    const introduction = await introduce(client, introductionMs);
    introductions.set(pool, introduction);
    isFit = true;
    return introduction;
  } finally {
    client.off('error', ignore);
    client.release(!isFit);
  }
}

/** Lets `queryRows` know what a connection of a pool is like. */
export function introduceAs(connection: Connection, introduction: Introduction): void {
  introductions.set(connection, introduction);
}

async function within<Result>(ms: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('Query read timeout')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error that a setting of the connection explains. */
function explained(error: unknown, introduction: Introduction | undefined): unknown {
  const state = sqlState(error);
  if (state === readOnly) return introduction?.readOnly ?? error;
  return state === '42P01' ? (introduction?.hidden ?? error) : error;
}

/** Throws DATABASE_UNAVAILABLE, DATABASE_REFUSED where the database does not answer within this time, or writes nothing. */
export async function requireWriting(pool: Pool, timeoutMs: number): Promise<void> {
  const { writes } = await queryOne<{ writes: boolean }>(pool, {
    text: `SELECT current_setting('transaction_read_only') = 'off' AS writes`,
    query_timeout: timeoutMs,
  });
  if (writes) return;
  closeIdle(pool);
  const error = Object.assign(new Error('its transactions are read-only'), { code: readOnly });
  throw classified(explained(error, introductions.get(pool)));
}

/** Closes what nothing uses. After a fail-over every connection may lead to the server that was the primary, and stay there. */
export function closeIdle(pool: Pool): void {
  for (let left = pool.idleCount; left > 0; left -= 1) {
    pool.connect().then(
      (client) => client.release(true),
      () => undefined,
    );
  }
}

/** The time limits of a statement, as far as the caller knows them. */
interface Limits {
  /** For getting a connection. */
  connectMs?: number | undefined;
  /** For the answer. */
  answerMs?: number | undefined;
}

/** The error as one of ours, where it is a known one: DATABASE_UNAVAILABLE, DATABASE_REFUSED, MIGRATIONS_BEHIND, PROJECT_BEING_ERASED. */
export function classified(error: unknown, limits: Limits = {}): unknown {
  if (error instanceof SessionChainError) return error;
  const state = sqlState(error);
  const described = describe(error);
  const as = (code: FailureCode, message: string, remedy?: string) =>
    new SessionChainError(code, message, remedy, { cause: error });
  if (state === erased) return as('PROJECT_BEING_ERASED', `Nothing is begun here: ${described}.`);
  if (state !== null && lostStatements.test(state)) {
    return as(
      'DATABASE_REFUSED',
      `The connection does not keep its prepared statements: ${described}`,
      'Connect to Postgres itself, or to a connection pooler in session mode.',
    );
  }
  if (error instanceof Error && poolerMessages.test(error.message)) {
    return as(
      'DATABASE_REFUSED',
      `A connection pooler is in between and refuses what is asked of it: ${described}`,
      'Let it pool transactions or sessions, not statements. Leave a parameter that it does not support out of the address (DATABASE_URL) and PGOPTIONS, or let it ignore that (PgBouncer: ignore_startup_parameters).',
    );
  }
  if (isInsecure(error)) {
    return as(
      'DATABASE_REFUSED',
      `Client and database do not agree on how to connect: ${described}`,
      helpToConnect(error) ??
        'Correct the address of the database (DATABASE_URL): its password, its sslmode, or its certificates.',
    );
  }
  if (state === '42501') {
    return as(
      'DATABASE_REFUSED',
      `The role of this connection lacks a right: ${described}`,
      'session-chain doctor says what it lacks; session-chain migrate --grants gives it.',
    );
  }
  if (state !== null && refusals.test(state)) {
    return as(
      'DATABASE_REFUSED',
      `The database refuses what is asked of it: ${described}`,
      helpToConnect(error),
    );
  }
  if (isForeignConstraint(error, state)) {
    const { schema = '', table = '' } = error as { schema?: string; table?: string };
    return as('DATABASE_REFUSED', `A constraint of the table ${schema}.${table} refuses a row: ${described}`);
  }
  if (state === readOnly) {
    return as(
      'DATABASE_UNAVAILABLE',
      `The database writes nothing: ${described}`,
      'Name the primary in the address of the database (DATABASE_URL), or a name that moves with it; a fail-over is waited for. Or end what makes it read-only: default_transaction_read_only, a disk that is full.',
    );
  }
  if (isAway(error))
    return as('DATABASE_UNAVAILABLE', `The database ${lateness(error, limits)}: ${described}`);
  if (isFatal(error)) {
    return as(
      'DATABASE_REFUSED',
      `The database refuses the connection: ${described}`,
      'Correct the address of the database (DATABASE_URL), its options, and PGOPTIONS.',
    );
  }
  // undefined_table, invalid_schema_name, undefined_function, undefined_column
  if (state !== null && /^(42P01|3F000|42883|42703)$/.test(state)) {
    return as('MIGRATIONS_BEHIND', `The database lacks what this version needs: ${described}`);
  }
  return error;
}

/** The SQLSTATE of a Postgres error, or of the cause of one of ours; null where there is none. */
export function sqlState(error: unknown): string | null {
  const { code } = ((error instanceof SessionChainError ? error.cause : error) ?? {}) as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** Whether the same statement may succeed a moment later, so that waiting and retrying makes sense. */
export function isDatabaseAway(error: unknown): boolean {
  const cause = error instanceof SessionChainError ? error.cause : error;
  return isAway(cause) || isFatal(cause);
}

/** Whether it was the server that would not write. */
export function isReadOnly(error: unknown): boolean {
  return sqlState(error) === readOnly;
}

/** What refuse_erased() raises. */
const erased = 'SC004';
/** read_only_sql_transaction */
const readOnly = '25006';
// Wrong role or password, no such database, missing permissions, and errors raised by the host's triggers.
const refusals = /^(28000|28P01|3D000|42501|P0001)$/;
const connectionCodes = /^(ECONN\w+|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|E(HOST|NET)UNREACH)$/;
// Connection exceptions; shutting down, starting, dropped; no room, memory or connection; a read-only server during a
// fail-over; a wrong role, password or database, which may be put right, as may a certificate; a conflict with another transaction; a time-out;
// what is wrong with the server itself: its system, its disk.
const awayStates =
  /^(08...|57P0[1-5]|53...|25006|28000|28P01|3D000|40001|40P01|55P03|57014|25P03|25P04|58...|XX...)$/;
// What PgBouncer says under a code that it has for everything.
const poolerMessages = /statement pooling mode|unsupported startup parameter/;
// A named statement that is not there, or is there twice: another connection of the server got it.
const lostStatements = /^(26000|42P05)$/;
// What node-postgres says without a code: a connection that ended, could not be had or did not answer in time.
const awayMessages =
  /Connection terminated|connection error|timeout exceeded when trying to connect|Query read timeout/;

function isAway(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  if (error instanceof Unsuitable || isInsecure(error)) return true;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.every(isAway);
  const { code, message, syscall } = error as { code?: unknown; message?: unknown; syscall?: unknown };
  // Also a socket in the file system that is not there (ENOENT).
  if (syscall === 'connect') return true;
  if (typeof code === 'string') return connectionCodes.test(code) || awayStates.test(code);
  return awayMessages.test(String(message));
}

/** The server refused or ended the session, for whatever reason: nothing is wrong with the statement. */
function isFatal(error: unknown): boolean {
  return (error as { severity?: unknown } | null | undefined)?.severity === 'FATAL';
}

// What Node's TLS says of a certificate, and what node-postgres says without a code: a server without TLS, no password.
const certificateCodes = /CERT|^ERR_(TLS|SSL|OSSL)_|^UNABLE_TO_|^HOSTNAME_MISMATCH$/;
const handshakeMessages = /^The server does not support SSL connections|^SASL: /;

/** A connection that is refused before any statement, by the client or by the server. */
function isInsecure(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return typeof code === 'string' ? certificateCodes.test(code) : handshakeMessages.test(String(message));
}

/** What helps against a refusal to connect, by its code and its text; the first that fits. */
const connectionRemedies: readonly (readonly [RegExp, string])[] = [
  [/^28000 .*(no encryption|SSL off)$/, 'Encrypt the connection: sslmode=verify-full'],
  [
    /^28000 .*client certificate|^ERR_SSL_\w+ALERT\w+(CERTIFICATE|UNKNOWN_CA)/,
    'Name a certificate of this role that the server trusts, and its key: sslcert, sslkey',
  ],
  [/^28P01 |^ SASL: .*password/, 'Correct the password, there or in PGPASSWORD or PGPASSFILE'],
  [
    /ALTNAME|HOSTNAME_MISMATCH/,
    'Name the server by a name that its certificate has, or let its certificate have this name',
  ],
  [/HAS_EXPIRED|NOT_YET_VALID/, `Renew the server's certificate, or set the clock right`],
  [
    /SELF_SIGNED|^UNABLE_TO_/,
    `Name the file of the authority that signed the server's certificate, or that of a self-signed certificate: sslrootcert. sslmode=no-verify would trust every server`,
  ],
  [/does not support SSL/, 'Let the server offer TLS, or do without: sslmode=disable'],
];

function helpToConnect(error: unknown): string | undefined {
  const { code = '', message = '' } = error as { code?: string; message?: string };
  const [, help] = connectionRemedies.find(([said]) => said.test(`${code} ${message}`)) ?? [];
  return help && `Correct the address of the database (DATABASE_URL). ${help}.`;
}

/** Which limit passed, where one did. */
function lateness(error: unknown, { connectMs, answerMs }: Limits): string {
  const within = (ms: number | undefined) => (ms === undefined ? 'in time' : `within ${ms} ms`);
  switch (sqlState(error)) {
    case '57014':
      return 'did not end a statement within its statement_timeout, or was told to cancel it';
    case '55P03':
      return 'did not give a lock within its lock_timeout';
    case '25P03':
    case '25P04':
    case '57P05':
      return 'ended a session or transaction that took longer than it allows';
    case null:
      break;
    default:
      return 'did not complete a statement';
  }
  const { message = '' } = error as { message?: string };
  if (/timeout exceeded when trying to connect|due to connection timeout/.test(message))
    return `gave no connection ${within(connectMs)} (the server is slow, or all connections of the pool are busy)`;
  return /Query read timeout/.test(message) ? `did not answer ${within(answerMs)}` : 'cannot be reached';
}

/** A table of the host may have its own constraints; a violation of one on our tables is our error. */
function isForeignConstraint(error: unknown, state: string | null): boolean {
  const { schema } = (error ?? {}) as { schema?: unknown };
  return state !== null && /^23/.test(state) && typeof schema === 'string' && schema !== 'session_chain';
}

function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  // OpenSSL's message is about its own source.
  const { code, message, reason } = (error ?? {}) as Record<string, unknown>;
  if (/^ERR_SSL_/.test(String(code)) && typeof reason === 'string') return reason;
  return typeof message === 'string' ? message : String(error);
}
