import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf } from '../../agent/process/marked-processes.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';
import { type TestWorker, until } from '../support/chain-stack.js';
import type { Lane } from './lane.js';
import type { FaultName } from './matrix.js';
import type { Barrier } from './moments.js';
import type { Witness } from './witness.js';

/** A chain that is held at its moment. */
export interface FaultContext {
  lane: Lane;
  worker: TestWorker;
  barrier: Barrier;
  model: OfflineModel;
  witness: Witness;
  stallMs: number;
  /** Starts another worker on the same task queue. */
  startWorker: () => Promise<TestWorker>;
  isChainClosed: () => Promise<boolean>;
}

/** Strikes, lets the chain go on from its moment, and mends what it broke; what is still wrong then is the chain's matter. */
export async function strike(fault: FaultName, context: FaultContext): Promise<void> {
  await strikes[fault](context);
}

const strikes: Record<FaultName, (context: FaultContext) => Promise<void>> = {
  async 'sigkill-worker'({ worker, barrier, startWorker }) {
    await worker.kill('SIGKILL');
    // What was held on its way to the database dies with its connection.
    if (barrier.place !== 'database') barrier.release();
    await startWorker();
  },

  async 'sigkill-agent'({ worker, barrier }) {
    const agents = worker.agentProcesses().filter((pid) => commandOf(pid) === 'claude');
    if (agents.length === 0) throw new Error('There is no agent to kill.');
    for (const pid of agents) process.kill(pid, 'SIGKILL');
    barrier.release();
  },

  async 'sigterm-worker'({ worker, barrier, startWorker }) {
    worker.process.kill('SIGTERM');
    // The agent is interrupted where it is; what waits at the database is let go on, for the worker waits for it.
    if (barrier.place !== 'database') await until(() => worker.agentProcesses().length === 0);
    barrier.release();
    // Not a second signal: that would end it at once.
    await Promise.all([until(() => worker.process.exitCode !== null), startWorker()]);
  },

  async 'freeze-worker'({ worker, barrier, model, witness, startWorker, isChainClosed }) {
    await worker.kill('SIGSTOP');
    // What waits at the database comes there late, when another attempt has taken over.
    if (barrier.place !== 'database') barrier.release();
    const frozen = (await witness.attempts()).map(({ sessionId }) => sessionId as string | undefined);
    const taken = model.inject({
      hold: 'before',
      times: Infinity,
      when: ({ sessionId }) => !frozen.includes(sessionId),
    });
    await startWorker();
    await until(async () => taken.hits.length > 0 || (await isChainClosed()));
    const [running] = taken.hits;
    const before = await witness.snapshot(running?.sessionId);
    await worker.kill('SIGCONT');
    barrier.release();
    await until(() => worker.agentProcesses().length === 0);
    await worker.kill('SIGTERM');
    requireSame(before, await witness.snapshot(running?.sessionId));
    taken.remove();
  },

  async 'sigkill-temporal'({ lane, barrier }) {
    process.kill(lane.temporal.pid, 'SIGKILL');
    barrier.release();
    await lane.restartTemporal();
  },

  async 'sigkill-postgres'({ lane, barrier }) {
    process.kill(lane.postgres.pid, 'SIGKILL');
    barrier.release();
    await lane.restartPostgres();
  },

  async 'stall-postgres'({ lane, barrier, stallMs }) {
    // Its backends are sessions of their own, so the group is stopped one by one, the postmaster first.
    const { pid } = lane.postgres;
    process.kill(pid, 'SIGSTOP');
    const backends = await childrenOf(pid);
    for (const backend of backends) signal(backend, 'SIGSTOP');
    barrier.release();
    // The length of the stall is the fault itself.
    await sleep(stallMs);
    for (const stopped of [...backends, pid]) signal(stopped, 'SIGCONT');
  },

  async 'stop-redis'({ lane, barrier }) {
    await lane.redis.stop();
    barrier.release();
  },
};

/** The name of a process as the kernel has it. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // A backend that has ended meanwhile.
  }
}

function requireSame(before: unknown, after: unknown): void {
  const [first, second] = [JSON.stringify(before), JSON.stringify(after)];
  if (first === second) return;
  const at = [...first].findIndex((character, index) => character !== second[index]);
  throw new Error(
    `The thawed worker changed something: ${first.slice(at - 150, at + 100)} became ${second.slice(at - 150, at + 100)}`,
  );
}
