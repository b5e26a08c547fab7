import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { setImmediate as nextRound } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain } from '../../storage/chains/chains.js';
import { listen } from '../../storage/db/listener.js';
import { createPool, type Pool } from '../../storage/db/pool.js';
import { sessionFor } from '../../storage/heads/session-for.js';
import { ofCaller, withSignal } from '../../temporal/signal.js';
import { until } from '../support/chain-stack.js';
import { type OpenedChain, newKey, noStatus, openNew, register } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** What waits: how it is woken, what it costs, and how it ends. */

const address = process.env['TEST_TEMPORAL_ADDRESS'] ?? '';

let database: TestDatabase;
let connection: Connection;
let sessionChain: SessionChain;
beforeAll(async () => {
  database = await createTestDatabase();
  connection = await Connection.connect({ address });
  sessionChain = createSessionChain({
    pool: database.pool,
    temporal: new Client({ connection }),
    // No worker polls it: what is started here waits for ever.
    ...{ taskQueue: 'closing', searchAttributes: 'off' },
  });
});
afterAll(async () => {
  await sessionChain.close();
  await connection.close();
  await database.drop();
});

/** A program that loses Temporal, or not, and closes its client while calls are under way; what it prints. */
async function closeWhileCalling(setUp: string, close: string): Promise<Record<string, string>> {
  const started = await sessionChain.start({ ...newKey(), workspace: '/work', createRows: true });
  const held = await openNew(database.pool);
  const program = `
    import { once } from 'node:events';
    import net from 'node:net';
    import { Client, Connection } from '@temporalio/client';
    import pg from 'pg';
    import { createSessionChain } from './dist/client/session-chain.js';
    const [host, port] = ${JSON.stringify(address)}.split(':');
    const sockets = [];
    const proxy = net.createServer((socket) => {
      const server = net.connect(Number(port), host);
      for (const one of [socket, server]) sockets.push(one.on('error', () => undefined));
      socket.pipe(server).pipe(socket);
    });
    await once(proxy.listen(0, '127.0.0.1').unref(), 'listening');
    const lose = () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    };
    const temporalAddress = '127.0.0.1:' + proxy.address().port;
    const databaseUrl = ${JSON.stringify(database.url)};
    let connection;
    const options = { databaseUrl, temporal: { address: temporalAddress }, taskQueue: 'closing', searchAttributes: 'off' };
    ${setUp}
    const sessionChain = createSessionChain(options);
    const [key, projectId] = ${JSON.stringify([started, held.projectId])};
    await Promise.all([sessionChain.head(projectId), sessionChain.progress(key)]);
    const watch = async () => {
      for await (const item of sessionChain.watch(key)) void item;
      return 'ended';
    };
    const calls = {
      wait: sessionChain.wait(key),
      waitWithSignal: sessionChain.wait(key, { signal: new AbortController().signal }),
      sessionFor: sessionChain.sessionFor(projectId, 'committed'),
      ask: sessionChain.ask({ projectId, text: 'Where is ' + projectId + '?', workspace: '/work' }),
      watch: watch(),
    };
    const ends = {};
    const settled = Object.entries(calls).map(async ([name, call]) => {
      ends[name] = await call.catch((error) => error.code + ': ' + error.message);
    });
    // The last of them is under way: its question is recorded before Temporal is called.
    const look = new pg.Client(databaseUrl);
    await look.connect();
    const isAsked = async () =>
      (await look.query('SELECT FROM project_chat_log_minimal WHERE question LIKE $1', ['%' + projectId + '%'])).rowCount > 0;
    while (!(await isAsked()));
    await look.end();
    ${close}
    await Promise.all(settled);
    ends.later = await sessionChain.head(projectId).catch((error) => error.code);
    await connection?.close();
    process.on('exit', () => console.log(JSON.stringify(ends)));`;
  // An error that nobody caught ends it with another code; what keeps it alive, by the time limit.
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program],
    { timeout: 240_000 },
  );
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Record<string, string>;
}

describe('a client that is closed while calls are under way', () => {
  const own = '';
  const ofHost = `
    connection = Connection.lazy({ address: temporalAddress });
    options.temporal = new Client({ connection });`;
  const close = 'await sessionChain.close();';

  it.each([
    ['and Temporal is there', own, close],
    ['and Temporal is lost', own, `lose(); ${close}`],
    ['twice', own, `lose(); await Promise.all([sessionChain.close(), sessionChain.close()]);`],
    ['whose connection is the host’s, and lost', ofHost, `lose(); ${close}`],
    ['whose connection the host closes first', ofHost, `lose(); await connection.close(); ${close}`],
  ])('%s: each ends at once, and so does the process', async (_what, setUp, ending) => {
    const closed = 'CLIENT_CLOSED: The client was closed.';
    expect(await closeWhileCalling(setUp, ending)).toEqual({
      ...{ wait: closed, waitWithSignal: closed, sessionFor: closed, ask: closed },
      ...{ watch: 'ended', later: 'CLIENT_CLOSED' },
    });
  });
});

describe('a client on connections of the host, once it is closed', () => {
  const closed = { code: 'CLIENT_CLOSED' };
  const ofHost = (pool: Pool = database.pool) =>
    createSessionChain({
      ...{ pool, temporal: new Client({ connection }) },
      ...{ taskQueue: 'closing', searchAttributes: 'off' as const },
    });

  it('gives no more items, and begins to give none', async () => {
    for (const sessionId of [randomUUID(), randomUUID()]) {
      const { projectId } = newKey();
      await database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
      await sessionChain.recordSession({ projectId, sessionId, source: 'docs', notInStore: true });
    }
    const client = ofHost();
    const heads = client.importHeads({ claudeDir: '/nowhere' });
    expect(await heads.next()).toMatchObject({ value: { outcome: 'failed' } });
    await client.close();
    await expect(heads.next()).rejects.toMatchObject(closed);
    expect(() => client.watch({ all: true })).toThrow(expect.objectContaining(closed));
    expect(() => client.importHeads()).toThrow(expect.objectContaining(closed));
  });

  it('ends what waits for a connection of the pool', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const taken = await pool.connect();
    const client = ofHost(pool);
    const [watched, imported] = [client.watch({ all: true }).next(), client.importHeads().next()];
    const asked = client.stats();
    await client.close();
    expect(await watched).toEqual({ done: true, value: undefined });
    await expect(imported).rejects.toMatchObject(closed);
    await expect(asked).rejects.toMatchObject(closed);
    taken.release();
    await pool.end();
  });

  it('leaves another client of the same connection alone', async () => {
    const started = await sessionChain.start({ ...newKey(), workspace: '/work', createRows: true });
    const [one, other] = [ofHost(), ofHost()];
    const stop = new AbortController();
    const waits = [one.wait(started), other.wait(started, { signal: stop.signal })];
    const settled = waits.map(async (wait) => await wait.catch((error: unknown) => error));
    await other.progress(started);
    await one.close();
    expect(await settled[0]).toMatchObject(closed);
    expect(await other.progress(started)).toBeNull();
    const reason = new Error('no longer needed');
    stop.abort(reason);
    expect(await settled[1]).toBe(reason);
    const { interceptors } = connection.options as { interceptors: unknown[] };
    expect(new Set(interceptors).size).toBe(interceptors.length);
    await other.close();
  });

  it('may have been given interceptors that nobody can change', async () => {
    const lazy = Connection.lazy({ address, interceptors: Object.freeze([]) as unknown as [] });
    const temporal = new Client({ connection: lazy });
    const client = createSessionChain({ pool: database.pool, temporal, searchAttributes: 'off' });
    expect(await client.progress(newKey())).toBeNull();
    await client.close();
    await lazy.close();
  });
});

describe('a call', () => {
  it('that asks Temporal many times leaves no warning', async () => {
    const { projectId } = await sessionChain.start({ ...newKey(), workspace: '/work', createRows: true });
    for (let build = 0; build < 11; build++) {
      await sessionChain.start({ ...newKey(), projectId, workspace: '/work', createRows: true });
    }
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    // Where Temporal does not answer in time, none of them is told.
    await until(async () => {
      const { chains } = await sessionChain.chains({ projectId, askTemporal: true });
      return chains.flatMap(({ missingWorker }) => missingWorker ?? []).length === 12;
    });
    await nextRound();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it('keeps nothing of what it has asked Temporal', async () => {
    const temporal = new Client({ connection });
    await withSignal(temporal, new AbortController().signal, async (signal) => {
      for (let count = 0; count < 12; count++) {
        await temporal.workflow
          .getHandle('nobody')
          .describe()
          .catch(() => undefined);
      }
      expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    });
  });

  it('that calls back ends none that its caller begins there', async () => {
    const started = await sessionChain.start({ ...newKey(), workspace: '/work', createRows: true });
    const [stop, own] = [new AbortController(), new AbortController()];
    const temporal = new Client({ connection });
    let begun: Promise<unknown> | undefined;
    const callBack = () => {
      begun = sessionChain.wait(started, { signal: own.signal }).catch((error: unknown) => error);
    };
    const outer = withSignal(temporal, stop.signal, async (signal) => {
      ofCaller(callBack)();
      await once(signal, 'abort');
    });
    await sessionChain.progress(started);
    const [given, reason] = [new Error('of the call'), new Error('of the one that it began')];
    stop.abort(given);
    await expect(outer).rejects.toBe(given);
    await sessionChain.progress(started);
    own.abort(reason);
    expect(await begun).toBe(reason);
  });
});

describe('one signal for a thousand calls', () => {
  it('has one listener for all of them, and none afterwards', async () => {
    const started = await sessionChain.start({ ...newKey(), workspace: '/work', createRows: true });
    const { projectId } = await openNew(database.pool);
    const stop = new AbortController();
    const { signal } = stop;
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    const watch = async () => {
      for await (const item of sessionChain.watch(started, { signal })) void item;
    };
    const kinds: [count: number, call: () => Promise<unknown>][] = [
      [400, () => sessionChain.sessionFor(projectId, 'committed', { signal })],
      [300, () => sessionChain.wait(started, { signal })],
      [20, () => sessionChain.ask({ projectId, text: 'Where?', workspace: '/work' }, { signal })],
      [300, watch],
    ];
    const calls: Promise<PromiseSettledResult<unknown>[]>[] = [];
    for (const [count, call] of kinds) {
      for (let begun = 0; begun < count; begun += 20) {
        calls.push(Promise.allSettled(Array.from({ length: 20 }, call)));
        // All at once would have to wait for a connection longer than a call does.
        await until(() => database.pool.waitingCount === 0);
      }
    }
    await until(() => getEventListeners(signal, 'abort').length === 1);
    stop.abort(new Error('no longer needed'));
    const ends = (await Promise.all(calls)).flat();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    const reasons = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []));
    expect(new Set(reasons)).toEqual(new Set(['Error: no longer needed']));
    expect(reasons).toHaveLength(720);
  });
});

/** Closes a chain as its worker does. */
async function close(chain: OpenedChain): Promise<void> {
  const { ticket, runId } = chain;
  const result = { ...(await readChainState(database.pool, chain)), status: 'completed' as const };
  await closeChain(database.pool, chain, { ticket, runId, result, versionStatus: noStatus });
}

/** A pool that counts the statements of an application, which has few connections. */
function countingPool(): { pool: Pool; statements: () => number } {
  const pool = createPool(database.url, { applicationName: 'an application', max: 2 });
  const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
  let statements = 0;
  Object.assign(pool, {
    query: (...args: unknown[]) => {
      statements++;
      return query(...args);
    },
  });
  return { pool, statements: () => statements };
}

const hearers = async () => {
  const { rows } = await database.pool.query<{ pid: number }>(
    `SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = hashtext('session_chain waits')::oid
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rows.map(({ pid }) => pid);
};
const isHeard = async () => (await hearers()).length > 0;

describe('many that wait for heads', () => {
  it('look together, and are told of what they wait for', async () => {
    const { pool, statements } = countingPool();
    const chains = await Promise.all(Array.from({ length: 20 }, () => openNew(database.pool)));
    const waits = chains.flatMap((chain) =>
      Array.from({ length: 10 }, () => sessionFor(pool, chain.projectId, 'committed')),
    );
    await until(isHeard);
    for (const chain of chains) await close(chain);
    expect(await Promise.all(waits)).toHaveLength(200);
    // One at a time, each of them would have looked more often.
    expect(statements()).toBeLessThan(waits.length);
    await until(async () => !(await isHeard()));
    await pool.end();
  });

  it('get each their own: a project that is not there, a time-out, and the head', async () => {
    const { pool } = countingPool();
    const chain = await openNew(database.pool);
    const idle = newKey();
    await register(database.pool, idle);
    const waits = async () =>
      await Promise.allSettled([
        sessionFor(pool, newKey().projectId, 'committed'),
        sessionFor(pool, chain.projectId, 'committed', { timeoutMs: 1 }),
        sessionFor(pool, idle.projectId, 'after_step', { timeoutMs: 60_000 }),
      ]);
    let [nobody, late, free] = await waits();
    // The last look has 2 s.
    const isUnanswered = (end: PromiseSettledResult<unknown>) =>
      end.status === 'rejected' && (end.reason as { code?: string }).code === 'DATABASE_UNAVAILABLE';
    while (isUnanswered(late)) [nobody, late, free] = await waits();
    expect(nobody).toMatchObject({ reason: { code: 'PROJECT_NOT_FOUND' } });
    expect(late).toMatchObject({ reason: { code: 'WAIT_TIMED_OUT' } });
    expect(free).toMatchObject({ value: { sessionId: null, seq: null } });
    await pool.end();
  });

  it('end in time where the pool has no connection to give', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const taken = await pool.connect();
    const { projectId } = await openNew(database.pool);
    await expect(sessionFor(pool, projectId, 'committed', { timeoutMs: 1 })).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    taken.release();
    await pool.end();
  });

  it('are no longer told of anything once they are gone, though others go on to listen', async () => {
    const { pool } = countingPool();
    const stopOther = listen(pool, 'channel_other', { onNotice: () => undefined });
    const chain = await openNew(database.pool);
    const wait = sessionFor(pool, chain.projectId, 'committed');
    await until(isHeard);
    await close(chain);
    await wait;
    await until(async () => !(await isHeard()));
    stopOther();
    await pool.end();
  });

  it('go on by looking where nothing can be heard, and hear again', async () => {
    const { pool } = countingPool();
    // A pool that does not say how it connects.
    const deaf = { query: pool.query.bind(pool) } as unknown as Pool;
    const [one, other] = [await openNew(database.pool), await openNew(database.pool)];
    const waits = [
      sessionFor(deaf, one.projectId, 'committed'),
      sessionFor(pool, other.projectId, 'committed'),
    ];
    await until(isHeard);
    const before = await hearers();
    await database.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'session-chain listener'
         AND datname = current_database()`,
    );
    // By another connection: that there is none for a while is easily missed.
    await until(async () => (await hearers()).some((pid) => !before.includes(pid)));
    for (const chain of [one, other]) await close(chain);
    expect(await Promise.all(waits)).toHaveLength(2);
    await pool.end();
  });
});

describe('a listener', () => {
  it('shares a connection with the others of its pool, and lets go of it with the last', async () => {
    const { pool } = countingPool();
    const connections = async () =>
      (
        await database.pool.query<{ count: number }>(
          `SELECT count(*)::integer FROM pg_stat_activity
           WHERE application_name = 'session-chain listener' AND datname = current_database()`,
        )
      ).rows[0]?.count;
    const heard: string[] = [];
    const listener = (name: string) => ({
      onNotice: (payload: string) => void heard.push(`${name} ${payload}`),
    });
    let hearing = 0;
    const stops = ['one', 'two', 'two'].map((channel, index) =>
      listen(pool, `channel_${channel}`, { ...listener(`${index}`), onHearing: () => hearing++ }),
    );
    await until(() => hearing === 3);
    expect(await connections()).toBe(1);
    await database.pool.query(`SELECT pg_notify('channel_one', 'a'), pg_notify('channel_two', 'b')`);
    await until(() => heard.length === 3);
    expect(heard.sort()).toEqual(['0 a', '1 b', '2 b']);
    for (const stop of stops) stop();
    await until(async () => (await connections()) === 0);
    await pool.end();
  });

  it('hears on a channel that comes while it begins to listen', async () => {
    const { pool } = countingPool();
    const heard: string[] = [];
    const stops: (() => void)[] = [];
    const listenTo = (name: string) =>
      stops.push(
        listen(pool, name, {
          onNotice: (payload) => void heard.push(`${name} ${payload}`),
          onHearing: () => void heard.push(name),
        }),
      );
    class Watched extends pg.Client {
      override query = ((...args: Parameters<pg.Client['query']>) => {
        if (String(args[0]) === 'LISTEN first_channel') listenTo('second_channel');
        return super.query(...args);
      }) as pg.Client['query'];
    }
    Object.assign(pool, { Client: Watched });
    listenTo('first_channel');
    await until(() => heard.length === 2);
    await database.pool.query(`SELECT pg_notify('second_channel', 'a')`);
    await until(() => heard.length === 3);
    expect(heard).toEqual(['first_channel', 'second_channel', 'second_channel a']);
    for (const stop of stops) stop();
    await pool.end();
  });
});
