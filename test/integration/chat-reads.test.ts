import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AskRequest } from '../../client/chats.js';
import { chainKey } from '../../client/session-chain.js';
import { parseProjectId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { listSideBranches } from '../../storage/questions/questions.js';
import { chainWorkflowId, chatWorkflowId } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';

/** Questions while a chain works: which session they read, what becomes of their answers, who answers whom by signal. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('chat-reads', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

/** A project whose first version is built, with a second chain that is held in its first model request. */
async function busyProject(steps: StepName[] = ['build']) {
  const first = { ...stack.request(), steps: ['build' as const] };
  await stack.sessionChain.wait(await stack.sessionChain.start(first));
  const { projectId } = first;
  const { sessionId: base } = await stack.sessionChain.head(projectId);
  // Not one of an agent that outlives the chain of another test.
  const held = stack.model.holdNext(
    ({ step, bodyText }) => step === steps[0] && bodyText.includes(projectId),
  );
  const chain = await stack.sessionChain.start({ ...stack.request(projectId), steps });
  await held.reached;
  return {
    projectId,
    base,
    chain,
    held,
    ask: async (text: string, more: Partial<AskRequest> = {}) =>
      await stack.sessionChain.ask({ projectId, text, ...more }),
  };
}

const chatHandle = (projectId: string) =>
  stack.temporal.workflow.getHandle(
    chatWorkflowId({ projectId: parseProjectId(projectId), chatId: projectId }),
  );
const sourcesOf = async (projectId: string) =>
  (await stack.sessionChain.transitions(projectId)).map(({ source }) => source).reverse();
const lastChatRequest = () =>
  stack.model.requests.findLast(({ step }) => step === 'chat_plan')?.bodyText ?? '';

/** The names of the signals that a workflow has received so far. */
async function signalsOf(handle: ReturnType<typeof chatHandle>): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(
    ({ workflowExecutionSignaledEventAttributes: signal }) => signal?.signalName ?? [],
  );
}

describe('a question of now', () => {
  it('reads the committed head, stays a side branch, and leaves the head to the chain', async () => {
    const { projectId, base, chain, held, ask } = await busyProject();
    const first = await ask('Which version is this?');
    expect(first).toMatchObject({ kind: 'side_branch', headSessionId: base });
    expect(await stack.sessionChain.head(projectId)).toEqual({ sessionId: base, seq: 1 });
    expect(await signalsOf(stack.temporal.workflow.getHandle(chain.workflowId))).toContain('requestSession');
    // One that is late is not waited for.
    await until(async () => (await signalsOf(chatHandle(projectId))).includes('sessionAnswer'));

    // The next one goes on from it, for its head is still the project's.
    const second = await ask('And what comes next?');
    expect(second).toMatchObject({ kind: 'side_branch', headSessionId: base });
    expect(lastChatRequest()).toContain('Which version is this?');
    expect(lastChatRequest()).not.toContain('Said earlier in this chat');
    const { rows } = await stack.database.pool.query<{ parent: string }>(
      'SELECT parent_session_id AS parent FROM session_chain.sessions WHERE session_id = $1',
      [second.sessionId],
    );
    expect(rows).toEqual([{ parent: first.sessionId }]);

    expect(await listSideBranches(stack.database.pool, parseProjectId(projectId))).toMatchObject([
      { question: 'Which version is this?', reply: first.reply, sessionId: first.sessionId },
      { question: 'And what comes next?', reply: second.reply },
    ]);
    held.release();
    expect(await stack.sessionChain.wait(chain)).toMatchObject({ status: 'completed', baseSessionId: base });
    expect(await sourcesOf(projectId)).toEqual(['build', 'build']);

    // The head has moved: the third reads it, and is told what was said beside it.
    const third = await ask('Do you remember my questions?');
    const [update] = await stack.sessionChain
      .transitions(projectId, { limit: 2 })
      .then((list) => list.slice(1));
    expect(third).toMatchObject({ kind: 'transition', headSessionId: update?.newSessionId });
    expect(lastChatRequest()).toContain('Said earlier in this chat');
    expect(lastChatRequest()).toContain('Which version is this?');
    expect(lastChatRequest()).toContain('And what comes next?');
    expect(await sourcesOf(projectId)).toEqual(['build', 'build', 'chat_plan']);

    // Whoever moved the head was told of both: no build needs to be told again.
    expect(await listSideBranches(stack.database.pool, parseProjectId(projectId))).toEqual([]);
  });

  it('is accounted for like any other, side branch or not', async () => {
    const { projectId, chain, held, ask } = await busyProject();
    await ask('What does it cost?');
    held.release();
    await stack.sessionChain.wait(chain);
    const { rows } = await stack.database.pool.query<{ step: string; outcome: string; cost: number }>(
      `SELECT step, outcome, cost_usd AS cost FROM project_ai_session_metrics WHERE project_id = $1 ORDER BY id`,
      [projectId],
    );
    expect(rows.map(({ step, outcome }) => [step, outcome])).toEqual([
      ['build', 'committed'],
      ['chat_plan', 'committed'],
      ['build', 'committed'],
    ]);
    const { costUsd } = await stack.sessionChain.spend(projectId);
    expect(costUsd).toBeCloseTo(
      rows.reduce((sum, { cost }) => sum + cost, 0),
      9,
    );
  });

  it('is a side branch, too, when the head moves while it is being answered', async () => {
    const first = { ...stack.request(), steps: ['build' as const] };
    await stack.sessionChain.wait(await stack.sessionChain.start(first));
    const { projectId } = first;
    const { sessionId: base } = await stack.sessionChain.head(projectId);
    const held = stack.model.holdNext(({ step }) => step === 'chat_plan');
    const asked = stack.sessionChain.ask({ projectId, text: 'What is here?' });
    await held.reached;
    const next = { ...stack.request(projectId), steps: ['build' as const] };
    const built = await stack.sessionChain.wait(await stack.sessionChain.start(next));
    held.release();
    expect(await asked).toMatchObject({ kind: 'side_branch', headSessionId: base });
    expect(await stack.sessionChain.head(projectId)).toEqual(built.head);
  });
});

describe('a question of after_step', () => {
  it('reads the session on which the running step ends, while the chain goes on', async () => {
    const { projectId, base, chain, held, ask } = await busyProject(['build', 'docs']);
    const docs = stack.model.holdNext(({ step }) => step === 'docs');
    const asked = ask('What did the step do?', { when: 'after_step' });
    await until(async () =>
      (await signalsOf(stack.temporal.workflow.getHandle(chain.workflowId))).includes('requestSession'),
    );
    held.release();
    await docs.reached;
    const reply = await asked;
    const head = await stack.sessionChain.head(projectId);
    expect(reply).toMatchObject({ kind: 'side_branch', headSessionId: head.sessionId });
    expect(head).toMatchObject({ seq: 2 });
    expect(head.sessionId).not.toBe(base);
    docs.release();
    expect(await stack.sessionChain.wait(chain)).toMatchObject({ status: 'completed' });
  });
});

describe('a question of committed', () => {
  it('reads the final head of the chain, and does not hold up a question of now', async () => {
    const { projectId, chain, held, ask } = await busyProject(['build', 'docs']);
    const asked = ask('What is the result?', { when: 'committed' });
    await until(async () =>
      (await signalsOf(stack.temporal.workflow.getHandle(chain.workflowId))).includes('requestSession'),
    );
    expect(await ask('And meanwhile?')).toMatchObject({ kind: 'side_branch' });
    held.release();
    const result = await stack.sessionChain.wait(chain);
    expect(await asked).toMatchObject({ kind: 'transition', headSessionId: result.head.sessionId });
    expect(await sourcesOf(projectId)).toEqual(['build', 'build', 'docs', 'chat_plan']);
  });

  it('is answered when the chain is cancelled', async () => {
    const { base, chain, held, ask } = await busyProject();
    const asked = ask('What is left?', { when: 'committed' });
    await until(async () =>
      (await signalsOf(stack.temporal.workflow.getHandle(chain.workflowId))).includes('requestSession'),
    );
    await stack.sessionChain.cancel(chain);
    expect(await asked).toMatchObject({ kind: 'transition', headSessionId: base });
    held.remove();
  });
});

describe('signals', () => {
  const malformed: unknown[] = [
    undefined,
    null,
    7,
    'now',
    [],
    {},
    { requestId: 1, chatWorkflowId: 'chat/x/y', when: 'now' },
    { requestId: 'r', chatWorkflowId: 'chat/another-project/x', when: 'now' },
    { requestId: 'r'.repeat(5_000), chatWorkflowId: 'chat/x/y', when: 'now' },
    { requestId: 'r', chatWorkflowId: 'chat/x/y', when: 'never' },
    { requestId: 'r', sessionId: { nested: true } },
  ];

  /** As somebody sends it who speaks another encoding, or none. */
  async function sendRaw(
    workflowId: string,
    signalName: string,
    encoding: string,
    data: string,
  ): Promise<void> {
    await stack.temporal.workflowService.signalWorkflowExecution({
      namespace: stack.temporal.options.namespace,
      workflowExecution: { workflowId },
      signalName,
      input: { payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data: Buffer.from(data) }] },
    });
  }

  it('that are malformed, foreign, unknown or repeated disturb neither the chain nor the chat', async () => {
    const { projectId, base, chain, held, ask } = await busyProject();
    const chainHandle = stack.temporal.workflow.getHandle(chain.workflowId);
    await ask('First?');
    const chat = chatHandle(projectId);
    for (const payload of malformed) {
      await chainHandle.signal('requestSession', payload);
      await chat.signal('sessionAnswer', payload);
    }
    for (const [workflowId, name] of [
      [chain.workflowId, 'requestSession'],
      [chat.workflowId, 'sessionAnswer'],
    ] as const) {
      await sendRaw(workflowId, name, 'binary/of-somebody-else', 'x');
      await sendRaw(workflowId, name, 'json/plain', '{ not json');
      await sendRaw(workflowId, 'neverHeardOf', 'json/plain', '1');
    }
    // A chat that does not exist, and a second answer to a question that was answered.
    const request = { chatWorkflowId: `chat/${projectId}/nobody`, requestId: '1', when: 'now' };
    await chainHandle.signal('requestSession', request);
    await chat.signal('sessionAnswer', { requestId: '1', sessionId: 'elsewhere' });
    await chat.signal('sessionAnswer', { requestId: '1', sessionId: 'elsewhere' });

    expect(await ask('Second?')).toMatchObject({ kind: 'side_branch', headSessionId: base });
    held.release();
    expect(await stack.sessionChain.wait(chain)).toMatchObject({ status: 'completed' });
    expect(await ask('Third?')).toMatchObject({ kind: 'transition' });
    expect((await chat.describe()).status.name).toBe('RUNNING');
  });

  it('to a chain whose workflow is gone are caught; the database says what to read', async () => {
    const { base, chain, held, ask } = await busyProject();
    await stack.temporal.workflow.getHandle(chainWorkflowId(chainKey(chain))).terminate('as a test');
    expect(await ask('Is anybody there?')).toMatchObject({ kind: 'side_branch', headSessionId: base });
    held.remove();
  });

  it('of an update without a question are refused, and start nothing', async () => {
    const { projectId, held, ask, chain } = await busyProject();
    await ask('First?');
    const requests = stack.model.requests.length;
    for (const argument of malformed) {
      await expect(chatHandle(projectId).executeUpdate('ask', { args: [argument] })).rejects.toMatchObject({
        cause: { type: 'INVALID_INPUT' },
      });
    }
    // A question that is not stored fails, and the chat goes on.
    const unknown = chatHandle(projectId).executeUpdate('ask', {
      args: [{ questionId: '999999', when: 'now' }],
    });
    expect(await unknown).toEqual({ questionId: '999999', outcome: 'failed' });
    expect(stack.model.requests).toHaveLength(requests);
    held.release();
    await stack.sessionChain.wait(chain);
    expect(await ask('Second?')).toMatchObject({ kind: 'transition' });
  });
});
