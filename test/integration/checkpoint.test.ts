import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { parseBuildId, parseSessionId } from '../../contracts/ids.js';
import { type RedisServer, startRedis } from '../../dev/redis.js';
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

  it('is null where the key is no string', async () => {
    await withRedis((redis) => redis.lpush('claude:session:build-1', 'x'));
    expect(await checkpoint.read(buildId)).toBeNull();
  });
});

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
    await checkpoint.write(value);
    process.kill(server.pid, 'SIGSTOP');
    const fresh = open(server.url);
    try {
      await checkpoint.write({ ...value, filesCreated: [] });
      expect(await checkpoint.read(buildId)).toBeNull();
      expect(await fresh.read(buildId)).toBeNull();
    } finally {
      process.kill(server.pid, 'SIGCONT');
      fresh.close();
    }
    await until(async () => (await checkpoint.read(buildId)) !== null);
  });
});

function open(url: string): Checkpoint {
  return createCheckpoint(url, { log: (message) => logged.push(message) });
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

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
