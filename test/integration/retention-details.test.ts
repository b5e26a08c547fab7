import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type SessionChain, createSessionChain } from '../../client/main.js';
import type { ProjectId } from '../../contracts/ids.js';
import type { Pool } from '../../storage/db/pool.js';
import { accountInterrupted, chainSpend, uncostedAttempts, writeDerivedCost } from '../../storage/ledger/ledger.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { rollUpDetails } from '../../storage/retention/details.js';
import { type OpenedChain, begin, newKey, openNew, plan, runStep } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

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
         turn_in_flight_unknown = a.state = 'failed', created_at = m.created_at - $7 * interval '1 day'
       FROM session_chain.attempts a WHERE a.chain = $1 AND a.step = $2 AND m.attempt_id = a.id`,
      ...[...own, spending.turns, spending.cost, byModel],
      ...[spending.models.reduce((sum, { tokens }) => sum + tokens, 0), spending.daysAgo],
    );
    await sql(
      `UPDATE session_chain.attempts SET ended_at = ended_at - $3 * interval '1 day' WHERE chain = $1 AND step = $2`,
      ...[...own, spending.daysAgo],
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
    `UPDATE session_chain.chains SET closed_at = closed_at - interval '50 days' WHERE id = $1`,
    chain.chainId,
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
    `SELECT to_jsonb(b) AS row FROM session_chain.briefs b JOIN session_chain.chains c ON c.id = b.chain WHERE c.project_id = $1`,
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
        expect(await sql('SELECT FROM session_chain.spend_days WHERE project_id = $1', projectId)).toEqual([]);

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
