import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WorkflowNotFoundError } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import type { FailureCode } from '../../contracts/failures.js';
import { parseProjectId } from '../../contracts/ids.js';
import type { ChatPolicy } from '../../contracts/question.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import type { ReplyChunk } from '../../client/watch.js';
import { readProjectEvents } from '../../storage/events/events.js';
import { recordQuestion } from '../../storage/questions/questions.js';
import { chatWorkflowId } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';

/** Questions to a project's session, from the client to the model and back, on real servers. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('chat', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker({ SESSION_CHAIN_MAX_CHATS: '4' });
});
afterAll(async () => {
  await stack.stop();
});

async function rows<Row extends object>(text: string, ...values: unknown[]): Promise<Row[]> {
  return (await stack.database.pool.query<Row>(text, values)).rows;
}

/** A project whose first version is built. */
async function builtProject(): Promise<{ projectId: string; versionId: string; workspace: string }> {
  const request = { ...stack.request(), steps: ['build' as const] };
  const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
  expect(result.status).toBe('completed');
  return request;
}

function withChats(chat: Partial<ChatPolicy>): SessionChain {
  const { temporal, policy, database } = stack;
  return createSessionChain({ pool: database.pool, temporal, policy, chat, searchAttributes: 'off' });
}

const chatRequests = () => stack.model.requests.filter(({ step }) => step === 'chat_plan');
const handleOf = (projectId: string, chatId = projectId) =>
  stack.temporal.workflow.getHandle(chatWorkflowId({ projectId: parseProjectId(projectId), chatId }));
const codeOf = async (asked: Promise<unknown>): Promise<FailureCode | 'none'> =>
  await asked.then(
    () => 'none',
    (error: { code: FailureCode }) => error.code,
  );

describe('a question', () => {
  let project: Awaited<ReturnType<typeof builtProject>>;
  let first: Awaited<ReturnType<SessionChain['ask']>>;
  const chunks: ReplyChunk[] = [];
  beforeAll(async () => {
    project = await builtProject();
    first = await stack.sessionChain.ask(
      { projectId: project.projectId, messageId: 'm-1', text: 'Which file holds the look of the page?' },
      { onChunk: (chunk) => chunks.push(chunk) },
    );
  });

  it('is answered from the session of the build, and its session is the head', async () => {
    const [build, chat] = (await stack.sessionChain.transitions(project.projectId)).reverse();
    expect(first).toMatchObject({
      reply: expect.stringContaining('style.css'),
      kind: 'transition',
      headSessionId: build?.newSessionId,
      repeated: false,
    });
    expect(chat).toMatchObject({
      source: 'chat_plan',
      oldSessionId: build?.newSessionId,
      parentSessionId: build?.newSessionId,
      newSessionId: first.sessionId,
      versionId: project.versionId,
    });
    expect(await stack.sessionChain.head(project.projectId)).toEqual({ sessionId: first.sessionId, seq: 2 });
    const [version] = await rows(
      'SELECT ai_session_id FROM project_versions WHERE version_id = $1',
      project.versionId,
    );
    expect(version).toEqual({ ai_session_id: first.sessionId });
  });

  it('is a row of the log and of the ledger, and its chat a row of its own', async () => {
    expect(await stack.sessionChain.questions(project.projectId)).toEqual([
      expect.objectContaining({
        chatId: project.projectId,
        messageId: 'm-1',
        question: 'Which file holds the look of the page?',
        reply: first.reply,
        state: 'answered',
        kind: 'transition',
        sessionId: first.sessionId,
      }),
    ]);
    const chats = await rows(
      'SELECT session_id FROM chat_plan_sessions WHERE project_id = $1',
      project.projectId,
    );
    expect(chats).toEqual([{ session_id: project.projectId }]);
    const [spent] = await rows<{ cost_usd: number }>(
      `SELECT outcome, cost_usd FROM project_ai_session_metrics WHERE project_id = $1 AND step = 'chat_plan'`,
      project.projectId,
    );
    expect(spent).toMatchObject({ outcome: 'committed' });
    expect(spent?.cost_usd).toBeGreaterThan(0);
  });

  it('is told as events, without its words', async () => {
    const projectId = parseProjectId(project.projectId);
    const { events } = await readProjectEvents(stack.database.pool, { projectId }, 0, 100);
    const { questionId } = first;
    const told = events.filter(({ chainId }) => chainId === null);
    expect(told.map(({ type, data }) => [type, data])).toEqual([
      [
        'question.asked',
        { chatId: projectId, messageId: 'm-1', questionId, when: 'now', aside: false, again: false },
      ],
      ['question.started', expect.objectContaining({ questionId, attempt: 1, sessionId: first.sessionId })],
      ['head.moved', expect.objectContaining({ newSessionId: first.sessionId, source: 'chat_plan' })],
      [
        'question.answered',
        { chatId: projectId, messageId: 'm-1', questionId, kind: 'transition', sessionId: first.sessionId },
      ],
    ]);
    expect(JSON.stringify(events)).not.toMatch(/look of the page|style\.css/);
  });

  it('keeps its words out of the history', async () => {
    const history = historyToJSON(await handleOf(project.projectId).fetchHistory());
    const payloads = [...history.matchAll(/"data": ?"([^"]*)"/g)].map(([, data]) =>
      Buffer.from(data ?? '', 'base64').toString(),
    );
    expect(payloads.join('\n')).toContain(`"questionId":"${first.questionId}"`);
    expect(payloads.filter((payload) => /look of the page|style\.css/.test(payload))).toEqual([]);
  });

  it('streams its reply while it is being written', () => {
    expect(chunks.length).toBeGreaterThan(0);
    const last = chunks.at(-1)?.message;
    const streamed = chunks.filter(({ message }) => message === last).map(({ text }) => text);
    expect(streamed.join('')).toBe(first.reply);
  });

  it('that is asked again returns the first reply and pays nothing', async () => {
    const paid = stack.model.requests.length;
    const request = {
      projectId: project.projectId,
      messageId: 'm-1',
      text: 'Which file holds the look of the page?',
    };
    expect(await stack.sessionChain.ask(request)).toEqual({ ...first, repeated: true });
    expect(stack.model.requests).toHaveLength(paid);
    expect(await codeOf(stack.sessionChain.ask({ ...request, text: 'Which file is the largest?' }))).toBe(
      'MESSAGE_ID_REUSED',
    );
    expect(stack.model.requests).toHaveLength(paid);
  });

  it('after another one is put to a model that has seen the build and the first question', async () => {
    const second = await stack.sessionChain.ask({ projectId: project.projectId, text: 'And the behaviour?' });
    expect(second).toMatchObject({ kind: 'transition', headSessionId: first.sessionId });
    const asked = chatRequests().at(-1);
    expect(asked?.bodyText).toContain('Which file holds the look of the page?');
    expect(asked?.bodyText).toContain('I build Pocket Tasks as three static files');
    expect(asked?.bodyText).toContain('And the behaviour?');
  });

  it('repeats all that was asked before, so that the prompt cache is read', () => {
    const asked = chatRequests().filter(({ bodyText }) => bodyText.includes('Which file holds the look'));
    const build = stack.model.requests.find(({ step }) => step === 'build');
    const last = stack.model.requests.findLast(
      ({ step, bodyText }) => step === 'build' && !bodyText.includes('Chat: a question'),
    );
    expect(build).toBeDefined();
    expect([last, ...asked].length).toBeGreaterThanOrEqual(3);
    const pairs = asked.map((later, index) => [index === 0 ? last : asked[index - 1], later] as const);
    expect(pairs.map(([earlier, later]) => earlier && repeatedPart(earlier, later))).toEqual(
      pairs.map(() => 1),
    );
  });

  it('is remembered by the next build, which goes on from it', async () => {
    const head = await stack.sessionChain.head(project.projectId);
    const next = { ...stack.request(project.projectId), steps: ['build' as const] };
    const update = await stack.sessionChain.wait(await stack.sessionChain.start(next));
    expect(update).toMatchObject({ status: 'completed', mode: 'update', baseSessionId: head.sessionId });
    const build = stack.model.requests.findLast(({ step }) => step === 'build');
    expect(build?.bodyText).toContain('Which file holds the look of the page?');
  });
});

describe('a question that cannot be asked', () => {
  it.each([
    ['an empty message', { text: ' \n' }],
    ['a huge message', { text: 'x'.repeat(32_001) }],
    ['a malformed message id', { text: 'Why?', messageId: 'a b' }],
    ['a malformed chat id', { text: 'Why?', chatId: '../x' }],
    ['an unknown moment', { text: 'Why?', when: 'tomorrow' as never }],
    ['a relative workspace', { text: 'Why?', workspace: 'here' }],
  ])('for %s is INVALID_INPUT, and nothing is stored', async (_what, request) => {
    const projectId = `nothing-${Math.abs(JSON.stringify(request).length)}`;
    await rows('INSERT INTO projects (project_id) VALUES ($1) ON CONFLICT DO NOTHING', projectId);
    expect(await codeOf(stack.sessionChain.ask({ projectId, ...request }))).toBe('INVALID_INPUT');
    expect(await rows('SELECT FROM chat_plan_sessions WHERE project_id = $1', projectId)).toEqual([]);
  });

  it('for an unknown project is PROJECT_NOT_FOUND before anything is started', async () => {
    expect(await codeOf(stack.sessionChain.ask({ projectId: 'nobody', text: 'Why?' }))).toBe(
      'PROJECT_NOT_FOUND',
    );
    await expect(handleOf('nobody').describe()).rejects.toThrow(WorkflowNotFoundError);
    expect(await rows(`SELECT FROM chat_plan_sessions WHERE project_id = 'nobody'`)).toEqual([]);
    expect(await codeOf(stack.sessionChain.questions('nobody'))).toBe('PROJECT_NOT_FOUND');
  });

  it('in a chat of another project is INVALID_INPUT', async () => {
    const [mine, other] = [await builtProject(), await builtProject()];
    await stack.sessionChain.ask({ projectId: mine.projectId, chatId: 'shared-1', text: 'Why?' });
    const asked = stack.sessionChain.ask({ projectId: other.projectId, chatId: 'shared-1', text: 'Why?' });
    expect(await codeOf(asked)).toBe('INVALID_INPUT');
    expect(await codeOf(stack.sessionChain.questions(other.projectId, { chatId: 'shared-1' }))).toBe(
      'CHAT_NOT_FOUND',
    );
  });

  it('for a project whose files nobody named fails with what to do, and may be asked again with them', async () => {
    const { projectId, workspace } = stack.request();
    await rows('INSERT INTO projects (project_id) VALUES ($1)', projectId);
    const request = { projectId, messageId: 'm-1', text: 'What is this?' };
    await expect(stack.sessionChain.ask(request)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      remedy: expect.stringContaining('workspace'),
    });
    expect(await stack.sessionChain.questions(projectId)).toMatchObject([
      { state: 'failed', failure: { code: 'INVALID_INPUT' } },
    ]);
    expect(await stack.sessionChain.ask({ ...request, workspace })).toMatchObject({
      kind: 'transition',
      headSessionId: null,
      repeated: false,
    });
    expect(await stack.sessionChain.head(projectId)).toMatchObject({ seq: 1 });
  });
});

describe('a project whose head is not in the store', () => {
  it('answers SESSION_NOT_IN_STORE before the model is asked, and the head stays', async () => {
    const { projectId, workspace } = stack.request();
    await rows(`INSERT INTO projects (project_id, last_ai_session_id) VALUES ($1, 'elsewhere')`, projectId);
    const requests = stack.model.requests.length;
    const asked = stack.sessionChain.ask({ projectId, workspace, text: 'What was built?' });
    expect(await codeOf(asked)).toBe('SESSION_NOT_IN_STORE');
    expect(stack.model.requests).toHaveLength(requests);
    expect(await stack.sessionChain.head(projectId)).toMatchObject({ sessionId: 'elsewhere' });
  });
});

describe('a chat', () => {
  it('takes eight questions at a time, answers them in order, and refuses the ninth as CHAT_BUSY', async () => {
    const { projectId } = await builtProject();
    const held = stack.model.holdNext(({ step }) => step === 'chat_plan');
    const questions = Array.from({ length: 8 }, (_, index) => `Question ${index + 1}?`);
    const asked = [stack.sessionChain.ask({ projectId, messageId: 'm-0', text: questions[0] ?? '' })];
    await held.reached;
    for (const [index, text] of questions.slice(1).entries()) {
      asked.push(stack.sessionChain.ask({ projectId, messageId: `m-${index + 1}`, text }));
    }
    // The update `ask` of every one has reached the workflow.
    await until(async () => (await acceptedUpdates(projectId)) === 8);
    const ninth = { projectId, messageId: 'm-9', text: 'Question 9?' };
    await expect(stack.sessionChain.ask(ninth)).rejects.toMatchObject({
      code: 'CHAT_BUSY',
      message: expect.stringContaining('8'),
    });
    // One that waits already may be asked for again.
    const again = stack.sessionChain.ask({ projectId, messageId: 'm-3', text: 'Question 4?' });
    held.release();
    const replies = await Promise.all(asked);
    expect((await again).reply).toBe(replies[3]?.reply);
    expect(replies.map(({ reply }) => /Question \d/.exec(reply)?.[0])).toEqual(
      questions.map((question) => question.replace('?', '')),
    );
    expect(replies.map(({ kind }) => kind)).toEqual(questions.map(() => 'transition'));
    expect(await stack.sessionChain.ask(ninth)).toMatchObject({ kind: 'transition', repeated: false });
    expect(await stack.sessionChain.head(projectId)).toMatchObject({ seq: 10 });
  });

  it('is refused a question where those of all chats of its project are too many, and none of it is left', async () => {
    const { projectId } = await builtProject();
    const { pool } = stack.database;
    const asked = async (n: number) =>
      await recordQuestion(pool, {
        ...{ projectId: parseProjectId(projectId), chatId: `${projectId}-${n}`, messageId: 'm' },
        ...{ question: 'Why?', when: 'now', maxOpen: 20 },
      });
    const outcomes = await Promise.allSettled(Array.from({ length: 60 }, async (_, n) => asked(n)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
    const one = withChats({ maxPendingOfProject: 20 });
    const busy = { code: 'CHAT_BUSY', message: expect.stringContaining('20 questions of the project') };
    await expect(one.ask({ projectId, text: 'Me, too?' })).rejects.toMatchObject(busy);
    expect(await rows('SELECT FROM chat_plan_sessions WHERE project_id = $1', projectId)).toHaveLength(20);
    // One that is known already is not refused, and one that is answered makes room.
    const chatId = `${projectId}-${outcomes.findIndex(({ status }) => status === 'fulfilled')}`;
    expect(await one.ask({ projectId, chatId, messageId: 'm', text: 'Why?' })).toMatchObject({
      repeated: false,
    });
    expect(await one.ask({ projectId, text: 'Me, too?' })).toMatchObject({ repeated: false });
  });

  it('continues as new without losing or doubling a question', async () => {
    const { projectId } = await builtProject();
    const sessionChain = withChats({ maxQuestionsPerRun: 1 });
    const requests = chatRequests().length;
    const questions = ['One?', 'Two?', 'Three?', 'Four?', 'Five?'];
    const askAll = () =>
      Promise.all(
        questions.map((text, index) => sessionChain.ask({ projectId, messageId: `m-${index}`, text })),
      );
    // Everyone is asked twice at once, and whoever waits is handed from run to run.
    const [replies, same] = await Promise.all([askAll(), askAll()]);
    expect(replies.map(({ kind }) => kind)).toEqual(questions.map(() => 'transition'));
    expect(same.map(({ reply }) => reply)).toEqual(replies.map(({ reply }) => reply));
    expect(chatRequests()).toHaveLength(requests + questions.length);
    const { runId, raw } = await handleOf(projectId).describe();
    expect(raw.workflowExecutionInfo?.firstRunId).not.toBe(runId);
    // A repeated one costs nothing in a later run either.
    expect(await askAll()).toEqual(replies.map((reply) => ({ ...reply, repeated: true })));
    expect(chatRequests()).toHaveLength(requests + questions.length);
    expect(await stack.sessionChain.head(projectId)).toMatchObject({ seq: 1 + questions.length });
  });

  it('beside another one on the same head: one moves it, the other stays a side branch and goes on from there', async () => {
    const { projectId } = await builtProject();
    const { sessionId: base } = await stack.sessionChain.head(projectId);
    const held = stack.model.inject({ when: ({ step }) => step === 'chat_plan', hold: 'before', times: 2 });
    const asked = ['left', 'right'].map((chatId) =>
      stack.sessionChain.ask({ projectId, chatId, text: `I am ${chatId}, who are you?` }),
    );
    await until(() => held.hits.length === 2);
    held.release();
    const replies = await Promise.all(asked);
    expect(replies.map(({ kind }) => kind).sort()).toEqual(['side_branch', 'transition']);
    expect(replies.map(({ headSessionId }) => headSessionId)).toEqual([base, base]);
    const [moved, beside] = ['transition', 'side_branch'].map((kind) =>
      replies.find((one) => one.kind === kind),
    );
    expect(await stack.sessionChain.head(projectId)).toEqual({ sessionId: moved?.sessionId, seq: 2 });
    const next = await stack.sessionChain.ask({ projectId, chatId: beside?.chatId ?? '', text: 'And now?' });
    expect(next).toMatchObject({ kind: 'transition', headSessionId: moved?.sessionId });
    expect(chatRequests().at(-1)?.bodyText).toContain('Said earlier in this chat');
  });

  it('aside is answered from the head, which stays; the chat goes on from it, and its message id is its own', async () => {
    const { projectId } = await builtProject();
    const head = await stack.sessionChain.head(projectId);
    const aside = { projectId, messageId: 'aside', text: 'Between us: is it any good?', aside: true };
    const first = await stack.sessionChain.ask(aside);
    expect(first).toMatchObject({ kind: 'side_branch', headSessionId: head.sessionId });
    const second = await stack.sessionChain.ask({ projectId, text: 'Really?', aside: true });
    expect(second.kind).toBe('side_branch');
    // It goes on from the first one's session, which holds what was said.
    expect(chatRequests().at(-1)?.bodyText).toContain(first.reply.slice(0, 40));
    expect(chatRequests().at(-1)?.bodyText).not.toContain('Said earlier in this chat');
    expect(await stack.sessionChain.head(projectId)).toEqual(head);
    // A signal ends the wait though it comes before Temporal is asked; the question stays.
    const signal = AbortSignal.abort(new Error('no time'));
    const unheard = { projectId, messageId: 'unheard', text: 'Anybody?', aside: true };
    await expect(stack.sessionChain.ask(unheard, { signal })).rejects.toThrow('no time');
    expect((await stack.sessionChain.questions(projectId)).at(-1)).toMatchObject({
      messageId: 'unheard',
      state: 'asked',
    });
    await stack.sessionChain.ask(unheard);
    const requests = chatRequests().length;
    expect(await stack.sessionChain.ask(aside)).toEqual({ ...first, repeated: true });
    for (const other of [{ aside: false }, { aside: undefined }, { text: 'Between you and me?' }]) {
      expect(await codeOf(stack.sessionChain.ask({ ...aside, ...other } as never))).toBe('MESSAGE_ID_REUSED');
    }
    expect(chatRequests()).toHaveLength(requests);
    expect((await stack.sessionChain.questions(projectId)).map((one) => one.aside)).toEqual([
      true,
      true,
      true,
    ]);
    // A question that is not aside may move the head, and its session holds what was said aside.
    expect(await stack.sessionChain.ask({ projectId, text: 'And in public?' })).toMatchObject({
      kind: 'transition',
      headSessionId: head.sessionId,
    });
  });

  it('ends when nobody asks, and wakes up with the next question', async () => {
    const { projectId } = await builtProject();
    const sessionChain = withChats({ idleMs: 200 });
    const first = await sessionChain.ask({ projectId, text: 'Anybody there?' });
    await until(async () => (await handleOf(projectId).describe()).status.name === 'COMPLETED');
    const second = await sessionChain.ask({ projectId, text: 'And now?' });
    expect(second).toMatchObject({ kind: 'transition', headSessionId: first.sessionId });
  });
});

async function acceptedUpdates(projectId: string): Promise<number> {
  const { events } = await handleOf(projectId).fetchHistory();
  return (events ?? []).filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes).length;
}
