import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApplicationFailure, WorkflowFailedError } from '@temporalio/client';
import type { Answer } from '../../client/chats.js';
import { type StartedChain, chainKey } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { parseProjectId } from '../../contracts/ids.js';
import { recordQuestion } from '../../storage/questions/questions.js';
import { registerChain } from '../../storage/chains/chains.js';
import type { InjectionHandle } from '../../dev/offline-model/injections.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, requestsOf } from '../support/project-facts.js';
import { type StatementProxy, startStatementProxy } from './statement-proxy.js';

/**
 * The database goes back to an earlier state under all that is under way, as in a restore or a fail-over to a standby that
 * lags: once, with a chain in each state that it could be in.
 */

let stack: ChainStack;
let proxy: StatementProxy;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('went-back', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  proxy = await startStatementProxy(stack.database.url);
  worker = await stack.startWorker({
    DATABASE_URL: proxy.url,
    SESSION_CHAIN_MAX_AGENTS: '8',
    SESSION_CHAIN_MAX_CHATS: '2',
  });
});
afterAll(async () => {
  await stack.stop();
  await proxy.stop();
});

/** A chain of these steps, whose requests to the model are held one by one. */
class Chain {
  readonly request: StartRequest & { versionId: string };
  private held: InjectionHandle | undefined;
  started: StartedChain | undefined;

  constructor(steps: string[], projectId?: string) {
    this.request = { ...stack.request(projectId), steps };
  }

  get projectId(): string {
    return this.request.projectId;
  }

  /** Writes down what is asked for, as a start does first. */
  async register(): Promise<void> {
    const { workspace, steps = [] } = this.request;
    await registerChain(stack.database.pool, {
      ...chainKey(this.request),
      ...{ workspace, steps, createRows: true },
    });
  }

  async start(): Promise<void> {
    this.hold();
    this.started = await stack.sessionChain.start(this.request);
    await this.held?.reached;
  }

  /** Lets the request that is held go, and holds the next one of the step. */
  async goOn(step = 'build'): Promise<void> {
    const { held } = this;
    this.hold(step);
    const next = this.held;
    held?.remove();
    await next?.reached;
  }

  release(): void {
    this.held?.remove();
  }

  async result(): Promise<ChainResult> {
    return await stack.sessionChain.wait(chainKey(this.request));
  }

  async attempts(): Promise<string[]> {
    const attempts = await attemptsOf(stack, this.projectId);
    return attempts.map(({ step, state }) => `${step} ${state}`);
  }

  private hold(step = 'build'): void {
    const passed = new Set(this.held?.hits.map(({ number }) => number));
    this.held = stack.model.holdNext(
      (request) =>
        request.step === step && request.bodyText.includes(this.projectId) && !passed.has(request.number),
    );
  }
}

const warning = expect.stringContaining('The database went back to an earlier state');
const reopened = { status: 'completed_with_warnings', warnings: [warning] };

describe('when the database goes back, a chain', () => {
  let inDocs: Chain, inBuild: Chain, behindIt: Chain, opening: Chain, storing: Chain;
  let committing: Chain, closing: Chain, unknown: Chain, over: Chain;
  const answers: Promise<Answer>[] = [];
  let chats: string[];

  beforeAll(async () => {
    [inDocs, inBuild, storing] = [new Chain(['build', 'docs']), new Chain(['build']), new Chain(['build'])];
    [opening, committing, closing] = [new Chain(['build']), new Chain(['build']), new Chain(['build'])];
    behindIt = new Chain(['build'], inBuild.projectId);
    [unknown, over] = [new Chain(['build']), new Chain(['build'])];
    await Promise.all([inDocs, inBuild, storing, committing, closing, over].map((chain) => chain.start()));
    await storing.goOn();
    await Promise.all([opening, behindIt].map((chain) => chain.register()));
    const { pool } = stack.database;
    const requests = [stack.request(), stack.request()];
    chats = requests.map(({ projectId }) => projectId);
    for (const projectId of [...chats, unknown.projectId])
      await pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
    await pool.query('INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2)', [
      unknown.request.versionId,
      unknown.projectId,
    ]);
    const question = { messageId: 'm-1', text: 'What is this?' };
    await recordQuestion(pool, {
      ...{ ...question, question: question.text, when: 'now', workspace: requests[1]?.workspace ?? '' },
      ...{ projectId: parseProjectId(chats[1] ?? ''), chatId: chats[1] ?? '' },
    });

    const goBack = await stack.database.backUp();

    const commit = proxy.hold('request', (bytes) => bytes.includes('commit_operation'));
    committing.release();
    await until(() => commit.isReached());
    const close = proxy.hold(
      'request',
      (bytes) => bytes.includes('close_chain') && bytes.includes(closing.projectId),
    );
    closing.release();
    const asked = stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      times: Infinity,
      hold: 'before',
    });
    for (const { projectId, workspace } of requests)
      answers.push(stack.sessionChain.ask({ ...question, projectId, workspace }));
    behindIt.started = await stack.sessionChain.start(behindIt.request);
    await Promise.all([inDocs.goOn('docs'), storing.goOn(), opening.start(), unknown.start()]);
    const isQueued = async () => (await stack.sessionChain.state(chainKey(behindIt.request))).queue;
    await until(async () => (await isQueued())?.position === 1);
    await until(() => close.isReached() && asked.hits.length === 2);
    over.release();
    await over.result();

    await goBack();
    commit.release();
    close.release();
    await stack.temporal.workflow.getHandle(behindIt.started.workflowId).signal('projectFree');
    // The former agents were stopped when their leases were to be renewed: their answers would count as paid.
    await until(() => asked.hits.length === 4);
    asked.remove();
    for (const chain of [inDocs, inBuild, storing, opening, unknown]) chain.release();
  });

  it('in docs runs its build again, which was lost, and then docs', async () => {
    expect(await inDocs.result()).toMatchObject({
      ...reopened,
      head: { ...(await stack.sessionChain.head(inDocs.projectId)), seq: 2 },
      steps: [{ status: 'committed' }, { status: 'committed' }],
    });
    expect(await inDocs.attempts()).toEqual(['build failed', 'build committed', 'docs committed']);
  });

  it('in its build, of which nothing was lost, goes on as if nothing had happened', async () => {
    expect(await inBuild.result()).toMatchObject({ status: 'completed', head: { seq: 1 } });
    expect(await inBuild.attempts()).toEqual(['build committed', 'build committed']);
  });

  it('that had come into the queue is queued again', async () => {
    expect(await behindIt.result()).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });

  it('that had opened opens again', async () => {
    expect(await opening.result()).toMatchObject({ ...reopened, head: { seq: 1 } });
    expect(await opening.attempts()).toEqual(['build committed']);
  });

  it('in its build, of which turns were lost, goes on from what is left, without a hole', async () => {
    expect(await storing.result()).toMatchObject({ ...reopened, head: { seq: 1 } });
    const [lost, last] = await attemptsOf(stack, storing.projectId);
    expect(lost).toMatchObject({ state: 'failed', failure: 'DATABASE_WENT_BACK' });
    expect(await stack.sessionChain.validateAndRecover(storing.projectId)).toMatchObject({
      outcome: 'valid',
      sessionId: last?.sessionId,
    });
  });

  it('before a commit does not commit a session without its end', async () => {
    expect(await committing.result()).toMatchObject({ ...reopened, head: { seq: 1 } });
    expect(await committing.attempts()).toEqual(['build failed', 'build committed']);
  });

  it('before its end does not end before its last step is committed again', async () => {
    expect(await closing.result()).toMatchObject({
      ...reopened,
      head: { ...(await stack.sessionChain.head(closing.projectId)), seq: 1 },
    });
  });

  it('that had ended has an end that the database does not know; started again it completes', async () => {
    await expect(over.result()).rejects.toMatchObject({
      code: 'DATABASE_WENT_BACK',
      message: expect.stringContaining('COMPLETED'),
      remedy: expect.stringContaining('paid again'),
    });
    await stack.sessionChain.start(over.request);
    expect(await over.result()).toMatchObject({ status: 'completed', head: { seq: 1 } });
  });

  it('that had been asked for fails and says so; asked for again it completes', async () => {
    const ended: unknown = await stack.temporal.workflow
      .getHandle(unknown.started?.workflowId ?? '')
      .result()
      .catch((error: unknown) => error);
    const cause = ended instanceof WorkflowFailedError ? ended.cause : undefined;
    expect(cause instanceof ApplicationFailure && cause.type).toBe('REQUEST_LOST');
    await stack.sessionChain.start(unknown.request);
    expect(await unknown.result()).toMatchObject({ status: 'completed', head: { seq: 1 } });
  });

  it('does not keep a question from being answered to the caller that waits, asked or begun in what was lost', async () => {
    expect(await Promise.all(answers)).toMatchObject([
      { kind: 'transition', repeated: false },
      { kind: 'transition', repeated: false },
    ]);
    for (const projectId of chats) expect(answered(await requestsOf(stack, projectId))).toHaveLength(1);
    expect(worker.process.exitCode).toBeNull();
  });
});
