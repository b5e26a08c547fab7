import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createSessionChain } from '../../client/session-chain.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { attemptsOf, requestsOf } from '../support/project-facts.js';

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('cancel', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
});
afterAll(async () => {
  await stack.stop();
});

/** A chain of so many steps as it takes to be cancelled between two. */
const twoSteps = (projectId?: string) => ({ ...stack.request(projectId), steps: ['build', 'docs'] });

/** A client and a worker between which Temporal carries nothing for minutes: what comes through came past it. */
async function withRareHeartbeats() {
  worker = await stack.onlyWorker({
    SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: '900000',
    SESSION_CHAIN_HEARTBEAT_THROTTLE_MS: '300000',
  });
  return createSessionChain({
    pool: stack.database.pool,
    temporal: stack.temporal,
    policy: { ...stack.policy, heartbeatTimeoutMs: 900_000 },
    overrides: stack.overrides,
  });
}

/** May connect, and nothing else. */
const stranger = `stranger_${process.pid}`;

const docsOf = (projectId: string) => (request: { step: string | undefined; bodyText: string }) =>
  request.step === 'docs' && request.bodyText.includes(projectId);

async function stopListeners(): Promise<void> {
  const listeners = async () =>
    (
      await stack.database.pool.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE application_name = 'session-chain listener'
           AND datname = current_database() AND query LIKE 'LISTEN%'`,
      )
    ).rows.map(({ pid }) => pid);
  const before = await listeners();
  expect(before).toHaveLength(1);
  await stack.database.pool.query('SELECT pg_terminate_backend($1)', before);
  await until(async () => {
    const now = await listeners();
    return now.length === 1 && now[0] !== before[0];
  });
}

describe('a start while the former run of the chain is about to end', () => {
  it('waits for that one, and starts another', async () => {
    const request = stack.request();
    const started = await stack.sessionChain.start(request);
    const { workflowId } = started;
    const workflow = stack.temporal.workflow.getHandle(workflowId);
    const { runId } = await workflow.describe();
    // As a cancelled run leaves it between its last activity and its end.
    await stack.database.pool.query(
      `UPDATE session_chain.chains SET status = 'cancelled', run_id = $2, closed_at = now(), result = '{"status": "cancelled"}'
       WHERE workflow_id = $1`,
      [workflowId, runId],
    );
    const again = stack.sessionChain.start(request);
    await until(async () => (await stack.sessionChain.state(started)).status === 'queued');
    await workflow.terminate();
    expect(await again).toMatchObject({ alreadyStarted: false, status: 'queued' });
    expect((await workflow.describe()).runId).not.toBe(runId);
    expect(await stack.sessionChain.start(request)).toMatchObject({ alreadyStarted: true });
    await workflow.terminate();
  });
});

describe('a cancellation', () => {
  it('of a chain that nobody has picked up yet costs nothing', async () => {
    const request = stack.request();
    const started = await stack.sessionChain.start(request);
    expect(await stack.sessionChain.state(started)).toMatchObject({ status: 'queued' });
    await stack.sessionChain.cancel(started);
    worker = await stack.onlyWorker();
    expect(await stack.sessionChain.wait(started)).toMatchObject({
      status: 'cancelled',
      head: { sessionId: null },
    });
    expect(await requestsOf(stack, request.projectId)).toEqual([]);
  });

  it('may be asked for twice, and of a chain that is over says so', async () => {
    worker = await stack.onlyWorker();
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    await Promise.all([stack.sessionChain.cancel(started), stack.sessionChain.cancel(started)]);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled' });
    docs.remove();
    await expect(stack.sessionChain.cancel(started)).rejects.toMatchObject({
      code: 'CHAIN_NOT_FOUND',
      message: expect.stringContaining('is over (cancelled)'),
    });
    await expect(
      stack.sessionChain.cancel({ ...started, buildId: 'never' as typeof started.buildId }),
    ).rejects.toMatchObject({ code: 'CHAIN_NOT_FOUND', message: expect.stringContaining('ever started') });
  });

  it('in the moment in which the agent starts leaves nothing running', async () => {
    worker = await stack.onlyWorker();
    const request = twoSteps();
    const started = await stack.sessionChain.start(request);
    await until(() => worker.agentProcesses().length !== 0);
    await stack.sessionChain.cancel(started);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled' });
    expect(worker.agentProcesses()).toEqual([]);
    // What it leaves can be gone on from.
    expect(await stack.sessionChain.wait(await stack.sessionChain.start(request))).toMatchObject({
      status: 'completed',
      head: { seq: 2 },
    });
  });

  it('from Temporal’s side reaches the agent with a heartbeat', async () => {
    worker = await stack.onlyWorker();
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    await stack.temporal.workflow.getHandle(started.workflowId).cancel();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled', head: { seq: 1 } });
    docs.remove();
    expect(worker.agentProcesses()).toEqual([]);
  });

  it('reaches the agent past Temporal’s heartbeats, leaves no process and keeps the last committed head', async () => {
    const sessionChain = await withRareHeartbeats();
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await sessionChain.start(request);
    await docs.reached;
    const askedAt = performance.now();
    await sessionChain.cancel(started);
    await until(() => worker.agentProcesses().length === 0);
    const goneAfterMs = Math.round(performance.now() - askedAt);
    const result = await sessionChain.wait(started);
    process.stderr.write(
      `cancel: agent gone after ${goneAfterMs} ms, chain closed after ${Math.round(performance.now() - askedAt)} ms\n`,
    );
    docs.remove();
    expect(result).toMatchObject({
      status: 'cancelled',
      failure: { code: 'CANCELLED' },
      head: { seq: 1, sessionId: result.steps[0]?.newSessionId },
    });
    expect(await sessionChain.head(request.projectId)).toEqual(result.head);
    expect((await attemptsOf(stack, request.projectId)).at(-1)).toMatchObject({
      step: 'docs',
      state: 'failed',
      outcome: 'interrupted',
      turnInFlightUnknown: true,
    });
    // The turn is handed on: the next chain of the project starts.
    const next = await sessionChain.start({ ...stack.request(request.projectId), steps: ['metadata'] });
    expect(await sessionChain.wait(next)).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });

  it('reaches it also when the listener’s connection had been lost meanwhile', async () => {
    const sessionChain = await withRareHeartbeats();
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await sessionChain.start(request);
    await docs.reached;
    await stopListeners();
    await sessionChain.cancel(started);
    expect(await sessionChain.wait(started)).toMatchObject({ status: 'cancelled', head: { seq: 1 } });
    docs.remove();
  });

  it('is a row: a notification alone stops nothing, whoever sends it', async () => {
    const sessionChain = await withRareHeartbeats();
    const { pool } = stack.database;
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await sessionChain.start(request);
    await docs.reached;
    const running = async () =>
      (
        await pool.query<{ id: string; chain: string; seen: string }>(
          `SELECT id::text, chain::text, seen_at::text AS seen FROM session_chain.attempts
           WHERE project_id = $1 AND state = 'running'`,
          [request.projectId],
        )
      ).rows[0];
    const before = await running();
    // Of what there is and is not, and of what is no target at all.
    const targets = [
      `chain:${before?.chain}`,
      `attempt:${before?.id}`,
      'chain:999999',
      'chain:',
      '',
      '{"chain":1}',
    ];
    await pool.query(`CREATE ROLE ${stranger}`);
    await pool.query(
      `BEGIN; SET LOCAL ROLE ${stranger}; ${targets.map((to) => `NOTIFY session_chain_stop, '${to}';`).join(' ')} COMMIT`,
    );
    // One after the other, for within a transaction Postgres delivers equal ones once; and large ones.
    const flooding = await pool.connect();
    await flooding.query(`SET ROLE ${stranger}`);
    await flooding.query(
      `DO $$ BEGIN FOR n IN 1..10000 LOOP PERFORM pg_notify('session_chain_stop', '${targets[0]}'); COMMIT; END LOOP; END $$`,
    );
    await flooding.query(
      `SELECT pg_notify('session_chain_stop', n || repeat('x', 7900)) FROM generate_series(1, 1000) n`,
    );
    flooding.release(true);
    await pool.query(`DROP ROLE ${stranger}`);
    // The worker has looked, and holds the attempt; nothing else renews it for minutes.
    await until(async () => (await running())?.seen !== before?.seen);
    docs.remove();
    expect(await sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });

  it('reaches it with the next renewal of the lease where the notification is lost', async () => {
    worker = await stack.onlyWorker({ SESSION_CHAIN_HEARTBEAT_THROTTLE_MS: '300000' });
    const request = twoSteps();
    const docs = stack.model.holdNext(docsOf(request.projectId));
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    await stack.database.pool.query(
      'UPDATE session_chain.chains SET cancelled_ticket = ticket WHERE project_id = $1',
      [request.projectId],
    );
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled', head: { seq: 1 } });
    docs.remove();
    // It was asked of the run that held the project then, and of no later one.
    expect(await stack.sessionChain.wait(await stack.sessionChain.start(request))).toMatchObject({
      status: 'completed',
      head: { seq: 2 },
    });
  });
});
