import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type pg from 'pg';
import type { ChainResult } from '../../contracts/chain.js';
import type { ProjectEvent } from '../../contracts/events.js';
import type { FailureCode } from '../../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../../contracts/ids.js';
import { questionBuildId } from '../../contracts/question.js';
import { startPostgres } from '../../dev/postgres.js';
import {
  closeChain,
  noteFailure,
  noteSkipped,
  noteWaiting,
  openChain,
  registerChain,
  releaseChain,
} from '../../storage/chains/chains.js';
import { requestStop } from '../../storage/chains/stop-requests.js';
import { migrate, pendingMigrations } from '../../storage/db/migrate.js';
import { type Pool, createPool } from '../../storage/db/pool.js';
import {
  type EventPage,
  beforeNewestStart,
  eventsHorizon,
  lastEventId,
  projectsWithNews,
  readAllEvents,
  readProjectEvents,
} from '../../storage/events/events.js';
import { keepTrimmed, trimEvents } from '../../storage/events/trim.js';
import { beginActivityStep, endActivityStep } from '../../storage/operations/activity-steps.js';
import {
  beginOperation,
  commitOperation,
  endOperation,
  settleStep,
} from '../../storage/operations/operations.js';
import { failQuestion, recordQuestion, startQuestion } from '../../storage/questions/questions.js';
import { until } from '../support/chain-stack.js';
import {
  type OpenedChain,
  begin,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  shippedStatus,
  someMetrics,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { dumpSchema } from '../support/schema-dump.js';

/** Events stand in the database with the changes that they tell of, in an order that a reader can rely on. */

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
});
afterAll(async () => {
  await database.drop();
});

const eventsOf = async (projectId: ProjectId, after = 0): Promise<ProjectEvent[]> =>
  (await readProjectEvents(pool, { projectId }, after, 1_000)).events;
const typesOf = (events: ProjectEvent[]) => events.map(({ type }) => type);
const failure = (code: FailureCode, message = 'It failed.') => ({ code, message, remedy: 'Try again.' });

async function begun(chain: OpenedChain, step: string) {
  const attempt = await begin(pool, chain, step);
  if (attempt.outcome !== 'begun') throw new Error(attempt.outcome);
  return attempt.attempt;
}

async function close(chain: OpenedChain, said: Partial<ChainResult>) {
  const { ticket, runId } = chain;
  const result = { warnings: [], steps: [], ...said } as unknown as ChainResult;
  return await closeChain(pool, chain, { ticket, runId, result, versionStatus: shippedStatus });
}

/** Begins to answer a question. */
async function beginAnswer(projectId: ProjectId, questionId: string) {
  const answer = await beginOperation(pool, {
    ...{ projectId, inputDigest: 'digest', worker: 'test', leaseMs: 0 },
    operation: {
      kind: 'outside',
      versionId: null,
      buildId: questionBuildId(questionId),
      source: 'chat_plan',
      sessionId: null,
    },
  });
  if (answer.outcome !== 'begun') throw new Error(answer.outcome);
  return answer.attempt;
}

/** Writes an event of its own, as the triggers do. */
const write = async (connection: Pool | pg.PoolClient, projectId: string, step = 'any') => {
  await connection.query(
    `SELECT session_chain.write_event($1, NULL, NULL, NULL, 'step.skipped', jsonb_build_object('step', $2::text))`,
    [projectId, step],
  );
};

/** What a reader sees that goes on from the last event that it has seen, until it is over. */
async function follow(isOver: () => boolean, read: (after: number) => Promise<EventPage>) {
  const seen: ProjectEvent[] = [];
  for (let isLast = false; ;) {
    const { events } = await read(seen.at(-1)?.id ?? 0);
    seen.push(...events);
    if (events.length > 0) continue;
    if (isLast) return seen;
    isLast = isOver();
  }
}

const open = new Set<pg.PoolClient>();
afterEach(() => {
  for (const client of open) client.release(true);
  open.clear();
});

/** A transaction that stays open until it is ended. */
async function openTransaction() {
  const client = await pool.connect();
  await client.query('BEGIN');
  open.add(client);
  return {
    client,
    async end(how: 'COMMIT' | 'ROLLBACK') {
      await client.query(how);
      open.delete(client);
      client.release();
    },
  };
}

describe('what happens to a project', () => {
  const canary = 'CANARY: what a person wrote';

  it('is told with the ids and numbers of each change, and with no word of it', async () => {
    const key = newKey();
    const { projectId, versionId, buildId } = key;
    const request = { ...key, workspace: `/srv/${canary}`, instruction: canary, createRows: true };
    const { chainId } = await registerChain(pool, request);
    const steps = [...plan, { name: 'deploy', kind: 'activity', role: 'deploy' } as const];
    const opened = await openChain(pool, { ...key, chainId }, openerOf('run-1'), null, { plan: steps });
    if (opened.outcome !== 'opened') throw new Error(opened.outcome);
    const chain: OpenedChain = { ...key, chainId, runId: 'run-1', ticket: opened.ticket, head: null };
    const waiting = await begun(chain, 'build');
    const overloaded = { failure: failure('MODEL_UNAVAILABLE', canary), spent: someMetrics };
    await endOperation(pool, waiting, { ...overloaded, waitMs: 60_000 });
    await noteWaiting(pool, chain, { waitMs: 1_000, waitingFor: canary, code: 'WORKSPACE_NOT_ALLOWED' });
    const build = await runStep(pool, chain, 'build');
    const failed = await begun(chain, 'metadata');
    await endOperation(pool, failed, { failure: failure('SUBMISSION_INVALID', canary), spent: someMetrics });
    await noteSkipped(pool, { ...chain, step: 'compact' }, 'The context is small.');
    for (const [round, problem] of [
      [1, failure('ACTIVITY_STEP_FAILED', canary)] as const,
      [2, null] as const,
    ]) {
      const call = { ...chain, step: 'deploy', round };
      await beginActivityStep(pool, {
        ...{ ...call, role: null, activity: canary, taskQueue: canary, sessionId: null, seq: null },
        scheduledAtMs: Date.now(),
      });
      await endActivityStep(pool, { ...call, failure: problem, cancelled: false });
    }
    await close(chain, { status: 'budget_exceeded', failure: failure('BUDGET_EXCEEDED', canary) });

    const attempt = (id: string, number: number, step = 'build') => ({
      ...{ step, round: 1, attemptId: id, attempt: number },
    });
    const second = build.attemptId;
    const deploy = (round: number) => ({ step: 'deploy', round, attemptId: null });
    const expected: [ProjectEvent['type'], object][] = [
      ['chain.queued', { mode: 'initial', again: false }],
      ['chain.opened', { origin: 'fresh', baseSessionId: null, steps: steps.map(({ name }) => name) }],
      [
        'step.started',
        { ...attempt(waiting.attemptId, 1), sessionId: waiting.sessionId, baseSessionId: null },
      ],
      ['step.failed', { ...attempt(waiting.attemptId, 1), code: 'MODEL_UNAVAILABLE', waits: true }],
      ['chain.waiting', { for: 'MODEL_UNAVAILABLE', until: expect.stringMatching(/^20.*\.\d{3}Z$/) }],
      ['chain.waiting', { for: 'WORKSPACE_NOT_ALLOWED', until: expect.stringMatching(/^20.*\.\d{3}Z$/) }],
      ['step.started', { ...attempt(second, 2), sessionId: build.newSessionId, baseSessionId: null }],
      [
        'step.committed',
        {
          ...{ ...attempt(second, 2), oldSessionId: null, newSessionId: build.newSessionId, seq: 1 },
          ...{ turns: build.turns, usage: build.usage, costUsd: build.costUsd, durationMs: build.durationMs },
        },
      ],
      [
        'head.moved',
        { seq: 1, oldSessionId: null, newSessionId: build.newSessionId, source: 'build', rewoundTo: null },
      ],
      [
        'step.started',
        {
          ...attempt(failed.attemptId, 1, 'metadata'),
          ...{ sessionId: failed.sessionId, baseSessionId: build.newSessionId },
        },
      ],
      [
        'step.failed',
        { ...attempt(failed.attemptId, 1, 'metadata'), code: 'SUBMISSION_INVALID', waits: false },
      ],
      ['step.skipped', { step: 'compact', reason: 'The context is small.' }],
      ['step.started', { ...deploy(1), attempt: 1, sessionId: null, baseSessionId: null }],
      ['step.failed', { ...deploy(1), attempt: 1, code: 'ACTIVITY_STEP_FAILED', waits: false }],
      ['step.started', { ...deploy(2), attempt: 1, sessionId: null, baseSessionId: null }],
      ['step.completed', deploy(2)],
      ['budget.reached', { limit: null }],
      [
        'chain.closed',
        {
          ...{ status: 'budget_exceeded', failureCode: 'BUDGET_EXCEEDED' },
          ...{ headSessionId: build.newSessionId, headSeq: 1 },
        },
      ],
    ];
    const told = await eventsOf(projectId);
    const ofChain = { projectId, versionId, buildId, chainId };
    expect(told).toEqual(
      expected.map(([type, data]) => ({
        ...{ ...ofChain, type, data, id: expect.any(Number), cursor: expect.stringMatching(/^\d+$/) },
        at: expect.stringMatching(/^20.*Z$/),
      })),
    );
    expect(told.map(({ id }) => id)).toEqual(told.map(({ id }) => id).sort((a, b) => a - b));
    expect(told.map(({ cursor }) => cursor)).toEqual(told.map(({ id }) => String(id)));

    // Started again, with a limit whose name is known.
    await register(pool, key);
    const reopened = await openChain(pool, { ...key, chainId }, openerOf('run-2'), null, { plan });
    if (reopened.outcome !== 'opened') throw new Error(reopened.outcome);
    const again = { ...chain, ticket: reopened.ticket, runId: 'run-2' };
    const reached = { limit: 'cost', owner: 'chain' } as const;
    await noteFailure(pool, again, 'metadata', { ...failure('BUDGET_EXCEEDED', canary), reached });
    const forged = failure(`${canary} in a code` as FailureCode);
    await close(again, { status: 'budget_exceeded', failure: forged });
    const since = await beforeNewestStart(pool, { projectId, chainId });
    expect((await eventsOf(projectId, since)).map(({ type, data }) => [type, data])).toEqual([
      ['chain.queued', { mode: 'initial', again: true }],
      ['chain.opened', expect.objectContaining({ origin: 'head', baseSessionId: build.newSessionId })],
      ['budget.reached', { limit: reached }],
      ['chain.closed', expect.objectContaining({ status: 'budget_exceeded', failureCode: 'INTERNAL' })],
    ]);

    const closed = await lastEventId(pool, projectId);
    const chatId = randomUUID();
    const asked = { projectId, chatId, messageId: 'm-1', question: canary, when: 'now' } as const;
    const question = await recordQuestion(pool, asked);
    const { questionId } = question;
    const names = { chatId, messageId: 'm-1', questionId };
    await startQuestion(pool, questionId, null);
    await failQuestion(pool, question, failure('AGENT_FAILED', canary));
    await recordQuestion(pool, asked);
    const answer = await beginAnswer(projectId, questionId);
    await storeMessage(pool, projectId, answer.sessionId);
    await commitOperation(pool, {
      ...{ attempt: answer, source: 'chat_plan', newSessionId: answer.sessionId, metrics: someMetrics },
      ...{ parentSessionId: answer.baseSessionId, result: {}, answer: { questionId, reply: canary } },
    });
    expect(
      (await eventsOf(projectId, closed)).map(({ type, data, chainId }) => [type, data, chainId]),
    ).toEqual([
      ['question.asked', { ...names, when: 'now', aside: false, again: false }, null],
      ['question.failed', { ...names, code: 'AGENT_FAILED' }, null],
      ['question.asked', { ...names, when: 'now', aside: false, again: true }, null],
      [
        'question.started',
        { questionId, attemptId: answer.attemptId, attempt: 1, sessionId: answer.sessionId },
        null,
      ],
      [
        'head.moved',
        {
          ...{ seq: 2, oldSessionId: build.newSessionId, newSessionId: answer.sessionId },
          ...{ source: 'chat_plan', rewoundTo: null },
        },
        null,
      ],
      ['question.answered', { ...names, kind: 'transition', sessionId: answer.sessionId }, null],
    ]);
    const { rows } = await pool.query<{ text: string }>('SELECT e::text AS text FROM session_chain.events e');
    expect(rows.filter(({ text }) => text.includes('CANARY'))).toEqual([]);
  });

  it('is told of one chain alone, and from its newest start', async () => {
    const chain = await openNew(pool);
    const other = await register(pool, newKey(chain.projectId));
    const { events } = await readProjectEvents(pool, { ...chain }, 0, 10);
    expect(typesOf(events)).toEqual(['chain.queued', 'chain.opened']);
    const start = await beforeNewestStart(pool, { projectId: chain.projectId, chainId: other.chainId });
    expect(start).toBe(events.at(-1)?.id);
    const rest = await readProjectEvents(pool, chain, start, 10);
    expect(rest).toMatchObject({ events: [], gap: null });
  });

  it('is told when a chain ends without its workflow', async () => {
    const chain = await openNew(pool);
    await begun(chain, 'build');
    const before = await lastEventId(pool, chain.projectId);
    const run = { workflowId: `chain/${chain.projectId}/${chain.versionId}/${chain.buildId}`, home: 'test' };
    await releaseChain(pool, chain.projectId, { ...run, runId: chain.runId });
    expect((await eventsOf(chain.projectId, before)).map(({ type, data }) => [type, data])).toEqual([
      ['step.failed', expect.objectContaining({ code: 'WORKER_LOST', waits: false })],
      [
        'chain.closed',
        { status: 'failed', failureCode: 'CHAIN_TERMINATED', headSessionId: null, headSeq: null },
      ],
    ]);
  });

  it('is not told where it was refused or undone, and is told where the project was deleted', async () => {
    const chain = await openNew(pool);
    const last = await lastEventId(pool, chain.projectId);
    await noteWaiting(
      pool,
      { ...chain, ticket: chain.ticket + 1 },
      { waitMs: 1, waitingFor: 'x', code: 'INTERNAL' },
    );
    await close({ ...chain, ticket: chain.ticket + 1 }, { status: 'completed' }).catch(() => undefined);
    const undone = await openTransaction();
    await undone.client.query(`SELECT session_chain.note_waiting($1, $2, $3, 1, 'INTERNAL', 'x')`, [
      ...[chain.projectId, chain.chainId, chain.ticket],
    ]);
    await undone.end('ROLLBACK');
    expect(await eventsOf(chain.projectId, last)).toEqual([]);
    await pool.query('DELETE FROM project_versions WHERE project_id = $1', [chain.projectId]);
    await pool.query('DELETE FROM projects WHERE project_id = $1', [chain.projectId]);
    await releaseChain(pool, chain.projectId, {
      workflowId: `chain/${chain.projectId}/${chain.versionId}/${chain.buildId}`,
      ...{ runId: chain.runId, home: 'test' },
    });
    expect(typesOf(await eventsOf(chain.projectId, last))).toEqual(['chain.closed']);
  });

  it('cannot be changed or left out by a trigger that is gone: migrate says so, and makes it anew', async () => {
    const own = await createTestDatabase();
    try {
      const before = await dumpSchema(own.pool);
      await own.pool.query(`DROP TRIGGER event_of_transition ON session_transitions;
        ALTER TABLE session_chain.chains DISABLE TRIGGER event_of_chain;`);
      const lacking = ['functions/event_of_chain', 'functions/event_of_transition'];
      expect(await pendingMigrations(own.pool)).toEqual(lacking);
      expect(await migrate(own.url)).toEqual(lacking);
      expect(await dumpSchema(own.pool)).toBe(before);
      expect(await migrate(own.url)).toEqual([]);
    } finally {
      await own.drop();
    }
  });
});

describe('a reader over all projects', () => {
  const idsAfter = async (after: number) => {
    const { events, gap } = await readAllEvents(pool, after, 1_000);
    expect(gap).toBeNull();
    return events.map(({ projectId }) => projectId as string);
  };
  const project = () => `p-${randomUUID()}`;

  it('waits for a transaction that has written before, and for no other', async () => {
    const after = await lastEventId(pool, null);
    const [one, two, three] = [project(), project(), project()];
    const idle = await openTransaction();
    await idle.client.query('CREATE TEMP TABLE held (x int); SELECT pg_current_xact_id()');
    const early = await openTransaction();
    await write(early.client, one);
    await write(pool, two);
    expect(await idsAfter(after)).toEqual([]);
    expect(await lastEventId(pool, null)).toBe(after);
    expect(typesOf(await eventsOf(parseProjectId(two)))).toEqual(['step.skipped']);
    const late = await openTransaction();
    await write(late.client, three);
    await early.end('COMMIT');
    expect(await idsAfter(after)).toEqual([one, two]);
    await late.end('ROLLBACK');
    await idle.end('COMMIT');
    await write(pool, three);
    expect(await idsAfter(after)).toEqual([one, two, three]);
  });

  it('sees past what was undone inside a transaction, and waits for what that wrote afterwards', async () => {
    const after = await lastEventId(pool, null);
    const [one, two] = [project(), project()];
    const held = await openTransaction();
    await held.client.query('SAVEPOINT s');
    await write(held.client, one);
    await held.client.query('ROLLBACK TO s');
    await write(pool, two);
    expect(await idsAfter(after)).toEqual([two]);
    await write(held.client, one);
    const seen = await lastEventId(pool, null);
    await write(pool, two);
    expect(await idsAfter(seen)).toEqual([]);
    await held.end('COMMIT');
    expect(await idsAfter(seen)).toEqual([one, two]);
  });

  it('and one of a project find by a look whether there is more to read: no commit that writes events notifies anyone but who waits for a head', async () => {
    const { projectId } = await openNew(pool);
    const other = await openNew(pool);
    const seen = async (of: ProjectId) => ({
      projectId: of,
      through: (await readProjectEvents(pool, { projectId: of }, 0, 10)).through,
    });
    const places = [
      await seen(projectId),
      await seen(other.projectId),
      await seen(parseProjectId(project())),
    ];
    const { through: horizon } = await readAllEvents(pool, 0, 1);
    const held = await openTransaction();
    await write(held.client, projectId);
    expect([await projectsWithNews(pool, places), await eventsHorizon(pool)]).toEqual([[], horizon]);
    await held.end('COMMIT');
    expect(await projectsWithNews(pool, places)).toEqual([places[0]]);
    expect(await eventsHorizon(pool)).toBeGreaterThan(horizon);
    const { rows } = await pool.query<{ name: string }>(
      `SELECT proname AS name FROM pg_proc WHERE pronamespace = 'session_chain'::regnamespace AND prosrc ~* 'notify' ORDER BY 1`,
    );
    // These ask a worker to stop what is running, once; and a step or chain that ends tells who waits for that, if anyone does.
    expect(rows.map(({ name }) => name)).toEqual(['request_stop', 'stop_attempts', 'tell_waiters']);
  });

  it('sees each event of 64 writers once, in order, whatever they commit and undo', async () => {
    const start = await lastEventId(pool, null);
    const projects = Array.from({ length: 8 }, () => project()).sort();
    await pool.query('INSERT INTO projects (project_id) SELECT unnest($1::text[])', [projects]);
    const written: string[] = [];
    let running = 0;
    const writer = async (name: number) => {
      const own = createPool(database.url, { applicationName: 'test writer', max: 1 });
      for (let round = 0; round < 5; round++) {
        const client = await own.connect();
        const steps: string[] = [];
        await client.query('BEGIN');
        // In the order of the projects, as every path that takes several locks.
        for (const id of projects.filter(() => Math.random() < 0.3)) {
          const step = `${id}/${name}/${round}`;
          await write(client, id, step);
          steps.push(step);
        }
        const isKept = Math.random() < 0.8;
        await client.query(isKept ? 'COMMIT' : 'ROLLBACK');
        client.release();
        if (isKept) written.push(...steps);
      }
      await own.end();
    };
    const writers = Array.from({ length: 64 }, async (_, name) => {
      running++;
      await writer(name).finally(() => running--);
    });
    const isOver = () => running === 0;
    const [seen, ...ofProjects] = await Promise.all([
      follow(isOver, (after) => readAllEvents(pool, after || start, 7)),
      ...projects.map((id) =>
        follow(isOver, (after) => readProjectEvents(pool, { projectId: parseProjectId(id) }, after, 7)),
      ),
    ]);
    await Promise.all(writers);
    const stepOf = ({ data }: ProjectEvent) => (data as { step: string }).step;
    expect(seen.map(({ id }) => id)).toEqual(seen.map(({ id }) => id).sort((a, b) => a - b));
    expect(seen.map(stepOf).sort()).toEqual(written.sort());
    expect(ofProjects.map((events) => events.map(stepOf))).toEqual(
      projects.map((id) => seen.filter(({ projectId }) => projectId === id).map(stepOf)),
    );
  });
});

describe('changes of one project at once', () => {
  it('wait for each other in one order, and never for ever', async () => {
    const chain = await openNew(pool);
    const { projectId } = chain;
    const asked = { projectId, chatId: randomUUID(), question: 'How?', when: 'now' } as const;
    const waits = { waitMs: 1, waitingFor: 'x', code: 'INTERNAL' } as const;
    const step = { ...chain, step: 'build', round: 1, scheduledAtMs: 0 };
    const errors: unknown[] = [];
    const repeat = (work: (turn: number) => Promise<unknown>) =>
      (async () => {
        for (let turn = 0; turn < 12; turn++) {
          await work(turn).catch((error: { code?: string }) => {
            // A fence is an answer; a deadlock is not.
            if (error.code !== 'FENCED') errors.push(error);
          });
        }
      })();
    const attempt = async () => {
      const made = await begin(pool, chain, 'build');
      return made.outcome === 'begun' ? made.attempt : null;
    };
    let isOver = false;
    const seen = follow(
      () => isOver,
      (after) => readProjectEvents(pool, { projectId }, after, 7),
    );
    await Promise.all([
      repeat(async () => {
        const made = await attempt();
        if (made) await endOperation(pool, made, { failure: failure('AGENT_FAILED'), spent: someMetrics });
      }),
      repeat(async () => {
        const made = await attempt();
        if (made)
          await endOperation(pool, made, { failure: failure('AGENT_FAILED'), spent: someMetrics, waitMs: 1 });
      }),
      repeat(async () => await noteWaiting(pool, chain, waits)),
      repeat(async () => await noteSkipped(pool, { ...chain, step: 'compact' }, randomUUID())),
      repeat(async () => await noteFailure(pool, chain, 'build', failure('INTERNAL'))),
      repeat(async () => await requestStop(pool, chain.chainId)),
      repeat(async () => await settleStep(pool, step)),
      repeat(async () => await register(pool, newKey(projectId))),
      repeat(async (turn) => {
        const question = await recordQuestion(pool, { ...asked, messageId: `m-${turn}` });
        const answer = beginAnswer(projectId, question.questionId);
        await Promise.all([answer, failQuestion(pool, question, failure('CANCELLED'))]);
      }),
      repeat(async () => {
        const made = await openNew(pool, newKey(`${projectId}-other`)).catch(() => null);
        if (made) {
          const { ticket, runId } = made;
          const result = { status: 'cancelled', warnings: [], steps: [] } as unknown as ChainResult;
          await closeChain(pool, made, { ticket, runId, result, versionStatus: noStatus });
        }
      }),
    ]);
    await close(chain, { status: 'cancelled' });
    isOver = true;
    expect(errors).toEqual([]);
    expect(await seen).toEqual(await eventsOf(projectId));
  });
});

describe('events that are older than they are kept', () => {
  const age = async (events: ProjectEvent[]) => {
    await pool.query(
      `UPDATE session_chain.events SET at = at - interval '31 days' WHERE id = ANY ($1::bigint[])`,
      [events.map(({ id }) => String(id))],
    );
  };

  it('are trimmed; a reader that had not read them learns it once, and a reader of another project does not', async () => {
    const [trimmed, kept] = [await openNew(pool), await openNew(pool)];
    for (const { name } of plan) await runStep(pool, trimmed, name);
    const all = await eventsOf(trimmed.projectId);
    const [first, ...others] = all;
    const ofKept = await eventsOf(kept.projectId);
    const old = all.slice(0, 5);
    await age(old);
    await trimEvents(pool, 30);
    const read = (after: number, chain = trimmed) =>
      readProjectEvents(pool, { projectId: chain.projectId }, after, 1_000);
    const lastTrimmed = old.at(-1)?.id ?? 0;
    const gap = { type: 'gap', reason: 'trimmed', cursor: String(lastTrimmed) };
    expect(await read(first?.id ?? 0)).toMatchObject({ events: [], gap });
    expect(await read(lastTrimmed)).toMatchObject({ events: all.slice(5), gap: null });
    expect(await read(0)).toMatchObject({ events: all.slice(5), gap: null });
    expect(await read(others.at(-1)?.id ?? 0)).toMatchObject({ events: [], gap: null });
    expect(await read(ofKept[0]?.id ?? 0, kept)).toMatchObject({ events: ofKept.slice(1), gap: null });
    // An event of another project that is gone names a place all the same.
    expect(await read(lastTrimmed, kept)).toMatchObject({
      events: ofKept.filter(({ id }) => id > lastTrimmed),
      gap: null,
    });
    expect((await readAllEvents(pool, first?.id ?? 0, 10)).gap).toEqual(gap);
    expect(await beforeNewestStart(pool, trimmed)).toBe(lastTrimmed);

    // Nothing is left: the place stays.
    await age(all.slice(5));
    await trimEvents(pool, 30);
    const end = all.at(-1)?.id ?? 0;
    expect(await lastEventId(pool, trimmed.projectId)).toBe(end);
    expect(await read(end)).toMatchObject({ events: [], gap: null });
  });

  it('are trimmed by the hour in one process at a time, none younger than a day', async () => {
    const chain = await openNew(pool);
    await pool.query(`UPDATE session_chain.events SET at = at - interval '23 hours' WHERE project_id = $1`, [
      chain.projectId,
    ]);
    const old = await openNew(pool);
    await age(await eventsOf(old.projectId));
    const busy = await openTransaction();
    await busy.client.query(`SELECT session_chain.trim_events('30 days', 1)`);
    const { rows } = await pool.query(`SELECT session_chain.trim_events('0', 1) AS trimmed`);
    expect(rows).toEqual([{ trimmed: null }]);
    await busy.end('ROLLBACK');
    const said: string[] = [];
    const trimming = keepTrimmed(pool, 1, (message) => said.push(message));
    await until(async () => (await eventsOf(old.projectId)).length === 0);
    await trimming.close();
    expect(await eventsOf(chain.projectId)).toHaveLength(2);
    expect(said).toEqual([]);
  });
});

describe('a database that goes back', () => {
  it('answers a reader that is ahead of it with a gap, also once it has written as many events again', async () => {
    const chain = await openNew(pool);
    const { projectId } = chain;
    const before = await eventsOf(projectId);
    const restore = await database.backUp();
    await runStep(pool, chain, 'build');
    const lost = await eventsOf(projectId);
    await restore();
    const ahead = lost.at(-1)?.id ?? 0;
    const gap = { type: 'gap', reason: 'ahead', cursor: before.at(-1)?.cursor };
    expect(await readProjectEvents(pool, { projectId }, ahead, 10)).toMatchObject({ events: [], gap });
    for (const after of [ahead, ahead + 1, Number.MAX_SAFE_INTEGER]) {
      expect((await readAllEvents(pool, after, 10)).gap).toMatchObject({ reason: 'ahead' });
    }
    chain.head = null;
    for (const step of ['build', 'docs']) await runStep(pool, chain, step);
    const now = await eventsOf(projectId);
    expect(now.at(-1)?.id).toBeGreaterThan(ahead);
    const again = await readProjectEvents(pool, { projectId }, ahead, 10);
    expect(again.gap).toMatchObject({ reason: 'ahead', cursor: now.at(-1)?.cursor });
    const known = before.at(-1)?.id ?? 0;
    expect(await eventsOf(projectId, known)).toEqual(now.filter(({ id }) => id > known));
  });

  it('killed in the middle of many changes, has an event for each that stands, and none for another', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'session-chain-events-'));
    const options = { dataDir: join(dataDir, 'data'), logFile: join(dataDir, 'log'), durable: true };
    const first = await startPostgres(options);
    let server = first;
    try {
      await migrate(first.url);
      const own = createPool(first.url, { applicationName: 'test', max: 8 });
      const id = parseProjectId('p');
      await own.query(`INSERT INTO projects (project_id) VALUES ('p')`);
      let confirmed = 0;
      const writers = Array.from({ length: 4 }, async () => {
        for (;;) {
          const key = newKey(id);
          await registerChain(own, { ...key, workspace: '/x', createRows: true });
          confirmed++;
        }
      });
      const broken = Promise.allSettled(writers);
      await until(() => Promise.resolve(confirmed > 20));
      process.kill(first.pid, 'SIGKILL');
      await broken;
      await own.end();
      server = await startPostgres(options);
      const after = createPool(server.url, { applicationName: 'test', max: 2 });
      const { rows } = await after.query<{ id: string }>('SELECT id::text FROM session_chain.chains');
      const { events } = await readAllEvents(after, 0, 10_000);
      expect(rows.length).toBeGreaterThanOrEqual(confirmed);
      expect(events.map(({ chainId }) => chainId as string).sort()).toEqual(rows.map((row) => row.id).sort());
      await registerChain(after, { ...newKey(id), workspace: '/x', createRows: true });
      const { events: next } = await readAllEvents(after, events.at(-1)?.id ?? 0, 10);
      expect(typesOf(next)).toEqual(['chain.queued']);
      await after.end();
    } finally {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});
