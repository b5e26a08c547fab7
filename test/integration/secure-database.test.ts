import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createSessionChain } from '../../client/session-chain.js';
import { toSessionChainError } from '../../contracts/failures.js';
import { migrate } from '../../storage/db/migrate.js';
import {
  type Pool,
  createPool,
  isDatabaseAway,
  queryOne,
  queryRows,
  requireWriting,
} from '../../storage/db/pool.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { type ChainStack, startChainStack, until } from '../support/chain-stack.js';
import { openNew } from '../support/chains.js';
import { createCommandLine } from '../support/cli.js';
import { type SecureServer, startSecureServer } from '../support/secure-server.js';

/** Databases as people run them: with TLS, with a standby that takes over, with passwords and certificates that change. */

let server: SecureServer;
const commandLine = createCommandLine();
beforeAll(async () => {
  server = await startSecureServer();
  await server.admin.query(
    `CREATE ROLE with_certificate LOGIN; CREATE ROLE plain LOGIN; CREATE ROLE other_password LOGIN`,
  );
  await server.admin.query(`CREATE ROLE with_password LOGIN PASSWORD 'right' IN ROLE with_certificate`);
  await server.admin.query('CREATE DATABASE app OWNER with_certificate');
  await migrate(server.url('with_certificate', 'app', clientCertificate('client')));
});
afterAll(async () => {
  commandLine.stop();
  await server.stop();
});

const authority = () => `sslrootcert=${server.file('authority.pem')}`;
const clientCertificate = (certificate: string, key = certificate) =>
  `${authority()}&sslcert=${server.file(`${certificate}.pem`)}&sslkey=${server.file(`${key}.key`)}`;

async function withPool<Result>(url: string, work: (pool: Pool) => Promise<Result>): Promise<Result> {
  const pool = createPool(url, { applicationName: 'test', max: 5 });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => {
      const { code, message, remedy } = toSessionChainError(error);
      return { code, message, remedy, away: isDatabaseAway(error) };
    },
  );

async function doctor(url: string) {
  const environment = { PATH: process.env['PATH'], DATABASE_URL: url };
  const { stdout } = await commandLine.run(['doctor', '--only', 'database', '-o', 'json'], environment);
  const { checks } = JSON.parse(stdout) as {
    checks: { status: string; message: string; remedy?: string }[];
  };
  return checks.map(({ status, message, remedy = '' }) => [status, message, remedy]);
}

describe('an address with TLS', () => {
  afterEach(async () => {
    await server.show('server');
  });

  it.each([
    ['sslmode=verify-full', 'plain', () => `sslmode=verify-full&${authority()}`],
    ['sslmode=require', 'plain', () => `sslmode=require&${authority()}`],
    ['sslmode=verify-ca', 'plain', () => `sslmode=verify-ca&${authority()}`],
    ['an authority alone', 'plain', authority],
    ['sslmode=no-verify', 'plain', () => 'sslmode=no-verify'],
    ['ssl=no-verify', 'plain', () => 'ssl=no-verify'],
    ['ssl=true', 'plain', () => `ssl=true&${authority()}`],
    ['sslnegotiation=direct', 'plain', () => `sslnegotiation=direct&${authority()}`],
    ['the require of libpq', 'plain', () => 'uselibpqcompat=true&sslmode=require'],
    ['uselibpqcompat and no-verify', 'plain', () => 'uselibpqcompat=true&sslmode=no-verify'],
    ['a certificate of the client', 'with_certificate', () => clientCertificate('client')],
    ['a password', 'with_password:right', authority],
    ['a password and channel binding', 'with_password:right', () => `channel_binding=prefer&${authority()}`],
  ])('is encrypted by %s', async (_what, user, parameters) => {
    const used = await withPool(server.url(user, 'app', parameters()), (pool) =>
      queryOne(pool, { text: 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()' }),
    );
    expect(used).toEqual({ ssl: true });
  });

  it('trusts a self-signed certificate that it names, and by verify-ca of libpq any name', async () => {
    const read = async (parameters: string) =>
      await withPool(server.url('plain', 'app', parameters), (pool) => queryRows(pool, { text: 'SELECT' }));
    await server.show('self');
    expect(await read(`sslrootcert=${server.file('self.pem')}`)).toEqual([{}]);
    await server.show('elsewhere');
    expect(await read(`uselibpqcompat=true&sslmode=verify-ca&${authority()}`)).toEqual([{}]);
  });

  const refusals = [
    ['without TLS', 'server', 'plain', () => 'sslmode=disable', 'no encryption', 'sslmode=verify-full'],
    [
      'without the authority',
      'server',
      'plain',
      () => 'sslmode=verify-full',
      'self-signed certificate',
      'sslrootcert',
    ],
    [
      'with another authority',
      'server',
      'plain',
      () => `sslrootcert=${server.file('stranger.pem')}`,
      'certificate',
      'sslrootcert',
    ],
    ['of a self-signed server', 'self', 'plain', () => 'ssl=true', 'self-signed certificate', 'sslrootcert'],
    [
      'of a server of another name',
      'elsewhere',
      'plain',
      authority,
      'localhost',
      'a name that its certificate has',
    ],
    [
      'without a certificate',
      'server',
      'with_certificate',
      authority,
      'client certificate',
      'sslcert, sslkey',
    ],
    [
      'with a certificate of a stranger',
      'server',
      'with_certificate',
      () => clientCertificate('strange-client'),
      'unknown ca',
      'sslcert, sslkey',
    ],
    ['with a wrong password', 'server', 'with_password:wrong', authority, 'password', 'Correct the password'],
    ['without a password', 'server', 'with_password', authority, 'password', 'Correct the password'],
  ] as const;

  it.each(refusals)(
    'is refused %s, in one line with what helps, and waited for',
    async (_what, certificate, user, parameters, said, help) => {
      if (certificate !== 'server') await server.show(certificate);
      const url = server.url(user, 'app', parameters());
      const failure = await failureOf(withPool(url, (pool) => queryRows(pool, { text: 'SELECT' })));
      expect(failure).toEqual({
        code: 'DATABASE_REFUSED',
        message: expect.stringMatching(new RegExp(`^.*${said}.*$`)),
        remedy: expect.stringContaining(help),
        away: true,
      });
      expect(await failureOf(migrate(url))).toEqual(failure);
      expect(await doctor(url)).toEqual([['fail', failure?.message, failure?.remedy]]);
    },
  );

  it.each([
    ['sslrootcert', () => `sslrootcert=${server.file('client.key')}`],
    [
      'sslcert',
      () => `${authority()}&sslcert=${server.file('client.key')}&sslkey=${server.file('client.key')}`,
    ],
    ['sslkey', () => clientCertificate('client', 'locked')],
    ['sslkey', () => clientCertificate('client', 'server')],
    ['sslkey', () => `${authority()}&sslcert=${server.file('client.pem')}`],
    ['sslcert', () => `${authority()}&sslkey=${server.file('client.key')}`],
    ['sslnegotiation', () => `sslnegotiation=encrypted&${authority()}`],
    ['sslnegotiation', () => 'sslnegotiation=direct&sslmode=disable'],
    ['ssl=false', () => `ssl=false&sslmode=verify-full&${authority()}`],
  ])(
    'is INVALID_INPUT, which names %s, where its files or parameters do not fit',
    async (named, parameters) => {
      const url = server.url('with_certificate', 'app', parameters());
      const failure = await failureOf(migrate(url));
      expect(failure).toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringContaining(named),
        remedy: expect.stringContaining('DATABASE_URL'),
      });
      expect(await doctor(url)).toEqual([['fail', failure?.message, failure?.remedy]]);
    },
  );
});

describe('a server that only reads', () => {
  it('as a standby is read, refuses to be migrated, and doctor says so', async () => {
    const url = (await server.startStandby()).url('with_password:right', 'app');
    await withPool(url, async (pool) => {
      const temporal = { address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' };
      const client = createSessionChain({ pool, temporal });
      expect((await client.chains()).chains).toEqual([]);
      await client.close();
      const away = { code: 'DATABASE_UNAVAILABLE', remedy: expect.stringContaining('primary'), away: true };
      for (const work of [openNew(pool), requireWriting(pool, 60_000)])
        expect(await failureOf(work)).toMatchObject(away);
      expect(
        await failureOf(inTransaction(pool, (it) => queryRows(it, { text: 'CREATE TABLE t ()' }))),
      ).toMatchObject(away);
    });
    expect(await failureOf(migrate(url))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      remedy: expect.stringContaining('primary'),
    });
    expect((await doctor(url)).at(-1)).toEqual([
      'fail',
      expect.stringContaining('standby'),
      expect.stringContaining('primary'),
    ]);
  });

  it('is left by every idle connection once one finds that it does not write', async () => {
    await withPool(server.url('with_password:right', 'app'), async (pool) => {
      await queryRows(pool, { text: 'SELECT' });
      // What was the primary: connections to it stay, and never write again.
      await server.breakWith('ALTER DATABASE app SET default_transaction_read_only TO on');
      const connect = async () => {
        const clients = await Promise.all(Array.from({ length: 5 }, async () => await pool.connect()));
        for (const client of clients) client.release();
      };
      for (const [n, work] of [
        () => openNew(pool),
        () => requireWriting(pool, 60_000),
        () => inTransaction(pool, (client) => queryRows(client, { text: 'CREATE TABLE t ()' })),
      ].entries()) {
        if (n > 0) await server.admin.query('ALTER DATABASE app SET default_transaction_read_only TO on');
        await until(() => pool.totalCount === 0 || pool.idleCount === pool.totalCount);
        await connect();
        await server.admin.query('ALTER DATABASE app RESET default_transaction_read_only');
        expect(await failureOf(work())).toMatchObject({
          code: 'DATABASE_UNAVAILABLE',
          message: expect.stringContaining('writes nothing'),
        });
        await openNew(pool);
      }
    });
  });
});

it.each([
  [
    'with no more connections',
    'ALTER ROLE plain CONNECTION LIMIT 0',
    'ALTER ROLE plain CONNECTION LIMIT -1',
    'DATABASE_UNAVAILABLE',
  ],
  [
    'that takes no connections',
    'ALTER DATABASE app ALLOW_CONNECTIONS false',
    'ALTER DATABASE app ALLOW_CONNECTIONS true',
    'DATABASE_REFUSED',
  ],
  [
    'that lets nobody connect',
    'REVOKE CONNECT ON DATABASE app FROM public',
    'GRANT CONNECT ON DATABASE app TO public',
    'DATABASE_REFUSED',
  ],
])('a database %s is waited for', async (_what, breaks, mends, code) => {
  await server.breakWith(breaks);
  await withPool(server.url('plain', 'app'), async (pool) => {
    const failure = await failureOf(queryRows(pool, { text: 'SELECT' }));
    await server.admin.query(mends);
    expect(failure).toMatchObject({ code, away: true });
    expect(await queryRows(pool, { text: 'SELECT' })).toEqual([{}]);
  });
});

describe('a worker over TLS', () => {
  let stack: ChainStack;
  let pool: Pool;
  beforeAll(async () => {
    // A pool of the host, as an application makes one.
    pool = new pg.Pool({
      connectionString: server.url(
        'with_certificate',
        'app',
        `sslmode=verify-full&${clientCertificate('client')}`,
      ),
    });
    pool.on('error', () => undefined);
    const url = server.url('with_password:right', 'app', `channel_binding=prefer&${authority()}`);
    stack = await startChainStack('secure', {
      database: {
        url,
        pool,
        backUp: () => Promise.reject(new Error('not here')),
        drop: async () => await pool.end(),
      },
    });
  });
  afterAll(async () => {
    await stack.stop();
  });
  /** Of each test one of its own, for it says only every few minutes that the database is away. */
  const startWorker = async () =>
    await stack.onlyWorker({
      // Long enough for no lease to end while a test lets the worker wait.
      SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: '600000',
      TEST_NAME: expect.getState().currentTestName ?? '',
    });
  const start = async (more: object = {}) => {
    const { temporal, overrides } = stack;
    const policy = { ...stack.policy, heartbeatTimeoutMs: 600_000 };
    const client = createSessionChain({ pool, temporal, policy, overrides });
    const started = await client.start({
      ...stack.request(),
      ...{ instruction: 'Build a page that says hello.', steps: ['build'] },
      ...more,
    });
    return [client, started] as const;
  };
  const builtAtOnce = { status: 'completed', steps: [{ status: 'committed', attempts: 1 }] };

  it.each([
    [
      'its password is changed',
      () => server.breakWith(`ALTER ROLE with_password PASSWORD 'another'`),
      () => server.admin.query(`ALTER ROLE with_password PASSWORD 'right'`),
      'password authentication failed',
    ],
    [
      'the server shows a certificate that nobody trusts',
      async () => {
        await server.show('strange');
        await server.breakWith('SELECT');
      },
      () => server.show('server'),
      'certificate',
    ],
    [
      'the server is the former primary',
      () => server.breakWith('ALTER DATABASE app SET default_transaction_read_only TO on'),
      () => server.admin.query('ALTER DATABASE app RESET default_transaction_read_only'),
      'writes nothing',
    ],
  ])('loses no paid work while %s, says so, and goes on', async (_what, breakIt, mend, said) => {
    const worker = await startWorker();
    const held = stack.model.holdNext();
    const [client, started] = await start();
    await held.reached;
    await breakIt();
    held.release();
    await until(() => worker.output().includes(said)).finally(mend);
    expect(await client.wait(started)).toMatchObject(builtAtOnce);
  });

  it('listens, encrypts every connection, and uses up no try of a step that finds no database', async () => {
    const worker = await startWorker();
    await withPool(server.url('with_password:right', 'app'), async (owner) => {
      await owner.query(`
        CREATE FUNCTION public.away() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'the database system is shutting down' USING ERRCODE = '57P03'; END $$;
        CREATE TRIGGER away BEFORE INSERT ON session_chain.attempts FOR EACH ROW EXECUTE FUNCTION public.away()`);
      const [client, started] = await start({ limits: { build: { maxAttempts: 1 } } });
      await until(() => worker.output().includes('"waitsFor":"the database"'));
      await owner.query('DROP FUNCTION public.away CASCADE');
      expect(await client.wait(started)).toMatchObject(builtAtOnce);
    });
    const { rows } = await server.admin.query(
      `SELECT DISTINCT ssl, application_name = 'session-chain listener' AS listens
       FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'with_password' ORDER BY listens`,
    );
    expect(rows).toEqual([
      { ssl: true, listens: false },
      { ssl: true, listens: true },
    ]);
  });
});
