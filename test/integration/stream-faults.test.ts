import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type Browser, type BrowserContext, chromium } from 'playwright-core';
import { type Keys, createKeys } from '../../client/keys.js';
import type { ProjectEvent, SessionChain, StartedChain, WatchItem } from '../../client/main.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { freePorts } from '../../dev/ports.js';
import { type Postgres, startPostgres } from '../../dev/postgres.js';
import { type HttpStreamError, type StreamSubject, createHttpClient } from '../../http/client.js';
import { type SseMessage, messagesOf } from '../../http/sse.js';
import { createApp } from '../../server/app.js';
import { migrate } from '../../storage/db/migrate.js';
import { type Pool, createPool } from '../../storage/db/pool.js';
import { trimEvents } from '../../storage/events/trim.js';
import { loadOwnEntries } from '../../storage/transcripts/store.js';
import { shownEntryOf } from '../../transcript/parts.js';
import { type ChainStack, type TestWorker, startChainStack, until } from '../support/chain-stack.js';
import { newKey, register } from '../support/chains.js';
import { testProgram } from '../support/programs.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** What viewers see over HTTP, in a browser and elsewhere, while the server, the worker and Postgres are killed, and of bad viewers. */

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'session-chain-streams-'));
// Under root another user runs Postgres and must reach its data.
chmodSync(folder, 0o711);
const postgresOptions = { dataDir: join(folder, 'data'), logFile: join(folder, 'log'), durable: true };

let postgres: Postgres;
let stack: ChainStack;
let client: SessionChain;
let keys: Keys;
let worker: TestWorker;
let server: ServerProcess;
let key: string;
let browser: Browser;
let pages: Server;
let origin: string;
let port: number;
beforeAll(async () => {
  pages = createServer(servePage).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
  ({ port } = await freePorts({ port: undefined }));
  postgres = await startPostgres(postgresOptions);
  await migrate(postgres.url);
  const pool = createPool(postgres.url, { applicationName: 'test', max: 64 });
  stack = await startChainStack('stream-faults', {
    database: {
      url: postgres.url,
      pool,
      backUp: () => Promise.reject(new Error('The cluster is not copied.')),
      drop: () => pool.end(),
    },
  });
  client = stack.sessionChain;
  keys = createKeys(pool);
  key = await newReader();
  [worker, server, browser] = await Promise.all([
    stack.startWorker(),
    startServer(),
    chromium.launch({ executablePath: testProgram('chromium'), args: ['--no-sandbox', '--disable-gpu'] }),
  ]);
});
afterAll(async () => {
  await browser?.close();
  server?.process.kill('SIGKILL');
  pages?.close();
  await client?.close();
  await stack?.stop();
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function newReader(...projects: string[]): Promise<string> {
  const { key } = await keys.create({
    name: 'a viewer',
    scope: 'read',
    ...(projects.length > 0 ? { projects } : {}),
  });
  return key;
}

interface ServerProcess {
  process: ChildProcess;
  exited: Promise<[code: number | null, signal: string | null]>;
  url: string;
  log(): string;
}

/** `session-chain serve` as a process, always on the same port, once it listens. */
async function startServer(environment: Record<string, string> = {}): Promise<ServerProcess> {
  const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'serve'], {
    cwd: '/',
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: postgres.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
      SESSION_CHAIN_WORKSPACE_ROOTS: stack.root,
      SESSION_CHAIN_HTTP_PORT: String(port),
      SESSION_CHAIN_HTTP_ORIGINS: origin,
      SESSION_CHAIN_SHUTDOWN_GRACE_MS: '10000',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (data: Buffer) => (log += data.toString()));
  const exited = once(child, 'exit') as ServerProcess['exited'];
  await until(() => {
    if (child.exitCode !== null) throw new Error(`The server did not start: ${log}`);
    return log.includes('The server listens on ');
  });
  return { process: child, exited, url: `http://127.0.0.1:${port}`, log: () => log };
}

/** What the pages of the browser consist of: the client as it is built, without a bundler. */
function servePage({ url = '' }: IncomingMessage, response: ServerResponse): void {
  const files: Record<string, [type: string, content: () => string | Buffer]> = {
    '/': ['text/html', () => page],
    '/http/client.js': ['text/javascript', () => readFileSync(join(root, 'dist/http/client.js'))],
    '/http/sse.js': ['text/javascript', () => readFileSync(join(root, 'dist/http/sse.js'))],
    '/openapi-fetch.js': [
      'text/javascript',
      () => readFileSync(join(root, 'node_modules/openapi-fetch/dist/index.mjs')),
    ],
  };
  const [type, content] = files[url] ?? ['text/plain', () => ''];
  response.writeHead(url in files ? 200 : 404, { 'content-type': type }).end(content());
}

const page = `<!doctype html>
<script type="importmap">{ "imports": { "openapi-fetch": "/openapi-fetch.js" } }</script>
<script type="module">
  import { createHttpClient } from '/http/client.js';
  const { key, baseUrl, subject } = await settings();
  const http = createHttpClient({ baseUrl, key });
  for await (const item of http.streamEvents(subject, { after: '0' })) await saw(item);
  await isOver();
</script>`;

/** What a viewer has seen so far, and whether its stream has ended. */
interface Viewer {
  items: WatchItem[];
  isOver(): boolean;
  leave(): Promise<void>;
}

function view(subject: StreamSubject, after = '0', withKey = key): Viewer & { error(): unknown } {
  const items: WatchItem[] = [];
  const stop = new AbortController();
  let over = false;
  let failure: unknown;
  const seen = (async () => {
    const http = createHttpClient({ baseUrl: `http://127.0.0.1:${port}`, key: withKey });
    for await (const item of http.streamEvents(subject, { after, signal: stop.signal })) items.push(item);
  })()
    .catch((error: unknown) => (failure = error))
    .finally(() => (over = true));
  return {
    items,
    isOver: () => over,
    error: () => failure,
    leave: async () => {
      stop.abort();
      await seen;
    },
  };
}

async function viewInBrowser(subject: StreamSubject): Promise<Viewer> {
  const items: WatchItem[] = [];
  let over = false;
  const context = await browser.newContext();
  await context.exposeFunction('settings', () => ({ key, baseUrl: `http://127.0.0.1:${port}`, subject }));
  await context.exposeFunction('saw', (item: WatchItem) => void items.push(item));
  await context.exposeFunction('isOver', () => void (over = true));
  await open(context, origin);
  return { items, isOver: () => over, leave: () => context.close() };
}

async function open(context: BrowserContext, url: string) {
  const page = await context.newPage();
  page.on('pageerror', (error) => {
    throw error;
  });
  await page.goto(url);
  return page;
}

const isEvent = (item: WatchItem): item is ProjectEvent => 'id' in item;
const isStored = ({ type }: WatchItem) => type !== 'live.text';
const eventsOf = (items: readonly WatchItem[]) =>
  items.filter(isEvent).map(({ id, type }) => `${id} ${type}`);

/** The events of a project and the entries of its attempts, as the tables have them. */
async function storedOf(pool: Pool, projectId: ProjectId) {
  const { rows: events } = await pool.query<{ name: string; id: number }>(
    `SELECT id || ' ' || type AS name, id FROM session_chain.events WHERE project_id = $1 ORDER BY id`,
    [projectId],
  );
  const { rows: attempts } = await pool.query<{ id: string; sessionId: SessionId; baseSessionId: SessionId }>(
    `SELECT a.id::text, session_id AS "sessionId", s.parent_session_id AS "baseSessionId"
     FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
     WHERE project_id = $1 ORDER BY a.id`,
    [projectId],
  );
  const own = await loadOwnEntries(pool, projectId, attempts);
  const entries = attempts.flatMap(({ id, sessionId }) =>
    (own.get(sessionId)?.main ?? []).flatMap((entry) => (shownEntryOf(entry) ? [`${id} ${entry.uuid}`] : [])),
  );
  return { events: events.map(({ name }) => name), newest: events.at(-1)?.id ?? 0, entries };
}

/** Each attempt's entries come between the event that begins it and the one that ends it. */
function requirePlaces(items: readonly WatchItem[]): void {
  let running: string | null = null;
  for (const item of items) {
    if (item.type === 'step.started') running = item.data.attemptId;
    if (item.type === 'live.entry') expect([item.entryId, item.attemptId]).toEqual([item.entryId, running]);
    if (item.type === 'step.committed' || item.type === 'step.failed' || item.type === 'chain.closed')
      running = null;
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const strikes = {
  async server() {
    server.process.kill('SIGKILL');
    await server.exited;
    server = await startServer();
  },
  async worker() {
    await worker.kill('SIGKILL');
    worker = await stack.startWorker();
  },
  async postgres() {
    process.kill(postgres.pid, 'SIGKILL');
    await postgres.exited;
    postgres = await startPostgres({ ...postgresOptions, port: postgres.port });
  },
  /** One of its processes is killed, and it ends all the others and recovers. */
  async connection() {
    const { rows } = await stack.database.pool.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'session-chain server' LIMIT 1`,
    );
    if (rows[0]) process.kill(rows[0].pid, 'SIGKILL');
    await until(
      async () =>
        await stack.database.pool.query('SELECT 1').then(
          () => true,
          () => false,
        ),
    );
  },
};

let built: StartedChain[];
let viewers: Viewer[];

it('shows every event and entry once and in order, in a browser, too, whatever is killed', async () => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now());
  const random = randomOf(seed);
  const order = ['server', 'postgres', 'worker', 'server', 'connection'] as (keyof typeof strikes)[];
  const left = order.map((what) => ({ what, at: random() })).sort((one, other) => one.at - other.at);
  const request = stack.request();
  const { projectId } = request;
  await client.start({ ...request, instruction: 'Add a search field' });
  const inBrowser = await viewInBrowser({ projectId });
  const ofProject = view({ projectId });
  const ofAll = view({ all: true });
  const ofChains: Viewer[] = [];
  built = [];
  for (let number = 1; number === 1 || left.length > 0; number++) {
    const versionId = number === 1 ? request.versionId : newKey(projectId).versionId;
    // The first is known already, and is returned as it is.
    const started = await client.start({ ...request, versionId, instruction: 'Add a search field' });
    built.push(started);
    const ofChain = view(started);
    ofChains.push(ofChain);
    while (left.length > 0 && !ofChain.isOver()) {
      const goal = inBrowser.items.length + 1 + Math.floor(random() * 12);
      await until(() => inBrowser.items.length >= goal || ofChain.isOver());
      const next = ofChain.isOver() ? undefined : left.shift();
      if (next) await strikes[next.what]();
    }
    await until(() => ofChain.isOver());
  }
  const stored = await storedOf(stack.database.pool, request.projectId as ProjectId);
  viewers = [inBrowser, ofProject, ofAll];
  await until(() => viewers.every(({ items }) => items.findLast(isEvent)?.id === stored.newest));
  await Promise.all(viewers.map((viewer) => viewer.leave()));
  // With the seed, which repeats the order of the kills and the distances between them.
  for (const { items } of viewers) expect([seed, ...eventsOf(items)]).toEqual([seed, ...stored.events]);
  for (const { items } of [inBrowser, ofProject, { items: ofChains.flatMap(({ items }) => items) }]) {
    const entries = items.filter((item) => item.type === 'live.entry');
    const shown = entries.map(({ attemptId, entryId }) => `${attemptId} ${entryId}`);
    expect([seed, ...shown]).toEqual([seed, ...stored.entries]);
    requirePlaces(items);
  }
  expect(inBrowser.items.filter(({ type }) => type === 'chain.closed')).toHaveLength(built.length);
  expect(inBrowser.items.some((item) => item.type === 'live.entry')).toBe(true);
});

const bearer = (withKey: string) => ({ authorization: `Bearer ${withKey}` });
const streamOf = (projectId: string) => `/v1/projects/${projectId}/events/stream`;

/** A project with one event. */
async function newProject(): Promise<ProjectId> {
  const { projectId } = await happen();
  return projectId;
}

/** One more event of a project. */
async function happen(projectId?: string) {
  const made = newKey(projectId);
  await register(stack.database.pool, made);
  return made;
}

/** The messages of a stream as they are sent, without resuming. */
async function read(url: string, withKey: string): Promise<AsyncGenerator<SseMessage>> {
  const response = await fetch(url, { headers: bearer(withKey) });
  expect(response.status).toBe(200);
  return messagesOf(response.body as ReadableStream<Uint8Array>);
}

async function lastOf(messages: AsyncIterable<SseMessage>): Promise<SseMessage | undefined> {
  let last: SseMessage | undefined;
  for await (const message of messages) last = message;
  return last;
}

/** A viewer that reads nothing unless it is told to: a bare connection, with the request for a stream sent. */
async function bareViewer(path: string, withKey: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined).pause();
  await once(socket, 'connect');
  const lines = [`GET ${path} HTTP/1.1`, 'host: localhost', `authorization: Bearer ${withKey}`];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  return socket;
}

/** The status with which a bare viewer is answered. */
async function statusOf(socket: Socket): Promise<number> {
  const answered = once(socket, 'data') as Promise<[Buffer]>;
  socket.resume();
  const [head] = await answered;
  socket.pause();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(head.toString())?.[1]);
}

it('goes on in an EventSource of a page of the server, by its cookie, when its connections break', async () => {
  const projectId = built[0]?.projectId as ProjectId;
  const proxy = await startTcpProxy(server.url);
  const context = await browser.newContext();
  try {
    const codes = await fetch(new URL('/v1/codes', proxy.url), { method: 'POST', headers: bearer(key) });
    const { url } = (await codes.json()) as { url: string };
    const items: WatchItem[] = [];
    await context.exposeFunction('saw', (data: string) => void items.push(JSON.parse(data) as WatchItem));
    const types = [...new Set((viewers[0]?.items ?? []).map(({ type }) => type)), 'gap'];
    const body = `<!doctype html><script>
      const source = new EventSource('${streamOf(projectId)}?after=0');
      for (const type of ${JSON.stringify(types)}) source.addEventListener(type, ({ data }) => saw(data));
    </script>`;
    await context.route('**/page', (route) => route.fulfill({ contentType: 'text/html', body }));
    const page = await open(context, url);
    await page.goto(new URL('/page', proxy.url).href);
    const expected = viewers[0]?.items.filter(isStored).map((item) => ({ ...item, cursor: '' })) ?? [];
    for (let time = 0; time < 2; time++) {
      await until(() => items.length > time * expected.length);
      await proxy.cut();
      await happen(projectId);
      await proxy.restore();
      await until(() => items.filter(isStored).length >= expected.length + time + 1);
    }
    const stored = await storedOf(stack.database.pool, projectId);
    expect(eventsOf(items)).toEqual(stored.events);
    expect(
      items
        .filter(isStored)
        .slice(0, expected.length)
        .map((item) => ({ ...item, cursor: '' })),
    ).toEqual(expected);
  } finally {
    await context.close();
    await proxy.stop();
  }
});

it('tells of a gap where events were trimmed, and goes on behind it', async () => {
  const projectId = await newProject();
  const { events } = await client.events(projectId);
  const before = events[0]?.cursor ?? '';
  await happen(projectId);
  await stack.database.pool.query(
    `UPDATE session_chain.events SET at = at - interval '40 days' WHERE project_id = $1`,
    [projectId],
  );
  await trimEvents(stack.database.pool, 30);
  const viewer = view({ projectId }, before);
  await until(() => viewer.items.length > 0);
  const { versionId } = await happen(projectId);
  await until(() => viewer.items.length > 1);
  await viewer.leave();
  expect(viewer.items).toMatchObject([
    { type: 'gap', reason: 'trimmed' },
    { type: 'chain.queued', versionId },
  ]);
});

it('refuses what cannot be followed, for good', async () => {
  const projectId = await newProject();
  const foreign = await newReader('another');
  for (const [viewer, status, code] of [
    [view({ projectId }, 'x'), 400, 'INVALID_INPUT'],
    [view({ projectId: 'nowhere' }), 404, 'PROJECT_NOT_FOUND'],
    [view({ projectId }, '0', foreign), 404, 'PROJECT_NOT_FOUND'],
    [view({ all: true }, '0', foreign), 403, undefined],
    [view({ projectId }, '0', `${key}0`), 401, undefined],
  ] as const) {
    await until(() => viewer.isOver());
    const { problem } = viewer.error() as HttpStreamError;
    expect([problem?.status, problem?.code]).toEqual([status, code]);
  }
});

it('ends with its key, also while something happens all the time', async () => {
  const app = await createApp({ sessionChain: client, keys, streams: { pingMs: 200 } });
  try {
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const { id, key } = await keys.create({ name: 'revoked', scope: 'read' });
    const [busy, quiet] = [await newProject(), await newProject()];
    const [stream, ...others] = await Promise.all(
      [busy, busy, quiet].map(async (projectId) => await read(`${url}${streamOf(projectId)}`, key)),
    );
    if (!stream) throw new Error('There is no stream.');
    const ends = others.map(lastOf);
    await stream.next();
    await keys.revoke(id);
    let last: SseMessage | undefined;
    for (let count = 0; count < 500 && last?.event !== 'end'; count++) {
      if (last === undefined || last.event === 'chain.queued') await happen(busy);
      last = (await stream.next()).value as SseMessage;
    }
    for (const end of [last, ...(await Promise.all(ends))])
      expect(end).toMatchObject({ event: 'end', data: '{"reason":"key_invalid"}' });
  } finally {
    await app.close();
  }
});

it('is one of so many of a key; 2,000 that connect and vanish leave nothing behind', async () => {
  const path = streamOf(await newProject());
  const [full = '', ...others] = await Promise.all(Array.from({ length: 5 }, async () => await newReader()));
  const sockets = await Promise.all(Array.from({ length: 200 }, () => bareViewer(path, full)));
  expect(new Set(await Promise.all(sockets.map(statusOf)))).toEqual(new Set([200]));
  const [refused, other] = await Promise.all([bareViewer(path, full), bareViewer(path, others[0] ?? '')]);
  expect([await statusOf(refused), await statusOf(other)]).toEqual([429, 200]);
  expect(await openStreams()).toBe(201);
  for (const socket of [...sockets, refused, other]) socket.destroy();
  const vanish = async (count: number) => {
    for (let wave = 0; wave < count / 100; wave++) {
      const ways = Array.from({ length: 100 }, async (_, number) => {
        const socket = await bareViewer(path, others[number % others.length] ?? '');
        // Before the answer, at its first bytes, or with what has not been read.
        if (number % 3 === 1) await statusOf(socket);
        if (number % 3 === 2) await once(socket, 'readable');
        socket.resetAndDestroy();
      });
      await Promise.all(ways);
    }
    await until(async () => (await openStreams()) === 0);
    // What is left: to the database, to Temporal, and of this test's own requests.
    await until(() => socketsOf(server) < 30);
    return memoryOf(server);
  };
  const before = await vanish(1_000);
  expect((await vanish(1_000)) - before).toBeLessThan(80_000_000);
  const { rows } = await stack.database.pool.query(
    `SELECT FROM pg_stat_activity WHERE application_name = 'session-chain server'`,
  );
  expect(rows.length).toBeLessThanOrEqual(10);
});

/** From the server's own metrics. */
async function openStreams(): Promise<number> {
  const response = await fetch(`${server.url}/metrics`, { headers: bearer(key) });
  return Number(/^session_chain_http_streams_open (\d+)/m.exec(await response.text())?.[1]);
}

function socketsOf({ process: { pid } }: ServerProcess): number {
  const descriptors = `/proc/${pid}/fd`;
  return readdirSync(descriptors).filter((name) => {
    try {
      return readlinkSync(join(descriptors, name)).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

/** Bytes of the process in memory. */
function memoryOf({ process: { pid } }: ServerProcess): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024;
}

it('goes on beside viewers that never read, and all end when the server stops', async () => {
  const projectId = await newProject();
  await stack.database.pool.query(
    `INSERT INTO session_chain.events (id, project_id, type, data) OVERRIDING SYSTEM VALUE
     SELECT session_chain.new_id('session_chain.events_id_seq'), $1, 'head.moved', jsonb_build_object('x', repeat('x', 30000))
     FROM generate_series(1, 600)`,
    [projectId],
  );
  const begun = memoryOf(server);
  const stalled = await Promise.all(
    Array.from({ length: 5 }, () => bareViewer(`${streamOf(projectId)}?after=0`, key)),
  );
  const viewer = view({ projectId });
  const [all, one] = await Promise.all([
    read(`${server.url}/v1/events/stream`, key),
    read(`${server.url}${streamOf(projectId)}`, key),
  ]);
  const ends = [lastOf(all), lastOf(one)];
  await until(() => viewer.items.length === 601);
  // Some pages of each, at most: all that they have not taken would be 90 MB.
  expect(memoryOf(server) - begun).toBeLessThan(60_000_000);
  server.process.kill('SIGTERM');
  for (const end of await Promise.all(ends))
    expect(end).toMatchObject({ event: 'end', data: '{"reason":"draining"}' });
  expect(await server.exited).toEqual([0, null]);
  for (const socket of stalled) socket.destroy();
  const { versionId } = await happen(projectId);
  server = await startServer();
  await until(() => viewer.items.length > 601);
  await viewer.leave();
  expect(viewer.items.slice(601)).toMatchObject([{ type: 'chain.queued', versionId }]);
});
