import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import fastify, { type FastifyInstance } from 'fastify';
import { parse } from 'yaml';
import { readConfig } from '../../config/environment.js';
import { failureCodes } from '../../contracts/failures.js';
import { metrics } from '../../server/metrics.js';
import { requireWriting } from '../../storage/db/pool.js';
import { openEndpoint } from '../../workers/endpoint.js';
import { createHealth } from '../../workers/health.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { codeBlocksOf } from '../support/markdown.js';
import { testProgram } from '../support/programs.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';

const root = join(import.meta.dirname, '../..');
const textOf = (path: string) => readFileSync(join(root, path), 'utf8');
const page = textOf('docs/metrics.md');
const documented = [...page.matchAll(/^\| `(session_chain_\w+)`/gm)].map(([, name = '']) => name);

let stack: ChainStack;
let proxy: TcpProxy;
let worker: TestWorker;
let workerUrl: string;
let server: FastifyInstance;
let serverUrl: string;
let reads = 0;
let scraped: { worker: string; server: string };

beforeAll(async () => {
  stack = await startChainStack('metrics', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  proxy = await startTcpProxy(stack.database.url);
  worker = await stack.startWorker({ SESSION_CHAIN_WORKER_HTTP: '127.0.0.1:0', DATABASE_URL: proxy.url });
  workerUrl = /"url":"(http:[^"]+)"/.exec(worker.output())?.[1] ?? '';
  server = fastify();
  await metrics(server, { sessionChain: { stats: countedStats } });
  server.get('/v1/projects/:projectId', async () => ({}));
  serverUrl = await server.listen({ host: '127.0.0.1', port: 0 });

  // A chain with a question after it, and one whose first step reaches a limit.
  const started = await stack.sessionChain.start(stack.request());
  await stack.sessionChain.wait(started);
  await stack.sessionChain.ask({ projectId: started.projectId, text: 'Which files are there?' });
  await stack.sessionChain.wait(
    await stack.sessionChain.start({ ...stack.request(), budget: { maxTurns: 1 } }),
  );
  await Promise.all([get(`${serverUrl}/v1/projects/shop`), get(`${serverUrl}/nothing/here`)]);
  const [ofWorker, ofServer] = await Promise.all([get(`${workerUrl}/metrics`), get(`${serverUrl}/metrics`)]);
  scraped = { worker: ofWorker.text, server: ofServer.text };
});
afterAll(async () => {
  await server?.close();
  await stack?.stop();
  await proxy?.stop();
});

describe('a scrape', () => {
  it('has every metric of docs/metrics.md, and docs/metrics.md has every metric of ours', () => {
    const found = [...namesIn(scraped.worker), ...namesIn(scraped.server)].filter((name) =>
      name.startsWith('session_chain_'),
    );
    expect(documented.length).toBeGreaterThan(20);
    expect([...documented].sort()).toEqual([...new Set(found)].sort());
  });

  it.each(['worker', 'server'] as const)('of the %s passes promtool check metrics', (which) => {
    expect(promtool(['check', 'metrics'], scraped[which])).toEqual({ status: 0, said: '' });
  });

  it('names no project, session or folder', () => {
    const text = scraped.worker + scraped.server;
    expect(text).not.toContain(stack.root);
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(text).not.toMatch(/(project|version|session|build)_?id=/i);
    expect(text).not.toContain('shop');
  });

  it('counts steps, questions, tokens, cost and what failed', () => {
    const value = valuesIn(scraped.worker);
    for (const step of ['metadata', 'docs', 'compact'])
      expect(value(`session_chain_steps_total{step="${step}",outcome="committed"}`)).toBe(1);
    expect(value('session_chain_questions_total{outcome="committed"}')).toBe(1);
    expect(value('session_chain_step_duration_seconds_count{step="docs"}')).toBe(1);
    expect(value('session_chain_failures_total{code="BUDGET_EXCEEDED"}')).toBeGreaterThan(0);
    expect(value('session_chain_limits_reached_total{limit="turns",owner="chain"}')).toBeGreaterThan(0);
    expect(value('session_chain_tokens_total{type="cache_read"}')).toBeGreaterThan(10_000);
    expect(value('session_chain_cost_usd_total')).toBeGreaterThan(0.01);
    expect(value('session_chain_agents_running{task="step"}')).toBe(0);
    expect(value('session_chain_agents_max{task="question"}')).toBe(2);
    expect(scraped.worker).toContain('temporal_worker_task_slots_used{');
  });

  it('has the numbers of the database, as stats() gives them', async () => {
    const value = valuesIn(scraped.server);
    const stats = await stack.sessionChain.stats();
    expect(value('session_chain_database_up')).toBe(1);
    expect(value('session_chain_chains{status="completed"}')).toBe(1);
    expect(value('session_chain_chains{status="budget_exceeded"}')).toBe(1);
    expect(stats.chains).toMatchObject({ completed: 1, budget_exceeded: 1, queued: 0 });
    expect(value('session_chain_sync_ratio')).toBe(stats.syncShare);
    expect(value('session_chain_cache_read_ratio')).toBeCloseTo(stats.cacheReadShare ?? NaN);
    expect(value('session_chain_queue_wait_seconds{queue="questions"}')).toBe(0);
    expect(value('session_chain_ends_pending{state="failed"}')).toBe(0);
  });

  it('counts requests by their route, and an unknown path as none', () => {
    const value = valuesIn(scraped.server);
    const requests = (route: string, status: number) =>
      value(`session_chain_http_requests_total{method="GET",route="${route}",status="${status}"}`);
    expect(requests('/v1/projects/:projectId', 200)).toBe(1);
    expect(requests('none', 404)).toBe(1);
  });

  it('shows an agent while it runs', async () => {
    const held = stack.model.holdNext();
    const started = await stack.sessionChain.start(stack.request());
    await held.reached;
    const { text } = await get(`${workerUrl}/metrics`);
    expect(valuesIn(text)('session_chain_agents_running{task="step"}')).toBe(1);
    // Also to those who read the database.
    const runningNow = async () => (await stack.sessionChain.workers()).workers[0]?.agents.running;
    await until(async () => (await runningNow()) === 1);
    await stack.sessionChain.cancel(started);
    await stack.sessionChain.wait(started);
    // Before that the agent could go on, and commit.
    held.release();
    await until(async () => {
      const value = valuesIn((await get(`${workerUrl}/metrics`)).text);
      return value('session_chain_steps_total{step="build",outcome="interrupted"}') === 1;
    });
    await until(async () => (await runningNow()) === 0);
  });

  it('reads the database once, however many scrape', async () => {
    const before = reads;
    await Promise.all(Array.from({ length: 20 }, () => get(`${serverUrl}/metrics`)));
    expect(reads - before).toBeLessThanOrEqual(1);
  });
});

describe('the health of a worker', () => {
  it('is told to a probe, which may also use HEAD', async () => {
    expect(await get(`${workerUrl}/healthz`)).toMatchObject({ status: 200 });
    // Of a machine that is busy, Temporal or the database may take longer than a probe waits.
    await until(async () => (await get(`${workerUrl}/readyz`)).status === 200);
    expect(await (await fetch(`${workerUrl}/readyz`, { method: 'HEAD' })).text()).toBe('');
  });

  it('is bad while the database is away, though the worker lives', async () => {
    await proxy.cut();
    const [answer = { code: '' }] = codeBlocksOf(page).filter(({ comment }) =>
      comment.startsWith('the answer'),
    );
    // Temporal is there, and may be slow to say so.
    await until(async () => {
      const { status, text } = await get(`${workerUrl}/readyz`);
      return status === 503 && isDeepStrictEqual(JSON.parse(text), JSON.parse(answer.code));
    });
    expect(await get(`${workerUrl}/healthz`)).toMatchObject({ status: 200 });
    await proxy.restore();
    await until(async () => (await get(`${workerUrl}/readyz`)).status === 200);
  });

  it('is bad from the moment that it is told to stop', async () => {
    Runtime.install({ logger: new DefaultLogger('WARN') });
    const connection = await NativeConnection.connect({
      address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    });
    try {
      const idle = await Worker.create({
        ...{ connection, taskQueue: `metrics-idle-${process.pid}` },
        activities: { nothing: async () => undefined },
      });
      const health = createHealth({
        ...{ connection, states: () => [idle.getState()] },
        database: async () => await requireWriting(stack.database.pool, 60_000),
      });
      const checks = { temporal: 'ok', database: 'ok' };
      const run = idle.run();
      await until(async () => isDeepStrictEqual(await health(), { status: 'ready', checks }));
      idle.shutdown();
      expect(await health()).toMatchObject({ status: 'stopping' });
      await until(async () => isDeepStrictEqual(await health(), { status: 'stopping', checks }));
      await run;
    } finally {
      await connection.close();
    }
  });

  it('is asked with GET alone, of three paths alone, and one slow caller keeps none waiting', async () => {
    const wrongMethod = await fetch(`${workerUrl}/metrics`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect([wrongMethod.status, wrongMethod.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(await get(`${workerUrl}/..%2fetc/passwd`)).toMatchObject({ status: 404 });
    const { port } = new URL(workerUrl);
    const slow = Array.from({ length: 20 }, () => connect(Number(port), '127.0.0.1'));
    for (const socket of slow)
      socket.on('error', () => undefined).write('GET /metrics HTTP/1.1\r\nhost: x\r\n');
    await Promise.all(slow.map(async (socket) => socket.connecting && (await once(socket, 'connect'))));
    expect(await get(`${workerUrl}/healthz`)).toMatchObject({ status: 200 });
    for (const socket of slow) socket.destroy();
  });

  it.each(['9464', '127.0.0.1:99999', 'http://127.0.0.1:9464', '::1:9464', 'a b:1'])(
    'has no address %s',
    (address) => {
      expect(() => readConfig({ SESSION_CHAIN_WORKER_HTTP: address })).toThrow(
        'SESSION_CHAIN_WORKER_HTTP: must be host:port',
      );
    },
  );

  it('has no address that is not of this machine, or is taken', async () => {
    await expect(stack.startWorker({ SESSION_CHAIN_WORKER_HTTP: '192.0.2.1:9464' })).rejects.toThrow(
      /INVALID_CONFIG[^]*cannot listen on 192\.0\.2\.1:9464[^]*what to do/,
    );
    const { port } = new URL(workerUrl);
    const told = { health: () => null, metrics: async () => '' };
    await expect(openEndpoint({ host: '127.0.0.1', port: Number(port) }, told)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
    });
  });

  it('says before the worker is ready that it starts', async () => {
    const endpoint = await openEndpoint(
      { host: '::1', port: 0 },
      { health: () => null, metrics: async () => await Promise.reject(new Error('unexpected')) },
    );
    try {
      expect(await get(`${endpoint.url}/readyz`)).toEqual({ status: 503, text: '{"status":"starting"}\n' });
      await expect(get(`${endpoint.url}/metrics`)).rejects.toThrow('fetch failed');
      expect(await get(`${endpoint.url}/healthz`)).toMatchObject({ status: 200 });
    } finally {
      endpoint.close();
    }
  });
});

describe('a server whose database does not answer', () => {
  it('says so, and leaves out numbers that are old', async () => {
    const app = fastify();
    await metrics(app, { sessionChain: { stats: async () => await Promise.reject(new Error('away')) } });
    try {
      const url = await app.listen({ host: '127.0.0.1', port: 0 });
      const { text } = await get(`${url}/metrics`);
      expect(valuesIn(text)('session_chain_database_up')).toBe(0);
      expect(text).not.toContain('session_chain_chains');
      expect(text).toContain('session_chain_http_streams_open 0');
    } finally {
      await app.close();
    }
  });
});

describe('docs/metrics', () => {
  const rules = (
    parse(textOf('docs/metrics/alerts.yml')) as { groups: { rules: { alert: string; expr: string }[] }[] }
  ).groups.flatMap((group) => group.rules);
  const dashboard = JSON.parse(textOf('docs/metrics/dashboard.json')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const shown = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

  it('has alert rules that promtool accepts, each with what to do in the page', () => {
    expect(promtool(['check', 'rules', 'docs/metrics/alerts.yml'])).toMatchObject({ status: 0 });
    const explained = [...page.matchAll(/^\| `(SessionChain\w+)`/gm)].map(([, name]) => name);
    expect(explained).toEqual(rules.map(({ alert }) => alert));
    const codes = rules.flatMap(({ expr }) => expr.match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? []);
    expect(codes.filter((code) => !(failureCodes as string[]).includes(code))).toEqual([]);
  });

  it('has a dashboard whose expressions promtool accepts', () => {
    const recorded = shown.map((expr, index) => ({ record: `panel:${index}`, expr: withoutVariables(expr) }));
    const file = fileWith(JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
    expect(promtool(['check', 'rules', file])).toMatchObject({ status: 0 });
    expect(new Set(dashboard.panels.map(({ title }) => title)).size).toBe(dashboard.panels.length);
  });

  it('names in rules and dashboard what a scrape has', () => {
    const known = new Set([...namesIn(scraped.worker), ...namesIn(scraped.server)]);
    const used = [...rules.map(({ expr }) => expr), ...shown].flatMap(
      (expr) => expr.match(/\b(?:session_chain|temporal|process|nodejs)_\w+/g) ?? [],
    );
    const base = (name: string) => (known.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''));
    expect(used.filter((name) => !known.has(base(name)))).toEqual([]);
  });

  it('has probes and a scrape configuration that are valid', async () => {
    const block = (comment: string) => codeBlocksOf(page).find((one) => one.comment === comment)?.code ?? '';
    const file = fileWith(block('prometheus.yml'));
    expect(promtool(['check', 'config', '--syntax-only', file])).toMatchObject({ status: 0 });
    type Probe = { httpGet: { path: string; port: string } };
    for (const which of ['worker', 'server']) {
      const { livenessProbe, readinessProbe, ports } = parse(block(`probes of the ${which}`)) as Record<
        'livenessProbe' | 'readinessProbe',
        Probe
      > & { ports: { name: string }[] };
      expect([livenessProbe.httpGet.path, readinessProbe.httpGet.path]).toEqual(['/healthz', '/readyz']);
      expect(ports.map(({ name }) => name)).toEqual([livenessProbe.httpGet.port]);
      if (which === 'worker') {
        for (const { httpGet } of [livenessProbe, readinessProbe])
          await until(async () => (await get(workerUrl + httpGet.path)).status === 200);
      }
    }
  });
});

async function countedStats() {
  reads++;
  return await stack.sessionChain.stats();
}

async function get(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url);
  return { status: response.status, text: await response.text() };
}

function namesIn(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name);
}

/** The values of a scrape by their series, as it writes them. */
function valuesIn(text: string): (series: string) => number | undefined {
  const values = new Map(
    [...text.matchAll(/^([a-z]\S*) (\S+)$/gm)].map(([, series = '', value]) => [series, Number(value)]),
  );
  return (series) => values.get(series);
}

function fileWith(text: string): string {
  const file = join(stack.root, 'for-promtool.yml');
  writeFileSync(file, text);
  return file;
}

/** Grafana puts the interval there. */
function withoutVariables(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m');
}

function promtool(args: string[], input = ''): { status: number | null; said: string } {
  const { status, stderr } = spawnSync(testProgram('promtool'), args, { cwd: root, input, encoding: 'utf8' });
  return { status, said: stderr };
}
