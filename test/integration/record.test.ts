import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type RecordSessionRequest, parseRecordRequest } from '../../client/record-request.js';
import { settleLedger } from '../../activities/ledger.js';
import type { ChainKey, SessionId } from '../../contracts/ids.js';
import { reservedSources } from '../../contracts/steps.js';
import type { StartRequest } from '../../client/start-request.js';
import { closeChain, openChain } from '../../storage/chains/chains.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { projectSpend } from '../../storage/ledger/ledger.js';
import { validateAndRecover } from '../../storage/heads/recovery.js';
import { recordSession } from '../../storage/operations/record.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import {
  type OpenedChain,
  begin,
  newKey,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  shippedStatus,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Claude operations that ran outside a chain, and heads that old writers move. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const record = async (
  { projectId }: Pick<ChainKey, 'projectId'>,
  sessionId: string,
  more: Partial<RecordSessionRequest> = {},
) =>
  await recordSession(
    database.pool,
    parseRecordRequest({ projectId, sessionId, source: 'build', notInStore: true, ...more }),
  );

async function newProject(): Promise<ChainKey> {
  const key = newKey();
  await register(database.pool, key);
  return key;
}

async function close(chain: OpenedChain): Promise<void> {
  const state = await readChainState(database.pool, chain);
  await closeChain(database.pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...state, status: 'completed' },
    versionStatus: shippedStatus,
  });
}

async function versionSession(versionId: string): Promise<string | null | undefined> {
  const { rows } = await database.pool.query<{ ai_session_id: string | null }>(
    'SELECT ai_session_id FROM project_versions WHERE version_id = $1',
    [versionId],
  );
  return rows[0]?.ai_session_id;
}

/** What an old writer of the host does. */
async function moveOutside(
  { projectId }: { projectId: string },
  sessionId: string,
  pool = database.pool,
): Promise<void> {
  await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
    projectId,
    sessionId,
  ]);
}

/** Attempts that were not committed; a recording must not leave any. */
async function leftInJournal({ projectId }: ChainKey): Promise<number> {
  const { rows } = await database.pool.query(
    `SELECT FROM session_chain.attempts WHERE project_id = $1 AND state <> 'committed'`,
    [projectId],
  );
  return rows.length;
}

describe('a recorded session', () => {
  it('becomes the head, with its transition, the newest version, journal and metrics', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    const recorded = await record(key, sessionId, { metrics: { costUsd: 0.25, turns: 3, outputTokens: 7 } });
    expect(recorded).toEqual({
      projectId: key.projectId,
      versionId: key.versionId,
      source: 'build',
      oldSessionId: null,
      newSessionId: sessionId,
      seq: 1,
      alreadyRecorded: false,
      inStore: false,
      warnings: [expect.stringContaining('SESSION_NOT_IN_STORE')],
    });
    expect(await readHead(database.pool, key.projectId)).toEqual({ sessionId, seq: 1 });
    expect(await versionSession(key.versionId)).toBe(sessionId);
    expect(await listTransitions(database.pool, key.projectId, 10)).toMatchObject([
      { seq: 1, source: 'build', step: 'build', oldSessionId: null, newSessionId: sessionId },
    ]);
    expect(await projectSpend(database.pool, key.projectId)).toMatchObject({
      attempts: 1,
      costUsd: 0.25,
      turns: 3,
      usage: { outputTokens: 7 },
      attemptsOfUnknownCost: 0,
    });
    const { rows } = await database.pool.query(
      'SELECT build_id, step, state FROM session_chain.attempts WHERE project_id = $1',
      [key.projectId],
    );
    expect(rows).toEqual([
      { build_id: expect.stringMatching(/^record:[0-9a-f-]{36}$/), step: 'build', state: 'committed' },
    ]);
  });

  it('is the base of the next chain when its transcript is in the store', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    await storeMessage(database.pool, key.projectId, sessionId);
    expect(await record(key, sessionId)).toMatchObject({ inStore: true, warnings: [] });
    const chain = await openNew(database.pool, key);
    expect(chain.head).toBe(sessionId);
    expect(await runStep(database.pool, chain, 'build')).toMatchObject({ oldSessionId: sessionId, seq: 2 });
  });

  it('from which no chain could go on is refused, unless its recorder says that it may be so', async () => {
    const key = await newProject();
    const [unknown, lost, quarantined] = [randomUUID(), randomUUID(), randomUUID()];
    await database.pool.query(
      'INSERT INTO session_chain.sessions (project_id, session_id, given_up_at) VALUES ($1, $2, now())',
      [key.projectId, lost],
    );
    await storeMessage(database.pool, key.projectId, quarantined);
    await database.pool.query(
      `UPDATE session_chain.sessions SET quarantined_at = now(), quarantine_reason = 'x' WHERE session_id = $1`,
      [quarantined],
    );
    for (const sessionId of [unknown, lost, quarantined]) {
      await expect(record(key, sessionId, { notInStore: false })).rejects.toMatchObject({
        code: 'SESSION_NOT_IN_STORE',
        message: expect.stringContaining('nothing was recorded'),
        remedy: expect.stringContaining('notInStore'),
      });
      await expect(record(key, sessionId, { notInStore: undefined } as never)).rejects.toMatchObject({
        code: 'SESSION_NOT_IN_STORE',
      });
    }
    expect(await readHead(database.pool, key.projectId)).toEqual({ sessionId: null, seq: null });
    expect(await leftInJournal(key)).toBe(0);
    // One that is the head already is known as such, wherever its transcript lies.
    expect(await record(key, unknown)).toMatchObject({ seq: 1, inStore: false });
    expect(await record(key, unknown, { notInStore: false })).toMatchObject({ alreadyRecorded: true });
    expect(await record(key, lost)).toMatchObject({ seq: 2, warnings: [expect.any(String)] });
  });

  it('whose transcript is elsewhere fails the next chain until it is stored', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    await record(key, sessionId);
    const { chainId } = await register(database.pool, key);
    const open = async () =>
      await openChain(database.pool, { ...key, chainId }, openerOf('run'), null, { plan });
    await expect(open()).rejects.toMatchObject({ code: 'SESSION_NOT_IN_STORE' });
    // The session was recorded, yet not sealed: its transcript may still come.
    await storeMessage(database.pool, key.projectId, sessionId);
    expect(await open()).toMatchObject({ outcome: 'opened', head: { sessionId, seq: 1 } });
  });

  it('moves a version that is named, and not the newest', async () => {
    const older = await newProject();
    const newer = newKey(older.projectId);
    await register(database.pool, newer);
    const sessionId = randomUUID();
    expect(await record(older, sessionId, { versionId: older.versionId })).toMatchObject({
      versionId: older.versionId,
    });
    expect([await versionSession(older.versionId), await versionSession(newer.versionId)]).toEqual([
      sessionId,
      null,
    ]);
  });

  it('of a project without versions moves the head alone', async () => {
    const { projectId } = newKey();
    await database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
    const sessionId = randomUUID();
    expect(await record({ projectId }, sessionId)).toMatchObject({ versionId: null, seq: 1 });
    expect(await readHead(database.pool, projectId)).toEqual({ sessionId, seq: 1 });
  });

  it('keeps a head that was moved outside in the lineage', async () => {
    const key = await newProject();
    const [outside, sessionId] = [randomUUID(), randomUUID()];
    await moveOutside(key, outside);
    const recorded = await record(key, sessionId);
    expect(recorded).toMatchObject({ oldSessionId: outside, seq: 2 });
    expect(recorded.warnings[0]).toContain(outside);
    expect(await getSessionChain(database.pool, key.projectId)).toEqual([sessionId, outside]);
  });

  it.each([...reservedSources, ...plan.map(({ name }) => name)])('may come from %s', async (source) => {
    const key = await newProject();
    expect(await record(key, randomUUID(), { source })).toMatchObject({ source });
  });

  it('of metadata_generation is metadata', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    expect(await record(key, sessionId, { source: 'metadata_generation' })).toMatchObject({
      source: 'metadata',
    });
    expect(await record(key, sessionId)).toMatchObject({ source: 'metadata', alreadyRecorded: true });
  });
});

describe('a session that is recorded again', () => {
  it('as the head returns the stored transition and writes nothing', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    const first = await record(key, sessionId, { source: 'docs' });
    const again = await record(key, sessionId, { source: 'build' });
    expect(again).toEqual({ ...first, alreadyRecorded: true });
    expect(await listTransitions(database.pool, key.projectId, 10)).toHaveLength(1);
    expect((await projectSpend(database.pool, key.projectId)).attempts).toBe(1);
  });

  it('by many at once is recorded once', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    const all = await Promise.all(Array.from({ length: 16 }, () => record(key, sessionId)));
    expect(all.filter(({ alreadyRecorded }) => !alreadyRecorded)).toHaveLength(1);
    expect(new Set(all.map(({ seq }) => seq))).toEqual(new Set([1]));
    expect(await getSessionChain(database.pool, key.projectId)).toEqual([sessionId]);
    expect(await leftInJournal(key)).toBe(0);
  });

  it('as an old head, or as the session of a chain, is SESSION_ALREADY_KNOWN', async () => {
    const key = await newProject();
    const [first, second] = [randomUUID(), randomUUID()];
    await storeMessage(database.pool, key.projectId, second);
    await record(key, first);
    await record(key, second);
    await expect(record(key, first)).rejects.toMatchObject({
      code: 'SESSION_ALREADY_KNOWN',
      message: expect.stringContaining(second),
    });
    const chain = await openNew(database.pool, key);
    const built = await runStep(database.pool, chain, 'build');
    await runStep(database.pool, chain, 'docs');
    await close(chain);
    await expect(record(key, built.newSessionId)).rejects.toMatchObject({ code: 'SESSION_ALREADY_KNOWN' });
    expect(await readHead(database.pool, key.projectId)).toMatchObject({ seq: 4 });
  });

  it('after an old writer made it the head gets the transition that is missing, and its version', async () => {
    const key = await newProject();
    const outside = randomUUID();
    await moveOutside(key, outside);
    expect(await record(key, outside)).toMatchObject({
      newSessionId: outside,
      source: 'import',
      seq: 1,
      alreadyRecorded: true,
    });
    expect(await versionSession(key.versionId)).toBe(outside);
    expect(await getSessionChain(database.pool, key.projectId)).toEqual([outside]);
  });

  it('after its recorder died in between is recorded all the same', async () => {
    const key = await newProject();
    const sessionId = randomUUID();
    await database.pool.query(
      `SELECT FROM session_chain.begin_operation($1, NULL, NULL, NULL, 'record:of-a-dead-recorder', 'build', 1, NULL, $2, NULL,
         NULL, 'digest', NULL, 'test', 0)`,
      [key.projectId, sessionId],
    );
    expect(await record(key, sessionId)).toMatchObject({ seq: 1, alreadyRecorded: false });
    expect(await leftInJournal(key)).toBe(0);
  });
});

describe('a session of another project', () => {
  const refused = { code: 'SESSION_ALREADY_KNOWN', message: expect.stringContaining('another project') };

  /** Tries to record it for a new project, with and without its transcript, and finds nothing changed. */
  async function refuses(sessionId: string): Promise<void> {
    const thief = await newProject();
    await expect(record(thief, sessionId)).rejects.toMatchObject(refused);
    await expect(record(thief, sessionId, { notInStore: false })).rejects.toMatchObject(refused);
    expect(await readHead(database.pool, thief.projectId)).toEqual({ sessionId: null, seq: null });
    expect(await leftInJournal(thief)).toBe(0);
    const { rows } = await database.pool.query('SELECT FROM session_chain.sessions WHERE project_id = $1', [
      thief.projectId,
    ]);
    expect(rows).toEqual([]);
  }

  it('is refused, be it recorded, committed or only begun there, or its head by the host’s hand', async () => {
    const recorded = randomUUID();
    await record(await newProject(), recorded);
    await refuses(recorded);
    const chain = await openNew(database.pool);
    const { newSessionId } = await runStep(database.pool, chain, 'build');
    await refuses(newSessionId);
    const begun = await begin(database.pool, chain, 'docs');
    await refuses(begun.outcome === 'begun' ? begun.attempt.sessionId : '');
    const adopted = randomUUID();
    const outside = await newProject();
    await moveOutside(outside, adopted);
    await openNew(database.pool, newKey(outside.projectId)).catch(() => undefined);
    expect(await getSessionChain(database.pool, outside.projectId)).toEqual([adopted]);
    await refuses(adopted);
    expect(
      await validateAndRecover(database.pool, (await newProject()).projectId, recorded as SessionId),
    ).toMatchObject({ sessionId: null });
  });

  it('is one project’s, however many record it at once', async () => {
    const sessionId = randomUUID();
    const keys = await Promise.all(Array.from({ length: 8 }, newProject));
    const outcomes = await Promise.allSettled(keys.map(async (key) => record(key, sessionId)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(refused);
    }
    const { rows } = await database.pool.query('SELECT FROM session_transitions WHERE new_session_id = $1', [
      sessionId,
    ]);
    expect(rows).toHaveLength(1);
  });

  it('is no other project’s where the host made it a head of both', async () => {
    const sessionId = randomUUID();
    const keys = [await newProject(), await newProject()];
    for (const key of keys) await moveOutside(key, sessionId);
    for (const key of keys) {
      expect(await record(key, sessionId)).toMatchObject({ seq: 1, alreadyRecorded: true });
    }
  });
});

describe('while a chain works', () => {
  it('nothing is recorded, and its own head is known', async () => {
    const key = await newProject();
    const chain = await openNew(database.pool, key);
    const built = await runStep(database.pool, chain, 'build');
    const sessionId = randomUUID();
    await expect(record(key, sessionId)).rejects.toMatchObject({
      code: 'PROJECT_BUSY',
      message: expect.stringContaining(`chain/${key.projectId}/${key.versionId}`),
    });
    expect(await record(key, built.newSessionId)).toMatchObject({ alreadyRecorded: true, seq: 1 });
    await runStep(database.pool, chain, 'docs');
    await close(chain);
    expect(await record(key, sessionId)).toMatchObject({ alreadyRecorded: false, seq: 3 });
    expect(await leftInJournal(key)).toBe(0);
  });
});

describe('recorders of one project at once, with chains between them', () => {
  it('leave one gapless lineage that holds every session that they were told of', async () => {
    const key = await newProject();
    const told: string[] = [];
    let busy = 0;
    const recorder = async () => {
      for (let round = 0; round < 10; round++) {
        const sessionId = randomUUID();
        await storeMessage(database.pool, key.projectId, sessionId);
        try {
          await record(key, sessionId);
          told.push(sessionId);
        } catch (error) {
          expect(error).toMatchObject({ code: 'PROJECT_BUSY' });
          busy++;
        }
      }
    };
    const chains = async () => {
      for (let round = 0; round < 10; round++) {
        const chain = await openNew(database.pool, newKey(key.projectId));
        told.push((await runStep(database.pool, chain, 'build')).newSessionId);
        await close(chain);
      }
    };
    await Promise.all([chains(), ...Array.from({ length: 8 }, recorder)]);
    expect(told.length + busy).toBe(90);
    const lineage = await getSessionChain(database.pool, key.projectId);
    expect(lineage).toHaveLength(told.length);
    expect(new Set(lineage)).toEqual(new Set(told));
    expect(await leftInJournal(key)).toBe(0);
  });
});

describe('what a recorded operation took', () => {
  it('counts as unknown where the recorder does not say it, and stays so', async () => {
    const key = await newProject();
    await record(key, randomUUID());
    const deps = {
      pool: database.pool,
      createTranscriptStore: (projectId: ChainKey['projectId']) =>
        createTranscriptStore({ pool: database.pool, projectId }),
    };
    for (let round = 0; round < 2; round++) {
      await settleLedger(deps, key.projectId);
      expect(await projectSpend(database.pool, key.projectId)).toMatchObject({
        attempts: 1,
        costUsd: 0,
        attemptsOfUnknownCost: 1,
      });
    }
  });
});

describe('bad input', () => {
  const key = newKey();
  beforeAll(async () => {
    await register(database.pool, key);
  });
  it.each<[string, string, Partial<RecordSessionRequest>]>([
    ['a session id with a slash', 'INVALID_INPUT', { sessionId: 'a/b' }],
    ['an empty session id', 'INVALID_INPUT', { sessionId: '' }],
    ['a session id that is too long', 'INVALID_INPUT', { sessionId: 'x'.repeat(256) }],
    ['a source that is no name', 'INVALID_INPUT', { source: 'Magic!' }],
    ['a negative cost', 'INVALID_INPUT', { metrics: { costUsd: -1 } }],
    ['a cost that is no number', 'INVALID_INPUT', { metrics: { costUsd: Number.NaN } }],
    ['a malformed project id', 'INVALID_INPUT', { projectId: 'a b' }],
    ['an unknown project', 'PROJECT_NOT_FOUND', { projectId: 'nobody' }],
    ['an unknown version', 'VERSION_NOT_FOUND', { versionId: 'v-none' }],
  ])('%s: %s, and nothing is written', async (_name, code, request) => {
    await expect(record(key, randomUUID(), request)).rejects.toMatchObject({ code });
    expect(await readHead(database.pool, key.projectId)).toEqual({ sessionId: null, seq: null });
    expect(await leftInJournal(key)).toBe(0);
  });

  it('a version of another project is refused', async () => {
    const other = await newProject();
    await expect(record(key, randomUUID(), { versionId: other.versionId })).rejects.toMatchObject({
      code: 'VERSION_OF_ANOTHER_PROJECT',
    });
  });
});

describe('an old writer of the host, without the key to the last transition', () => {
  let stack: ChainStack;
  beforeAll(async () => {
    stack = await startChainStack('record', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
    await stack.database.pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
    await stack.startWorker();
  });
  afterAll(async () => {
    await stack.stop();
  });
  const run = async (request: StartRequest) =>
    await stack.sessionChain.wait(await stack.sessionChain.start(request));

  it('records its sessions through the client, under either name', async () => {
    const { projectId, versionId } = stack.request();
    await stack.database.pool.query(
      `WITH project AS (INSERT INTO projects (project_id) VALUES ($1) RETURNING project_id)
       INSERT INTO project_versions (version_id, project_id) SELECT $2, project_id FROM project`,
      [projectId, versionId],
    );
    const { sessionChain } = stack;
    const first = { projectId, sessionId: 's-1', source: 'build' };
    await expect(sessionChain.recordSession(first)).rejects.toMatchObject({ code: 'SESSION_NOT_IN_STORE' });
    expect(await sessionChain.recordSession({ ...first, notInStore: true })).toMatchObject({
      seq: 1,
      versionId,
    });
    // Those who call it so keep their transcripts on their own disks.
    expect(
      await sessionChain.updateProjectSession(projectId, 's-2', 'metadata_generation', versionId),
    ).toMatchObject({ seq: 2, versionId, source: 'metadata', oldSessionId: 's-1' });
    expect(await sessionChain.updateProjectSession(projectId, 's-2', 'metadata')).toMatchObject({
      alreadyRecorded: true,
    });
    expect(await sessionChain.head(projectId)).toEqual({ sessionId: 's-2', seq: 2 });
    expect(await sessionChain.syncReport({ projectId })).toMatchObject({ share: 1, drifted: [] });
  });

  it('moves the head, and the next chain adopts it as an import, warns of it and goes on from there', async () => {
    const first = stack.request();
    const before = await run({ ...first, steps: ['build', 'docs'] });
    const [built, documented] = before.steps.map(({ newSessionId }) => newSessionId);
    await moveOutside(first, built ?? '', stack.database.pool);

    const result = await run({ ...stack.request(first.projectId), steps: ['build'] });
    expect(result).toMatchObject({
      status: 'completed_with_warnings',
      baseSessionId: built,
      head: { seq: 4 },
      warnings: [expect.stringContaining(`moved outside to ${built}`)],
    });
    expect(await stack.sessionChain.transitions(first.projectId, { limit: 2 })).toMatchObject([
      { seq: 4, source: 'build', oldSessionId: built },
      { seq: 3, source: 'import', oldSessionId: documented, newSessionId: built },
    ]);
  });

  it('moves it to a session that is not in the store: the chain fails, leaves the queue, and the next one can open', async () => {
    const first = stack.request();
    const before = await run({ ...first, steps: ['build'] });
    await moveOutside(first, 'elsewhere', stack.database.pool);

    const refused = stack.request(first.projectId);
    const [one, other] = await Promise.all([
      run({ ...refused, steps: ['build'] }),
      run({ ...stack.request(first.projectId), steps: ['build'] }),
    ]);
    for (const result of [one, other]) {
      expect(result).toMatchObject({
        status: 'failed',
        failure: { code: 'SESSION_NOT_IN_STORE', message: expect.stringContaining('elsewhere') },
        steps: [],
      });
    }
    expect(await stack.sessionChain.head(first.projectId)).toMatchObject({ sessionId: 'elsewhere' });
    expect((await stack.sessionChain.spend(first.projectId)).attempts).toBe(1);

    await moveOutside(first, before.head.sessionId ?? '', stack.database.pool);
    expect(await run({ ...refused, steps: ['build'] })).toMatchObject({
      status: 'completed_with_warnings',
      baseSessionId: before.head.sessionId,
    });
  });
});
