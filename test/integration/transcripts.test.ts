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
  sessionFitness,
  sessionState,
  transcriptBytes,
} from '../../storage/transcripts/store.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startScriptedModel, toolResults } from '../../agent/probe/scripted-model.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

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
  for (;;) {
    const { rowCount } = await database.pool.query(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    if (rowCount !== null && rowCount >= waiters) return;
    await database.pool.query('SELECT pg_sleep(0.01)');
  }
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
