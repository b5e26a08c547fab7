import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import type { ChainState } from '../../contracts/chain.js';
import { answers } from '../../dev/offline-model/injections.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, requestsOf, storedToolCalls } from '../support/project-facts.js';

let stack: ChainStack;
let worker: TestWorker;
/** Waits are short here, where the service does not say how long. */
let impatient: SessionChain;
beforeAll(async () => {
  stack = await startChainStack('waits', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
  impatient = createSessionChain({
    pool: stack.database.pool,
    temporal: stack.temporal,
    policy: { ...stack.policy, waitMs: { initial: 1_000, max: 2_000 } },
    overrides: stack.overrides,
  });
});
afterAll(async () => {
  await stack.stop();
});

const once = { limits: { build: { maxAttempts: 1 }, docs: { maxAttempts: 1 } } };
const afterFirstTool = (projectId: string) => (request: { bodyText: string }) =>
  request.bodyText.includes(projectId) && request.bodyText.includes('tool_result');

describe.each([
  ['429', 429, 'Request rejected'],
  ['529', 529, 'Overloaded'],
  ['500', 500, '500'],
])('a model service that answers %s in mid-build', (_name, status, says) => {
  it('is waited for, visibly and without a process; it costs no retry and no stored turn', async () => {
    const request = { ...stack.request(), ...once, steps: ['build' as const] };
    const overload = stack.model.inject({
      when: afterFirstTool(request.projectId),
      times: Infinity,
      fail: { status },
    });
    const started = await impatient.start(request);
    let seen: ChainState | undefined;
    let processes: number[] = [];
    // On a busy machine a wait may be over before all of it was looked at.
    await until(async () => {
      seen = await impatient.state(started);
      processes = worker.agentProcesses();
      const { status, waitingUntil } = await impatient.state(started);
      return status === 'waiting' && waitingUntil === seen.waitingUntil;
    });
    expect(seen).toMatchObject({
      waitingUntil: expect.stringMatching(/^\d{4}-/),
      steps: [{ status: 'waiting', reason: expect.stringContaining(says) }],
    });
    expect(processes).toEqual([]);
    const handle = stack.temporal.workflow.getHandle(started.workflowId);
    await until(async () => (await handle.query<ChainState>('chainState')).status === 'waiting');
    overload.remove();

    const result = await impatient.wait(started);
    expect(result).toMatchObject({ status: 'completed', head: { seq: 1 } });
    const attempts = await attemptsOf(stack, request.projectId);
    expect(attempts.length).toBeGreaterThan(1);
    expect(attempts.map(({ outcome }) => outcome)).toEqual([
      ...attempts.slice(1).map(() => 'waiting'),
      'committed',
    ]);
    expect(attempts[0]).toMatchObject({ failure: 'MODEL_UNAVAILABLE', turns: 1 });
    const requests = answered(await requestsOf(stack, request.projectId));
    expect(requests).toHaveLength(4);
    const calls = await storedToolCalls(stack, request.projectId, attempts[0]?.sessionId ?? '');
    expect(calls).toHaveLength(1);
    expect(requests[1]?.bodyText).toContain(calls[0]);
  });
});

describe('a model service that is overloaded in a compaction', () => {
  it('is waited for as well', async () => {
    const request = { ...stack.request(), steps: ['build' as const, 'compact' as const] };
    const overload = stack.model.inject({
      when: ({ kind, bodyText }) => kind === 'compaction' && bodyText.includes(request.projectId),
      times: Infinity,
      fail: { status: 529 },
    });
    const started = await impatient.start({ ...request, limits: { compact: { maxAttempts: 1 } } });
    await until(async () => (await impatient.state(started)).status === 'waiting');
    overload.remove();
    expect(await impatient.wait(started)).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });
});

describe('a model service that asks for a pause', () => {
  it('gets it from the chain: the agent does not sit it out, and a cancellation ends the wait at once', async () => {
    const request = { ...stack.request(), ...once, steps: ['build', 'docs'] };
    const limited = stack.model.inject({
      when: ({ step, bodyText }) => step === 'docs' && bodyText.includes(request.projectId),
      times: Infinity,
      fail: { status: 429, headers: { 'retry-after': '40' } },
    });
    const started = await impatient.start(request);
    await until(async () => (await impatient.state(started)).status === 'waiting');
    expect(limited.hits).toHaveLength(1);
    expect(worker.agentProcesses()).toEqual([]);
    const { waitingUntil = '' } = await impatient.state(started);
    // 40 s and some; without a word from the service it would be one.
    expect(Date.parse(waitingUntil)).toBeGreaterThan(Date.now() + 20_000);

    await impatient.cancel(started);
    const result = await impatient.wait(started);
    limited.remove();
    expect(result).toMatchObject({ status: 'cancelled', failure: { code: 'CANCELLED' }, head: { seq: 1 } });
    expect(result.waitingUntil).toBeUndefined();

    // Started again, it does not wait for what is over.
    expect(await impatient.wait(await impatient.start(request))).toMatchObject({
      status: 'completed',
      head: { seq: 2 },
    });
  });
});

describe('a model service that will not', () => {
  it.each([
    ['refuses the request', { fail: { status: 400 } }, 'MODEL_REJECTED'],
    ['refuses the credential', { fail: { status: 401 } }, 'MODEL_UNAUTHORIZED'],
    ['declines the instruction', { answer: answers.refusal }, 'MODEL_REFUSED'],
  ])('%s: the chain fails at once and says what to do', async (_what, disturbance, code) => {
    const request = { ...stack.request(), steps: ['build' as const] };
    const injected = stack.model.inject({
      when: ({ bodyText }) => bodyText.includes(request.projectId),
      times: Infinity,
      ...disturbance,
    });
    const result = await impatient.wait(await impatient.start(request));
    injected.remove();
    expect(result).toMatchObject({
      status: 'failed',
      failure: { code, remedy: expect.stringMatching(/\w/) },
    });
    expect(await attemptsOf(stack, request.projectId)).toMatchObject([{ attempt: 1, failure: code }]);
  });
});
