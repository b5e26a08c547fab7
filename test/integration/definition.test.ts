import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { type StartRequest, createSessionChain } from '../../client/session-chain.js';
import type { ChainResult, ChainState } from '../../contracts/chain.js';
import type { AfterStepInput } from '../../contracts/plan.js';
import { defaultPolicy } from '../../contracts/policy.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import { type ChainStack, type TestWorker, startChainStack, until } from '../support/chain-stack.js';
import { historyOf } from '../support/histories.js';

/** Chains by a definition of the host's own, loaded by a real worker from a file. */

// The host's worker below logs each failure that a test wants.
Runtime.install({
  logger: new DefaultLogger('ERROR', () => undefined),
  telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
});

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('definition');
});
afterAll(async () => {
  await stack.stop();
});

let files = 0;
/** A configuration file with this body of its definition; its path. */
function configuration(body: string): string {
  const file = join(stack.root, `chain-${++files}.config.ts`);
  writeFileSync(
    file,
    `import { defineChain } from 'session-chain/config';\nexport default defineChain(${body});\n`,
  );
  return file;
}

/** Runs with a worker that has this definition. */
async function withWorker<Result>(
  file: string,
  work: (worker: TestWorker) => Promise<Result>,
): Promise<Result> {
  const worker = await stack.startWorker({ SESSION_CHAIN_CONFIG: file });
  try {
    return await work(worker);
  } finally {
    await worker.kill('SIGTERM');
  }
}

async function chainOf(request: StartRequest): Promise<ChainResult> {
  return await stack.sessionChain.wait(await stack.sessionChain.start(request));
}

const requestsOf = (sessionId: string | null | undefined) =>
  stack.model.requests.filter((request) => request.sessionId === sessionId);

async function attemptsOf({ projectId }: { projectId: string }) {
  const { rows } = await stack.database.pool.query<{ step: string; input_digest: string; state: string }>(
    'SELECT step, input_digest, state FROM session_chain.attempts WHERE project_id = $1 ORDER BY id',
    [projectId],
  );
  return rows;
}

async function versionOf({ versionId }: { versionId: string }) {
  const { rows } = await stack.database.pool.query<{ status: string | null; ai_metadata: unknown }>(
    'SELECT status, ai_metadata FROM project_versions WHERE version_id = $1',
    [versionId],
  );
  return rows[0];
}

describe('a definition of the host', () => {
  const request = () => ({ ...stack.request(), instruction: 'A shop for tea.' });
  let first: ChainResult;
  let model: ChainResult;
  let asked: ReturnType<typeof request>;

  beforeAll(async () => {
    const file = configuration(`{
      model: 'claude-sonnet-4-5',
      houseRules: 'You work for the tea company.',
      settingSources: ['project'],
      steps: {
        build: {
          prompt: ({ projectId, versionId, mode, instruction }) =>
            \`Build \${projectId} \${versionId} \${mode}: \${instruction}\`,
        },
        metadata: {
          schema: { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] },
        },
        docs: { prompt: async () => 'Write the documents of the tea company.' },
        compact: { instructions: 'Keep the names of teas.', thresholdTokens: 0 },
      },
    }`);
    await withWorker(file, async () => {
      asked = request();
      writeFileSync(join(asked.workspace, 'CLAUDE.md'), '# Rules of the repository\nUse tabs.\n');
      first = await chainOf(asked);
      model = await chainOf({ ...request(), steps: ['build'], model: 'claude-haiku-4-5' });
    });
  });

  it('says what the steps are asked, with which model and rules', () => {
    const { projectId, versionId } = asked;
    const [build, , docs] = first.steps.map(({ newSessionId }) => requestsOf(newSessionId)[0]);
    expect(build?.bodyText).toContain(`Build ${projectId} ${versionId} initial: A shop for tea.`);
    expect(docs?.bodyText).toContain('Write the documents of the tea company.');
    for (const { newSessionId } of first.steps.slice(0, 3)) {
      for (const { model, bodyText } of requestsOf(newSessionId)) {
        expect(model).toBe('claude-sonnet-4-5');
        expect(bodyText).toContain('You work for the tea company.');
      }
    }
  });

  it('makes CLAUDE.md of the repository count, and keeps the prompt cache', () => {
    const requestsByStep = first.steps.slice(0, 3).map(({ newSessionId }) => requestsOf(newSessionId));
    for (const requests of requestsByStep) expect(requests[0]?.bodyText).toContain('Rules of the repository');
    for (const [index, requests] of requestsByStep.slice(1).entries()) {
      const [before, after] = [requestsByStep[index]?.at(-1), requests[0]];
      expect(before && after && repeatedPart(before, after)).toBe(1);
    }
  });

  it('stores metadata of its own shape', async () => {
    expect(first).toMatchObject({ status: 'completed' });
    expect((await versionOf(asked))?.ai_metadata).toEqual({ title: expect.stringMatching(/./) });
  });

  it('tells the compaction what to keep', () => {
    const compaction = requestsOf(first.steps.at(-1)?.newSessionId)[0];
    expect(compaction?.bodyText).toContain('Keep the names of teas.');
  });

  it('lets a start name another model', () => {
    const models = model.steps.flatMap(({ newSessionId }) =>
      requestsOf(newSessionId).map((asked) => asked.model),
    );
    expect(new Set(models)).toEqual(new Set(['claude-haiku-4-5']));
  });

  it('is journaled as the hash of what each attempt was given', async () => {
    const digests = (await attemptsOf(asked)).map(({ input_digest }) => input_digest);
    expect(digests).toHaveLength(4);
    expect(new Set(digests).size).toBe(4);
  });
});

describe('limits, thresholds and critical steps', () => {
  const steps: StartRequest['steps'] & object = ['build', 'docs', 'compact'];
  const statuses = (result: ChainResult) => result.steps.map(({ status }) => status);

  it('are those of the definition, unless the start names others', async () => {
    const file = configuration(`{
      steps: { docs: { maxTurns: 1, maxAttempts: 1 }, compact: { thresholdTokens: 1_000_000 } },
    }`);
    // A client that says nothing of the steps.
    const { temporal, database, policy } = stack;
    const sessionChain = createSessionChain({
      pool: database.pool,
      temporal,
      policy: { ...defaultPolicy, taskQueues: policy.taskQueues },
    });
    await withWorker(file, async () => {
      const plain = await sessionChain.wait(await sessionChain.start({ ...stack.request(), steps }));
      expect([plain.status, ...statuses(plain)]).toEqual([
        'budget_exceeded',
        'committed',
        'failed',
        'pending',
      ]);
      expect(plain.failure?.message).toMatch(/limit of model turns/);

      const named = { ...stack.request(), steps, limits: { docs: { maxTurns: 30 } } };
      const raised = await sessionChain.wait(await sessionChain.start(named));
      expect([raised.status, ...statuses(raised)]).toEqual([
        'completed',
        'committed',
        'committed',
        'skipped',
      ]);
      expect(raised.steps.at(-1)?.reason).toMatch(/threshold of 1000000/);

      const compacted = { ...named, ...stack.request(), steps, compactThresholdTokens: 0 };
      const low = await sessionChain.wait(await sessionChain.start(compacted));
      expect([low.status, ...statuses(low)]).toEqual(['completed', 'committed', 'committed', 'committed']);
    });
  });
});

describe('a prompt that throws', () => {
  it('fails its step by name, and nothing is spent', async () => {
    const file = configuration(`{
      steps: {
        metadata: { prompt: ({ projectId }) => { throw new Error('no template for ' + projectId); } },
        docs: { prompt: ({ instruction }) => instruction, critical: true },
      },
    }`);
    await withWorker(file, async () => {
      const request = { ...stack.request(), instruction: '/clear' };
      const result = await chainOf(request);
      expect(result).toMatchObject({ status: 'failed', failure: { code: 'PROMPT_FAILED' } });
      const [build, metadata, docs, compact] = result.steps;
      expect(build).toMatchObject({ status: 'committed' });
      expect(metadata).toMatchObject({
        status: 'failed',
        attempts: 0,
        turns: 0,
        failure: {
          code: 'PROMPT_FAILED',
          message: `${file}: steps.metadata.prompt failed: no template for ${request.projectId}.`,
        },
      });
      expect(docs?.failure?.message).toMatch(/steps\.docs\.prompt gave a text that starts with "\/"/);
      expect(compact).toMatchObject({ status: 'pending' });
      expect((await attemptsOf(request)).map(({ step }) => step)).toEqual(['build']);
    });
  });
});

describe('a prompt that throws for a step that is committed', () => {
  it('does no harm: what is committed needs no prompt', async () => {
    const request: StartRequest = { ...stack.request(), steps: ['build', 'docs'] };
    const throwing = `() => { throw new Error('no template'); }`;
    await withWorker(
      configuration(`{ steps: { docs: { prompt: ${throwing}, critical: true } } }`),
      async () => {
        expect(await chainOf(request)).toMatchObject({
          status: 'failed',
          failure: { code: 'PROMPT_FAILED' },
        });
      },
    );
    await withWorker(configuration(`{ steps: { build: { prompt: ${throwing} } } }`), async () => {
      expect(await chainOf(request)).toMatchObject({ status: 'completed', steps: [{ attempts: 1 }, {}] });
    });
  });
});

describe('a configuration file that does not load', () => {
  const run = async (args: string[], file: string) => {
    const child = spawn(process.execPath, [join(process.cwd(), 'dist/cli/main.js'), ...args], {
      cwd: stack.root,
      env: {
        PATH: process.env['PATH'],
        SESSION_CHAIN_CONFIG: file,
        DATABASE_URL: stack.database.url,
        TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
        SESSION_CHAIN_WORKSPACE_ROOTS: stack.root,
        ANTHROPIC_API_KEY: 'test-credential',
      },
    });
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const [code] = (await once(child, 'close')) as [number];
    return { code, output };
  };

  it('keeps the worker from starting, and doctor says why', async () => {
    const file = configuration(`{ steps: { deploy: {} } }`);
    const worker = await run(['worker'], file);
    expect(worker.code).toBe(2);
    expect(worker.output).toContain(`error INVALID_CONFIG: ${file}: steps.deploy: no such step;`);
    expect(worker.output).toContain('what to do: Correct the configuration file');
    const doctor = await run(['doctor', '--only', 'definition'], file);
    expect(doctor.code).toBe(7);
    expect(doctor.output).toContain(`${file}: steps.deploy: no such step;`);
  });

  it('is told apart from one that only costs the prompt cache', async () => {
    const file = configuration(`{ steps: { docs: { model: 'claude-haiku-4-5' } } }`);
    const doctor = await run(['doctor', '--only', 'definition'], file);
    expect(doctor.code).toBe(0);
    expect(doctor.output).toMatch(/warn.*steps\.docs\.model: .*do not share the prompt cache/);
    await withWorker(file, async (worker) => {
      expect(worker.output()).toContain('do not share the prompt cache');
    });
  });
});

describe('an activity of the host', () => {
  const calls: AfterStepInput[] = [];
  let answer: (call: AfterStepInput) => Promise<void>;
  let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
  const taskQueue = `definition-host-${process.pid}`;

  beforeAll(async () => {
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    const worker = await Worker.create({
      connection,
      taskQueue,
      activities: {
        deployVersion: async (call: AfterStepInput) => {
          calls.push(call);
          await answer(call);
        },
      },
    });
    host = { worker, connection, running: worker.run() };
  });
  afterAll(async () => {
    host.worker.shutdown();
    await host.running;
    await host.connection.close();
  });

  const after = (change: object = {}) =>
    configuration(
      `{ after: { build: ${JSON.stringify({ activity: 'deployVersion', taskQueue, maxAttempts: 1, ...change })} } }`,
    );
  const callsFor = ({ projectId }: { projectId: string }) =>
    calls.filter((call) => call.projectId === projectId);
  const buildOnly = () => ({
    ...stack.request(),
    steps: ['build', 'docs'] as StartRequest['steps'] & object,
  });

  it('is called after its step with what it needs, is seen meanwhile, and moves no head', async () => {
    let release = () => {};
    answer = () => new Promise((resolve) => (release = resolve));
    await withWorker(after(), async () => {
      const request = buildOnly();
      const started = await stack.sessionChain.start(request);
      await until(() => callsFor(request).length === 1);
      const handle = stack.temporal.workflow.getHandle(started.workflowId);
      const state = await handle.query<ChainState>('chainState');
      expect(state.steps).toMatchObject([
        {
          step: 'build',
          status: 'committed',
          after: { activity: 'deployVersion', taskQueue, status: 'running' },
        },
        { step: 'docs', status: 'pending' },
      ]);
      const metadata = await handle.query('__temporal_workflow_metadata');
      expect(JSON.stringify(metadata)).toContain(`build: deployVersion on the task queue \`${taskQueue}\``);
      release();

      const result = await stack.sessionChain.wait(started);
      const [transition] = (await stack.sessionChain.transitions(request.projectId)).toReversed();
      expect(callsFor(request)).toEqual([
        {
          projectId: request.projectId,
          versionId: request.versionId,
          buildId: request.versionId,
          step: 'build',
          transitionId: await transitionIdOf(request),
          sessionId: transition?.newSessionId,
          workspace: request.workspace,
        },
      ]);
      expect(result).toMatchObject({ status: 'completed', steps: [{ after: { status: 'completed' } }, {}] });
      expect(await versionOf(request)).toMatchObject({ status: 'deployed' });
      expect(await stack.sessionChain.transitions(request.projectId)).toHaveLength(2);
      await Worker.runReplayHistory(
        { workflowBundle: { codePath: join(process.cwd(), 'dist/workers/workflow-bundle.js') } },
        await historyOf(stack.temporal, started.workflowId, 'after-activity'),
        started.workflowId,
      );
    });
  });

  it('that fails is a warning, unless it is critical; either way the version is not deployed', async () => {
    answer = () => Promise.reject(new Error('The disk is full.'));
    const message = `The activity deployVersion on the task queue ${taskQueue} failed: Error: The disk is full.`;
    await withWorker(after(), async () => {
      const request = buildOnly();
      expect(await chainOf(request)).toMatchObject({
        status: 'completed_with_warnings',
        warnings: [`build: ${message}`],
        steps: [
          { status: 'committed', after: { status: 'failed', failure: { code: 'AFTER_ACTIVITY_FAILED' } } },
          { status: 'committed' },
        ],
      });
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    await withWorker(after({ critical: true }), async () => {
      const request = buildOnly();
      const failed = await chainOf(request);
      expect(failed).toMatchObject({ status: 'failed', failure: { code: 'AFTER_ACTIVITY_FAILED', message } });
      expect(failed.steps.map(({ status }) => status)).toEqual(['committed', 'pending']);
      expect((await stack.sessionChain.head(request.projectId)).sessionId).toBe(
        failed.steps[0]?.newSessionId,
      );

      // Started again, the build is not paid again, and the activity is called again with the same key.
      answer = () => Promise.resolve();
      expect(await chainOf(request)).toMatchObject({ status: 'completed', steps: [{ attempts: 1 }, {}] });
      const keys = callsFor(request).map(({ transitionId }) => transitionId);
      expect(keys).toEqual([keys[0], keys[0]]);
      expect(await versionOf(request)).toMatchObject({ status: 'deployed' });
    });
  });

  it.each([
    [
      'is missing',
      { activity: 'deployNothing' },
      /^The activity deployNothing on the task queue \S+ failed: NotFoundError: Activity function deployNothing is not registered/,
    ],
    [
      'nobody asks for',
      { taskQueue: 'definition-nobody', scheduleToStartTimeoutMs: 1_000 },
      /^The activity deployVersion on the task queue definition-nobody was taken by nobody within 1 s: no worker polls/,
    ],
    [
      'hangs',
      { startToCloseTimeoutMs: 1_000 },
      /^The activity deployVersion on the task queue \S+ did not end within 1 s\.$/,
    ],
  ])('that %s fails in time, and names itself and the queue', async (_how, change, message) => {
    const hanging: (() => void)[] = [];
    answer = () => new Promise((resolve) => hanging.push(resolve));
    await withWorker(after({ ...change, critical: true }), async () => {
      const request = { ...stack.request(), steps: ['build'] as StartRequest['steps'] & object };
      const { status, failure } = await chainOf(request);
      expect([status, failure?.code]).toEqual(['failed', 'AFTER_ACTIVITY_FAILED']);
      expect(failure?.message).toMatch(message);
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    for (const release of hanging) release();
  });

  it('does not hold up a cancellation', async () => {
    let release = () => {};
    answer = () => new Promise((resolve) => (release = resolve));
    await withWorker(after(), async () => {
      const request = buildOnly();
      const started = await stack.sessionChain.start(request);
      await until(() => callsFor(request).length === 1);
      await stack.sessionChain.cancel(started);
      expect(await stack.sessionChain.wait(started)).toMatchObject({
        status: 'cancelled',
        steps: [{ status: 'committed', after: { status: 'cancelled' } }, { status: 'pending' }],
      });
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    release();
  });

  async function transitionIdOf({ projectId }: { projectId: string }): Promise<string | undefined> {
    const { rows } = await stack.database.pool.query<{ id: string }>(
      `SELECT id::text FROM session_transitions WHERE project_id = $1 AND source = 'build'`,
      [projectId],
    );
    return rows[0]?.id;
  }
});
