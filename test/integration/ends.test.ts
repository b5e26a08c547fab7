import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
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
import { type ChainStack, startChainStack, until } from '../support/chain-stack.js';
import { newKey, openNew, openerOf, plan, register, runStep, shippedStatus } from '../support/chains.js';

/** Every end of a chain is recorded in the statement that makes it, and told to the activity of the host until it succeeds. */

let stack: ChainStack;
let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
const calls: ChainEndCall[] = [];
/** What the activity of the host does with a call. */
let onCall: (call: ChainEndCall) => void | Promise<void> = () => undefined;

beforeAll(async () => {
  stack = await startChainStack('ends');
  // The host's worker is no part of what is tested.
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  const worker = await Worker.create({
    connection,
    taskQueue: hostQueue(),
    activities: {
      async chainEnded(call: ChainEndCall) {
        calls.push(call);
        await onCall(call);
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
const having = (taskQueue = hostQueue(), more = '') => ({
  SESSION_CHAIN_CONFIG: stack.configuration(
    `{ steps: ['build'], onEnd: { activity: 'chainEnded', taskQueue: '${taskQueue}'${more} } }`,
  ),
});
const onEnd = {
  activity: 'chainEnded',
  startToCloseTimeoutMs: 60_000,
  scheduleToStartTimeoutMs: 60_000,
  maxAttempts: 1,
};
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
      expect((await due()).minutes).toBe(60);
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
      if (callsOf(call).length < 3) throw new Error('The receiver is down.');
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
    const first = await stack.onlyWorker(having());
    const [killed, cancelled] = [stack.request(), stack.request()];
    // The host's activity is running when the worker dies, and its success arrives while there is none.
    let answer = () => {};
    const held = new Promise<void>((resolve) => (answer = resolve));
    onCall = async () => await held;
    await stack.sessionChain.wait(await stack.sessionChain.start(killed));
    await until(() => callsOf(chainKey(killed)).length === 1);
    await first.kill('SIGKILL');
    answer();
    await stack.sessionChain.cancel(await stack.sessionChain.start(cancelled));
    const forced = await openNew(stack.database.pool);
    await stack.sessionChain.cancel(forced, { force: true });

    await stack.startWorker(having());
    const ended = [chainKey(killed), chainKey(cancelled), forced];
    for (const key of ended) await delivered(key);
    expect(ended.map((key) => callsOf(key).map(({ status, steps }) => [status, steps]))).toEqual([
      [['completed', ['build']]],
      [['cancelled', []]],
      [['failed', plan.map(({ name }) => name)]],
    ]);
    // What was delivered is not called again, whatever starts its workflow.
    const [{ key } = { key: '' }] = callsOf(forced);
    await stack.temporal.workflow.execute(workflowTypes.chainEnd, {
      workflowId: endWorkflowId(forced, key),
      taskQueue: stack.policy.taskQueues.chains,
      args: [{ version: payloadVersion, key, onEnd: { ...onEnd, taskQueue: hostQueue() } }],
    });
    expect(callsOf(forced)).toHaveLength(1);
  });

  it('says that no worker polls the queue of the host, and goes by a corrected one', async () => {
    const { pool } = stack.database;
    const wrong = having(`${hostQueue()}-misspelled`, ', scheduleToStartTimeoutMs: 1000');
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
    await stack.onlyWorker(wrong);
    const chain = await openNew(pool);
    await close(chain, 'failed', 'AGENT_FAILED');
    await until(async () => (await endsOf(chain))[0]?.failure !== null);
    expect((await endsOf(chain))[0]).toMatchObject({
      failure: expect.stringMatching(/chainEnded on the task queue \S+-misspelled was not taken within 1 s/),
      deliveredAt: null,
    });
    await pool.query(`UPDATE session_chain.chain_ends SET ended_at = ended_at - interval '1 h', due_at = now()
      WHERE delivered_at IS NULL`);
    expect(await look(wrong)).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/no worker polls the task queue \S+-misspelled .*1 not told of/),
    });
    expect(await look(having())).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('was not taken'),
    });
    expect(await look({})).toMatchObject({ status: 'warn', message: expect.stringContaining('no onEnd') });
    await stack.onlyWorker(having());
    await delivered(chain);
    expect(await look(having())).toMatchObject({
      status: 'ok',
      message: expect.stringContaining('all ends'),
    });
  });
});
