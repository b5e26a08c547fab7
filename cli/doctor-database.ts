import { introductionOf, type Pool, queryOne } from '../storage/db/pool.js';
import { type Finding, ok } from './finding.js';

const undone = 'work that takes longer is undone and tried again, and a migration may not end';
/** Time-outs, with the milliseconds below which they hurt, and how. */
const shortTimeouts = [
  { name: 'statement_timeout', limitMs: 10_000, hurt: undone },
  { name: 'lock_timeout', limitMs: 10_000, hurt: undone },
  { name: 'idle_in_transaction_session_timeout', limitMs: 10_000, hurt: undone },
  { name: 'transaction_timeout', limitMs: 10_000, hurt: undone },
  {
    name: 'idle_session_timeout',
    limitMs: 600_000,
    hurt: 'the connection on which a worker listens ends again and again',
  },
] as const;

/** Variables of libpq that change where psql connects to, or how, and that count nothing here. */
const unreadVariables = [
  ...[
    'PGSERVICE',
    'PGHOSTADDR',
    'PGTARGETSESSIONATTRS',
    'PGCONNECT_TIMEOUT',
    'PGCHANNELBINDING',
    'PGREQUIREAUTH',
  ],
  ...['PGSSLROOTCERT', 'PGSSLCERT', 'PGSSLKEY', 'PGSSLCRL', 'PGCLIENTENCODING', 'PGDATESTYLE', 'PGTZ'],
];

/**
 * The version of the database, and what its settings hurt. Rejects with DATABASE_REFUSED where nothing can work with them.
 * `environment` is what the address may be filled up from.
 */
export async function databaseFindings(
  pool: Pool,
  environment: Readonly<Record<string, string>>,
): Promise<Finding[]> {
  const { number, database, alter } = await queryOne<{ number: string; database: string; alter: string }>(
    pool,
    {
      text: `SELECT current_setting('server_version_num') AS number, current_database() AS database,
             format('ALTER ROLE %I IN DATABASE %I SET', session_user, current_database()) AS alter`,
    },
  );
  const major = Math.floor(Number(number) / 10_000);
  if (major < 15)
    return [{ status: 'fail', message: `Postgres ${major} is too old`, remedy: 'Use Postgres 15 or newer.' }];
  const { isPooled, isStandby, readOnly, hidden, settings } = await introductionOf(pool);
  const behind = isPooled ? ', behind a connection pooler' : '';
  const found: Finding[] = [ok(`Postgres ${major}, database ${database}${behind}`)];
  if (isStandby) {
    found.push({
      status: 'fail',
      message: 'the server is a standby, on which nothing can be written',
      remedy: 'Name the primary in DATABASE_URL, or a name that moves with it.',
    });
  }
  if (readOnly) found.push({ status: 'fail', message: readOnly.message, remedy: readOnly.remedy });
  if (hidden) found.push({ status: 'warn', message: hidden.message, remedy: hidden.remedy });
  for (const { name, limitMs, hurt } of shortTimeouts) {
    const ms = Number(settings[name] ?? 0);
    if (ms === 0 || ms >= limitMs) continue;
    found.push({
      status: 'warn',
      message: `${name} is ${ms} ms: ${hurt}`,
      remedy: `${alter} ${name} TO 0; or at least ${limitMs}.`,
    });
  }
  if (settings.synchronous_commit === 'off') {
    found.push({
      status: 'warn',
      message:
        'synchronous_commit is off: a crash of the server takes back what was acknowledged just before',
      remedy: `${alter} synchronous_commit TO on;`,
    });
  }
  const unread = unreadVariables.filter((name) => environment[name] !== undefined);
  if (unread.length > 0) {
    found.push({
      status: 'warn',
      message: `set, and not read: ${unread.join(', ')}`,
      remedy: 'Write into DATABASE_URL what they should do; docs/host-databases.md says how.',
    });
  }
  return found;
}
