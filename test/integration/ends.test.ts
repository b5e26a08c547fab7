import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApplicationFailure, cancelled } from '@temporalio/activity';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { checks } from '../../cli/doctor-checks.js';
import { chainKey } from '../../client/session-chain.js';
import { readConfig } from '../../config/environment.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { ChainEndCall } from '../../contracts/end.js';
import { type FailureCode, failureOfCode } from '../../contracts/failures.js';
import type { ChainKey } from '../../contracts/ids.js';
import { payloadVersion } from '../../contracts/plan.js';
import { closeChain, openChain, releaseChain } from '../../storage/chains/chains.js';
import { beginEnd, noteEnd, takeEnds } from '../../storage/chains/ends.js';
import { chainWorkflowId, endWorkflowId, workflowTypes } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { newKey, openNew, openerOf, plan, register, runStep, shippedStatus } from '../support/chains.js';

/** Every end of a chain is recorded in the statement that makes it, and told to the activity of the host until it succeeds. */

let stack: ChainStack;
let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
const calls: ChainEndCall[] = [];
/** What the activity of the host does with a call. */
let onCall: (call: ChainEndCall) => unknown = () => undefined;

beforeAll(async () => {
  stack = await startChainStack('ends', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  // The host's worker is no part of what is tested.
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  const worker = await Worker.create({
    connection,
    taskQueue: hostQueue(),
    shutdownForceTime: '1 s',
    activities: {
      async chainEnded(call: ChainEndCall) {
        calls.push(call);
        return await onCall(call);
      },
    },
  });
  host = { connection, worker, running: worker.run() };
});
afterAll(async () => {
  host.worker.shutdown();
  await host.running;
  await host.connection.close();
  await stack.stop();
});
beforeEach(() => {
  calls.length = 0;
  onCall = () => undefined;
});

const hostQueue = () => `${stack.policy.taskQueues.chains}-host`;
const having = (taskQueue = hostQueue()) => ({
  SESSION_CHAIN_CONFIG: stack.configuration(
    `{ steps: ['build'], onEnd: { activity: 'chainEnded', taskQueue: '${taskQueue}' } }`,
  ),
});
const callsOf = ({ buildId }: { buildId: string }) => calls.filter((call) => call.buildId === buildId);

async function one<Row extends object>(text: string, ...values: unknown[]): Promise<Row> {
  return (await stack.database.pool.query<Row>(text, values)).rows[0] as Row;
}

/** The ends of a chain as the client knows them, the newest first. */
const endsOf = async (key: ChainKey) => await stack.sessionChain.ends(key);

async function delivered(key: ChainKey, ends = 1): Promise<void> {
  await until(async () => {
    const all = await endsOf(key);
    return all.length === ends && all.every(({ deliveredAt }) => deliveredAt !== null);
  });
}

/** One round of calls for an end, as a worker with these options starts it. */
async function round(chain: ChainKey, key = '', options: object = {}, version: number = payloadVersion) {
  const onEnd = {
    ...{ activity: 'chainEnded', taskQueue: hostQueue(), maxAttempts: 1 },
    ...{ startToCloseTimeoutMs: 60_000, scheduleToStartTimeoutMs: 60_000, ...options },
  };
  await stack.temporal.workflow.execute(workflowTypes.chainEnd, {
    workflowId: endWorkflowId(chain, key),
    taskQueue: stack.policy.taskQueues.chains,
    args: [{ version, key, onEnd }],
  });
}

/** Lets the next look of a worker find an end, and wakes it. */
async function makeDue({ buildId }: ChainKey): Promise<void> {
  await stack.database.pool.query(
    `WITH due AS (UPDATE session_chain.chain_ends SET due_at = now() - interval '1 s' WHERE build_id = $1)
     SELECT pg_notify('session_chain_end', '')`,
    [buildId],
  );
}

async function isDue({ buildId }: ChainKey): Promise<boolean> {
  const { due } = await one<{ due: boolean }>(
    'SELECT due_at < now() AS due FROM session_chain.chain_ends WHERE build_id = $1',
    buildId,
  );
  return due;
}

/** A chain that a workflow would close with this account. */
async function close(key: Awaited<ReturnType<typeof openNew>>, status: string, code?: FailureCode) {
  const result = {
    ...{ status, warnings: [], steps: [], head: { sessionId: key.head, seq: null } },
    ...(code ? { failure: failureOfCode(code) } : {}),
  } as unknown as ChainResult;
  const { ticket, runId } = key;
  await closeChain(stack.database.pool, key, { ticket, runId, result, versionStatus: shippedStatus });
}

describe('an end in the database', () => {
  it('is recorded once workers want it, whatever closes the chain, and a chain that ends again has two', async () => {
    const { pool } = stack.database;
    const unwanted = await openNew(pool);
    await close(unwanted, 'failed', 'INTERNAL');
    expect(await takeEnds(pool, 0)).toEqual([]);
    expect(await endsOf(unwanted)).toEqual([]);

    const completed = await openNew(pool);
    for (const { name } of plan) await runStep(pool, completed, name);
    await close(completed, 'completed');
    const cancelled = await openNew(pool);
    await close(cancelled, 'cancelled', 'CANCELLED');
    const spent = await openNew(pool);
    await close(spent, 'budget_exceeded', 'BUDGET_EXCEEDED');
    const released = await openNew(pool);
    await releaseChain(pool, released.projectId, {
      ...{ workflowId: chainWorkflowId(released), runId: released.runId, home: 'test' },
    });
    // Behind another one in the queue, and gone before it ever held the project.
    const holder = await openNew(pool);
    const queued = newKey(holder.projectId);
    const { chainId } = await register(pool, queued);
    const runId = randomUUID();
    await openChain(pool, { ...queued, chainId }, openerOf(runId), null, { plan });
    await releaseChain(pool, queued.projectId, { workflowId: chainWorkflowId(queued), runId, home: 'test' });

    const steps = plan.map(({ name }) => name);
    const facts = async (key: ChainKey) =>
      (await endsOf(key)).map(({ status, failureCode, sessionId, seq, steps }) => ({
        ...{ status, failureCode, sessionId, seq, steps },
      }));
    const head = { sessionId: completed.head, seq: 4 };
    const none = { sessionId: null, seq: null, steps };
    expect(await facts(completed)).toEqual([{ status: 'completed', failureCode: null, ...head, steps }]);
    expect(await facts(cancelled)).toEqual([{ status: 'cancelled', failureCode: 'CANCELLED', ...none }]);
    expect(await facts(spent)).toEqual([
      { status: 'budget_exceeded', failureCode: 'BUDGET_EXCEEDED', ...none },
    ]);
    const terminated = { status: 'failed', failureCode: 'CHAIN_TERMINATED' };
    expect(await facts(released)).toEqual([{ ...terminated, ...none }]);
    expect(await facts(queued)).toEqual([{ ...terminated, ...none, steps: [] }]);
    expect(await facts(holder)).toEqual([]);

    const again = await openNew(pool, released);
    await close(again, 'failed', 'AGENT_FAILED');
    expect((await facts(released)).map(({ failureCode }) => failureCode)).toEqual([
      'AGENT_FAILED',
      'CHAIN_TERMINATED',
    ]);
    expect(new Set((await endsOf(released)).map(({ key }) => key)).size).toBe(2);
    // A close that is undone has no end.
    const undone = await openNew(pool);
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(
      `UPDATE session_chain.chains SET status = 'failed', closed_at = now(), result = '{}' WHERE id = $1`,
      [undone.chainId],
    );
    await client.query('ROLLBACK');
    client.release();
    expect(await endsOf(undone)).toEqual([]);
  });

  it('is taken by one worker at a time, begun anew after a failure, and kept as delivered', async () => {
    const { pool } = stack.database;
    const taken = (await Promise.all([1, 2, 3].map(() => takeEnds(pool, 100)))).flat();
    const keys = taken.map(({ key }) => key);
    expect(keys.length).toBeGreaterThan(4);
    expect(new Set(keys).size).toBe(keys.length);
    const key = keys[0] ?? '';
    const due = async () =>
      await one<{ minutes: number; rounds: number; failure: string | null }>(
        `SELECT round(extract(epoch FROM due_at - clock_timestamp()) / 60)::integer AS minutes, rounds, failure
         FROM session_chain.chain_ends WHERE key = $1`,
        key,
      );
    expect(await due()).toEqual({ minutes: 1, rounds: 0, failure: null });
    const waits: number[] = [];
    for (let round = 0; round < 8; round++) {
      expect(await beginEnd(pool, key)).toMatchObject({ key });
      expect((await due()).minutes).toBe(5);
      await noteEnd(pool, key, 'No worker.');
      waits.push((await due()).minutes);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    await noteEnd(pool, key, null);
    // A late word of a former run changes nothing.
    await noteEnd(pool, key, 'Late.');
    expect(await beginEnd(pool, key)).toBeNull();
    expect((await due()).failure).toBeNull();
    // A database that went back knows nothing of it.
    expect(await beginEnd(pool, randomUUID())).toBeNull();

    await pool.query(
      `UPDATE session_chain.chain_ends SET delivered_at = now() - interval '31 days' WHERE key = $1`,
      [key],
    );
    await takeEnds(pool, 0);
    expect(await one('SELECT 1 AS one FROM session_chain.chain_ends WHERE key = $1', key)).toBeUndefined();
    // Once no worker has wanted ends for 30 days, none is recorded any more.
    await pool.query(`UPDATE session_chain.installation SET ends_wanted_at = now() - interval '31 days'`);
    const unwanted = await openNew(pool);
    await close(unwanted, 'failed', 'INTERNAL');
    expect(await endsOf(unwanted)).toEqual([]);
    await pool.query('DELETE FROM session_chain.chain_ends');
  });
});

describe('a worker with onEnd', () => {
  it('tells the host of an end until that succeeds, under one key, and of the next end under another', async () => {
    await stack.onlyWorker(having());
    // Twice the activity fails.
    onCall = (call) => {
      if (callsOf(call).length < 3)
        throw ApplicationFailure.create({ message: 'The receiver is down.', nextRetryDelay: '1 ms' });
    };
    const request = stack.request();
    const started = await stack.sessionChain.start({ ...request, budget: { maxCostUsd: 0.0001 } });
    const stopped = await stack.sessionChain.wait(started);
    expect(stopped.status).toBe('budget_exceeded');
    const key = chainKey(request);
    await delivered(key);
    expect(callsOf(key)).toHaveLength(3);
    expect(new Set(callsOf(key).map((call) => call.key)).size).toBe(1);
    const [end] = await endsOf(key);
    expect(callsOf(key)[0]).toEqual({
      ...{
        key: end?.key,
        ...key,
        chainId: end?.chainId,
        eventId: end?.eventId,
        status: 'budget_exceeded',
        failureCode: stopped.failure?.code,
      },
      ...{
        sessionId: stopped.head.sessionId,
        seq: stopped.head.seq,
        steps: ['build'],
        endedAt: end?.endedAt,
      },
    });

    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result.status).toBe('completed');
    await delivered(key, 2);
    expect(callsOf(key)).toHaveLength(4);
    expect(callsOf(key)[3]).toMatchObject({ status: 'completed', failureCode: null, seq: 1 });
    expect(new Set(callsOf(key).map((call) => call.key)).size).toBe(2);
  });

  it('tells of what ended while every worker was dead, once, also where no workflow closed it', async () => {
    const { pool } = stack.database;
    const first = await stack.onlyWorker(having());
    const [killed, cancelled] = [stack.request(), stack.request()];
    // The host's activity is running when the worker dies, and its success arrives while there is none.
    let answer = () => {};
    const held = new Promise<void>((resolve) => (answer = resolve));
    onCall = async () => await held;
    await stack.sessionChain.wait(await stack.sessionChain.start(killed));
    await until(() => callsOf(chainKey(killed)).length === 1);
    // A look finds the call under way.
    await makeDue(chainKey(killed));
    await until(async () => !(await isDue(chainKey(killed))));
    await first.kill('SIGKILL');
    answer();
    await stack.sessionChain.cancel(await stack.sessionChain.start(cancelled));
    // Three of one project end at once: the holder, and two behind it.
    const holder = await openNew(pool);
    const three: ChainKey[] = [holder, newKey(holder.projectId), newKey(holder.projectId)];
    for (const key of three.slice(1)) {
      const { chainId } = await register(pool, key);
      await openChain(pool, { ...key, chainId }, openerOf(randomUUID()), null, { plan });
    }
    await Promise.all(three.map(async (key) => await stack.sessionChain.cancel({ ...key }, { force: true })));

    await stack.startWorker(having());
    const ended = [chainKey(killed), chainKey(cancelled), ...three];
    for (const key of ended) await delivered(key);
    const none = [['failed', []]];
    expect(ended.map((key) => callsOf(key).map(({ status, steps }) => [status, steps]))).toEqual([
      [['completed', ['build']]],
      [['cancelled', []]],
      [['failed', plan.map(({ name }) => name)]],
      none,
      none,
    ]);
    expect(new Set(three.flatMap((key) => callsOf(key).map((call) => call.key))).size).toBe(3);
    // What was delivered is not called again, whatever starts its workflow.
    await round(holder, callsOf(holder)[0]?.key);
    expect(callsOf(holder)).toHaveLength(1);
  });

  it('calls again where the workflow of the call was terminated', async () => {
    await stack.onlyWorker(having());
    const chain = await openNew(stack.database.pool);
    onCall = async () => await cancelled();
    await close(chain, 'failed', 'AGENT_FAILED');
    await until(() => callsOf(chain).length === 1);
    const [end] = await endsOf(chain);
    await stack.temporal.workflow.getHandle(endWorkflowId(chain, end?.key ?? '')).terminate('by hand');
    onCall = () => undefined;
    await makeDue(chain);
    await delivered(chain);
    expect(callsOf(chain).map(({ key }) => key)).toEqual([end?.key, end?.key]);
    expect((await endsOf(chain))[0]).toMatchObject({ rounds: 2, failure: null });
  });
});

describe('a worker without onEnd', () => {
  it('calls for none; rounds that were begun say what fails; and a worker that has it again tells of all', async () => {
    const { pool } = stack.database;
    await stack.onlyWorker();
    const look = async (environment: Record<string, string>) =>
      await checks.ends(
        readConfig({
          DATABASE_URL: stack.database.url,
          TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
          ...environment,
        }),
      );
    expect(await look({})).toMatchObject({
      status: 'ok',
      message: expect.stringContaining('not configured'),
    });
    const misspelled = `${hostQueue()}-misspelled`;
    const faults: [does: () => unknown, said: RegExp, call?: object][] = [
      [
        async () => await cancelled(),
        /chainEnded on the task queue \S+-host did not end within 1 s\.$/,
        { startToCloseTimeoutMs: 1_000 },
      ],
      [() => 'x'.repeat(3_000_000), /-host failed: .*size.*limit/i],
      [thrower('a text'), / failed with \w+\.$|failed\.$/],
      [thrower(undefined), / failed/],
      [thrower(null), / failed/],
      [thrower({ code: 500 }), / failed/],
      [
        thrower(
          ApplicationFailure.create({ type: `T\0${'y'.repeat(100_000)}`, message: 'z'.repeat(100_000) }),
        ),
        / failed with T\ufffdy{198} …\.$/,
      ],
      [
        () => undefined,
        /-misspelled was not taken within 1 s: no worker polls/,
        { taskQueue: misspelled, scheduleToStartTimeoutMs: 1_000 },
      ],
      // A worker of the host without that activity, such as one of an earlier version.
      [
        () => undefined,
        /chainEndedLater on the task queue \S+-host failed with NotFoundError/,
        { activity: 'chainEndedLater' },
      ],
    ];
    const chains = await Promise.all(
      faults.map(async () => {
        const chain = await openNew(pool);
        await close(chain, 'failed', 'AGENT_FAILED');
        return chain;
      }),
    );
    onCall = (call) => faults[chains.findIndex(({ buildId }) => buildId === call.buildId)]?.[0]();
    await Promise.all(
      chains.map(async (chain, index) => {
        const [end] = await endsOf(chain);
        await expect(round(chain, end?.key, faults[index]?.[2])).rejects.toThrow();
      }),
    );
    for (const [index, chain] of chains.entries())
      expect(await endsOf(chain)).toMatchObject([
        { deliveredAt: null, rounds: 1, failure: expect.stringMatching(faults[index]?.[1] ?? '') },
      ]);
    const [waiting] = [await openNew(pool)];
    await close(waiting, 'failed', 'AGENT_FAILED');
    expect((await stack.sessionChain.stats()).ends).toEqual({ waiting: 1, failed: faults.length });
    // What no worker of ours would start.
    const [end] = await endsOf(waiting);
    await expect(round(waiting, 'nonsense')).rejects.toThrow();
    await expect(round(waiting, end?.key, {}, 999)).rejects.toThrow();
    expect(callsOf(waiting)).toEqual([]);

    const all = [...chains, waiting];
    await pool.query(`UPDATE session_chain.chain_ends SET ended_at = ended_at - interval '1 h', due_at = now()
      WHERE delivered_at IS NULL`);
    expect(await look(having(misspelled))).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(
        new RegExp(`no worker polls the task queue \\S+-misspelled .*${all.length} not told of`),
      ),
    });
    expect(await look({})).toMatchObject({ status: 'warn', message: expect.stringContaining('no onEnd') });
    const before = calls.length;
    onCall = () => undefined;
    await stack.onlyWorker(having());
    for (const chain of all) await delivered(chain);
    expect(new Set(calls.slice(before).map(({ key }) => key)).size).toBe(all.length);
    expect((await stack.sessionChain.chain(waiting)).ends).toMatchObject([{ failure: null, rounds: 1 }]);
    expect(await look(having())).toMatchObject({
      status: 'ok',
      message: expect.stringContaining('all ends'),
    });
  });
});

/** A function that throws what is no error, too. */
function thrower(thrown: unknown): () => never {
  return () => {
    throw thrown;
  };
}
