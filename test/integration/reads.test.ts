import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import { parseRecordRequest } from '../../client/record-request.js';
import type { Head } from '../../contracts/chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { ChainId } from '../../contracts/ids.js';
import { beginActivityStep } from '../../storage/operations/activity-steps.js';
import { endOperation } from '../../storage/operations/operations.js';
import { closeChain } from '../../storage/chains/chains.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { recordSession } from '../../storage/operations/record.js';
import { type SessionMoment, sessionMoments } from '../../contracts/question.js';
import { sessionFor } from '../../storage/heads/session-for.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { type OpenedChain, begin, newKey, noStatus, openNew, register, runStep } from '../support/chains.js';

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('reads', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

/** Holds the next request of a step of a project. */
const hold = (projectId: string, step: string) =>
  stack.model.holdNext((request) => request.step === step && request.bodyText.includes(projectId));

describe('a reader during a chain', () => {
  it('gets the head now, the one of the running step, or the final one', async () => {
    const request = stack.request();
    const { projectId } = request;
    const docs = hold(projectId, 'docs');
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    const read = async (moment: SessionMoment, options = {}) =>
      await stack.sessionChain.sessionFor(projectId, moment, options);

    const before = await read('now');
    expect(before.seq).toBe(2);
    expect(before).toEqual(await stack.sessionChain.head(projectId));
    const workflow = stack.temporal.workflow.getHandle(started.workflowId);
    expect(await workflow.query('sessionNow')).toEqual(before);
    const impatient = { timeoutMs: 1 };
    await expect(read('after_step', impatient)).rejects.toMatchObject({
      code: 'WAIT_TIMED_OUT',
      message: expect.stringContaining(`the docs step of the chain ${started.workflowId}`),
    });
    await expect(read('committed', impatient)).rejects.toMatchObject({ code: 'WAIT_TIMED_OUT' });
    const stop = new AbortController();
    const stopped = expect(read('committed', { signal: stop.signal })).rejects.toThrow('no longer needed');
    stop.abort(new Error('no longer needed'));
    await stopped;

    const [afterStep, committed] = [read('after_step'), read('committed')];
    const compact = hold(projectId, 'compact');
    docs.release();
    await compact.reached;
    const documented = await afterStep;
    expect(documented).toEqual(await read('now'));
    expect(documented.seq).toBe(3);
    compact.release();
    const result = await stack.sessionChain.wait(started);
    expect(await committed).toEqual(result.head);
    expect(result.head.seq).toBe(4);
    // Nothing runs any more.
    for (const moment of sessionMoments) expect(await read(moment)).toEqual(result.head);
  });

  it('whose worker is dead gets the last committed head, and after the step as soon as the lease of its agent has expired', async () => {
    const request = stack.request();
    const { projectId } = request;
    const docs = hold(projectId, 'docs');
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    await worker.kill('SIGKILL');
    docs.remove();
    const now = await stack.sessionChain.sessionFor(projectId, 'now');
    expect(now.seq).toBe(2);
    expect(await stack.sessionChain.sessionFor(projectId, 'after_step')).toEqual(now);
    await expect(
      stack.sessionChain.sessionFor(projectId, 'committed', { timeoutMs: 1 }),
    ).rejects.toMatchObject({ code: 'WAIT_TIMED_OUT', message: expect.stringContaining(started.workflowId) });

    const committed = stack.sessionChain.sessionFor(projectId, 'committed');
    worker = await stack.startWorker();
    expect(await committed).toEqual((await stack.sessionChain.wait(started)).head);
  });
});

describe('the head after the step', () => {
  /** An attempt whose lease does not expire. */
  const beginAlive = async (chain: OpenedChain, step: string) => {
    const begun = await begin(stack.database.pool, chain, step, { leaseMs: 600_000 });
    if (begun.outcome !== 'begun') throw new Error(`Not begun: ${begun.outcome}.`);
    return begun.attempt;
  };
  const timesOut = async ({ projectId }: OpenedChain) =>
    await sessionFor(stack.database.pool, projectId, 'after_step', { timeoutMs: 1 }).then(
      () => false,
      (error: unknown) => error instanceof SessionChainError && error.code === 'WAIT_TIMED_OUT',
    );

  it('is the head now between two steps, and where no chain works', async () => {
    const { pool } = stack.database;
    const chain = await openNew(pool);
    const { newSessionId } = await runStep(pool, chain, 'build');
    expect(await timesOut(chain)).toBe(false);
    expect(await sessionFor(pool, chain.projectId, 'after_step')).toEqual({
      sessionId: newSessionId,
      seq: 1,
    });
    const idle = newKey();
    await register(pool, idle);
    for (const moment of sessionMoments) {
      expect(await sessionFor(pool, idle.projectId, moment)).toEqual({ sessionId: null, seq: null });
    }
  });

  it('is there when the step fails or waits for the model service, though the chain goes on', async () => {
    const { pool } = stack.database;
    const chain = await openNew(pool);
    const failing = await beginAlive(chain, 'build');
    expect(await timesOut(chain)).toBe(true);
    const waited = sessionFor(pool, chain.projectId, 'after_step');
    await endOperation(pool, failing, {
      failure: { code: 'AGENT_FAILED', message: 'It failed.', remedy: 'None.' },
      spent: nothingSpent,
    });
    expect(await waited).toEqual({ sessionId: null, seq: null });
    const overloaded = await beginAlive(chain, 'build');
    expect(await timesOut(chain)).toBe(true);
    await endOperation(pool, overloaded, {
      failure: { code: 'MODEL_UNAVAILABLE', message: 'Overloaded.', remedy: 'Wait.' },
      spent: nothingSpent,
      waitMs: 60_000,
    });
    expect(await timesOut(chain)).toBe(false);
  });

  it('of a chain that another one has followed is the head of today', async () => {
    const { pool } = stack.database;
    const chain = await openNew(pool);
    const committed = sessionFor(pool, chain.projectId, 'committed');
    await runStep(pool, chain, 'build');
    const state = await readChainState(pool, chain);
    await closeChain(pool, chain, {
      ticket: chain.ticket,
      runId: chain.runId,
      result: { ...state, status: 'completed' },
      versionStatus: noStatus,
    });
    const next = await openNew(pool, newKey(chain.projectId));
    await runStep(pool, next, 'build');
    expect([1, 2]).toContain((await committed).seq);
  });
});

describe('readers under many commits', () => {
  it('never see an older head than anyone saw before', async () => {
    const { pool } = stack.database;
    const key = newKey();
    await register(pool, key);
    let newestSeen = 0;
    const seen = new Set<number>();
    let writing = true;
    const isNotOlder = ({ seq }: Head, than: number) => {
      const number = seq ?? 0;
      seen.add(number);
      newestSeen = Math.max(newestSeen, number);
      return number >= than;
    };
    const reader = async (moment: SessionMoment) => {
      while (writing) {
        const before = newestSeen;
        expect(isNotOlder(await sessionFor(pool, key.projectId, moment), before)).toBe(true);
      }
    };
    const writer = async () => {
      for (let round = 0; round < 50; round++) {
        const request = {
          projectId: key.projectId,
          sessionId: randomUUID(),
          source: 'build',
          notInStore: true,
        } as const;
        await recordSession(pool, parseRecordRequest(request));
      }
    };
    const readers = [...sessionMoments, ...sessionMoments].map(reader);
    await Promise.all(Array.from({ length: 4 }, writer)).finally(() => (writing = false));
    await Promise.all(readers);
    await until(async () => isNotOlder(await sessionFor(pool, key.projectId, 'now'), 200));
    expect(seen.size).toBeGreaterThan(20);
  });
});

describe('a chain that no worker takes', () => {
  it('is told by the task queue that no worker polls: its own, that of the agents, that of an activity of the host', async () => {
    const { pool } = stack.database;
    const { taskQueues } = stack.policy;
    const clientOn = (queues: Partial<typeof taskQueues>) =>
      createSessionChain({
        ...{ pool, temporal: stack.temporal, searchAttributes: 'on' },
        policy: { ...stack.policy, taskQueues: { ...taskQueues, ...queues } },
      });
    const listed = async (client: SessionChain, { projectId }: { projectId: string }, askTemporal = true) =>
      (await client.chains({ projectId, askTemporal })).chains[0];

    const nowhere = clientOn({ chains: 'polled-by-none' });
    const left = await nowhere.start(stack.request());
    expect(await listed(nowhere, left)).toMatchObject({
      status: 'queued',
      reason: 'no worker polls the task queue polled-by-none',
      missingWorker: { taskQueue: 'polled-by-none', since: expect.any(Date) },
    });
    expect(await listed(nowhere, left, false)).toMatchObject({ missingWorker: null });
    await nowhere.cancel(left);

    const agentless = clientOn({ agents: 'no-agents' });
    const open = await agentless.start(stack.request());
    await until(async () => (await listed(agentless, open))?.missingWorker?.taskQueue === 'no-agents');
    // A worker whose agents all work polls no longer, and is there.
    await pool.query(`INSERT INTO session_chain.workers SELECT (jsonb_populate_record(w,
      jsonb_build_object('id', gen_random_uuid(), 'identity', '7@elsewhere', 'task_queue', 'no', 'seen_at', clock_timestamp()))).*
      FROM session_chain.workers w LIMIT 1`);
    expect(await listed(agentless, open)).toMatchObject({ missingWorker: null });
    await pool.query(`DELETE FROM session_chain.workers WHERE identity = '7@elsewhere'`);
    const ticket = (
      await pool.query<{ id: string; ticket: number }>(
        'SELECT id::text, ticket FROM session_chain.chains WHERE project_id = $1',
        [open.projectId],
      )
    ).rows[0];
    await beginActivityStep(pool, {
      ...{ ...open, chainId: ticket?.id as ChainId, ticket: ticket?.ticket ?? 0, step: 'deploy', round: 1 },
      ...{ sessionId: null, seq: null, role: 'deploy', activity: 'publish', taskQueue: 'deployers' },
      scheduledAtMs: Date.now(),
    });
    expect(await listed(agentless, open)).toMatchObject({ missingWorker: { taskQueue: 'deployers' } });
    await agentless.cancel(open);
    await stack.sessionChain.wait(open);
    // One at work has its worker.
    const held = hold('', 'build');
    const working = await stack.sessionChain.start(stack.request());
    await held.reached;
    expect(await listed(stack.sessionChain, working)).toMatchObject({
      ...{ status: 'running', step: 'build', reason: null, missingWorker: null },
    });
    held.remove();
    await stack.sessionChain.cancel(working);
    await stack.sessionChain.wait(working);
  });
});

describe('bad input of a reader', () => {
  it.each<[string, string, string]>([
    ['nobody', 'now', 'PROJECT_NOT_FOUND'],
    ['nobody', 'after_step', 'PROJECT_NOT_FOUND'],
    ['a/b', 'now', 'INVALID_INPUT'],
    ['nobody', 'later', 'INVALID_INPUT'],
  ])('%s, %s: %s', async (projectId, moment, code) => {
    await expect(stack.sessionChain.sessionFor(projectId, moment as SessionMoment)).rejects.toMatchObject({
      code,
    });
  });
});
