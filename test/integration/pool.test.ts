import { once } from 'node:events';
import { type AddressInfo, Socket, createServer } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { toSessionChainError } from '../../contracts/failures.js';
import { migrate, requireMigrations } from '../../storage/db/migrate.js';
import { type Pool, createPool, isDatabaseAway, queryRows } from '../../storage/db/pool.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { until } from '../support/chain-stack.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

describe('a database that cannot be reached', () => {
  const url = 'postgres://nobody@127.0.0.1:1/none';

  it('is DATABASE_UNAVAILABLE for a statement, with what to check', async () => {
    const pool = createPool(url, { applicationName: 'test' });
    await expect(requireMigrations(pool)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      category: 'unavailable',
      message: expect.stringContaining('ECONNREFUSED'),
      remedy: expect.stringContaining('DATABASE_URL'),
    });
    await pool.end();
  });

  it('is DATABASE_UNAVAILABLE for a socket that is not there', async () => {
    await expect(migrate('postgres:///none?host=/nowhere')).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining('/nowhere/.s.PGSQL.5432'),
    });
  });

  it.each([
    'postgres://user:secret@host:port/none',
    'postgres://u:secret@host/none?sslrootcert=/nowhere.pem',
  ])('is INVALID_INPUT for the address %s, which is quoted nowhere', (address) => {
    const thrown = thrownSync(() => createPool(address, { applicationName: 'test' }));
    expect(thrown).toMatchObject({ code: 'INVALID_INPUT', remedy: expect.stringContaining('DATABASE_URL') });
    expect(inspect(thrown)).not.toContain('secret');
  });

  it('is DATABASE_UNAVAILABLE for the migrations', async () => {
    await expect(migrate(url)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });
});

describe('a database that answers, and does not do what it is asked', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    const { rows } = await database.pool.query<{ name: string }>('SELECT current_database() AS name');
    await database.pool.query(`
      DO $$ BEGIN CREATE ROLE without_rights LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
      GRANT CONNECT ON DATABASE "${rows[0]?.name ?? ''}" TO without_rights;
      ALTER TABLE projects ADD COLUMN colour text CHECK (colour <> 'red');
      CREATE FUNCTION public.no_green() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.colour = 'green' THEN RAISE EXCEPTION 'no green here'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER no_green BEFORE INSERT ON projects FOR EACH ROW EXECUTE FUNCTION public.no_green();
    `);
  });
  afterAll(async () => {
    await database.drop();
  });

  /** What a statement fails with, and whether it is worth waiting for the database. */
  async function failureOf(text: string, changes: { user?: string; path?: string; options?: string } = {}) {
    const url = new URL(database.url);
    if (changes.user !== undefined) [url.username, url.password] = [changes.user, ''];
    if (changes.path !== undefined) url.pathname = changes.path;
    if (changes.options !== undefined) url.searchParams.set('options', changes.options);
    return await thrownBy(createPool(url.href, { applicationName: 'test' }), text);
  }

  async function thrownBy(pool: Pool, text: string, more: object = {}) {
    // node-postgres leaves a connection open that asks for a password in vain, and while the server waits for one, a minute
    // long, no database can be dropped.
    const sockets: Socket[] = [];
    const stream = () => sockets[sockets.push(new Socket()) - 1];
    Object.assign(pool.options, { stream });
    try {
      const error = await queryRows(pool, { text, ...more }).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      const { code, category, message } = toSessionChainError(error);
      return { code, category, message, away: isDatabaseAway(error) };
    } finally {
      await pool.end();
      for (const socket of sockets) socket.destroy();
    }
  }

  const refused = { code: 'DATABASE_REFUSED', category: 'setup' };
  const unavailable = { code: 'DATABASE_UNAVAILABLE', category: 'unavailable', away: true };

  it.each([
    ['that it does not have', { path: '/no_such_database' }, 'no_such_database'],
    ['for a role that it does not know', { user: 'no_such_role' }, 'no_such_role'],
  ])(
    'is DATABASE_REFUSED for a database %s, and may be put right meanwhile',
    async (_what, changes, named) => {
      expect(await failureOf('SELECT 1', changes)).toMatchObject({
        ...refused,
        message: expect.stringContaining(named),
        away: true,
      });
    },
  );

  it.each([
    ['without rights', 'SELECT FROM session_chain.chains', { user: 'without_rights' }, 'permission denied'],
    [
      'against a constraint of the host',
      `INSERT INTO projects (project_id, colour) VALUES ('p', 'red')`,
      {},
      'public.projects',
    ],
    [
      'against a trigger of the host',
      `INSERT INTO projects (project_id, colour) VALUES ('p', 'green')`,
      {},
      'no green here',
    ],
  ])('is DATABASE_REFUSED for a statement %s', async (_what, text, changes, named) => {
    expect(await failureOf(text, changes)).toMatchObject({
      ...refused,
      message: expect.stringContaining(named),
      away: false,
    });
  });

  it.each([
    [
      'a constraint of ours',
      `INSERT INTO session_chain.sessions (project_id) VALUES (NULL)`,
      'null value in column',
    ],
    ['a statement that is wrong', 'SELECT 1 / 0', 'division by zero'],
    ['a statement that nothing can read', 'SELEC 1', 'syntax error'],
  ])('has met a mistake of ours with %s', async (_what, text, named) => {
    expect(await failureOf(text)).toMatchObject({
      code: 'INTERNAL',
      category: 'internal',
      message: expect.stringContaining(named),
      away: false,
    });
  });

  /** A role that the server asks for a password. */
  async function createRoleWithPassword(): Promise<string> {
    const url = new URL(database.url);
    [url.username, url.password] = ['with_password', ''];
    await database.pool.query(`
      DO $$ BEGIN CREATE ROLE with_password LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$;
      DO $$ DECLARE
        file text := current_setting('hba_file');
        rule constant text := 'host all with_password all scram-sha-256';
      BEGIN
        IF strpos(pg_read_file(file), rule) = 0 THEN
          EXECUTE format(
            'COPY (SELECT unnest(string_to_array(%L, chr(10)))) TO %L', rule || chr(10) || pg_read_file(file), file
          );
          PERFORM pg_reload_conf();
        END IF;
      END $$;
    `);
    await until(async () => {
      const pool = createPool(url.href, { applicationName: 'test' });
      return (await thrownBy(pool, 'SELECT 1')).category !== 'internal';
    });
    return url.href;
  }

  it.each([
    ['a server without TLS', { query: 'sslmode=verify-full' }, 'SSL'],
    ['no password, where one is asked for', { password: '' }, 'password must be a string'],
    ['a password that is wrong', { password: 'wrong' }, 'password authentication failed'],
  ])('is DATABASE_REFUSED for %s', async (_what, changes: { query?: string; password?: string }, named) => {
    const url = new URL(changes.password === undefined ? database.url : await createRoleWithPassword());
    url.search = changes.query ?? '';
    url.password = changes.password ?? '';
    const pool = createPool(url.href, { applicationName: 'test' });
    expect(await thrownBy(pool, 'SELECT 1')).toMatchObject({
      ...refused,
      message: expect.stringContaining(named),
    });
  });

  it.each([
    ['26000', 'EXECUTE nothing'],
    ['42P05', 'PREPARE twice AS SELECT 1; PREPARE twice AS SELECT 1'],
  ])('is DATABASE_REFUSED for a statement that its pooler lost (%s)', async (_state, text) => {
    expect(await failureOf(text)).toMatchObject({
      ...refused,
      message: expect.stringContaining('does not keep its prepared statements'),
    });
  });

  it.each([
    ['58030', 'could not read block'],
    ['XX001', 'invalid page in block'],
  ])('is DATABASE_UNAVAILABLE for what is wrong with the server itself (%s)', async (state, said) => {
    const text = `DO $$ BEGIN RAISE EXCEPTION '${said}' USING ERRCODE = '${state}'; END $$`;
    expect(await failureOf(text)).toMatchObject({ ...unavailable, message: expect.stringContaining(said) });
  });

  it.each([
    ['statement_timeout', 'SELECT pg_sleep(60)', '-c statement_timeout=20', /statement_timeout/],
    [
      'a read-only server',
      `BEGIN READ ONLY; INSERT INTO projects (project_id) VALUES ('p')`,
      '',
      /read-only/,
    ],
    ['a cancelled statement', 'SELECT pg_cancel_backend(pg_backend_pid())', '', /cancel/],
    ['a session that is ended', 'SELECT pg_terminate_backend(pg_backend_pid())', '', /terminat/],
  ])('is DATABASE_UNAVAILABLE by %s, and says so', async (_what, text, options, message) => {
    expect(await failureOf(text, { options })).toMatchObject({
      ...unavailable,
      message: expect.stringMatching(message),
    });
  });

  it('is DATABASE_UNAVAILABLE by its lock_timeout', async () => {
    const holder = await database.pool.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE projects IN ACCESS EXCLUSIVE MODE');
      expect(await failureOf('SELECT FROM projects', { options: '-c lock_timeout=20' })).toMatchObject({
        ...unavailable,
        message: expect.stringContaining('lock_timeout'),
      });
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
  });

  it('is DATABASE_UNAVAILABLE where a connection is ended the moment it is made, which ends no process', async () => {
    const message = (type: string, body: string) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(body.length + 4);
      return Buffer.concat([Buffer.from(type), length, Buffer.from(body, 'latin1')]);
    };
    // What a server says that is stopped just then, in one piece.
    const stopping = createServer((socket) =>
      socket
        .on('error', () => undefined)
        .once('data', () => {
          const fatal = 'SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0';
          socket.end(Buffer.concat([message('R', '\0\0\0\0'), message('Z', 'I'), message('E', fatal)]));
        }),
    );
    stopping.listen(0, '127.0.0.1');
    await once(stopping, 'listening');
    const { port } = stopping.address() as AddressInfo;
    const pool = createPool(`postgres://u@127.0.0.1:${port}/none`, { applicationName: 'test' });
    await expect(inTransaction(pool, async () => undefined)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    await pool.end();
    stopping.close();
  });

  it('is DATABASE_UNAVAILABLE past the limits of the client, which are named', async () => {
    const pool = createPool(database.url, { applicationName: 'test', max: 1 });
    const taken = await pool.connect();
    Object.assign(pool.options, { connectionTimeoutMillis: 50 });
    const late = queryRows(pool, { text: 'SELECT 1' });
    await expect(late).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/gave no connection within 50 ms/),
    });
    taken.release();
    expect(await thrownBy(pool, 'SELECT pg_sleep(60)', { query_timeout: 40 })).toMatchObject({
      ...unavailable,
      message: expect.stringMatching(/did not answer within 40 ms/),
    });
    // The client has given the connection up; its statement would go on.
    await database.pool.query(
      `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
       WHERE datname = current_database() AND query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()`,
    );
  });
});

function thrownSync(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}
