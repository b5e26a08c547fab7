import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Browser, type Page, chromium } from 'playwright-core';
import { type HttpServer, startHttpServer } from '../dev/http-server.js';
import { type Size, makeLargeDatabase } from './large-database.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';

const dayOf = (daysAgo: number) => new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10);
/** Nothing on the page is still being read. */
const isRead = `document.querySelector('main h1') && !document.querySelector('main [role=status]')`;
const costs = (days: number) => ({
  name: `Costs of ${days} days`,
  path: `/costs?since=${dayOf(days - 1)}&until=${dayOf(0)}`,
  asks: ['day', 'step', 'model', 'project'].map(
    (by) => `/v1/spend?by=${by}&since=${dayOf(days - 1)}T00:00:00Z&until=${dayOf(-1)}T00:00:00Z`,
  ),
  isThere: `${isRead} && document.querySelectorAll('main table').length >= 3`,
  isFirstPage: false,
});
const project = '/projects/large-00000';

/** The pages whose first view is timed: what they ask for, and what is on them once it is there. */
const pages = [
  {
    name: 'Overview: numbers, attention, running, waiting, workers, costs',
    path: '/',
    asks: [
      '/v1/server',
      '/v1/chains/counts',
      '/v1/sync?limit=0',
      `/v1/spend?by=day&since=${new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`,
      '/v1/chains?stuckForMs=1800000&limit=50',
      '/v1/chains?status=running&limit=12',
      '/v1/chains?waitingFor=model&waitingFor=worker&waitingFor=activity&limit=12',
      '/v1/chains?waitingFor=queue&limit=100',
      '/v1/workers',
    ],
    /** Every card has what it read. */
    isThere: `document.querySelectorAll('main section').length >= 7 && !document.querySelector('main [role=status]')`,
    isFirstPage: true,
  },
  {
    name: 'Projects: the first 50',
    path: '/projects',
    asks: ['/v1/server', '/v1/projects?limit=50'],
    isThere: `document.querySelector('main section') !== null && ${isRead}`,
    isFirstPage: true,
  },
  {
    name: 'Project of 200 sessions',
    path: project,
    asks: [
      '/v1/server',
      `/v1${project}`,
      `/v1${project}/tree`,
      `/v1${project}/chains`,
      `/v1${project}/transitions`,
      `/v1${project}/chats`,
    ],
    isThere: `${isRead} && document.querySelector('main svg')`,
    isFirstPage: false,
  },
  costs(30),
  costs(90),
];

/** The first view of a browser that has been here never, on a large database, in turns with the bare answers that it needs. */
export async function measureDashboard(stack: BenchStack, runs: number, size: Size): Promise<Row[]> {
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
  const browser = await chromium.launch({
    executablePath: process.env['SESSION_CHAIN_CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu'],
  });
  try {
    const empty = await firstViews(browser, server, pages.slice(0, 2), runs);
    const { projects, sessions } = await makeLargeDatabase(stack.pool, size);
    const large = await firstViews(browser, server, pages, runs);
    const made = `${projects} projects, ${sessions} transitions`;
    return pages.flatMap(({ name, path, isFirstPage }) => {
      const [before, now] = [empty.get(path), large.get(path)];
      if (!now) return [];
      const figure = { part: 'dashboard', unit: 'ms', values: now.views } as const;
      return [
        row({
          ...figure,
          name: `first view, ${name}; ${made}`,
          goal: { text: '< 1000', met: (ms) => ms < 1_000 },
        }),
        ...(before
          ? [
              row({
                ...figure,
                name: 'the same',
                peer: { name: 'on an almost empty database', values: before.views },
              }),
            ]
          : []),
        row({
          ...figure,
          name: 'the same',
          peer: { name: 'its answers, one after another', values: now.answers },
        }),
        row({
          part: 'dashboard',
          name: `what the browser fetches of files, compressed, ${name}`,
          unit: 'kB',
          values: now.kB,
          ...(isFirstPage ? { goal: { text: '< 100', met: (kB: number) => kB < 100 } } : {}),
        }),
      ];
    });
  } finally {
    await Promise.all([browser.close(), server.stop()]);
  }
}

interface Views {
  views: number[];
  answers: number[];
  kB: number[];
}

async function firstViews(
  browser: Browser,
  server: HttpServer,
  of: typeof pages,
  runs: number,
): Promise<Map<string, Views>> {
  const figures = new Map<string, Views>();
  for (let run = 0; run <= runs; run++) {
    for (const { path, asks, isThere } of of) {
      // A context has a cache of its own; its connection is opened by the login.
      const cookies = await loggedIn(browser, server);
      const cold = await browser.newContext();
      await cold.addCookies(cookies);
      const view = await timed(await cold.newPage(), server.url + path, isThere);
      await cold.close();
      const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
      const startedAt = performance.now();
      for (const ask of asks) {
        const answer = await fetch(server.url + ask, { headers: { cookie } });
        if (!answer.ok) throw new Error(`${ask} answered ${answer.status}: ${await answer.text()}`);
        await answer.text();
      }
      const answers = performance.now() - startedAt;
      const known = figures.get(path) ?? { views: [], answers: [], kB: [] };
      figures.set(path, known);
      // The first meets cold caches of the database.
      if (run === 0) continue;
      known.views.push(view.ms);
      known.kB.push(view.kB);
      known.answers.push(answers);
    }
  }
  return figures;
}

/** The cookies of a login. */
async function loggedIn(browser: Browser, server: HttpServer) {
  const context = await browser.newContext();
  const login = await context.newPage();
  await login.goto(await server.link());
  const cookies = await context.cookies();
  await context.close();
  return cookies;
}

/** A page that takes longer has failed. */
const longestMs = 60_000;

/** From the navigation until what is asked for is there, and how much of files came. */
async function timed(page: Page, url: string, isThere: string): Promise<{ ms: number; kB: number }> {
  await page.goto(url, { waitUntil: 'commit' });
  // The page's own policy forbids what waitForFunction does.
  let ms: number | false = false;
  while (ms === false) {
    ms = await page.evaluate<number | false>(`Boolean(${isThere}) && performance.now()`);
    if ((await page.evaluate<number>('performance.now()')) > longestMs)
      throw new Error(`${url} does not show what it should within ${longestMs} ms.`);
  }
  const bytes = await page.evaluate<number>(
    `performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
       .filter(({ name }) => !name.includes('/v1/')).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)`,
  );
  return { ms, kB: bytes / 1_000 };
}
