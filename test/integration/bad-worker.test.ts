import { readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NativeConnection, Worker } from '@temporalio/worker';
import { findAgentBinary } from '../../agent/process/binary.js';
import { defineChain } from '../../definition/define-chain.js';
import { sessionChainPlugin } from '../../workers/plugin.js';
import { createWorker } from '../../workers/worker.js';
import { type ChainStack, startChainStack } from '../support/chain-stack.js';

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('bad-worker');
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
    const request = stack.request();
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result).toMatchObject({
      status: 'failed',
      failure: { code: 'AGENT_NOT_FOUND', remedy: expect.stringContaining('SESSION_CHAIN_AGENT_PATH') },
      head: { sessionId: null, seq: null },
    });
    expect(readdirSync(request.workspace)).toEqual(['.session-chain']);
    await worker.kill('SIGTERM');
  });
});
