import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SessionChain, type StartedChain, createSessionChain } from '../../client/session-chain.js';
import { WorkflowNotFoundError } from '@temporalio/client';
import { registerChain } from '../../storage/chains/chains.js';
import { newKey } from '../support/chains.js';
import { reconcile } from '../../storage/chains/queue.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { readInstallation } from '../../storage/db/installation.js';
import { createChainRuns } from '../../temporal/runs.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { attemptsOf } from '../support/project-facts.js';

let stack: ChainStack;
const ownId = async () => (await readInstallation(stack.database.pool)).id;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('queue', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
  const { policy, temporal, database } = stack;
  patient = createSessionChain({
    pool: database.pool,
    temporal,
    policy: { ...policy, queueWaitMs: { initial: 3_600_000, max: 3_600_000 } },
  });
});
afterAll(async () => {
  await stack.stop();
});

/** A chain of one step whose build stands still until it is released. */
async function heldChain(projectId?: string) {
  const request = { ...stack.request(projectId), steps: ['build' as const] };
  const build = stack.model.holdNext(({ step }) => step === 'build');
  const chain = await stack.sessionChain.start(request);
  const { sessionId } = await build.reached;
  return { chain, build, request, sessionId };
}

/** Whose chains do not ask for the project by themselves while a test lasts, however slow the machine is: a hint has to wake them. */
let patient: SessionChain;

/** Starts a chain and waits until it is queued. */
async function startQueued(projectId: string, sessionChain: SessionChain = patient) {
  const chain = await sessionChain.start({ ...stack.request(projectId), steps: ['build'] });
  await until(async () => (await sessionChain.state(chain)).queue !== undefined);
  return chain;
}

const queueOf = async (chain: StartedChain) => (await stack.sessionChain.state(chain)).queue;
const handleOf = ({ workflowId }: StartedChain) => stack.temporal.workflow.getHandle(workflowId);

/** The current details, as Temporal's Web UI asks for them. */
async function detailsOf(chain: StartedChain): Promise<string | undefined> {
  const { currentDetails } = await handleOf(chain).query<{ currentDetails?: string }>(
    '__temporal_workflow_metadata',
  );
  return currentDetails;
}

/** How often a workflow fired a timer, was signalled, and asked for the project. */
async function eventsOf(chain: StartedChain) {
  const { events } = await handleOf(chain).fetchHistory();
  const count = (has: (event: NonNullable<typeof events>[number]) => unknown) =>
    (events ?? []).filter((event) => Boolean(has(event))).length;
  return {
    timers: count((event) => event.timerFiredEventAttributes),
    signals: count((event) => event.workflowExecutionSignaledEventAttributes),
    asked: count((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'open'),
  };
}

describe('chains that want a project on which another one works', () => {
  it('wait in the queue, see their position, and go on in order from each other’s heads, woken by a hint', async () => {
    const { chain: first, build } = await heldChain();
    const second = await startQueued(first.projectId);
    const third = await startQueued(first.projectId);
    expect(await queueOf(second)).toEqual({ position: 1, waitsFor: first.workflowId });
    expect(await queueOf(third)).toEqual({ position: 2, waitsFor: first.workflowId });
    expect((await stack.sessionChain.state(third)).status).toBe('queued');
    expect(await detailsOf(third)).toContain(`Position 2 in the queue, behind \`${first.workflowId}\``);
    expect(await attemptsOf(stack, first.projectId)).toHaveLength(1);

    build.release();
    const patience = new AbortController();
    const gaveUp = stack.sessionChain.wait(second, { signal: patience.signal });
    patience.abort(new Error('waited long enough'));
    await expect(gaveUp).rejects.toThrow('waited long enough');
    const results = await Promise.all([first, second, third].map((chain) => stack.sessionChain.wait(chain)));
    expect(results.map(({ status, head }) => [status, head.seq])).toEqual([
      ['completed', 1],
      ['completed', 2],
      ['completed', 3],
    ]);
    expect(results[1]?.baseSessionId).toBe(results[0]?.head.sessionId);
    expect(results[2]?.baseSessionId).toBe(results[1]?.head.sessionId);
    expect(await eventsOf(second)).toEqual({ timers: 0, signals: 1, asked: 2 });
    expect(await eventsOf(third)).toEqual({ timers: 0, signals: 1, asked: 2 });
  });

  it('leave the queue when they are cancelled; the others move up', async () => {
    const { chain: first, build } = await heldChain();
    const second = await startQueued(first.projectId);
    const third = await startQueued(first.projectId);
    await stack.sessionChain.cancel(second);
    expect(await stack.sessionChain.wait(second)).toMatchObject({
      status: 'cancelled',
      steps: [],
    });
    expect(await queueOf(third)).toEqual({ position: 1, waitsFor: first.workflowId });
    build.release();
    expect(await stack.sessionChain.wait(third)).toMatchObject({ status: 'completed', head: { seq: 2 } });
  });

  it('pass over one that was terminated in the queue', async () => {
    const { chain: first, build } = await heldChain();
    const second = await startQueued(first.projectId);
    const third = await startQueued(first.projectId);
    await handleOf(second).terminate();
    build.release();
    expect(await stack.sessionChain.wait(third)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    expect(await stack.sessionChain.state(second)).toMatchObject({
      status: 'failed',
      failure: { code: 'CHAIN_TERMINATED' },
    });
    expect((await eventsOf(third)).timers).toBe(0);
  });
});

describe('a project with a full queue', () => {
  it('refuses one more of 400 that are started at once, and nothing of the refused ones is left', async () => {
    const { policy, temporal, database } = stack;
    const bounded = createSessionChain({ pool: database.pool, temporal, policy, maxQueued: 3 });
    const { chain: first, build } = await heldChain();
    const requests = Array.from({ length: 400 }, () => ({
      ...stack.request(first.projectId),
      steps: ['build' as const],
    }));
    const outcomes = await Promise.allSettled(requests.map(async (request) => bounded.start(request)));
    const started = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(started).toHaveLength(3);
    const refused = outcomes.flatMap((one, at) => (one.status === 'rejected' ? [{ ...one, at }] : []));
    for (const { reason } of refused) {
      expect(reason).toMatchObject({
        code: 'PROJECT_QUEUE_FULL',
        category: 'conflict',
        message: expect.stringContaining('3 chains'),
      });
    }
    const { rows } = await database.pool.query(
      `SELECT (SELECT count(*)::integer FROM session_chain.chains WHERE project_id = $1) AS chains,
         (SELECT count(*)::integer FROM project_versions WHERE project_id = $1) AS versions`,
      [first.projectId],
    );
    expect(rows).toEqual([{ chains: 4, versions: 4 }]);
    const { versionId } = requests[refused[0]?.at ?? 0] ?? {};
    await expect(
      temporal.workflow
        .getHandle(`chain/${first.projectId}/${String(versionId)}/${String(versionId)}`)
        .describe(),
    ).rejects.toThrow(WorkflowNotFoundError);

    // What is known already is not refused, and a place that is free is given away again.
    const [again, other, third] = started;
    const {
      projectId,
      versionId: known,
      workspace,
    } = requests.find(({ versionId: id }) => id === again?.versionId) ?? {};
    expect(await bounded.start({ projectId, versionId: known, workspace } as never)).toMatchObject({
      alreadyStarted: true,
    });
    for (const chain of [other, third]) if (chain) await stack.sessionChain.cancel(chain);
    if (other) await stack.sessionChain.wait(other);
    const late = await bounded.start({ ...stack.request(first.projectId), steps: ['build'] });
    for (const chain of [again, late]) if (chain) await stack.sessionChain.cancel(chain);
    build.release();
    await stack.sessionChain.wait(first);
  });

  it('counts a request that no workflow took up for an hour', async () => {
    const { pool } = stack.database;
    const { projectId } = stack.request();
    const registered = async () =>
      await registerChain(pool, {
        ...newKey(projectId),
        workspace: '/nowhere',
        createRows: true,
        maxQueued: 20,
      });
    const outcomes = await Promise.allSettled(Array.from({ length: 60 }, registered));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
    await expect(registered()).rejects.toMatchObject({ code: 'PROJECT_QUEUE_FULL' });
    await pool.query(
      `UPDATE session_chain.chains SET requested_at = requested_at - interval '61 min' WHERE project_id = $1`,
      [projectId],
    );
    expect(await registered()).toMatchObject({ isNew: true });
  });
});

describe('a holder that is gone without a word', () => {
  it('is found by the next in the queue, which asks by itself, and fenced; its agent is stopped first', async () => {
    const { policy, temporal, database } = stack;
    const impatient = createSessionChain({
      pool: database.pool,
      temporal,
      policy: { ...policy, queueWaitMs: { initial: 500, max: 1_000 } },
    });
    const { chain: first, build, sessionId } = await heldChain();
    const second = await startQueued(first.projectId, impatient);
    await handleOf(first).terminate();
    const next = stack.model.holdNext((request) => request.sessionId !== sessionId);
    await next.reached;
    // The former agent never got its answer, and none is alive but the new one's.
    expect(stack.model.requests.filter((request) => request.sessionId === sessionId)).toHaveLength(1);
    next.release();
    expect(await stack.sessionChain.wait(second)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    build.remove();
    expect((await eventsOf(second)).timers).toBeGreaterThan(0);
    expect(await stack.sessionChain.state(first)).toMatchObject({
      status: 'failed',
      failure: { code: 'CHAIN_TERMINATED' },
    });
    expect((await attemptsOf(stack, first.projectId))[0]).toMatchObject({ state: 'failed' });
  });

  it('is reconciled by a mere look, also when its history is deleted; the chain that waits is woken', async () => {
    const { chain: first, build } = await heldChain();
    const second = await startQueued(first.projectId);
    const { runId } = await handleOf(first).describe();
    await handleOf(first).terminate();
    await stack.temporal.workflowService.deleteWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: first.workflowId, runId },
    });
    const runs = createChainRuns(stack.temporal, ownId);
    const run = { workflowId: first.workflowId, runId, home: await runs.home() };
    await until(() => runs.isGone(run));
    const dry = () => reconcile(stack.database.pool, runs, first.projectId, { dryRun: true });
    await until(async () => (await dry()).released.length > 0);
    expect(await dry()).toEqual({ released: [first.workflowId], endingInMs: null });
    // Nothing was done.
    expect((await stack.sessionChain.state(first)).status).toBe('running');
    let released: string[] = [];
    await until(async () => {
      released = (await reconcile(stack.database.pool, runs, first.projectId)).released;
      return released.length > 0;
    });
    expect(released).toEqual([first.workflowId]);
    expect(await stack.sessionChain.wait(second)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    build.remove();
    expect((await eventsOf(second)).timers).toBe(0);
  });

  it('counts as alive for who talks to another cluster, and when Temporal does not answer', async () => {
    const { chain, build } = await heldChain();
    const runs = createChainRuns(stack.temporal, ownId);
    const { runId } = await handleOf(chain).describe();
    await handleOf(chain).terminate();
    await until(() => runs.isGone({ ...chain, runId, home: null }));
    expect(await runs.isGone({ ...chain, runId, home: 'another/cluster' })).toBe(false);
    const deaf = createChainRuns(stack.temporal, ownId);
    await stack.temporal.withDeadline(Date.now() - 1, async () => {
      expect(await deaf.isGone({ ...chain, runId, home: null })).toBe(false);
    });
    // Nobody wants the project: its agent ends when its worker hears of the end by a heartbeat.
    await until(() => worker.agentProcesses().length === 0);
    build.remove();
  });
});

describe('a worker that is frozen while another chain takes its project over', () => {
  it('changes nothing when it wakes up; its agent runs no further tool and is stopped', async () => {
    const { chain: first, build, sessionId } = await heldChain();
    const frozen = worker;
    await frozen.kill('SIGSTOP');
    await handleOf(first).terminate();
    // On a queue of its own: what the frozen worker polls for would have to time out first.
    const queue = `${stack.policy.taskQueues.chains}-other`;
    worker = await stack.startWorker({ SESSION_CHAIN_TASK_QUEUE: queue });
    const elsewhere = createSessionChain({
      pool: stack.database.pool,
      temporal: stack.temporal,
      policy: {
        ...stack.policy,
        taskQueues: taskQueuesOf(queue).chains,
        queueWaitMs: { initial: 500, max: 1_000 },
      },
    });
    const second = await elsewhere.start({ ...stack.request(first.projectId), steps: ['build'] });
    const result = await stack.sessionChain.wait(second);
    expect(result).toMatchObject({ status: 'completed', head: { seq: 1 } });
    const before = await factsOf(first.projectId);

    await frozen.kill('SIGCONT');
    // The model's answer asks for a tool; the agent that gets it belongs to nobody.
    build.release();
    await until(() => frozen.agentProcesses().length === 0);
    await frozen.kill('SIGTERM');
    expect(await factsOf(first.projectId)).toEqual(before);
    expect(stack.model.requests.filter((request) => request.sessionId === sessionId)).toHaveLength(1);
  });

  /** All that a zombie could change, but for what its own attempt really spent. */
  async function factsOf(projectId: string) {
    const { pool } = stack.database;
    const [{ rows: head }, { rows: transitions }, { rows: attempts }, { rows: sessions }] = await Promise.all(
      [
        pool.query('SELECT * FROM projects WHERE project_id = $1', [projectId]),
        pool.query('SELECT * FROM session_transitions WHERE project_id = $1 ORDER BY id', [projectId]),
        pool.query('SELECT * FROM session_chain.attempts WHERE project_id = $1 ORDER BY id', [projectId]),
        pool.query('SELECT * FROM session_chain.sessions WHERE project_id = $1 ORDER BY id', [projectId]),
      ],
    );
    return { head, transitions, attempts, sessions };
  }
});
