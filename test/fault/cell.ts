import { createSessionChain } from '../../client/session-chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../../contracts/ids.js';
import { isClosed } from '../../contracts/steps.js';
import { startOfflineModel } from '../../dev/offline-model/server.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { createPool } from '../../storage/db/pool.js';
import { processesNaming } from '../support/processes.js';
import { type TestWorker, until } from '../support/chain-stack.js';
import { stepOf } from './definition.js';
import { strike } from './faults.js';
import { startHost } from './host.js';
import { type Lane, deployTaskQueueOf, policyFor, projectId } from './lane.js';
import { type Cell, chainOf } from './matrix.js';
import { type MomentContext, beforeStep, hold } from './moments.js';
import { startStatementProxy } from './statement-proxy.js';
import { createCallWitness, createWitness } from './witness.js';

export interface CellResult {
  /** What went wrong; empty for a cell that passed. */
  problems: string[];
  /** Or calls of the host. */
  attempts: number;
  /** Answered requests that asked for a model turn which an earlier attempt had stored. */
  paidTwice: number;
  /** Answered turns that no transcript holds: those in flight. */
  lost: number;
  /** Whether the step went on in a process that waited. */
  warm: boolean;
  durationMs: number;
}

/** Runs the chain of a cell on a prepared base, strikes at the moment, and judges what became of it. */
export async function runCell(lane: Lane, cell: Cell, options: { stallMs: number }): Promise<CellResult> {
  const startedAt = performance.now();
  const { mode, moment, step, fault } = cell;
  const name = `${mode}_${step}_${moment}_${fault}`.replaceAll('-', '_');
  const steps = chainOf(cell);
  const { databaseUrl, workspace } = await lane.createBase(steps[0] ?? step, name);
  const versionId = parseVersionId('version');
  const key = { projectId: parseProjectId(projectId), versionId, buildId: parseBuildId(versionId) };
  const pool = createPool(databaseUrl, { applicationName: 'test' });
  const proxy = await startStatementProxy(databaseUrl);
  const model = await startOfflineModel();
  const watched = await watch();
  const { witness } = watched;
  const workers: TestWorker[] = [];
  const startWorker = async () => {
    const worker = await lane.startWorker({
      name: `${name}/worker-${workers.length + 1}`,
      databaseUrl: proxy.url,
      model,
      taskQueue: name,
      warm: mode === 'warm',
    });
    workers.push(worker);
    return worker;
  };
  const whenAnswered = async <Value>(read: () => Promise<Value>, otherwise: Value): Promise<Value> =>
    await read().catch((error: unknown) => {
      if (isAway(error)) return otherwise;
      throw error;
    });
  const isChainClosed = async () =>
    await whenAnswered(async () => isClosed((await readChainState(pool, key)).status), false);
  /** For a chain that is held; one that has ended was not. */
  const isOver = async (): Promise<false> => {
    if (await isChainClosed())
      throw new Error(
        `The chain ended before its moment: ${workers.map((worker) => worker.output()).join('')}`,
      );
    return false;
  };
  async function watch(): Promise<MomentContext> {
    const definition = stepOf(lane.definition, step);
    if (definition.kind !== 'activity') {
      const witness = createWitness({ ...key, pool, model, step: definition, workspace });
      return { step: definition, workspace, model, proxy, witness };
    }
    const address = lane.temporal.address;
    const host = await startHost(definition, { address, taskQueue: deployTaskQueueOf(name) });
    const witness = createCallWitness({ ...key, pool, workspace, step: definition, calls: host.calls });
    return { step: definition, host, proxy, witness };
  }
  /** Of the other steps of the chain that run Claude Code. */
  const others = steps.flatMap((other) => {
    const definition = stepOf(lane.definition, other);
    if (other === step || definition.kind === 'activity') return [];
    return [createWitness({ ...key, pool, model, step: definition, workspace })];
  });
  const problems: string[] = [];
  let attempts = 0;
  let turns = { paidTwice: 0, lost: 0 };
  try {
    const worker = await startWorker();
    const chains = createSessionChain({
      pool,
      temporal: lane.client,
      policy: policyFor(name),
      searchAttributes: 'off',
    });
    // What comes before the step passes undisturbed.
    const begin =
      steps[0] === step || moment === 'parked' || 'host' in watched ? undefined : beforeStep(watched);
    let barrier = begin ?? hold(moment, watched);
    const { workflowId } = await chains.start({ ...key, steps, workspace, createRows: true });
    const isHeld = async () => (await isOver()) || (await barrier.isReached());
    await until(isHeld);
    if (begin) {
      barrier = hold(moment, watched);
      begin.release();
      await until(isHeld);
    }
    await strike(fault, { lane, worker, barrier, model, witness, startWorker, isChainClosed, ...options });
    await until(isChainClosed);
    const { status, warnings, failure } = await readChainState(pool, key);
    if (status !== 'completed')
      problems.push(`The chain is ${status}: ${[...warnings, failure?.message].join(' ')}`);
    await until(async () => {
      const described = await lane.client.workflow
        .getHandle(workflowId)
        .describe()
        .catch(() => undefined);
      return (
        described?.status.name === 'COMPLETED' ||
        (described?.status.name === 'FAILED' && status !== 'completed')
      );
    });
    for (const each of [witness, ...others]) problems.push(...(await each.problems()));
    attempts = 'host' in watched ? watched.host.calls.length : (await witness.attempts()).length;
    for (const each of [witness, ...others]) {
      const { paidTwice, lost } = await each.turns();
      turns = { paidTwice: turns.paidTwice + paidTwice, lost: turns.lost + lost };
    }
    if (turns.paidTwice > 0) problems.push(`${turns.paidTwice} stored turns were paid again.`);
    // While appends are held, a call runs on its note, and the turn after it is in flight as well. In mid-tool the entry of the
    // call may be on its way when the database stalls.
    const areHeld = moment === 'not-copied' || (moment === 'mid-tool' && fault === 'stall-postgres');
    const mostLost = areHeld ? 2 : 1;
    if (turns.lost > mostLost)
      problems.push(`${turns.lost} turns were lost, more than the ${mostLost} in flight.`);
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    for (const worker of workers) worker.process.kill('SIGCONT');
    await Promise.all(workers.map((worker) => worker.kill('SIGTERM')));
    const orphans = processesNaming(`${lane.folder}/${name}`);
    if (orphans.length > 0) problems.push(`Processes were left behind: ${orphans.join(', ')}.`);
    if ('host' in watched) await watched.host.stop();
    await proxy.stop();
    await model.stop();
    await pool.end();
    if (fault === 'stop-redis') await lane.restartRedis();
    await lane.dropBase(name);
  }
  if (problems.length > 0)
    problems.push(...workers.map((worker, index) => `worker ${index + 1}: ${worker.output()}`));
  const warm = workers.some((worker) => wentOn(worker, step));
  return { problems, attempts, ...turns, warm, durationMs: performance.now() - startedAt };
}

/** Whether a process that waited went on with this step, by the worker's log. */
function wentOn(worker: TestWorker, step: string): boolean {
  return worker
    .output()
    .split('\n')
    .some(
      (line) =>
        line.includes('"agent.started"') && line.includes(`"step":"${step}"`) && line.includes('"warm":true'),
    );
}

function isAway(error: unknown): boolean {
  return error instanceof SessionChainError && error.code === 'DATABASE_UNAVAILABLE';
}
