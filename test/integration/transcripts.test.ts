import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { query, type SessionStore, type SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { type ProjectId, parseProjectId, parseSessionId, type SessionId } from '../../contracts/ids.js';
import { createPool, type Pool } from '../../storage/db/pool.js';
import {
  contextTokens,
  createTranscriptStore,
  firstOfEachUuid,
  loadOwnEntries,
  sessionFitness,
  sessionState,
  transcriptBytes,
  type TranscriptStore,
} from '../../storage/transcripts/store.js';
import { readEntries } from '../../storage/transcripts/entries.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startScriptedModel, toolResults } from '../../agent/probe/scripted-model.js';
import { fc } from '../support/properties.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

let database: TestDatabase;
let projectId: ProjectId;
let sessionId: SessionId;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(() => {
  projectId = parseProjectId(randomUUID());
  sessionId = newSessionId();
});

describe('a chain of forks by the real agent', () => {
  it('is loaded as it was appended, from another home and folder, and each entry of it is stored once', async () => {
    const { store, appended } = recordingStore();
    const prompts = Array.from({ length: 12 }, (_, step) => `Please do step ${step}.`);
    const sessions = await runForks(store, prompts);
    for (const [index, id] of sessions.entries()) {
      const transcript = await load(store, id);
      expect(transcript.map(json)).toEqual(appended.get(id));
      expect(promptsIn(transcript.filter(({ type }) => type === 'user'))).toEqual(
        prompts.slice(0, index + 1),
      );
    }
    await expectStoredOnce([...appended.values()].flat());
  });

  it('with a compaction in it too', async () => {
    const { store, appended } = recordingStore();
    const prompts = ['Please do step 0.', 'Please do step 1.', '/compact', 'Please do step 3.'];
    const sessions = await runForks(store, prompts);
    for (const id of sessions) expect((await load(store, id)).map(json)).toEqual(appended.get(id));
    const boundaries = (await load(store, sessions[2] ?? '')).filter(
      (entry) => entry.subtype === 'compact_boundary',
    );
    expect(boundaries).toHaveLength(1);
    await expectStoredOnce([...appended.values()].flat());
  });
});

describe('entries', () => {
  it('keep their bytes: the order of keys, numbers and escapes', async () => {
    const { append, loaded } = openSession();
    const text = '{"z":1,"type":"user","a":{"y":[1.5,"\\u0000\\ud800é"],"x":null},"uuid":"u","10":2}';
    await append([JSON.parse(text) as SessionStoreEntry]);
    expect((await loaded()).map(json)).toEqual([json(JSON.parse(text))]);
  });

  it('that two sessions share are stored once', async () => {
    const store = createTranscriptStore({ pool: database.pool, projectId });
    const entries = conversation(40);
    await store.append({ projectKey: '-', sessionId }, entries);
    const texts = await countTexts();
    const fork = newSessionId();
    await store.append({ projectKey: '-', sessionId: fork }, asCopies(entries, fork));
    expect(await countTexts()).toBe(texts + 1); // the patch with the fork's prompt id
    expect(await load(store, fork)).toEqual(asCopies(entries, fork));
  });

  it('that many sessions bring at once are stored once', async () => {
    const entries = conversation(100);
    const sessions = Array.from({ length: 24 }, () => newSessionId());
    const store = createTranscriptStore({ pool: database.pool, projectId });
    await Promise.all(sessions.map(() => database.pool.query('SELECT pg_sleep(0.1)'))); // opens the connections
    await Promise.all(
      sessions.map((id) => store.append({ projectKey: '-', sessionId: id }, asCopies(entries, id))),
    );
    for (const id of sessions) expect(await load(store, id)).toEqual(asCopies(entries, id));
    expect(await countTexts()).toBe(entries.length + 1);
  });

  it('that two sessions bring in opposite orders cause no deadlock', async () => {
    // A time limit of 0: a deadlock is not healed by trying again.
    const store = createTranscriptStore({ pool: database.pool, projectId, waitForDatabaseMs: 0 });
    const [one, two, third] = [newSessionId(), newSessionId(), newSessionId()];
    const entries = conversation(9);
    const client = await database.pool.connect();
    await client.query('BEGIN');
    const middle = createTranscriptStore({ pool: client as unknown as Pool, projectId });
    await middle.append({ projectKey: '-', sessionId: third }, asCopies(entries.slice(4, 5), third));
    const both = Promise.all([
      store.append({ projectKey: '-', sessionId: one }, asCopies(entries, one)),
      store.append({ projectKey: '-', sessionId: two }, asCopies(entries.toReversed(), two)),
    ]);
    await untilSomebodyWaitsForALock(2);
    await client.query('ROLLBACK');
    client.release();
    await both;
    expect(await load(store, two)).toEqual(asCopies(entries.toReversed(), two));
  });

  it.each(['COMMIT', 'ROLLBACK'])(
    'that another session is just storing are waited for until its %s',
    async (end) => {
      const store = createTranscriptStore({ pool: database.pool, projectId });
      const [one, two] = [newSessionId(), newSessionId()];
      const entries = conversation(4);
      const client = await database.pool.connect();
      await client.query('BEGIN');
      const first = createTranscriptStore({ pool: client as unknown as Pool, projectId });
      await first.append({ projectKey: '-', sessionId: one }, asCopies(entries, one));
      const second = store.append({ projectKey: '-', sessionId: two }, asCopies(entries, two));
      await untilSomebodyWaitsForALock();
      await client.query(end);
      client.release();
      await second;
      expect(await load(store, one)).toEqual(end === 'COMMIT' ? asCopies(entries, one) : []);
      expect(await load(store, two)).toEqual(asCopies(entries, two));
      expect(await countTexts()).toBe(entries.length + 1);
    },
  );

  it('keep the order of the calls when nobody waits in between', async () => {
    const { append, loaded } = openSession();
    const entries = conversation(60);
    await Promise.all(entries.map((entry) => append([entry])));
    expect(await loaded()).toEqual(entries);
  });

  it('of two writers of one session all arrive, each in its order', async () => {
    const [one, two] = [openSession(), openSession()];
    const [ones, twos] = [conversation(20), conversation(20)];
    await Promise.all([
      ...ones.map((entry) => one.append([entry])),
      ...twos.map((entry) => two.append([entry])),
    ]);
    const loaded = await one.loaded();
    expect(loaded).toHaveLength(40);
    expect(loaded.filter(({ uuid }) => ones.some((entry) => entry.uuid === uuid))).toEqual(ones);
    expect(loaded.filter(({ uuid }) => twos.some((entry) => entry.uuid === uuid))).toEqual(twos);
  });
});

describe('a session that goes on from another one in the same process', () => {
  let copy: SessionId;
  beforeEach(() => {
    copy = newSessionId();
  });
  const fresh = () => createTranscriptStore({ pool: database.pool, projectId });
  const begin = async (entries: SessionStoreEntry[], { store = fresh(), base = sessionId } = {}) => {
    await store.appendToCopy({ projectKey: '-', sessionId: copy }, base, entries);
    return store;
  };
  /** As they read in the copy: what the base wrote itself has its id as that of the request. */
  const inCopy = (entries: SessionStoreEntry[]) =>
    entries.map((entry) => ({
      ...entry,
      sessionId: copy,
      ...(entry.type === 'assistant' ? { requestSessionId: sessionId } : {}),
    }));

  it('begins with a copy of its main transcript, and goes on like any other', async () => {
    const store = fresh();
    const [before, after] = [conversation(5), conversation(2)];
    await store.append({ projectKey: '-', sessionId }, before.slice(0, 2));
    await store.append({ projectKey: '-', sessionId, subpath: 'subagents/agent-1' }, conversation(1));
    await store.append({ projectKey: '-', sessionId }, [
      ...before.slice(2),
      { ...answer({ input_tokens: 7 }), sessionId },
      { type: 'mode', mode: 'normal', sessionId },
    ]);
    const base = await load(store, sessionId);
    const texts = await countTexts();
    // In one pipe: what follows waits for the copy.
    const own = after.map((entry) => ({ ...entry, sessionId: copy }));
    await Promise.all([
      begin(own.slice(0, 1), { store }),
      store.append({ projectKey: '-', sessionId: copy }, own.slice(1)),
    ]);
    expect(await load(store, copy)).toEqual([...inCopy(base), ...own]);
    expect(await store.listSubkeys({ projectKey: '-', sessionId: copy })).toEqual([]);
    expect(store.appends(copy)).toBe(4);
    expect(await countTexts()).toBe(texts + 3); // the new entries and the patch of the last
    expect(await sessionState(database.pool, projectId, copy)).toEqual({
      ...{ exists: true, entries: 9, sealed: false, quarantined: false },
      appendedBytes: sizeOf(own.map(json)),
    });
    expect(await contextTokens(database.pool, projectId, copy)).toBe(7);
    expect(await sessionFitness(database.pool, projectId, copy)).toBe('whole');
    const found = await loadOwnEntries(database.pool, projectId, [
      { sessionId: copy, baseSessionId: sessionId },
    ]);
    expect(found.get(copy)?.main).toEqual(own);
    const read = await readEntries(database.pool, projectId, copy, { after: null, limit: 100 });
    expect(read.entries.map(({ entry }) => entry)).toEqual([...inCopy(base), ...own]);
  });

  it('begins once, also when the answer to its first append is lost', async () => {
    await fresh().append({ projectKey: '-', sessionId }, conversation(3));
    const proxy = await startTcpProxy(database.url);
    const pool = createPool(proxy.url, { applicationName: 'test behind proxy', max: 2 });
    try {
      const store = createTranscriptStore({ pool, projectId });
      await pool.query('SELECT 1');
      proxy.loseNextAnswer();
      await begin(conversation(1), { store });
      await store.append({ projectKey: '-', sessionId: copy }, conversation(1));
      expect(store.appends(copy)).toBe(3);
      expect(await load(store, copy)).toHaveLength(5);
    } finally {
      await pool.end();
      await proxy.stop();
    }
  });

  it('does not begin on what is not whole, and there is no half copy', async () => {
    const refused = { code: 'SESSION_NOT_IN_STORE' };
    const store = fresh();
    await expect(begin(conversation(1))).rejects.toMatchObject(refused);
    await store.append({ projectKey: '-', sessionId, subpath: 'subagents/agent-1' }, conversation(1));
    await expect(begin(conversation(1))).rejects.toMatchObject(refused);
    await store.append({ projectKey: '-', sessionId }, conversation(2));
    const other = createTranscriptStore({ pool: database.pool, projectId: parseProjectId(randomUUID()) });
    await expect(begin(conversation(1), { store: other })).rejects.toMatchObject(refused);
    await database.pool.query(`DELETE FROM session_chain.transcript_texts WHERE content LIKE '%entry 1%'`);
    await expect(begin(conversation(1))).rejects.toMatchObject(refused);
    const { exists } = await sessionState(database.pool, projectId, copy);
    expect(exists).toBe(false);
  });

  it('does not begin where a session is already, or is sealed', async () => {
    const store = fresh();
    await store.append({ projectKey: '-', sessionId }, conversation(2));
    await begin(conversation(1));
    await expect(begin(conversation(1))).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(begin([])).rejects.toThrow('no entries');
    expect(await load(store, copy)).toHaveLength(3);
    await store.delete({ projectKey: '-', sessionId: copy });
    await database.pool.query(
      'INSERT INTO session_chain.sessions (project_id, session_id, sealed_at) VALUES ($1, $2, now())',
      [projectId, copy],
    );
    await expect(begin(conversation(1))).rejects.toMatchObject({ code: 'FENCED' });
    expect(await store.load({ projectKey: '-', sessionId: copy })).toBeNull();
  });
});

describe('a fork', () => {
  /** A pool that counts what is written to the database. */
  const counting = () => {
    const sent = { bytes: 0 };
    const pool = new Proxy(database.pool, {
      get: (target, name) =>
        name === 'query'
          ? (query: { values?: unknown[] }) => {
              sent.bytes += Buffer.byteLength(json(query.values));
              return target.query(query as never) as unknown;
            }
          : (Reflect.get(target, name) as unknown),
    });
    return { sent, store: createTranscriptStore({ pool, projectId }) };
  };

  it('refers to what it repeats of the transcript that was loaded, in any order and with what is new between', async () => {
    const entries = conversation(60);
    await openSession().append(entries.slice(0, 35));
    await openSession().append(entries.slice(35));
    const forked = async (store: TranscriptStore, pick: number[]) => {
      const fork = newSessionId();
      const copies = asCopies(entries, fork);
      const given = pick.flatMap((index) => copies[index] ?? { ...answer({}), sessionId: fork });
      await store.append({ projectKey: '-', sessionId: fork }, given);
      await store.append({ projectKey: '-', sessionId: fork }, given.slice(0, 1));
      expect(await load(createTranscriptStore({ pool: database.pool, projectId }), fork)).toEqual(
        firstOfEachUuid(given),
      );
      expect(await sessionState(database.pool, projectId, fork)).toMatchObject({
        entries: given.length + 1,
        appendedBytes: sizeOf([...given, given[0]].map(json)),
      });
    };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 65 }), { minLength: 1 }), async (pick) => {
        const { store } = counting();
        await load(store, sessionId);
        await forked(store, pick);
      }),
      { numRuns: 30 },
    );
    const [cold, warm] = [counting(), counting()];
    await load(warm.store, sessionId);
    const all = entries.map((_, index) => index);
    await forked(cold.store, all);
    await forked(warm.store, all);
    expect(warm.sent.bytes).toBeLessThan(cold.sent.bytes / 10);
  });

  it('sends what is no longer as it was loaded', async () => {
    const entries = conversation(6);
    const fork = newSessionId();
    const change = async (sql: string) => {
      const { store } = counting();
      await store.append({ projectKey: '-', sessionId }, entries);
      await load(store, sessionId);
      await database.pool.query(sql, [projectId, sessionId]);
      await store.append({ projectKey: '-', sessionId: fork }, asCopies(entries, fork));
      expect(await load(store, fork)).toEqual(asCopies(entries, fork));
      await store.delete({ projectKey: '-', sessionId: fork });
      await store.delete({ projectKey: '-', sessionId });
    };
    const batches = 'session_chain.transcript_batches';
    const ofSession = `session = (SELECT id FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2)`;
    await change(`DELETE FROM ${batches} WHERE ${ofSession}`);
    await change(`UPDATE ${batches} SET entry_ids = entry_ids[2:] || entry_ids[1] WHERE ${ofSession}`);
    await change(`WITH gone AS (DELETE FROM ${batches} WHERE ${ofSession})
      DELETE FROM session_chain.transcript_texts WHERE project_id = $1 AND $2 <> ''`);
  });
});

describe('a sealed session', () => {
  it('takes nothing more and stays readable', async () => {
    const { append, loaded } = openSession();
    const entries = conversation(3);
    await append(entries);
    await seal();
    await expect(append(conversation(1))).rejects.toMatchObject({ code: 'FENCED' });
    await expect(append(conversation(1))).rejects.toMatchObject({ code: 'FENCED' });
    expect(await loaded()).toEqual(entries);
    expect(await sessionState(database.pool, projectId, sessionId)).toMatchObject({
      sealed: true,
      entries: 3,
    });
  });

  it('refuses whoever was on the way when the seal came', async () => {
    const { append } = openSession();
    await append(conversation(1));
    const client = await database.pool.connect();
    await client.query('BEGIN');
    await client.query('UPDATE session_chain.sessions SET sealed_at = now() WHERE session_id = $1', [
      sessionId,
    ]);
    const late = append(conversation(1));
    late.catch(() => undefined);
    await untilSomebodyWaitsForALock();
    await client.query('COMMIT');
    client.release();
    await expect(late).rejects.toMatchObject({ code: 'FENCED' });
  });

  it('leaves other sessions of the same store alone', async () => {
    const store = createTranscriptStore({ pool: database.pool, projectId });
    await store.append({ projectKey: '-', sessionId }, conversation(1));
    await seal();
    await expect(store.append({ projectKey: '-', sessionId }, conversation(1))).rejects.toMatchObject({
      code: 'FENCED',
    });
    await store.append({ projectKey: '-', sessionId: newSessionId() }, conversation(1));
  });
});

describe('a database that fails', () => {
  let proxy: TcpProxy;
  let pool: Pool;

  beforeEach(async () => {
    proxy = await startTcpProxy(database.url);
    pool = createPool(proxy.url, { applicationName: 'test behind proxy', max: 2 });
    await pool.query('SELECT 1');
  });

  afterEach(async () => {
    await pool.end();
    await proxy.stop();
  });

  it('is waited for', async () => {
    const { append, loaded } = openSession({ pool });
    const entries = conversation(4);
    await append(entries.slice(0, 1));
    await proxy.cut();
    const waiting = entries.slice(1).map((entry) => append([entry]));
    await expect(pool.query('SELECT 1')).rejects.toThrow();
    await proxy.restore();
    await Promise.all(waiting);
    expect(await loaded()).toEqual(entries);
  });

  it('stores an append once whose answer was lost', async () => {
    const { append, loaded } = openSession({ pool });
    const entries: SessionStoreEntry[] = [{ type: 'mode', mode: 'normal' }, ...conversation(1)];
    await append(entries);
    proxy.loseNextAnswer();
    await append(entries.slice(0, 1));
    expect(await loaded()).toEqual([...entries, entries[0]]);
    expect(await sessionState(database.pool, projectId, sessionId)).toMatchObject({ entries: 3 });
  });

  it('that stays away ends the transcript: what follows is refused, so that there is no hole', async () => {
    const { append, loaded } = openSession({ pool, waitForDatabaseMs: 300 });
    const [first, lost, next] = conversation(3) as [SessionStoreEntry, SessionStoreEntry, SessionStoreEntry];
    await append([first]);
    await proxy.cut();
    await expect(append([lost])).rejects.toMatchObject({ code: 'STORE_REFUSED' });
    await proxy.restore();
    await expect(append([next])).rejects.toMatchObject({ code: 'STORE_REFUSED' });
    expect(await loaded()).toEqual([first]);
  });

  it('that cannot store an entry ends the transcript at once', async () => {
    const empty = await createTestDatabase({ empty: true });
    const { append } = openSession({ pool: empty.pool });
    await expect(append(conversation(1))).rejects.toMatchObject({ code: 'STORE_REFUSED' });
    await empty.drop();
  });
});

describe('a session', () => {
  it('is whole once its transcript holds a message, unless it is in quarantine', async () => {
    const { append } = openSession();
    const fitness = () => sessionFitness(database.pool, projectId, sessionId);
    expect(await fitness()).toBe('unknown');
    await append([{ type: 'mode', mode: 'normal', sessionId }]);
    expect(await fitness()).not.toBe('whole');
    await append(conversation(1));
    expect(await fitness()).toBe('whole');
    await database.pool.query(
      `UPDATE session_chain.sessions SET quarantined_at = now(), quarantine_reason = 'test' WHERE session_id = $1`,
      [sessionId],
    );
    expect(await fitness()).toBe('quarantined');
  });

  it('is not whole for what a subagent said', async () => {
    const store = createTranscriptStore({ pool: database.pool, projectId });
    await store.append({ projectKey: '-', sessionId, subpath: 'subagents/agent-1' }, conversation(2));
    expect(await sessionFitness(database.pool, projectId, sessionId)).not.toBe('whole');
  });

  it('has a state, also when it was never seen', async () => {
    const absent = { exists: false, entries: 0, sealed: false, quarantined: false, appendedBytes: 0 };
    expect(await sessionState(database.pool, projectId, sessionId)).toEqual(absent);
    const { append } = openSession();
    const entries = conversation(2);
    await append(entries);
    expect(await sessionState(database.pool, projectId, sessionId)).toEqual({
      ...absent,
      exists: true,
      entries: 2,
      appendedBytes: sizeOf(entries.map(json)),
    });
  });
});

describe('the size of the context', () => {
  const tokens = () => contextTokens(database.pool, projectId, sessionId);

  it('is 0 where no request was made', async () => {
    expect(await tokens()).toBe(0);
    await openSession().append([{ type: 'user', uuid: 'u' }]);
    expect(await tokens()).toBe(0);
  });

  it('is what the last real request read, wrote and answered', async () => {
    const { append } = openSession();
    await append([answer({ input_tokens: 1 }), answer({ input_tokens: 1, cache_read_input_tokens: 20 })]);
    expect(await tokens()).toBe(21);
    await append([answer({ input_tokens: 4, cache_creation_input_tokens: 300, output_tokens: 5_000 })]);
    await append([
      { ...answer({ input_tokens: 9 }), message: { model: '<synthetic>', usage: { input_tokens: 9 } } },
      { ...answer({ input_tokens: 9 }), isApiErrorMessage: true },
    ]);
    expect(await tokens()).toBe(5_304);
  });

  it('is found behind a long tail of other entries', async () => {
    const { append } = openSession();
    await append([
      answer({ input_tokens: 7 }),
      ...Array.from({ length: 150 }, (_, n) => ({ type: 'note', n })),
    ]);
    expect(await tokens()).toBe(7);
  });

  it('is what a compaction left, until the next request', async () => {
    const { append } = openSession();
    await append([
      answer({ input_tokens: 90_000 }),
      {
        type: 'system',
        subtype: 'compact_boundary',
        uuid: randomUUID(),
        compactMetadata: { postTokens: 1_318 },
      },
      { type: 'user', uuid: randomUUID(), isCompactSummary: true },
    ]);
    expect(await tokens()).toBe(1_318);
    await append([answer({ input_tokens: 2_000 })]);
    expect(await tokens()).toBe(2_000);
  });
});

describe('deleting', () => {
  it('is refused for a session that a transition, a head or a running attempt names', async () => {
    const { append, loaded, remove } = openSession();
    const entries = conversation(1);
    await append(entries);
    const references = [
      [
        `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source) VALUES ($1, $2, 'x', 'build')`,
        'DELETE FROM session_transitions WHERE project_id = $1 AND old_session_id = $2',
      ],
      [
        'INSERT INTO projects (project_id, last_ai_session_id) VALUES ($1, $2)',
        'DELETE FROM projects WHERE project_id = $1 AND last_ai_session_id = $2',
      ],
      [
        `INSERT INTO session_chain.attempts (project_id, version_id, build_id, step, attempt, session_id, input_digest, epoch,
           scheduled_at, worker, lease_ms) VALUES ($1, 'v', 'b', 'build', 1, $2, 'd', 1, now(), 'w', 1)`,
        'DELETE FROM session_chain.attempts WHERE project_id = $1 AND session_id = $2',
      ],
    ] as const;
    for (const [refer, release] of references) {
      await database.pool.query(refer, [projectId, sessionId]);
      await expect(remove()).rejects.toMatchObject({ code: 'SESSION_IN_USE' });
      expect(await loaded()).toEqual(entries);
      await database.pool.query(release, [projectId, sessionId]);
    }
    await remove();
    expect(await loaded()).toEqual([]);
  });

  it('of a failed attempt leaves its sealed row to the journal', async () => {
    const { append, loaded, remove } = openSession();
    await append(conversation(1));
    await database.pool.query(
      `INSERT INTO session_chain.attempts (project_id, version_id, build_id, step, attempt, session_id, input_digest, epoch,
         scheduled_at, worker, lease_ms, state, failure, ended_at)
       VALUES ($1, 'v', 'b', 'build', 1, $2, 'd', 1, now(), 'w', 1, 'failed', '{}', now())`,
      [projectId, sessionId],
    );
    await remove();
    expect(await loaded()).toEqual([]);
    expect(await sessionState(database.pool, projectId, sessionId)).toMatchObject({
      exists: true,
      entries: 0,
      sealed: true,
    });
    expect(await sessionFitness(database.pool, projectId, sessionId)).not.toBe('whole');
  });
});

/** The session of this test, through a store of its own. */
function openSession({ pool = database.pool, waitForDatabaseMs = 30_000 } = {}) {
  const store = createTranscriptStore({ pool, projectId, waitForDatabaseMs });
  const key = { projectKey: '-', sessionId };
  return {
    append: (entries: SessionStoreEntry[]) => store.append(key, entries),
    loaded: async () => (await store.load(key)) ?? [],
    remove: () => store.delete(key),
  };
}

function newSessionId(): SessionId {
  return parseSessionId(randomUUID());
}

async function load(store: SessionStore, id: string): Promise<SessionStoreEntry[]> {
  return (await store.load({ projectKey: 'of another folder', sessionId: id })) ?? [];
}

async function seal(): Promise<void> {
  await database.pool.query('UPDATE session_chain.sessions SET sealed_at = now() WHERE session_id = $1', [
    sessionId,
  ]);
}

async function untilSomebodyWaitsForALock(waiters = 1): Promise<void> {
  await until(async () => {
    const { rowCount } = await database.pool.query(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rowCount !== null && rowCount >= waiters;
  });
}

async function countTexts(): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    'SELECT count(*) FROM session_chain.transcript_texts WHERE project_id = $1',
    [projectId],
  );
  return rows[0]?.count ?? 0;
}

/** User and assistant entries in turn, shaped as the agent writes them. */
function conversation(length: number): SessionStoreEntry[] {
  return Array.from({ length }, (_, index) => ({
    parentUuid: null,
    ...(index % 2 === 0 ? { promptId: 'prompt' } : {}),
    type: index % 2 === 0 ? 'user' : 'assistant',
    message: { content: `entry ${index}` },
    uuid: randomUUID(),
    cwd: '/app',
    sessionId,
    version: '2.1.330',
    gitBranch: 'HEAD',
  }));
}

function asCopies(entries: SessionStoreEntry[], fork: SessionId): SessionStoreEntry[] {
  return entries.map((entry) => ({
    ...entry,
    ...('promptId' in entry ? { promptId: 'prompt of the fork' } : {}),
    sessionId: fork,
    ...(entry.type === 'assistant' ? { requestSessionId: sessionId } : {}),
  }));
}

function answer(usage: Record<string, number>): SessionStoreEntry {
  return { type: 'assistant', uuid: randomUUID(), message: { id: randomUUID(), model: 'claude', usage } };
}

function sizeOf(texts: Iterable<string>): number {
  return [...texts].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

function json(value: unknown): string {
  return JSON.stringify(value);
}

/** A store of this test's project that remembers, as JSON, what each main transcript was given. */
function recordingStore(): { store: SessionStore; appended: Map<string, string[]> } {
  const store = createTranscriptStore({ pool: database.pool, projectId });
  const appended = new Map<string, string[]>();
  return {
    appended,
    store: {
      ...store,
      async append(key, entries) {
        await store.append(key, entries);
        if (key.subpath !== undefined) return;
        appended.set(key.sessionId, [...(appended.get(key.sessionId) ?? []), ...entries.map(json)]);
      },
    },
  };
}

/** The database holds little more than one copy of every entry, the overhead of its rows included. */
async function expectStoredOnce(entries: string[]): Promise<void> {
  const once = new Map(entries.map((text) => [(JSON.parse(text) as SessionStoreEntry).uuid ?? text, text]));
  const { appendedBytes, storedBytes } = await transcriptBytes(database.pool, projectId);
  expect(appendedBytes).toBe(sizeOf(entries));
  expect(storedBytes).toBeLessThan(1.2 * sizeOf(once.values()));
}

/** The prompts of `runForks` that a transcript or a request holds. */
function promptsIn(messages: unknown[]): string[] {
  return json(messages).match(/Please do step \d+\./g) ?? [];
}

/**
 * Runs the prompts, each in a fork of the session before under an id chosen here, each in a home of its own, the second
 * half in another folder. Returns the session ids. The model answers a prompt with two tool calls and a text.
 */
async function runForks(store: SessionStore, prompts: string[]): Promise<string[]> {
  const root = await mkdtemp(join(tmpdir(), 'transcripts-'));
  const model = await startScriptedModel((request) =>
    toolResults(request).length < 2 * promptsIn(request.messages).length
      ? {
          tools: [
            { name: 'Write', input: { file_path: join(root, `${randomUUID()}.html`), content: page() } },
          ],
        }
      : { text: '<analysis>As asked.</analysis><summary>The pages were written and checked.</summary>' },
  );
  const ids: string[] = [];
  try {
    for (const [step, prompt] of prompts.entries()) {
      const [home, cwd] = [
        join(root, `home-${step}`),
        join(root, step < prompts.length / 2 ? 'here' : 'there'),
      ];
      for (const folder of [home, cwd]) await mkdir(folder, { recursive: true });
      const parent = ids.at(-1);
      const id = randomUUID();
      const run = query({
        prompt,
        options: {
          cwd,
          additionalDirectories: [root],
          sessionId: id,
          ...(parent === undefined ? {} : { resume: parent, forkSession: true }),
          sessionStore: store,
          sessionStoreFlush: 'eager',
          settingSources: [],
          systemPrompt: { type: 'preset', preset: 'claude_code', excludeDynamicSections: true },
          strictMcpConfig: true,
          tools: ['Read', 'Write', 'Edit', 'Bash'],
          permissionMode: 'dontAsk',
          allowedTools: ['Write'],
          env: {
            PATH: process.env['PATH'],
            HOME: home,
            CLAUDE_CONFIG_DIR: join(home, 'claude'),
            ANTHROPIC_BASE_URL: model.url,
            ANTHROPIC_API_KEY: 'none',
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
            DISABLE_TELEMETRY: '1',
            DISABLE_AUTOUPDATER: '1',
          },
        },
      });
      for await (const message of run) {
        if (message.type === 'result' && message.is_error) throw new Error(`Step ${step}: ${json(message)}`);
      }
      ids.push(id);
    }
  } finally {
    await model.stop();
    await rm(root, { recursive: true, force: true });
  }
  return ids;
}

function page(): string {
  const items = Array.from({ length: 5 }, (_, line) => `    <li id="${randomUUID()}">Item ${line}</li>\n`);
  return `<!doctype html>\n<html>\n<body>\n  <ul>\n${items.join('')}  </ul>\n</body>\n</html>\n`;
}
