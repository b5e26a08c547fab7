import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChainResult, StepState } from '../../contracts/chain.js';
import { type Failure, failureOfCode } from '../../contracts/failures.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain, noteFailure, noteWaiting, openChain } from '../../storage/chains/chains.js';
import type { Pool } from '../../storage/db/pool.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { beginActivityStep, endActivityStep } from '../../storage/operations/activity-steps.js';
import { commitOperation, endOperation } from '../../storage/operations/operations.js';
import {
  type OpenedChain,
  begin,
  beginWithTranscript,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  someMetrics,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** A chain as the database tells it, with or without a worker. */

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
});
afterAll(async () => {
  await database.drop();
});

const stepOf = ({ steps }: { steps: StepState[] }, name: string) => steps.find(({ step }) => step === name);
const failure = (code: Failure['code'], message: string): Failure => ({ ...failureOfCode(code), message });

/** Closes the chain as a workflow does, which knows failures by their codes only. */
async function close(chain: OpenedChain, result: Partial<ChainResult>): Promise<void> {
  const state = await readChainState(pool, chain);
  await closeChain(pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...state, status: 'failed', ...result },
    versionStatus: noStatus,
  });
}

describe('the steps of a chain', () => {
  it('are known once it has opened, with their kinds and roles', async () => {
    const key = newKey();
    await register(pool, key, ['build', 'docs']);
    expect(await readChainState(pool, key)).toMatchObject({ status: 'queued', steps: [] });
    await openNew(pool, key);
    const { steps } = await readChainState(pool, key);
    expect(steps.map(({ step, kind, role, status }) => [step, kind, role, status])).toEqual([
      ['build', 'work', 'build', 'pending'],
      ['metadata', 'submission', undefined, 'pending'],
      ['docs', 'work', undefined, 'pending'],
      ['compact', 'compaction', undefined, 'pending'],
    ]);
  });

  it('tell how far each has come: an activity of the host, too', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const deploy = { name: 'deploy', kind: 'activity', role: 'deploy' } as const;
    const opened = await openChain(pool, { ...key, chainId }, openerOf('run'), null, {
      plan: [...plan, deploy],
    });
    if (opened.outcome !== 'opened') throw new Error('unreachable');
    const chain = { ...key, chainId, runId: 'run', ticket: opened.ticket, head: null } as OpenedChain;
    const built = await runStep(pool, chain, 'build');
    const metadata = await beginWithTranscript(pool, chain, 'metadata');
    await commitOperation(pool, {
      attempt: metadata,
      source: 'metadata',
      newSessionId: metadata.sessionId,
      parentSessionId: metadata.baseSessionId,
      metrics: nothingSpent,
      result: { ...built, step: 'metadata' },
      value: { title: 'A shop' },
    });
    const failed = await begin(pool, chain, 'docs');
    if (failed.outcome !== 'begun') throw new Error('unreachable');
    const told = failure('AGENT_FAILED', 'It fell over.');
    await endOperation(pool, failed.attempt, { failure: told, spent: someMetrics });
    const call = { ...chain, step: 'deploy', round: 1 };
    const head = { sessionId: chain.head, seq: 2 };
    await beginActivityStep(pool, {
      ...{ ...call, ...head, role: 'deploy', activity: 'd', taskQueue: 'q' },
      scheduledAtMs: Date.now(),
    });

    let state = await readChainState(pool, chain);
    expect(state.head).toEqual({ sessionId: metadata.sessionId, seq: 2 });
    expect(stepOf(state, 'build')).toMatchObject({
      status: 'committed',
      attempts: 1,
      oldSessionId: null,
      newSessionId: built.newSessionId,
      turns: 1,
      costUsd: 0.5,
    });
    expect(stepOf(state, 'metadata')).toMatchObject({ status: 'committed', value: { title: 'A shop' } });
    expect(stepOf(state, 'docs')).toMatchObject({ status: 'failed', failure: told, costUsd: 0.5 });
    expect(stepOf(state, 'compact')).toMatchObject({ status: 'pending', attempts: 0 });
    expect(stepOf(state, 'deploy')).toMatchObject({ status: 'running', attempts: 1, kind: 'activity' });
    await endActivityStep(pool, { ...call, failure: null, cancelled: false });
    state = await readChainState(pool, chain);
    expect(stepOf(state, 'deploy')).toMatchObject({ status: 'completed', newSessionId: null, costUsd: 0 });
  });

  it('tell what a chain waits for, also where no attempt was begun', async () => {
    const chain = await openNew(pool);
    await runStep(pool, chain, 'build');
    await noteWaiting(pool, chain, {
      waitMs: 60_000,
      code: 'AGENT_NOT_FOUND',
      waitingFor: 'metadata: a worker with its definition',
    });
    const state = await readChainState(pool, chain);
    expect(state).toMatchObject({ status: 'waiting', waitingUntil: expect.any(String) });
    expect(stepOf(state, 'metadata')).toMatchObject({
      status: 'waiting',
      reason: 'a worker with its definition',
    });
    expect(stepOf(state, 'docs')?.status).toBe('pending');
  });
});

describe('what a workflow knows by its code', () => {
  it('is told in full: the failure of the chain and its steps, and warnings', async () => {
    const chain = await openNew(pool);
    const ofBuild = failure('BUDGET_EXCEEDED', 'The step took $ 3.02 of $ 3.00.');
    const ofDocs = failure('AGENT_FAILED', 'Claude Code ended with exit code 7.');
    await noteFailure(pool, chain, 'build', ofBuild);
    await noteFailure(pool, chain, 'docs', ofDocs);
    const { steps } = await readChainState(pool, chain);
    await close(chain, {
      steps: steps.map((step) =>
        step.step === 'build'
          ? { ...step, status: 'failed', failure: failureOfCode('BUDGET_EXCEEDED') }
          : step,
      ),
      warnings: [
        `docs: ${failureOfCode('AGENT_FAILED').message}`,
        `metadata: ${failureOfCode('AGENT_FAILED').message}`,
        'The head had been moved.',
      ],
      failure: failureOfCode('BUDGET_EXCEEDED'),
    });
    const state = await readChainState(pool, chain);
    expect(state.failure).toEqual(ofBuild);
    expect(stepOf(state, 'build')?.failure).toEqual(ofBuild);
    expect(state.warnings).toEqual([
      `docs: ${ofDocs.message}`,
      `metadata: ${failureOfCode('AGENT_FAILED').message}`,
      'The head had been moved.',
    ]);
  });

  it('stays the summary where something else was noted', async () => {
    const chain = await openNew(pool);
    await noteFailure(pool, chain, 'build', failure('AGENT_FAILED', 'An earlier one.'));
    await close(chain, { status: 'cancelled', failure: failureOfCode('CANCELLED') });
    expect((await readChainState(pool, chain)).failure).toEqual(failureOfCode('CANCELLED'));
  });

  it('stays what the workflow says of itself, where an earlier try failed by the same code', async () => {
    const chain = await openNew(pool);
    await noteFailure(pool, chain, 'build', failure('WORKER_LOST', 'The worker was stopped.'));
    const timedOut = failure('WORKER_LOST', 'The worker sent no heartbeat within 30 s.');
    const { steps } = await readChainState(pool, chain);
    await close(chain, {
      steps: steps.map((step) =>
        step.step === 'build' ? { ...step, status: 'failed', failure: timedOut } : step,
      ),
      failure: timedOut,
    });
    const state = await readChainState(pool, chain);
    expect([state.failure, stepOf(state, 'build')?.failure]).toEqual([timedOut, timedOut]);
  });

  it('is the failure of its opening where it never opened', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const told = failure('SESSION_NOT_IN_STORE', 'The head is the session s.');
    await noteFailure(pool, { ...key, chainId, ticket: null }, 'open', told);
    const state = await readChainState(pool, key);
    const result = { ...state, status: 'failed', failure: failureOfCode(told.code) } as const;
    await closeChain(pool, key, { ticket: null, runId: 'run', result, versionStatus: noStatus });
    expect(await readChainState(pool, key)).toMatchObject({ status: 'failed', failure: told, steps: [] });
    // Asked again, the chain has not failed yet.
    await register(pool, key);
    expect(await readChainState(pool, key)).not.toHaveProperty('failure');
  });
});
