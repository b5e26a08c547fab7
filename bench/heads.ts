import { performance } from 'node:perf_hooks';
import pg from 'pg';
import type { ChainResult } from '../contracts/chain.js';
import { openChain } from '../storage/chains/chains.js';
import { readChainState } from '../storage/chains/chain-state.js';
import { readHead } from '../storage/heads/heads.js';
import { type Pool, createPool } from '../storage/db/pool.js';
import { cpuMsOfTree } from './cpu.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';
import { begin, closeWith, commit, newKey, open, openOptions, register, runChain } from './storage-chain.js';

const counts = [1, 64] as const;
const chainsPerBatch = 50;

/** The head's own operations beside the same bare statements on pg, and what a large database costs. */
export async function measureHeads(stack: BenchStack, runs: number): Promise<Row[]> {
  const pool = createPool(stack.databaseUrl, { applicationName: 'session-chain bench heads', max: 64 });
  const bare = new pg.Pool({ connectionString: stack.databaseUrl, max: 64 });
  try {
    await Promise.all([connectAll(pool), connectAll(bare)]);
    return [
      ...(await measureCommits(pool, bare, runs)),
      ...(await measureReads(pool, bare, runs)),
      ...(await measureOpenings(pool, bare, runs)),
      ...(await measureSize(stack, pool)),
    ];
  } finally {
    await Promise.all([pool.end(), bare.end()]);
  }
}

async function measureCommits(pool: Pool, bare: pg.Pool, runs: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of counts) {
    const figures = await inTurns(runs, async () => {
      const prepare = async () =>
        await Promise.all(
          Array.from({ length: count }, async () => {
            const chain = await open(pool, await register(pool));
            return await begin(pool, chain, 'build', null);
          }),
        );
      const [ours, theirs] = [await prepare(), await prepare()];
      const statements = await Promise.all(
        theirs.map((attempt) => statementOf((capture) => commit(capture, attempt))),
      );
      return {
        ours: () => Promise.all(ours.map((attempt) => commit(pool, attempt))),
        theirs: () => Promise.all(statements.map((statement) => bare.query(statement))),
      };
    });
    rows.push(
      row({
        part: 'heads',
        name: `head commit, ${count} at a time`,
        unit: 'ms',
        values: figures.ours,
        peer: { name: 'same bare statement', values: figures.theirs },
      }),
    );
  }
  return rows;
}

async function measureReads(pool: Pool, bare: pg.Pool, runs: number): Promise<Row[]> {
  const key = newKey();
  await runChain(pool, key.projectId);
  const statement = await statementOf((capture) => readHead(capture, key.projectId));
  const rows: Row[] = [];
  for (const count of counts) {
    const figures = await inTurns(3 * runs, async () => ({
      ours: () => Promise.all(Array.from({ length: count }, () => readHead(pool, key.projectId))),
      theirs: () => Promise.all(Array.from({ length: count }, () => bare.query(statement))),
    }));
    rows.push(
      row({
        part: 'heads',
        name: `head read, ${count} at a time`,
        unit: 'ms',
        values: figures.ours,
        peer: { name: 'same bare statement', values: figures.theirs },
      }),
    );
  }
  return rows;
}

async function measureOpenings(pool: Pool, bare: pg.Pool, runs: number): Promise<Row[]> {
  const closedAs = async (chain: Parameters<typeof readChainState>[1]): Promise<ChainResult> => ({
    ...(await readChainState(pool, chain)),
    status: 'completed',
  });
  const figures = await inTurns(runs, async () => {
    const [ours, theirs] = [await register(pool), await register(pool)];
    const [ourEnd, theirEnd] = [await closedAs(ours), await closedAs(theirs)];
    const opening = await statementOf((capture) =>
      openChain(capture, theirs, { runId: theirs.runId, home: 'bench', ticket: null }, null, openOptions),
    );
    return {
      ours: async () => {
        await closeWith(pool, await open(pool, ours), ourEnd);
      },
      theirs: async () => {
        const { rows } = await bare.query<{ ticket: string }>(opening);
        const ticket = Number(rows[0]?.ticket);
        await bare.query(await statementOf((capture) => closeWith(capture, { ...theirs, ticket }, theirEnd)));
      },
    };
  });
  return [
    row({
      part: 'heads',
      name: 'open + close, on a free project',
      unit: 'ms',
      values: figures.ours,
      peer: { name: 'same bare statements', values: figures.theirs },
    }),
  ];
}

/**
 * CPU of Postgres and of this process for the database work of a chain, before and after the database has grown large.
 */
async function measureSize(stack: BenchStack, pool: Pool): Promise<Row[]> {
  const batch = async () => {
    const before = await cpuMsOfTree([stack.pids.postgres, process.pid]);
    for (let chain = 0; chain < chainsPerBatch; chain++) await runChain(pool);
    return ((await cpuMsOfTree([stack.pids.postgres, process.pid])) - before) / chainsPerBatch;
  };
  await batch(); // meets cold caches
  const fresh = [await batch(), await batch(), await batch()];
  await grow(pool);
  await batch();
  const large = [await batch(), await batch(), await batch()];
  return [
    row({
      part: 'heads',
      name: 'CPU of a chain at the database, after 10,000 chains and 1,000,000 transitions',
      unit: 'ms',
      values: large,
      peer: { name: 'on a fresh database', values: fresh },
    }),
  ];
}

/** Rows as 10,000 chains on 1,000 projects leave them, and 1,000,000 transitions, a hundred per project. */
async function grow(pool: Pool): Promise<void> {
  await pool.query(`INSERT INTO projects (project_id) SELECT 'grown-' || n FROM generate_series(1, 10000) n`);
  await pool.query(
    `INSERT INTO project_versions (version_id, project_id, status)
     SELECT 'grown-v' || n, 'grown-' || (n % 1000 + 1), 'deployed' FROM generate_series(1, 10000) n`,
  );
  await pool.query(
    `INSERT INTO session_chain.chains (project_id, version_id, build_id, run_id, ticket, last_ticket, mode, steps, workspace, status,
       result, opened_at, closed_at)
     SELECT 'grown-' || (n % 1000 + 1), 'grown-v' || n, 'grown-v' || n, 'run', n, n, 'initial', '{build}', '/nowhere',
       'completed', '{"status": "completed"}', now(), now() FROM generate_series(1, 10000) n`,
  );
  await pool.query(
    `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source, seq, prev_seq)
     SELECT 'grown-' || p, CASE WHEN n > 1 THEN p || '-' || (n - 1) END, p || '-' || n, 'build', n, nullif(n - 1, 0)
     FROM generate_series(1, 10000) p, generate_series(1, 100) n`,
  );
  await pool.query('VACUUM ANALYZE');
}

/** Times two ways to do the same, alternating; the first run of each is not counted. */
async function inTurns(
  runs: number,
  prepare: () => Promise<Record<'ours' | 'theirs', () => Promise<unknown>>>,
): Promise<Record<'ours' | 'theirs', number[]>> {
  const times: Record<'ours' | 'theirs', number[]> = { ours: [], theirs: [] };
  for (let run = 0; run <= 4 * runs; run++) {
    const ways = await prepare();
    for (const side of run % 2 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const)) {
      const before = performance.now();
      await ways[side]();
      if (run > 0) times[side].push(performance.now() - before);
    }
  }
  return times;
}

/** The statement that a function would send. */
async function statementOf(send: (pool: Pool) => Promise<unknown>): Promise<pg.QueryConfig> {
  let captured: pg.QueryConfig | undefined;
  const caught = new Error('captured');
  const capture = {
    query: async (statement: pg.QueryConfig) => {
      captured ??= statement;
      throw caught;
    },
  };
  await send(capture as unknown as Pool).catch((error: unknown) => {
    if (error !== caught) throw error;
  });
  if (!captured) throw new Error('No statement was sent.');
  return captured;
}

async function connectAll(pool: pg.Pool): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 64 }, () => pool.connect()));
  for (const client of clients) client.release();
}
