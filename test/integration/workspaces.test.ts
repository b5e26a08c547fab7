import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { attemptsOf } from '../support/project-facts.js';

/** Where a chain works: in its project's folder, on a worker that has it, and nowhere else. */

const marker = '.session-chain/workspace';
let stack: ChainStack;
let elsewhere: string;
const workers: TestWorker[] = [];

beforeAll(async () => {
  stack = await startChainStack('workspaces', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  elsewhere = join(stack.root, 'elsewhere');
  mkdirSync(elsewhere);
});
afterAll(async () => {
  await stack.stop();
});

async function stopWorkers(): Promise<void> {
  await Promise.all(workers.splice(0).map((worker) => worker.kill('SIGTERM')));
}

async function startWorker(environment: Record<string, string> = {}): Promise<TestWorker> {
  const worker = await stack.startWorker(environment);
  workers.push(worker);
  return worker;
}

/** One whose roots hold none of the folders. */
const startWorkerElsewhere = async (environment: Record<string, string> = {}) =>
  await startWorker({ SESSION_CHAIN_WORKSPACE_ROOTS: elsewhere, ...environment });

const request = (projectId?: string) => ({ ...stack.request(projectId), steps: ['build'] });
const run = async (asked: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(asked));
const markerOf = (workspace: string) => readFileSync(join(workspace, marker), 'utf8').slice(0, 36);

/** What Temporal keeps of a chain. */
async function payloadsOf(workflowId: string): Promise<string> {
  const history = historyToJSON(await stack.temporal.workflow.getHandle(workflowId).fetchHistory());
  return [...history.matchAll(/"data": ?"([^"]*)"/g)]
    .map(([, data]) => Buffer.from(data ?? '', 'base64').toString())
    .join('\n');
}

describe('a folder', () => {
  let other: TestWorker;
  let first: TestWorker | undefined;
  // They look again after a fortieth of this at the latest: by default after 15 s.
  const looking = { SESSION_CHAIN_WORKSPACE_WAIT_MS: '160000' };
  beforeAll(async () => {
    other = await startWorkerElsewhere({ ...looking, SESSION_CHAIN_MAX_AGENTS: '2' });
  });
  afterAll(stopWorkers);

  it('that a worker does not have leaves the step to one that has it, which costs no try, and says what the chain waits for', async () => {
    const asked = { ...request(), limits: { build: { maxAttempts: 1 } } };
    const started = await stack.sessionChain.start(asked);
    await until(async () => (await stack.sessionChain.state(started)).status === 'waiting');
    expect(await stack.sessionChain.state(started)).toMatchObject({
      waitingUntil: expect.any(String),
      steps: [
        {
          ...{ step: 'build', status: 'waiting', attempts: 0 },
          reason: expect.stringMatching(
            `a worker that has the folder ${asked.workspace}. ${other.process.pid}-.*@.*outside the workspace roots`,
          ),
        },
      ],
    });
    expect(stack.model.requests.filter(({ bodyText }) => bodyText.includes(asked.projectId))).toEqual([]);
    first = await startWorker(looking);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    expect(await attemptsOf(stack, asked.projectId)).toMatchObject([{ step: 'build', attempt: 1 }]);
    expect(await payloadsOf(started.workflowId)).toMatch(/has the project's folder/);
    expect(await payloadsOf(started.workflowId)).not.toContain(asked.workspace);
  });

  it('that one of two workers does not have fails no chain and no question', async () => {
    const results = await Promise.all(Array.from({ length: 3 }, async () => await run(request())));
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 3 }, () => 'completed'));
    expect(other.output()).toContain('outside the workspace roots');
    const [{ projectId } = { projectId: '' }] = results;
    expect(await stack.sessionChain.ask({ projectId, text: 'What was built?' })).toMatchObject({
      kind: 'transition',
    });
  });

  it('that is another copy is not worked in, nor read by a question, until the right one is back', async () => {
    await other.kill('SIGTERM');
    const asked = request();
    await run(asked);
    const right = `${asked.workspace}-right`;
    renameSync(asked.workspace, right);
    mkdirSync(asked.workspace);
    const started = await stack.sessionChain.start({
      ...request(asked.projectId),
      workspace: asked.workspace,
    });
    await until(async () => (await stack.sessionChain.state(started)).status === 'waiting');
    const question = stack.sessionChain.ask({ projectId: asked.projectId, text: 'What was built?' });
    await until(
      async () =>
        (
          await stack.database.pool.query(
            `SELECT FROM session_chain.workspace_searches WHERE operation LIKE 'chat:%'`,
          )
        ).rowCount === 1,
    );
    expect(await stack.sessionChain.state(started)).toMatchObject({
      steps: [{ reason: expect.stringContaining(`is not the folder of the project ${asked.projectId}`) }],
    });
    expect(readdirSync(asked.workspace)).toEqual([]);
    rmSync(asked.workspace, { recursive: true });
    renameSync(right, asked.workspace);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    // It moved the head if it was answered after the chain.
    expect(await question).toMatchObject({ reply: expect.stringMatching(/\w/) });
  });

  it('that is replaced while the agent works is not committed, and its work is done in the right one', async () => {
    const asked = { ...request(), limits: { build: { maxAttempts: 1 } } };
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const started = await stack.sessionChain.start(asked);
    await held.reached;
    const right = `${asked.workspace}-right`;
    renameSync(asked.workspace, right);
    mkdirSync(asked.workspace);
    held.remove();
    await until(async () => /^(waiting|completed)$/.test((await stack.sessionChain.state(started)).status));
    expect((await stack.sessionChain.state(started)).status).toBe('waiting');
    // The sandbox has the folder that was there when it was made, whatever has its name by now.
    expect(readdirSync(asked.workspace)).toEqual([]);
    expect(readdirSync(right)).toContain('index.html');
    rmSync(asked.workspace, { recursive: true });
    renameSync(right, asked.workspace);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    expect(existsSync(join(asked.workspace, 'index.html'))).toBe(true);
    expect(await attemptsOf(stack, asked.projectId)).toMatchObject([
      { attempt: 1, state: 'failed', failure: 'WORKSPACE_CHANGED' },
      { attempt: 2, state: 'committed' },
    ]);
  });

  it('whose marker an agent removed gets it back, after the step as well as after the death of the worker', async () => {
    const asked = { ...request(), steps: ['build', 'docs'] };
    const outside = join(elsewhere, 'outside');
    mkdirSync(outside);
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const started = await stack.sessionChain.start(asked);
    await held.reached;
    const given = markerOf(asked.workspace);
    rmSync(join(asked.workspace, '.session-chain'), { recursive: true });
    // A link would lead the worker to write elsewhere.
    symlinkSync(outside, join(asked.workspace, '.session-chain'));
    const docs = stack.model.holdNext(({ step }) => step === 'docs');
    held.remove();
    await docs.reached;
    expect(markerOf(asked.workspace)).toBe(given);
    expect(readdirSync(outside)).toEqual([]);

    rmSync(join(asked.workspace, marker));
    await first?.kill('SIGKILL');
    docs.remove();
    await startWorker(looking);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    expect(markerOf(asked.workspace)).toBe(given);
  });
});

describe('a folder, in the end,', () => {
  const short = { SESSION_CHAIN_WORKSPACE_WAIT_MS: '2000' };

  it('that no worker has fails step and question in the end and names who looked and where', async () => {
    // It leaves the end to the other one, however long that takes to start.
    const other = await stack.onlyWorker({
      SESSION_CHAIN_WORKSPACE_WAIT_MS: '160000',
      SESSION_CHAIN_WORKSPACE_ROOTS: elsewhere,
    });
    const asked = request();
    rmSync(asked.workspace, { recursive: true });
    const requests = stack.model.requests.length;
    const started = await stack.sessionChain.start(asked);
    await until(
      async () =>
        (await stack.database.pool.query('SELECT FROM session_chain.workspace_searches')).rowCount === 1,
    );
    // Each of them looks: which one of two Temporal asks is chance. A process of its own has a name of its own.
    await other.kill('SIGTERM');
    const here = await stack.startWorker(short);
    const result = await stack.sessionChain.wait(started);
    expect(stack.model.requests).toHaveLength(requests);
    expect(result).toMatchObject({ status: 'failed', failure: { code: 'WORKSPACE_NOT_ALLOWED' } });
    const { message = '' } = result.failure ?? {};
    expect(message).toContain(
      `No worker had the folder ${asked.workspace} of the project ${asked.projectId}`,
    );
    for (const [worker, roots] of [
      [other, elsewhere],
      [here, stack.root],
    ] as const) {
      expect(message).toMatch(
        new RegExp(`${worker.process.pid}-\\S+@\\S+: .* does not exist. Its roots: ${roots}\\.`),
      );
    }
    await expect(
      stack.sessionChain.ask({ projectId: asked.projectId, text: 'Why?', workspace: asked.workspace }),
    ).rejects.toMatchObject({
      code: 'WORKSPACE_NOT_ALLOWED',
      message: expect.stringContaining('does not exist'),
    });
    // Once the folder is there, the chain goes on; what was waited before does not count.
    mkdirSync(asked.workspace);
    expect(await run(asked)).toMatchObject({ status: 'completed', head: { seq: 1 } });
  });

  it('that is another copy fails the chain, and is the right one after unbind', async () => {
    await stack.onlyWorker(short);
    const asked = request();
    await run(asked);
    rmSync(asked.workspace, { recursive: true });
    mkdirSync(asked.workspace);
    const again = { ...request(asked.projectId), workspace: asked.workspace };
    expect(await run(again)).toMatchObject({
      status: 'failed',
      failure: { code: 'WORKSPACE_CHANGED', remedy: expect.stringContaining('unbindWorkspace') },
    });
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(process.cwd(), 'dist/cli/main.js'), 'unbind', '--project', asked.projectId],
      { cwd: '/', env: { PATH: process.env['PATH'], DATABASE_URL: stack.database.url } },
    );
    expect(stdout).toContain(asked.workspace);
    expect(await run(again)).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });

  it('that cannot be written fails the chain', async () => {
    await stack.onlyWorker(short);
    const asked = request();
    // In the place of the marker lies what cannot be replaced.
    mkdirSync(join(asked.workspace, marker, 'full'), { recursive: true });
    writeFileSync(join(asked.workspace, marker, 'full', 'file'), '');
    const result = await run(asked);
    expect(result.failure).toMatchObject({
      ...{ code: 'WORKSPACE_NOT_ALLOWED', message: expect.stringContaining('cannot be written') },
    });
    expect(readdirSync(join(asked.workspace, '.session-chain')).sort()).toEqual(['.gitignore', 'workspace']);
  });

  it('keeps its marker from git, takes it along when it is moved, and gets a new one in a copy for another project', async () => {
    await stack.onlyWorker(short);
    const asked = request();
    const git = async (...args: string[]) =>
      (await promisify(execFile)('git', ['-C', asked.workspace, ...args])).stdout;
    await git('init', '--quiet');
    await run(asked);
    expect(await git('status', '--porcelain', '--untracked-files=all')).not.toContain('.session-chain');
    expect(existsSync(join(asked.workspace, 'index.html'))).toBe(true);

    const moved = `${asked.workspace}-moved`;
    renameSync(asked.workspace, moved);
    expect(await run({ ...request(asked.projectId), workspace: moved })).toMatchObject({
      ...{ status: 'completed', head: { seq: 2 } },
    });
    const copy = request();
    cpSync(moved, copy.workspace, { recursive: true });
    expect(await run(copy)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    expect(markerOf(copy.workspace)).not.toBe(markerOf(moved));
    expect(await run({ ...request(asked.projectId), workspace: moved })).toMatchObject({ head: { seq: 3 } });
  });

  it('of another project is refused, also in part and behind a link, until that project lets go of it or is gone', async () => {
    await stack.onlyWorker(short);
    const owner = request();
    await run(owner);
    const inside = join(owner.workspace, 'inside');
    mkdirSync(inside);
    const link = join(stack.root, 'link');
    symlinkSync(inside, link);
    const mounted = join(stack.root, 'mounted');
    mkdirSync(mounted);
    // Only root may mount; to others it is a link.
    const isMounted = spawnSync('mount', ['--bind', owner.workspace, mounted]).status === 0;
    if (!isMounted) {
      rmdirSync(mounted);
      symlinkSync(owner.workspace, mounted);
    }
    const requests = stack.model.requests.length;
    try {
      for (const [workspace, how] of [
        [owner.workspace, 'is'],
        [`/proc/self/root${owner.workspace}`, 'is'],
        [mounted, isMounted ? 'is, by' : 'is'],
        [link, 'is inside'],
        [stack.root, 'lies around'],
      ] as const) {
        expect(await run({ ...request(), workspace })).toMatchObject({
          status: 'failed',
          failure: {
            code: 'WORKSPACE_TAKEN',
            message: expect.stringMatching(`${how} .*the folder of the project `),
            remedy: expect.stringContaining('unbindWorkspace'),
          },
        });
      }
    } finally {
      if (isMounted) execFileSync('umount', [mounted]);
    }
    const refused = { ...request(), workspace: owner.workspace };
    await run(refused);
    for (const workspace of [owner.workspace, stack.root]) {
      const question = { projectId: refused.projectId, text: 'What is in the folder?', workspace };
      await expect(stack.sessionChain.ask(question)).rejects.toMatchObject({ code: 'WORKSPACE_TAKEN' });
    }
    expect(stack.model.requests).toHaveLength(requests);
    expect(readdirSync(inside)).toEqual([]);

    const other = { ...request(), workspace: link };
    expect((await run(other)).failure?.message).toContain(owner.projectId);
    expect(await stack.sessionChain.unbindWorkspace(owner.projectId)).toEqual({
      ...{ projectId: owner.projectId, path: owner.workspace },
    });
    expect(await run(other)).toMatchObject({ status: 'completed' });
    expect((await run({ ...request(owner.projectId), workspace: owner.workspace })).failure).toMatchObject({
      ...{ code: 'WORKSPACE_TAKEN', message: expect.stringContaining(other.projectId) },
    });
  });
});

it('a workspace that no worker could have is refused before anything is started', async () => {
  for (const workspace of ['here', './here', '/srv/../etc', '/srv//shop', '/srv/./shop', '/srv/\0shop']) {
    const refused = { code: 'INVALID_INPUT', message: expect.stringContaining('workspace') };
    await expect(stack.sessionChain.start({ ...request(), workspace })).rejects.toMatchObject(refused);
    const { projectId } = request();
    await expect(stack.sessionChain.ask({ projectId, text: 'Why?', workspace })).rejects.toMatchObject(
      refused,
    );
  }
});
