import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { chainKey, createSessionChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainPolicy } from '../../contracts/chain.js';
import type { ChainOverrides } from '../../contracts/plan.js';
import { createPool } from '../../storage/db/pool.js';
import { createRecorder } from './history.js';

/** A process that starts chains all at once, waits for them, and writes down every head that it reads meanwhile. */
export interface StarterOptions {
  /** Of the history file; no other process has it. */
  name: string;
  folder: string;
  databaseUrl: string;
  temporalAddress: string;
  policy: ChainPolicy;
  overrides: ChainOverrides;
  /** All requests of all starters: no chain is refused. */
  maxQueued: number;
  requests: (StartRequest & { versionId: string })[];
}

const options = JSON.parse(process.argv[2] ?? '') as StarterOptions;
const connection = await Connection.connect({ address: options.temporalAddress });
const pool = createPool(options.databaseUrl, { applicationName: 'concurrency starter', max: 8 });
const sessionChain = createSessionChain({
  pool,
  temporal: new Client({ connection }),
  policy: options.policy,
  overrides: options.overrides,
  maxQueued: options.maxQueued,
  searchAttributes: 'on',
});
const recorder = createRecorder(options.folder, options.name);
const projects = [...new Set(options.requests.map(({ projectId }) => projectId))];

let isOver = false;
await Promise.all(options.requests.map(async (request) => sessionChain.start(request)));
const readers = projects.map((project) => readHeads(project));
await Promise.all(options.requests.map(async (request) => sessionChain.wait(chainKey(request))));
isOver = true;
await Promise.all(readers);
recorder.close();
await pool.end();
await connection.close();

async function readHeads(project: string): Promise<void> {
  while (!isOver) {
    await recorder.record(`${options.name}/${project}`, project, { kind: 'read' }, async () => ({
      outcome: 'read',
      head: await sessionChain.head(project),
    }));
    await sleep(100);
  }
}
