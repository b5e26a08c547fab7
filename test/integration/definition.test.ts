import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createSessionChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult, ChainState } from '../../contracts/chain.js';
import type { ActivityStepInput } from '../../contracts/plan.js';
import { defaultPolicy } from '../../contracts/policy.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { flowed } from '../support/flowed.js';
import { historyOf } from '../support/histories.js';

/** Chains by a definition of the host's own, loaded by a real worker from a file. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('definition', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
});
afterAll(async () => {
  await stack.stop();
});

const configuration = (body: string) => stack.configuration(body);

/** Runs with the only worker, which has this definition. */
async function withWorker<Result>(
  file: string,
  work: (worker: TestWorker) => Promise<Result>,
): Promise<Result> {
  return await work(await stack.onlyWorker({ SESSION_CHAIN_CONFIG: file }));
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
      claudeMd: true,
      steps: [
        {
          name: 'build',
          prompt: ({ projectId, versionId, mode, instruction }) =>
            \`Build \${projectId} \${versionId} \${mode}: \${instruction}\`,
        },
        {
          name: 'metadata',
          schema: { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] },
        },
        { name: 'docs', prompt: async () => 'Write the documents of the tea company.' },
        { name: 'compact', instructions: 'Keep the names of teas.', thresholdTokens: 0 },
      ],
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
      steps: [
        'build',
        'metadata',
        { name: 'docs', maxTurns: 1, maxAttempts: 1 },
        { name: 'compact', thresholdTokens: 1_000_000 },
      ],
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

/** Prompts of two steps that cannot be asked: one throws, and one is no more than the instruction, here a command. */
const badPrompts = `{
  steps: [
    'build',
    { name: 'metadata', prompt: ({ projectId }) => { throw new Error('no template for ' + projectId); } },
    { name: 'docs', prompt: ({ instruction }) => instruction, critical: true },
    'compact',
  ],
}`;

describe('a prompt that throws', () => {
  it('fails its step by name, and nothing is spent', async () => {
    const file = configuration(badPrompts);
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
    const request: StartRequest = { ...stack.request(), instruction: '/clear', steps: ['build', 'docs'] };
    const throwing = `() => { throw new Error('no template'); }`;
    await withWorker(configuration(badPrompts), async () => {
      expect(await chainOf(request)).toMatchObject({ status: 'failed', failure: { code: 'PROMPT_FAILED' } });
    });
    await withWorker(
      configuration(`{ steps: [{ name: 'build', prompt: ${throwing} }, 'docs'] }`),
      async () => {
        expect(await chainOf(request)).toMatchObject({ status: 'completed', steps: [{ attempts: 1 }, {}] });
      },
    );
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
    const file = configuration(`{ steps: ['build', 'deploy'] }`);
    const worker = await run(['worker'], file);
    expect(worker.code).toBe(7);
    expect(worker.output).toContain(
      `error INVALID_CONFIG: ${file}: steps.deploy: no such shipped step (build, metadata, docs, compact);`,
    );
    expect(worker.output).toContain('what to do: Correct the configuration file');
    const doctor = await run(['doctor', '--only', 'definition'], file);
    expect(doctor.code).toBe(7);
    expect(flowed(doctor.output)).toContain(
      `${file}: steps.deploy: no such shipped step (build, metadata, docs, compact);`,
    );
  });

  it('is told apart from one that only costs the prompt cache', async () => {
    const file = configuration(`{ steps: ['build', { name: 'docs', model: 'claude-haiku-4-5' }] }`);
    const doctor = await run(['doctor', '--only', 'definition'], file);
    expect(doctor.code).toBe(0);
    expect(flowed(doctor.output)).toMatch(/warn.*steps\.docs\.model: .*do not share the prompt cache/);
    await withWorker(file, async (worker) => {
      expect(worker.output()).toContain('do not share the prompt cache');
    });
  });
});

describe('a step that is an activity of the host', () => {
  const calls: ActivityStepInput[] = [];
  let answer: (call: ActivityStepInput) => Promise<void>;
  let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
  const taskQueue = `definition-host-${process.pid}`;

  beforeAll(async () => {
    // The host's worker below logs each failure that a test wants.
    Runtime.install({
      logger: new DefaultLogger('ERROR', () => undefined),
      telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
    });
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    const worker = await Worker.create({
      connection,
      taskQueue,
      activities: {
        deployVersion: async (call: ActivityStepInput) => {
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

  /** A build, its deployment, and the docs. */
  const deploying = (change: object = {}) => {
    const deploy = {
      ...{ name: 'deploy', kind: 'activity', role: 'deploy' },
      ...{ activity: 'deployVersion', taskQueue, maxAttempts: 1, ...change },
    };
    return configuration(`{ steps: ['build', ${JSON.stringify(deploy)}, 'docs'] }`);
  };
  const callsFor = ({ projectId }: { projectId: string }) =>
    calls.filter((call) => call.projectId === projectId);

  it('is called with what it needs, is seen meanwhile, and moves no head', async () => {
    let release = () => {};
    answer = () => new Promise((resolve) => (release = resolve));
    await withWorker(deploying(), async () => {
      const request = stack.request();
      const started = await stack.sessionChain.start(request);
      await until(() => callsFor(request).length === 1);
      const running = [
        { step: 'build', kind: 'work', role: 'build', status: 'committed' },
        { step: 'deploy', kind: 'activity', role: 'deploy', status: 'running' },
        { step: 'docs', status: 'pending' },
      ];
      const handle = stack.temporal.workflow.getHandle(started.workflowId);
      expect((await handle.query<ChainState>('chainState')).steps).toMatchObject(running);
      expect((await stack.sessionChain.state(started)).steps).toMatchObject(running);
      const metadata = await handle.query('__temporal_workflow_metadata');
      expect(JSON.stringify(metadata)).toContain('| deploy | running |');
      release();

      const result = await stack.sessionChain.wait(started);
      const [transition] = (await stack.sessionChain.transitions(request.projectId)).toReversed();
      expect(callsFor(request)).toEqual([
        {
          projectId: request.projectId,
          versionId: request.versionId,
          buildId: request.versionId,
          step: 'deploy',
          key: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
          sessionId: transition?.newSessionId,
          seq: 1,
          workspace: request.workspace,
        },
      ]);
      expect(result).toMatchObject({
        status: 'completed',
        steps: [{}, { status: 'completed', newSessionId: null }, { status: 'committed' }],
      });
      // It stands for the version's status, and the step behind it goes on from the build.
      expect(await versionOf(request)).toMatchObject({ status: 'deployed' });
      expect(result.steps[2]?.oldSessionId).toBe(transition?.newSessionId);
      const sources = (await stack.sessionChain.transitions(request.projectId)).map(({ source }) => source);
      expect(sources).toEqual(['docs', 'build']);
      await Worker.runReplayHistory(
        { workflowBundle: { codePath: join(process.cwd(), 'dist/workers/workflow-bundle.js') } },
        await historyOf(stack.temporal, started.workflowId, 'activity-step'),
        started.workflowId,
      );
    });
  });

  it('that is completed is not called again by a chain that is started again', async () => {
    answer = () => Promise.resolve();
    await withWorker(deploying(), async () => {
      const request = { ...stack.request(), limits: { docs: { maxAttempts: 1 } } };
      const held = stack.model.holdNext(
        ({ step, bodyText }) => step === 'docs' && bodyText.includes(request.projectId),
      );
      const started = await stack.sessionChain.start(request);
      await held.reached;
      expect(callsFor(request)).toHaveLength(1);
      await stack.sessionChain.cancel(started);
      expect(await stack.sessionChain.wait(started)).toMatchObject({
        status: 'cancelled',
        steps: [{}, { status: 'completed' }, { status: 'cancelled' }],
      });
      held.remove();

      const again = await chainOf(request);
      expect(again).toMatchObject({ status: 'completed', steps: [{}, { status: 'completed' }, {}] });
      expect(callsFor(request)).toHaveLength(1);
      expect(await versionOf(request)).toMatchObject({ status: 'deployed' });
    });
  });

  it('does not hold up a cancellation', async () => {
    let release = () => {};
    answer = () => new Promise((resolve) => (release = resolve));
    await withWorker(deploying(), async () => {
      const request = stack.request();
      const started = await stack.sessionChain.start(request);
      await until(() => callsFor(request).length === 1);
      await stack.sessionChain.cancel(started);
      expect(await stack.sessionChain.wait(started)).toMatchObject({
        status: 'cancelled',
        steps: [{ status: 'committed' }, { status: 'cancelled' }, { status: 'pending' }],
      });
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    release();
  });

  it('that fails is a warning, unless it is critical; either way the version is not deployed', async () => {
    answer = () => Promise.reject(new Error('The disk is full.'));
    const message = `The activity deployVersion on the task queue ${taskQueue} failed with Error.`;
    await withWorker(deploying(), async () => {
      const request = stack.request();
      expect(await chainOf(request)).toMatchObject({
        status: 'completed_with_warnings',
        warnings: [`deploy: ${message}`],
        steps: [
          { status: 'committed' },
          { status: 'failed', failure: { code: 'ACTIVITY_STEP_FAILED', message } },
          { status: 'committed' },
        ],
      });
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    await withWorker(deploying({ critical: true }), async () => {
      const request = stack.request();
      const failed = await chainOf(request);
      expect(failed).toMatchObject({ status: 'failed', failure: { code: 'ACTIVITY_STEP_FAILED', message } });
      expect(failed.steps.map(({ status }) => status)).toEqual(['committed', 'failed', 'pending']);
      expect((await stack.sessionChain.head(request.projectId)).sessionId).toBe(
        failed.steps[0]?.newSessionId,
      );

      // Started again, the build is not paid again, and the activity is called again with the same key.
      answer = () => Promise.resolve();
      expect(await chainOf(request)).toMatchObject({
        status: 'completed',
        steps: [{ attempts: 1 }, { status: 'completed' }, {}],
      });
      const keys = callsFor(request).map(({ key }) => key);
      expect(keys).toEqual([keys[0], keys[0]]);
      expect(await versionOf(request)).toMatchObject({ status: 'deployed' });
    });
  });

  it.each([
    [
      'is missing',
      { activity: 'deployNothing' },
      /^The activity deployNothing on the task queue \S+ failed with NotFoundError\.$/,
    ],
    [
      'no worker polls for',
      { taskQueue: 'definition-nobody', scheduleToStartTimeoutMs: 1_000 },
      /^The activity deployVersion on the task queue definition-nobody was not taken within 1 s: no worker polls/,
    ],
    [
      'hangs',
      { startToCloseTimeoutMs: 1_000 },
      /^The activity deployVersion on the task queue \S+ did not end within 1 s\.$/,
    ],
  ])('that %s fails in time, and names itself and the queue', async (_how, change, message) => {
    const hanging: (() => void)[] = [];
    answer = () => new Promise((resolve) => hanging.push(resolve));
    await withWorker(deploying({ ...change, critical: true }), async () => {
      const request = stack.request();
      const { status, failure } = await chainOf(request);
      expect([status, failure?.code]).toEqual(['failed', 'ACTIVITY_STEP_FAILED']);
      expect(failure?.message).toMatch(message);
      expect(await versionOf(request)).toMatchObject({ status: 'failed' });
    });
    for (const release of hanging) release();
  });
});
