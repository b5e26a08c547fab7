import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { childrenOf, killQuietly } from '../../agent/process/marked-processes.js';
import { createSessionChain } from '../../client/session-chain.js';
import type { ChainKey } from '../../contracts/ids.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../../contracts/ids.js';
import { isClosed } from '../../contracts/steps.js';
import { startOfflineModel } from '../../dev/offline-model/server.js';
import { migrate } from '../../storage/db/migrate.js';
import { createPool } from '../../storage/db/pool.js';
import { processesNaming } from '../support/processes.js';
import type { TestWorker } from '../support/chain-stack.js';
import { stepOf, writeDefinition } from './definition.js';
import { commandOf } from './faults.js';
import { startHost } from './host.js';
import { type Lane, deployTaskQueueOf, newFolder, policyFor, startLaneIn } from './lane.js';
import { type Judgement, judgeChains } from './random-judge.js';
import { writeFromBuilds } from './random-writes.js';

export interface RandomKillsOptions {
  /** At least so many of each: one goes on until the other has its number. */
  chains: number;
  faults: number;
  workers: number;
  /** Chains that are open at once. */
  atOnce: number;
  seed: number;
  onProgress: (line: string) => void;
}

export interface RandomKillsResult extends Judgement {
  /** How often each fault struck. */
  faults: Record<string, number>;
}

const taskQueue = 'random';
const patienceMs = 30 * 60_000;

/**
 * Many chains, each of a project of its own, while workers, agents and servers are killed and frozen at random moments.
 * Judged at the end, when nothing runs any more.
 */
export async function runRandomKills(options: RandomKillsOptions): Promise<RandomKillsResult> {
  const folder = newFolder('random-kills');
  const { file, definition } = await writeDefinition(folder);
  const lane = await startLaneIn(folder, { file, definition });
  const model = await startOfflineModel({ maxLoggedRequests: Infinity });
  writeFromBuilds(model);
  const databaseUrl = await createDatabase(lane);
  const pool = createPool(databaseUrl, { applicationName: 'test' });
  const deploy = stepOf(definition, 'deploy');
  if (deploy.kind !== 'activity') throw new Error('The step deploy is no activity.');
  const host = await startHost(deploy, {
    address: lane.temporal.address,
    taskQueue: deployTaskQueueOf(taskQueue),
  });
  const sessionChain = createSessionChain({
    pool,
    temporal: lane.client,
    policy: policyFor(taskQueue),
    searchAttributes: 'off',
  });
  const crew: Crew = { places: [], started: 0 };
  const startWorker = async (): Promise<TestWorker> =>
    await lane.startWorker({
      name: `worker-${++crew.started}`,
      ...{ databaseUrl, model, taskQueue },
      maxAgents: 2,
    });

  const chains: (ChainKey & { workspace: string })[] = [];
  let isDone = false;

  async function startChain(): Promise<void> {
    const name = `p${chains.length + 1}`;
    const workspace = join(folder, 'files', name);
    mkdirSync(workspace, { recursive: true });
    const key = { projectId: parseProjectId(name), versionId: parseVersionId(`${name}-v1`) };
    chains.push({ ...key, buildId: parseBuildId(key.versionId), workspace });
    // A start whose answer was lost is simply made again.
    await insist(() => sessionChain.start({ ...key, workspace, createRows: true }));
  }

  const openChains = async (): Promise<number> => {
    const states = await insist(() => Promise.all(chains.map((key) => sessionChain.state(key))));
    return states.filter(({ status }) => !isClosed(status)).length;
  };

  /** Until it succeeds: what is struck comes back. */
  async function insist<Value>(call: () => Promise<Value>): Promise<Value> {
    for (let tries = 1; ; tries++) {
      try {
        return await call();
      } catch (error) {
        if (tries === 100) throw error;
        await sleep(300);
      }
    }
  }

  const random = randomFrom(options.seed);
  const faults: Record<string, number> = {};
  const deadline = Date.now() + patienceMs;

  async function feed(): Promise<void> {
    for (;;) {
      const open = await openChains();
      const struck = total(faults);
      const enough = chains.length >= options.chains && struck >= options.faults;
      if (enough && open === 0) break;
      if (!enough && open < options.atOnce) await startChain();
      else await sleep(1_000);
      if (Date.now() > deadline) throw new Error(`${open} of ${chains.length} chains are still open.`);
    }
    isDone = true;
  }

  async function strikeOn(): Promise<void> {
    while (total(faults) < options.faults && !isDone) {
      await sleep(500 + random() * 2_500);
      const name = pick(random, strikes);
      faults[name] = (faults[name] ?? 0) + 1;
      await strikes[name]?.strike({ lane, crew, random, startWorker });
      if (total(faults) % 20 === 0)
        options.onProgress(`${total(faults)} faults, ${chains.length} chains, ${await openChains()} open`);
    }
  }

  try {
    for (let place = 0; place < options.workers; place++) crew.places.push(await startWorker());
    await Promise.all([feed(), strikeOn()]);
    const ends = await Promise.all(
      chains.map(async (key) => ({ ...key, result: await insist(() => sessionChain.wait(key)) })),
    );
    await Promise.all(crew.places.map((worker) => worker.kill('SIGTERM')));
    const orphans = processesNaming(join(folder, 'files')).concat(processesNaming(`${folder}/worker-`));
    const judgement = await judgeChains({ pool, model, definition, chains: ends, orphans });
    return { ...judgement, faults };
  } finally {
    await Promise.allSettled(crew.places.map((worker) => worker.kill('SIGKILL')));
    await host.stop();
    await pool.end();
    await model.stop();
    await lane.stop();
  }
}

/** The workers by their places; one that was killed is replaced there. */
interface Crew {
  places: TestWorker[];
  started: number;
}

interface StrikeContext {
  lane: Lane;
  crew: Crew;
  random: () => number;
  startWorker: () => Promise<TestWorker>;
}

/** Every strike mends what it broke before it returns; agents and chains are the product's matter. */
const strikes: Record<string, { weight: number; strike: (context: StrikeContext) => Promise<void> }> = {
  'agent killed': {
    weight: 6,
    async strike({ crew, random }) {
      const agents = crew.places
        .flatMap((worker) => worker.agentProcesses())
        .filter((pid) => commandOf(pid) === 'claude');
      const agent = agents[Math.floor(random() * agents.length)];
      if (agent !== undefined) killQuietly(agent, 'SIGKILL');
    },
  },
  'worker killed': { weight: 5, strike: (context) => replaceWorker(context, 'SIGKILL') },
  'worker told to stop': { weight: 1, strike: (context) => replaceWorker(context, 'SIGTERM') },
  'worker frozen': {
    weight: 4,
    async strike({ crew, random }) {
      const worker = crew.places[Math.floor(random() * crew.places.length)];
      worker?.process.kill('SIGSTOP');
      // From less than a lease to several.
      await sleep(1_000 + random() * 11_000);
      worker?.process.kill('SIGCONT');
    },
  },
  'Temporal killed': {
    weight: 2,
    async strike({ lane, random }) {
      killQuietly(lane.temporal.pid, 'SIGKILL');
      await sleep(random() * 3_000);
      await lane.restartTemporal();
    },
  },
  'Postgres killed': {
    weight: 2,
    async strike({ lane, random }) {
      killQuietly(lane.postgres.pid, 'SIGKILL');
      await sleep(random() * 3_000);
      await lane.restartPostgres();
    },
  },
  'Postgres frozen': {
    weight: 1,
    async strike({ lane, random }) {
      const { pid } = lane.postgres;
      const processes = [pid, ...(await childrenOf(pid))];
      for (const process of processes) killQuietly(process, 'SIGSTOP');
      await sleep(1_000 + random() * 7_000);
      for (const process of processes) killQuietly(process, 'SIGCONT');
    },
  },
  'Redis killed': {
    weight: 1,
    async strike({ lane }) {
      killQuietly(lane.redis.pid, 'SIGKILL');
      await lane.redis.exited;
      await lane.restartRedis();
    },
  },
};

async function replaceWorker(
  { crew, random, startWorker }: StrikeContext,
  signal: 'SIGKILL' | 'SIGTERM',
): Promise<void> {
  const place = Math.floor(random() * crew.places.length);
  await crew.places[place]?.kill(signal);
  crew.places[place] = await startWorker();
}

async function createDatabase({ postgres }: Lane): Promise<string> {
  const client = new pg.Client(postgres.url);
  await client.connect();
  await client.query('CREATE DATABASE random_kills');
  await client.end();
  const url = new URL(postgres.url);
  url.pathname = '/random_kills';
  await migrate(url.href);
  return url.href;
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function pick(random: () => number, choices: typeof strikes): string {
  const weighted = Object.entries(choices);
  let dice = random() * weighted.reduce((sum, [, { weight }]) => sum + weight, 0);
  const [name] = weighted.find(([, { weight }]) => (dice -= weight) < 0) ?? weighted[0] ?? [''];
  return name;
}

/** Numbers from 0 to 1 that the seed decides (a linear congruential generator modulo 2^31 − 1). */
function randomFrom(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
