import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { exitCodes } from '../../cli/errors.js';
import type { DemoDocument } from '../../dev/demo.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/chain-stack.js';
import { createTestDatabase } from '../support/database.js';

const launcher = join(import.meta.dirname, '../../dist/dev/start.js');

let folder: string;
let started: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'session-chain-start-'));
  chmodSync(folder, 0o711);
});
afterEach(() => {
  started?.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** The launcher of `npm start` in a folder of its own, with what it prints. */
function start(...args: string[]) {
  return startWith({}, ...args);
}

function startWith(environment: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [launcher, ...args], {
    cwd: folder,
    env: {
      ...{ PATH: process.env['PATH'], TEMPORAL_CLI_PATH: process.env['TEMPORAL_CLI_PATH'], HOME: folder },
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started = child;
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  return { child, exited: once(child, 'exit'), stdout: () => stdout, stderr: () => stderr };
}

/** The workers of this folder's stack: the processes that were given its scratch folder and have no parent agent. */
function workers(): number[] {
  return processesNaming(join(folder, '.session-chain/scratch')).filter((pid) => {
    const command = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
    return command.startsWith(process.execPath) && command.includes('\0worker\0');
  });
}

describe('npm start', () => {
  it('--once --json runs both chains, prints one document and leaves nothing running', async () => {
    const run = start('--once', '--json');
    expect(await run.exited).toEqual([0, null]);
    const document = JSON.parse(run.stdout()) as DemoDocument;
    const [first, second] = document.chains;
    expect(document).toMatchObject({
      model: 'offline',
      temporal: { address: expect.any(String), ui: expect.any(String) },
      stateDir: join(folder, '.session-chain'),
      head: { sessionId: second?.finalSessionId },
    });
    expect(document.chains.map(({ status }) => status)).toEqual(['completed', 'completed']);
    expect(second?.baseSessionId).toBe(first?.finalSessionId);
    expect(first?.steps.map(({ step, status }) => [step, status])).toEqual([
      ['build', 'committed'],
      ['metadata', 'committed'],
      ['docs', 'committed'],
      ['compact', 'committed'],
    ]);
    expect(run.stderr()).toContain('Model: offline');
    expect(run.stdout() + run.stderr()).not.toMatch(/:[0-9a-f]{48}@/);
    expect(new URL(document.databaseUrl).pathname).toBe('/session_chain');
    await until(() => processesNaming(folder).length === 0);
  });

  it('starts another worker when one dies, and stops with everything at Ctrl-C', async () => {
    const run = start();
    await until(() => run.stderr().includes('stays up until Ctrl-C'));
    expect(run.stdout()).toContain('npx session-chain start');
    const [metrics = ''] = /http:\S+\/metrics/.exec(run.stderr()) ?? [];
    expect(await (await fetch(metrics)).text()).toContain(
      'session_chain_steps_total{step="build",outcome="committed"} 2',
    );
    const environment = readFileSync(join(folder, '.session-chain/env'), 'utf8');
    const [, password = ''] = /DATABASE_URL=postgres:\/\/session_chain:(\w+)@/.exec(environment) ?? [];
    expect(password).toHaveLength(48);
    expect(run.stdout()).toContain('PGSERVICEFILE=.session-chain/pg_service.conf psql');
    expect(readFileSync(join(folder, '.session-chain/pg_service.conf'), 'utf8')).toContain(
      `dbname=session_chain\nuser=session_chain\npassword=${password}\n`,
    );
    expect(run.stdout() + run.stderr()).not.toContain(password);
    // The link logs a browser in, and the key is in a file alone.
    const key = readFileSync(join(folder, '.session-chain/http-key'), 'utf8').trim();
    expect(statSync(join(folder, '.session-chain/http-key')).mode & 0o777).toBe(0o600);
    expect(run.stdout() + run.stderr() + environment).not.toContain(key);
    const [, base = ''] = /SESSION_CHAIN_HTTP_URL=(\S+)/.exec(environment) ?? [];
    const [link = ''] = /http:\S+\/login\?code=\w+/.exec(run.stdout()) ?? [];
    expect(run.stdout().trimStart()).toMatch(/^Dashboard: http:/);
    expect(link.startsWith(base)).toBe(true);
    const login = await fetch(link, { redirect: 'manual' });
    expect([login.status, login.headers.get('set-cookie')]).toEqual([
      303,
      expect.stringContaining('HttpOnly'),
    ]);
    const [worker] = workers();
    process.kill(worker ?? 0, 'SIGKILL');
    await until(() => workers().some((pid) => pid !== worker));
    await until(() => run.stderr().includes('Worker: died'));

    run.child.kill('SIGINT');
    expect(await run.exited).toEqual([0, null]);
    for (const file of ['env', 'http-key'])
      expect(existsSync(join(folder, '.session-chain', file))).toBe(false);
    await until(() => processesNaming(folder).length === 0);
  });

  it('says what is wrong with an argument it does not know', async () => {
    const run = start('--onec');
    expect(await run.exited).toEqual([2, null]);
    expect(run.stderr()).toContain('error INVALID_INPUT');
    expect(run.stderr()).toContain('--help');
  });

  it('starts nothing where the sandbox of the agents cannot be as it is configured', async () => {
    const run = startWith({ SESSION_CHAIN_SANDBOX_READ: '/' });
    expect(await run.exited).toEqual([exitCodes.setUp, null]);
    expect(run.stderr()).toMatch(/^error INVALID_CONFIG: sandbox\.read .* names \//);
    expect(existsSync(join(folder, '.session-chain'))).toBe(false);
  });

  it('ends with what its worker says where another start of that does not help', async () => {
    const database = await createTestDatabase();
    const run = startWith({
      DATABASE_URL: database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
      ...{ SESSION_CHAIN_SANDBOX: 'command', SESSION_CHAIN_SANDBOX_COMMAND: '/bin/false' },
    });
    expect(await run.exited).toEqual([exitCodes.setUp, null]);
    expect(run.stderr()).toMatch(/error SANDBOX_UNAVAILABLE: [^]*what to do: /);
    expect(run.stderr()).not.toContain('starting another');
    await until(() => processesNaming(folder).length === 0);
    await database.drop();
  });
});
