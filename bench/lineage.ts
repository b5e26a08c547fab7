import { performance } from 'node:perf_hooks';
import { createPool, type Pool } from '../storage/db/pool.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';

const levels = [20, 500, 2_000, 10_000] as const;

/** What a session comes from, along lines of so many operations, beside the plain recursive look along what was forked. */
export async function measureLineage(stack: BenchStack, runs: number): Promise<Row[]> {
  const pool = createPool(stack.databaseUrl, { applicationName: 'session-chain bench lineage', max: 1 });
  try {
    const rows: Row[] = [];
    for (const length of levels) {
      for (const archived of [0, length - 10]) rows.push(await measureLine(pool, length, archived, runs));
    }
    return rows;
  } finally {
    await pool.end();
  }
}

async function measureLine(pool: Pool, length: number, archived: number, runs: number): Promise<Row> {
  const projectId = `bench-line-${length}-${archived}`;
  await grow(pool, projectId, length, archived);
  const times = async (text: string) => {
    const values: number[] = [];
    for (let run = 0; run <= runs; run++) values.push(await timed(pool, text, projectId, length));
    return values.slice(1);
  };
  // The planner knows nothing of the line yet, as of one that grew since the tables were last analysed.
  const ours = await times('SELECT count(*) FROM session_chain.session_ancestors($1, $2)');
  await pool.query('ANALYZE session_chain.sessions');
  const plain = await times(
    `WITH RECURSIVE line (id) AS (
       SELECT $2::text
       UNION ALL
       SELECT s.parent_session_id FROM line JOIN session_chain.sessions s
         ON s.project_id = $1 AND s.session_id = line.id AND s.parent_session_id IS NOT NULL
     ) SELECT count(*) - 1 AS count FROM line`,
  );
  return row({
    part: 'lineage',
    name: `ancestors of a session, ${length} levels${archived > 0 ? ', in the archive' : ''}`,
    unit: 'ms',
    values: ours,
    peer: { name: 'plain recursive query along forks, tables analysed', values: plain },
  });
}

async function timed(pool: Pool, text: string, projectId: string, length: number): Promise<number> {
  const before = performance.now();
  const { rows } = await pool.query<{ count: number }>(text, [projectId, `${projectId}-${length}`]);
  const ms = performance.now() - before;
  const found = Number(rows[0]?.count);
  if (found !== length - 1) throw new Error(`${projectId} has ${found} ancestors.`);
  return ms;
}

/** A line of builds as retention leaves it, the oldest in the archive. */
async function grow(pool: Pool, projectId: string, length: number, archived: number): Promise<void> {
  const id = `$1::text || '-' || n`;
  const before = `CASE WHEN n > 1 THEN $1::text || '-' || (n - 1) END`;
  await pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
  await pool.query(
    `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, parent_session_id, source, seq, prev_seq)
     SELECT $1::text, ${before}, ${id}, ${before}, 'build', n, CASE WHEN n > $2 + 1 THEN n - 1 END
     FROM generate_series($2::integer + 1, $3::integer) n`,
    [projectId, archived, length],
  );
  await pool.query(
    `INSERT INTO session_chain.session_transitions_archive (project_id, old_session_id, new_session_id, parent_session_id, source, seq, id)
     SELECT $1::text, ${before}, ${id}, ${before}, 'build', n, n::text FROM generate_series(1, $2::integer) n`,
    [projectId, archived],
  );
  await pool.query(
    `INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id)
     SELECT $1::text, ${id}, ${before} FROM generate_series(1, $2::integer) n`,
    [projectId, length],
  );
}
