import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SessionChain, createSessionChain } from '../../client/main.js';
import { type AttemptId, type ProjectId, parseProjectId } from '../../contracts/ids.js';
import type { Pool } from '../../storage/db/pool.js';
import {
  accountInterrupted,
  chainSpend,
  projectSpend,
  unaccountedAttempts,
  uncostedAttempts,
  writeDerivedCost,
} from '../../storage/ledger/ledger.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { rollUpDetails } from '../../storage/retention/details.js';
import { type OpenedChain, begin, newKey, openNew, plan, register, runStep } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { fc } from '../support/properties.js';

/** Details of chains that ended long ago: what they spent is counted by day, and no figure changes. */

let database: TestDatabase;
let pool: Pool;
let sessionChain: SessionChain;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
  sessionChain = createSessionChain({ pool, temporal: { address: '127.0.0.1:1' } });
});
afterAll(async () => {
  await sessionChain.close();
  await database.drop();
});

const sql = async <Row extends Record<string, unknown>>(text: string, ...values: unknown[]) =>
  (await pool.query<Row>(text, values)).rows;

/** What an attempt spent; null for unknown costs. */
interface Spending {
  step: 'build' | 'metadata' | 'docs';
  /** Attempts of the step that failed before it. */
  failures: number;
  daysAgo: number;
  turns: number;
  cost: number | null;
  models: { model: 'large' | 'small'; tokens: number; cost: number | null }[];
}

/** A closed chain whose attempts spent that, as rows that are that old. */
async function spend(projectId: string, spendings: readonly Spending[]): Promise<OpenedChain> {
  const chain = await openNew(pool, newKey(projectId));
  // Of one moment, so that no day and no month ends between them.
  const [moment] = await sql<{ now: Date }>('SELECT now()');
  for (const spending of spendings) {
    for (let failures = 0; failures < spending.failures; failures++) await begin(pool, chain, spending.step);
    await runStep(pool, chain, spending.step);
    const byModel = Object.fromEntries(
      spending.models.map(({ model, tokens, cost }) => [
        model,
        { inputTokens: tokens, outputTokens: 1, cacheReadTokens: 2, cacheWriteTokens: 3, costUsd: cost },
      ]),
    );
    const own = [chain.chainId, spending.step];
    await sql(
      `INSERT INTO project_ai_session_metrics (session_id, project_id, step, attempt_id, outcome)
       SELECT a.session_id, a.project_id, a.step, a.id, 'interrupted' FROM session_chain.attempts a
       WHERE a.chain = $1 AND a.step = $2 AND a.state = 'failed'`,
      ...own,
    );
    await sql(
      `UPDATE project_ai_session_metrics m SET turns = $3, cost_usd = $4, usage_by_model = $5, input_tokens = $6,
         turn_in_flight_unknown = a.state = 'failed', created_at = $8::timestamptz - $7 * interval '1 day'
       FROM session_chain.attempts a WHERE a.chain = $1 AND a.step = $2 AND m.attempt_id = a.id`,
      ...[...own, spending.turns, spending.cost, byModel],
      ...[spending.models.reduce((sum, { tokens }) => sum + tokens, 0), spending.daysAgo, moment?.now],
    );
    await sql(
      `UPDATE session_chain.attempts SET ended_at = $4::timestamptz - $3 * interval '1 day' WHERE chain = $1 AND step = $2`,
      ...[...own, spending.daysAgo, moment?.now],
    );
  }
  await sql(
    `INSERT INTO session_chain.briefs (chain, head_session_id, content, parts) VALUES ($1, 'head', 'You are told.', '[]')`,
    chain.chainId,
  );
  await sql(
    `SELECT session_chain.close_chain($1, $2, $3, $4, $5, '{"status": "failed", "steps": [], "warnings": []}', NULL, NULL)`,
    ...[chain.projectId, chain.versionId, chain.buildId, chain.ticket, chain.runId],
  );
  await sql(
    `UPDATE session_chain.chains SET closed_at = $2::timestamptz - interval '50 days' WHERE id = $1`,
    chain.chainId,
    moment?.now,
  );
  return chain;
}

/** Every sum that is told of a project and its chains. */
async function figures(projectId: string, chains: readonly OpenedChain[]) {
  const since = new Date(0);
  const until = new Date(Date.now() + 86_400_000);
  const [days, steps, models, projects] = await Promise.all(
    (['day', 'step', 'model', 'project'] as const).map(
      async (group) => await sessionChain.spendBy(group, { since, until, projectIds: [projectId] }),
    ),
  );
  const everywhere = await sessionChain.spendBy('day', { since, until });
  const { costUsd, attemptsOfUnknownCost } = await sessionChain.project(projectId);
  const list = await sessionChain.chains({ projectId });
  return {
    ...{ days, steps, models, projects, everywhere, costUsd, attemptsOfUnknownCost },
    project: await sessionChain.spend(projectId),
    chains: await Promise.all(
      chains.map(async (key) => {
        const { steps, ...spent } = await chainSpend(pool, key);
        return { ...spent, steps: Object.fromEntries(steps.map(({ step, ...own }) => [step, own])) };
      }),
    ),
    list: list.chains.map((one) => [one.buildId, one.costUsd, one.attemptsOfUnknownCost]),
  };
}

const days = 30;

/** Plans and verifies a part for each month of which details are due, as the activity does, and returns what the parts hold. */
async function archive(projectId: string): Promise<{ part: string; lines: Lines }[]> {
  const parts = await sql<{ part: string }>(
    `INSERT INTO session_chain.archive_parts (project_id, month, location, object)
     SELECT $1, date_trunc('month', at AT TIME ZONE 'UTC'), 'file:///archive', gen_random_uuid()
     FROM session_chain.due_details($1, $2, false) GROUP BY 2 RETURNING id AS part`,
    projectId,
    days,
  );
  return await Promise.all(
    parts.map(async ({ part }) => {
      await sql('SELECT session_chain.plan_details($1, $2, false, 1000)', part, days);
      const lines = await linesOf(part);
      await sql(
        `UPDATE session_chain.archive_parts SET state = 'verified', verified_at = now(), bytes = 1, sha256 = repeat('0', 64),
           counts = '{}' WHERE id = $1`,
        part,
      );
      return { part, lines };
    }),
  );
}

type Lines = Record<'attempts' | 'metrics' | 'briefs', string>;

async function linesOf(part: string): Promise<Lines> {
  const [lines] = await sql<Lines>(
    `SELECT (SELECT jsonb_agg(a) FROM session_chain.attempts a WHERE a.archive_part = $1)::text AS attempts,
       (SELECT jsonb_agg(m) FROM project_ai_session_metrics m JOIN session_chain.attempts a ON a.id = m.attempt_id
        WHERE a.archive_part = $1)::text AS metrics,
       (SELECT jsonb_agg(b) FROM session_chain.briefs b WHERE b.archive_part = $1)::text AS briefs`,
    part,
  );
  if (!lines) throw new Error('There are no lines.');
  return lines;
}

async function restore({ part, lines }: { part: string; lines: Lines }): Promise<number> {
  const [row] = await sql<{ back: number }>(
    'SELECT session_chain.restore_details($1, $2, $3, $4) AS back',
    ...[part, lines.attempts, lines.metrics, lines.briefs],
  );
  return row?.back ?? 0;
}

const rowsOf = async (projectId: string) => ({
  attempts: await sql(
    'SELECT to_jsonb(a) AS row FROM session_chain.attempts a WHERE project_id = $1 ORDER BY id',
    projectId,
  ),
  metrics: await sql(
    'SELECT to_jsonb(m) AS row FROM project_ai_session_metrics m WHERE project_id = $1 ORDER BY id',
    projectId,
  ),
  briefs: await sql(
    `SELECT to_jsonb(b) AS row FROM session_chain.briefs b JOIN session_chain.chains c ON c.id = b.chain
     WHERE c.project_id = $1 ORDER BY b.chain, b.head_session_id`,
    projectId,
  ),
});

const spending = fc.record<Spending>({
  step: fc.constantFrom('build', 'metadata', 'docs'),
  failures: fc.integer({ min: 0, max: 2 }),
  daysAgo: fc.integer({ min: 0, max: 100 }),
  turns: fc.integer({ min: 0, max: 9 }),
  cost: fc.option(fc.integer({ min: 0, max: 10_000 }).map((micro) => micro / 1e6)),
  models: fc.uniqueArray(
    fc.record({
      model: fc.constantFrom('large', 'small'),
      tokens: fc.integer({ min: 0, max: 1_000_000 }),
      cost: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    }),
    { selector: ({ model }) => model },
  ),
});
const chain = fc
  .uniqueArray(spending, { selector: ({ step }) => step, minLength: 1 })
  .map((steps) => steps.sort((one, other) => order.indexOf(one.step) - order.indexOf(other.step)));
const order = plan.map(({ name }) => String(name));

describe('details that are old', () => {
  it('go without a change of any sum, once, and come back as they were', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(chain, { minLength: 1, maxLength: 3 }), async (spendings) => {
        const projectId = `p-${randomUUID()}`;
        const chains: OpenedChain[] = [];
        for (const own of spendings) chains.push(await spend(projectId, own));
        const before = await figures(projectId, chains);
        const rows = await rowsOf(projectId);
        const due = spendings.flat().filter(({ daysAgo }) => daysAgo >= days);

        const parts = await archive(projectId);
        expect(await figures(projectId, chains)).toEqual(before);
        // A brief goes with its chain, which ended long ago.
        const attempts = due.reduce((sum, { failures }) => sum + failures + 1, 0);
        expect(await rollUpDetails(pool, projectId as ProjectId, { hostTables: false })).toBe(
          attempts + chains.length,
        );
        expect(await rollUpDetails(pool, projectId as ProjectId, { hostTables: false })).toBe(0);
        expect(await figures(projectId, chains)).toEqual(before);
        const left = await rowsOf(projectId);
        expect(left.metrics).toHaveLength(rows.metrics.length - attempts);
        expect(left.attempts).toHaveLength(
          rows.attempts.length - due.reduce((sum, { failures }) => sum + failures, 0),
        );
        expect(left.briefs).toEqual([]);

        for (const part of parts) await restore(part);
        for (const part of parts) expect(await restore(part)).toBe(0);
        expect(await rowsOf(projectId)).toEqual(rows);
        expect(await figures(projectId, chains)).toEqual(before);
        expect(await sql('SELECT FROM session_chain.spend_days WHERE project_id = $1', projectId)).toEqual(
          [],
        );

        // Archived again by other parts, and restored from the first ones.
        await archive(projectId);
        await rollUpDetails(pool, projectId as ProjectId, { hostTables: false });
        for (const part of parts) await restore(part);
        expect(await rowsOf(projectId)).toEqual(rows);
        expect(await figures(projectId, chains)).toEqual(before);
      }),
      { numRuns: 8, endOnFailure: true },
    );
  });
});

/** As old as the end of its chain, so that one part holds all, whatever day is today. */
const old: Spending = {
  ...{ step: 'build', failures: 2, daysAgo: 50, turns: 3, cost: 0.25 },
  models: [{ model: 'large', tokens: 7, cost: 0.25 }],
};

async function oldProject(spendings: readonly Spending[] = [old]) {
  const projectId = parseProjectId(`p-${randomUUID()}`);
  return { projectId, chain: await spend(projectId, spendings) };
}

const rollUp = async (projectId: ProjectId, hostTables = false) =>
  await rollUpDetails(pool, projectId, { hostTables });

describe('a part of details', () => {
  it('holds figures that no longer change once it is planned', async () => {
    const { projectId } = await oldProject([{ ...old, cost: null }]);
    const [dead] = await sql<{ id: string }>(
      `SELECT id::text FROM session_chain.attempts WHERE project_id = $1 AND state = 'failed' LIMIT 1`,
      projectId,
    );
    const attemptId = (dead?.id ?? '') as AttemptId;
    expect(await uncostedAttempts(pool, projectId)).toHaveLength(3);
    await archive(projectId);
    expect(await uncostedAttempts(pool, projectId)).toEqual([]);
    await writeDerivedCost(pool, attemptId, {}, 1);
    await sql(
      `SELECT session_chain.write_metrics($1, 'failed', '{"turns": 99, "cost_usd": 1}', true)`,
      attemptId,
    );
    expect((await projectSpend(pool, projectId)).attemptsOfUnknownCost).toBe(3);
    await rollUp(projectId);
    // Nor are those that stay counted anew, as attempts that died without a row of metrics are.
    expect(await unaccountedAttempts(pool, projectId)).toEqual([]);
    await accountInterrupted(pool, attemptId, nothingSpent);
    expect(await projectSpend(pool, projectId)).toMatchObject({ attempts: 3, turns: 9, costUsd: 0 });
  });

  it('keeps the last attempt of an operation, and one whose session another attempt committed', async () => {
    const { projectId, chain } = await oldProject([
      { ...old, failures: 2 },
      { ...old, step: 'docs', failures: 0 },
    ]);
    await sql(
      `UPDATE session_chain.attempts a SET adopts = (SELECT f.session_id FROM session_chain.attempts f
         WHERE f.chain = a.chain AND f.attempt = 2) WHERE a.chain = $1 AND a.step = 'build' AND a.attempt = 3`,
      chain.chainId,
    );
    await sql(
      `UPDATE session_chain.attempts SET state = 'failed', result = NULL, failure = '{"code": "STEP_TIMED_OUT"}'
       WHERE chain = $1 AND step = 'docs'`,
      chain.chainId,
    );
    await archive(projectId);
    expect(await rollUp(projectId)).toBe(5);
    expect(
      await sql(
        'SELECT step, attempt FROM session_chain.attempts WHERE chain = $1 ORDER BY id',
        chain.chainId,
      ),
    ).toEqual([
      { step: 'build', attempt: 2 },
      { step: 'build', attempt: 3 },
      { step: 'docs', attempt: 1 },
    ]);
  });

  it('drops nothing of a chain that is open again, of a project on hold, and what was not verified', async () => {
    const { projectId, chain } = await oldProject();
    const held = await oldProject();
    await archive(projectId);
    await register(pool, chain);
    expect(await rollUp(projectId)).toBe(0);
    expect((await rowsOf(projectId)).metrics).toHaveLength(3);
    expect(
      await sql(
        `SELECT FROM session_chain.attempts WHERE archive_part IS NOT NULL AND chain = $1`,
        chain.chainId,
      ),
    ).toEqual([]);

    await archive(held.projectId);
    await sql(
      `INSERT INTO session_chain.project_retention (project_id, held_at, held_by, hold_reason) VALUES ($1, now(), 'me', 'a case')`,
      held.projectId,
    );
    expect(await rollUp(held.projectId)).toBe(0);
    await sql('DELETE FROM session_chain.project_retention');
    await sql(
      `UPDATE session_chain.archive_parts SET state = 'planned', verified_at = NULL WHERE project_id = $1`,
      held.projectId,
    );
    expect(await rollUp(held.projectId)).toBe(0);
    expect((await rowsOf(held.projectId)).metrics).toHaveLength(3);
  });

  it('counts steps in the order in which they began, however the planner groups them', async () => {
    const projectId = parseProjectId(`p-${randomUUID()}`);
    const spendings = (['build', 'metadata', 'docs'] as const).map((step) => ({ ...old, step }));
    const chains: OpenedChain[] = [];
    for (let count = 0; count < 3; count++) chains.push(await spend(projectId, spendings));
    const stepsOf = async () =>
      await Promise.all(
        chains.map(async (key) => (await chainSpend(pool, key)).steps.map(({ step }) => step)),
      );
    const before = await stepsOf();
    await archive(projectId);
    await sql('ALTER FUNCTION session_chain.count_spent SET enable_hashagg = off');
    try {
      await rollUp(projectId);
    } finally {
      await sql('ALTER FUNCTION session_chain.count_spent RESET enable_hashagg');
    }
    expect(await stepsOf()).toEqual(before);
  });

  it("touches a host's table only where it may", async () => {
    const { projectId } = await oldProject();
    await sql('UPDATE session_chain.installation SET owns_host_tables = false');
    try {
      expect(await sql('SELECT FROM session_chain.due_details($1, 30, false)', projectId)).toEqual([]);
      expect(await sql('SELECT FROM session_chain.due_details($1, 30, true)', projectId)).toHaveLength(4);
      await sql('UPDATE session_chain.installation SET owns_host_tables = true');
      await archive(projectId);
      await sql('UPDATE session_chain.installation SET owns_host_tables = false');
      expect(await rollUp(projectId)).toBe(0);
      expect(await rollUp(projectId, true)).toBe(4);
    } finally {
      await sql('UPDATE session_chain.installation SET owns_host_tables = true');
    }
  });

  it('comes back into a database where it does not count yet, and leaves out what has no chain there', async () => {
    const { projectId, chain } = await oldProject();
    const [part] = await archive(projectId);
    if (!part) throw new Error('Nothing was planned.');
    const spent = await projectSpend(pool, projectId);
    // As in a database to which the rows of sessions, chains and committed attempts were copied.
    await sql('DELETE FROM project_ai_session_metrics WHERE project_id = $1', projectId);
    await sql('DELETE FROM session_chain.briefs WHERE chain = $1', chain.chainId);
    await sql(`DELETE FROM session_chain.attempts WHERE chain = $1 AND state = 'failed'`, chain.chainId);
    const stray = part.lines.attempts.replaceAll(`"chain": ${chain.chainId}`, '"chain": 999999999');
    expect(await restore({ part: part.part, lines: { ...part.lines, attempts: stray } })).toBe(2);
    expect(await restore(part)).toBe(2);
    expect(await projectSpend(pool, projectId)).toEqual(spent);
    expect(
      await sql(
        `SELECT FROM session_chain.events WHERE project_id = $1 AND type = 'step.started'`,
        projectId,
      ),
    ).toHaveLength(3);
  });

  it('counts as whole days once it was rolled up', async () => {
    const { projectId } = await oldProject();
    const day = (await sessionChain.spendBy('day', { since: new Date(0), projectIds: [projectId] }))[0]?.key;
    await archive(projectId);
    await rollUp(projectId);
    const cost = async (since: string, until: string) =>
      (
        await sessionChain.spendBy('step', {
          since: `${day}${since}`,
          until: `${day}${until}`,
          projectIds: [projectId],
        })
      ).map(({ costUsd }) => costUsd);
    expect(await cost('T00:00:00Z', 'T00:00:01Z')).toEqual([0.75]);
    expect(await cost('T00:00:01Z', 'T23:59:59Z')).toEqual([]);
  });
});

describe('what takes space', () => {
  it('is told of a project by kind, with what grows and what retention frees', async () => {
    const { projectId } = await oldProject();
    await sql(
      `INSERT INTO session_chain.workers (id, identity, host, version, release, sdk, sandbox, namespace, task_queue, limits, definition,
         definition_digest, running_agents, running_chats)
       VALUES (gen_random_uuid(), '1@here', 'here', '1', '1', '1', 'none', 'default', 'queue', $1, '{}', repeat('0', 64), 0, 0)`,
      { retention: { archive: 'file:///archive', dropDays: 30 } },
    );
    const stored = await sessionChain.projectStorage(projectId);
    expect(stored.kinds).toMatchObject({
      texts: { rows: 1 },
      batches: { rows: 1 },
      sessions: { rows: 3 },
      transitions: { rows: 1 },
      archivedTransitions: { rows: 0, bytes: 0 },
      attempts: { rows: 3 },
      metrics: { rows: 3 },
      chains: { rows: 1 },
      questions: { rows: 0, bytes: 0 },
    });
    expect(stored.bytes).toBe(Object.values(stored.kinds).reduce((sum, { bytes }) => sum + bytes, 0));
    const transcripts = stored.kinds.texts.bytes + stored.kinds.batches.bytes;
    expect(stored.growthPerDay).toEqual({
      last7Days: Math.round(transcripts / 7),
      last30Days: Math.round(transcripts / 30),
    });
    expect(stored).toMatchObject({ archive: { files: 0 }, freeable: { now: 0, later: 0 }, leftAlone: null });

    const [part] = await archive(projectId);
    await sql(
      `UPDATE session_chain.sessions SET archive_part = $1, sealed_at = now() WHERE project_id = $2`,
      part?.part,
      projectId,
    );
    expect(await sessionChain.projectStorage(projectId)).toMatchObject({
      archive: { files: 1, bytes: 1 },
      freeable: { now: 0, later: transcripts },
    });
    await sql(
      `UPDATE session_chain.archive_parts SET verified_at = verified_at - interval '30 days' WHERE id = $1`,
      part?.part,
    );
    expect((await sessionChain.projectStorage(projectId)).freeable).toEqual({ now: transcripts, later: 0 });
    await sql(
      `INSERT INTO session_chain.project_retention (project_id, restored_until) VALUES ($1, now() + interval '1 day')`,
      projectId,
    );
    expect(await sessionChain.projectStorage(projectId)).toMatchObject({
      freeable: { now: 0, later: 0 },
      leftAlone: 'restored',
    });
  });

  it('is told of all projects, by samples that agree with each where the tables are small', async () => {
    const stored = await sessionChain.storage({ limit: 1 });
    expect(stored.isEstimate).toBe(false);
    expect(stored.projects).toHaveLength(1);
    for (const { projectId, bytes } of (await sessionChain.storage()).projects) {
      // A value that a plan has copied has a longer header, by three bytes.
      const { bytes: alone } = await sessionChain.projectStorage(projectId);
      expect(Math.abs(alone - bytes)).toBeLessThan(bytes / 1000);
    }
    const [tables] = await sql<{ bytes: number }>(
      `SELECT pg_total_relation_size('session_chain.transcript_texts') AS bytes`,
    );
    expect(stored.kinds.texts.bytes).toBe(tables?.bytes);
    const [rows] = await sql<{ attempts: number }>('SELECT count(*) AS attempts FROM session_chain.attempts');
    expect(stored.kinds.attempts.rows).toBe(rows?.attempts);
  });

  it('is refused for what cannot be meant', async () => {
    await expect(sessionChain.projectStorage('there-is-none')).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
    await expect(sessionChain.projectStorage('')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(sessionChain.storage({ limit: 0 })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(sessionChain.storage({ projects: 1 } as never)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });
});
