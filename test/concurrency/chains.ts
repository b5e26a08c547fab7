import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChainStatus } from '../../contracts/steps.js';
import type { Pool } from '../../storage/db/pool.js';
import { startChainStack } from '../support/chain-stack.js';
import { type Rule, check } from './checker.js';
import { type Operation, nowUs, readHistory } from './history.js';
import { readFinalState } from './load.js';
import type { StarterOptions } from './starter.js';

/** Whole chains through the real agent, all started at once by several processes. */
export interface ChainsOptions {
  /** The compiled starter.js. */
  starter: string;
  starters: number;
  workers: number;
  /** How many chains each project gets. */
  chainsPerProject: number[];
  onProgress: (done: number, total: number) => void;
}

export interface ChainsResult {
  rules: Rule[];
  history: Operation[];
  transitions: number;
  durationMs: number;
}

interface ChainRow {
  project: string;
  ticket: number;
  status: ChainStatus;
  openedAt: Date;
  closedAt: Date;
}

export async function runChains(options: ChainsOptions): Promise<ChainsResult> {
  const startedAtUs = nowUs();
  const stack = await startChainStack('concurrency');
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-concurrency-'));
  const { pool } = stack.database;
  try {
    await Promise.all(Array.from({ length: options.workers }, () => stack.startWorker()));
    const requests = options.chainsPerProject.flatMap((count) => {
      const first = stack.request();
      return [first, ...Array.from({ length: count - 1 }, () => stack.request(first.projectId))];
    });
    const watch = setInterval(() => {
      void countClosed(pool).then((done) => options.onProgress(done, requests.length));
    }, 10_000);
    await Promise.all(
      Array.from({ length: options.starters }, async (_, index) => {
        const starterOptions: StarterOptions = {
          name: `s${index}`,
          folder,
          databaseUrl: stack.database.url,
          temporalAddress: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
          policy: stack.policy,
          overrides: stack.overrides,
          maxQueued: requests.length,
          requests: requests.filter((_, place) => place % options.starters === index),
        };
        const child = spawn(process.execPath, [options.starter, JSON.stringify(starterOptions)], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
        const [code] = (await once(child, 'exit')) as [number | null];
        if (code !== 0) throw new Error(`A process that started chains ended with ${String(code)}.`);
      }),
    ).finally(() => clearInterval(watch));
    const projects = [...new Set(requests.map(({ projectId }) => projectId))];
    const final = await readFinalState(pool, projects);
    const history = readHistory(folder);
    return {
      rules: [
        ...check(history, final, { commitsAreRecorded: false }),
        ...ticketOrder(await readChains(pool), requests.length),
        everyStep(final.transitions.length, requests.length),
      ],
      history,
      transitions: final.transitions.length,
      durationMs: (nowUs() - startedAtUs) / 1000,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stack.stop();
  }
}

/** Every chain is completed, and in the order of their tickets each begins where the one before it has ended. */
function ticketOrder(chains: ChainRow[], expected: number): Rule[] {
  const done: Rule = { name: 'every chain is completed', violations: [] };
  const order: Rule = { name: 'every chain works alone, in the order of the tickets', violations: [] };
  if (chains.length !== expected) done.violations.push(`there are ${chains.length} chains`);
  const last = new Map<string, ChainRow>();
  for (const chain of chains) {
    const { project, ticket, status, openedAt, closedAt } = chain;
    if (status !== 'completed')
      done.violations.push(`${project}: the chain with ticket ${ticket} is ${status}`);
    const before = last.get(project);
    if (before && !(before.closedAt <= openedAt))
      order.violations.push(`${project}: ticket ${ticket} began before ticket ${before.ticket} had ended`);
    if (!(openedAt <= closedAt)) order.violations.push(`${project}: ticket ${ticket} ended before it began`);
    last.set(project, chain);
  }
  return [done, order];
}

function everyStep(transitions: number, chains: number): Rule {
  const violations = transitions === 4 * chains ? [] : [`${chains} chains made ${transitions} transitions`];
  return { name: 'every chain made its four transitions', violations };
}

async function readChains(pool: Pool): Promise<ChainRow[]> {
  const { rows } = await pool.query<ChainRow>(
    `SELECT project_id AS project, ticket, status, opened_at AS "openedAt", closed_at AS "closedAt"
     FROM session_chain.chains ORDER BY ticket`,
  );
  return rows;
}

async function countClosed(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT count(*) FROM session_chain.chains WHERE closed_at IS NOT NULL',
  );
  return rows[0]?.count ?? 0;
}
