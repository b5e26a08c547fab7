import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { findAgentBinary } from '../../agent/process/binary.js';
import { testedAgent } from '../../agent/process/tested.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult, ChainState, StepInput } from '../../contracts/chain.js';
import { type ActivityStepInput, payloadVersion } from '../../contracts/plan.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import { chainWorkflowId, workflowTypes } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { createCommandLine } from '../support/cli.js';
import { flowed } from '../support/flowed.js';
import { newKey, openNew, register } from '../support/chains.js';
import { attemptsOf } from '../support/project-facts.js';

/** A chain is what the configuration lists: one entry is one step, from the model to the ledger. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('steps', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
});
afterAll(async () => {
  await stack.stop();
});

/** A worker that cannot do a step looks again after a fortieth of this at the latest: by default after 15 s. */
const looking = { SESSION_CHAIN_WORKSPACE_WAIT_MS: '160000' };

/** Of a worker whose definition has this body. */
const having = (body: string) => ({ ...looking, SESSION_CHAIN_CONFIG: stack.configuration(body) });

const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));

async function rows<Row extends object>(text: string, ...values: unknown[]): Promise<Row[]> {
  return (await stack.database.pool.query<Row>(text, values)).rows;
}

const statusesOf = ({ steps }: ChainState) => steps.map(({ step, status }) => [step, status]);
const sourcesOf = async (projectId: string) =>
  (await stack.sessionChain.transitions(projectId)).map(({ source }) => source).reverse();
const accountedSteps = async (projectId: string) =>
  (
    await rows<{ step: string }>(
      `SELECT step FROM project_ai_session_metrics WHERE project_id = $1 AND outcome = 'committed' ORDER BY id`,
      projectId,
    )
  ).map(({ step }) => step);
const versionOf = async (versionId: string) =>
  (
    await rows<{ status: string; ai_metadata: object | null }>(
      'SELECT status, ai_metadata FROM project_versions WHERE version_id = $1',
      versionId,
    )
  )[0];

/**
 * The activities of a chain that a worker took, in the order in which they were scheduled. One that is offered to one worker alone
 * is scheduled again for all where a busy machine lets it wait.
 */
async function activitiesOf(workflowId: string): Promise<{ type: string; taskQueue: string }[]> {
  const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
  const taken = (events ?? []).map(({ activityTaskStartedEventAttributes: started }) =>
    String(started?.scheduledEventId),
  );
  return (events ?? []).flatMap(({ eventId, activityTaskScheduledEventAttributes: scheduled }) =>
    scheduled && taken.includes(String(eventId))
      ? [{ type: scheduled.activityType?.name ?? '', taskQueue: scheduled.taskQueue?.name ?? '' }]
      : [],
  );
}

/** How much of the last request of each step the first one of the next step repeats, from its first byte. */
function repeatedAtBoundaries({ steps }: ChainState): number[] {
  const requestsOf = (sessionId: string | null) =>
    stack.model.requests.filter((request) => request.sessionId === sessionId);
  return steps.slice(1).map(({ step, newSessionId }, index) => {
    const [last, first] = [requestsOf(steps[index]?.newSessionId ?? '').at(-1), requestsOf(newSessionId)[0]];
    if (!last || !first) throw new Error(`The model was not asked before or in the step ${step}.`);
    return repeatedPart(last, first);
  });
}

/** All that Temporal keeps of a chain, as text: payloads are decoded. */
async function wordsInHistory(workflowId: string): Promise<string> {
  const history = historyToJSON(await stack.temporal.workflow.getHandle(workflowId).fetchHistory());
  const payloads = [...history.matchAll(/"data": ?"([^"]*)"/g)].map(([, data]) =>
    Buffer.from(data ?? '', 'base64').toString(),
  );
  return [history, ...payloads].join('\n');
}

describe('steps of every kind', () => {
  const agentSteps = ['build', 'test', 'metadata', 'review', 'followup', 'docs', 'compact'];
  const steps = [...agentSteps, 'deploy'];
  const calls: ActivityStepInput[] = [];
  let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
  let taskQueue: string;
  let request: ReturnType<ChainStack['request']>;
  let result: ChainResult;

  beforeAll(async () => {
    taskQueue = `${stack.policy.taskQueues.chains}-host`;
    // The host's worker below is no part of what is tested.
    Runtime.install({
      logger: new DefaultLogger('ERROR', () => undefined),
      telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
    });
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    const hostWorker = await Worker.create({
      connection,
      taskQueue,
      activities: { deployVersion: async (call: ActivityStepInput) => void calls.push(call) },
    });
    host = { worker: hostWorker, connection, running: hostWorker.run() };
    const listed = `{
      steps: [
        'build',
        { name: 'test', kind: 'work', prompt: () => 'Test the app.' },
        'metadata',
        {
          name: 'review',
          kind: 'submission',
          schema: {
            type: 'object',
            properties: {
              verdict: { type: 'string', enum: ['accepted', 'rejected'] },
              notes: { type: 'array', items: { type: 'string' } },
            },
            required: ['verdict', 'notes'],
          },
          prompt: () => 'Review the app.',
        },
        {
          name: 'followup',
          kind: 'work',
          prompt: ({ values }) => \`Act on the review. Values: \${JSON.stringify(values.review)}\`,
        },
        'docs',
        'compact',
        { name: 'deploy', kind: 'activity', role: 'deploy', activity: 'deployVersion', taskQueue: '${taskQueue}' },
      ],
    }`;
    await stack.onlyWorker(having(listed));
    request = stack.request();
    result = await run(request);
  });
  afterAll(async () => {
    host.worker.shutdown();
    await host.running;
    await host.connection.close();
  });

  it('run in the order of the list; each that moves the head has a transition with its name as source', async () => {
    expect(result).toMatchObject({ status: 'completed', warnings: [], head: { seq: agentSteps.length } });
    expect(statusesOf(result)).toEqual(
      steps.map((step) => [step, step === 'deploy' ? 'completed' : 'committed']),
    );
    const moves = result.steps.filter(({ step }) => step !== 'deploy');
    for (const [index, { oldSessionId }] of moves.entries()) {
      expect(oldSessionId).toBe(moves[index - 1]?.newSessionId ?? null);
    }
    expect(result.head.sessionId).toBe(moves.at(-1)?.newSessionId);
    expect(result.steps.map(({ kind }) => kind)).toEqual([
      ...['work', 'work', 'submission', 'submission', 'work', 'work', 'compaction', 'activity'],
    ]);
    expect(await sourcesOf(request.projectId)).toEqual(agentSteps);
    expect((await attemptsOf(stack, request.projectId)).map(({ step }) => step)).toEqual(agentSteps);
  });

  it('ask the model with their prompt, one that was added to the shipped ones too', async () => {
    const asked = stack.model.requests.find(({ sessionId }) => sessionId === result.steps[1]?.newSessionId);
    expect(asked).toMatchObject({ step: 'test', kind: 'work' });
    expect(asked?.bodyText).toContain('Test the app.');
    expect(readFileSync(join(request.workspace, 'test.md'), 'utf8')).toMatch(/^# test$/m);
    expect(await versionOf(request.versionId)).toMatchObject({
      ai_metadata: { name: expect.any(String) },
    });
  });

  it('are each an activity type of its own in the history', async () => {
    const { agents } = stack.policy.taskQueues;
    const scheduled = await activitiesOf(chainWorkflowId(result));
    // Those of its worker alone begin with it.
    expect(
      scheduled.filter(({ taskQueue: queue }) => queue.startsWith(agents)).map(({ type }) => type),
    ).toEqual(agentSteps);
    expect(scheduled.filter((activity) => activity.taskQueue === taskQueue)).toEqual([
      { type: 'deployVersion', taskQueue },
    ]);
  });

  it('repeat all of the prompt before them', () => {
    const ofAgents = { ...result, steps: result.steps.filter(({ kind }) => kind !== 'activity') };
    expect(repeatedAtBoundaries(ofAgents)).toEqual(agentSteps.slice(1).map(() => 1));
  });

  it('have a row each in the ledger, where they run Claude Code', async () => {
    expect(await accountedSteps(request.projectId)).toEqual(agentSteps);
    const { steps: spent } = await stack.sessionChain.chainSpend(result);
    expect(spent.map(({ step }) => step)).toEqual(agentSteps);
    for (const { costUsd } of spent) expect(costUsd).toBeGreaterThan(0);
  });

  it('hand in values that the database keeps and later prompts get', async () => {
    const journalled = await rows<{ step: string; value: Record<string, unknown> }>(
      'SELECT step, value FROM session_chain.attempts WHERE project_id = $1 AND value IS NOT NULL ORDER BY id',
      request.projectId,
    );
    expect(journalled.map(({ step }) => step)).toEqual(['metadata', 'review']);
    const [metadata, review] = journalled.map(({ value }) => value);
    expect(review).toEqual({ verdict: 'accepted', notes: [expect.stringMatching(/\w/)] });

    const state = await stack.sessionChain.state(result);
    const values = state.steps.flatMap(({ step, value }) => (value ? [[step, value]] : []));
    expect(values).toEqual([
      ['metadata', metadata],
      ['review', review],
    ]);
    // Only the column that a step names gets its value.
    expect((await versionOf(request.versionId))?.ai_metadata).toEqual(metadata);

    const followUp = result.steps.find(({ step }) => step === 'followup')?.newSessionId;
    const asked = stack.model.requests.find(({ sessionId }) => sessionId === followUp);
    expect(asked?.bodyText).toContain(JSON.stringify(`Values: ${JSON.stringify(review)}`).slice(1, -1));
    expect(readFileSync(join(request.workspace, 'followup.md'), 'utf8')).toContain(
      `Values: ${JSON.stringify(review)}`,
    );
    expect(await wordsInHistory(chainWorkflowId(result))).not.toContain('verdict');
  });

  it('deploy the version by the activity of the host, which is called once with the final head', async () => {
    const { projectId, versionId, workspace } = request;
    expect(calls).toEqual([
      {
        ...{ projectId, versionId, buildId: versionId, step: 'deploy', workspace },
        key: expect.stringMatching(/^[0-9a-f-]{36}$/),
        ...{ sessionId: result.head.sessionId, seq: result.head.seq },
      },
    ]);
    expect(await versionOf(versionId)).toMatchObject({ status: 'deployed' });
    expect(
      await rows(
        `SELECT type FROM session_chain.events WHERE project_id = $1 AND data ->> 'step' = 'deploy' ORDER BY id`,
        projectId,
      ),
    ).toEqual([{ type: 'step.started' }, { type: 'step.completed' }]);
    expect(
      await rows(
        `SELECT s.step, s.role, s.state, s.calls, s.key, s.session_id, s.seq FROM session_chain.activity_steps s
         JOIN session_chain.chains c ON c.id = s.chain WHERE c.project_id = $1`,
        projectId,
      ),
    ).toEqual([
      {
        ...{ step: 'deploy', role: 'deploy', state: 'completed', calls: 1, key: calls[0]?.key },
        ...{ session_id: result.head.sessionId, seq: result.head.seq },
      },
    ]);
  });
});

describe('two definitions during a rollout', () => {
  const planned = `{ steps: ['build', { name: 'docs', prompt: () => 'Write the documents as planned.' }] }`;

  it.each([
    // The build is the same in both.
    [
      'build',
      'another prompt',
      `{ steps: ['build', { name: 'docs', prompt: () => 'Write other documents.' }] }`,
    ],
    ['docs', 'no such step', `{ steps: ['build'] }`],
  ])(
    'stopped in %s: a worker with %s leaves it to one with the definition of the plan',
    async (stopped, _other, other) => {
      const first = await stack.onlyWorker(having(planned));
      const request = stack.request();
      const held = stack.model.holdNext(
        ({ step, bodyText }) => step === stopped && bodyText.includes(request.projectId),
      );
      const started = await stack.sessionChain.start(request);
      await held.reached;
      await first.kill('SIGTERM');
      held.remove();

      const otherWorker = await stack.startWorker(having(other));
      await until(async () => (await stack.sessionChain.state(started)).status === 'waiting');
      const requests = stack.model.requests.length;
      const [chain] = await rows<{ waiting_for: string; waiting_until: Date }>(
        'SELECT waiting_for, waiting_until FROM session_chain.chains WHERE project_id = $1',
        request.projectId,
      );
      expect(chain).toEqual({
        waiting_for: expect.stringMatching(/^docs: a worker with the definition [0-9a-f]{12}$/),
        waiting_until: expect.any(Date),
      });
      const waiting = {
        status: 'waiting',
        steps: [
          { step: 'build', status: 'committed' },
          {
            step: 'docs',
            status: 'waiting',
            reason: expect.stringContaining('worker with the definition'),
          },
        ],
      };
      expect(await stack.sessionChain.state(started)).toMatchObject({
        ...waiting,
        waitingUntil: expect.stringMatching(/^\d{4}-/),
      });
      const handle = stack.temporal.workflow.getHandle(started.workflowId);
      // The row is written before the workflow hears of it.
      await until(async () => (await handle.query<ChainState>('chainState')).status === 'waiting');
      expect(await handle.query<ChainState>('chainState')).toMatchObject(waiting);
      const attempts = await attemptsOf(stack, request.projectId);

      await stack.startWorker(having(planned));
      await otherWorker.kill('SIGTERM');
      const result = await stack.sessionChain.wait(started);
      expect(result).toMatchObject({ status: 'completed', head: { seq: 2 } });
      // Waiting used no attempt up, and nothing was asked of the model meanwhile.
      expect((await attemptsOf(stack, request.projectId)).map(({ step }) => step)).toEqual([
        ...attempts.map(({ step }) => step),
        'docs',
      ]);
      const [asked] = stack.model.requests.slice(requests);
      expect(asked).toMatchObject({ step: 'docs' });
      expect(asked?.bodyText).toContain('Write the documents as planned.');
      expect(
        stack.model.requests
          .slice(requests)
          .filter(({ bodyText }) => bodyText.includes('Write other documents.')),
      ).toEqual([]);
      expect(
        await rows(
          'SELECT waiting_for, waiting_until FROM session_chain.chains WHERE project_id = $1',
          request.projectId,
        ),
      ).toEqual([{ waiting_for: null, waiting_until: null }]);
    },
  );
});

describe('an input of a version that the worker does not know', () => {
  it('fails the workflow for good, closes the chain, and leaves the project free', async () => {
    await stack.onlyWorker();
    const request = stack.request();
    const key = newKey(request.projectId);
    await register(stack.database.pool, key);
    const handle = await stack.temporal.workflow.start(workflowTypes.chain, {
      args: [{ version: 99 }],
      workflowId: chainWorkflowId(key),
      taskQueue: stack.policy.taskQueues.chains,
    });
    const error: unknown = await handle.result().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WorkflowFailedError);
    const { cause } = error as WorkflowFailedError;
    expect(cause).toBeInstanceOf(ApplicationFailure);
    expect(cause).toMatchObject({
      type: 'PAYLOAD_UNKNOWN',
      nonRetryable: true,
      message: expect.stringContaining('99'),
    });
    expect(await stack.sessionChain.state(key)).toMatchObject({
      status: 'failed',
      failure: {
        code: 'PAYLOAD_UNKNOWN',
        message: expect.stringContaining('99'),
        remedy: expect.stringMatching(/\w/),
      },
    });

    // Also where a former run left the chain open.
    const left = newKey(request.projectId);
    const opened = await openNew(stack.database.pool, left);
    await stack.database.pool.query('UPDATE session_chain.chains SET home = NULL WHERE id = $1', [
      opened.chainId,
    ]);
    const later = await stack.temporal.workflow.start(workflowTypes.chain, {
      args: [{ version: 99 }],
      workflowId: chainWorkflowId(left),
      taskQueue: stack.policy.taskQueues.chains,
    });
    await expect(later.result()).rejects.toBeInstanceOf(WorkflowFailedError);
    expect(await stack.sessionChain.state(left)).toMatchObject({
      status: 'failed',
      failure: { code: 'CHAIN_TERMINATED' },
    });

    const next = await run({ ...request, steps: ['build'] });
    expect(next).toMatchObject({ status: 'completed', head: { seq: 1 } });
    // And the chain itself may be started again by a client that the workers understand.
    const again = await run({ ...request, ...key, steps: ['metadata'] });
    expect(again).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });
});

describe('a workflow that is started past the client, with a worker of its own', () => {
  let forger: { worker: Worker; running: Promise<void>; connection: NativeConnection };
  let taskQueue: string;
  beforeAll(async () => {
    taskQueue = `${stack.policy.taskQueues.chains}-forger`;
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    const commits = async ({ step, head }: StepInput) => ({
      ...{ outcome: 'committed', step, attemptId: '1', attempt: 1, oldSessionId: head.sessionId },
      ...{ newSessionId: randomUUID(), seq: (head.seq ?? 0) + 1, turns: 1, costUsd: 0, durationMs: 1 },
      ...{
        usage: { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
        warnings: [],
      },
    });
    const worker = await Worker.create({
      connection,
      taskQueue,
      activities: { build: commits, metadata: commits, docs: commits, compact: commits },
    });
    forger = { worker, connection, running: worker.run() };
    await stack.onlyWorker();
  });
  afterAll(async () => {
    forger.worker.shutdown();
    await forger.running;
    await forger.connection.close();
  });

  it('makes no step committed, no chain complete and no version deployed', async () => {
    const request = stack.request();
    const key = newKey(request.projectId);
    const { chainId } = await register(stack.database.pool, key);
    const policy = {
      ...stack.policy,
      taskQueues: { ...stack.policy.taskQueues, agents: taskQueue },
      versionStatus: { succeeded: 'forged', failed: 'forged' },
    };
    const handle = await stack.temporal.workflow.start(workflowTypes.chain, {
      args: [{ version: payloadVersion, ...key, chainId, mode: 'initial', policy, overrides: [] }],
      workflowId: chainWorkflowId(key),
      taskQueue: stack.policy.taskQueues.chains,
    });
    // The database knows nothing of it, as if it had gone back, and the chain opens again.
    await until(async () => (await handle.query<ChainState>('chainState')).warnings.length > 0);
    expect(await versionOf(key.versionId)).toMatchObject({ status: null });
    await stack.sessionChain.cancel(key);
    const state = await stack.sessionChain.wait(key);
    expect(state).toMatchObject({ status: 'cancelled', head: { sessionId: null, seq: null } });
    expect(statusesOf(state).map(([, status]) => status)).not.toContain('committed');
    expect(await versionOf(key.versionId)).toMatchObject({ status: 'failed' });
    expect(await sourcesOf(key.projectId)).toEqual([]);
    // And an honest start of the same chain does the work.
    expect(await run({ ...request, ...key, steps: ['build'] })).toMatchObject({
      status: 'completed',
      head: { seq: 1 },
    });
    expect(await versionOf(key.versionId)).toMatchObject({ status: 'deployed' });
  });
});

describe('a model service that quotes the request in its error', () => {
  const instruction = 'Paint the lighthouse of Bell Rock';
  const message = `messages.1.content: "${instruction}" is not a valid prompt`;
  beforeAll(async () => {
    await stack.onlyWorker();
  });

  const commandLine = createCommandLine();
  afterAll(() => commandLine.stop());

  async function cli(...args: string[]): Promise<string> {
    const { code, stdout } = await commandLine.run(args, {
      PATH: process.env['PATH'],
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
      SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
    });
    expect(code).toBe(0);
    return stdout;
  }

  it.each([
    ['build', 'failed'],
    ['docs', 'completed_with_warnings'],
  ])('in the step %s leaves no word of it in the history, and is told in full', async (failing, status) => {
    const request = { ...stack.request(), instruction, steps: ['build', 'docs'] };
    const { projectId, versionId } = request;
    const injected = stack.model.inject({
      when: ({ step, bodyText }) => step === failing && bodyText.includes(projectId),
      times: Infinity,
      fail: { status: 400, message },
    });
    const started = await stack.sessionChain.start(request);
    const result = await stack.sessionChain.wait(started);
    injected.remove();
    expect(result.status).toBe(status);
    const handle = stack.temporal.workflow.getHandle(started.workflowId);
    const told = [
      await wordsInHistory(started.workflowId),
      JSON.stringify(await handle.query<ChainState>('chainState')),
      JSON.stringify(await handle.query('__temporal_workflow_metadata')),
    ].join('\n');
    expect(told).toContain('MODEL_REJECTED');
    expect(told).not.toMatch(/lighthouse|Bell Rock|valid prompt/i);

    const inFull = expect.stringContaining(message);
    const state = await stack.sessionChain.state(started);
    expect(state.steps.find(({ step }) => step === failing)).toMatchObject({
      status: 'failed',
      failure: { code: 'MODEL_REJECTED', message: inFull },
    });
    expect(state).toMatchObject(
      failing === 'build' ? { failure: { message: inFull } } : { warnings: [inFull] },
    );
    expect(result).toEqual(state);
    const named = ['--project', projectId, '--version', versionId];
    expect(flowed(await cli('status', ...named))).toContain(message);
    expect(flowed(await cli('chain', ...named))).toContain(message);
  });

  it('in the answer to a question leaves no word of it in the history, and is told in full', async () => {
    const { projectId } = await run({ ...stack.request(), steps: ['build'] });
    const injected = stack.model.inject({
      when: ({ kind, bodyText }) => kind === 'question' && bodyText.includes(instruction),
      times: Infinity,
      fail: { status: 400, message },
    });
    await expect(stack.sessionChain.ask({ projectId, text: instruction })).rejects.toMatchObject({
      code: 'MODEL_REJECTED',
      message: expect.stringContaining(message),
    });
    injected.remove();
    const chat = stack.temporal.workflow.getHandle(`chat/${projectId}/${projectId}`);
    const told = [
      await wordsInHistory(chat.workflowId),
      JSON.stringify(await chat.query('__temporal_workflow_metadata')),
    ].join('\n');
    expect(told).toContain('MODEL_REJECTED');
    expect(told).not.toMatch(/lighthouse|Bell Rock|valid prompt/i);
  });
});

describe('a worker that dies in the middle of a step', () => {
  it('leaves in the history what tool was used last, and no name of a file', async () => {
    const worker = await stack.onlyWorker();
    const request = { ...stack.request(), steps: ['build'], limits: { build: { maxAttempts: 1 } } };
    const lastFile = stack.model.holdNext(
      ({ bodyText }) => bodyText.includes(request.projectId) && bodyText.includes('"tool_result"'),
    );
    const started = await stack.sessionChain.start(request);
    await lastFile.reached;
    await until(async () => /^Write/.test((await stack.sessionChain.progress(started))?.activity ?? ''));
    await worker.kill('SIGKILL');
    lastFile.remove();
    await stack.startWorker();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ failure: { code: 'WORKER_LOST' } });
    const written = readdirSync(request.workspace).filter((name) => name !== '.session-chain');
    expect(written).not.toEqual([]);
    const words = await wordsInHistory(started.workflowId);
    expect(words).toMatch(/"activity":"Write"/);
    expect(written.filter((name) => words.includes(name))).toEqual([]);
  });
});

describe('two versions of Claude Code during a rollout', () => {
  let newer: string;
  let binary: string;
  beforeAll(async () => {
    newer = join(stack.root, 'newer-claude');
    binary = await findAgentBinary();
    const lines = [
      '#!/bin/bash',
      "[[ $1 == --version ]] && { echo '9.9.9 (Claude Code)'; exit; }",
      `exec '${binary}' "$@"`,
    ];
    writeFileSync(newer, `${lines.join('\n')}\n`, { mode: 0o755 });
  });

  const startNewer = async (environment: Record<string, string> = looking) =>
    await stack.startWorker({
      SESSION_CHAIN_AGENT_PATH: newer,
      SESSION_CHAIN_SANDBOX_READ: binary,
      ...environment,
    });
  const workersOf = async (projectId: string) =>
    (
      await rows<{ step: string; worker: string }>(
        'SELECT step, worker FROM session_chain.attempts WHERE project_id = $1 ORDER BY id',
        projectId,
      )
    ).map(({ step, worker }) => [step, Number.parseInt(worker)]);

  /** A chain whose build is committed and whose docs have begun on a worker with the tested version. */
  async function begun() {
    const former = await stack.onlyWorker();
    const request = { ...stack.request(), steps: ['build', 'docs'] };
    const held = stack.model.holdNext(({ step }) => step === 'docs');
    const started = await stack.sessionChain.start(request);
    await held.reached;
    await former.kill('SIGKILL');
    held.remove();
    return { request, started, former };
  }

  it('do not meet in one chain as long as a worker with the former one comes', async () => {
    const { request, started, former } = await begun();
    const worker = await startNewer();
    expect(worker.output()).toMatch(
      /Claude Code 9\.9\.9 \(tested: [0-9.]+\): run session-chain doctor --probe-agent/,
    );
    await until(async () => (await stack.sessionChain.state(started)).status === 'waiting');
    expect((await stack.sessionChain.state(started)).steps[1]).toMatchObject({
      ...{ step: 'docs', status: 'waiting' },
      reason: expect.stringMatching(
        `a worker with Claude Code ${testedAgent.claudeCode}. ${worker.process.pid}-.*@.*has Claude Code 9.9.9`,
      ),
    });
    // A chain that begins now has no former one.
    const other = await run({ ...stack.request(), steps: ['build'] });
    expect(other).toMatchObject({ status: 'completed', warnings: [] });
    const back = await stack.startWorker();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
    await worker.kill('SIGTERM');
    expect(await workersOf(request.projectId)).toEqual([
      ['build', former.process.pid],
      ['docs', former.process.pid],
      ['docs', back.process.pid],
    ]);
  });

  it('meet with a warning once no worker has had the former one for the whole time', async () => {
    const { request, started } = await begun();
    const worker = await startNewer({ SESSION_CHAIN_WORKSPACE_WAIT_MS: '1000' });
    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({
      status: 'completed_with_warnings',
      warnings: [
        expect.stringMatching(
          `The docs step ran with Claude Code 9.9.9, and what came before it in the chain with ${testedAgent.claudeCode}: no worker`,
        ),
      ],
    });
    expect((await workersOf(request.projectId)).at(-1)).toEqual(['docs', worker.process.pid]);
    expect(await rows('SELECT FROM session_chain.workspace_searches')).toEqual([]);
  });
});
