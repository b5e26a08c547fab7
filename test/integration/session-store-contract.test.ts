import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { SessionKey, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { parseProjectId } from '../../contracts/ids.js';
import { createTranscriptStore, type TranscriptStore } from '../../storage/transcripts/store.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

// What the Agent SDK's documents and its conformance suite ask of a store, clause by clause. One difference is on purpose:
// a store of ours belongs to one project, and this, not the SDK's projectKey, is what keeps sessions apart.
let database: TestDatabase;
let store: TranscriptStore;
let otherProject: TranscriptStore;
let main: SessionKey;
let agentOne: SessionKey;
let agentTwo: SessionKey;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(() => {
  store = storeOf(randomUUID());
  otherProject = storeOf(randomUUID());
  // A session belongs to one project.
  main = { projectKey: 'folder', sessionId: randomUUID() };
  agentOne = { ...main, subpath: 'subagents/agent-1' };
  agentTwo = { ...main, subpath: 'subagents/agent-2' };
});

describe('append and load', () => {
  it('return the entries of one append in its order, not in that of their uuids', async () => {
    await store.append(main, [entry({ uuid: 'b', n: 1 }), entry({ uuid: 'a', n: 2 })]);
    expect(await store.load(main)).toEqual([entry({ uuid: 'b', n: 1 }), entry({ uuid: 'a', n: 2 })]);
  });

  it('return the entries of several appends in the order of the calls', async () => {
    await store.append(main, [entry({ uuid: 'z' })]);
    await store.append(main, [entry({ uuid: 'a' }), entry({ uuid: 'm' })]);
    await store.append(main, [entry({ uuid: 'b' })]);
    expect(uuids(await store.load(main))).toEqual(['z', 'a', 'm', 'b']);
  });

  it('give null for a session and for a subpath that were never written', async () => {
    expect(await store.load({ ...main, sessionId: 'nope' })).toBeNull();
    await store.append(main, [entry({ uuid: 'x' })]);
    expect(await store.load({ ...main, subpath: 'nope' })).toBeNull();
  });

  it('take an empty append for nothing', async () => {
    await store.append(main, []);
    expect(await store.load(main)).toBeNull();
    expect(await store.listSessions('folder')).toEqual([]);
    await store.append(main, [entry({ uuid: 'a' })]);
    await store.append(main, []);
    expect(await store.load(main)).toEqual([entry({ uuid: 'a' })]);
  });

  it('keep a subpath apart from the main transcript', async () => {
    await store.append(main, [entry({ uuid: 'm' })]);
    await store.append(agentOne, [entry({ uuid: 's' })]);
    expect(uuids(await store.load(main))).toEqual(['m']);
    expect(uuids(await store.load(agentOne))).toEqual(['s']);
  });

  it('keep projects apart', async () => {
    await store.append(main, [entry({ from: 'A' })]);
    const other = { ...main, sessionId: randomUUID() };
    await otherProject.append(other, [entry({ from: 'B' })]);
    await expect(otherProject.append(main, [entry({ from: 'B' })])).rejects.toThrow(
      'sessions_of_one_project',
    );
    expect(await store.load(main)).toEqual([entry({ from: 'A' })]);
    expect(await otherProject.load(main)).toBeNull();
    expect(await otherProject.load(other)).toEqual([entry({ from: 'B' })]);
    expect(await store.listSessions('folder')).toHaveLength(1);
  });

  it('take a uuid for an idempotency key: the first entry that has it stays', async () => {
    const entries = [entry({ uuid: 'a', n: 1 }), entry({ uuid: 'b', n: 1 })];
    await store.append(main, entries);
    await store.append(main, [entry({ uuid: 'b', n: 2 }), entry({ uuid: 'c', n: 2 })]);
    await store.append(main, entries);
    expect(await store.load(main)).toEqual([...entries, entry({ uuid: 'c', n: 2 })]);
  });

  it('give each subpath and each session uuids of its own', async () => {
    await store.append(main, [entry({ uuid: 'a', n: 1 })]);
    await store.append(agentOne, [entry({ uuid: 'a', n: 2 })]);
    await store.append({ ...main, sessionId: 'fork' }, [entry({ uuid: 'a', n: 3 })]);
    expect(await store.load(agentOne)).toEqual([entry({ uuid: 'a', n: 2 })]);
    expect(await store.load({ ...main, sessionId: 'fork' })).toEqual([entry({ uuid: 'a', n: 3 })]);
  });

  it('keep every entry without a uuid, equal ones too', async () => {
    await store.append(main, [entry({ mode: 'normal' })]);
    await store.append(main, [entry({ mode: 'normal' }), entry({ mode: 'normal' })]);
    expect(await store.load(main)).toHaveLength(3);
  });

  it('do not share objects with the caller', async () => {
    const mine = entry({ uuid: 'a', n: 1 });
    const appended = store.append(main, [mine]);
    mine['n'] = 2;
    await appended;
    const [first] = (await store.load(main)) ?? [];
    expect(first).toEqual(entry({ uuid: 'a', n: 1 }));
    if (first) first['n'] = 3;
    expect(await store.load(main)).toEqual([entry({ uuid: 'a', n: 1 })]);
  });

  it('give back any JSON deeply equal', async () => {
    const odd = entry({
      uuid: 'odd',
      text: 'quotes " \\ \u0000 \u0001 \u0002 \u0003 \ud800 \u2028 {"sessionId":"sess"}',
      nested: [{ a: null, b: [1e21, -1.5, true] }, [], {}, ''],
      sessionId: 'sess',
    });
    await store.append(main, [odd]);
    expect(await store.load(main)).toEqual([odd]);
  });
});

describe('listSessions', () => {
  it('names the sessions of the project with whole milliseconds of their last append', async () => {
    const before = Date.now();
    await store.append({ ...main, sessionId: 'a' }, [entry({ n: 1 })]);
    await store.append({ ...main, sessionId: 'b' }, [entry({ n: 1 })]);
    await otherProject.append({ ...main, sessionId: 'c' }, [entry({ n: 1 })]);
    const sessions = await store.listSessions('folder');
    expect(sessions.map(({ sessionId }) => sessionId).sort()).toEqual(['a', 'b']);
    for (const { mtime } of sessions) {
      expect(Number.isInteger(mtime)).toBe(true);
      expect(mtime).toBeGreaterThanOrEqual(before);
    }
  });

  it('says nothing of subpaths, and of a session that has nothing else', async () => {
    await store.append(main, [entry({ n: 1 })]);
    await store.append(agentOne, [entry({ n: 1 })]);
    await store.append({ ...agentOne, sessionId: 'only-agents' }, [entry({ n: 1 })]);
    expect((await store.listSessions('folder')).map(({ sessionId }) => sessionId)).toEqual([main.sessionId]);
  });

  it('is empty for a project without sessions', async () => {
    expect(await store.listSessions('folder')).toEqual([]);
  });
});

describe('listSubkeys', () => {
  it('names the subpaths of this session alone', async () => {
    await store.append(main, [entry({ n: 1 })]);
    await store.append(agentOne, [entry({ n: 1 })]);
    await store.append(agentOne, [entry({ n: 2 })]);
    await store.append(agentTwo, [entry({ n: 1 })]);
    await store.append({ ...main, sessionId: 'other', subpath: 'subagents/agent-x' }, [entry({ n: 1 })]);
    expect((await store.listSubkeys(main)).sort()).toEqual(['subagents/agent-1', 'subagents/agent-2']);
  });

  it('is empty without subpaths, and for a session that was never written', async () => {
    await store.append(main, [entry({ n: 1 })]);
    expect(await store.listSubkeys(main)).toEqual([]);
    expect(await store.listSubkeys({ ...main, sessionId: 'nope' })).toEqual([]);
  });
});

describe('delete', () => {
  it('removes a session with its subpaths, and nothing of other sessions and projects', async () => {
    const [fork, other] = [randomUUID(), randomUUID()].map((sessionId) => ({ ...main, sessionId })) as [
      SessionKey,
      SessionKey,
    ];
    for (const key of [main, agentOne, agentTwo, fork]) await store.append(key, [entry({ uuid: 'shared' })]);
    await otherProject.append(other, [entry({ uuid: 'shared' })]);
    await otherProject.delete(main);
    expect(uuids(await store.load(main))).toEqual(['shared']);
    await store.delete(main);
    for (const key of [main, agentOne, agentTwo]) expect(await store.load(key)).toBeNull();
    expect(await store.listSubkeys(main)).toEqual([]);
    expect((await store.listSessions('folder')).map(({ sessionId }) => sessionId)).toEqual([fork.sessionId]);
    expect(uuids(await store.load(fork))).toEqual(['shared']);
    expect(uuids(await otherProject.load(other))).toEqual(['shared']);
  });

  it('removes one subpath alone when the key names it', async () => {
    for (const key of [main, agentOne, agentTwo]) await store.append(key, [entry({ n: 1 })]);
    await store.delete(agentOne);
    expect(await store.load(agentOne)).toBeNull();
    expect(await store.load(agentTwo)).toHaveLength(1);
    expect(await store.load(main)).toHaveLength(1);
    expect(await store.listSubkeys(main)).toEqual(['subagents/agent-2']);
  });

  it('does nothing for a session that was never written', async () => {
    await store.delete({ ...main, sessionId: 'nope' });
    expect(await store.listSessions('folder')).toEqual([]);
  });

  it('lets the id be written anew', async () => {
    await store.append(main, [entry({ uuid: 'a' })]);
    await store.delete(main);
    await store.append(main, [entry({ uuid: 'b' })]);
    expect(uuids(await store.load(main))).toEqual(['b']);
  });
});

function storeOf(projectId: string): TranscriptStore {
  return createTranscriptStore({ pool: database.pool, projectId: parseProjectId(projectId) });
}

function entry(members: Record<string, unknown>): SessionStoreEntry {
  return { type: 'x', ...members };
}

function uuids(entries: SessionStoreEntry[] | null): unknown[] | undefined {
  return entries?.map(({ uuid }) => uuid);
}
