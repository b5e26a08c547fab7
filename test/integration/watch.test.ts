import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fastify, { type FastifyInstance } from 'fastify';
import { validatorCompiler } from 'fastify-type-provider-zod';
import type { ProjectEvent, SessionChain, StartedChain, WatchItem, WatchOptions } from '../../client/main.js';
import { createSessionChain } from '../../client/session-chain.js';
import type { SessionId } from '../../contracts/ids.js';
import { anonymous } from '../../server/caller.js';
import { problems } from '../../server/problems.js';
import { type StreamsOptions, streams } from '../../server/streams.js';
import { closeChain } from '../../storage/chains/chains.js';
import { createPool } from '../../storage/db/pool.js';
import { trimEvents } from '../../storage/events/trim.js';
import { createTranscriptStore, loadOwnEntries } from '../../storage/transcripts/store.js';
import { shownEntryOf } from '../../transcript/parts.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import {
  begin,
  beginWithTranscript,
  commitAttempt,
  newKey,
  noStatus,
  openNew,
  register,
} from '../support/chains.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** What an application and a viewer see of projects while they change. */

let stack: ChainStack;
let client: SessionChain;
beforeAll(async () => {
  stack = await startChainStack('watch', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  client = stack.sessionChain;
  await stack.startWorker();
});
afterAll(async () => {
  await client.close();
  await stack.stop();
});

const isEvent = (item: WatchItem): item is ProjectEvent => 'id' in item;
/** What names an item; live text has no name. */
const nameOf = (item: WatchItem): string =>
  item.type === 'live.entry' ? item.entryId : isEvent(item) ? `${item.type} ${item.id}` : item.type;
const stored = (items: readonly WatchItem[]) => items.filter(({ type }) => type !== 'live.text');

async function collect(items: AsyncIterable<WatchItem>, count = Infinity): Promise<WatchItem[]> {
  const collected: WatchItem[] = [];
  if (count > 0) for await (const item of items) if (collected.push(item) >= count) break;
  return collected;
}

/** A viewer that connects anew after every item. */
async function collectOneByOne(key: StartedChain, options: WatchOptions = {}): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  for (;;) {
    const after = items.at(-1)?.cursor ?? options.after;
    const [item] = await collect(client.watch(key, { ...options, ...(after ? { after } : {}) }), 1);
    if (!item) return items;
    items.push(item);
  }
}

/** A queued chain, without a workflow: its one event is `chain.queued`. */
async function queueChain(projectId?: string) {
  const key = newKey(projectId);
  await register(stack.database.pool, key);
  return key;
}

const codeOf = async (call: () => unknown): Promise<unknown> => {
  try {
    await call();
    return 'none';
  } catch (error) {
    return (error as { code: unknown }).code;
  }
};
const first = async (items: AsyncIterable<WatchItem>) => (await collect(items, 1))[0];

let started: StartedChain;
let items: WatchItem[];

describe('a chain', () => {
  let oneByOne: WatchItem[];
  beforeAll(async () => {
    started = await client.start({ ...stack.request(), instruction: 'Add a search field' });
    [items, oneByOne] = await Promise.all([collect(client.watch(started)), collectOneByOne(started)]);
  });

  it('is seen from its start to its end', () => {
    const events = items.filter(isEvent);
    expect(events.map(({ type }) => type)).toEqual([
      'chain.queued',
      'chain.opened',
      ...Array.from({ length: 4 }, () => ['step.started', 'step.committed', 'head.moved']).flat(),
      'chain.closed',
    ]);
    expect(events.map(({ id }) => id)).toEqual(events.map(({ id }) => id).sort((one, other) => one - other));
    expect(new Set(items.map(({ cursor }) => cursor)).size).toBe(items.length);
  });

  it('shows each entry that its steps store, once and in order, and none of the sessions that they fork', async () => {
    const transitions = (await client.transitions(started.projectId)).reverse();
    const sessions = transitions.map(({ newSessionId, parentSessionId }) => ({
      sessionId: newSessionId,
      baseSessionId: parentSessionId,
    }));
    const own = await loadOwnEntries(stack.database.pool, started.projectId, sessions);
    const expected = sessions.flatMap(({ sessionId }) =>
      (own.get(sessionId)?.main ?? []).flatMap((entry) => (shownEntryOf(entry) ? [entry.uuid] : [])),
    );
    const entries = items.filter((item) => item.type === 'live.entry');
    expect(entries.map(({ entryId }) => entryId)).toEqual(expected);
    const calls = entries.flatMap(({ parts }) => parts).filter(({ kind }) => kind === 'tool_call');
    expect(calls).toContainEqual(expect.objectContaining({ name: 'Write' }));
    // Between the beginning of their step and its end.
    for (const { step } of entries) {
      const places = items.flatMap((item, place) => {
        const isOfStep = isEvent(item)
          ? (item.data as { step?: string }).step === step
          : item.type === 'live.entry' && item.step === step;
        return isOfStep ? [[place, item.type] as const] : [];
      });
      expect(places[0]?.[1]).toBe('step.started');
      expect(places.at(-1)?.[1]).toBe('step.committed');
    }
  });

  it('shows what the model writes, each message of which becomes an entry', () => {
    const said = items.filter((item) => item.type === 'live.text');
    expect(said.length).toBeGreaterThan(0);
    for (const { attemptId, message } of said) {
      const pieces = said.filter((piece) => piece.attemptId === attemptId && piece.message === message);
      const whole = pieces.map(({ text }) => text).join('');
      // Best effort: on a busy machine a piece may come after its entry.
      const entry = items.find(
        (item) =>
          item.type === 'live.entry' &&
          item.attemptId === attemptId &&
          item.parts.some((part) => part.kind === 'text' && part.text === whole),
      );
      expect([whole, entry?.type]).toEqual([whole, 'live.entry']);
    }
  });

  it('shows no entry of the session that an attempt forks, not even one that the fork writes anew', async () => {
    const { pool } = stack.database;
    const chain = await openNew(pool);
    const { projectId } = chain;
    const store = createTranscriptStore({ pool, projectId });
    const said = (uuid: string, words: string) => ({
      ...{ type: 'user', uuid, message: { role: 'user', content: words } },
    });
    const append = async (sessionId: SessionId, entries: ReturnType<typeof said>[]) =>
      await store.append(
        { projectKey: '-', sessionId },
        entries.map((entry) => ({ ...entry, sessionId })),
      );
    const built = await beginWithTranscript(pool, chain, 'build');
    const [kept, cut, own] = [randomUUID(), randomUUID(), randomUUID()];
    await append(built.sessionId, [said(kept, 'kept'), said(cut, 'cut')]);
    chain.head = (await commitAttempt(pool, built, chain.head)).newSessionId;
    const begun = await begin(pool, chain, 'docs');
    if (begun.outcome !== 'begun') throw new Error('It is committed already.');
    const { attempt } = begun;
    await append(attempt.sessionId, [said(kept, 'kept'), said(cut, 'cut short'), said(own, 'own')]);
    await commitAttempt(pool, attempt, chain.head);
    const { ticket, runId } = chain;
    const head = { sessionId: attempt.sessionId, seq: 2 };
    const result = { status: 'completed' as const, head, steps: [], warnings: [] };
    await closeChain(pool, chain, { ticket, runId, result, versionStatus: noStatus });
    const items = await collect(client.watch(chain));
    const shown = items.flatMap((item) =>
      item.type === 'live.entry' ? [[item.attemptId, item.entryId]] : [],
    );
    expect(shown.slice(1)).toEqual([
      [built.attemptId, kept],
      [built.attemptId, cut],
      [attempt.attemptId, own],
    ]);
  });

  it('that is watched anew after every item loses none and repeats none, while it runs and later', async () => {
    const expected = stored(items).map(nameOf);
    expect(stored(oneByOne).map(nameOf)).toEqual(expected);
    expect(stored(await collectOneByOne(started)).map(nameOf)).toEqual(expected);
    expect(stored(await collect(client.watch(started, { after: '0', pageSize: 1 }))).map(nameOf)).toEqual(
      expected,
    );
    // A page's cursor says nothing of the running step: its entries are shown from their first one.
    const begun = items.find(({ type }) => type === 'step.started') as ProjectEvent;
    const later = await collect(client.watch(started, { after: String(begun.id) }));
    expect(stored(later).map(nameOf)).toEqual(expected.slice(expected.indexOf(nameOf(begun)) + 1));
  });

  it('that is closed ends its watch, wherever it begins, and live items are left out where they are not wanted', async () => {
    const last = items.at(-1);
    expect(await collect(client.watch(started, { after: last?.cursor ?? '' }))).toEqual([]);
    expect(await collect(client.watch(started, { after: 'now' }))).toEqual([]);
    const events = await collect(client.watch(started, { live: false }));
    expect(events.map(nameOf)).toEqual(items.filter(isEvent).map(nameOf));
    expect(events.map(({ cursor }) => cursor)).toEqual(items.filter(isEvent).map(({ id }) => String(id)));
  });

  it('reads as pages', async () => {
    const pages: ProjectEvent[] = [];
    for (let after = '0', hasMore = true; hasMore;) {
      const page = await client.events(started, { after, limit: 4 });
      pages.push(...page.events);
      ({ nextCursor: after, hasMore } = page);
    }
    expect(pages.map(nameOf)).toEqual(items.filter(isEvent).map(nameOf));
  });

  it("shows the answer to a question of its project, as `ask` does, in the project's watch", async () => {
    const stop = new AbortController();
    const { nextCursor: after } = await client.events(started.projectId, { after: 'now' });
    const watched = client.watch(started.projectId, { after, signal: stop.signal });
    const seen: WatchItem[] = [];
    const answered = (async () => {
      for await (const item of watched) {
        seen.push(item);
        if (item.type === 'question.answered') stop.abort();
      }
    })();
    const chunks: string[] = [];
    const { reply, questionId } = await client.ask(
      { projectId: started.projectId, text: 'Which file holds the look of the page?', aside: true },
      { onChunk: ({ message, text }) => (chunks[message] = (chunks[message] ?? '') + text) },
    );
    await answered;
    expect(chunks.at(-1)).toBe(reply);
    expect(seen.filter(isEvent).map(({ type }) => type)).toEqual([
      'question.asked',
      'question.started',
      'question.answered',
    ]);
    const live = seen.filter((item) => item.type === 'live.entry');
    expect(live.every((item) => item.questionId === questionId && item.step === null)).toBe(true);
    expect(live.at(-1)?.parts).toContainEqual({ kind: 'text', text: reply });
    expect(seen).toContainEqual(expect.objectContaining({ type: 'live.text', questionId }));
  });
});

describe('a watch', () => {
  it('of 200 projects gets by with one connection, which is free while they wait', async () => {
    const { temporal, database } = stack;
    const pool = createPool(database.url, { applicationName: 'many watchers', max: 1 });
    const many = createSessionChain({ pool, temporal });
    const projectIds = Array.from({ length: 200 }, (_, number) => `many-${number}`);
    await database.pool.query('INSERT INTO projects (project_id) SELECT unnest($1::text[])', [projectIds]);
    const happen = async () =>
      await database.pool.query(
        `INSERT INTO session_chain.events (id, project_id, type) OVERRIDING SYSTEM VALUE
         SELECT session_chain.new_id('session_chain.events_id_seq'), unnest($1::text[]), 'head.moved'`,
        [projectIds],
      );
    await happen();
    const watches = projectIds.map((projectId) => many.watch(projectId, { after: '0' }));
    const projectOf = async (watch: AsyncGenerator<WatchItem>) =>
      ((await watch.next()).value as ProjectEvent).projectId;
    expect(await Promise.all(watches.map(projectOf))).toEqual(projectIds);
    const next = watches.map(projectOf);
    await until(async () => {
      const { rows } = await database.pool.query(
        `SELECT FROM pg_stat_activity
         WHERE application_name = 'many watchers' AND state = 'idle' AND query ~ 'unnest.*through'`,
      );
      return rows.length === 1;
    });
    expect((await many.head(projectIds[0] ?? '')).sessionId).toBeNull();
    await happen();
    expect(await Promise.all(next)).toEqual(projectIds);
    // Those that wait end with their client.
    const pending = watches.map(async (watch) => await watch.next());
    await many.close();
    expect((await Promise.all(pending)).every(({ done }) => done)).toBe(true);
    await pool.end();
  });

  it('over all projects shows every event once, and no live items', async () => {
    const { nextCursor } = await client.events({ all: true }, { after: 'now' });
    const keys = await Promise.all(Array.from({ length: 20 }, async () => await queueChain()));
    const seen = await collect(client.watch({ all: true }, { after: nextCursor, pageSize: 3 }), keys.length);
    expect(new Set(seen.filter(isEvent).map(({ projectId }) => projectId))).toEqual(
      new Set(keys.map(({ projectId }) => projectId)),
    );
    expect(await codeOf(() => client.watch({ all: true }, { live: true }))).toBe('INVALID_INPUT');
  });

  it('that nobody pulls holds up nothing, and goes on where it was', async () => {
    const { projectId } = await queueChain();
    const watch = client.watch(projectId, { after: '0', pageSize: 2 });
    expect((await watch.next()).value).toMatchObject({ type: 'chain.queued' });
    const keys = [];
    for (let count = 0; count < 10; count++) keys.push(await queueChain(projectId));
    const rest = await collect(watch, keys.length);
    expect(rest.map((item) => (item as ProjectEvent).versionId)).toEqual(
      keys.map(({ versionId }) => versionId),
    );
  });

  it('ends with its signal, before, between and while it waits', async () => {
    const { projectId } = await queueChain();
    expect(await collect(client.watch(projectId, { after: '0', signal: AbortSignal.abort() }))).toEqual([]);
    const stop = new AbortController();
    const watch = client.watch(projectId, { after: '0', signal: stop.signal });
    await watch.next();
    const waiting = watch.next();
    await turn();
    stop.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
  });

  it('tells of a gap where events were trimmed or lost, and goes on behind it', async () => {
    const { pool } = stack.database;
    const key = await queueChain();
    const { events } = await client.events(key);
    const before = events[0]?.cursor ?? '';
    await queueChain(key.projectId);
    await pool.query(`UPDATE session_chain.events SET at = at - interval '40 days' WHERE project_id = $1`, [
      key.projectId,
    ]);
    await trimEvents(pool, 30);
    const seen = await collect(client.watch(key.projectId, { after: before }), 1);
    expect(seen).toMatchObject([{ type: 'gap', reason: 'trimmed' }]);
    expect(await first(client.watch(key))).toMatchObject({ type: 'gap', reason: 'trimmed' });
    const page = await client.events(key.projectId, { after: before });
    expect(page).toMatchObject({ events: [], gap: { reason: 'trimmed' } });
    const later = await queueChain(key.projectId);
    expect(await collect(client.watch(key.projectId, { after: seen[0]?.cursor ?? '' }), 1)).toMatchObject([
      { type: 'chain.queued', versionId: later.versionId },
    ]);
    const lost = client.watch(key.projectId, { after: '8000000000000000~77:3.1.9' });
    expect(await collect(lost, 1)).toMatchObject([{ type: 'gap', reason: 'ahead' }]);
  });

  it('goes on when the database was away', async () => {
    const proxy = await startTcpProxy(stack.database.url);
    const other = createSessionChain({ databaseUrl: proxy.url, temporal: stack.temporal });
    try {
      const { projectId } = await queueChain();
      const watch = other.watch(projectId, { after: '0' });
      await watch.next();
      const next = watch.next();
      await proxy.cut();
      const { versionId } = await queueChain(projectId);
      await proxy.restore();
      expect((await next).value).toMatchObject({ type: 'chain.queued', versionId });
      const again = watch.next();
      const { rows } = await stack.database.pool.query<{ count: number }>(
        `SELECT count(pg_terminate_backend(pid))::integer FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'session-chain client'`,
      );
      expect(rows[0]?.count).toBeGreaterThan(0);
      const third = await queueChain(projectId);
      expect((await again).value).toMatchObject({ versionId: third.versionId });
    } finally {
      await other.close();
      await proxy.stop();
    }
  });

  it('of what is not there, or cannot be, says so', async () => {
    const { projectId } = await queueChain();
    const foreign = await queueChain();
    const refused = async (subject: unknown, options?: unknown) =>
      await codeOf(async () => await first(client.watch(subject as string, options as WatchOptions)));
    for (const after of [
      '',
      '-1',
      '1e3',
      '01',
      '12~',
      '12~x',
      '12~1:1.1',
      '12 ',
      '9'.repeat(20),
      '１',
      'nOw',
      `${'1~2:3.4.5'},`,
      5,
    ]) {
      const code = after === '12~' ? 'none' : 'INVALID_INPUT';
      expect([after, code === 'none' ? code : await refused(projectId, { after })]).toEqual([after, code]);
    }
    for (const [subject, options] of [
      ['..'],
      [null],
      [{}],
      [{ all: false }],
      [{ projectId }],
      [projectId, { from: '0' }],
      [projectId, { pageSize: 0 }],
      [projectId, { signal: {} }],
    ]) {
      expect([subject, await refused(subject, options)]).toEqual([subject, 'INVALID_INPUT']);
    }
    expect(await refused('nowhere')).toBe('PROJECT_NOT_FOUND');
    expect(await refused({ projectId, versionId: foreign.versionId })).toBe('CHAIN_NOT_FOUND');
    // The attempts that a cursor of another project names are not shown.
    const { rows } = await stack.database.pool.query<{ id: number }>(
      'SELECT max(id) AS id FROM session_chain.attempts',
    );
    const { nextCursor } = await client.events(projectId, { after: 'now' });
    const stop = new AbortController();
    const watch = client.watch(projectId, {
      after: `${nextCursor.split('~')[0]}~${rows[0]?.id}:1.0.0`,
      signal: stop.signal,
    });
    const next = watch.next();
    await queueChain(projectId);
    expect((await next).value).toMatchObject({
      type: 'chain.queued',
      projectId,
      cursor: expect.stringMatching(/~$/),
    });
    stop.abort();
  });
});

describe('a stream', () => {
  const apps: FastifyInstance[] = [];
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.close()));
  });

  async function serve(
    options: Partial<StreamsOptions> = {},
  ): Promise<{ app: FastifyInstance; url: string }> {
    const app = fastify();
    app.setValidatorCompiler(validatorCompiler);
    app.setSerializerCompiler(() => (value) => JSON.stringify(value));
    problems(app);
    app.addHook('onRequest', async (request) => void (request.caller = anonymous));
    await streams(app, { sessionChain: client, ...options });
    apps.push(app);
    return { app, url: await app.listen({ host: '127.0.0.1', port: 0 }) };
  }

  interface Sent {
    id?: string;
    event?: string;
    data?: string;
  }

  async function* read(url: string, headers: Record<string, string> = {}): AsyncGenerator<Sent> {
    const response = await fetch(url, { headers });
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'text/event-stream; charset=utf-8',
    ]);
    expect(response.headers.get('cache-control')).toBe('no-cache, no-transform');
    let text = '';
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      const messages = text.split('\n\n');
      text = messages.pop() ?? '';
      for (const message of messages) {
        yield Object.fromEntries(
          message.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)),
        ) as Sent;
      }
    }
  }

  async function take(messages: AsyncIterable<Sent>, isLast: (sent: Sent) => boolean): Promise<Sent[]> {
    const taken: Sent[] = [];
    for await (const sent of messages) {
      taken.push(sent);
      if (isLast(sent)) break;
    }
    return taken;
  }
  const isEnd = ({ event }: Sent) => event === 'end';
  const named = (sent: readonly Sent[]) =>
    stored(
      sent
        .filter(({ event }) => event !== 'ping' && event !== 'end')
        .map(({ data }) => JSON.parse(data ?? '') as WatchItem),
    ).map(nameOf);

  it('of a chain is what its watch is, ends with it, and is resumed by Last-Event-ID', async () => {
    const { url } = await serve();
    const path = `${url}/v1/projects/${started.projectId}/chains/${started.versionId}/${started.buildId}/events`;
    const whole = await take(read(`${path}/stream`), isEnd);
    expect(named(whole)).toEqual(stored(items).map(nameOf));
    expect(whole.at(-1)).toMatchObject({
      event: 'end',
      data: '{"reason":"closed"}',
      id: items.at(-1)?.cursor,
    });
    const middle = whole[Math.floor(whole.length / 2)]?.id ?? '';
    const rest = await take(read(`${path}/stream?after=0`, { 'last-event-id': middle }), isEnd);
    expect(named(rest)).toEqual(named(whole.slice(whole.findIndex(({ id }) => id === middle) + 1)));
    const page = await (await fetch(`${path}?limit=3`)).json();
    expect(page).toMatchObject({ events: [{ type: 'chain.queued' }, {}, {}], hasMore: true, gap: null });
  });

  it('says where it begins, pings, tells of a gap, and ends with its server', async () => {
    const { app, url } = await serve({ pingMs: 20 });
    const { projectId } = await queueChain();
    const path = `${url}/v1/projects/${projectId}/events/stream`;
    let pings = 0;
    const [begin] = await take(read(path), () => (pings += 1) === 3);
    expect(begin).toMatchObject({ event: 'ping', id: expect.stringMatching(/^\d+~$/) });
    const later = await queueChain(projectId);
    const viewer = read(`${path}?after=${begin?.id}`);
    const sent = await take(viewer, ({ event }) => event === 'chain.queued');
    expect(JSON.parse(sent.at(-1)?.data ?? '')).toMatchObject({ versionId: later.versionId });
    const gap = await take(read(`${path}?after=8000000000000000`), ({ event }) => event === 'gap');
    expect(JSON.parse(gap.at(-1)?.data ?? '')).toMatchObject({ reason: 'ahead' });
    const last = read(path);
    await last.next();
    const [ended] = await Promise.all([take(last, isEnd), app.close()]);
    expect(ended.at(-1)?.data).toBe('{"reason":"draining"}');
  });

  it('that cannot be is a problem', async () => {
    const { url } = await serve();
    const { projectId, versionId, buildId } = await queueChain();
    const problemAt = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${url}${path}`, { headers });
      expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      return [response.status, ((await response.json()) as { code?: string }).code];
    };
    for (const [path, status, code] of [
      ['/v1/events/stream?after=x', 400, 'INVALID_INPUT'],
      ['/v1/events?after=1~2', 400, 'INVALID_INPUT'],
      ['/v1/events?limit=', 400, 'INVALID_INPUT'],
      ['/v1/events?limit=1e2', 400, 'INVALID_INPUT'],
      ['/v1/events?limit=1&limit=2', 400, 'INVALID_INPUT'],
      ['/v1/projects/%20/events/stream', 400, 'INVALID_INPUT'],
      ['/v1/events/stream?live=true', 400, 'INVALID_INPUT'],
      ['/v1/projects/nowhere/events/stream', 404, 'PROJECT_NOT_FOUND'],
      ['/v1/projects/%2e%2e%2f/events', 400, 'INVALID_INPUT'],
      [`/v1/projects/nowhere/chains/${versionId}/${buildId}/events/stream`, 404, 'CHAIN_NOT_FOUND'],
    ]) {
      expect([path, ...(await problemAt(String(path)))]).toEqual([path, status, code]);
    }
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'from=0']) {
      expect([query, (await problemAt(`/v1/projects/${projectId}/events?${query}`))[0]]).toEqual([
        query,
        400,
      ]);
    }
    expect((await problemAt('/v1/events/stream?live=perhaps'))[0]).toBe(400);
    expect((await problemAt('/v1/events/stream', { 'last-event-id': 'x' }))[0]).toBe(400);
  });

  it('too many is refused, and a viewer that leaves makes room', async () => {
    for (const [limits, status] of [
      [{ maxStreams: 1 }, 503],
      [{ maxStreamsOfKey: 1 }, 429],
    ] as const) {
      const { url } = await serve(limits);
      const viewer = read(`${url}/v1/events/stream`);
      await viewer.next();
      const refused = await fetch(`${url}/v1/events/stream`);
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([status, '5']);
      expect((await fetch(`${url}/v1/events?limit=1`)).status).toBe(200);
      await viewer.return(undefined);
      await until(async () => {
        const response = await fetch(`${url}/v1/events/stream`);
        await response.body?.cancel();
        return response.status === 200;
      });
    }
  });

  it('whose viewer never reads is cut off, and holds no more than a page meanwhile', async () => {
    const { app, url } = await serve({ stallMs: 500 });
    const { projectId } = await queueChain();
    await stack.database.pool.query(
      `INSERT INTO session_chain.events (id, project_id, type, data) OVERRIDING SYSTEM VALUE
       SELECT session_chain.new_id('session_chain.events_id_seq'), $1, 'head.moved', jsonb_build_object('x', repeat('x', 2000))
       FROM generate_series(1, 10000)`,
      [projectId],
    );
    const accepted = once(app.server, 'connection') as Promise<[Socket]>;
    const viewer = connect(Number(new URL(url).port), '127.0.0.1');
    viewer.on('error', () => undefined).pause();
    viewer.write(`GET /v1/projects/${projectId}/events/stream?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    const [socket] = await accepted;
    let held = 0;
    await until(() => {
      held = Math.max(held, socket.writableLength);
      return socket.destroyed;
    });
    expect(held).toBeLessThan(300_000);
    expect(socket.bytesWritten).toBeLessThan(15_000_000);
    viewer.destroy();
    // One that reads gets them all; with the usual time, for a busy machine may hold up one that is not slow.
    const { url: patient } = await serve();
    let count = 0;
    await take(read(`${patient}/v1/projects/${projectId}/events/stream?after=0`), ({ event }) => {
      if (event === 'head.moved') count += 1;
      return count === 10_000;
    });
    expect(count).toBe(10_000);
  });
});
