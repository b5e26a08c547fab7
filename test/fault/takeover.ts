import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSessionChain } from '../../client/session-chain.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../../contracts/ids.js';
import { callTools } from '../../dev/offline-model/messages.js';
import { startOfflineModel } from '../../dev/offline-model/server.js';
import { createPool, type Pool } from '../../storage/db/pool.js';
import { type StepOperation, beginOperation } from '../../storage/operations/operations.js';
import { type TestWorker, until } from '../support/chain-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { shippedStep } from './definition.js';
import { type Lane, policyFor, projectId } from './lane.js';
import { createWitness, isTurn } from './witness.js';

/** What keeps a worker from its lease while its agent writes. */
export const losses = {
  frozen: 'is frozen',
  away: 'has lost its database',
  told: 'is told to stop',
} as const;
export type Loss = keyof typeof losses;
export const lossNames = Object.keys(losses) as Loss[];

export interface TakeoverResult {
  /** What went wrong; empty where nothing did. */
  problems: string[];
  /** From the last line that the former agent wrote to the moment at which the next attempt began. */
  marginMs: number;
}

const writers = ['looping', 'detached'] as const;

/**
 * Lets an agent write without end, by a looping shell and by one that has detached itself; takes its worker's lease; and
 * begins the next attempt at the first moment at which the database allows it. From then on nothing may be written. In the
 * end the chain completes, by a third attempt. Meanwhile so many `busy` processes keep the machine from everything else.
 */
export async function runTakeover(
  lane: Lane,
  name: string,
  loss: Loss,
  { busy = 0 } = {},
): Promise<TakeoverResult> {
  const { databaseUrl, workspace } = await lane.createBase('build', name);
  const versionId = parseVersionId('version');
  const key = { projectId: parseProjectId(projectId), versionId, buildId: parseBuildId(versionId) };
  const pool = createPool(databaseUrl, { applicationName: 'test' });
  const proxy = await startTcpProxy(databaseUrl);
  const model = await startOfflineModel();
  const step = shippedStep('build');
  const witness = createWitness({ ...key, pool, model, step, workspace });
  writeFileSync(
    join(workspace, 'write.sh'),
    'while :; do echo "$1 ${EPOCHREALTIME/[.,]/}" >> lines; sleep 0.02; done',
  );
  const writing = model.inject({
    times: Infinity,
    when: (request) => isTurn(request, step.name),
    answer: () =>
      callTools('I write.', {
        name: 'Bash',
        input: { command: 'setsid bash write.sh detached & bash write.sh looping', timeout: 600_000 },
      }),
  });
  const load: ChildProcess[] = [];
  const unload = () => load.splice(0).forEach((process) => process.kill('SIGKILL'));
  const problems: string[] = [];
  let marginMs = NaN;
  let worker: TestWorker | undefined;
  try {
    const former = await lane.startWorker({ name, databaseUrl: proxy.url, model, taskQueue: name });
    worker = former;
    const chains = createSessionChain({
      pool,
      temporal: lane.client,
      policy: policyFor(name),
      searchAttributes: 'off',
    });
    const started = await chains.start({ ...key, steps: [step.name], workspace, createRows: true });
    await until(() => writers.every((writer) => linesIn(workspace, writer).length > 0));
    for (let index = 0; index < busy; index++) load.push(spawn('sh', ['-c', 'while :; do :; done']));
    await lose(loss, former, proxy);
    const begunAtMs = await beginNext(pool);
    // An agent that outlives its lease would go on for minutes.
    await until(() => former.agentProcesses().length === 0, 60_000).catch(() =>
      problems.push('The agent lives on.'),
    );
    marginMs = begunAtMs - Math.max(...writers.map((writer) => linesIn(workspace, writer).at(-1) ?? 0));
    if (marginMs < 0) problems.push(`The agent wrote for ${-marginMs} ms beside the next attempt.`);
    unload();
    writing.remove();
    former.process.kill('SIGCONT');
    if (loss === 'away') await proxy.restore();
    const { status, warnings } = await chains.wait(started);
    // A worker that was told that another attempt has begun leaves the chain to it, and here nobody goes on with it.
    if (loss !== 'told') {
      if (status !== 'completed') problems.push(`The chain is ${status}: ${warnings.join(' ')}`);
      problems.push(...(await witness.problems()));
    }
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    unload();
    worker?.process.kill('SIGCONT');
    await worker?.kill('SIGTERM');
    await proxy.stop();
    await model.stop();
    await pool.end();
    await lane.dropBase(name);
  }
  if (problems.length > 0 && worker) problems.push(worker.output());
  return { problems, marginMs };
}

async function lose(loss: Loss, worker: TestWorker, proxy: TcpProxy): Promise<void> {
  switch (loss) {
    case 'frozen':
      return await worker.kill('SIGSTOP');
    case 'away':
      return await proxy.cut();
    case 'told':
    // By the one that wants to begin.
  }
}

/** Begins the attempt after the one that runs, as another worker would, but without a pause; when that was. */
async function beginNext(pool: Pool): Promise<number> {
  const { rows } = await pool.query<StepOperation & { inputDigest: string; scheduledAt: Date }>(
    `SELECT a.chain AS "chainId", a.ticket::integer, a.step, a.round, a.role, a.base_session_id AS "baseSessionId",
       a.input_digest AS "inputDigest", a.scheduled_at AS "scheduledAt"
     FROM session_chain.attempts a WHERE a.project_id = $1 AND a.state = 'running'`,
    [projectId],
  );
  const [running] = rows;
  if (!running) throw new Error('No attempt runs.');
  const { inputDigest, scheduledAt, ...step } = running;
  for (;;) {
    const begun = await beginOperation(pool, {
      projectId: parseProjectId(projectId),
      inputDigest,
      worker: 'test',
      leaseMs: 0,
      operation: { kind: 'step', ...step, scheduledAtMs: scheduledAt.getTime() },
    });
    if (begun.outcome === 'begun') {
      const { rows: times } = await pool.query<{ atMs: number }>(
        `SELECT extract(epoch FROM started_at)::float8 * 1000 AS "atMs" FROM session_chain.attempts WHERE id = $1`,
        [begun.attempt.attemptId],
      );
      return times[0]?.atMs ?? NaN;
    }
    await sleep(5);
  }
}

/** When a writer wrote its lines, in ms since 1970. */
function linesIn(workspace: string, writer: (typeof writers)[number]): number[] {
  const file = join(workspace, 'lines');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${writer} `))
    .map((line) => Number(line.slice(writer.length)) / 1000);
}
