import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { until } from '../support/until.js';
import { processesNaming } from '../support/processes.js';

/** `npm test`, `npm run fault` and their like end with all that they started, whoever is killed. */

const root = join(import.meta.dirname, '../..');
let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-group-')));
});
afterAll(() => {
  for (const pid of processesNaming(folder)) process.kill(pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Started {
  child: ChildProcess;
  /** What each process wrote of itself once it was at work, by name. */
  pids: Record<string, number>;
  /** Those that are left of all that were started. */
  left: () => number[];
}

/** Starts a command in a folder of its own, whose path all that it starts has in its environment. */
async function start(
  name: string,
  command: string,
  args: string[],
  names: readonly string[],
): Promise<Started> {
  const at = join(folder, name);
  const child = spawn(command, args, {
    cwd: at,
    env: { PATH: process.env['PATH'], npm_config_cache: join(folder, 'cache'), MARK: at },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (said += data.toString()));
  const pidOf = (one: string) => {
    try {
      return Number(readFileSync(join(at, one), 'utf8')) || undefined;
    } catch {
      return undefined;
    }
  };
  await until(() => {
    if (child.exitCode !== null) throw new Error(`It ended: ${said}`);
    return names.every((one) => pidOf(one) !== undefined);
  });
  const pids = Object.fromEntries(names.map((one) => [one, pidOf(one) ?? 0]));
  return { child, pids, left: () => processesNaming(at) };
}

const parentOf = (pid: number) =>
  Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

describe('what npm runs in a group of its own', () => {
  /** A package whose tests are a script with a child that is deaf, a grandchild, and a server under its guard. */
  function tiny(name: string): string {
    const at = join(folder, name);
    mkdirSync(at);
    const say = (one: string) => `require('node:fs').writeFileSync('${join(at, one)}', String(process.pid))`;
    const deaf = `for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined);`;
    writeFileSync(
      join(at, 'package.json'),
      JSON.stringify({ name, type: 'module', scripts: { test: 'exec node test.js' } }),
    );
    writeFileSync(
      join(at, 'child.cjs'),
      `${deaf} require('node:child_process').spawn('sh', ['-c', 'echo $$ >${join(at, 'grandchild')}; sleep 600; :'], { stdio: 'ignore' });
       ${say('child')}; setInterval(() => undefined, 1000);`,
    );
    writeFileSync(
      join(at, 'test.js'),
      `import { spawn } from 'node:child_process';
       import { writeFileSync } from 'node:fs';
       import { inOwnGroup } from '${join(root, 'scripts/own-group.js')}';
       await inOwnGroup();
       const { startGuarded } = await import('${join(root, 'dist/dev/guard.js')}');
       const { pid } = await startGuarded({ name: 'server', command: 'sleep', args: ['600'], logFile: '${join(at, 'log')}' });
       writeFileSync('${join(at, 'server')}', String(pid));
       spawn(process.execPath, ['child.cjs'], { stdio: 'ignore' });
       writeFileSync('${join(at, 'inner')}', String(process.pid));
       setInterval(() => undefined, 1000);`,
    );
    return at;
  }
  const names = ['inner', 'child', 'grandchild', 'server'];

  it('is run by npm without a shell in between, which would hide the end of npm', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const own = Object.keys(scripts).filter((name) => {
      const [, file = ''] = /node (scripts\/\w+\.js)/.exec(scripts[name] ?? '') ?? [];
      return file !== '' && readFileSync(join(root, file), 'utf8').includes('inOwnGroup');
    });
    expect(own.sort()).toEqual(['bench', 'concurrency', 'fault', 'test']);
    for (const name of own) expect(scripts[name]).toMatch(/^exec node /);
  });

  it.each([
    ['npm', 'SIGTERM'],
    ['npm', 'SIGINT'],
    ['npm', 'SIGKILL'],
    ['npm', 'SIGHUP'],
    ['outer', 'SIGTERM'],
    ['outer', 'SIGKILL'],
    ['inner', 'SIGKILL'],
    ['guard', 'SIGKILL'],
  ] as const)('leaves nothing when its %s gets %s', async (which, signal) => {
    const name = `${which}-${signal}`.toLowerCase();
    tiny(name);
    const { child, pids, left } = await start(name, 'npm', ['test'], names);
    const guard = parentOf(pids['inner'] ?? 0);
    const outer = parentOf(guard);
    process.kill({ npm: child.pid ?? 0, outer, inner: pids['inner'] ?? 0, guard }[which], signal);
    await until(() => left().length === 0);
  });

  it('leaves nothing when its terminal is closed', async () => {
    tiny('terminal');
    const { child, left } = await start('terminal', 'script', ['-qec', 'npm test', '/dev/null'], names);
    child.kill('SIGKILL');
    await until(() => left().length === 0);
  });

  it('leaves nothing when it ends by itself, and ends as it ends', async () => {
    const at = tiny('by-itself');
    writeFileSync(
      join(at, 'test.js'),
      `${readFileSync(join(at, 'test.js'), 'utf8')}
      const { existsSync } = await import('node:fs');
      setInterval(() => existsSync('${join(at, 'grandchild')}') && process.exit(7), 50);`,
    );
    const { child, left } = await start('by-itself', 'npm', ['test', '--silent'], ['inner']);
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).toBe(7);
    await until(() => left().length === 0);
  });
});

describe('Jest in such a group', () => {
  it('leaves neither tests nor servers when npm is killed', async () => {
    const at = join(folder, 'jest');
    mkdirSync(at);
    for (const file of ['one', 'two']) {
      writeFileSync(
        join(at, `${file}.test.js`),
        `it('goes on and on', () => {
           require('node:fs').writeFileSync('${join(at, file)}', String(process.pid));
           for (;;) require('node:child_process').spawnSync('sleep', ['1']);
         });`,
      );
    }
    writeFileSync(
      join(at, 'setup.mjs'),
      `import { writeFileSync } from 'node:fs';
       import { startGuarded } from '${join(root, 'dist/dev/guard.js')}';
       export default async () => {
         const { pid } = await startGuarded({ name: 'server', command: 'sleep', args: ['600'], logFile: '${join(at, 'log')}' });
         writeFileSync('${join(at, 'server')}', String(pid));
       };`,
    );
    const config = { rootDir: at, globalSetup: join(at, 'setup.mjs'), maxWorkers: 2, transform: {} };
    writeFileSync(join(at, 'package.json'), JSON.stringify({ scripts: { test: 'exec node test.mjs' } }));
    writeFileSync(
      join(at, 'test.mjs'),
      `import { spawn } from 'node:child_process';
       import { inOwnGroup } from '${join(root, 'scripts/own-group.js')}';
       await inOwnGroup();
       const jest = '${join(root, 'node_modules/jest/bin/jest.js')}';
       spawn(process.execPath, [jest, ${JSON.stringify(`--config=${JSON.stringify(config)}`)}], { stdio: 'inherit' });`,
    );
    const { child, left } = await start('jest', 'npm', ['test'], ['one', 'two', 'server']);
    child.kill('SIGKILL');
    await until(() => left().length === 0);
  });
});
