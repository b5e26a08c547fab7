import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { StepName } from '../../contracts/steps.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { requestsOf } from '../support/project-facts.js';

/** Four stories that an application lives through, each told as it happens. */

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('scenarios', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
const headOf = async (projectId: string) => (await stack.sessionChain.head(projectId)).sessionId;
const versionSessionOf = async (versionId: string) =>
  (
    await stack.database.pool.query<{ ai_session_id: string | null }>(
      'SELECT ai_session_id FROM project_versions WHERE version_id = $1',
      [versionId],
    )
  ).rows[0]?.ai_session_id;
const stepOf = ({ steps }: ChainResult, name: StepName) => steps.find(({ step }) => step === name);
/** What the model received first in a session. */
const heardFirst = async (projectId: string, sessionId: string | null | undefined) =>
  (await requestsOf(stack, projectId)).find((request) => request.sessionId === sessionId)?.bodyText ?? '';
/** The texts that are missing in what the model received. */
const missingIn = (body: string, texts: string[]) => texts.filter((text) => !body.includes(text));

describe('1. build -> metadata -> compact', () => {
  it('moves the head of project and version at each step; the compacted session is the last one', async () => {
    const request = { ...stack.request(), steps: ['build', 'metadata', 'compact'] as StepName[] };
    const { projectId, versionId } = request;
    const beforeMetadata = stack.model.holdNext(({ step }) => step === 'metadata');
    const beforeCompact = stack.model.holdNext(({ step }) => step === 'compact');
    const chain = await stack.sessionChain.start(request);

    await beforeMetadata.reached;
    const built = await headOf(projectId);
    expect(built).not.toBeNull();
    expect(await versionSessionOf(versionId)).toBe(built);
    beforeMetadata.release();

    await beforeCompact.reached;
    const described = await headOf(projectId);
    expect(described).not.toBe(built);
    expect(await versionSessionOf(versionId)).toBe(described);
    beforeCompact.release();

    const result = await stack.sessionChain.wait(chain);
    expect(result.status).toBe('completed');
    expect([stepOf(result, 'build'), stepOf(result, 'metadata')].map((step) => step?.newSessionId)).toEqual([
      built,
      described,
    ]);
    const compacted = stepOf(result, 'compact');
    expect(compacted).toMatchObject({ status: 'committed', oldSessionId: described });
    expect(await headOf(projectId)).toBe(compacted?.newSessionId);
    expect(await versionSessionOf(versionId)).toBe(compacted?.newSessionId);
  });
});

describe('2. build -> update -> chat plan', () => {
  let built: ChainResult;
  let updated: ChainResult;
  beforeAll(async () => {
    built = await run({ ...stack.request(), steps: ['build'], instruction: 'A counter of herons' });
    updated = await run({
      ...stack.request(built.projectId),
      steps: ['build'],
      instruction: 'Paint the herons grey',
    });
  });

  it('the update resumes from the build, and says so', async () => {
    expect(updated).toMatchObject({
      mode: 'update',
      baseSessionId: built.head.sessionId,
      resumedFrom: `It goes on from the project's head ${built.head.sessionId ?? ''}.`,
    });
    const heard = await heardFirst(built.projectId, updated.head.sessionId);
    expect(missingIn(heard, ['A counter of herons', 'Paint the herons grey', 'tool_result'])).toEqual([]);
  });

  it('the chat plan uses the session of the update, with all that was said before', async () => {
    const turn = await stack.sessionChain.ask({ projectId: built.projectId, text: 'Which colour are they?' });
    expect(turn).toMatchObject({ kind: 'transition', headSessionId: updated.head.sessionId });
    const heard = await heardFirst(built.projectId, turn.sessionId);
    expect(
      missingIn(heard, [
        'A counter of herons',
        'Paint the herons grey',
        'tool_result',
        'Which colour are they?',
      ]),
    ).toEqual([]);
    expect(await headOf(built.projectId)).toBe(turn.sessionId);
  });

  it('the next build knows the chat from its session, and is told of a chat that was held beside it', async () => {
    const { projectId } = built;
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const chain = await stack.sessionChain.start({ ...stack.request(projectId), steps: ['build'] });
    await held.reached;
    const beside = await stack.sessionChain.ask({ projectId, text: 'Should they have names?' });
    expect(beside.kind).toBe('side_branch');
    held.release();
    const meanwhile = await stack.sessionChain.wait(chain);

    const next = await run({ ...stack.request(projectId), steps: ['build'] });
    expect(next).toMatchObject({ status: 'completed', baseSessionId: meanwhile.head.sessionId });
    const heard = await heardFirst(projectId, next.head.sessionId);
    expect(
      missingIn(heard, [
        'Which colour are they?',
        'asked and answered in conversations of their own',
        'Question: Should they have names?',
        'Answer: You asked',
      ]),
    ).toEqual([]);
    expect(heard.includes('Question: Which colour are they?')).toBe(false);

    // It was told; the one after it has it in its memory and is not told again.
    const last = await run({ ...stack.request(projectId), steps: ['build'] });
    const prompts = (await heardFirst(projectId, last.head.sessionId)).split('conversations of their own');
    expect(prompts).toHaveLength(2);
  });
});

describe('3. error recovery', () => {
  it('after a build error the next build goes on from the latest session, whatever processes and Redis remember', async () => {
    const built = await run({ ...stack.request(), steps: ['build'] });
    const { projectId } = built;
    const request = {
      ...stack.request(projectId),
      steps: ['build' as const],
      limits: { build: { maxAttempts: 1 } },
    };
    const broken = stack.model.inject({
      when: ({ bodyText, step }) => step === 'build' && bodyText.includes(projectId),
      times: Infinity,
      fail: { status: 400, message: 'broken for this test' },
    });
    const failed = await run(request);
    broken.remove();
    expect(failed).toMatchObject({ status: 'failed', failure: { code: 'MODEL_REJECTED' } });
    expect(await headOf(projectId)).toBe(built.head.sessionId);

    // Another process, and a checkpoint that names a session which nobody should go on from.
    await worker.kill('SIGTERM');
    worker = await stack.startWorker();
    const redis = new Redis(process.env['TEST_REDIS_URL'] ?? '');
    await redis.set(
      `claude:session:${request.versionId}`,
      JSON.stringify({
        buildId: request.versionId,
        sessionId: 'from-the-memory-of-a-process',
        projectPath: request.workspace,
        filesCreated: [],
      }),
    );
    await redis.quit();
    const recovered = await run(request);
    expect(recovered).toMatchObject({ status: 'completed', baseSessionId: built.head.sessionId });
    const [transition] = await stack.sessionChain.transitions(projectId);
    expect(transition).toMatchObject({
      seq: 2,
      oldSessionId: built.head.sessionId,
      parentSessionId: built.head.sessionId,
      newSessionId: recovered.head.sessionId,
    });
    expect(await headOf(projectId)).toBe(recovered.head.sessionId);
    expect(await versionSessionOf(request.versionId)).toBe(recovered.head.sessionId);
  });
});

describe('4. metadata asked for while a build runs', () => {
  it('waits for the build and goes on from its final session', async () => {
    const request = { ...stack.request(), steps: ['build', 'docs'] as StepName[] };
    const { projectId, versionId } = request;
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const build = await stack.sessionChain.start(request);
    await held.reached;
    const metadata = await stack.sessionChain.start({
      ...request,
      buildId: 'metadata-again',
      steps: ['metadata'],
    });
    await until(async () => (await stack.sessionChain.state(metadata)).queue !== undefined);
    expect(await stack.sessionChain.state(metadata)).toMatchObject({
      status: 'queued',
      queue: { position: 1, waitsFor: build.workflowId },
    });
    held.release();

    const [built, described] = await Promise.all([
      stack.sessionChain.wait(build),
      stack.sessionChain.wait(metadata),
    ]);
    expect([built.status, described.status]).toEqual(['completed', 'completed']);
    expect(described.baseSessionId).toBe(stepOf(built, 'docs')?.newSessionId);
    expect(
      (await stack.sessionChain.transitions(projectId)).reverse().map(({ source, seq }) => [seq, source]),
    ).toEqual([
      [1, 'build'],
      [2, 'docs'],
      [3, 'metadata'],
    ]);
    expect(await headOf(projectId)).toBe(stepOf(described, 'metadata')?.newSessionId);
    expect(await versionSessionOf(versionId)).toBe(await headOf(projectId));
  });
});
