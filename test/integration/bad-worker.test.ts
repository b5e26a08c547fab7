import { readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { findAgentBinary } from '../../agent/process/binary.js';
import { checks, serverChecks } from '../../cli/doctor-checks.js';
import { readConfig } from '../../config/environment.js';
import { defineChain } from '../../definition/define-chain.js';
import { sessionChainPlugin } from '../../workers/plugin.js';
import { createWorker } from '../../workers/worker.js';
import { type ChainStack, type TestWorker, startChainStack, until } from '../support/chain-stack.js';

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('bad-worker');
  // The worker of this process is no part of what is tested.
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
});
afterAll(async () => {
  await stack.stop();
});

describe('a worker', () => {
  it.each([
    ['no agent binary', { SESSION_CHAIN_AGENT_PATH: '/nowhere/claude' }, 'AGENT_NOT_FOUND'],
    ['no model credential', { ANTHROPIC_API_KEY: '' }, 'CREDENTIALS_MISSING'],
    ['an environment that is not usable', { SESSION_CHAIN_MAX_AGENTS: 'many' }, 'SESSION_CHAIN_MAX_AGENTS'],
    ['no workspace root', { SESSION_CHAIN_WORKSPACE_ROOTS: '' }, 'SESSION_CHAIN_WORKSPACE_ROOTS is not set'],
    [
      'no workspace root that is a folder',
      { SESSION_CHAIN_WORKSPACE_ROOTS: '/nowhere:/etc/passwd' },
      'SESSION_CHAIN_WORKSPACE_ROOTS is a folder here',
    ],
    ['a namespace that Temporal does not have', { TEMPORAL_NAMESPACE: 'nowhere' }, 'TEMPORAL_REFUSED'],
    ['a profile of Temporal that is not there', { TEMPORAL_PROFILE: 'nowhere' }, 'INVALID_INPUT'],
    ['paths for agents that hold a workspace root', { SESSION_CHAIN_SANDBOX_READ: '/tmp' }, 'INVALID_CONFIG'],
    ['an address of Postgres that is none', { DATABASE_URL: 'postgres://h/d?sslcert=/nowhere' }, '/nowhere'],
  ])('with %s does not start and says what to do', async (_what, environment, said) => {
    await expect(stack.startWorker(environment)).rejects.toThrow(new RegExp(`${said}[^]*what to do`));
  });

  const asRoot = process.geteuid?.() === 0 ? describe : () => undefined;
  asRoot('that is root and has no sandbox', () => {
    const options = () => ({
      databaseUrl: stack.database.url,
      workspaceRoots: [stack.root],
      scratchFolder: join(stack.root, 'scratch'),
      agentEnvironment: { PATH: process.env['PATH'], ANTHROPIC_API_KEY: 'test-credential' },
    });
    const temporal = { address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' };
    const sandbox = { kind: 'none' as const };
    const refused = { code: 'SANDBOX_UNAVAILABLE', message: expect.stringContaining('runs as root') };

    it('is refused by the command', async () => {
      await expect(stack.startWorker({ SESSION_CHAIN_SANDBOX: 'none' })).rejects.toThrow(
        /SANDBOX_UNAVAILABLE[^]*runs as root[^]*what to do/,
      );
      const config = stack.configuration(`{ sandbox: { kind: 'none' } }`);
      await expect(stack.startWorker({ SESSION_CHAIN_CONFIG: config })).rejects.toThrow('runs as root');
    });

    it('is refused by createWorker, whatever says none', async () => {
      await expect(createWorker({ ...options(), temporal, sandbox })).rejects.toMatchObject(refused);
      await expect(
        createWorker({ ...options(), temporal, definition: defineChain({ sandbox }) }),
      ).rejects.toMatchObject(refused);
    });

    it('is refused by the plugin when the worker of the host is created', async () => {
      const connection = await NativeConnection.connect(temporal);
      try {
        await expect(
          Worker.create({
            connection,
            taskQueue: 'host',
            plugins: [sessionChainPlugin({ ...options(), sandbox })],
          }),
        ).rejects.toMatchObject(refused);
      } finally {
        await connection.close();
      }
    });
  });

  it('whose agent binary vanished fails the chain with AGENT_NOT_FOUND; head and files stay as they were', async () => {
    const binary = join(stack.root, 'claude');
    symlinkSync(await findAgentBinary(), binary);
    const worker = await stack.startWorker({ SESSION_CHAIN_AGENT_PATH: binary });
    rmSync(binary);
    await until(async () => (await listed()).some(({ identity }) => identity === identityOf(worker)));
    const request = stack.request();
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result).toMatchObject({
      status: 'failed',
      failure: { code: 'AGENT_NOT_FOUND', remedy: expect.stringContaining('SESSION_CHAIN_AGENT_PATH') },
      head: { sessionId: null, seq: null },
    });
    expect(readdirSync(request.workspace)).toEqual(['.session-chain']);
    await worker.kill('SIGTERM');
    expect((await listed()).map(({ identity }) => identity)).not.toContain(identityOf(worker));
  });
});

describe('the row of a worker', () => {
  it('says what it is and nothing secret, and outlives a kill -9 as one that is gone', async () => {
    const secret = 'canary-7d1f0c';
    const file = stack.configuration(`{
      houseRules: '${secret}',
      mcpServers: { search: { command: '/bin/true', args: ['${secret}'], env: { TOKEN: '${secret}' } } },
      steps: [
        { name: 'build', prompt: () => '${secret}', allowedTools: ['Read', 'Bash(curl https://u:${secret}@h/)'] },
        { kind: 'activity', name: 'deploy', activity: 'deploy', taskQueue: 'of-the-host' },
      ],
    }`);
    const worker = await stack.startWorker({ SESSION_CHAIN_CONFIG: file, ANTHROPIC_API_KEY: secret });
    await until(async () => (await listed()).some(({ identity }) => identity === identityOf(worker)));
    const { workers, queues } = await stack.sessionChain.workers();
    const [own] = workers;
    const { chains, agents } = stack.policy.taskQueues;
    expect(own).toMatchObject({
      identity: identityOf(worker),
      alive: true,
      taskQueues: [chains, agents, `${chains}-chats`],
      agents: { running: 0, max: own?.limits.maxAgents },
      definition: { digest: expect.stringMatching(/^[0-9a-f]{64}$/), file },
    });
    expect(own?.version).toBe(
      (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version,
    );
    expect(queues?.map(({ taskQueue, kind }) => `${kind} ${taskQueue}`).sort()).toEqual([
      `activity ${chains}`,
      `activity ${agents}`,
      `activity ${chains}-chats`,
      'activity of-the-host',
      `workflow ${chains}`,
    ]);
    const [definition] = await stack.sessionChain.definitions();
    expect(definition).toMatchObject({
      digest: own?.definition.digest,
      workers: [identityOf(worker)],
      definition: {
        mcpServers: ['search'],
        houseRulesCharacters: secret.length,
        steps: [
          {
            name: 'build',
            role: 'build',
            model: 'default',
            allowedTools: ['Read', 'Bash(curl https://***@h/)'],
          },
          { name: 'deploy', kind: 'activity', taskQueue: 'of-the-host', model: null },
        ],
      },
    });
    const { pool } = stack.database;
    const { rows } = await pool.query<{ row: string }>('SELECT w::text AS row FROM session_chain.workers w');
    expect(JSON.stringify(rows)).not.toContain(secret);

    await worker.kill('SIGKILL');
    // As if a minute had gone by.
    const ago = async (interval: string) =>
      await pool.query(
        `UPDATE session_chain.workers SET seen_at = clock_timestamp() - interval '${interval}'`,
      );
    await ago('61 seconds');
    expect(await listed()).toMatchObject([{ identity: identityOf(worker), alive: false }]);
    expect(await stack.sessionChain.definitions()).toEqual([]);
    // Temporal still remembers its polls.
    const settings = readConfig({
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
      SESSION_CHAIN_TASK_QUEUE: chains,
    });
    expect(await checks.worker(settings)).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(`^no worker polls.*; chains wait; .*${identityOf(worker)}.* stopped`),
    });
    expect(await checks['worker-here'](settings)).toMatchObject({ status: 'fail' });
    const gone = await pool.query<{ identity: string }>('SELECT identity FROM session_chain.workers');
    await ago('25 hours');
    const next = await stack.startWorker();
    await until(async () => (await listed()).length > 0);
    const left = await pool.query<{ identity: string }>('SELECT identity FROM session_chain.workers');
    expect(left.rows).toEqual([{ identity: identityOf(next) }]);

    // A day has not gone by: Temporal still remembers the polls of the killed one, and of those of the tests before.
    await pool.query(
      `INSERT INTO session_chain.workers SELECT (jsonb_populate_record(w, jsonb_build_object('id', gen_random_uuid(),
        'identity', i.identity, 'stopped_at', clock_timestamp()))).*
       FROM session_chain.workers w CROSS JOIN unnest($1::text[]) AS i (identity)`,
      [gone.rows.map(({ identity }) => identity)],
    );
    // A second one, of another version and definition, is told by doctor. Nobody tells that it lives on: it was seen just now for long.
    await pool.query(`INSERT INTO session_chain.workers SELECT (jsonb_populate_record(w, jsonb_build_object('id', gen_random_uuid(),
      'identity', '7@elsewhere', 'seen_at', clock_timestamp() + interval '1 hour', 'release', '9.9.9',
      'definition_digest', repeat('0', 64)))).* FROM session_chain.workers w
      WHERE w.stopped_at IS NULL`);
    expect(await checks.worker(settings)).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/session-chain .*9\.9\.9 \(7@elsewhere\)[^]*definition .*000000000000/),
      remedy: expect.stringContaining('rollout'),
    });
    expect(await stack.sessionChain.definitions()).toHaveLength(2);

    // It polls no queue of agents while all of its agents work, and is there.
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    const busy = await Worker.create({
      ...{ connection, taskQueue: chains, identity: '7@elsewhere' },
      workflowBundle: { codePath: 'dist/workers/workflow-bundle.js' },
    });
    await busy.runUntil(
      until(async () =>
        JSON.stringify(await checks.worker(settings)).includes(
          `polling: ${[identityOf(next), '7@elsewhere'].sort().join(', ')}`,
        ),
      ),
    );
    await connection.close();

    // A queue on which a step calls an activity, and that nobody polls, by the definition here or by that of a worker.
    const unpolled = {
      status: 'warn',
      message: expect.stringContaining('of-the-host for deploy (step deploy)'),
    };
    const having = { ...settings, SESSION_CHAIN_CONFIG: file };
    expect(await checks.activities(settings)).toMatchObject({ status: 'ok' });
    expect(await checks.activities(having)).toMatchObject(unpolled);
    await pool.query(`UPDATE session_chain.workers SET definition = $1 WHERE identity = '7@elsewhere'`, [
      JSON.stringify(definition?.definition),
    ]);
    expect(await checks.activities(settings)).toMatchObject(unpolled);
    expect(await serverChecks.activities?.(settings)).toMatchObject(unpolled);
    const polled = stack.configuration(
      `{ steps: ['build', { kind: 'activity', name: 'deploy', activity: 'deploy', taskQueue: '${agents}' }] }`,
    );
    await pool.query(`DELETE FROM session_chain.workers WHERE identity = '7@elsewhere'`);
    expect(await checks.activities({ ...settings, SESSION_CHAIN_CONFIG: polled })).toEqual({
      ...{ status: 'ok', message: `polled: ${agents}` },
    });
  });
});

const listed = async () => (await stack.sessionChain.workers()).workers;
const identityOf = (worker: TestWorker) => /"identity":"([^"]+)"/.exec(worker.output())?.[1] ?? '';
