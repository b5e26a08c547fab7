import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { StartRequest } from '../../client/start-request.js';
import { taskQueuesOf } from '../../temporal/names.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
  waitedInVain,
} from '../support/chain-stack.js';

/** A chain and a chat on several workers: the next task goes to the one that keeps the process, then to all. */

let stack: ChainStack;
let configuration: string;
let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
/** What the activity of the host does between build and docs. */
let between: () => Promise<void> = async () => undefined;

beforeAll(async () => {
  stack = await startChainStack('own-queue', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  const taskQueue = `${stack.policy.taskQueues.chains}-host`;
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  const worker = await Worker.create({
    ...{ connection, taskQueue },
    activities: { checkApp: async () => await between() },
  });
  host = { worker, connection, running: worker.run() };
  configuration = stack.configuration(`{
    steps: ['build', 'metadata', { name: 'check', kind: 'activity', activity: 'checkApp', taskQueue: '${taskQueue}' }, 'docs'],
  }`);
});
afterAll(async () => {
  host.worker.shutdown();
  await host.running;
  await host.connection.close();
  await stack.stop();
});

const startWorker = async (environment: Record<string, string> = {}) =>
  await stack.startWorker({ SESSION_CHAIN_CONFIG: configuration, ...environment });

/** The queues on which the agents of a chain or a chat were scheduled: of all workers, or of one alone. */
async function queuesOf(workflowId: string): Promise<[string, 'all' | 'own'][]> {
  const { chains, chats } = taskQueuesOf(stack.policy.taskQueues.chains);
  const ofAll = [chains.agents, chats.chats];
  const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => {
    const queue = scheduled?.taskQueue?.name ?? '';
    if (!ofAll.some((name) => queue.startsWith(name))) return [];
    return [[scheduled?.activityType?.name ?? '', ofAll.includes(queue) ? 'all' : 'own']];
  });
}

const queuesOfDocs = async (workflowId: string) =>
  (await queuesOf(workflowId)).flatMap(([step, queue]) => (step === 'docs' ? [queue] : []));

/** The processes of the workers that made the attempts of a project. */
async function attemptsOf(projectId: string): Promise<{ step: string; attempt: number; pid: number }[]> {
  const { rows } = await stack.database.pool.query<{ step: string; attempt: number; worker: string }>(
    'SELECT step, attempt, worker FROM session_chain.attempts WHERE project_id = $1 ORDER BY id',
    [projectId],
  );
  return rows.map(({ worker, ...row }) => ({ ...row, pid: Number.parseInt(worker) }));
}

/** What agents a worker has begun. */
const startsOf = (worker: TestWorker) =>
  worker
    .output()
    .split('\n')
    .filter((line) => line.includes('"agent.started"'))
    .map((line) => (JSON.parse(line) as { warm: boolean }).warm);

const start = async (request: StartRequest) => await stack.sessionChain.start(request);

describe('of two workers', () => {
  let workers: TestWorker[];
  beforeAll(async () => {
    workers = [await startWorker(), await startWorker()];
  });

  /** The worker of the newest attempt of a project. */
  const holderOf = async (projectId: string) => {
    const newest = (await attemptsOf(projectId)).at(-1);
    const holder = workers.find(({ process }) => process.pid === newest?.pid);
    if (!holder) throw new Error('It is none of the two workers.');
    return holder;
  };

  /** What agents the workers begin meanwhile, for each that begins any. */
  async function begunDuring(work: () => Promise<unknown>): Promise<boolean[][]> {
    const before = workers.map((worker) => startsOf(worker).length);
    await work();
    return workers
      .map((worker, index) => startsOf(worker).slice(before[index]))
      .filter(({ length }) => length > 0);
  }

  // On a busy machine a worker may not take within a second what is offered to it alone; then all may, and it is tried once more.
  it('the one that ran a step gets the next, in the same process, also past an activity of the host', async () => {
    await until(async () => {
      const request = stack.request();
      const started = await start(request);
      const begun = await begunDuring(async () => {
        const result = await stack.sessionChain.wait(started);
        expect(result).toMatchObject({ status: 'completed', head: { seq: 3 } });
      });
      const queues = await queuesOf(started.workflowId);
      expect(queues.filter(([, queue], index) => index === 0 || queue === 'own')).toEqual([
        ['build', 'all'],
        ['metadata', 'own'],
        ['docs', 'own'],
      ]);
      if (queues.length > 3) return false;
      const holder = await holderOf(request.projectId);
      if (waitedInVain(holder, request.projectId)) return false;
      expect((await attemptsOf(request.projectId)).map(({ pid }) => pid)).toEqual(
        Array.from({ length: 3 }, () => holder.process.pid),
      );
      expect(begun).toEqual([[false, true, true]]);
      return true;
    });
  });

  it('the one that answered a question gets the next question of the chat', async () => {
    await until(async () => {
      const { projectId } = stack.request();
      await stack.sessionChain.wait(await start({ ...stack.request(projectId), steps: ['build'] }));
      const begun = await begunDuring(async () => {
        await stack.sessionChain.ask({ projectId, text: 'What was built?' });
        await stack.sessionChain.ask({ projectId, text: 'Why?' });
      });
      const queues = (await queuesOf(`chat/${projectId}/${projectId}`)).map(([, queue]) => queue);
      expect(queues.slice(0, 2)).toEqual(['all', 'own']);
      if (queues.length > 2) return false;
      expect(begun).toEqual([[false, true]]);
      return true;
    });
  });

  it('the other takes the next step within seconds when the first stops, and that counts as no try', async () => {
    const request = stack.request();
    let stopped: number | undefined;
    between = async () => {
      const holder = await holderOf(request.projectId);
      stopped = holder.process.pid;
      await holder.kill('SIGTERM');
      workers = [...workers.filter((worker) => worker !== holder), await startWorker()];
    };
    const started = await start({ ...request, limits: { docs: { maxAttempts: 1 } } });
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 3 } });
    expect(await queuesOfDocs(started.workflowId)).toEqual(['own', 'all']);
    const docs = (await attemptsOf(request.projectId)).at(-1);
    expect(docs).toMatchObject({ step: 'docs', attempt: 1 });
    expect(docs?.pid).not.toBe(stopped);
  });

  it('the other goes on with a step in which the first is killed, as its second attempt', async () => {
    const request = stack.request();
    between = async () => undefined;
    const held = stack.model.holdNext(({ step }) => step === 'docs');
    const started = await start(request);
    await held.reached;
    const holder = await holderOf(request.projectId);
    await holder.kill('SIGKILL');
    held.remove();
    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({ status: 'completed', head: { seq: 3 } });
    expect(result.steps.at(-1)).toMatchObject({ step: 'docs', attempts: 2 });
    expect(await queuesOfDocs(started.workflowId)).toEqual(['own', 'all']);
  });
});

describe('a worker with one place', () => {
  it('runs the agents of two chains one at a time, and both chains to their end', async () => {
    const worker = await stack.onlyWorker({
      SESSION_CHAIN_CONFIG: configuration,
      SESSION_CHAIN_MAX_AGENTS: '1',
    });
    between = async () => undefined;
    const started = await Promise.all([start(stack.request()), start(stack.request())]);
    const results = await Promise.all(started.map(async (one) => await stack.sessionChain.wait(one)));
    expect(results.map(({ status }) => status)).toEqual(['completed', 'completed']);
    let running = 0;
    const most = worker
      .output()
      .split('\n')
      .flatMap((line) => /"agent\.(started|ended|failed)"/.exec(line)?.[1] ?? [])
      .map((event) => (running += event === 'started' ? 1 : -1));
    expect([most.length, Math.max(...most)]).toEqual([12, 1]);
  });

  it('is left by a chain that is cancelled while its next step waits for a worker', async () => {
    const worker = await stack.onlyWorker({
      SESSION_CHAIN_CONFIG: configuration,
      SESSION_CHAIN_MAX_AGENTS: '1',
    });
    const request = stack.request();
    between = async () => await worker.kill('SIGKILL');
    const started = await start(request);
    await until(async () => worker.process.signalCode !== null);
    await stack.sessionChain.cancel(started);
    await startWorker();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled', head: { seq: 2 } });
  });

  it('keeps no process and polls no queue of its own where it is told to start each anew', async () => {
    const worker = await stack.onlyWorker({ SESSION_CHAIN_CONFIG: configuration, SESSION_CHAIN_WARM: '0' });
    between = async () => undefined;
    const started = await start({ ...stack.request(), steps: ['build', 'metadata'] });
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
    expect(startsOf(worker)).toEqual([false, false]);
    expect((await queuesOf(started.workflowId)).map(([, queue]) => queue)).toEqual(['all', 'all']);
  });
});
