import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type StartedChain, createSessionChain } from '../../client/session-chain.js';
import type { StepName } from '../../contracts/steps.js';
import { shippedDefinition } from '../../definition/shipped.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { shippedStep } from './definition.js';
import { type Barrier, holdWithStoredResult } from './moments.js';
import { type Witness, createWitness } from './witness.js';

/** What an operator does in Temporal's Web UI or with its CLI, through the same calls. */
let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('operations', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

describe('a workflow reset', () => {
  it('of a closed chain returns the stored results and asks the model nothing', async () => {
    const started = await stack.sessionChain.start(stack.request());
    const first = await stack.sessionChain.wait(started);
    const asked = stack.model.requests.length;
    const lineage = await stack.sessionChain.lineage(started.projectId);
    await resetAfter(started, 'build');
    await closed(started);
    expect(stack.model.requests).toHaveLength(asked);
    expect(await stack.sessionChain.state(started)).toEqual(first);
    expect(await stack.sessionChain.lineage(started.projectId)).toEqual(lineage);
  });

  it('of a chain that works on a step goes on from what that step has stored', async () => {
    const { started, barrier, witness } = await chainInDocs();
    await resetAfter(started, 'build');
    await until(() => worker.agentProcesses().length === 0);
    barrier.release();
    await endsWell(started, witness);
  });
});

describe('a chain that was terminated', () => {
  it('goes on from its stored turns when it is started again', async () => {
    const { started, barrier, witness, request } = await chainInDocs();
    await stack.temporal.workflow.getHandle(started.workflowId).terminate('by a test');
    expect(await stack.sessionChain.start(request)).toMatchObject({ alreadyStarted: false });
    await until(() => worker.agentProcesses().length === 0);
    barrier.release();
    await endsWell(started, witness);
  });
});

describe('a chain that was terminated between its compaction and its end', () => {
  it('returns the compaction when it is started again, though there is nothing left to compact', async () => {
    const { pool } = stack.database;
    const { temporal, policy } = stack;
    const overrides = { compactThresholdTokens: 5_000 };
    const thrifty = createSessionChain({ pool, temporal, policy, overrides });
    const request = stack.request();
    const started = await thrifty.start(request);
    await until(async () => (await thrifty.state(started)).status === 'running');
    // The chain's row stands still: every step may begin and commit, the chain cannot close.
    const holder = await pool.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM session_chain.chains WHERE workflow_id = $1 FOR NO KEY UPDATE', [
      started.workflowId,
    ]);
    const blocked = `FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await until(async () => (await pool.query(`SELECT ${blocked}`)).rowCount === 1);
    const head = await thrifty.head(started.projectId);
    await stack.temporal.workflow.getHandle(started.workflowId).terminate('by a test');
    await pool.query(`SELECT pg_cancel_backend(pid) ${blocked}`);
    await holder.query('ROLLBACK');
    holder.release();

    expect(await thrifty.start(request)).toMatchObject({ alreadyStarted: false });
    const result = await thrifty.wait(started);
    expect(result).toMatchObject({ status: 'completed', head });
    expect(result.steps.at(-1)).toMatchObject({
      step: 'compact',
      status: 'committed',
      newSessionId: head.sessionId,
    });
  });
});

describe('an activity', () => {
  it('that is reset goes on from its stored turns', async () => {
    const { started, barrier, witness } = await chainInDocs();
    await stack.temporal.workflowService.resetActivity({ ...runningActivity(started), resetHeartbeat: true });
    await until(() => worker.agentProcesses().length === 0);
    barrier.release();
    await endsWell(started, witness);
  });

  it('that is paused stops its agent, and goes on from its stored turns when it is unpaused', async () => {
    const { started, barrier, witness } = await chainInDocs();
    await stack.temporal.workflowService.pauseActivity({ ...runningActivity(started), reason: 'by a test' });
    await until(() => worker.agentProcesses().length === 0);
    barrier.release();
    await until(async () => (await witness.attempts()).every(({ state }) => state === 'failed'));
    expect(await stack.sessionChain.state(started)).toMatchObject({ status: 'running', head: { seq: 2 } });
    await stack.temporal.workflowService.unpauseActivity(runningActivity(started));
    await endsWell(started, witness);
  });
});

/** A chain whose docs step has a stored tool result and waits for the model. */
async function chainInDocs(): Promise<{
  started: StartedChain;
  barrier: Barrier;
  witness: Witness;
  request: ReturnType<ChainStack['request']>;
}> {
  const request = stack.request();
  const started = await stack.sessionChain.start(request);
  const { model, database } = stack;
  const step = shippedStep('docs');
  const { workspace } = request;
  const witness = createWitness({ ...started, pool: database.pool, model, step, workspace });
  const barrier = holdWithStoredResult({ model, step, witness });
  await until(() => barrier.isReached());
  return { started, barrier, witness, request };
}

const stepNames = shippedDefinition.steps.map(({ name }) => name);

async function endsWell(started: StartedChain, witness: Witness): Promise<void> {
  await closed(started);
  const state = await stack.sessionChain.state(started);
  expect(state).toMatchObject({ status: 'completed', head: { seq: stepNames.length } });
  const transitions = await stack.sessionChain.transitions(started.projectId);
  expect(transitions.map(({ source }) => source).reverse()).toEqual(stepNames);
  expect((await witness.attempts()).map((attempt) => attempt.state)).toEqual(['failed', 'committed']);
  expect(await witness.turns()).toMatchObject({ paidTwice: 0 });
}

/** Waits for the latest run, whichever was running when this was called. */
async function closed({ workflowId }: StartedChain): Promise<void> {
  await until(async () => {
    const { status } = await stack.temporal.workflow.getHandle(workflowId).describe();
    if (status.name === 'FAILED') throw new Error('The workflow failed.');
    return status.name === 'COMPLETED';
  });
}

/** Resets to the workflow task that followed the end of a step. */
async function resetAfter({ workflowId }: StartedChain, step: StepName): Promise<void> {
  const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
  const all = events ?? [];
  const scheduled = all.find(
    (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === step,
  )?.eventId;
  const ended = all.findIndex(
    (event) => String(event.activityTaskCompletedEventAttributes?.scheduledEventId) === String(scheduled),
  );
  const task = all.slice(ended).find((event) => event.workflowTaskCompletedEventAttributes);
  if (ended < 0 || !task?.eventId) throw new Error(`The history has no end of ${step}.`);
  await stack.temporal.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId },
    reason: 'by a test',
    workflowTaskFinishEventId: task.eventId,
    requestId: crypto.randomUUID(),
  });
}

function runningActivity({ workflowId }: StartedChain) {
  return { namespace: 'default', execution: { workflowId }, identity: 'test', type: 'docs' };
}
