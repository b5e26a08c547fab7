import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { startServer } from '../dev/server.js';
import { findTemporalCli } from '../dev/temporal-cli.js';
import { startTemporal } from '../dev/temporal.js';
import { cpuMsOf } from './cpu.js';
import type { EmptyRun, EmptyWorkerOptions } from './empty-worker.js';
import { type Row, row } from './report.js';

const chainsAtOnce = 8;

/**
 * Chains whose activities do nothing: what is left is Temporal, alternating between our settings and the defaults of
 * the dev server and the SDK. `runs` counts chains that run alone, `chains` those of a batch that runs several at once.
 */
export async function measureEmptyChains(runs: number, chains = 40): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'session-chain-bench-empty-'));
  const closing: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  try {
    const cliPath = await findTemporalCli();
    const tuned = await startTemporal({
      cliPath,
      dbFile: join(folder, 'temporal.db'),
      logFile: join(folder, 'tuned.log'),
      namespace: 'default',
      searchAttributes: [],
    });
    closing.unshift(() => tuned.stop());
    const stock = await startStockServer(cliPath, join(folder, 'stock.log'));
    closing.unshift(() => stock.stop());
    const [ours, theirs] = await Promise.all([
      startSide(tuned.pid, { address: tuned.address, tuned: true }),
      startSide(stock.pid, { address: stock.address, tuned: false }),
    ]);
    closing.unshift(
      () => ours.stop(),
      () => theirs.stop(),
    );
    return await compare(
      { ...ours, address: tuned.address },
      { ...theirs, address: stock.address },
      runs,
      chains,
    );
  } finally {
    for (const close of closing) await close();
  }
}

async function compare(
  ours: Side & { address: string },
  theirs: Side & { address: string },
  runs: number,
  chains: number,
): Promise<Row[]> {
  const single: Record<'ours' | 'theirs', MeasuredRun[]> = { ours: [], theirs: [] };
  // The first of each meets cold caches.
  for (let run = 0; run <= runs; run++) {
    const [tuned, stock] = [await ours.run(1, 1), await theirs.run(1, 1)];
    if (run === 0) continue;
    single.ours.push(tuned);
    single.theirs.push(stock);
  }
  const batches: Record<'ours' | 'theirs', MeasuredRun[]> = { ours: [], theirs: [] };
  for (let batch = 0; batch < 3; batch++) {
    batches.ours.push(await ours.run(chains, chainsAtOnce));
    batches.theirs.push(await theirs.run(chains, chainsAtOnce));
  }
  const stockName = 'stock dev server and worker';
  const perChain = (side: 'ours' | 'theirs', of: (run: MeasuredRun) => number) =>
    batches[side].map((run) => of(run) / chains);
  const cpuRow = (name: string, of: (run: MeasuredRun) => number): Row =>
    row({
      part: 'empty',
      name,
      unit: 'ms',
      values: perChain('ours', of),
      peer: { name: stockName, values: perChain('theirs', of) },
    });
  const idsOf = (measured: MeasuredRun[]) => measured.flatMap(({ workflowIds }) => workflowIds);
  const times = {
    ours: await taskTimesOf(ours.address, idsOf(single.ours)),
    theirs: await taskTimesOf(theirs.address, idsOf(single.theirs)),
  };
  const timeRow = (name: string, of: (times: TaskTimes) => number): Row =>
    row({
      part: 'empty',
      name,
      unit: 'ms',
      values: times.ours.map(of),
      peer: { name: stockName, values: times.theirs.map(of) },
    });
  return [
    row({
      part: 'empty',
      name: 'chain of empty steps (how many times faster)',
      unit: 'ms',
      values: single.ours.map(({ wallMs }) => wallMs),
      peer: { name: stockName, values: single.theirs.map(({ wallMs }) => wallMs) },
      ratioOf: 'peer/figure',
      goal: { text: '>= 6', met: (ratio) => ratio >= 6 },
    }),
    timeRow('of that until its tasks have reached the worker', ({ waitingMs }) => waitingMs),
    timeRow('of that at the worker, until the server has the result', ({ workingMs }) => workingMs),
    row({
      part: 'empty',
      name: `chains a second, ${chainsAtOnce} at once`,
      unit: '/s',
      values: batches.ours.map(({ wallMs }) => (1000 * chains) / wallMs),
      peer: {
        name: stockName,
        values: batches.theirs.map(({ wallMs }) => (1000 * chains) / wallMs),
      },
    }),
    cpuRow('CPU of the server per chain', ({ serverCpuMs }) => serverCpuMs),
    cpuRow('CPU of worker and client per chain', ({ workerCpuMs }) => workerCpuMs),
  ];
}

/** Where the time of a chain went, by its history: its tasks follow each other, one at a time. */
interface TaskTimes {
  /** From the moments at which its tasks were scheduled to their starts. */
  waitingMs: number;
  /** From their starts to their ends. */
  workingMs: number;
}

async function taskTimesOf(address: string, workflowIds: string[]): Promise<TaskTimes[]> {
  const connection = await Connection.connect({ address });
  try {
    const { workflow } = new Client({ connection });
    return await Promise.all(
      workflowIds.map(async (id) => {
        const { events } = await workflow.getHandle(id).fetchHistory();
        const times: TaskTimes = { waitingMs: 0, workingMs: 0 };
        let before = 0;
        for (const event of events ?? []) {
          const at = Number(event.eventTime?.seconds ?? 0) * 1000 + (event.eventTime?.nanos ?? 0) / 1e6;
          if (event.workflowTaskStartedEventAttributes ?? event.activityTaskStartedEventAttributes)
            times.waitingMs += at - before;
          if (event.workflowTaskCompletedEventAttributes ?? event.activityTaskCompletedEventAttributes)
            times.workingMs += at - before;
          before = at;
        }
        return times;
      }),
    );
  } finally {
    await connection.close();
  }
}

/** A server and the process that works on it. */
interface Side {
  /** Runs this many chains, this many at once. */
  run(chains: number, atOnce: number): Promise<MeasuredRun>;
  stop(): Promise<void>;
}

type MeasuredRun = EmptyRun & { serverCpuMs: number };

async function startSide(serverPid: number, options: EmptyWorkerOptions): Promise<Side> {
  const child = fork(join(import.meta.dirname, 'empty-worker.js'), [JSON.stringify(options)]);
  const exited = once(child, 'exit');
  await answerOf(child);
  return {
    async run(chains, atOnce) {
      const before = cpuMsOf(serverPid);
      child.send({ chains, atOnce });
      const run = (await answerOf(child)) as EmptyRun;
      return { ...run, serverCpuMs: cpuMsOf(serverPid) - before };
    },
    async stop() {
      child.disconnect();
      await exited;
    },
  };
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const gone = new AbortController();
  const onExit = () => gone.abort(new Error('The worker of the empty chains died.'));
  child.once('exit', onExit);
  try {
    const [message] = (await once(child, 'message', { signal: gone.signal })) as [unknown];
    return message;
  } finally {
    child.off('exit', onExit);
  }
}

/** As `temporal server start-dev` comes, on free ports of loopback. */
async function startStockServer(cliPath: string, logFile: string) {
  const { server, ports } = await startServer({
    name: 'The stock Temporal dev server',
    logFile,
    ports: { port: undefined, uiPort: undefined },
    command: ({ port, uiPort }) => ({
      command: cliPath,
      args: ['server', 'start-dev', '--port', String(port), '--ui-port', String(uiPort)],
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TZ: 'UTC' },
    }),
    isReady: async ({ port }) => {
      const connection = await Connection.connect({ address: `127.0.0.1:${port}`, connectTimeout: 2_000 });
      await connection.workflowService
        .describeNamespace({ namespace: 'default' })
        .finally(() => connection.close());
      return true;
    },
  });
  return { pid: server.pid, address: `127.0.0.1:${ports.port}`, stop: () => server.stop() };
}
