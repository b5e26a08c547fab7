import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import pg from 'pg';
import { startGuarded } from '../../dev/guard.js';
import { startPostgres } from '../../dev/postgres.js';
import { type Stack, type StackServer, startStack } from '../../dev/stack.js';
import { findTemporalCli } from '../../dev/temporal-cli.js';
import { until } from '../support/until.js';

const nothingGiven = { DATABASE_URL: undefined, REDIS_URL: undefined, TEMPORAL_ADDRESS: undefined };
const common = { env: nothingGiven, durable: false, namespace: 'test', searchAttributes: [] };

let folder: string;
let stateDir: string;
const children: ChildProcess[] = [];
const stacks: Stack[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'session-chain-stack-'));
  await chmod(folder, 0o711); // Under root another user runs the database, and must be able to pass.
  // Every path that a shell or a server might take apart.
  stateDir = join(folder, `it's "the" state`);
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(stacks.splice(0).map((stack) => stack.stop()));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the embedded stack', () => {
  it('leaves no server behind when its launcher is killed, and starts again on what it left', async () => {
    const launched = await launch(stateDir);
    expect(launched.servers.map(({ name }) => name).sort()).toEqual(['Postgres', 'Redis', 'Temporal']);
    await query(launched.ownerUrl, 'CREATE TABLE kept AS SELECT 42 AS value');

    launched.process.kill('SIGKILL');
    await once(launched.process, 'exit');
    // At once: the former servers are still on their way out.
    const stack = await start(stateDir);

    await until(() => launched.servers.every(({ pid }) => !isAlive(pid)));
    expect(await query(stack.ownerUrl, 'SELECT value FROM kept')).toEqual([{ value: 42 }]);
  });

  it('keeps its data and its addresses over an orderly restart', async () => {
    const first = await start(stateDir);
    await query(first.ownerUrl, 'CREATE TABLE IF NOT EXISTS restarted (at timestamptz)');
    await first.stop();
    expect(first.servers.filter(({ pid }) => isAlive(pid))).toEqual([]);

    const second = await start(stateDir);
    expect(await query(second.ownerUrl, 'SELECT at FROM restarted')).toEqual([]);
    expect({ ...second.temporal, database: second.databaseUrl, redis: second.redisUrl }).toEqual({
      ...first.temporal,
      database: first.databaseUrl,
      redis: first.redisUrl,
    });
  });

  it('refuses a second launcher on the same state folder and names the first', async () => {
    await start(stateDir);
    await expect(start(stateDir)).rejects.toMatchObject({
      code: 'STATE_DIR_BUSY',
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });

  it('says which server was lost, and stops the others all the same', async () => {
    const stack = await start(stateDir);
    const redis = stack.servers.find(({ name }) => name === 'Redis')!;
    process.kill(redis.pid, 'SIGKILL');
    expect(await stack.serverLost).toMatchObject({ name: 'Redis', logFile: redis.logFile });
    await stack.stop();
    expect(stack.servers.filter(({ pid }) => isAlive(pid))).toEqual([]);
  });

  it('stops what has started, and gives the folder back, when a part cannot start', async () => {
    const asked = process.env['TEMPORAL_CLI_PATH'];
    process.env['TEMPORAL_CLI_PATH'] = join(folder, 'nowhere');
    try {
      await expect(start(stateDir)).rejects.toMatchObject({
        code: 'TEMPORAL_CLI_NOT_FOUND',
        remedy: expect.stringContaining('TEMPORAL_CLI_PATH'),
      });
    } finally {
      restore('TEMPORAL_CLI_PATH', asked);
    }
    expect((await start(stateDir)).servers).toHaveLength(3);
  });

  it('keeps the database elsewhere, behind a link, where its user could not reach the state folder', async () => {
    const closed = join(folder, 'closed');
    await mkdir(closed, { mode: 0o700 });
    const dataDir = join(closed, 'postgres');
    const options = { dataDir, logFile: join(closed, 'postgres.log'), durable: false };
    const first = await startPostgres(options);
    try {
      await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS value');
      await first.stop();
      const second = await startPostgres(options);
      const rows = await query(second.url, 'SELECT value FROM kept');
      await second.stop();
      expect(rows).toEqual([{ value: 42 }]);
      expect((await lstat(dataDir)).isSymbolicLink()).toBe(process.getuid?.() === 0);
    } finally {
      await first.stop();
      await rm(await realpath(dataDir), { recursive: true });
    }
  });

  it('lets each role do its part only, and asks everyone for a password', async () => {
    const stack = await start(stateDir);
    await stack.migrate();
    const reach = async (url: string, sql: string) =>
      await query(url, sql).then(
        () => 'done',
        (error: { code?: string }) => error.code,
      );
    const changed = (url: string, changes: Partial<URL>) => Object.assign(new URL(url), changes).href;
    const { databaseUrl, ownerUrl } = stack;
    expect(await reach(databaseUrl, 'SELECT count(*) FROM projects')).toBe('done');
    const refused = { noPassword: '28P01', noRight: '42501' };
    for (const username of ['postgres', 'session_chain', 'session_chain_owner']) {
      for (const password of ['', 'postgres', username])
        expect(await reach(changed(databaseUrl, { username, password }), 'SELECT 1')).not.toBe('done');
    }
    for (const url of [databaseUrl, ownerUrl]) {
      expect(await query(url, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')).toEqual([
        { rolsuper: false },
      ]);
      for (const other of ['/postgres', '/template1'])
        expect(await reach(changed(url, { pathname: other }), 'SELECT 1')).toBe(refused.noRight);
      for (const sql of [
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/hostname')",
        'CREATE ROLE another SUPERUSER',
      ])
        expect([sql, await reach(url, sql)]).toEqual([sql, refused.noRight]);
    }
    for (const sql of ['CREATE TABLE mine ()', 'DROP TABLE projects', 'CREATE SCHEMA mine'])
      expect([sql, await reach(databaseUrl, sql)]).toEqual([sql, refused.noRight]);

    const redis = new Redis(Object.assign(new URL(stack.redisUrl!), { password: '' }).href, {
      lazyConnect: true,
      retryStrategy: () => null,
    });
    redis.on('error', () => undefined);
    await expect(redis.get('any')).rejects.toThrow('NOAUTH');
    redis.disconnect();
  });

  it('keeps passwords off command lines, and what it writes to itself', async () => {
    const old = join(stateDir, 'logs');
    await mkdir(old, { recursive: true });
    await chmod(old, 0o755);
    await writeFile(join(stateDir, 'temporal.db-journal'), '');
    await chmod(join(stateDir, 'temporal.db-journal'), 0o644);
    const stack = await start(stateDir);
    const passwords = Object.values(
      JSON.parse(readFileSync(join(stateDir, 'passwords.json'), 'utf8')) as Record<string, string>,
    );
    for (const { pid } of stack.servers) {
      for (const file of ['cmdline', 'environ']) {
        const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
        for (const password of passwords) expect(text).not.toContain(password);
      }
    }
    const entries = await readdir(stateDir, { withFileTypes: true });
    const modes = await Promise.all(
      [...entries.map(({ name }) => name), 'logs/temporal.log'].map(async (name) => {
        const { mode } = await lstat(join(stateDir, name));
        return [name, (mode & 0o077).toString(8)];
      }),
    );
    expect(modes.filter(([name, others]) => name !== 'postgres' && others !== '0')).toEqual([]);
    expect(modes.map(([name]) => name)).toEqual(
      expect.arrayContaining(['postgres', 'temporal.db', 'passwords.json', 'redis.conf', 'ports.json']),
    );
    expect((await stat(join(stateDir, 'postgres'))).mode & 0o077).toBe(0);
  });

  it('refuses a database that has no passwords, and says what to do', async () => {
    const stale = join(folder, 'stale');
    await mkdir(join(stale, 'postgres'), { recursive: true });
    await expect(startStack({ ...common, stateDir: stale })).rejects.toMatchObject({
      code: 'SERVER_START_FAILED',
      message: expect.stringContaining('has no password'),
      remedy: expect.stringContaining(`Remove ${stale}`),
    });
  });

  it('starts nothing that the environment gives', async () => {
    const given = {
      DATABASE_URL: 'postgres://db/app',
      REDIS_URL: 'redis://cache',
      TEMPORAL_ADDRESS: 'cluster:7233',
    };
    const stack = await startStack({ ...common, stateDir: join(folder, 'given'), env: given });
    stacks.push(stack);
    expect(stack).toMatchObject({
      databaseUrl: given.DATABASE_URL,
      redisUrl: given.REDIS_URL,
      temporal: { address: given.TEMPORAL_ADDRESS, ui: null },
      servers: [],
    });
  });
});

describe('the lock on a state folder', () => {
  it('goes to exactly one of several launchers that find the claim of a dead one', async () => {
    const dead = { pid: 2 ** 22 + 1, startedAt: 'long ago' };
    await writeFile(join(folder, 'lock.1'), JSON.stringify(dead));
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => {
        const child = runModule(
          'dist/dev/state-lock.js',
          `try { module.lockStateDir(argument); say('won'); } catch (error) { say(error.code); }
           setInterval(() => undefined, 1000);`,
          folder,
        );
        return firstLine(child);
      }),
    );
    expect(answers.sort()).toEqual([...Array.from({ length: 5 }, () => 'STATE_DIR_BUSY'), 'won']);
  });
});

describe('the guard', () => {
  it('kills a server that does not heed its stop signal', async () => {
    const server = await startGuarded({
      name: 'stubborn',
      command: process.execPath,
      args: [
        '-e',
        "process.on('SIGTERM', () => undefined); console.log('ready'); setInterval(() => undefined, 1000)",
      ],
      logFile: join(folder, 'stubborn.log'),
    });
    await until(() => readFileSync(join(folder, 'stubborn.log'), 'utf8').includes('ready'));
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(await server.exited).toBe(128 + 9);
  });

  it("reports the server's own exit code, and a command that does not exist", async () => {
    const codeOf = async (command: string, args: string[]) =>
      (await startGuarded({ name: 'short', command, args, logFile: join(folder, 'short.log') })).exited;
    expect(await codeOf('/bin/sh', ['-c', 'exit 7'])).toBe(7);
    expect(await codeOf(join(folder, 'no such file'), [])).toBe(127);
  });
});

describe('finding the Temporal CLI', () => {
  it('prefers the one on PATH to the cache', async () => {
    const cli = await findTemporalCli();
    const bin = await mkdtemp(join(folder, 'bin-'));
    await symlink(cli, join(bin, 'temporal'));
    const before = { asked: process.env['TEMPORAL_CLI_PATH'], path: process.env['PATH'] };
    delete process.env['TEMPORAL_CLI_PATH'];
    process.env['PATH'] = `${bin}:${before.path}`;
    try {
      expect(await findTemporalCli()).toBe(join(bin, 'temporal'));
    } finally {
      restore('TEMPORAL_CLI_PATH', before.asked);
      restore('PATH', before.path);
    }
  });
});

async function start(dir: string): Promise<Stack> {
  const stack = await startStack({ ...common, stateDir: dir });
  stacks.push(stack);
  return stack;
}

/** A launcher in a process of its own. */
async function launch(
  dir: string,
): Promise<{ process: ChildProcess; ownerUrl: string; servers: readonly StackServer[] }> {
  const child = runModule(
    'dist/dev/stack.js',
    `const { ownerUrl, servers } = await module.startStack({ ...${JSON.stringify(common)}, stateDir: argument });
     say(JSON.stringify({ ownerUrl, servers }));`,
    dir,
  );
  const said = JSON.parse(await firstLine(child)) as { ownerUrl: string; servers: StackServer[] };
  return { process: child, ...said };
}

/** Runs code in another process, on a compiled module of ours; killed after the test. */
function runModule(file: string, code: string, argument: string): ChildProcess {
  const script = `
    const module = await import(${JSON.stringify(pathToFileURL(resolve(file)).href)});
    const argument = process.argv[1];
    const say = (text) => process.stdout.write(text + '\\n');
    ${code}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script, argument], {
    env: process.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout! });
  const said: string[] = [];
  lines.on('line', (line) => said.push(line));
  await until(() => said.length > 0 || child.exitCode !== null || child.signalCode !== null);
  const [first] = said;
  if (first !== undefined) return first;
  throw new Error('The process ended without saying anything; its errors stand above.');
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A process that has ended but that nobody has waited for counts as ended. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return !/^State:\s+Z/m.test(status);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
