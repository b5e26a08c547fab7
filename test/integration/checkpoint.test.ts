import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { redisFinding } from '../../cli/doctor-redis.js';
import { readConfig } from '../../config/environment.js';
import { parseBuildId, parseSessionId } from '../../contracts/ids.js';
import { type RedisServer, startRedis } from '../../dev/redis.js';
import { until } from '../support/until.js';
import { type Checkpoint, type CheckpointValue, createCheckpoint } from '../../storage/checkpoint.js';

const buildId = parseBuildId('build-1');
const value: CheckpointValue = {
  buildId,
  sessionId: parseSessionId('c75a033a-bfbb-49e2-a33f-a7c2a0a73038'),
  projectPath: '/srv/app',
  filesCreated: ['index.html', 'docs/é.md'],
};

let folder: string;
let server: RedisServer;
let checkpoint: Checkpoint;
let logged: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-'));
  server = await startServer();
  logged = [];
  checkpoint = open(server.url);
});
afterEach(async () => {
  checkpoint.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('the checkpoint', () => {
  it('is the JSON under claude:session:{buildId}, for an hour', async () => {
    await checkpoint.write(value);
    expect(await checkpoint.read(buildId)).toEqual(value);
    await withRedis(async (redis) => {
      expect(JSON.parse((await redis.get('claude:session:build-1')) ?? '')).toEqual(value);
      const seconds = await redis.ttl('claude:session:build-1');
      expect(seconds).toBeGreaterThan(3_500);
      expect(seconds).toBeLessThanOrEqual(3_600);
    });
    expect(logged).toEqual([]);
  });

  it('is null for a build that has none', async () => {
    expect(await checkpoint.read(parseBuildId('another'))).toBeNull();
  });

  it.each([
    ['no JSON', 'nonsense'],
    ['another shape', '{"buildId":"build-1","sessionId":7}'],
    ['another build', JSON.stringify({ ...value, buildId: 'build-2' })],
  ])('is null where the key holds %s', async (_, text) => {
    await withRedis((redis) => redis.set('claude:session:build-1', text));
    expect(await checkpoint.read(buildId)).toBeNull();
  });

  it('is null where the key is no string, which is no trouble', async () => {
    await withRedis((redis) => redis.lpush('claude:session:build-1', 'x'));
    expect(await checkpoint.read(buildId)).toBeNull();
    expect(logged).toEqual([]);
  });

  it('keeps the newest of more files than fit', async () => {
    const files = Array.from({ length: 5_000 }, (_, index) => `src/${'é'.repeat(60)}/${index}.ts`);
    await checkpoint.write({ ...value, filesCreated: files });
    const kept = (await checkpoint.read(buildId))?.filesCreated ?? [];
    expect(kept.length).toBeGreaterThan(1_000);
    expect(kept).toEqual(files.slice(-kept.length));
  });

  it('is found among many, of which giants and other kinds are malformed and not read as a whole', async () => {
    const builds = Array.from({ length: 120 }, (_, index) => parseBuildId(`many-${index}`));
    const keyOf = (index: number) => `claude:session:many-${index}`;
    await withRedis(async (redis) => {
      // 64 MB each: all of them would not come within the time of a command.
      for (let giant = 0; giant < 8; giant++) await redis.setrange(keyOf(giant), 64 * 1024 * 1024, 'x');
      await redis.lpush(keyOf(8), 'x');
      await redis.hset(keyOf(9), 'sessionId', value.sessionId);
      await redis.set(keyOf(10), '');
      await redis.set(keyOf(119), JSON.stringify({ ...value, buildId: builds[119] }));
    });
    const sent = async () => {
      let bytes = 0;
      await withRedis(async (redis) => {
        bytes = Number(/total_net_output_bytes:(\d+)/.exec(await redis.info('stats'))?.[1]);
      });
      return bytes;
    };
    const before = await sent();
    const found = await checkpoint.find(builds);
    expect([...(found ?? [])]).toEqual([
      ...builds.slice(0, 10).map((build) => [build, null]),
      [builds[119], value.sessionId],
    ]);
    expect((await sent()) - before).toBeLessThan(4 * 1024 * 1024);
  });
});

describe('the doctor of Redis', () => {
  const others: Server[] = [];
  afterEach(() => others.splice(0).forEach((other) => other.close()));
  const lookOnce = async (url: string) => await redisFinding(readConfig({ REDIS_URL: url }));
  /** At a Redis that answers, though on a busy machine perhaps not in time. */
  const look = async (url: string) => {
    let found = await lookOnce(url);
    while (/timed out|ETIMEDOUT/.test(found.message)) found = await lookOnce(url);
    return found;
  };
  const as = (user: string, password: string) =>
    Object.assign(new URL(server.url), { username: user, password }).href;
  /** A server that is no Redis; it ends connections that it was left with. */
  async function other(made: Server): Promise<string> {
    others.push(made);
    made.listen(0, '127.0.0.1');
    await once(made, 'listening');
    return `127.0.0.1:${(made.address() as AddressInfo).port}`;
  }

  it('is content where a worker could work, with no more than the rights that it needs, and leaves nothing', async () => {
    expect(await look(server.url)).toMatchObject({ status: 'ok' });
    await withRedis(async (redis) => {
      await redis.call(...words('ACL SETUSER app on >pass ~claude:session:* +set +getrange +del'));
      expect(await look(as('app', 'pass'))).toMatchObject({ status: 'ok' });
      expect(await redis.dbsize()).toBe(0);
    });
  });

  it.each([
    ['no right to SET', 'ACL SETUSER app on >pass ~* +@read +ping', / SET: NOPERM/, /\+set/],
    ['no right to read', 'ACL SETUSER app on >pass ~* +set', /GETRANGE: NOPERM/, /\+getrange/],
    ['no right to DEL', 'ACL SETUSER app on >pass ~* +set +getrange', /DEL: NOPERM/, /\+del/],
    ['other keys only', 'ACL SETUSER app on >pass ~other:* +@all', /SET: NOPERM/, /claude:session/],
    ['another password', 'ACL SETUSER app on >different ~* +@all', /WRONGPASS/, /password in REDIS_URL/],
    ['a user that is off', 'ACL SETUSER app off >pass ~* +@all', /WRONGPASS/, /password in REDIS_URL/],
  ])('warns of %s', async (_, acl, message, remedy) => {
    await withRedis((redis) => redis.call(...words(acl)));
    expect(await look(as('app', 'pass'))).toEqual({
      ...{ status: 'warn', message: expect.stringMatching(message), remedy: expect.stringMatching(remedy) },
    });
  });

  it.each([
    ['a password that is missing', 'CONFIG SET requirepass secret', /NOAUTH/, /password in REDIS_URL/],
    ['memory that is full', 'CONFIG SET maxmemory 1', /OOM/, /maxmemory/],
    ['a replica', 'REPLICAOF 127.0.0.1 1', /READONLY/, /primary/],
  ])('warns of %s', async (_, command, message, remedy) => {
    const { url } = server;
    await withRedis((redis) => redis.call(...words(command)));
    expect(await look(url)).toEqual({
      ...{ status: 'warn', message: expect.stringMatching(message), remedy: expect.stringMatching(remedy) },
    });
  });

  it('warns of what is not such a Redis', async () => {
    const addresses = [
      `${server.url}/4711`,
      server.url.replace('redis:', 'rediss:'),
      `redis://${await other(createHttpServer((_, response) => response.end('hello')))}`,
      `redis://${await other(createServer())}`,
      `redis://${await other(createServer((socket) => socket.destroy()))}`,
      'redis://127.0.0.1:1',
    ];
    for (const address of addresses)
      expect([address, await lookOnce(address)]).toEqual([
        address,
        {
          status: 'warn',
          message: expect.stringMatching(/\w+: \S/),
          remedy: expect.stringContaining('REDIS_URL'),
        },
      ]);
  });
});

function words(command: string): [string, ...string[]] {
  return command.split(' ') as [string, ...string[]];
}

describe('without Redis', () => {
  it('nothing is written, read or logged', async () => {
    const none = createCheckpoint(null, { log: (message) => logged.push(message) });
    await none.write(value);
    expect(await none.read(buildId)).toBeNull();
    none.close();
    expect(logged).toEqual([]);
  });

  it('that was never there, reads give null, and it is said once', async () => {
    await server.stop();
    const other = open(server.url);
    await other.write(value);
    expect(await other.read(buildId)).toBeNull();
    expect(await other.read(buildId)).toBeNull();
    other.close();
    expect(logged).toHaveLength(1);
  });

  it('that goes away, reads give null until it is back, and each absence is said once', async () => {
    await checkpoint.write(value);
    for (let absence = 1; absence <= 2; absence++) {
      await server.stop();
      await until(async () => logged.length === absence || (await checkpoint.read(buildId)) === null);
      await checkpoint.write(value);
      expect(await checkpoint.read(buildId)).toBeNull();
      expect(logged).toHaveLength(absence);
      server = await startServer(server.port);
      await until(async () => {
        await checkpoint.write(value);
        return (await checkpoint.read(buildId)) !== null;
      });
    }
  });

  it('that hangs, reads give null, and work again when it goes on', async () => {
    const [used, fresh] = [0, 1].map(() => createCheckpoint(server.url, { log })) as [Checkpoint, Checkpoint];
    await until(async () => {
      await used.write(value);
      return (await used.read(buildId)) !== null;
    });
    process.kill(server.pid, 'SIGSTOP');
    try {
      await used.write({ ...value, filesCreated: [] });
      expect(await used.read(buildId)).toBeNull();
      expect(await fresh.read(buildId)).toBeNull();
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    for (const one of [used, fresh]) {
      await until(async () => (await one.read(buildId)) !== null);
      one.close();
    }
  });
});

const log = (message: string) => void logged.push(message);

/** With more patience than a worker has, for a machine that is busy. */
function open(url: string): Checkpoint {
  return createCheckpoint(url, { log, answerWithinMs: 60_000 });
}

async function startServer(port?: number): Promise<RedisServer> {
  const started = await startRedis({
    dir: folder,
    logFile: join(folder, 'redis.log'),
    ...(port === undefined ? {} : { port }),
  });
  if (!started) throw new Error('redis-server is not on PATH.');
  return started;
}

async function withRedis(work: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(server.url);
  try {
    await work(redis);
  } finally {
    redis.disconnect();
  }
}
