import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createSessionChain } from '../../client/session-chain.js';
import { migrate, pendingMigrations } from '../../storage/db/migrate.js';
import { type Pool, createPool, introductionOf, queryOne, queryRows } from '../../storage/db/pool.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Pooler, startPooler } from '../support/pooler.js';

describe('PgBouncer', () => {
  let database: TestDatabase;
  const poolers: Pooler[] = [];
  const pools: Pool[] = [];
  const behind = async (mode: 'session' | 'transaction' | 'statement', more: Record<string, number> = {}) => {
    const pooler = await startPooler(database.url, mode, more);
    poolers.push(pooler);
    return pooler;
  };
  const poolOn = (url: string, max = 10) => {
    const pool = createPool(url, { applicationName: 'test', max });
    pools.push(pool);
    return pool;
  };
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await Promise.all(poolers.map((pooler) => pooler.stop()));
    await database.drop();
  });

  it.each(['transaction', 'session'] as const)(
    'that pools by %s gets statements without names, from many readers and in transactions',
    async (mode) => {
      // Fewer connections than readers, so that each gets what another one left.
      const { url } = await behind(mode, { default_pool_size: mode === 'session' ? 30 : 3 });
      const [one, other] = [poolOn(url), poolOn(url)];
      expect((await introductionOf(one)).isPooled).toBe(true);
      const read = (pool: Pool, name: string, value: number) =>
        queryOne<{ value: number }>(pool, {
          name,
          text: `SELECT $1::integer + ${name.length} AS value`,
          values: [value],
        });
      const values = await Promise.all(
        Array.from(
          { length: 400 },
          async (_, n) => (await read(n % 2 ? one : other, n % 3 ? 'same' : 'other', n)).value,
        ),
      );
      expect(values).toEqual(Array.from({ length: 400 }, (_, n) => n + (n % 3 ? 4 : 5)));
      // One name for two texts.
      await queryRows(one, { name: 'collides', text: 'SELECT 1 AS one' });
      expect(await queryRows(other, { name: 'collides', text: 'SELECT 2 AS two' })).toEqual([{ two: 2 }]);
      await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          inTransaction(n % 2 ? one : other, async (client) => {
            await queryRows(client, {
              text: `SELECT set_config('session_chain.test', $1, true)`,
              values: [String(n)],
            });
            const named = {
              name: 'in_transaction',
              text: `SELECT current_setting('session_chain.test')::integer AS n`,
            };
            expect(await queryOne(client, named)).toEqual({ n });
          }),
        ),
      );
      const { rows } = await database.pool.query<{ names: string[] }>(
        `SELECT array(SELECT name FROM pg_prepared_statements) AS names`,
      );
      expect(rows[0]?.names).toEqual([]);
    },
  );

  it('that pools by statement is DATABASE_REFUSED before anything is sent', async () => {
    const { url } = await behind('statement');
    const refused = { code: 'DATABASE_REFUSED', remedy: expect.stringContaining('pool transactions') };
    await expect(queryRows(poolOn(url), { text: 'CREATE TABLE not_made ()' })).rejects.toMatchObject(refused);
    await expect(migrate(url)).rejects.toMatchObject(refused);
    const { rows } = await database.pool.query<{ made: string | null }>(
      `SELECT to_regclass('not_made') AS made`,
    );
    expect(rows).toEqual([{ made: null }]);
  });

  it('that does not know a parameter is DATABASE_REFUSED, with the setting that helps', async () => {
    const { url } = await behind('transaction');
    await expect(
      queryRows(poolOn(`${url}?options=-c%20jit%3Doff`), { text: 'SELECT' }),
    ).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining('options'),
      remedy: expect.stringContaining('ignore_startup_parameters'),
    });
  });

  it('lets a database be migrated, twice at the same time', async () => {
    const empty = await createTestDatabase({ empty: true });
    const pooler = await startPooler(empty.url, 'transaction');
    const [one, other] = await Promise.all([migrate(pooler.url), migrate(pooler.url)]);
    expect([one.length, other.length].sort()).toEqual([0, expect.any(Number)]);
    expect(await pendingMigrations(empty.pool)).toEqual([]);
    await pooler.stop();
    await empty.drop();
  });
});

describe('a chain whose worker and client are behind a pooler of transactions', () => {
  let stack: ChainStack;
  let pooler: Pooler;
  let pool: Pool;
  beforeAll(async () => {
    const database = await createTestDatabase();
    pooler = await startPooler(database.url, 'transaction');
    pool = createPool(pooler.url, { applicationName: 'test' });
    stack = await startChainStack('pooler', {
      heartbeatTimeoutMs: longHeartbeatTimeoutMs,
      database: {
        ...database,
        url: pooler.url,
        async drop() {
          await pool.end();
          await pooler.stop();
          await database.drop();
        },
      },
    });
  });
  afterAll(async () => {
    await stack.stop();
  });

  it('runs, is read, and is cancelled', async () => {
    const worker = await stack.startWorker();
    const { temporal, policy, overrides } = stack;
    const client = createSessionChain({ pool, temporal, policy, overrides });
    const built = await client.start({ ...stack.request(), instruction: 'Build a page that says hello.' });
    expect(await client.wait(built)).toMatchObject({ status: 'completed' });
    expect((await client.transitions(built.projectId)).length).toBeGreaterThan(3);

    const held = stack.model.holdNext();
    const cancelled = await client.start({ ...stack.request(), instruction: 'Build a page that says bye.' });
    await held.reached;
    await client.cancel(cancelled);
    expect(await client.wait(cancelled)).toMatchObject({ status: 'cancelled' });
    await until(() => worker.agentProcesses().length === 0);
    // It listens through the pooler: it hears nothing there, and says nothing of it.
    expect(worker.output()).not.toMatch(/Listening for stop requests broke|prepared statement/);
  });
});
