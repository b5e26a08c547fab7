import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { StartedChain } from '../../client/session-chain.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { shippedStep } from './definition.js';
import { type Barrier, holdWithStoredResult } from './moments.js';
import { type StatementProxy, startStatementProxy } from './statement-proxy.js';
import { type Witness, createWitness } from './witness.js';

let stack: ChainStack;
let proxy: StatementProxy;
const workers: TestWorker[] = [];
beforeAll(async () => {
  stack = await startChainStack('hand-over', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  proxy = await startStatementProxy(stack.database.url);
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.kill('SIGTERM')));
});
afterAll(async () => {
  await stack.stop();
  await proxy.stop();
});

describe('a worker that is told to stop', () => {
  it('interrupts its agent, and a worker with other folders goes on from there', async () => {
    const first = await workerOfItsOwn({ SESSION_CHAIN_SHUTDOWN_GRACE_MS: '200000' });
    const { started, barrier, witness } = await chainInBuild();
    await first.kill('SIGTERM');
    barrier.release();
    expect(first.process.exitCode).toBe(0);
    expect(first.agentProcesses()).toEqual([]);
    const [attempt] = await witness.attempts();
    expect(attempt).toMatchObject({ state: 'failed' });
    const entries = await transcriptOf(started, attempt?.sessionId ?? '');
    // What Claude Code writes last when it ends in order.
    expect(entries.map(({ type }) => type)).toContain('cost-state');

    await workerOfItsOwn();
    await endsWell(started, witness);
    await goesOnFrom(entries, witness);
  });

  it.each([
    ['a second signal', { SESSION_CHAIN_SHUTDOWN_GRACE_MS: '200000' }, true],
    ['the grace limit', { SESSION_CHAIN_SHUTDOWN_GRACE_MS: '1000' }, false],
  ])('and cannot, ends hard at %s', async (_what, environment, secondSignal) => {
    const first = await workerOfItsOwn({ DATABASE_URL: proxy.url, ...environment });
    const { started, barrier, witness } = await chainInBuild();
    // The end of the attempt never reaches the database, so that the worker has something to wait for.
    const end = proxy.hold('request', (bytes) => bytes.includes('end_operation'));
    first.process.kill('SIGTERM');
    // A busy machine may not come that far within the grace.
    await until(() => end.isReached() || (!secondSignal && first.process.exitCode !== null));
    if (secondSignal) first.process.kill('SIGTERM');
    await until(() => first.process.exitCode !== null);
    expect(first.process.exitCode).toBe(1);
    await until(() => first.agentProcesses().length === 0);
    barrier.release();
    end.release();

    const [attempt] = await witness.attempts();
    await workerOfItsOwn();
    await endsWell(started, witness);
    await goesOnFrom(await transcriptOf(started, attempt?.sessionId ?? ''), witness);
  });
});

describe('a worker that starts', () => {
  it('sweeps what a killed one has left: run folders, and transcripts in its temp folder', async () => {
    const scratch = join(stack.root, 'shared-scratch');
    const [temp, otherTemp] = [join(stack.root, 'temp'), join(stack.root, 'other-temp')];
    for (const folder of [temp, otherTemp]) mkdirSync(folder);
    const first = await stack.startWorker({
      ...{ SESSION_CHAIN_SCRATCH_DIR: scratch, TMPDIR: temp },
      SESSION_CHAIN_WARM: '0',
    });
    // A process that resumes a session has its whole transcript in a folder there.
    const docs = stack.model.holdNext(({ step }) => step === 'docs');
    const started = await stack.sessionChain.start({ ...stack.request(), steps: ['build', 'docs'] });
    await docs.reached;
    const transcriptsIn = (folder: string) =>
      readdirSync(folder).filter((name) => name.startsWith('claude-resume-'));
    await first.kill('SIGKILL');
    expect(transcriptsIn(temp)).toHaveLength(1);
    expect(readdirSync(scratch)).toHaveLength(1);

    const second = await stack.startWorker({ SESSION_CHAIN_SCRATCH_DIR: scratch, TMPDIR: otherTemp });
    expect(transcriptsIn(temp)).toEqual([]);
    docs.remove();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    await second.kill('SIGTERM');
    expect(readdirSync(scratch)).toEqual([]);
    expect(transcriptsIn(otherTemp)).toEqual([]);
  });
});

/** A worker that shares no folder with the others. */
async function workerOfItsOwn(environment: Record<string, string> = {}): Promise<TestWorker> {
  const [HOME, TMPDIR] = [
    join(stack.root, `home-${workers.length}`),
    join(stack.root, `tmp-${workers.length}`),
  ];
  for (const folder of [HOME, TMPDIR]) mkdirSync(folder);
  const worker = await stack.startWorker({ HOME, TMPDIR, ...environment });
  workers.push(worker);
  return worker;
}

/** A chain whose build has a stored tool result and waits for the model. */
async function chainInBuild(): Promise<{ started: StartedChain; barrier: Barrier; witness: Witness }> {
  const request = stack.request();
  const started = await stack.sessionChain.start({ ...request, steps: ['build'] });
  const { model, database } = stack;
  const { workspace } = request;
  const step = shippedStep('build');
  const witness = createWitness({ ...started, pool: database.pool, model, step, workspace });
  const barrier = holdWithStoredResult({ model, step, witness });
  await until(() => barrier.isReached());
  return { started, barrier, witness };
}

async function endsWell(started: StartedChain, witness: Witness): Promise<void> {
  expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 1 } });
  expect(await witness.problems()).toEqual([]);
  expect(await witness.turns()).toMatchObject({ paidTwice: 0 });
}

/** The first request of the second attempt holds the tool calls that the first one stored. */
async function goesOnFrom(
  entries: Awaited<ReturnType<typeof transcriptOf>>,
  witness: Witness,
): Promise<void> {
  const [, second] = await witness.attempts();
  const asked = stack.model.requests.find(({ sessionId }) => sessionId === second?.sessionId);
  const calls = JSON.stringify(entries).match(/"toolu_[0-9a-f]+"/g) ?? [];
  expect(calls).not.toEqual([]);
  for (const call of calls) expect(asked?.bodyText).toContain(call);
}

async function transcriptOf({ projectId }: StartedChain, sessionId: string) {
  const store = createTranscriptStore({ pool: stack.database.pool, projectId });
  return (await store.load({ projectKey: '', sessionId })) ?? [];
}
