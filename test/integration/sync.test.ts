import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { parseRecordRequest } from '../../client/record-request.js';
import { type BuildId, type ChainKey, parseProjectId, parseSessionId } from '../../contracts/ids.js';
import { closeChain } from '../../storage/chains/chains.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { createCheckpoint } from '../../storage/checkpoint.js';
import { recordSession } from '../../storage/operations/record.js';
import { type SyncOptions, readSyncReport } from '../../storage/heads/sync.js';
import { type OpenedChain, newKey, noStatus, openNew, register, runStep } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { until } from '../support/until.js';

/** Every test has a database of its own: the report is about all projects. */
let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
  // As on a host's database, where old writers may still move heads.
  await database.pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
});
afterEach(async () => {
  await database.drop();
});

const report = async (options: Partial<SyncOptions> = {}) =>
  await readSyncReport(database.pool, { limit: 100, redisUrl: null, ...options });

async function reasonsOf({ projectId }: ChainKey) {
  return (await report()).drifted.find((one) => one.projectId === projectId)?.reasons ?? [];
}

/** A project whose head was recorded so many times. */
async function recorded(times = 1, key = newKey()): Promise<ChainKey> {
  await register(database.pool, key);
  for (let time = 0; time < times; time++) {
    const request = {
      projectId: key.projectId,
      sessionId: randomUUID(),
      source: 'build',
      notInStore: true,
    } as const;
    await recordSession(database.pool, parseRecordRequest(request));
  }
  return key;
}

async function close(chain: OpenedChain): Promise<void> {
  const state = await readChainState(database.pool, chain);
  await closeChain(database.pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...state, status: 'completed' },
    versionStatus: noStatus,
  });
}

/** A project with one closed chain of one step. */
async function built(): Promise<OpenedChain> {
  const chain = await openNew(database.pool);
  await runStep(database.pool, chain, 'build');
  await close(chain);
  return chain;
}

/** As after a restore that lost rows: the keys do not look. */
async function withoutKeys(statement: string, values: unknown[]): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query('SET session_replication_role = replica');
    await client.query(statement, values);
  } finally {
    await client.query('RESET session_replication_role');
    client.release();
  }
}

describe('the share in sync', () => {
  it('counts projects with a head and a version, and is not known without any', async () => {
    await register(database.pool, newKey());
    expect(await report()).toEqual({
      projects: 0,
      inSync: 0,
      share: null,
      withoutVersion: 0,
      drifted: [],
      more: false,
      checkpoints: { status: 'off' },
    });
    await recorded();
    await recorded();
    await built();
    const drifted = await recorded();
    await register(database.pool, newKey(drifted.projectId));
    await database.pool.query(
      `INSERT INTO projects (project_id, last_ai_session_id) VALUES ('without-version', 'some')`,
    );
    expect(await report()).toMatchObject({ projects: 4, inSync: 3, share: 0.75, withoutVersion: 1 });
  });

  it('is that of one project on demand', async () => {
    const [one, other] = [await recorded(), await recorded()];
    await register(database.pool, newKey(other.projectId));
    expect(await report({ projectId: one.projectId })).toMatchObject({ share: 1, drifted: [] });
    expect(await report({ projectId: other.projectId })).toMatchObject({
      share: 0,
      drifted: [{ projectId: other.projectId }],
    });
    await expect(report({ projectId: parseProjectId('nobody') })).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
  });

  it('comes with as many drifted projects as were asked for', async () => {
    for (let index = 0; index < 3; index++) {
      await register(database.pool, newKey((await recorded()).projectId));
    }
    expect(await report({ limit: 2 })).toMatchObject({ projects: 3, inSync: 0, share: 0, more: true });
    expect((await report({ limit: 2 })).drifted).toHaveLength(2);
    expect(await report({ limit: 3 })).toMatchObject({ more: false });
    expect(await report({ limit: 0 })).toEqual({
      ...{ projects: 3, inSync: 0, share: 0, withoutVersion: 0 },
      ...{ drifted: [], more: true, checkpoints: { status: 'off' } },
    });
  });
});

describe('a project is listed', () => {
  it('when the chain of its newest version has not opened', async () => {
    const key = await recorded();
    const newer = newKey(key.projectId);
    await register(database.pool, newer);
    expect((await report()).drifted).toEqual([
      {
        projectId: key.projectId,
        versionId: newer.versionId,
        head: expect.any(String),
        versionSession: null,
        inSync: false,
        reasons: ['version_not_opened'],
      },
    ]);
    await recorded(1, newer);
    expect(await reasonsOf(key)).toEqual([]);
  });

  it('after a chain on an older version', async () => {
    const older = await built();
    const newer = await openNew(database.pool, newKey(older.projectId));
    await close(newer);
    expect(await reasonsOf(older)).toEqual([]);
    const again = await openNew(database.pool, { ...older, buildId: 'again' as BuildId });
    await runStep(database.pool, again, 'build');
    expect(await reasonsOf(older)).toEqual(['chain_on_older_version']);
  });

  it('when its head was moved outside, even together with its version', async () => {
    const key = await recorded();
    await database.pool.query(`UPDATE projects SET last_ai_session_id = 'outside' WHERE project_id = $1`, [
      key.projectId,
    ]);
    expect(await reasonsOf(key)).toEqual(['head_moved_outside']);
    await database.pool.query(`UPDATE project_versions SET ai_session_id = 'outside' WHERE project_id = $1`, [
      key.projectId,
    ]);
    expect(await report()).toMatchObject({
      share: 1,
      drifted: [{ inSync: true, reasons: ['head_moved_outside'] }],
    });
  });

  it('when nothing of ours has moved its head yet and its version names another session', async () => {
    const key = newKey();
    await register(database.pool, key);
    await database.pool.query(`UPDATE projects SET last_ai_session_id = 'host' WHERE project_id = $1`, [
      key.projectId,
    ]);
    await database.pool.query(`UPDATE project_versions SET ai_session_id = 'older' WHERE project_id = $1`, [
      key.projectId,
    ]);
    expect(await reasonsOf(key)).toEqual(['head_moved_outside']);
    await database.pool.query(`UPDATE project_versions SET ai_session_id = 'host' WHERE project_id = $1`, [
      key.projectId,
    ]);
    expect(await reasonsOf(key)).toEqual([]);
  });

  it('when another session was written in its version', async () => {
    const key = await recorded();
    await database.pool.query(`UPDATE project_versions SET ai_session_id = 'other' WHERE project_id = $1`, [
      key.projectId,
    ]);
    expect(await reasonsOf(key)).toEqual(['version_row_differs']);
  });

  it.each([
    ['in the middle is missing', `DELETE FROM session_transitions WHERE project_id = $1 AND seq = 2`],
    ['at the end is missing', `DELETE FROM session_transitions WHERE project_id = $1 AND seq = 4`],
    [
      'starts elsewhere than the one before it ended',
      `UPDATE session_transitions SET old_session_id = 'elsewhere' WHERE project_id = $1 AND seq = 3`,
    ],
  ])('when a transition %s', async (_name, statement) => {
    const key = await recorded(4);
    expect(await reasonsOf(key)).toEqual([]);
    await withoutKeys(statement, [key.projectId]);
    expect(await reasonsOf(key)).toEqual(['broken_lineage']);
  });

  it('not when its oldest transitions were taken away in order', async () => {
    const key = await recorded(4);
    await database.pool.query('DELETE FROM session_transitions WHERE project_id = $1 AND seq <= 2', [
      key.projectId,
    ]);
    expect(await reasonsOf(key)).toEqual([]);
  });
});

describe('checkpoints', () => {
  const redisUrl = process.env['TEST_REDIS_URL'] ?? '';
  let checkpoint: ReturnType<typeof createCheckpoint>;
  beforeAll(() => {
    checkpoint = createCheckpoint(redisUrl, { log: () => undefined, answerWithinMs: 60_000 });
  });
  afterAll(() => {
    checkpoint.close();
  });
  const write = async ({ buildId }: ChainKey, sessionId: string) =>
    await checkpoint.write({
      buildId,
      sessionId: parseSessionId(sessionId),
      projectPath: '/nowhere',
      filesCreated: [],
    });

  it('that name the session of the last attempt are in order, and others are listed', async () => {
    const chains = [await built(), await built(), await built()];
    const [right, wrong] = chains;
    if (!right || !wrong) throw new Error('unreachable');
    await write(right, right.head ?? '');
    await write(wrong, 'stale');
    // It waits half a second for Redis; a busy machine may take longer.
    let told: Awaited<ReturnType<typeof report>> | undefined;
    await until(async () => {
      told = await report({ redisUrl });
      return told.checkpoints.status !== 'unavailable';
    });
    expect(told).toMatchObject({
      share: 1,
      drifted: [{ projectId: wrong.projectId, inSync: true, reasons: ['checkpoint_differs'] }],
      checkpoints: { status: 'compared', compared: 2 },
    });
    // A chain that works is ahead of its copy, or behind it, for a moment.
    await openNew(database.pool, newKey(wrong.projectId));
    expect((await report({ redisUrl })).drifted).toEqual([]);
  });

  it('are not counted where Redis does not answer', async () => {
    await built();
    expect(await report({ redisUrl: 'redis://127.0.0.1:1' })).toMatchObject({
      share: 1,
      drifted: [],
      checkpoints: { status: 'unavailable' },
    });
  });
});
