import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { AskRequest } from '../../client/chats.js';
import { parseProjectId } from '../../contracts/ids.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import { chatWorkflowId } from '../../temporal/names.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf } from '../support/project-facts.js';

/** Questions whose worker, workflow or model fails half-way: the reply comes, and no turn of the model is paid twice. */

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('chat-faults', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterEach(async () => {
  if (worker.process.exitCode === null && worker.process.signalCode === null) return;
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

/** A project with a file and without a session: a question begins its first. */
async function newProject(): Promise<string> {
  const { projectId, workspace } = stack.request();
  await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
  writeFileSync(join(workspace, 'index.html'), '<h1>Boats</h1>');
  return projectId;
}

const ask = async (request: AskRequest) =>
  await stack.sessionChain.ask({ ...request, workspace: join(stack.root, request.projectId) });

/** The chat requests for a project that were answered to the end: what was paid. */
async function paid(projectId: string): Promise<string[]> {
  const sessions = (await attemptsOf(stack, projectId)).map(({ sessionId }) => sessionId as string);
  const requests = stack.model.requests.filter(
    ({ step, sessionId }) => step === 'chat_plan' && sessionId !== undefined && sessions.includes(sessionId),
  );
  return answered(requests).map(({ response }) => response?.toolCalls[0]?.name ?? 'reply');
}

async function chatAttempts(projectId: string) {
  return (await attemptsOf(stack, projectId)).filter(({ step }) => step === 'chat_plan');
}

const nthChatRequest = (number: number) => {
  let seen = 0;
  return ({ step }: { step?: string | undefined }) => step === 'chat_plan' && (seen += 1) === number;
};

/** What the transcript holds once the result of the last tool call is stored with which a request was made. */
function resultIn({ bodyText }: OfflineRequest): string {
  return bodyText.match(/"tool_use_id":"toolu_\w+"/g)?.at(-1) ?? '';
}

/** Waits until a chat's session holds a text beyond what it copied from its parent. */
async function untilStored(projectId: string, text: string): Promise<void> {
  await until(async () => {
    const { rows } = await stack.database.pool.query(
      `SELECT FROM session_chain.attempts a
       JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
       JOIN session_chain.transcript_batches b ON b.session = s.id AND b.ordinal > 1
       JOIN session_chain.transcript_texts t ON t.id = ANY (b.entry_ids)
       WHERE a.project_id = $1 AND a.step = 'chat_plan' AND position($2 IN t.content) > 0`,
      [projectId, text],
    );
    return rows.length > 0;
  });
}

/** Holds a question where its reply is stored and nothing is committed yet; returns what lets it go on. */
async function holdCommit(projectId: string, question: string) {
  const held = stack.model.holdNext(({ step }) => step === 'chat_plan');
  const asked = ask({ projectId, messageId: 'm-1', text: question });
  await held.reached;
  const client = await stack.database.pool.connect();
  await client.query('BEGIN');
  await client.query('SELECT FROM projects WHERE project_id = $1 FOR UPDATE', [projectId]);
  held.release();
  await untilStored(projectId, 'You asked:');
  return {
    asked,
    release: async () => {
      // A commit that the dead worker had sent already would still be carried out.
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'session-chain worker'`,
      );
      await client.query('ROLLBACK');
      client.release();
    },
  };
}

describe('a question whose worker is killed', () => {
  it('in mid-answer goes on from what is stored', async () => {
    const projectId = await newProject();
    const held = stack.model.holdNext(nthChatRequest(2));
    const asked = ask({ projectId, text: 'What is in index.html?' });
    await untilStored(projectId, resultIn(await held.reached));
    await worker.kill('SIGKILL');
    worker = await stack.startWorker();
    held.remove();
    expect(await asked).toMatchObject({
      kind: 'transition',
      reply: expect.stringContaining('index.html has'),
    });
    expect(await paid(projectId)).toEqual(['Read', 'reply']);
    expect(await chatAttempts(projectId)).toMatchObject([
      { state: 'failed', outcome: 'interrupted', turns: 1 },
      { state: 'committed', outcome: 'committed', turns: 1 },
    ]);
  });

  it('before the commit adopts the stored reply without asking the model', async () => {
    const projectId = await newProject();
    const { asked, release } = await holdCommit(projectId, 'What is this?');
    await worker.kill('SIGKILL');
    await release();
    worker = await stack.startWorker();
    const reply = await asked;
    expect(await paid(projectId)).toEqual(['reply']);
    const [first, second] = await chatAttempts(projectId);
    expect(second).toMatchObject({ state: 'committed', outcome: 'adopted', adopts: first?.sessionId });
    expect(reply).toMatchObject({
      kind: 'transition',
      sessionId: first?.sessionId,
      reply: expect.stringContaining('You asked: “What is this?”'),
    });
  });

  it('and whose head went on meanwhile is a side branch, and not paid again', async () => {
    const projectId = await newProject();
    const { sessionId: base } = await stack.sessionChain.head(projectId);
    const { asked, release } = await holdCommit(projectId, 'What is this?');
    await worker.kill('SIGKILL');
    await release();
    await stack.sessionChain.recordSession({
      projectId,
      sessionId: `made-elsewhere-${projectId}`,
      source: 'build',
      notInStore: true,
    });
    worker = await stack.startWorker();
    expect(await asked).toMatchObject({ kind: 'side_branch', headSessionId: base });
    expect(await paid(projectId)).toEqual(['reply']);
    expect(await stack.sessionChain.head(projectId)).toMatchObject({
      sessionId: `made-elsewhere-${projectId}`,
    });
  });
});

describe('questions', () => {
  it('under way when the worker stops are answered by the next one', async () => {
    const projectId = await newProject();
    const held = stack.model.holdNext(nthChatRequest(2));
    const asked = ['What is in index.html?', 'And in style.css?'].map((text) => ask({ projectId, text }));
    await untilStored(projectId, resultIn(await held.reached));
    await worker.kill('SIGTERM');
    held.remove();
    expect(worker.process.exitCode).toBe(0);
    // One that is asked while no worker runs waits, too.
    asked.push(ask({ projectId, text: 'And in app.js?' }));
    worker = await stack.startWorker();
    const replies = await Promise.all(asked);
    expect(replies.map(({ kind }) => kind)).toEqual(['transition', 'transition', 'transition']);
    expect(await paid(projectId)).toEqual(['Read', 'reply', 'Read', 'reply', 'Read', 'reply']);
  });

  it('of a chat whose workflow was terminated are asked anew by whoever waits', async () => {
    const projectId = await newProject();
    const held = stack.model.holdNext(nthChatRequest(2));
    const asked = ask({ projectId, text: 'What is in index.html?' });
    await untilStored(projectId, resultIn(await held.reached));
    const chat = { projectId: parseProjectId(projectId), chatId: projectId };
    await stack.temporal.workflow.getHandle(chatWorkflowId(chat)).terminate('as a test');
    held.remove();
    expect(await asked).toMatchObject({ kind: 'transition' });
    expect(await paid(projectId)).toEqual(['Read', 'reply']);
  });

  it('of a chat that is cancelled fail with CANCELLED, and may be asked again', async () => {
    const projectId = await newProject();
    const held = stack.model.holdNext(({ step }) => step === 'chat_plan');
    const asked = ['One?', 'Two?'].map((text, index) => ask({ projectId, messageId: `m-${index}`, text }));
    await held.reached;
    const handle = stack.temporal.workflow.getHandle(
      chatWorkflowId({ projectId: parseProjectId(projectId), chatId: projectId }),
    );
    // A chat that is over would take the other one anew.
    await until(async () => {
      const { events } = await handle.fetchHistory();
      return events?.filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes).length === 2;
    });
    await handle.cancel();
    const ends = await Promise.allSettled(asked);
    expect(ends).toMatchObject([{ reason: { code: 'CANCELLED' } }, { reason: { code: 'CANCELLED' } }]);
    await until(async () => (await handle.describe()).status.name === 'CANCELLED');
    held.remove();
    expect(await ask({ projectId, messageId: 'm-0', text: 'One?' })).toMatchObject({
      kind: 'transition',
    });
  });
});

describe('a model', () => {
  it('that is overloaded is asked again', async () => {
    const projectId = await newProject();
    const injected = stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      times: 5,
      fail: { status: 529 },
    });
    expect(await ask({ projectId, text: 'Are you there?' })).toMatchObject({
      kind: 'transition',
    });
    expect(injected.hits).toHaveLength(5);
  });

  it('that rejects the request fails the question with its code; the same message may be asked again', async () => {
    const projectId = await newProject();
    const request = { projectId, messageId: 'm-1', text: 'Are you there?' };
    const injected = stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      times: Infinity,
      fail: { status: 400 },
    });
    await expect(ask(request)).rejects.toMatchObject({ code: 'MODEL_REJECTED' });
    injected.remove();
    expect(await stack.sessionChain.questions(projectId)).toMatchObject([
      { state: 'failed', reply: null, failure: { code: 'MODEL_REJECTED', remedy: expect.any(String) } },
    ]);
    expect(await ask(request)).toMatchObject({ kind: 'transition', repeated: false });
  });
});
