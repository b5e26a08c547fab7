import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { getSessionChain } from '../../storage/heads/heads.js';
import { readLineage } from '../../storage/heads/lineage.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** What a session comes from, on lineages of every shape, against a reference that follows them step by step. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

interface Move {
  old: string | null;
  new: string;
  /** What it forked, as the transition says and as the session's own row says; null for an import and for a reset. */
  parent: string | null;
  forked: string | null;
  rewoundTo: number | null;
}

/** Writes a lineage as the rows that it leaves: the first `archived` moves in the archive, sessions beside the line as well. */
async function write(projectId: string, moves: readonly Move[], archived: number): Promise<void> {
  const rows = JSON.stringify(moves.map((move, index) => ({ ...move, seq: index + 1 })));
  await inTransaction(database.pool, async (connection) => {
    const run = async (text: string, values: (string | number)[] = [projectId, rows]) => {
      await connection.query({ text, values });
    };
    const row = `jsonb_to_recordset($2::jsonb) AS m (seq bigint, old text, new text, parent text, forked text, "rewoundTo" bigint)`;
    await run('SET LOCAL session_replication_role = replica', []);
    await run('INSERT INTO projects (project_id, last_ai_session_id, session_seq) VALUES ($1, $2, $3)', [
      ...[projectId, moves.at(-1)?.new ?? '', moves.length],
    ]);
    await run(
      `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, parent_session_id, source, seq, prev_seq, rewound_to)
       SELECT $1, m.old, m.new, m.parent, 'build', m.seq, nullif(m.seq - 1, 0), m."rewoundTo" FROM ${row} WHERE m.seq > $3`,
      [projectId, rows, archived],
    );
    await run(
      `INSERT INTO session_chain.session_transitions_archive (project_id, seq, id, old_session_id, new_session_id, parent_session_id,
         source, rewound_to)
       SELECT $1, m.seq, m.seq::text, m.old, m.new, m.parent, 'build', m."rewoundTo" FROM ${row} WHERE m.seq <= $3`,
      [projectId, rows, archived],
    );
    await run(
      `INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id) SELECT $1, m.new, m.forked FROM ${row}`,
    );
  });
}

async function ancestorsOf(projectId: string, sessionId: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string; distance: number }>(
    'SELECT session_id AS id, distance FROM session_chain.session_ancestors($1, $2) ORDER BY distance',
    [projectId, sessionId],
  );
  expect(rows.map(({ distance }) => distance)).toEqual(rows.map((_row, index) => index + 1));
  return rows.map(({ id }) => id);
}

/** Level by level, of each level the forked ones first, each once. */
function referenceOf(moves: readonly Move[], sessionId: string): string[] {
  const reached = [sessionId];
  for (let level = [sessionId]; level.length > 0;) {
    const ranks = new Map<string, number>();
    const reach = (id: string | null, rank: number) => {
      if (id !== null && !reached.includes(id)) ranks.set(id, Math.min(rank, ranks.get(id) ?? rank));
    };
    for (const move of moves.filter((one) => level.includes(one.new))) {
      reach(move.parent, 1);
      reach(move.forked, 1);
      if (move.rewoundTo === null) reach(move.old, 2);
    }
    level = [...ranks.keys()].sort((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0) || (a < b ? -1 : 1));
    reached.push(...level);
  }
  return reached.slice(1);
}

/** Numbers below 1 from a seed, the same in every run. */
function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function randomMoves(seed: number, length: number): Move[] {
  const random = numbersFrom(seed);
  const moves: Move[] = [];
  const nameOf = (seq: number) => `s-${seed}-${((seq * 37) % 101) + 100}`;
  for (let seq = 1; seq <= length; seq++) {
    const old = moves.at(-1)?.new ?? null;
    const kind = random();
    const earlier = moves[Math.floor(random() * moves.length)];
    const rewoundTo = kind < 0.3 && seq > 2 ? 1 + Math.floor(random() * (seq - 2)) : null;
    const target = rewoundTo === null ? null : (moves[rewoundTo - 1]?.new ?? null);
    // A rewind forks what it goes back to; others the head, an earlier session (a recovery) or nothing (an import, a reset).
    const forked = target ?? (kind < 0.6 ? old : kind < 0.75 ? (earlier?.new ?? null) : null);
    const known = random();
    moves.push({
      ...{ old, new: nameOf(seq), rewoundTo },
      parent: known < 0.8 || rewoundTo !== null ? forked : null,
      forked: known > 0.2 ? forked : (earlier?.new ?? null),
    });
  }
  return moves;
}

describe('the ancestors of a session', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'are the nearest first, each once, on a random lineage (seed %d)',
    async (seed) => {
      const projectId = `random-${seed}`;
      const moves = randomMoves(seed, 40);
      await write(projectId, moves, [0, 20, 35][seed % 3] ?? 0);
      for (const { new: sessionId } of moves) {
        expect(await ancestorsOf(projectId, sessionId)).toEqual(referenceOf(moves, sessionId));
      }
      expect(await ancestorsOf(projectId, 'nobody')).toEqual([]);
    },
  );

  it('are read in a few looks, however long the line', async () => {
    const moves = Array.from({ length: 300 }, (_, index): Move => {
      const old = index === 0 ? null : `long-${index}`;
      return { old, new: `long-${index + 1}`, parent: old, forked: old, rewoundTo: null };
    });
    await write('long', moves, 200);
    const looks = await inTransaction(database.pool, async (connection) => {
      const count = async () => {
        const { rows } = await connection.query<{ looks: number }>({
          text: `SELECT sum(seq_scan + coalesce(idx_scan, 0)) AS looks FROM pg_stat_xact_user_tables
                 WHERE relname IN ('sessions', 'session_transitions', 'session_transitions_archive')`,
        });
        return rows[0]?.looks ?? NaN;
      };
      const before = await count();
      const read = { text: `SELECT count(*) FROM session_chain.session_ancestors('long', 'long-300')` };
      expect((await connection.query(read)).rows).toEqual([{ count: 299 }]);
      return (await count()) - before;
    });
    expect(looks).toBeLessThan(10);
  });
});

describe('a line with many rewinds', () => {
  it('has the sessions that its ranges name, whatever was rewound', async () => {
    // Every second move goes back to the one before the last: what remains is each rewind.
    const moves = Array.from({ length: 61 }, (_, index): Move => {
      const rewoundTo = index > 0 && index % 2 === 0 ? index - 1 : null;
      const old = index === 0 ? null : `back-${index}`;
      const forked = rewoundTo === null ? old : `back-${rewoundTo}`;
      return { old, new: `back-${index + 1}`, parent: forked, forked, rewoundTo };
    });
    await write('back', moves, 30);
    const projectId = 'back' as ProjectId;
    const line = moves.filter((_, index) => index % 2 === 0).map((move) => move.new as SessionId);
    expect(await getSessionChain(database.pool, projectId)).toEqual(line.toReversed());
    const { nodes } = await readLineage(database.pool, projectId, 1_000);
    const ofKind = (kind: string) => nodes.filter((node) => node.kind === kind).map((node) => node.sessionId);
    expect(new Set(ofKind('head'))).toEqual(new Set(line));
    expect(ofKind('rewound')).toHaveLength(30);
  });
});
