import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { NativeConnection, Worker } from '@temporalio/worker';
import { type StartedChain, createSessionChain } from '../../client/session-chain.js';
import type { StepInput } from '../../contracts/chain.js';
import { payloadVersion } from '../../contracts/plan.js';
import type { StepName } from '../../contracts/steps.js';
import { recordQuestion } from '../../storage/questions/questions.js';
import { parseChatId, parseMessageId, parseProjectId } from '../../contracts/ids.js';
import { chainWorkflowId, chatWorkflowId, taskQueuesOf, workflowTypes } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';

/** What access to Temporal alone can do: forge, flood, end; and what of a chain's texts it can read. */

let stack: ChainStack;
let forger: { worker: Worker; running: Promise<void>; connection: NativeConnection; taskQueue: string };
beforeAll(async () => {
  stack = await startChainStack('temporal-access', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
  forger = await startForger(`${stack.policy.taskQueues.chains}-forger`);
});
afterAll(async () => {
  forger.worker.shutdown();
  await forger.running;
  await forger.connection.close();
  await stack.stop();
});

/** A worker that says of every step that it is committed, and calls whatever activity it is told to. */
async function startForger(taskQueue: string): Promise<typeof forger> {
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  const commits = async ({ step, head }: StepInput) => ({
    ...{ outcome: 'committed', step, attemptId: '1', attempt: 1, oldSessionId: head.sessionId },
    ...{ newSessionId: randomUUID(), seq: (head.seq ?? 0) + 1, turns: 1, costUsd: 0, durationMs: 1 },
    usage: { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
    warnings: [],
  });
  const worker = await Worker.create({
    ...{ connection, taskQueue },
    workflowsPath: join(import.meta.dirname, 'forger.ts'),
    activities: { build: commits, metadata: commits, docs: commits, compact: commits },
  });
  return { worker, connection, taskQueue, running: worker.run() };
}

async function forge(type: string, taskQueue: string, input: object): Promise<unknown> {
  return await stack.temporal.workflow.execute('forge', {
    args: [type, taskQueue, { version: payloadVersion, ...input }],
    workflowId: `forge/${randomUUID()}`,
    taskQueue: forger.taskQueue,
  });
}

const handleOf = ({ workflowId }: Pick<StartedChain, 'workflowId'>): WorkflowHandle =>
  stack.temporal.workflow.getHandle(workflowId);

/** A chain whose build is committed and whose docs stand still in their first model request. */
async function chainInDocs(instruction?: string) {
  const request = { ...stack.request(), steps: ['build', 'docs'], ...(instruction ? { instruction } : {}) };
  const docs = stack.model.holdNext(
    ({ step, bodyText }) => step === 'docs' && bodyText.includes(request.projectId),
  );
  const started = await stack.sessionChain.start(request);
  await docs.reached;
  const { rows } = await stack.database.pool.query<{ id: string; ticket: number }>(
    'SELECT id::text, ticket FROM session_chain.chains WHERE workflow_id = $1',
    [started.workflowId],
  );
  const { id: chainId = '', ticket = 0 } = rows[0] ?? {};
  const { projectId, versionId, buildId } = started;
  return { request, docs, started, chainId, ticket, key: { projectId, versionId, buildId, chainId } };
}

/** What the database says of a project. */
async function truthOf(projectId: string): Promise<unknown> {
  const rows = async (text: string) => (await stack.database.pool.query(text, [projectId])).rows as unknown[];
  return {
    head: await stack.sessionChain.head(projectId),
    transitions: await stack.sessionChain.transitions(projectId),
    versions: await rows(
      'SELECT version_id, status, ai_session_id FROM project_versions WHERE project_id = $1 ORDER BY 1',
    ),
    chains: await rows(
      'SELECT id, ticket, status, result, failures, workspace FROM session_chain.chains WHERE project_id = $1 ORDER BY id',
    ),
    attempts: await rows(
      'SELECT id, state, session_id, result FROM session_chain.attempts WHERE project_id = $1 ORDER BY id',
    ),
    questions: await rows(
      'SELECT question_id, state, reply, failure FROM project_chat_log_minimal WHERE project_id = $1 ORDER BY 1',
    ),
  };
}

/** Sends a signal so many times, some at once: the server fails a workflow task during which 100 come. */
async function flood(handle: WorkflowHandle, times: number, name: string, payload: (n: number) => unknown[]) {
  let sent = 0;
  const send = async () => {
    while (sent < times) await handle.signal(name, ...payload(sent++));
  };
  await Promise.all(Array.from({ length: 10 }, send));
}

type Attribute = keyof NonNullable<
  NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number]
>;

async function eventsOf(handle: WorkflowHandle) {
  const events = (await handle.fetchHistory()).events ?? [];
  const having = (attribute: Attribute) => events.filter((event) => event[attribute]);
  return {
    all: events.length,
    signals: having('workflowExecutionSignaledEventAttributes').length,
    answers: having('signalExternalWorkflowExecutionInitiatedEventAttributes').length,
    activities: having('activityTaskScheduledEventAttributes').map(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name,
    ),
  };
}

/** The plans with which a chain called a step. */
async function plansOf(handle: WorkflowHandle, step: StepName): Promise<unknown[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: called }) => {
    const data = called?.activityType?.name === step ? called.input?.payloads?.[0]?.data : undefined;
    return data ? [(JSON.parse(Buffer.from(data).toString()) as StepInput).plan] : [];
  });
}

/** How many times a workflow looks at the database for some more signals that come one after the other. */
async function looksFor(
  handle: WorkflowHandle,
  signals: number,
  look: string,
  name: string,
  payload: unknown[],
) {
  const looks = async () => (await eventsOf(handle)).activities.filter((called) => called === look).length;
  const before = await looks();
  for (let sent = 0; sent < signals; sent++) {
    await handle.signal(name, ...payload);
    // Answered once the workflow knows the signal.
    await handle.query('__temporal_workflow_metadata');
    await until(async () => !(await handle.describe()).raw.pendingActivities?.length);
  }
  return (await looks()) - before;
}

describe('a flood of signals', () => {
  it('to a chain that works, one that is queued and a chat costs bounded history, and delays none of them', async () => {
    const { docs, started } = await chainInDocs();
    const { projectId } = started;
    // They look by themselves soon, but seldom once they have waited for long.
    const often = { initial: 1_000, max: 10 * 60_000 };
    const { temporal, overrides, database } = stack;
    const policy = { ...stack.policy, queueWaitMs: often };
    const client = createSessionChain({
      ...{ pool: database.pool, temporal, policy, overrides, chat: { lookMs: often } },
    });
    const next = await client.start({ ...stack.request(projectId), steps: ['docs'] });
    await until(async () => (await client.state(next)).queue !== undefined);
    const asked = client.ask({ projectId, text: 'And then?', when: 'after_step' });
    const chat = temporal.workflow.getHandle(chatWorkflowId({ projectId, chatId: projectId }));
    await until(
      async () => (await eventsOf(chat).catch(() => null))?.activities.includes('readSession') ?? false,
    );
    const { runId } = await chat.describe();
    const [question] = await client.questions(projectId);

    // More than they follow: 200 requests and answers, and 100 hints.
    const nobody = `chat/${projectId}/nobody`;
    const answer = { requestId: question?.questionId, sessionId: 'forged' };
    await flood(handleOf(started), 210, 'requestSession', (n) => [
      { requestId: String(n), chatWorkflowId: nobody, when: 'now' },
    ]);
    await flood(handleOf(next), 110, 'projectFree', () => []);
    await flood(handleOf(next), 20, 'neverHeardOf', (n) => [n]);
    await flood(chat, 210, 'sessionAnswer', () => [answer]);
    // Each wait for a signal ends by itself now.
    expect(await looksFor(handleOf(next), 5, 'open', 'projectFree', [])).toBeLessThan(4);
    expect(await looksFor(chat, 5, 'readSession', 'sessionAnswer', [answer])).toBeLessThan(4);

    // A chat that gets no answer reads the database.
    expect(await client.ask({ projectId, text: 'Still there?' })).toMatchObject({ kind: 'side_branch' });
    docs.release();
    expect(await client.wait(started)).toMatchObject({ status: 'completed' });
    const { status, head } = await client.wait(next);
    expect(status).toBe('completed');
    // The question may get the project between the two chains.
    const { kind } = await asked;
    expect(kind === 'transition' ? [3, 4] : [3]).toContain(head.seq);
    const [working, queued] = [await eventsOf(handleOf(started)), await eventsOf(handleOf(next))];
    const first = await eventsOf(temporal.workflow.getHandle(chat.workflowId, runId));
    expect(working.signals).toBeGreaterThanOrEqual(210);
    expect(working.answers).toBe(200);
    expect(queued.activities.filter((name) => name === 'open').length).toBeLessThan(120);
    expect(first.activities.filter((name) => name === 'readSession').length).toBeLessThan(220);
    await client.close();
  });
});

describe('a chain that is terminated and started by a forger', () => {
  it('gets nothing of what its worker says, and goes on honestly', async () => {
    const { request, docs, started, key } = await chainInDocs();
    const { projectId } = started;
    const [built] = await stack.sessionChain.transitions(projectId);
    await handleOf(started).terminate('by a forger');
    const start = async (input: object) =>
      await stack.temporal.workflow.start(workflowTypes.chain, {
        args: [
          {
            ...{
              version: payloadVersion,
              ...key,
              mode: 'initial',
              overrides: [],
              workspace: '/etc',
              steps: ['docs'],
            },
            policy: {
              ...stack.policy,
              taskQueues: { ...stack.policy.taskQueues, agents: forger.taskQueue },
              versionStatus: { succeeded: 'forged', failed: 'forged' },
            },
            ...input,
          },
        ],
        workflowId: started.workflowId,
        taskQueue: stack.policy.taskQueues.chains,
      });
    // Under another project, and for another chain's row, nothing is done.
    const other = await chainInDocs();
    const others = await truthOf(other.request.projectId);
    for (const input of [{ projectId: other.request.projectId }, { chainId: other.chainId }]) {
      await expect((await start(input)).result()).rejects.toThrow();
    }
    expect(await truthOf(other.request.projectId)).toEqual(others);
    other.docs.release();
    await stack.sessionChain.wait(other.started);

    const forged = await start({});
    await until(async () => (await forged.query<{ warnings: string[] }>('chainState')).warnings.length > 0);
    docs.remove();
    expect(await stack.sessionChain.transitions(projectId)).toEqual([built]);
    await stack.sessionChain.cancel(started);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled', head: { seq: 1 } });
    expect(JSON.stringify(await truthOf(projectId))).not.toContain('forged');

    expect(await stack.sessionChain.start(request)).toMatchObject({ alreadyStarted: false });
    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({ status: 'completed', head: { seq: 2 } });
    expect(result.steps[0]).toMatchObject({ newSessionId: built?.newSessionId });
  });
});

describe('activities that a forger calls', () => {
  it('change nothing of a chain whose ticket they do not have, and nothing by another project’s name', async () => {
    const { docs, started, key, ticket } = await chainInDocs();
    const { projectId } = started;
    const thief = await chainInDocs();
    const { chains, agents } = stack.policy.taskQueues;
    const before = [await truthOf(projectId), await truthOf(thief.request.projectId)];
    const complete = {
      ...{ status: 'completed', head: { sessionId: 'forged', seq: 9 }, warnings: [] },
      steps: [{ step: 'docs', status: 'committed', newSessionId: 'forged' }],
    };
    const [plan] = await plansOf(handleOf(started), 'docs');
    const step = {
      ...{ step: 'docs', round: 1, mode: 'initial', plan, head: { sessionId: null, seq: null }, budget: {} },
      ...{ killGraceMs: 1_000, waitMs: stack.policy.waitMs, waits: 0 },
    };
    const forgeries: [type: string, queue: string, input: object][] = [
      ['commit', chains, { ...key, ticket: ticket + 1_000_000, result: { ...complete, status: 'failed' } }],
      ['commit', chains, { ...key, ticket: ticket - 1, result: complete }],
      ['commit', chains, { ...key, ticket: null, result: complete }],
      ['commit', chains, { ...key, ...thief.request, ticket, result: complete }],
      ['open', chains, { ...key, ticket: null, overrides: [] }],
      ['open', chains, { ...thief.key, chainId: key.chainId, ticket, overrides: [] }],
      ['committedStep', chains, { ...key, ticket: ticket - 1, step: 'docs', round: 1 }],
      [
        'beginActivity',
        chains,
        { ...key, ticket: ticket - 1, step: 'deploy', round: 1, head: step.head, plan },
      ],
      ['endActivity', chains, { ...key, ticket, step: 'deploy', round: 1, failure: null }],
      ['build', agents, { ...key, ...step, ticket: ticket - 1, step: 'build' }],
      ['docs', agents, { ...thief.key, chainId: key.chainId, ...step, ticket }],
      ['forged', agents, { ...thief.key, chainId: key.chainId, ...step, step: 'forged', ticket }],
      ['docs', agents, { ...key, ...step, ticket: ticket - 1 }],
    ];
    await Promise.allSettled(forgeries.map(async ([type, queue, input]) => forge(type, queue, input)));
    expect([await truthOf(projectId), await truthOf(thief.request.projectId)]).toEqual(before);

    docs.release();
    thief.docs.release();
    for (const chain of [started, thief.started]) {
      expect(await stack.sessionChain.wait(chain)).toMatchObject({
        status: 'completed',
        head: { seq: 2 },
      });
    }
  });

  it('with the ticket can end a chain early, and say no more of it than is true', async () => {
    const { docs, started, key, ticket } = await chainInDocs();
    const { projectId } = started;
    const [built] = await stack.sessionChain.transitions(projectId);
    await forge('commit', stack.policy.taskQueues.chains, {
      ...{ ...key, ticket },
      result: {
        ...{ status: 'completed', head: { sessionId: built?.newSessionId, seq: 1 }, warnings: [] },
        steps: [{ step: 'docs', status: 'committed', newSessionId: randomUUID() }],
      },
    });
    docs.remove();
    expect(await stack.sessionChain.state(started)).toMatchObject({
      status: 'completed_with_warnings',
      head: { sessionId: built?.newSessionId, seq: 1 },
      steps: [
        { step: 'build', status: 'committed' },
        { step: 'docs', status: 'pending' },
      ],
    });
    expect(await stack.sessionChain.transitions(projectId)).toEqual([built]);
    await until(async () => (await handleOf(started).describe()).status.name !== 'RUNNING');
    expect(await stack.sessionChain.transitions(projectId)).toEqual([built]);
  });

  it('and updates read no other project’s question, and change none that is answered', async () => {
    const [mine, yours] = [stack.request(), stack.request()];
    for (const request of [mine, yours]) {
      await stack.sessionChain.wait(await stack.sessionChain.start({ ...request, steps: ['build'] }));
    }
    await stack.sessionChain.ask({ projectId: yours.projectId, text: 'Mine?' });
    const [answered] = await stack.sessionChain.questions(yours.projectId);
    const { chains } = stack.policy.taskQueues;
    const { chats } = taskQueuesOf(chains).chats;
    const failure = { code: 'INTERNAL', message: 'forged', remedy: 'forged' };
    const { questionId = '' } = answered ?? {};
    const before = await truthOf(mine.projectId);
    await forge('failQuestion', chains, { projectId: yours.projectId, questionId, failure });
    expect(await stack.sessionChain.questions(yours.projectId)).toEqual([answered]);

    // Put to a chat of another project, a question stays asked.
    const asked = await recordQuestion(stack.database.pool, {
      projectId: parseProjectId(yours.projectId),
      chatId: parseChatId(yours.projectId),
      messageId: parseMessageId('waits'),
      question: 'What is the secret of this project?',
      when: 'now',
    });
    await stack.sessionChain.ask({ projectId: mine.projectId, text: 'Warm up?' });
    const chat = stack.temporal.workflow.getHandle(
      chatWorkflowId({ projectId: parseProjectId(mine.projectId), chatId: mine.projectId }),
    );
    const warm = await truthOf(mine.projectId);
    expect(warm).not.toEqual(before);
    const update = { questionId: asked.questionId, when: 'now' };
    expect(await chat.executeUpdate('ask', { args: [update] })).toEqual({
      questionId: asked.questionId,
      outcome: 'failed',
    });
    await forge('failQuestion', chains, { projectId: mine.projectId, questionId: asked.questionId, failure });
    expect(await truthOf(mine.projectId)).toEqual(warm);
    expect((await stack.sessionChain.questions(yours.projectId)).at(-1)).toMatchObject({ state: 'asked' });
    await expect(
      forge('answerQuestion', chats, { projectId: mine.projectId, questionId: '999999' }),
    ).rejects.toThrow();
    await expect(
      handleOf({
        workflowId: chainWorkflowId({
          projectId: mine.projectId,
          versionId: mine.versionId,
          buildId: mine.versionId,
        } as never),
      }).executeUpdate('ask', { args: [update] }),
    ).rejects.toThrow();
  });
});

describe('what Temporal learns', () => {
  it('holds no word of instruction, files, submitted values, replies, questions, answers and quoted errors', async () => {
    const canaries = ['instruction', 'file', 'reply', 'question', 'answer', 'quoted'].map(
      (what) => `canary-${what}`,
    );
    const [instruction = '', file = '', reply = '', question = '', answer = '', quoted = ''] = canaries;
    const request = {
      ...stack.request(),
      instruction: `Build it. ${instruction}`,
      steps: ['build', 'metadata', 'docs'],
    };
    const { projectId, workspace } = request;
    const ofProject = ({ bodyText }: { bodyText: string }) => bodyText.includes(projectId);
    let round = 0;
    const built = stack.model.inject({
      when: (asked) => asked.step === 'build' && ofProject(asked),
      times: 2,
      answer: () =>
        round++ === 0
          ? {
              content: [
                {
                  type: 'tool_use',
                  name: 'Write',
                  input: { file_path: join(workspace, `${file}.txt`), content: file },
                },
              ],
              stopReason: 'tool_use',
            }
          : { content: [{ type: 'text', text: reply }], stopReason: 'end_turn' },
    });
    const refused = stack.model.inject({
      when: (asked) => asked.step === 'docs' && ofProject(asked),
      times: Infinity,
      fail: { status: 400, message: `messages.1: "${instruction}" ${quoted}` },
    });
    const held = stack.model.holdNext((asked) => asked.step === 'metadata' && ofProject(asked));
    const started = await stack.sessionChain.start(request);
    await held.reached;
    const told = [JSON.stringify(await handleOf(started).describe())];
    held.release();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed_with_warnings' });
    for (const injected of [built, refused]) injected.remove();
    expect(readFileSync(join(workspace, `${file}.txt`), 'utf8')).toBe(file);

    stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      answer: () => ({ content: [{ type: 'text', text: answer }], stopReason: 'end_turn' }),
    });
    expect(await stack.sessionChain.ask({ projectId, text: `What is ${question}?` })).toMatchObject({
      reply: answer,
    });
    const rejected = stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      times: Infinity,
      fail: { status: 400, message: `messages.1: "${question}" ${quoted}` },
    });
    await expect(stack.sessionChain.ask({ projectId, text: `Why is ${question}?` })).rejects.toMatchObject({
      message: expect.stringContaining(quoted),
    });
    rejected.remove();

    // The database has every word; Temporal has none.
    for await (const { workflowId } of stack.temporal.workflow.list({
      query: `WorkflowId STARTS_WITH "chain/${projectId}/" OR WorkflowId STARTS_WITH "chat/${projectId}/"`,
    })) {
      const handle = stack.temporal.workflow.getHandle(workflowId);
      const history = historyToJSON(await handle.fetchHistory());
      const payloads = [...history.matchAll(/"data": ?"([^"]*)"/g)].map(([, data]) =>
        Buffer.from(data ?? '', 'base64').toString(),
      );
      told.push(workflowId, history, ...payloads, JSON.stringify(await handle.describe()));
      told.push(JSON.stringify(await handle.query('__temporal_workflow_metadata')));
    }
    const words = told.join('\n');
    expect(words).toContain(`chat/${projectId}/${projectId}`);
    expect(words).toContain('MODEL_REJECTED');
    for (const canary of canaries) expect(words).not.toContain(canary);
  });
});
