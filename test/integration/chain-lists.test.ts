import { randomUUID } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ChainFilter, cursorOf } from '../../client/chain-filter.js';
import type { ProjectFilter } from '../../client/projects.js';
import type { ChainSummary } from '../../client/chains.js';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import { type FailureCode, failureOfCode } from '../../contracts/failures.js';
import {
  type BuildId,
  type ChainId,
  type ChainKey,
  type VersionId,
  type ProjectId,
  parseProjectId,
  parseSessionId,
} from '../../contracts/ids.js';
import { type ChainConditions, listQuery } from '../../storage/chains/chain-list.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain, noteWaiting, openChain } from '../../storage/chains/chains.js';
import type { Pool } from '../../storage/db/pool.js';
import { projectsQuery } from '../../storage/heads/projects.js';
import { failQuestion, recordQuestion } from '../../storage/questions/questions.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { beginActivityStep } from '../../storage/operations/activity-steps.js';
import { fencedAttemptsQuery } from '../../storage/operations/fenced-attempts.js';
import { endOperation, quarantineSession } from '../../storage/operations/operations.js';
import { brokenSessionsQuery } from '../../storage/heads/broken-sessions.js';
import { spendQuery } from '../../storage/ledger/ledger.js';
import {
  type OpenedChain,
  begin,
  beginWithTranscript,
  commitAttempt,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  someMetrics,
} from '../support/chains.js';
import type { ChainStatus } from '../../contracts/steps.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Lists of chains, and one chain with all that is known of it, by a client whose Temporal does not answer. */

let database: TestDatabase;
let pool: Pool;
let statements = 0;
let sessionChain: SessionChain;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
  const counting = Object.create(pool) as Pool;
  counting.query = ((...args: Parameters<Pool['query']>) => {
    statements++;
    return pool.query(...args);
  }) as Pool['query'];
  sessionChain = createSessionChain({ pool: counting, temporal: { address: '127.0.0.1:1' } });
});
afterAll(async () => {
  await sessionChain.close();
  await database.drop();
});

/** A project whose chain works and has spent, with chains that wait behind it. */
async function busyProject(waiting: number): Promise<{ holder: OpenedChain; queue: ChainKey[] }> {
  const holder = await openNew(pool);
  await runStep(pool, holder, 'build');
  const queue = [];
  for (let index = 0; index < waiting; index++) {
    const key = newKey(holder.projectId);
    const { chainId } = await register(pool, key);
    await openChain(pool, { ...key, chainId }, openerOf(`run-${index}`), null, { plan });
    queue.push(key);
  }
  return { holder, queue };
}

async function fail(chain: OpenedChain, code: FailureCode): Promise<void> {
  await closeWith(chain, 'failed', code);
}

async function closeWith(
  chain: OpenedChain,
  status: 'failed' | 'completed',
  code?: FailureCode,
): Promise<void> {
  const result = {
    ...(await readChainState(pool, chain)),
    status,
    ...(code ? { failure: failureOfCode(code) } : {}),
  };
  await closeChain(pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result,
    versionStatus: noStatus,
  });
}

/** All pages of a list, and how many there were. */
async function pagesOf(filter: ChainFilter): Promise<ChainSummary[][]> {
  const pages: ChainSummary[][] = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await sessionChain.chains({ ...filter, ...(cursor === undefined ? {} : { cursor }) });
    pages.push(page.chains);
    cursor = page.nextCursor;
  }
  return pages;
}

const versionsOf = (chains: readonly ChainSummary[]) => chains.map(({ versionId }) => versionId);

describe('a list of chains', () => {
  it('takes as many statements for twenty chains, of one project or of several, as for one', async () => {
    const { holder, queue } = await busyProject(19);
    await busyProject(1);
    statements = 0;
    const { chains, nextCursor } = await sessionChain.chains({ projectId: holder.projectId });
    // The second one looks whether there is such a project.
    expect(statements).toBe(2);
    expect(nextCursor).toBeNull();
    expect(versionsOf(chains)).toEqual([...versionsOf(queue as ChainSummary[]).reverse(), holder.versionId]);
    expect(chains.map(({ queue }) => queue?.position)).toEqual([
      ...Array.from({ length: 19 }, (_, index) => 19 - index),
      undefined,
    ]);
    expect(chains.at(-1)).toMatchObject({
      status: 'running',
      step: null,
      steps: plan.map(({ name: step }) => ({ step, status: step === 'build' ? 'committed' : 'pending' })),
      reason: null,
      costUsd: 0.5,
      attemptsOfUnknownCost: 0,
      sessionId: holder.head,
    });
    expect(chains[0]?.reason).toBe(
      `position 19, behind chain/${holder.projectId}/${holder.versionId}/${holder.buildId}`,
    );

    statements = 0;
    const all = await sessionChain.chains({ limit: 20 });
    expect(statements).toBe(1);
    expect(new Set(all.chains.map(({ projectId }) => projectId)).size).toBe(2);
    expect(all.nextCursor).not.toBeNull();
    // As each tells of itself.
    for (const { step, failure, queue, warnings, ...key } of chains) {
      const state = await sessionChain.state(key);
      expect({ queue: queue ?? undefined, warnings }).toEqual({
        queue: state.queue,
        warnings: state.warnings,
      });
      expect([step, failure]).toEqual([null, null]);
    }
  });

  it('comes in pages that chains which start meanwhile do not shift, also where many began at one moment', async () => {
    const projectId = parseProjectId(newKey().projectId);
    const keys = Array.from({ length: 7 }, () => newKey(projectId));
    for (const key of keys) await register(pool, key);
    await pool.query(
      `UPDATE session_chain.chains SET created_at = '2026-01-02 03:04:05.123456Z' WHERE project_id = $1`,
      [projectId],
    );
    const newestFirst = versionsOf(keys as ChainSummary[]).reverse();
    expect((await pagesOf({ projectId, limit: 3 })).map(versionsOf)).toEqual([
      newestFirst.slice(0, 3),
      newestFirst.slice(3, 6),
      newestFirst.slice(6),
    ]);
    const first = await sessionChain.chains({ projectId, limit: 3 });
    await register(pool, newKey(projectId));
    const second = await sessionChain.chains({ projectId, limit: 4, cursor: String(first.nextCursor) });
    expect(versionsOf(second.chains)).toEqual(newestFirst.slice(3));
    expect(second.nextCursor).toBeNull();
  });

  it('is narrowed by status, time and the code of a failure, one by one and together', async () => {
    const chain = await openNew(pool);
    const { projectId } = chain;
    await fail(chain, 'MODEL_REFUSED');
    const other = await openNew(pool, newKey(projectId));
    await fail(other, 'BUDGET_EXCEEDED');
    const open = newKey(projectId);
    await register(pool, open);
    const found = async (filter: ChainFilter) => versionsOf((await sessionChain.chains(filter)).chains);

    expect(await found({ projectId, status: 'queued' })).toEqual([open.versionId]);
    expect(await found({ projectId, status: ['failed', 'queued'] })).toHaveLength(3);
    expect(await found({ projectId, failureCode: 'MODEL_REFUSED' })).toEqual([chain.versionId]);
    expect(await found({ failureCode: 'MODEL_REFUSED', status: ['failed'] })).toEqual([chain.versionId]);
    expect(await found({ projectId, failureCode: 'MODEL_REFUSED', status: 'queued' })).toEqual([]);
    expect(await found({ projectId, since: new Date(Date.now() + 60_000) })).toEqual([]);
    expect(await found({ projectId, since: '2026-01-01T00:00:00+02:00' })).toHaveLength(3);
    const { chains } = await sessionChain.chains({ projectId, failureCode: 'MODEL_REFUSED' });
    expect(chains).toMatchObject([
      {
        status: 'failed',
        reason: failureOfCode('MODEL_REFUSED').message,
        failure: { code: 'MODEL_REFUSED' },
      },
    ]);
  });

  it('finds what is stuck: open, and without progress for so long', async () => {
    const { holder, queue } = await busyProject(1);
    const { projectId } = holder;
    const [waiting] = queue;
    const stuck = async (stuckForMs: number) =>
      versionsOf((await sessionChain.chains({ projectId, stuckForMs })).chains);
    expect(await stuck(1_800_000)).toEqual([]);
    const stuckOfAll = async () => (await sessionChain.stats()).stuck;
    expect(await stuckOfAll()).toEqual({ queued: 0, running: 0, waiting: 0 });
    const hourAgo = (table: string, columns: string[], id: string, value: string) =>
      pool.query(
        `UPDATE session_chain.${table} SET ${columns.map((column) => `${column} = ${column} - interval '1 hour'`).join(', ')}
         WHERE ${id} = $1`,
        [value],
      );
    await hourAgo('chains', ['created_at', 'requested_at', 'opened_at'], 'project_id', projectId);
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId]);
    // An attempt that ran an hour ago.
    await hourAgo('attempts', ['started_at', 'ended_at'], 'project_id', projectId);
    await hourAgo('sessions', ['appended_at'], 'project_id', projectId);
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId, holder.versionId]);
    expect(await stuckOfAll()).toEqual({ queued: 1, running: 1, waiting: 0 });
    expect((await sessionChain.stats()).queues.chains.longestWaitMs).toBeGreaterThan(3_600_000);
    expect(await stuck(2 * 3_600_000)).toEqual([]);
    // One that only waits for the model service is no progress; one that works is.
    const tried = await begin(pool, holder, 'metadata');
    if (tried.outcome !== 'begun') throw new Error('unreachable');
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId]);
    const overloaded = { ...failureOfCode('MODEL_UNAVAILABLE') };
    await endOperation(pool, tried.attempt, { failure: overloaded, spent: someMetrics, waitMs: 60_000 });
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId, holder.versionId]);
    expect(await stuckOfAll()).toEqual({ queued: 1, running: 0, waiting: 1 });
    const { chains } = await sessionChain.chains({ projectId, status: 'waiting' });
    expect(chains).toMatchObject([
      { step: 'metadata', reason: overloaded.message, waitingUntil: expect.any(Date) },
    ]);
    // Closed ones are not stuck, and one that is started again begins anew.
    await fail(holder, 'AGENT_FAILED');
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId]);
    await register(pool, holder);
    expect(await stuck(1_800_000)).toEqual([waiting?.versionId]);
  });

  it('says why a chain waits: for a place, for a worker, for what its step waits for', async () => {
    const fresh = newKey();
    await register(pool, fresh);
    const labelled = await openNew(pool);
    await noteWaiting(pool, labelled, {
      waitMs: 60_000,
      code: 'WORKSPACE_NOT_ALLOWED',
      waitingFor: 'build: a worker that has the folder /a: b',
    });
    const told = async ({ projectId }: ChainKey, status?: ChainStatus) => {
      const { chains } = await sessionChain.chains({ projectId, ...(status ? { status } : {}) });
      const [{ reason, waitingFor, progressAt } = {}] = chains;
      if (waitingFor) expect(waitingFor.since).toEqual(progressAt);
      return [reason, waitingFor && { ...waitingFor, since: null }];
    };
    const worker = (taskQueue: string, lacks: string | null, until: unknown) => ({
      ...{ kind: 'worker', since: null, taskQueue: `session-chain${taskQueue}`, lacks, until },
    });
    expect(await told(fresh)).toEqual(['no worker has taken it up yet', worker('', null, null)]);
    const folder = 'a worker that has the folder /a: b';
    expect(await told(labelled)).toEqual([folder, worker('-agents', folder, expect.any(Date))]);
    const { holder, queue } = await busyProject(1);
    const behind = chainWorkflowId(holder);
    expect(await told(queue[0] ?? fresh)).toEqual([
      `position 1, behind ${behind}`,
      { kind: 'queue', since: null, position: 1, behind },
    ]);
    // It works: between two steps it waits for a worker, in one for nothing, in a call for the host's activity.
    expect(await told(holder, 'running')).toEqual([null, worker('-agents', null, null)]);
    const tried = await begin(pool, holder, 'metadata', { leaseMs: 600_000 });
    if (tried.outcome !== 'begun') throw new Error('unreachable');
    expect(await told(holder, 'running')).toEqual([null, null]);
    const failure = failureOfCode('MODEL_UNAVAILABLE');
    await endOperation(pool, tried.attempt, { failure, spent: someMetrics, waitMs: 60_000 });
    const model = { kind: 'model', since: null, until: expect.any(Date) };
    expect(await told(holder, 'waiting')).toEqual([failure.message, model]);

    // Each is found by it, and counted.
    const { projectId } = holder;
    const found = async (waitingFor: NonNullable<ChainFilter['waitingFor']>) =>
      versionsOf((await sessionChain.chains({ projectId, waitingFor })).chains);
    expect(await found('model')).toEqual([holder.versionId]);
    expect(await found(['queue', 'activity'])).toEqual([queue[0]?.versionId]);
    expect(await found('worker')).toEqual([]);
    await fail(labelled, 'MODEL_REFUSED');
    const projectIds = [projectId, fresh.projectId, labelled.projectId];
    const counts = await sessionChain.chainCounts({ projectIds });
    expect(counts).toMatchObject({
      status: { queued: 2, running: 0, waiting: 1, failed: 1, completed: 0 },
      waitingFor: { queue: 1, worker: 1, model: 1, activity: 0 },
    });
    expect(counts.failed).toEqual({ MODEL_REFUSED: 1 });
    const later = await sessionChain.chainCounts({ projectIds, since: new Date(Date.now() + 60_000) });
    expect([later.status.failed, later.status.queued, later.failed]).toEqual([0, 2, {}]);
    expect((await sessionChain.chainCounts({ projectIds: [] })).status.queued).toBe(0);
    expect((await sessionChain.chainCounts()).status.queued).toBeGreaterThan(2);
    expect(versionsOf((await sessionChain.chains({ projectIds })).chains)).toHaveLength(4);
    expect((await sessionChain.chains({ projectId, projectIds: ['other'] })).chains).toEqual([]);
    expect((await sessionChain.chains({ projectIds: [] })).chains).toEqual([]);
  });

  it('is what Postgres knows where Temporal does not answer', async () => {
    const key = newKey();
    await register(pool, key);
    const { chains } = await sessionChain.chains({ projectId: key.projectId, askTemporal: true });
    expect(chains).toMatchObject([{ status: 'queued', missingWorker: null }]);
  });

  it('reads no more of the table than its page, whatever it is narrowed by', async () => {
    await pool.query(
      `INSERT INTO session_chain.chains (project_id, version_id, build_id, mode, workspace, status, result, closed_at, created_at)
       SELECT 'big-' || n % 30, 'v-' || n, 'v-' || n, 'update', '/w', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END,
         jsonb_build_object('status', 'completed', 'failure', CASE WHEN n % 50 = 0 THEN jsonb_build_object('code', 'AGENT_FAILED') END),
         now(), now() - n * interval '1 minute'
       FROM generate_series(1, 6000) n`,
    );
    await pool.query('ANALYZE session_chain.chains');
    const after = { createdAtUs: String(Date.now() * 1000), chainId: '999999' } as NonNullable<
      Parameters<typeof listQuery>[1]
    >;
    const cases: ChainConditions[] = [
      {},
      { projectIds: [parseProjectId('big-7')] },
      { status: ['failed'] },
      { status: ['queued', 'running'] },
      { stuckMs: 1_000 },
      { waitingFor: ['worker'] },
      { failureCode: 'AGENT_FAILED' },
      { since: new Date(Date.now() - 3_600_000) },
    ];
    for (const conditions of cases) {
      const { text, values } = listQuery(conditions, after, 20);
      const { rows } = await pool.query<Record<'QUERY PLAN', string>>(`EXPLAIN ${text}`, values);
      const steps = rows.map((row) => row['QUERY PLAN']).join('\n');
      expect([conditions, /Seq Scan on chains/.exec(steps)]).toEqual([conditions, null]);
      expect(steps).toMatch(/chains_(newest|of_project|by_status|by_failure)/);
    }
  });

  it('has a statement of its own for each way to narrow it, with a name that Postgres keeps whole', () => {
    const all = {
      projectIds: [parseProjectId('p')],
      waitingFor: ['model'],
      ...{ versionId: 'v' as VersionId, buildId: 'b' as BuildId, since: new Date(), stuckMs: 1 },
      failureCode: 'AGENT_FAILED',
    } as const;
    const statuses = [{}, { status: ['failed'] }, { status: ['failed', 'queued'] }] as const;
    const places = [null, { createdAtUs: '1', chainId: '1' as ChainId }];
    const statements = Object.keys(all)
      .map((left) => Object.fromEntries(Object.entries(all).filter(([name]) => name !== left)))
      .concat(all)
      .flatMap((narrowed) => statuses.map((status) => ({ ...narrowed, ...status })))
      .flatMap((conditions) => places.map((after) => listQuery(conditions, after, 1)));
    expect(statements.filter(({ name }) => Buffer.byteLength(name) > 63)).toEqual([]);
    expect(new Set(statements.map(({ name }) => name)).size).toBe(
      new Set(statements.map(({ text }) => text)).size,
    );
  });

  it.each<[string, unknown]>([
    ['an unknown status', { status: 'done' }],
    ['no status at all', { status: [] }],
    ['a code that is none', { failureCode: 'OOPS' }],
    ['a time that is none', { since: 'yesterday' }],
    ['a date that is none', { since: '2026-13-45' }],
    ['a limit of nothing', { limit: 0 }],
    ['a limit without end', { limit: Infinity }],
    ['a malformed project', { projectId: 'a/b' }],
    ['a negative time', { stuckForMs: -1 }],
    ['something that no chain waits for', { waitingFor: 'godot' }],
    ['a malformed project among others', { projectIds: ['a', 'b c'] }],
    ['a field that there is not', { project: 'shop' }],
    ['a cursor of its own making', { cursor: 'abc' }],
    ['a cursor with more behind it', { cursor: `${Buffer.from('1.2').toString('base64url')}=` }],
    ['a cursor beyond all numbers', { cursor: Buffer.from(`${'9'.repeat(30)}.1`).toString('base64url') }],
  ])('refuses %s', async (_, filter) => {
    await expect(sessionChain.chains(filter as ChainFilter)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('of a project that is not there is PROJECT_NOT_FOUND', async () => {
    await expect(sessionChain.chains({ projectId: 'nobody' })).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
  });
});

describe('one chain', () => {
  it('is told with its times, its attempts, what it spent and what is left of its budget', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const budget = { maxCostUsd: 0.75, maxTurns: 10, timeoutMs: 3_600_000 };
    const deploy = { name: 'deploy', kind: 'activity', role: 'deploy' } as const;
    const unopened = await sessionChain.chain(key);
    expect(unopened).toMatchObject({ steps: [], budget: null, budgetLeft: null, openedAt: null });
    const opened = await openChain(pool, { ...key, chainId }, openerOf('run'), null, {
      plan: [...plan, deploy],
      budget,
    });
    if (opened.outcome !== 'opened') throw new Error('unreachable');
    const chain = { ...key, chainId, runId: 'run', ticket: opened.ticket, head: null } as OpenedChain;
    const failed = await begin(pool, chain, 'build');
    if (failed.outcome !== 'begun') throw new Error('unreachable');
    const failure = failureOfCode('AGENT_FAILED');
    await endOperation(pool, failed.attempt, { failure, spent: someMetrics });
    await runStep(pool, chain, 'build');
    await beginActivityStep(pool, {
      ...{ ...chain, step: 'deploy', round: 1, sessionId: chain.head, seq: 1 },
      ...{ role: 'deploy', activity: 'publish', taskQueue: 'deployers' },
      scheduledAtMs: Date.now(),
    });

    const details = await sessionChain.chain(key);
    expect(details).toMatchObject({
      budget,
      budgetLeft: { costUsd: 0, turns: 8 },
      spent: { costUsd: 1, attempts: 2 },
    });
    expect(details.budgetLeft?.timeMs).toBeGreaterThan(3_500_000);
    const [build, metadata, , , deployed] = details.steps;
    expect(build).toMatchObject({ status: 'committed', reply: null, files: [] });
    expect(build?.journal).toMatchObject([
      { attempt: 1, state: 'failed', failure, costUsd: 0.5, turns: 1, evidence: null, worker: 'test' },
      { attempt: 2, state: 'committed', sessionId: chain.head, failure: null },
    ]);
    expect(build?.startedAt).toEqual(build?.journal[0]?.startedAt);
    expect(build?.endedAt).toEqual(build?.journal[1]?.endedAt);
    expect(metadata).toMatchObject({ startedAt: null, endedAt: null, journal: [], calls: [] });
    expect(deployed?.calls).toMatchObject([
      { activity: 'publish', taskQueue: 'deployers', state: 'running' },
    ]);

    await fail(chain, 'ACTIVITY_STEP_FAILED');
    const closed = await sessionChain.chain(key);
    const held = Number(closed.closedAt) - Number(closed.openedAt);
    expect(closed.budgetLeft?.timeMs).toBeCloseTo(budget.timeoutMs - held, -1);
    // What it may take next is known once it opens again.
    await register(pool, key);
    expect(await sessionChain.chain(key)).toMatchObject({ budget: null, spent: { costUsd: 1 } });
  });

  it('without a budget has nothing that could be left', async () => {
    expect(await sessionChain.chain(await openNew(pool))).toMatchObject({ budget: null, budgetLeft: null });
  });

  it('that is not there is CHAIN_NOT_FOUND, to its brief, too', async () => {
    const key = newKey();
    const missing = { code: 'CHAIN_NOT_FOUND' };
    await expect(sessionChain.chain(key)).rejects.toMatchObject(missing);
    await expect(sessionChain.brief(key)).rejects.toMatchObject(missing);
  });
});

describe('a project', () => {
  it('is read under the older names as under ours, without Temporal', async () => {
    const chain = await openNew(pool);
    expect(await sessionChain.getProjectSession(chain.projectId)).toBeNull();
    const { newSessionId } = await runStep(pool, chain, 'build');
    const { projectId } = chain;
    expect(await sessionChain.getProjectSession(projectId)).toBe(newSessionId);
    expect(await sessionChain.getSessionChain(projectId)).toEqual([newSessionId]);
    expect(await sessionChain.lineage(projectId)).toEqual([newSessionId]);
    expect(await sessionChain.tree(projectId)).toMatchObject({
      headSessionId: newSessionId,
      nodes: [
        {
          kind: 'head',
          chainId: chain.chainId,
          stepKind: 'work',
          attempt: 1,
          condition: 'whole',
          costUsd: 0.5,
        },
      ],
      chains: [{ chainId: chain.chainId, versionId: chain.versionId, status: 'running' }],
    });
    expect(await sessionChain.spend(projectId)).toMatchObject({ costUsd: 0.5 });
    await expect(sessionChain.questions(projectId)).rejects.toMatchObject({ code: 'CHAT_NOT_FOUND' });
    const outside = await sessionChain
      .updateProjectSession('nobody', 's', 'build')
      .catch((error: unknown) => error);
    expect(outside).toMatchObject({ code: 'PROJECT_NOT_FOUND' });
  });

  it.each(['transitions', 'tree', 'questions', 'questionPage', 'chats'] as const)(
    '%s refuses a limit that is none',
    async (name) => {
      const { projectId } = await openNew(pool);
      for (const limit of [0, -1, 1.5, NaN, 1e9])
        await expect(sessionChain[name](projectId, { limit })).rejects.toMatchObject({
          code: 'INVALID_INPUT',
        });
    },
  );
});

describe('chats', () => {
  it('are listed with their newest questions, page by page, and so are the questions of each', async () => {
    const { projectId } = await openNew(pool);
    expect(await sessionChain.chats(projectId)).toEqual({ chats: [], nextCursor: null });
    const ask = async (chatId: string, question: string) =>
      await recordQuestion(pool, {
        ...{ projectId, chatId: `${projectId}-${chatId}`, question, when: 'now' },
        messageId: randomUUID(),
      });
    for (const question of ['1', '2', '3']) await ask('a', question);
    const refused = await ask('b', '4');
    await failQuestion(pool, refused, failureOfCode('MODEL_REFUSED'));

    const first = await sessionChain.chats(projectId, { limit: 1 });
    expect(first).toMatchObject({
      chats: [{ questions: 1, open: 0, failed: 1, newest: { question: '4', state: 'failed' } }],
      nextCursor: refused.questionId,
    });
    const second = await sessionChain.chats(projectId, { limit: 1, cursor: String(first.nextCursor) });
    expect(second).toMatchObject({
      chats: [{ chatId: `${projectId}-a`, questions: 3, open: 3, failed: 0, newest: { question: '3' } }],
      nextCursor: null,
    });

    const chatId = `${projectId}-a`;
    const newest = await sessionChain.questionPage(projectId, { chatId, limit: 2 });
    expect(newest.questions.map(({ question }) => question)).toEqual(['2', '3']);
    const cursor = String(newest.nextCursor);
    const older = await sessionChain.questionPage(projectId, { chatId, limit: 2, cursor });
    expect(older).toMatchObject({ questions: [{ question: '1' }], nextCursor: null });
    expect(await sessionChain.questionPage(projectId, { chatId, cursor: '1' })).toMatchObject({
      questions: [],
    });
  });

  it.each(['0', '-1', '1.5', "1'--", '9'.repeat(19), ''])('refuse %p as a cursor', async (cursor) => {
    const { projectId } = await openNew(pool);
    const refusal = { code: 'INVALID_INPUT', message: expect.stringContaining('cursor') };
    await expect(sessionChain.chats(projectId, { cursor })).rejects.toMatchObject(refusal);
    await expect(sessionChain.questionPage(projectId, { cursor })).rejects.toMatchObject(refusal);
  });
});

describe('projects', () => {
  it('are listed with their heads, why they drifted, their newest chains and what they cost, page by page', async () => {
    const prefix = randomUUID();
    const project = (name: string) => parseProjectId(`${prefix}-${name}`);
    const failed = await openNew(pool, newKey(project('a')));
    await runStep(pool, failed, 'build');
    await closeWith(failed, 'completed');
    const behind = newKey(project('a'));
    await register(pool, behind);
    const synced = await openNew(pool, newKey(project('b')));
    const { newSessionId } = await runStep(pool, synced, 'build');
    await fail(synced, 'MODEL_REFUSED');
    const fresh = newKey(project('c'));
    await register(pool, fresh);

    statements = 0;
    const ids = [project('a'), project('b'), project('c'), 'nobody'];
    const { projects, nextCursor } = await sessionChain.projects({ projectIds: ids });
    expect([statements, nextCursor]).toEqual([2, null]);
    expect(projects).toEqual([
      {
        projectId: project('a'),
        head: { sessionId: failed.head, seq: 1 },
        headMovedAt: expect.any(Date),
        versionId: behind.versionId,
        inSync: false,
        reasons: ['version_not_opened'],
        lastChain: {
          ...{ ...behind, status: 'queued', failureCode: null },
          ...{ createdAt: expect.any(Date), closedAt: null },
        },
        openChains: 1,
        costUsd: 0.5,
        attemptsOfUnknownCost: 0,
      },
      expect.objectContaining({
        head: { sessionId: newSessionId, seq: 1 },
        inSync: true,
        reasons: [],
        lastChain: expect.objectContaining({ status: 'failed', failureCode: 'MODEL_REFUSED' }),
        openChains: 0,
      }),
      expect.objectContaining({
        head: { sessionId: null, seq: null },
        headMovedAt: null,
        inSync: null,
        costUsd: 0,
      }),
    ]);
    const found = async (filter: ProjectFilter) =>
      (await sessionChain.projects({ projectIds: ids, ...filter })).projects.map(({ projectId }) =>
        projectId.slice(-1),
      );
    expect(await found({ inSync: false })).toEqual(['a']);
    expect(await found({ inSync: true, status: 'failed' })).toEqual(['b']);
    expect(await found({ status: ['queued', 'failed'] })).toEqual(['a', 'b', 'c']);
    const page = await sessionChain.projects({ projectIds: ids, limit: 2 });
    expect(await found({ cursor: String(page.nextCursor) })).toEqual(['c']);
    expect((await sessionChain.projects({ projectIds: [] })).projects).toEqual([]);
  });

  it('are found by a part of the id, and come by when their heads moved, page by page', async () => {
    const prefix = randomUUID().slice(0, 8);
    const ids = ['a_1', 'b.2', 'c-3', 'd:4', 'e5'].map((name) => parseProjectId(`${prefix}-${name}`));
    for (const id of ids) await register(pool, newKey(id));
    // Two at one moment, which a Date could not tell from the third; two never.
    const moments = [
      '2026-01-02T03:04:05.000100Z',
      '2026-01-02T03:04:05.000200Z',
      '2026-01-02T03:04:05.000200Z',
    ];
    for (const [index, moment] of moments.entries())
      await pool.query('UPDATE projects SET last_ai_session_updated_at = $2 WHERE project_id = $1', [
        ids[index],
        moment,
      ]);
    const found = async (filter: ProjectFilter) =>
      (await sessionChain.projects(filter)).projects.map(({ projectId }) => projectId.slice(9));
    expect(await found({ search: prefix.toUpperCase() })).toEqual(['a_1', 'b.2', 'c-3', 'd:4', 'e5']);
    expect(await found({ search: `${prefix}-B` })).toEqual(['b.2']);
    expect(await found({ search: `${prefix}-b`, projectIds: ids.slice(2) })).toEqual([]);
    for (const search of ['%', '_'.repeat(255), "' OR ''='", '\\', '(', '\u202e'])
      expect(await found({ search })).toEqual([]);

    const pages = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await sessionChain.projects({
        ...{ search: prefix, order: 'moved', limit: 2 },
        ...(cursor === undefined ? {} : { cursor }),
      });
      pages.push(page.projects.map(({ projectId }) => projectId.slice(9)));
      cursor = page.nextCursor;
    }
    expect(pages).toEqual([['b.2', 'c-3'], ['a_1', 'd:4'], ['e5']]);
    // A cursor is good for its own order.
    const { nextCursor } = await sessionChain.projects({ search: prefix, limit: 1 });
    await expect(
      sessionChain.projects({ search: prefix, order: 'moved', cursor: String(nextCursor) }),
    ).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('spend is told by day, step and model, of some projects or of all', async () => {
    const chains = [await openNew(pool), await openNew(pool)];
    const [first, second] = chains;
    for (const chain of chains) await runStep(pool, chain, 'build');
    if (!first || !second) throw new Error('unreachable');
    await runStep(pool, first, 'metadata');
    // Midnight may have come between two of them.
    const { rows } = await pool.query<{ day: string }>(
      `WITH moved AS (UPDATE project_ai_session_metrics SET created_at = now() WHERE project_id = ANY ($1))
       SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day`,
      [chains.map(({ projectId }) => projectId)],
    );
    const projectIds = [first.projectId];
    const usage = { inputTokens: 2, outputTokens: 4, cacheReadTokens: 6, cacheWriteTokens: 8 };
    const all = { attempts: 2, turns: 2, usage, costUsd: 1, attemptsOfUnknownCost: 0 };
    expect(await sessionChain.spendBy('day', { projectIds })).toEqual([{ key: rows[0]?.day, ...all }]);
    const one = { attempts: 1, turns: 1, usage: someMetrics.usage, costUsd: 0.5, attemptsOfUnknownCost: 0 };
    expect(await sessionChain.spendBy('step', { projectIds })).toEqual([
      { key: 'build', ...one },
      { key: 'metadata', ...one },
    ]);
    expect(await sessionChain.spendBy('model', { projectIds })).toEqual([
      { key: 'model', ...all, turns: null },
    ]);
    const later = new Date(Date.now() + 60_000);
    expect(await sessionChain.spendBy('step', { projectIds, since: later })).toEqual([]);
    const before = new Date(Date.now() - 3_600_000);
    expect(await sessionChain.spendBy('step', { projectIds, until: before })).toEqual([]);
    const both = { projectIds: chains.map(({ projectId }) => projectId) };
    const dearest = { key: first.projectId, ...all };
    expect(await sessionChain.spendBy('project', both)).toEqual([dearest, { key: second.projectId, ...one }]);
    expect(await sessionChain.spendBy('project', { ...both, limit: 1, until: later })).toEqual([dearest]);
    for (const group of ['day', 'project'] as const) {
      const groups = await sessionChain.spendBy(group);
      const attempts = groups.reduce((sum, one) => sum + one.attempts, 0);
      expect(attempts).toBe((await sessionChain.spendBy('step')).reduce((sum, one) => sum + one.attempts, 0));
    }
    const everywhere = await sessionChain.spendBy('step');
    expect(everywhere.find(({ key }) => key === 'build')?.attempts).toBeGreaterThan(1);
    // One whose cost is not known is not free.
    await pool.query(
      `UPDATE project_ai_session_metrics m SET cost_usd = NULL, usage_by_model = '{"model": {"inputTokens": 7, "costUsd": null}}'
       FROM session_chain.attempts a WHERE a.id = m.attempt_id AND a.project_id = $1`,
      [second.projectId],
    );
    for (const group of ['day', 'step', 'model'] as const) {
      expect(await sessionChain.spendBy(group, { projectIds: [second.projectId] })).toMatchObject([
        { attempts: 1, costUsd: 0, attemptsOfUnknownCost: 1 },
      ]);
    }
  });

  it('reads by indexes', async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off');
      const planOf = async ({ text, values }: { text: string; values: unknown[] }) => {
        const { rows } = await client.query<Record<'QUERY PLAN', string>>(`EXPLAIN ${text}`, values);
        return rows.map((row) => row['QUERY PLAN']).join('\n');
      };
      for (const order of ['id', 'moved'] as const) {
        const projects = await planOf(
          projectsQuery(
            { projectIds: null, inSync: false, status: null, search: 'a' },
            { order, after: { projectId: parseProjectId('p'), movedUs: '1' }, limit: 50 },
          ),
        );
        expect(projects.match(/Seq Scan on (?!page)\w+/g)).toBeNull();
        expect(projects).toContain(order === 'id' ? 'projects_pkey' : 'idx_projects_moved');
      }
      const conditions = { since: new Date(0), until: null, projectIds: null, limit: null };
      for (const group of ['day', 'step', 'project'] as const)
        expect(await planOf(spendQuery(group, conditions))).toMatch(
          /Index Only Scan using idx_project_ai_session_metrics_spent/,
        );
      expect(await planOf({ text: fencedAttemptsQuery, values: [null, null, 50] })).toMatch(
        /Index Scan Backward using attempts_fenced/,
      );
      expect(await planOf({ text: brokenSessionsQuery, values: [null, null, null, 50] })).toMatch(
        /using sessions_quarantined/,
      );
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  });

  it('broken heads and sessions in quarantine are told with why, page by page', async () => {
    const chains = await Promise.all([0, 1, 2, 3, 4].map(async () => await openNew(pool)));
    const [whole, quarantined, holed, lost, unknown] = chains.map(({ projectId }) => projectId) as [
      ProjectId,
      ProjectId,
      ProjectId,
      ProjectId,
      ProjectId,
    ];
    for (const chain of chains.slice(0, 4)) await runStep(pool, chain, 'build');
    const of = (projectId: ProjectId, statement: string) =>
      pool.query(
        `${statement} WHERE s.project_id = $1 AND s.session_id = (SELECT last_ai_session_id FROM projects WHERE project_id = $1)`,
        [projectId],
      );
    const old = (await sessionChain.head(quarantined)).sessionId ?? '';
    for (const [index, chain] of chains.entries()) if (index === 1) await runStep(pool, chain, 'docs');
    await quarantineSession(pool, quarantined, parseSessionId(old), 'A test said so.');
    await of(holed, 'UPDATE session_chain.sessions s SET entries = entries + 1');
    await of(lost, 'UPDATE session_chain.sessions s SET messages = 0, entries = 0');
    const outside = {
      projectId: unknown,
      sessionId: randomUUID(),
      source: 'import',
      notInStore: true,
    } as const;
    await pool.query(
      'UPDATE session_chain.chains SET status = $2, closed_at = now(), result = $3 WHERE project_id = $1',
      [...[unknown, 'failed', '{}']],
    );
    await sessionChain.recordSession(outside);
    const projectIds = [whole, quarantined, holed, lost, unknown];
    const { sessions, nextCursor } = await sessionChain.brokenSessions({ projectIds });
    expect(nextCursor).toBeNull();
    expect(
      Object.fromEntries(sessions.map(({ projectId, reason, isHead }) => [projectId, { reason, isHead }])),
    ).toEqual({
      [quarantined]: { reason: 'quarantined', isHead: false },
      [holed]: { reason: 'hole', isHead: true },
      [lost]: { reason: 'lost', isHead: true },
      [unknown]: { reason: 'unknown', isHead: true },
    });
    expect(sessions.find(({ projectId }) => projectId === quarantined)).toMatchObject({
      sessionId: old,
      detail: 'A test said so.',
      quarantinedAt: expect.any(Date),
    });
    const paged: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await sessionChain.brokenSessions({ projectIds, limit: 1, ...(cursor && { cursor }) });
      paged.push(...page.sessions.map(({ projectId }) => projectId));
      cursor = page.nextCursor;
    }
    expect(paged).toEqual(sessions.map(({ projectId }) => projectId));
    for (const cursor of ['x', Buffer.from('12').toString('base64url')])
      await expect(sessionChain.brokenSessions({ cursor })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('fenced attempts are told with who, why and who went on, and ends that the host does not know', async () => {
    const chain = await openNew(pool);
    const { projectId } = chain;
    await begin(pool, chain, 'build', { leaseMs: 0 });
    await begin(pool, chain, 'build', { leaseMs: 0 });
    expect((await sessionChain.fencedAttempts({ projectIds: [projectId] })).attempts).toMatchObject([
      {
        ...{ projectId, isOfChain: true, step: 'build', attempt: 1, code: 'WORKER_LOST' },
        reason: 'The attempt was not seen to end.',
        next: { attempt: 2, state: 'running' },
      },
    ]);
    const page = await sessionChain.fencedAttempts({ limit: 1 });
    expect(page.attempts[0]?.projectId).toBe(projectId);
    if (page.nextCursor !== null)
      expect(
        (await sessionChain.fencedAttempts({ cursor: page.nextCursor })).attempts.map((one) => one.projectId),
      ).not.toContain(projectId);
    await expect(sessionChain.fencedAttempts({ limit: 0 })).rejects.toMatchObject({ code: 'INVALID_INPUT' });

    const late = { projectIds: [projectId] };
    expect((await sessionChain.lateEnds(late)).ends).toEqual([]);
    await pool.query(
      `INSERT INTO session_chain.chain_ends (event, chain, project_id, version_id, build_id, status, steps, ended_at, rounds, failure)
       SELECT 1, 1, $1, $2, $3, 'completed', '{build}', now() - n * interval '1 minute', 2, 'It refused.' FROM generate_series(0, 3) n`,
      [projectId, chain.versionId, chain.buildId],
    );
    expect((await sessionChain.lateEnds(late)).ends).toHaveLength(3);
    const first = await sessionChain.lateEnds({ ...late, limit: 2 });
    expect(first.ends).toMatchObject([{ failure: 'It refused.', rounds: 2, deliveredAt: null }, {}]);
    const rest = await sessionChain.lateEnds({ ...late, cursor: String(first.nextCursor) });
    expect([rest.ends.length, rest.nextCursor]).toEqual([1, null]);
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      'a cursor of another list',
      () => sessionChain.projects({ cursor: cursorOf({ createdAtUs: '1', chainId: '1' as ChainId }) }),
    ],
    ['a status that is none', () => sessionChain.projects({ status: 'done' as 'failed' })],
    ['a field that there is not', () => sessionChain.projects({ projectId: 'shop' } as ProjectFilter)],
    ['a search for nothing', () => sessionChain.projects({ search: '' })],
    ['a search without end', () => sessionChain.projects({ search: 'a'.repeat(256) })],
    ['a search that Postgres cannot hold', () => sessionChain.projects({ search: 'a\0' })],
    ['an order that is none', () => sessionChain.projects({ order: 'cost' as 'moved' })],
    [
      'a place at no moment',
      () =>
        sessionChain.projects({
          order: 'moved',
          cursor: Buffer.from('moved 1e9 shop').toString('base64url'),
        }),
    ],
    ['a group that is none', () => sessionChain.spendBy('week' as 'day')],
    ['a moment that is none', () => sessionChain.spendBy('day', { since: 'yesterday' })],
    [
      'an end before the beginning',
      () => sessionChain.spendBy('day', { since: '2026-11-02', until: '2026-11-01' }),
    ],
    ['no groups', () => sessionChain.spendBy('project', { limit: 0 })],
    ['a project that is none', () => sessionChain.lateEnds({ projectIds: ['a b'] })],
    ['counts since never', () => sessionChain.chainCounts({ since: '2026-13-01' })],
    ['a session that is none', () => sessionChain.entries({ sessionId: 'a b' })],
    ['a place of no page', () => sessionChain.entries({ sessionId: 'a', after: '1.x' })],
    [
      'a place beyond all numbers',
      () => sessionChain.entries({ sessionId: 'a', after: `${'9'.repeat(20)}.0` }),
    ],
    ['a page of nothing', () => sessionChain.entries({ sessionId: 'a', limit: 0 })],
    ['texts of no length', () => sessionChain.entries({ sessionId: 'a', maxText: 0 })],
    ['an entry at no place', () => sessionChain.entry({ sessionId: 'a', cursor: '' })],
    ['facts of a session that is none', () => sessionChain.session('p', 'a b')],
  ])('refuse %s', async (_, call) => {
    await expect(call()).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('the entries of a session', () => {
  it('come page by page, in the order in which they were stored, each once, with those of subagents', async () => {
    const { projectId } = await openNew(pool);
    const store = createTranscriptStore({ pool, projectId });
    const sessionId = randomUUID();
    const entry = (n: number, text = `text ${n}`) => ({
      ...{ type: 'assistant', uuid: `u${n}`, sessionId, timestamp: '2026-11-26T10:00:00.000Z', cwd: '/w' },
      message: { id: `m${n}`, content: [{ type: 'text', text }] },
    });
    const append = (entries: SessionStoreEntry[], subpath?: string) =>
      store.append({ projectKey: '', sessionId, ...(subpath ? { subpath } : {}) }, entries);
    const title = { type: 'ai-title', aiTitle: 'Search' };
    await append([entry(1), title, entry(2)]);
    await append([entry(3)], 'subagents/agent-1a');
    await append([entry(2), title, entry(4, 'x'.repeat(4_000_000)), entry(5)]);

    const pages = [];
    for (let after: string | null | undefined; after !== null;) {
      const page = await sessionChain.entries({ sessionId, limit: 3, ...(after ? { after } : {}) });
      pages.push(page);
      after = page.nextCursor;
    }
    const shown = pages.map(({ entries }) => entries.map(({ entryId, role }) => entryId ?? role));
    // The second page ends with what fills it.
    expect(shown).toEqual([['u1', null, 'u2'], ['u3', null], ['u4'], ['u5']]);
    expect(pages[0]).toMatchObject({ projectId, sessionId, nextCursor: '1.2' });
    expect(pages[0]?.entries[0]).toEqual({
      ...{ cursor: '1.0', entryId: 'u1', at: '2026-11-26T10:00:00.000Z', role: 'assistant', subagent: null },
      ...{ type: 'assistant', isInherited: false, isCut: false, images: 0, request: null, compaction: null },
      parts: [{ kind: 'text', text: 'text 1' }],
      raw: entry(1),
    });
    expect(pages[1]?.entries[0]).toMatchObject({ subagent: 'agent-1a', raw: entry(3) });
    expect(pages[0]?.entries[1]).toMatchObject({ role: null, parts: [], raw: title });
    // What is stored later comes after the last cursor.
    const last = String(pages.at(-1)?.entries.at(-1)?.cursor);
    expect((await sessionChain.entries({ sessionId, after: last })).entries).toEqual([]);
    await append([entry(6)]);
    expect((await sessionChain.entries({ sessionId, after: last })).entries).toMatchObject([
      { entryId: 'u6' },
    ]);
    expect((await sessionChain.entries({ projectId, sessionId })).entries).toHaveLength(6);

    await expect(sessionChain.entries({ projectId: 'other', sessionId })).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
      message: expect.stringContaining('The project other does not have'),
    });
    await expect(sessionChain.entries({ sessionId: randomUUID() })).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
    });
  });

  it('say what a page needs without what Claude Code wrote, which an entry alone has', async () => {
    const { projectId } = await openNew(pool);
    const store = createTranscriptStore({ pool, projectId });
    const sessionId = randomUUID();
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } };
    const usage = {
      input_tokens: 1,
      output_tokens: 2,
      cache_read_input_tokens: 3,
      cache_creation_input_tokens: 4,
    };
    const said = (uuid: string, type: string, message: object, rest = {}) => ({
      type,
      uuid,
      sessionId,
      message,
      ...rest,
    });
    await store.append({ projectKey: '', sessionId }, [
      said('u1', 'user', { content: '<command-name>/compact</command-name>' }),
      {
        type: 'system',
        subtype: 'compact_boundary',
        uuid: 'u2',
        sessionId,
        compactMetadata: { preTokens: 9, postTokens: 5 },
      },
      said('u3', 'user', { content: 'Summary' }, { isCompactSummary: true }),
      said('u4', 'assistant', {
        ...{ id: 'm1', model: 'model', usage, stop_reason: 'tool_use' },
        content: [{ type: 'tool_use', id: 't1', name: 'Write', input: { lines: ['12345\u{1f600}', 1] } }],
      }),
      said('u5', 'user', {
        content: [{ type: 'tool_result', tool_use_id: 't1', content: [image, image] }, image],
      }),
      said('u6', 'assistant', { id: 'm2', model: '<synthetic>', content: [] }, { isApiErrorMessage: true }),
      { type: 'attachment', uuid: 'u7', sessionId, attachment: { type: 'file' } },
    ]);
    const { entries } = await sessionChain.entries({ sessionId, raw: false, maxText: 6 });
    expect(entries.map(({ type }) => type)).toEqual([
      ...['user/command', 'system/compact_boundary', 'user/summary', 'assistant', 'user', 'assistant/error'],
      'attachment/file',
    ]);
    expect(entries.map(({ raw }) => raw)).toEqual(entries.map(() => null));
    expect(entries[1]).toMatchObject({ compaction: { tokensBefore: 9, tokensAfter: 5 } });
    expect(entries[2]).toMatchObject({ isCut: true, parts: [{ kind: 'text', text: 'Summar' }] });
    expect(entries[3]).toMatchObject({
      request: {
        ...{ id: 'm1', model: 'model', stopReason: 'tool_use' },
        usage: { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 },
      },
      // An emoji is not cut in half.
      ...{ isCut: true, parts: [{ kind: 'tool_call', input: { lines: ['12345', 1] } }] },
    });
    expect(entries[4]).toMatchObject({ images: 3 });
    expect(entries[5]).toMatchObject({ request: null });

    const whole = await sessionChain.entry({ sessionId, cursor: String(entries[3]?.cursor) });
    expect(whole).toMatchObject({
      isCut: false,
      raw: { uuid: 'u4' },
      parts: [{ input: { lines: ['12345\u{1f600}', 1] } }],
    });
    await expect(sessionChain.entry({ sessionId, cursor: '1.7' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('no entry at the cursor 1.7'),
    });
  });

  it('tell apart what a fork has from its parent, and the session says what wrote it', async () => {
    const chain = await openNew(pool);
    const build = await beginWithTranscript(pool, chain, 'build');
    await commitAttempt(pool, build, null);
    const docs = await beginWithTranscript(pool, { ...chain, head: build.sessionId }, 'docs');
    const store = createTranscriptStore({ pool, projectId: chain.projectId });
    const copied = await store.load({ projectKey: '', sessionId: build.sessionId });
    const { entries } = await sessionChain.entries({ sessionId: docs.sessionId });
    expect(entries.every(({ isInherited }) => !isInherited)).toBe(true);
    await store.append(
      { projectKey: '', sessionId: docs.sessionId },
      (copied ?? []).map((entry) => ({ ...entry, sessionId: docs.sessionId })),
    );
    const after = String(entries.at(-1)?.cursor);
    const more = await sessionChain.entries({ sessionId: docs.sessionId, after });
    expect(more.entries.map(({ isInherited }) => isInherited)).toEqual((copied ?? []).map(() => true));

    const { projectId, versionId, buildId } = chain;
    expect(await sessionChain.session(projectId, build.sessionId)).toMatchObject({
      ...{ parentSessionId: null, condition: 'whole', isHead: true, transition: { seq: 1, source: 'build' } },
      attempt: {
        attemptId: build.attemptId,
        step: 'build',
        state: 'committed',
        versionId,
        buildId,
        question: null,
      },
      forks: [{ sessionId: docs.sessionId, step: 'docs' }],
    });
    expect(await sessionChain.session(projectId, docs.sessionId)).toMatchObject({
      ...{ parentSessionId: build.sessionId, isHead: false, transition: null },
      attempt: { state: 'running', endedAt: null, usage: null, costUsd: null },
    });
    await expect(sessionChain.session(projectId, randomUUID())).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
    });
  });
});
