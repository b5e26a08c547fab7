import { setTimeout as sleep } from 'node:timers/promises';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { StartedChain } from '../client/session-chain.js';
import { readChain } from '../storage/chains/chains.js';
import { cpuMsOfTree, residentMbOf } from './cpu.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';

const waiters = 1_000;

/** The cost of waiting for a project: the wake-up of the next chain, and the memory of a long queue. */
export async function measureQueue(stack: BenchStack, runs: number): Promise<Row[]> {
  const handOvers: number[] = [];
  const starts: number[] = [];
  for (let run = 0; run <= runs; run++) {
    const projectId = `bench-queue-${run}`;
    const held = stack.model.holdNext();
    const first = await start(stack, projectId, 'v1');
    await held.reached;
    const second = await start(stack, projectId, 'v2');
    await untilQueued(stack, [second]);
    held.remove();
    await Promise.all([first, second].map((chain) => stack.sessionChain.wait(chain)));
    const [one, two] = [await readChain(stack.pool, first), await readChain(stack.pool, second)];
    if (run === 0 || !one?.closedAt || !two?.openedAt || !one.openedAt) continue;
    handOvers.push(two.openedAt.getTime() - one.closedAt.getTime());
    starts.push(one.openedAt.getTime() - one.createdAt.getTime());
  }

  const projectId = 'bench-queue-long';
  const held = stack.model.holdNext();
  await start(stack, projectId, 'holder');
  await held.reached;
  const { worker, temporal } = stack.pids;
  const before = { worker: residentMbOf(worker), server: residentMbOf(temporal) };
  const chains: StartedChain[] = [];
  for (let at = 0; at < waiters; at += 20) {
    chains.push(
      ...(await Promise.all(Array.from({ length: 20 }, (_, n) => start(stack, projectId, `w${at + n}`)))),
    );
  }
  await untilQueued(stack, chains.slice(-20));
  const after = { worker: residentMbOf(worker), server: residentMbOf(temporal) };
  const idle = await idleCpu(stack);
  held.remove();
  return [
    row({
      part: 'queue',
      name: 'wake-up of the next in the queue: close to open',
      unit: 'ms',
      values: handOvers,
      peer: { name: 'start to open on a free project', values: starts },
    }),
    row({
      part: 'queue',
      name: `memory of the worker per chain in a queue of ${waiters}`,
      unit: 'kB',
      values: [((after.worker - before.worker) / waiters) * 1000],
      goal: { text: '<= 110', met: (kB) => kB <= 110 },
    }),
    row({
      part: 'queue',
      name: `memory of the Temporal server per chain in a queue of ${waiters}`,
      unit: 'kB',
      values: [((after.server - before.server) / waiters) * 1000],
      goal: { text: '<= 60', met: (kB) => kB <= 60 },
    }),
    row({
      part: 'queue',
      name: `CPU of worker and server while ${waiters} wait, per second`,
      unit: 'ms',
      values: [idle],
    }),
  ];
}

async function start(stack: BenchStack, projectId: string, versionId: string): Promise<StartedChain> {
  const workspace = join(stack.folder, 'workspaces', projectId);
  mkdirSync(workspace, { recursive: true });
  return await stack.sessionChain.start({
    projectId,
    versionId: `${projectId}-${versionId}`,
    workspace,
    steps: ['build'],
    createRows: true,
  });
}

async function untilQueued(stack: BenchStack, chains: StartedChain[]): Promise<void> {
  for (const chain of chains) {
    while (((await readChain(stack.pool, chain))?.position ?? null) === null) await sleep(50);
  }
}

/** Between two looks of the queued chains: none asks, none is woken. */
async function idleCpu(stack: BenchStack): Promise<number> {
  const pids = [stack.pids.worker, stack.pids.temporal];
  const seconds = 5;
  const before = await cpuMsOfTree(pids);
  await sleep(1_000 * seconds);
  return ((await cpuMsOfTree(pids)) - before) / seconds;
}
