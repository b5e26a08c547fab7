import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKeys } from '../client/keys.js';
import { type HttpServer, startHttpServer } from '../dev/http-server.js';
import { queryOne } from '../storage/db/pool.js';
import { cpuMsOf, residentMbOf } from './cpu.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';
import { register, newKey, runChain } from './storage-chain.js';

const crowd = 500;
const projects = 200;
const asked = 10_000;
/** Of one key, as the server allows. */
const streamsOfKey = 200;

/** Viewers of streams on one server, in turns with one viewer and with as many that ask for pages every second. */
export async function measureViewers(stack: BenchStack, runs: number): Promise<Row[]> {
  const server = await startHttpServer({
    environment: {
      PATH: process.env['PATH'] ?? '',
      DATABASE_URL: stack.databaseUrl,
      TEMPORAL_ADDRESS: stack.temporalAddress,
      SESSION_CHAIN_TASK_QUEUE: stack.taskQueue,
      SESSION_CHAIN_WORKSPACE_ROOTS: stack.folder,
      SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE: '1000000',
      SESSION_CHAIN_LOG_LEVEL: 'warn',
    },
    databaseUrl: stack.databaseUrl,
    stateDir: join(stack.folder, 'state'),
    port: 0,
    say: (line) => console.error(line),
  });
  try {
    const keys = await Promise.all(
      Array.from({ length: asked / streamsOfKey }, (_, n) =>
        createKeys(stack.pool).create({ name: `viewers ${n}`, scope: 'read' }),
      ),
    );
    const site: Site = { stack, server, keys: keys.map(({ key }) => key) };
    return [
      ...(await measureWaiting(site)),
      ...(await measureOneProject(site, runs)),
      ...(await measureManyProjects(site)),
      ...(await measureTooMany(site)),
    ];
  } finally {
    await server.stop();
  }
}

interface Site {
  stack: BenchStack;
  server: HttpServer;
  keys: string[];
}

/** What viewers cost while nothing happens. */
async function measureWaiting(site: Site): Promise<Row[]> {
  const ids = await newProjects(site, projects);
  const before = await idle(site);
  const rows: Row[] = [];
  for (const { name, paths } of [
    { name: '1 viewer', paths: [pathOf(ids[0])] },
    { name: `${crowd} viewers of one project`, paths: Array.from({ length: crowd }, () => pathOf(ids[0])) },
    {
      name: `${crowd} viewers of ${projects} projects`,
      paths: Array.from({ length: crowd }, (_, n) => pathOf(ids[n % projects])),
    },
    { name: '1 viewer of all projects', paths: ['/v1/events'] },
  ]) {
    const memory = residentMbOf(site.server.pid());
    const viewers = await openViewers(site, paths);
    const waiting = await idle(site);
    const connections = await connectionsOf(site);
    if (paths.length > 1) {
      rows.push(
        row({
          part: 'viewers',
          name: `memory of the server per viewer, ${name}`,
          unit: 'kB',
          values: [((residentMbOf(site.server.pid()) - memory) / paths.length) * 1000],
        }),
      );
    }
    rows.push(
      row({
        part: 'viewers',
        name: `CPU of the server per second while nothing happens, ${name}`,
        unit: 'ms',
        values: [waiting.cpuMs],
        peer: { name: 'no viewer', values: [before.cpuMs] },
      }),
      row({
        part: 'viewers',
        name: `transactions of the database while nothing happens, ${name}`,
        unit: '/s',
        values: [waiting.statements],
        peer: { name: 'no viewer', values: [before.statements] },
      }),
      row({
        part: 'viewers',
        name: `connections to the database, ${name}`,
        unit: 'connections',
        values: [connections],
      }),
    );
    await closeViewers(viewers);
  }
  return rows;
}

/** A project whose chain runs, with the real agent. */
async function measureOneProject(site: Site, runs: number): Promise<Row[]> {
  const { stack, server } = site;
  const of = async (watch: (projectId: string, over: AbortSignal) => Promise<number[]>) => {
    const [projectId = ''] = await newProjects(site, 1);
    const over = new AbortController();
    const before = cpuMsOf(server.pid());
    const watched = watch(projectId, over.signal);
    await stack.runChain({ projectId });
    over.abort();
    const delays = await watched;
    return { delays, cpuMs: cpuMsOf(server.pid()) - before };
  };
  const streaming = (count: number) =>
    of(async (projectId, over) => {
      const viewers = await openViewers(
        site,
        Array.from({ length: count }, () => pathOf(projectId)),
      );
      await ended(over);
      while (viewers.some(({ hasEnded }) => !hasEnded())) await sleep(20);
      await closeViewers(viewers);
      return viewers.flatMap(({ delays }) => delays);
    });
  const results = { one: [], crowd: [], polls: [] } as Record<
    'one' | 'crowd' | 'polls',
    { delays: number[]; cpuMs: number }[]
  >;
  await streaming(1); // meets cold caches
  for (let run = 0; run < runs; run++) {
    results.crowd.push(await streaming(crowd));
    results.one.push(await streaming(1));
    results.polls.push(await of((projectId, over) => askEverySecond(site, projectId, over)));
  }
  const { one, polls } = results;
  const values = (of: typeof one, figure: (result: (typeof one)[number]) => number) => of.map(figure);
  const against = (name: string, unit: 'ms', figure: (result: (typeof one)[number]) => number): Row[] =>
    [
      { name: 'one viewer', values: values(one, figure) },
      { name: `${crowd} that ask for a page each second`, values: values(polls, figure) },
    ].map((peer) => row({ part: 'viewers', name, unit, values: values(results.crowd, figure), peer }));
  const what = `${crowd} viewers of a running chain`;
  return [
    ...against(`from an event to its viewer, median, ${what}`, 'ms', ({ delays }) => quantile(delays, 0.5)),
    ...against(`from an event to its viewer, 99th of 100, ${what}`, 'ms', ({ delays }) =>
      quantile(delays, 0.99),
    ),
    ...against(`CPU of the server for ${what}`, 'ms', ({ cpuMs }) => cpuMs),
  ];
}

/** As many viewers, of projects on each of which the database's work of a chain is done. */
async function measureManyProjects(site: Site): Promise<Row[]> {
  const { stack, server } = site;
  const ids = await newProjects(site, projects);
  const viewers = await openViewers(
    site,
    Array.from({ length: crowd }, (_, n) => pathOf(ids[n % projects])),
  );
  const before = cpuMsOf(server.pid());
  const startedAt = performance.now();
  const due = [...ids];
  let connections = 0;
  const work = async () => {
    for (let id = due.pop(); id !== undefined; id = due.pop()) await runChain(stack.pool, id);
  };
  const working = Promise.all([work(), work()]).then(() => true);
  while (!(await Promise.race([working, sleep(200, false)]))) {
    connections = Math.max(connections, await connectionsOf(site));
  }
  while (viewers.some(({ hasEnded }) => !hasEnded())) await sleep(20);
  const seconds = (performance.now() - startedAt) / 1000;
  const cpuMs = cpuMsOf(server.pid()) - before;
  const delays = viewers.flatMap(({ delays }) => delays);
  await closeViewers(viewers);
  const what = `${crowd} viewers of ${projects} projects, ${Math.round(delays.length / seconds)} deliveries a second`;
  const figure = (name: string, unit: Row['unit'], value: number) =>
    row({ part: 'viewers', name: `${name}, ${what}`, unit, values: [value] });
  return [
    figure('from an event to its viewer, median', 'ms', quantile(delays, 0.5)),
    figure('from an event to its viewer, 99th of 100', 'ms', quantile(delays, 0.99)),
    figure('CPU of the server per second', 'ms', cpuMs / seconds),
    figure('connections to the database at most', 'connections', connections),
  ];
}

/** More streams than a server opens. */
async function measureTooMany(site: Site): Promise<Row[]> {
  const { server } = site;
  const [id] = await newProjects(site, 1);
  const before = residentMbOf(server.pid());
  const opened: Viewer[] = [];
  const refused = new Map<string, number>();
  for (let at = 0; at < asked; at += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        try {
          opened.push(await openViewer(site, pathOf(id), at + n));
        } catch (error) {
          const why = (error as Error).message;
          refused.set(why, (refused.get(why) ?? 0) + 1);
        }
      }),
    );
  }
  const memory = residentMbOf(server.pid());
  const part = 'viewers';
  const rows = [
    row({
      part,
      name: `streams open after ${asked} were asked for`,
      unit: 'streams',
      values: [opened.length],
    }),
    ...[...refused].map(([why, count]) =>
      row({ part, name: `of these refused: ${why}`, unit: 'streams', values: [count] }),
    ),
    row({
      part,
      name: 'memory of the server then',
      unit: 'MB',
      values: [memory],
      peer: { name: 'before', values: [before] },
    }),
    row({
      part,
      name: 'connections to the database then',
      unit: 'connections',
      values: [await connectionsOf(site)],
    }),
  ];
  await closeViewers(opened);
  return rows;
}

interface Viewer {
  /** Milliseconds from each event, as it was written, to its arrival. */
  delays: number[];
  /** Whether the end of a chain has arrived. */
  hasEnded: () => boolean;
  close: () => void;
  closed: Promise<unknown>;
}

async function openViewers(site: Site, paths: readonly string[]): Promise<Viewer[]> {
  const viewers: Viewer[] = [];
  for (let at = 0; at < paths.length; at += 50) {
    const some = paths.slice(at, at + 50);
    viewers.push(...(await Promise.all(some.map((path, n) => openViewer(site, path, at + n)))));
  }
  return viewers;
}

/** Resolves once the stream has begun; rejects with the status where it is refused. */
async function openViewer({ server, keys }: Site, path: string, number: number): Promise<Viewer> {
  const delays: number[] = [];
  let hasEnded = false;
  let rest = '';
  const read = (piece: string) => {
    const messages = (rest + piece).split('\n\n');
    rest = messages.pop() ?? '';
    for (const message of messages) {
      const [, type = ''] = /^event: (.*)$/m.exec(message) ?? [];
      if (!/^(chain|step|head|budget|question)\./.test(type)) continue;
      if (type === 'chain.closed') hasEnded = true;
      const [, at = ''] = /"at":"([^"]*)"/.exec(message) ?? [];
      delays.push(Date.now() - Date.parse(at));
    }
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(`${server.url}${path}/stream`, {
      headers: { authorization: `Bearer ${keyOf(keys, number)}` },
      agent: false,
    });
    sent.on('response', resolve).on('error', reject).end();
  });
  if (response.statusCode !== 200) {
    response.resume();
    throw new Error(`status ${response.statusCode}`);
  }
  const closed = new Promise((resolve) => response.on('close', resolve));
  response.on('error', () => undefined).setEncoding('utf8');
  await new Promise((resolve) => response.once('data', resolve).on('data', read));
  return { delays, hasEnded: () => hasEnded, close: () => response.destroy(), closed };
}

async function closeViewers(viewers: readonly Viewer[]): Promise<void> {
  for (const { close } of viewers) close();
  await Promise.all(viewers.map(({ closed }) => closed));
}

/** What streams replace: each viewer asks for the next page once a second. */
async function askEverySecond(
  { server, keys }: Site,
  projectId: string,
  over: AbortSignal,
): Promise<number[]> {
  const delays: number[] = [];
  const one = async (number: number) => {
    let after = 'now';
    await sleep((number / crowd) * 1000);
    for (let isLast = false; !isLast;) {
      isLast = over.aborted;
      const response = await fetch(`${server.url}${pathOf(projectId)}?after=${after}`, {
        headers: { authorization: `Bearer ${keyOf(keys, number)}` },
      });
      const page = (await response.json()) as { events: { at: string }[]; nextCursor: string };
      delays.push(...page.events.map(({ at }) => Date.now() - Date.parse(at)));
      after = encodeURIComponent(page.nextCursor);
      if (!isLast) await sleep(1000);
    }
  };
  await Promise.all(Array.from({ length: crowd }, (_, number) => one(number)));
  return delays;
}

function keyOf(keys: readonly string[], number: number): string {
  return keys[Math.floor(number / streamsOfKey) % keys.length] ?? '';
}

function pathOf(projectId = ''): string {
  return `/v1/projects/${projectId}/events`;
}

async function newProjects({ stack }: Site, count: number): Promise<string[]> {
  const made: string[] = [];
  while (made.length < count) made.push((await register(stack.pool, newKey())).projectId);
  return made;
}

/** CPU of the server and transactions of the database, per second. */
async function idle({ stack, server }: Site): Promise<{ cpuMs: number; statements: number }> {
  const seconds = 8;
  const read = async () =>
    await queryOne<{ commits: number }>(stack.pool, {
      text: 'SELECT xact_commit AS commits FROM pg_stat_database WHERE datname = current_database()',
    });
  await sleep(1_500);
  const [cpu, before] = [cpuMsOf(server.pid()), await read()];
  await sleep(1_000 * seconds);
  const after = await read();
  return {
    cpuMs: (cpuMsOf(server.pid()) - cpu) / seconds,
    statements: (after.commits - before.commits) / seconds,
  };
}

async function connectionsOf({ stack }: Site): Promise<number> {
  const { count } = await queryOne<{ count: number }>(stack.pool, {
    text: `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session-chain server'`,
  });
  return count;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

async function ended(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
}
