import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createSessionChain } from '../../client/session-chain.js';
import { toSessionChainError } from '../../contracts/failures.js';
import { migrate } from '../../storage/db/migrate.js';
import { type Pool, createPool, isDatabaseAway, queryOne, queryRows } from '../../storage/db/pool.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { newKey, openNew, runStep } from '../support/chains.js';
import { createCommandLine } from '../support/cli.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** What a database or a role says of its sessions: it works, or it is refused before anything is changed. */

let database: TestDatabase;
let name: string;
const role = `with_settings_${process.pid}`;
const other = `other_${process.pid}`;
beforeAll(async () => {
  database = await createTestDatabase();
  name = (await queryOne<{ name: string }>(database.pool, { text: 'SELECT current_database() AS name' }))
    .name;
  // Superusers, for rights are not what is tried here.
  await database.pool.query(`CREATE ROLE ${role} LOGIN SUPERUSER; CREATE ROLE ${other} SUPERUSER`);
});
afterEach(async () => {
  await database.pool.query(
    `ALTER ROLE ${role} RESET ALL; ALTER ROLE ${role} IN DATABASE ${name} RESET ALL; ALTER DATABASE ${name} RESET ALL`,
  );
});
afterAll(async () => {
  await database.pool.query(`DROP ROLE ${role}, ${other}`);
  await database.drop();
});

const urlOf = (url = database.url) => {
  const as = new URL(url);
  as.username = role;
  return as.href;
};

async function withPool<Result>(work: (pool: Pool) => Promise<Result>, url = urlOf()): Promise<Result> {
  const pool = createPool(url, { applicationName: 'test', max: 2 });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

const alterDatabase = (...settings: string[]) => alter(`DATABASE ${name}`, settings);
const alterRole = (...settings: string[]) => alter(`ROLE ${role}`, settings);
async function alter(what: string, settings: string[]): Promise<void> {
  for (const setting of settings) await database.pool.query(`ALTER ${what} SET ${setting}`);
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => {
      const { code, message, remedy } = toSessionChainError(error);
      return { code, message, remedy, away: isDatabaseAway(error) };
    },
  );

describe('sessions whose settings nothing of ours can work with', () => {
  it.each([
    ['default_transaction_isolation', `'serializable'`, alterDatabase],
    ['default_transaction_isolation', `'repeatable read'`, alterRole],
    ['DateStyle', `'SQL, DMY'`, alterDatabase],
    ['DateStyle', `'Postgres'`, alterRole],
    ['standard_conforming_strings', 'off', alterDatabase],
    ['session_replication_role', `'replica'`, alterRole],
    ['quote_all_identifiers', 'on', alterDatabase],
  ])(
    'are refused before anything is sent, with the statement that helps: %s = %s',
    async (setting, value, alterIt) => {
      await alterIt(`${setting} TO ${value}`);
      await withPool(async (pool) => {
        const first = { text: 'CREATE TABLE not_made ()' };
        const failure = await failureOf(queryRows(pool, first));
        expect(failure).toMatchObject({
          code: 'DATABASE_REFUSED',
          message: expect.stringContaining(`${setting} = `),
          away: true,
        });
        expect(await failureOf(inTransaction(pool, (client) => client.query(first.text)))).toEqual(failure);
        expect(await failureOf(migrate(urlOf()))).toMatchObject({ code: 'DATABASE_REFUSED' });
        // The remedy is a statement; the pool that was refused goes on after it.
        await database.pool.query(failure?.remedy ?? '');
        expect(await queryRows(pool, { text: `SELECT to_regclass('not_made') AS made` })).toEqual([
          { made: null },
        ]);
      });
    },
  );

  it.each([
    ['-c default_transaction_isolation=serializable', 'default_transaction_isolation'],
    ['-c datestyle=German', 'DateStyle'],
  ])('are refused by the address, where the options say so: %s', async (options, setting) => {
    const url = new URL(database.url);
    url.searchParams.set('options', options);
    expect(await failureOf(withPool((pool) => queryRows(pool, { text: 'SELECT' }), url.href))).toMatchObject({
      code: 'DATABASE_REFUSED',
      remedy: expect.stringContaining(`Leave ${setting} out of the address`),
    });
  });

  it.each(['SQL_ASCII', 'LATIN1'])('are refused by the encoding of the database: %s', async (encoding) => {
    const wrong = `wrong_${encoding.toLowerCase()}_${process.pid}`;
    await database.pool.query(
      `CREATE DATABASE ${wrong} ENCODING '${encoding}' LOCALE 'C' TEMPLATE template0`,
    );
    const url = new URL(database.url);
    url.pathname = `/${wrong}`;
    expect(await failureOf(migrate(url.href))).toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining(encoding),
      remedy: expect.stringContaining(`ENCODING 'UTF8'`),
    });
    await database.pool.query(`DROP DATABASE ${wrong}`);
  });

  it('are refused by a connection of another encoding that a host made', async () => {
    await withPool(async (pool) => {
      pool.on('connect', (client) => void client.query(`SET client_encoding TO 'LATIN1'`));
      expect(await failureOf(queryRows(pool, { text: 'SELECT' }))).toMatchObject({
        code: 'DATABASE_REFUSED',
        message: expect.stringContaining('client_encoding = LATIN1'),
      });
    });
  });
});

describe('a search path', () => {
  it('that finds other tables is refused, with the path that helps', async () => {
    await database.pool.query('CREATE SCHEMA shadow; CREATE TABLE shadow.projects (project_id text)');
    await alterRole('search_path TO shadow, public');
    await withPool(async (pool) => {
      const failure = await failureOf(queryRows(pool, { text: 'SELECT' }));
      expect(failure).toMatchObject({
        code: 'DATABASE_REFUSED',
        message: expect.stringMatching(/another table in the place of public\.projects\./),
      });
      await database.pool.query(/ALTER .*;/.exec(failure?.remedy ?? '')?.[0] ?? '');
      expect(await queryRows(pool, { text: 'SELECT FROM project_versions, projects' })).toEqual([]);
    });
    await database.pool.query('DROP SCHEMA shadow CASCADE');
  });

  it.each([`''`, 'pg_catalog', '"$user"'])(
    'that finds no tables is refused where one is read: %s',
    async (path) => {
      await alterRole(`search_path TO ${path}`);
      await withPool(async (pool) => {
        await openNew(pool);
        expect(await failureOf(queryRows(pool, { text: 'SELECT FROM projects' }))).toMatchObject({
          code: 'DATABASE_REFUSED',
          message: expect.stringContaining('public.projects'),
          remedy: expect.stringContaining(
            `ALTER ROLE ${role} IN DATABASE ${name} SET search_path TO public;`,
          ),
        });
        expect(await failureOf(migrate(urlOf()))).toMatchObject({ code: 'DATABASE_REFUSED' });
      });
    },
  );
});

describe('sessions that write nothing', () => {
  it('are read, and refuse to write with the statement that helps', async () => {
    await alterRole('default_transaction_read_only TO on');
    await withPool(async (pool) => {
      await queryRows(pool, { text: 'SELECT FROM projects' });
      const failure = await failureOf(openNew(pool));
      expect(failure).toMatchObject({
        code: 'DATABASE_REFUSED',
        message: expect.stringContaining('default_transaction_read_only'),
        away: true,
      });
      expect(await failureOf(inTransaction(pool, (client) => openNew(client as unknown as Pool)))).toEqual(
        failure,
      );
      await database.pool.query(failure?.remedy ?? '');
      // The connection of the transaction has the former setting.
      await openNew(pool);
    });
  });
});

it('refuses a table whose rows a policy would hide, where row_security is off', async () => {
  const reader = `reader_${process.pid}`;
  await database.pool.query(
    `CREATE ROLE ${reader} LOGIN; GRANT SELECT ON projects TO ${reader}; ALTER ROLE ${reader} SET row_security TO off;
     ALTER TABLE projects ENABLE ROW LEVEL SECURITY`,
  );
  const url = new URL(database.url);
  url.username = reader;
  expect(
    await failureOf(withPool((pool) => queryRows(pool, { text: 'SELECT FROM projects' }), url.href)),
  ).toMatchObject({
    code: 'DATABASE_REFUSED',
    message: expect.stringContaining('row-level security policy'),
  });
  await database.pool.query(
    `ALTER TABLE projects DISABLE ROW LEVEL SECURITY; DROP OWNED BY ${reader}; DROP ROLE ${reader}`,
  );
});

it('works with every other setting, all at once', async () => {
  await alterDatabase(
    ...[`datestyle TO 'ISO, DMY'`, `intervalstyle TO 'sql_standard'`, `timezone TO 'Asia/Kolkata'`],
    ...[`bytea_output TO 'escape'`, `plan_cache_mode TO 'force_generic_plan'`, 'row_security TO off'],
    ...[
      'synchronous_commit TO off',
      'array_nulls TO off',
      'extra_float_digits TO -15',
      `client_encoding TO 'LATIN1'`,
    ],
    ...['default_transaction_deferrable TO on', 'transform_null_equals TO on'],
  );
  await alterRole(`role TO ${other}`, `default_transaction_isolation TO 'read uncommitted'`);
  await withPool(async (pool) => {
    const before = Date.now();
    expect(await queryOne(pool, { text: 'SELECT current_user AS role' })).toEqual({ role: other });
    const chain = await openNew(pool, newKey());
    const step = await runStep(pool, chain, 'build');
    const entries = [
      {
        type: 'user',
        uuid: randomUUID(),
        message: { role: 'user', content: 'A backslash \\ and \\n, ü, 😀, \u0001.' },
      },
    ];
    const store = createTranscriptStore({ pool, projectId: chain.projectId });
    const key = { projectKey: 'any', sessionId: randomUUID() };
    await store.append(key, entries);
    expect(await store.load(key)).toEqual(entries);
    const temporal = { address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' };
    const client = createSessionChain({ pool, temporal });
    const [transition] = await client.transitions(chain.projectId);
    expect(transition).toMatchObject({ newSessionId: step.newSessionId, source: 'build' });
    expect(Number(transition?.createdAt)).toBeGreaterThan(before - 60_000);
    expect(Number(transition?.createdAt)).toBeLessThan(Date.now() + 60_000);
    await client.close();
  });
});

describe('doctor --only database', () => {
  const commandLine = createCommandLine();
  afterAll(() => {
    commandLine.stop();
  });
  const doctor = async (changes: Record<string, string> = {}) => {
    const environment = { PATH: process.env['PATH'], DATABASE_URL: urlOf(), ...changes };
    const { stdout } = await commandLine.run(['doctor', '--only', 'database', '-o', 'json'], environment);
    const { checks } = JSON.parse(stdout) as {
      checks: { status: string; message: string; remedy?: string }[];
    };
    return checks.map(({ status, message, remedy = '' }) => [status, message, remedy] as const);
  };
  const fine = ['ok', expect.stringMatching(/^Postgres \d+, database test_\w+$/), ''];

  it('is content with a database that says nothing', async () => {
    expect(await doctor()).toEqual([fine]);
  });

  it.each([
    ['statement_timeout TO 2000', 'statement_timeout is 2000 ms'],
    [`lock_timeout TO '1s'`, 'lock_timeout is 1000 ms'],
    ['idle_in_transaction_session_timeout TO 50', 'idle_in_transaction_session_timeout is 50 ms'],
    [`idle_session_timeout TO '1min'`, 'idle_session_timeout is 60000 ms'],
    ['synchronous_commit TO off', 'synchronous_commit is off'],
  ])('warns of %s, with the statement that ends it', async (setting, message) => {
    await alterDatabase(setting);
    const [first, second, ...more] = await doctor();
    expect([first, more]).toEqual([fine, []]);
    expect(second).toEqual(['warn', expect.stringContaining(message), expect.stringContaining('ALTER ROLE')]);
    await database.pool.query(/ALTER .*;/.exec(second?.[2] ?? '')?.[0] ?? '');
    expect(await doctor()).toEqual([fine]);
  });

  it.each([
    [`default_transaction_isolation TO 'serializable'`, 'default_transaction_isolation = serializable'],
    [`datestyle TO 'German'`, 'DateStyle = German'],
    ['default_transaction_read_only TO on', 'default_transaction_read_only is on'],
  ])('has failed for %s', async (setting, message) => {
    await alterDatabase(setting);
    expect((await doctor()).at(-1)).toEqual([
      'fail',
      expect.stringContaining(message),
      expect.stringContaining('ALTER ROLE'),
    ]);
  });

  it('looks at what an address does not say in the variables that node-postgres reads', async () => {
    const url = new URL(database.url);
    url.username = '';
    const [, message] =
      (await doctor({ DATABASE_URL: url.href, PGUSER: role, PGOPTIONS: '-c datestyle=sql' }))[0] ?? [];
    expect(message).toContain(`the role ${role} have DateStyle = SQL`);
  });

  it.each([
    ['postgres://h1:1,h2:2/d', 'several hosts'],
    ['postgres://h/d?target_session_attrs=read-write', 'target_session_attrs=read-write'],
  ])('names what it cannot use in the address %s', async (address, named) => {
    expect(await doctor({ DATABASE_URL: address })).toEqual([
      ['fail', expect.stringContaining(named), expect.stringContaining('DATABASE_URL')],
    ]);
  });

  it('names variables that would count for psql, and count nothing here', async () => {
    expect(await doctor({ PGSSLROOTCERT: '/ca.pem', PGSERVICE: 'shop', PGPASSFILE: '/x' })).toEqual([
      fine,
      ['warn', expect.stringContaining('PGSERVICE, PGSSLROOTCERT'), expect.stringContaining('DATABASE_URL')],
    ]);
  });
});
