import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createSessionChain } from '../../client/session-chain.js';
import { defaultChatPolicy } from '../../contracts/question.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { attemptsOf } from '../support/project-facts.js';
import { type HeldStatement, type StatementProxy, startStatementProxy } from './statement-proxy.js';

/** What the last try of an activity commits counts, though its worker dies before it can tell Temporal. */

let stack: ChainStack;
let proxy: StatementProxy;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('lost-answers', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  proxy = await startStatementProxy(stack.database.url);
  await startWorker();
});
afterAll(async () => {
  await stack.stop();
  await proxy.stop();
});

async function startWorker(): Promise<void> {
  worker = await stack.startWorker({ DATABASE_URL: proxy.url });
}

const holdAnswerToCommit = () => proxy.hold('answer', (bytes) => bytes.includes('commit_operation'));

/** Waits for a commit, of which the worker does not learn, and puts another worker in its place. */
async function loseWorker(projectId: string, step: string, commit: HeldStatement): Promise<void> {
  await until(async () => {
    const attempts = await attemptsOf(stack, projectId);
    return commit.isReached() && attempts.some((one) => one.step === step && one.state === 'committed');
  });
  await worker.kill('SIGKILL');
  commit.release();
}

const once = { maxAttempts: 1 };

describe('the only try of a step that committed and could not tell', () => {
  it('counts: the chain completes, critical steps and optional ones alike', async () => {
    const request = { ...stack.request(), steps: ['build', 'compact'] };
    const commit = holdAnswerToCommit();
    const started = await stack.sessionChain.start({
      ...request,
      limits: { build: once, compact: once },
    });
    await loseWorker(request.projectId, 'build', commit);
    const lastCommit = holdAnswerToCommit();
    await startWorker();
    await loseWorker(request.projectId, 'compact', lastCommit);
    await startWorker();
    const result = await stack.sessionChain.wait(started);
    const head = await stack.sessionChain.head(request.projectId);
    expect(result).toMatchObject({ status: 'completed', warnings: [], head: { ...head, seq: 2 } });
    expect((await attemptsOf(stack, request.projectId)).map(({ step, state }) => [step, state])).toEqual(
      request.steps.map((step) => [step, 'committed']),
    );
  });

  it('counts in a chain that is cancelled meanwhile: its result says where the head is', async () => {
    const request = stack.request();
    const commit = holdAnswerToCommit();
    const started = await stack.sessionChain.start(request);
    await until(() => commit.isReached());
    await stack.sessionChain.cancel(started);
    await loseWorker(request.projectId, 'build', commit);
    await startWorker();
    const result = await stack.sessionChain.wait(started);
    const head = await stack.sessionChain.head(request.projectId);
    expect(result).toMatchObject({ status: 'cancelled', head: { ...head, seq: 1 } });
    expect(result.steps.map(({ status }) => status)).toEqual([
      'committed',
      'cancelled',
      'pending',
      'pending',
    ]);
  });
});

describe('the only try of a question that committed and could not tell', () => {
  it('is the answer', async () => {
    const request = stack.request();
    await stack.sessionChain.wait(await stack.sessionChain.start({ ...request, steps: ['build'] }));
    const { pool } = stack.database;
    const { temporal, policy } = stack;
    const chat = { limits: { ...defaultChatPolicy.limits, maxAttempts: 1 } };
    const impatient = createSessionChain({ pool, temporal, policy, chat });
    const commit = holdAnswerToCommit();
    const asked = impatient.ask({ projectId: request.projectId, text: 'What is this?' });
    await loseWorker(request.projectId, 'chat_plan', commit);
    await startWorker();
    const { kind, sessionId, repeated } = await asked;
    expect({ kind, repeated }).toEqual({ kind: 'transition', repeated: false });
    expect(await stack.sessionChain.head(request.projectId)).toMatchObject({ sessionId, seq: 2 });
  });
});
