import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { type SessionChain, chainKey, createSessionChain } from '../../client/session-chain.js';
import { lazyClientOf } from '../../temporal/connect.js';
import { temporalError } from '../../temporal/errors.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

const address = process.env['TEST_TEMPORAL_ADDRESS'] ?? '';
const key = chainKey({ projectId: 'p1', versionId: 'v1', buildId: 'b1' });

describe('the client throws its own errors only', () => {
  let database: TestDatabase;
  let connection: Connection;
  beforeAll(async () => {
    database = await createTestDatabase();
    connection = await Connection.connect({ address });
  });
  afterAll(async () => {
    await connection.close();
    await database.drop();
  });

  const clientOn = (changes: { namespace?: string; temporal?: Connection } = {}): SessionChain =>
    createSessionChain({
      pool: database.pool,
      temporal: new Client({
        connection: changes.temporal ?? connection,
        namespace: changes.namespace ?? 'default',
      }),
    });

  it('TEMPORAL_REFUSED for a namespace that the server does not have', async () => {
    const client = clientOn({ namespace: 'nowhere' });
    const start = () => client.start({ ...key, workspace: '/work', createRows: true });
    for (const call of [start, () => client.wait(key), () => client.cancel(key)]) {
      await expect(call()).rejects.toMatchObject({
        code: 'TEMPORAL_REFUSED',
        category: 'setup',
        message: expect.stringContaining('nowhere'),
      });
    }
  });

  it('TEMPORAL_UNAVAILABLE for a server that is not there, and past the deadline of a call', async () => {
    const lost = Connection.lazy({ address: '127.0.0.1:1', connectTimeout: 200 });
    const waiting = lost.withDeadline(Date.now() + 300, () => clientOn({ temporal: lost }).wait(key));
    await expect(waiting).rejects.toMatchObject({ code: 'TEMPORAL_UNAVAILABLE', category: 'unavailable' });
    await lost.close();
    const late = connection.withDeadline(Date.now() - 1, () => clientOn().wait(key));
    await expect(late).rejects.toMatchObject({
      code: 'TEMPORAL_UNAVAILABLE',
      message: expect.stringContaining('before the deadline of the call'),
    });
  });

  it('a connection that is closed while calls wait to be tried again ends them, and not the process', async () => {
    const program = `
      import { once } from 'node:events';
      import net from 'node:net';
      import { lazyClient } from './dist/temporal/connect.js';
      const [host, port] = ${JSON.stringify(address)}.split(':');
      const sockets = [];
      const proxy = net.createServer((socket) => {
        const server = net.connect(Number(port), host);
        for (const one of [socket, server]) sockets.push(one.on('error', () => undefined));
        socket.pipe(server).pipe(socket);
      });
      await once(proxy.listen(0, '127.0.0.1'), 'listening');
      const { connection } = lazyClient({ address: '127.0.0.1:' + proxy.address().port });
      await connection.ensureConnected();
      proxy.close();
      for (const socket of sockets) socket.destroy();
      const call = () => connection.workflowService.describeNamespace({ namespace: 'default' });
      const calls = Array.from({ length: 20 }, () => call().catch(({ code }) => code));
      // The first try of each is refused at once; the second comes at the earliest 80 ms later.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await connection.close();
      console.log(JSON.stringify(await Promise.all(calls)));`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--input-type=module', '--eval', program],
    ]);
    expect(JSON.parse(stdout)).toEqual(Array(20).fill(1));
  });

  it.each([
    ['an address of Temporal that is none', { temporal: { address: 'http://here:7233' } }],
    ['an address of Postgres that is none', { databaseUrl: 'postgres://here:port/none' }],
  ])('INVALID_INPUT for %s', (_what, changes) => {
    const options = { databaseUrl: 'postgres://here/none', temporal: { address } };
    expect(() => createSessionChain({ ...options, ...changes })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringContaining('address') }),
    );
  });

  it.each([
    [{ TEMPORAL_ADDRESS: 'http://here:7233' }],
    [{ TEMPORAL_PROFILE: 'nowhere' }],
    [{ TEMPORAL_CONFIG_FILE: '/etc/passwd' }],
    [{ TEMPORAL_TLS_CLIENT_CERT_PATH: '/nowhere', TEMPORAL_TLS_CLIENT_KEY_PATH: '/nowhere' }],
  ])('INVALID_INPUT for an environment with %j', (environment) => {
    const unusable = { code: 'INVALID_INPUT', remedy: expect.stringContaining('TEMPORAL_ADDRESS') };
    expect(() => lazyClientOf({ environment })).toThrow(expect.objectContaining(unusable));
  });

  it('INTERNAL for a mistake of ours, with what it was', async () => {
    const broken = new TypeError('x is not a function');
    const client = createSessionChain({
      pool: { query: () => Promise.reject(broken) } as never,
      temporal: new Client({ connection }),
    });
    const internal = { code: 'INTERNAL', message: 'TypeError: x is not a function', cause: broken };
    await expect(client.head('p1')).rejects.toMatchObject(internal);
    await expect(client.importHeads().next()).rejects.toMatchObject(internal);
    expect(temporalError(broken)).toMatchObject(internal);
  });

  it("and the reason of the caller's own signal as it is", async () => {
    const reason = { why: 'the page was closed' };
    await database.pool.query(`INSERT INTO projects (project_id) VALUES ('asked') ON CONFLICT DO NOTHING`);
    const question = { projectId: 'asked', text: 'Why?', workspace: '/work' };
    await expect(clientOn().ask(question, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
