import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { partLine } from '../../archive/lines.js';
import { type PartCounts, type PartLine, partLineKinds } from '../../contracts/archive.js';
import {
  type ProjectId,
  type SessionId,
  parseProjectId,
  parseSessionId,
  parseVersionId,
} from '../../contracts/ids.js';
import type { RetentionPolicy } from '../../contracts/retention.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain } from '../../storage/chains/chains.js';
import { takeEnds } from '../../storage/chains/ends.js';
import { migrate } from '../../storage/db/migrate.js';
import type { Pool } from '../../storage/db/pool.js';
import { inTransaction } from '../../storage/db/transaction.js';
import { trimEvents } from '../../storage/events/trim.js';
import { getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { readLineage } from '../../storage/heads/lineage.js';
import { readSyncReport } from '../../storage/heads/sync.js';
import { rewindProject } from '../../storage/operations/rewind.js';
import { rollUpDetails } from '../../storage/retention/details.js';
import { dryRunOf, dueProjects } from '../../storage/retention/needed.js';
import {
  type PlannedPart,
  dropDue,
  droppableParts,
  planPart,
  readPartLines,
  verifyPart,
} from '../../storage/retention/parts.js';
import { restoreLines } from '../../storage/retention/restore.js';
import { archiveTransitions, restoreTransitions } from '../../storage/retention/transitions.js';
import { readEntries } from '../../storage/transcripts/entries.js';
import { appendQuery, createTranscriptStore, sessionFitness } from '../../storage/transcripts/store.js';
import { newKey, openNew, runStep, shippedStatus } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { uuidHost } from '../support/host-schemas.js';
import { until } from '../support/until.js';

/** The rows that retention moves, chooses and drops, and those that it leaves. */

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = database.pool;
});
afterAll(async () => {
  await database.drop();
});

const policy: RetentionPolicy = {
  transitionsDays: 30,
  transcriptsDays: 90,
  dropDays: 30,
  detailsDays: 400,
  hostTables: false,
  archive: 'file:///archive',
};
/** At most so many of each file, whether it is there or not. */
async function drop(projectId: ProjectId, limit: number): Promise<{ sessions: number; bytes: number }> {
  const sum = { sessions: 0, bytes: 0 };
  for (const { id } of await droppableParts(pool, projectId, policy)) {
    const gone = await dropDue(pool, projectId, policy, id, limit);
    sum.sessions += gone.sessions;
    sum.bytes += gone.bytes;
  }
  return sum;
}

const location = 'file:///archive';

/** A chain of the shipped steps, closed, on a project that may have some. */
async function runChain(on: Pool, key = newKey()) {
  const chain = await openNew(on, key);
  for (const step of ['build', 'metadata', 'docs', 'compact'] as const) await runStep(on, chain, step);
  await closeChain(on, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...(await readChainState(on, chain)), status: 'completed' },
    versionStatus: shippedStatus,
  });
  return chain;
}

/** Makes everything of a project older by so many days. */
async function age(on: Pool, projectId: string, days: number): Promise<void> {
  const by = [projectId, `${days} days`];
  await on.query(
    `UPDATE session_transitions SET created_at = created_at - $2::interval WHERE project_id::text = $1`,
    by,
  );
  await on.query(
    `UPDATE session_chain.session_transitions_archive SET created_at = created_at - $2::interval WHERE project_id = $1`,
    by,
  );
  await on.query(
    `UPDATE session_chain.sessions SET created_at = created_at - $2::interval, appended_at = appended_at - $2::interval WHERE project_id = $1`,
    by,
  );
  await on.query(
    `UPDATE session_chain.archive_parts SET verified_at = verified_at - $2::interval WHERE project_id = $1`,
    by,
  );
}

async function rowsOf<Row>(on: Pool, text: string, ...values: unknown[]): Promise<Row[]> {
  return (await on.query(text, values)).rows as Row[];
}

const hotRows = async (on: Pool, projectId: string) =>
  await rowsOf<{ row: string }>(
    on,
    `SELECT t::text AS row FROM session_transitions t WHERE project_id::text = $1 AND seq IS NOT NULL ORDER BY seq`,
    projectId,
  );
const hotSeqs = async (on: Pool, projectId: string) =>
  await rowsOf<{ seq: string; prev: string | null }>(
    on,
    `SELECT seq, prev_seq AS prev FROM session_transitions WHERE project_id::text = $1 AND seq IS NOT NULL ORDER BY seq`,
    projectId,
  );

describe('transitions', () => {
  /** Two chains with a rewind between them: transitions 1 to 9, of which 5 goes back to 2. */
  async function longProject(on: Pool) {
    const { projectId } = await runChain(on);
    await rewindProject(on, { projectId, to: 2, versionId: null, key: null, dryRun: false });
    await runChain(on, newKey(projectId));
    return projectId;
  }

  /** Everything that a reader of the lineage may ask. */
  async function told(on: Pool, projectId: ProjectId) {
    const { seq } = await readHead(on, projectId);
    const sessions = await getSessionChain(on, projectId);
    const all = (await listTransitions(on, projectId, 100)).map(({ newSessionId }) => newSessionId);
    const { drifted } = await readSyncReport(on, { projectId, limit: 10, redisUrl: null });
    return {
      sessions,
      drifted,
      transitions: await listTransitions(on, projectId, 100),
      page: await listTransitions(on, projectId, 2, { before: 4, skip: 0 }),
      lineage: await readLineage(on, projectId, 100),
      cut: await readLineage(on, projectId, 3),
      line: await rowsOf(
        on,
        'SELECT * FROM session_chain.line_of_heads($1, $2) ORDER BY low',
        projectId,
        seq,
      ),
      ancestors: await rowsOf(
        on,
        'SELECT * FROM session_chain.session_ancestors($1, $2) ORDER BY distance',
        projectId,
        sessions[0],
      ),
      heads: await rowsOf(
        on,
        `SELECT id, session_chain.was_head($1, id), session_chain.is_rewound($1, id), session_chain.is_of_another_project('other', id),
           session_chain.delete_session($1, id, 'subagents/none') FROM unnest($2::text[]) AS id`,
        projectId,
        [...all, 'none'],
      ),
      linked: await rowsOf(
        on,
        'SELECT seq, prev_seq FROM session_chain.all_transitions($1) ORDER BY seq',
        projectId,
      ),
      view: await rowsOf(
        on,
        'SELECT * FROM session_chain.session_transitions_all WHERE project_id = $1 ORDER BY seq',
        projectId,
      ),
    };
  }

  it('that are old leave the hot table but for the last, and no reader sees a difference; they come back with their links', async () => {
    const projectId = await longProject(pool);
    await age(pool, projectId, 31);
    const before = await told(pool, projectId);
    const rows = await hotRows(pool, projectId);
    const events = await rowsOf(
      pool,
      'SELECT count(*) FROM session_chain.events WHERE project_id = $1',
      projectId,
    );
    expect(rows).toHaveLength(9);
    expect(before.drifted).toEqual([]);

    expect(await dryRunOf(pool, projectId, policy)).toMatchObject({ transitions: 8, leftAlone: null });
    expect(await archiveTransitions(pool, projectId, policy, 3)).toBe(3);
    expect(await hotSeqs(pool, projectId)).toMatchObject([
      { seq: 4, prev: null },
      { seq: 5, prev: 4 },
      {},
      {},
      {},
      {},
    ]);
    expect(await told(pool, projectId)).toEqual(before);
    expect(await archiveTransitions(pool, projectId, policy, 100)).toBe(5);
    expect(await archiveTransitions(pool, projectId, policy, 100)).toBe(0);
    expect(await hotSeqs(pool, projectId)).toEqual([{ seq: 9, prev: null }]);
    expect(await told(pool, projectId)).toEqual(before);
    // The seed's query, verbatim, shows the hot period.
    const chainQuery = `SELECT source, old_session_id, new_session_id, created_at FROM session_transitions
WHERE project_id = $1 ORDER BY created_at DESC;`;
    expect(await rowsOf(pool, chainQuery, projectId)).toHaveLength(1);

    // The part of a month: from its first transition on.
    await pool.query(
      `UPDATE session_chain.session_transitions_archive SET created_at = '2025-03-31T23:59:59.999999Z' WHERE project_id = $1 AND seq < 4`,
      [projectId],
    );
    await pool.query(
      `UPDATE session_chain.session_transitions_archive SET created_at = '2025-04-01T00:00:00Z' WHERE project_id = $1 AND seq >= 4`,
      [projectId],
    );
    expect(await restoreTransitions(pool, projectId, '2025-04')).toBe(5);
    expect(await hotSeqs(pool, projectId)).toMatchObject([
      { seq: 4, prev: null },
      { seq: 5, prev: 4 },
      {},
      {},
      {},
      { seq: 9, prev: 8 },
    ]);
    expect(await restoreTransitions(pool, projectId, '2025-04')).toBe(0);
    expect(await restoreTransitions(pool, projectId, null)).toBe(3);
    expect(await restoreTransitions(pool, projectId, null)).toBe(0);
    const strip = (row: { row: string }) => row.row.replace(/"?\d{4}-\d\d-\d\d [\d:.+]+"?/, '');
    expect((await hotRows(pool, projectId)).map(strip)).toEqual(rows.map(strip));
    expect(
      await rowsOf(pool, 'SELECT count(*) FROM session_chain.events WHERE project_id = $1', projectId),
    ).toEqual(events);
  });

  it('may be archived between two commits, and a rewind to one of them works', async () => {
    const projectId = await longProject(pool);
    await age(pool, projectId, 31);
    expect(await archiveTransitions(pool, projectId, policy, 100)).toBe(8);
    await runChain(pool, newKey(projectId));
    const rewound = await rewindProject(pool, {
      projectId,
      to: 2,
      versionId: null,
      key: null,
      dryRun: false,
    });
    expect(rewound).toMatchObject({ transitionSeq: 14, toSeq: 2 });
    expect(rewound.forgotten.map(({ seq }) => seq)).toEqual([6, 7, 8, 9, 10, 11, 12, 13]);
    expect((await getSessionChain(pool, projectId)).length).toBe(3);
    await expect(
      rewindProject(pool, { projectId, to: 77, versionId: null, key: null, dryRun: false }),
    ).rejects.toThrow('its transitions are 1 to 14');
    // One that is young keeps all after it.
    await pool.query(
      `UPDATE session_transitions SET created_at = created_at - interval '40 days' WHERE project_id = $1 AND seq > 10`,
      [projectId],
    );
    expect(await archiveTransitions(pool, projectId, policy, 100)).toBe(1);
    expect((await readSyncReport(pool, { projectId, limit: 10, redisUrl: null })).drifted).toEqual([]);
    // An archive that does not end where the hot table begins is told.
    await pool.query(
      'DELETE FROM session_chain.session_transitions_archive WHERE project_id = $1 AND seq = 9',
      [projectId],
    );
    expect((await readSyncReport(pool, { projectId, limit: 10, redisUrl: null })).drifted).toMatchObject([
      { reasons: ['broken_lineage'] },
    ]);
  });

  it('stay where the project is left alone', async () => {
    const { projectId } = await runChain(pool);
    await age(pool, projectId, 31);
    const leftAlone = async () => {
      const { leftAlone: why, transitions } = await dryRunOf(pool, projectId, policy);
      return [why, transitions, await archiveTransitions(pool, projectId, policy, 100)];
    };
    await pool.query(
      `INSERT INTO session_chain.project_retention (project_id, held_at, held_by, hold_reason) VALUES ($1, now(), 'a lawyer', 'a case')`,
      [projectId],
    );
    expect(await leftAlone()).toEqual(['hold', 0, 0]);
    // What a worker deletes by age alone stays as well.
    await pool.query(`UPDATE session_chain.events SET at = at - interval '40 days' WHERE project_id = $1`, [
      projectId,
    ]);
    await pool.query(
      `INSERT INTO session_chain.chain_ends (event, chain, project_id, version_id, build_id, status, steps, ended_at, delivered_at)
       SELECT 1, c.id, c.project_id, c.version_id, c.build_id, 'completed', '{}', at, at
       FROM session_chain.chains c CROSS JOIN (SELECT now() - interval '40 days' AS at) ended WHERE c.project_id = $1`,
      [projectId],
    );
    const trimmed = async () => {
      await trimEvents(pool, 30);
      await takeEnds(pool, 1);
      const { rows } = await pool.query<{ events: number; ends: number }>(
        `SELECT (SELECT count(*)::int FROM session_chain.events WHERE project_id = $1) AS events,
           (SELECT count(*)::int FROM session_chain.chain_ends WHERE project_id = $1) AS ends`,
        [projectId],
      );
      return rows[0];
    };
    expect(await trimmed()).toEqual({ events: expect.any(Number) as unknown, ends: 1 });
    expect((await trimmed())?.events).toBeGreaterThan(0);
    await pool.query(
      `UPDATE session_chain.project_retention SET held_at = NULL, held_by = NULL, hold_reason = NULL, restored_until = now() + interval '1 day' WHERE project_id = $1`,
      [projectId],
    );
    expect(await leftAlone()).toEqual(['restored', 0, 0]);
    expect(await trimmed()).toEqual({ events: 0, ends: 0 });
    await pool.query(
      `UPDATE session_chain.project_retention SET restored_until = now() WHERE project_id = $1`,
      [projectId],
    );
    const { rows } = await pool.query<{ id: string }>(
      `INSERT INTO session_chain.erasures (project_id, requested_by) VALUES ($1, 'me') RETURNING id`,
      [projectId],
    );
    expect(await leftAlone()).toEqual(['being_erased', 0, 0]);
    await pool.query('DELETE FROM session_chain.erasures WHERE id = $1', [rows[0]?.id]);
    expect(await leftAlone()).toEqual([null, 3, 3]);
  });

  it('are found in both tables by their indexes', async () => {
    // As its function runs it, with its parameters in place.
    const { body } = (
      await rowsOf<{ body: string }>(
        pool,
        `SELECT replace(replace(prosrc, 'p_project', '''p'''), 'p_seq', '7::bigint') AS body FROM pg_proc WHERE proname = 'line_of_heads'`,
      )
    )[0] ?? { body: '' };
    const plan = async (text: string) =>
      await inTransaction(pool, async (client) => {
        await client.query('SET LOCAL enable_seqscan = off');
        await client.query('SET LOCAL enable_bitmapscan = off');
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`);
        return rows.map((row) => row['QUERY PLAN']).join('\n');
      });
    for (const text of [
      `SELECT FROM session_chain.all_transitions('p') t WHERE t.new_session_id = 's'`,
      `SELECT * FROM (${body}) AS line`,
      `SELECT FROM session_chain.every_transition() t WHERE t.new_session_id = 's' AND t.project_id <> 'p'`,
      `SELECT * FROM session_chain.session_transitions_all WHERE new_session_id = 's'`,
    ]) {
      const found = await plan(text);
      expect(found).toMatch(/Index[\w ]* Scan[\w ]* using (idx_)?session_transitions_(new_session|rewinds)/);
      expect(found).toMatch(/Index[\w ]* Scan[\w ]* using session_transitions_archive_(session|rewinds)/);
      expect(found).not.toMatch(/Function Scan|Seq Scan|Sort/);
    }
  });

  it("of a host's table stay until that is allowed, and lose nothing of what the host keeps there", async () => {
    const host = await createTestDatabase({ empty: true });
    try {
      await host.pool.query(uuidHost.sql);
      await host.pool.query(`
        ALTER TABLE session_transitions ADD COLUMN shard json NOT NULL DEFAULT '{"b": 1.50, "a": "\\u0000"}', ADD COLUMN seen timestamp,
          ADD COLUMN "Raw data" bytea DEFAULT '\\x00ff', ADD COLUMN took interval DEFAULT '1 mon 3 days', ADD COLUMN day date DEFAULT '2026-02-01',
          ADD COLUMN ratio float8 DEFAULT 0.1, ADD COLUMN tags text[] DEFAULT '{"a b",NULL}', ADD COLUMN doubled float8 GENERATED ALWAYS AS (ratio * 2) STORED;
        UPDATE session_transitions SET seen = NULL; ALTER TABLE session_transitions ALTER COLUMN seen SET DEFAULT localtimestamp`);
      await migrate(host.url);
      const projectId = parseProjectId(uuidHost.projectId);
      await runChain(host.pool, {
        ...newKey(uuidHost.projectId),
        versionId: parseVersionId(uuidHost.versionId),
      });
      await age(host.pool, projectId, 31);
      const legacy = await rowsOf(
        host.pool,
        'SELECT t::text FROM session_transitions t WHERE seq IS NULL ORDER BY id',
      );
      const before = await hotRows(host.pool, projectId);
      expect(await archiveTransitions(host.pool, projectId, policy, 100)).toBe(0);
      expect(await dryRunOf(host.pool, projectId, policy)).toMatchObject({
        transitions: 0,
        leftAlone: 'host_tables',
      });
      expect(await dueProjects(host.pool, { ...policy, archive: null }, null, 10)).toEqual([]);

      const allowed = { ...policy, hostTables: true };
      expect(await dueProjects(host.pool, { ...allowed, archive: null }, null, 10)).toEqual([projectId]);
      // By any settings of the session.
      await inTransaction(host.pool, async (client) => {
        await client.query(
          `SET LOCAL datestyle = 'SQL, DMY'; SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL intervalstyle = 'iso_8601'`,
        );
        await client.query('SELECT session_chain.archive_transitions($1, 30, 100, true)', [projectId]);
      });
      expect(await hotSeqs(host.pool, projectId)).toEqual([{ seq: 4, prev: null }]);
      expect((await getSessionChain(host.pool, projectId)).length).toBe(4);
      // A column that came meanwhile gets its default.
      await host.pool.query(`ALTER TABLE session_transitions ADD COLUMN later text NOT NULL DEFAULT 'new'`);
      await inTransaction(host.pool, async (client) => {
        await client.query(`SET LOCAL datestyle = 'SQL, MDY'; SET LOCAL timezone = 'America/New_York'`);
        await client.query('SELECT session_chain.restore_transitions($1, NULL)', [projectId]);
      });
      await host.pool.query('ALTER TABLE session_transitions DROP COLUMN later');
      expect(await hotRows(host.pool, projectId)).toEqual(before);
      expect(
        await rowsOf(host.pool, 'SELECT t::text FROM session_transitions t WHERE seq IS NULL ORDER BY id'),
      ).toEqual(legacy);
      // Its columns stay the host's: no view or function of ours holds their types.
      await host.pool.query(
        'ALTER TABLE session_transitions ALTER COLUMN new_session_id TYPE text, ALTER COLUMN source TYPE text',
      );
      expect(await migrate(host.url)).toEqual([]);
    } finally {
      await host.drop();
    }
  });
});

/** A session in the store: entries of what it forked, and some of its own. */
async function store(
  projectId: ProjectId,
  own: readonly string[],
  from: Stored | null = null,
): Promise<Stored> {
  const sessionId = parseSessionId(randomUUID());
  const entries = [...(from?.entries ?? []), ...own.map((content) => message(content))];
  if (from) {
    await pool.query(
      'INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id) VALUES ($1, $2, $3)',
      [projectId, sessionId, from.sessionId],
    );
  }
  await createTranscriptStore({ pool, projectId }).append(
    { projectKey: '', sessionId },
    entriesOf(sessionId, entries),
  );
  return { sessionId, entries };
}

interface Stored {
  sessionId: SessionId;
  entries: SessionStoreEntry[];
}

function message(content: string): SessionStoreEntry {
  return { type: 'user', uuid: randomUUID(), message: { role: 'user', content } };
}

function entriesOf(sessionId: SessionId, entries: SessionStoreEntry[]): SessionStoreEntry[] {
  return entries.map((entry) => ({ ...entry, sessionId, cwd: '/project' }));
}

async function newProject(): Promise<ProjectId> {
  const projectId = parseProjectId(`p-${randomUUID()}`);
  await pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
  return projectId;
}

/** Whether a statement of this database waits for a lock. */
async function isBlocked(statement: string): Promise<boolean> {
  const rows = await rowsOf(
    pool,
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1`,
    statement,
  );
  return rows.length > 0;
}

/** Until something is so, or what could make it so has ended. */
async function untilSo(isSo: () => Promise<boolean>, unless: Promise<unknown>): Promise<void> {
  let hasEnded = false;
  void unless.finally(() => (hasEnded = true)).catch(() => undefined);
  await until(async () => hasEnded || (await isSo()));
}

/** Writes a planned part as a worker does, but for the file. */
async function written(part: PlannedPart): Promise<{ lines: PartLine[]; counts: PartCounts }> {
  const lines: PartLine[] = [];
  for await (const line of readPartLines(pool, part)) lines.push(partLine.parse(line));
  const counts = Object.fromEntries(
    partLineKinds.map((kind) => [kind, lines.filter((line) => line.kind === kind).length]),
  ) as PartCounts;
  return { lines, counts };
}

async function archive(projectId: ProjectId): Promise<PartLine[]> {
  const all: PartLine[] = [];
  for (;;) {
    const part = await planPart(pool, projectId, policy, location);
    if (!part) {
      await rollUpDetails(pool, projectId, policy);
      return all;
    }
    const { lines, counts } = await written(part);
    await verifyPart(pool, part, { bytes: 1, sha256: 'a'.repeat(64), counts });
    all.push(...lines);
  }
}

describe('what a transcript is needed for', () => {
  it('is said, with every reason, and nothing else is due', async () => {
    const projectId = await newProject();
    const sessions: Record<string, SessionId> = {};
    const names = [
      ...[
        'head',
        'version',
        'running',
        'runningBase',
        'adopted',
        'chainBase',
        'chainHead',
        'chainAttempt',
        'chainFork',
      ],
      ...['questionHead', 'questionTry', 'branch', 'oldBranch', 'restored', 'unneeded', 'ancestor', 'young'],
    ];
    for (const name of names) sessions[name] = (await store(projectId, [name])).sessionId;
    await age(pool, projectId, 91);
    const chain = async (build: string, status: string, closed: boolean) =>
      (
        await pool.query<{ id: string }>(
          `INSERT INTO session_chain.chains (project_id, version_id, build_id, mode, workspace, status, closed_at, result, base_session_id, origin)
           VALUES ($1, 'v', $2, 'initial', '/x', $3, CASE WHEN $4 THEN now() END, CASE WHEN $4 THEN '{}'::jsonb END, $5,
             jsonb_build_object('headSessionId', $6::text)) RETURNING id`,
          [projectId, build, status, closed, sessions['chainBase'], sessions['chainHead']],
        )
      ).rows[0]?.id;
    const attempt = async (
      chainId: string | undefined,
      build: string,
      session: string,
      base: string | null,
      state: string,
      adopts: string | null = null,
    ) => {
      await pool.query(
        `INSERT INTO session_chain.attempts (project_id, version_id, build_id, chain, step, attempt, session_id, base_session_id, adopts,
           input_digest, state, scheduled_at, worker, lease_ms, ended_at, failure)
         VALUES ($1, 'v', $2, $3, 'build', 1, $4, $5, $6, 'x', $7, now(), 'w', 0, CASE WHEN $7 = 'failed' THEN now() END,
           CASE WHEN $7 = 'failed' THEN '{"code": "AGENT_FAILED"}'::jsonb END)`,
        [
          projectId,
          build,
          chainId ?? null,
          sessions[session],
          base && sessions[base],
          adopts && sessions[adopts],
          state,
        ],
      );
    };
    await pool.query(`UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1`, [projectId, null]);
    await pool.query(
      `INSERT INTO project_versions (version_id, project_id, ai_session_id) VALUES ($2, $1, $3)`,
      [projectId, `v-${randomUUID()}`, sessions['version']],
    );
    await attempt(undefined, 'record:1', 'running', 'runningBase', 'running', 'adopted');
    await attempt(await chain('open', 'queued', false), 'open', 'chainAttempt', 'chainFork', 'failed');
    await attempt(await chain('closed', 'failed', true), 'closed', 'unneeded', 'ancestor', 'failed');
    const question = async (
      state: string,
      head: string | null,
      kind: string | null,
      session: string | null,
      days: number,
    ) =>
      (
        await pool.query<{ id: string }>(
          `INSERT INTO project_chat_log_minimal (session_id, project_id, question_id, message_id, question, state, kind, head_session_id,
             ai_session_id, reply, answered_at)
           VALUES ('chat', $1, nextval('session_chain.questions'), $2, '?', $3, $4, $5, $6, $7, now() - make_interval(days => $8))
           RETURNING question_id AS id`,
          [
            ...[projectId, randomUUID(), state, kind, head && sessions[head], session && sessions[session]],
            ...[state === 'answered' ? 'yes' : null, days],
          ],
        )
      ).rows[0]?.id;
    await pool.query(`UPDATE project_chat_log_minimal SET answered_at = NULL WHERE state <> 'answered'`);
    const asked = await question('running', 'questionHead', null, null, 0);
    await attempt(undefined, `chat:${asked ?? ''}`, 'questionTry', null, 'failed');
    await question('answered', 'unneeded', 'side_branch', 'branch', 89);
    await question('answered', 'unneeded', 'side_branch', 'oldBranch', 91);
    await pool.query(
      `UPDATE session_chain.sessions SET restored_at = CASE session_id WHEN $2 THEN now() END,
         appended_at = CASE session_id WHEN $3 THEN now() ELSE appended_at END WHERE project_id = $1`,
      [projectId, sessions['restored'], sessions['young']],
    );
    // By the host, without a transition; the key of our own tables is not in the way of a session that is none.
    await pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
    await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      projectId,
      sessions['head'],
    ]);

    const nameOf = (id: string) => Object.entries(sessions).find(([, session]) => session === id)?.[0] ?? id;
    const needed = await rowsOf<{ session_id: string; why: string }>(
      pool,
      'SELECT * FROM session_chain.needed_sessions($1, 90)',
      projectId,
    );
    expect(needed.map(({ session_id, why }) => `${nameOf(session_id)}: ${why}`).sort()).toEqual(
      [
        ...['head: head', 'version: version', 'running: attempt', 'runningBase: attempt', 'adopted: attempt'],
        ...['chainBase: chain', 'chainHead: chain', 'chainAttempt: chain', 'chainFork: chain'],
        ...[
          'questionHead: question',
          'questionTry: question',
          'branch: side_branch',
          'restored: young',
          'young: young',
        ],
      ].sort(),
    );
    const due = await rowsOf<{ session_id: string }>(
      pool,
      'SELECT * FROM session_chain.due_sessions($1, 90)',
      projectId,
    );
    expect(due.map(({ session_id }) => nameOf(session_id)).sort()).toEqual([
      'ancestor',
      'oldBranch',
      'unneeded',
    ]);
    await pool.query(
      `INSERT INTO session_chain.project_retention (project_id, held_at, held_by, hold_reason) VALUES ($1, now(), 'a lawyer', 'a case')`,
      [projectId],
    );
    const held = await rowsOf<{ why: string }>(
      pool,
      'SELECT * FROM session_chain.needed_sessions($1, 90)',
      projectId,
    );
    expect(held.filter(({ why }) => why === 'hold')).toHaveLength(names.length);
    expect(await planPart(pool, projectId, policy, location)).toBeNull();
  });
});

describe('transcripts', () => {
  /** root <- middle <- tip (the head), and one beside that forked the root. */
  async function family() {
    const projectId = await newProject();
    const root = await store(projectId, ['one', 'two', 'three']);
    const middle = await store(projectId, ['four'], root);
    const tip = await store(projectId, ['five', 'six'], middle);
    const beside = await store(projectId, ['seven'], root);
    await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      projectId,
      tip.sessionId,
    ]);
    await age(pool, projectId, 91);
    return { projectId, root, middle, tip, beside };
  }

  const read = async (projectId: ProjectId, { sessionId }: Stored) =>
    (await readEntries(pool, projectId, sessionId, { after: null, limit: 100 })).entries.map(
      ({ isInherited, entry }) => [isInherited, (entry['message'] as { content: string }).content],
    );
  const texts = async (projectId: ProjectId) =>
    (
      await rowsOf<{ content: string }>(
        pool,
        'SELECT content FROM session_chain.transcript_texts WHERE project_id = $1 ORDER BY id',
        projectId,
      )
    ).map(({ content }) => /"content":"(\w+)"/.exec(content)?.[1] ?? 'patch');

  it('that nothing needs are written once, verified by what was chosen, and dropped in time; the head keeps what it inherited', async () => {
    const { projectId, root, middle, tip, beside } = await family();
    expect(await dueProjects(pool, policy, null, 1_000)).toContain(projectId);
    expect(await dryRunOf(pool, projectId, policy)).toEqual({
      ...{
        transitions: 0,
        archivedSessions: 3,
        droppedSessions: 0,
        freedBytes: 0,
        details: 0,
        leftAlone: null,
      },
    });
    expect(await dryRunOf(pool, projectId, { ...policy, archive: null })).toMatchObject({
      ...{ archivedSessions: 0, leftAlone: 'no_archive' },
    });

    const part = await planPart(pool, projectId, policy, location);
    expect(part).not.toBeNull();
    if (!part) return;
    // Asked again, before anything was written: the same.
    expect(await planPart(pool, projectId, policy, 'file:///elsewhere')).toEqual(part);
    const { lines, counts } = await written(part);
    expect(counts).toEqual({
      session: 3,
      text: 6,
      append: 3,
      transition: 0,
      attempt: 0,
      metrics: 0,
      brief: 0,
    });
    expect((await written(part)).lines).toEqual(lines);
    expect(lines.flatMap((line) => (line.kind === 'session' ? line.session_id : []))).toEqual([
      ...[root.sessionId, middle.sessionId, beside.sessionId],
    ]);
    await expect(
      createTranscriptStore({ pool, projectId }).append({ projectKey: '', sessionId: root.sessionId }, [
        message('late'),
      ]),
    ).rejects.toMatchObject({ code: 'FENCED' });
    await expect(
      createTranscriptStore({ pool, projectId }).delete({ projectKey: '', sessionId: beside.sessionId }),
    ).rejects.toMatchObject({ code: 'SESSION_IN_USE' });

    const file = { bytes: 10, sha256: 'b'.repeat(64), counts };
    await expect(verifyPart(pool, part, { ...file, counts: { ...counts, append: 2 } })).rejects.toMatchObject(
      {
        code: 'ARCHIVE_UNAVAILABLE',
      },
    );
    // Not before it is verified, however old.
    await age(pool, projectId, 365);
    expect(await drop(projectId, 100)).toEqual({ sessions: 0, bytes: 0 });
    await verifyPart(pool, part, file);
    await verifyPart(pool, part, file);
    await expect(verifyPart(pool, part, { ...file, sha256: 'c'.repeat(64) })).rejects.toMatchObject({
      code: 'ARCHIVE_UNAVAILABLE',
    });
    expect(await planPart(pool, projectId, policy, location)).toBeNull();
    expect(await rollUpDetails(pool, projectId, policy)).toBe(0);
    expect(await drop(projectId, 100)).toEqual({ sessions: 0, bytes: 0 });

    await age(pool, projectId, 31);
    const before = await read(projectId, tip);
    const would = await dryRunOf(pool, projectId, policy);
    expect(would).toMatchObject({ archivedSessions: 0, droppedSessions: 3 });
    const first = await drop(projectId, 2);
    const second = await drop(projectId, 2);
    expect([first.sessions, second.sessions]).toEqual([2, 1]);
    expect(first.bytes + second.bytes).toBe(would.freedBytes);
    expect(await drop(projectId, 2)).toEqual({ sessions: 0, bytes: 0 });
    expect(await dueProjects(pool, policy, null, 1_000)).not.toContain(projectId);
    expect((await texts(projectId)).sort()).toEqual(['five', 'four', 'one', 'patch', 'six', 'three', 'two']);
    expect(await sessionFitness(pool, projectId, tip.sessionId)).toBe('whole');
    for (const { sessionId } of [root, middle, beside]) {
      expect(await sessionFitness(pool, projectId, sessionId)).toBe('archived');
    }
    expect(await read(projectId, tip)).toEqual(before);
    expect(before.map(([isInherited]) => isInherited)).toEqual([true, true, true, true, false, false]);
    expect(await read(projectId, middle)).toEqual([]);
  });

  it('that have a hole are left out of a file and put in quarantine; a project of which a file is unfinished is due', async () => {
    const { projectId, beside, middle } = await family();
    await pool.query(
      `DELETE FROM session_chain.transcript_texts WHERE project_id = $1 AND content LIKE '%seven%'`,
      [projectId],
    );
    const part = await planPart(pool, projectId, policy, location);
    expect(await dueProjects(pool, policy, null, 1_000)).toContain(projectId);
    expect((await archive(projectId)).filter(({ kind }) => kind === 'session')).toHaveLength(2);
    expect(part).not.toBeNull();
    expect(await sessionFitness(pool, projectId, beside.sessionId)).toBe('quarantined');
    // What became a head again meanwhile is not dropped, though it is archived.
    await age(pool, projectId, 31);
    await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      projectId,
      middle.sessionId,
    ]);
    expect((await drop(projectId, 100)).sessions).toBe(1);
    expect(await sessionFitness(pool, projectId, middle.sessionId)).toBe('whole');
  });

  it('go with the transitions of months that have left the hot table as a whole', async () => {
    const { projectId } = await runChain(pool);
    await age(pool, projectId, 100);
    expect(await archiveTransitions(pool, projectId, policy, 100)).toBe(3);
    const lines = await archive(projectId);
    expect(
      lines.filter(({ kind }) => kind === 'transition').map((line) => line.kind === 'transition' && line.seq),
    ).toEqual([...['1', '2', '3']]);
    expect(await archive(projectId)).toEqual([]);
  });

  it('are not copied by a rewind that began before they were dropped', async () => {
    const { projectId } = await runChain(pool);
    await age(pool, projectId, 200);
    await archive(projectId);
    await age(pool, projectId, 31);
    let rewinding: Promise<unknown> = Promise.resolve();
    await inTransaction(pool, async (client) => {
      const [part] = await droppableParts(pool, projectId, policy);
      await client.query('SELECT * FROM session_chain.drop_sessions($1, 90, 30, $2, 10)', [
        projectId,
        part?.id,
      ]);
      rewinding = rewindProject(pool, { projectId, to: 1, versionId: null, key: null, dryRun: false });
      await untilSo(async () => await isBlocked(`%lock_project%`), rewinding);
    });
    await expect(rewinding).rejects.toMatchObject({ code: 'SESSION_ARCHIVED' });
  });

  it('come back from the lines of a file with the details of their chains, as they were', async () => {
    const { projectId, chainId } = await runChain(pool);
    await age(pool, projectId, 500);
    await pool.query(
      `UPDATE session_chain.attempts SET ended_at = ended_at - interval '500 days' WHERE project_id = $1`,
      [projectId],
    );
    await pool.query(
      `UPDATE session_chain.chains SET closed_at = closed_at - interval '500 days' WHERE id = $1`,
      [chainId],
    );
    await pool.query(
      `INSERT INTO session_chain.briefs (chain, head_session_id, content, parts) VALUES ($1, 'head', 'You are told.', '[]')`,
      [chainId],
    );
    const told = async () => ({
      attempts: await rowsOf(
        pool,
        `SELECT to_jsonb(a) - 'archive_part' AS row FROM session_chain.attempts a WHERE project_id = $1 ORDER BY id`,
        projectId,
      ),
      metrics: await rowsOf(
        pool,
        'SELECT to_jsonb(m) AS row FROM project_ai_session_metrics m WHERE project_id = $1 ORDER BY id',
        projectId,
      ),
      briefs: await rowsOf(
        pool,
        `SELECT to_jsonb(b) - 'archive_part' AS row FROM session_chain.briefs b WHERE chain = $1`,
        chainId,
      ),
      transcripts: await rowsOf(
        pool,
        `SELECT s.session_id, b.ordinal, b.append_id, cardinality(b.entry_ids) AS entries
         FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
         WHERE s.project_id = $1 ORDER BY s.id, b.ordinal`,
        projectId,
      ),
    });
    const before = await told();
    const lines = await archive(projectId);
    await age(pool, projectId, 31);
    expect((await drop(projectId, 100)).sessions).toBeGreaterThan(0);
    expect(await told()).toMatchObject({ metrics: [], briefs: [] });
    const parts = await rowsOf<{ id: string; object: string; month: string }>(
      pool,
      `SELECT id, object, to_char(month, 'YYYY-MM') AS month FROM session_chain.archive_parts WHERE project_id = $1`,
      projectId,
    );
    expect(parts).toHaveLength(1);
    const [{ id, object, month }] = parts as [(typeof parts)[number]];
    const file = {
      ...{ location, object, part: id, month },
      written: { bytes: 1, sha256: 'a'.repeat(64), counts: {} as PartCounts },
    };
    const restored = async () => await restoreLines(pool, projectId, file, Readable.from(lines));
    expect(await restored()).toMatchObject({ details: 5, left: { details: 0, transitions: 0 } });
    expect(await told()).toEqual(before);
    expect(
      await rowsOf(pool, 'SELECT FROM session_chain.spend_days WHERE project_id = $1', projectId),
    ).toEqual([]);
    expect(await restored()).toMatchObject({ sessions: 0, details: 0, left: { details: 0 } });
    expect(await told()).toEqual(before);
  });

  it('keep a text that an append refers to while they are dropped', async () => {
    const projectId = await newProject();
    // What all appends have in common stays, so that only the texts are at stake.
    const { sessionId: head } = await store(projectId, ['kept']);
    await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [projectId, head]);
    const droppable = async (round: number) => {
      const entries = Array.from({ length: 60 }, (_, n) => message(`round ${round} text ${n}`));
      const { sessionId } = await store(projectId, [], { sessionId: parseSessionId(randomUUID()), entries });
      await age(pool, projectId, 200);
      await archive(projectId);
      await age(pool, projectId, 31);
      return { sessionId, entries };
    };
    const append = async (entries: SessionStoreEntry[]) => {
      const sessionId = parseSessionId(randomUUID());
      await createTranscriptStore({ pool, projectId }).append(
        { projectKey: '', sessionId },
        entriesOf(sessionId, entries),
      );
      return sessionId;
    };
    // The append has found the texts and has not ended; the drop has chosen them and has not ended.
    const first = await droppable(0);
    const forkId = parseSessionId(randomUUID());
    let dropping: Promise<unknown> = Promise.resolve();
    await inTransaction(pool, async (client) => {
      await client.query(appendQuery(projectId, { sessionId: forkId }, entriesOf(forkId, first.entries)));
      dropping = drop(projectId, 10);
      await untilSo(async () => await isBlocked(`%drop_sessions%`), dropping);
    });
    expect(await dropping).toMatchObject({ sessions: 1 });
    expect(await sessionFitness(pool, projectId, forkId)).toBe('whole');

    const second = await droppable(1);
    let appending: Promise<SessionId> = Promise.resolve(second.sessionId);
    await inTransaction(pool, async (client) => {
      const [part] = await droppableParts(pool, projectId, policy);
      await client.query('SELECT * FROM session_chain.drop_sessions($1, 90, 30, $2, 10)', [
        projectId,
        part?.id,
      ]);
      appending = append(second.entries);
      await untilSo(async () => await isBlocked(`%append_entries%`), appending);
    });
    expect(await sessionFitness(pool, projectId, await appending)).toBe('whole');

    for (let round = 2; round < 8; round++) {
      const { sessionId, entries } = await droppable(round);
      const [, ...forks] = await Promise.all([
        drop(projectId, 10),
        ...Array.from({ length: 5 }, async () => await append(entries)),
      ]);
      expect(await sessionFitness(pool, projectId, sessionId)).toBe('archived');
      for (const fork of forks) expect(await sessionFitness(pool, projectId, fork)).toBe('whole');
    }
  });
});
