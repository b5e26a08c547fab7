import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { SessionChain, Stats } from '../client/main.js';
import { processMetrics } from '../config/process-metrics.js';
import './scopes.js';

/**
 * GET /metrics, in the text format of Prometheus: what this server answers, and the numbers of the database over all projects,
 * for which a key must be for every project. docs/metrics.md explains each metric.
 */
export async function metrics(
  app: FastifyInstance,
  { sessionChain }: { sessionChain: Pick<SessionChain, 'stats'> },
): Promise<void> {
  const requests = countRequests(app);
  const database = createDatabaseMetrics(() => sessionChain.stats());
  app.get('/metrics', { config: { scope: 'read' }, schema: { hide: true } }, async (_request, reply) => {
    const parts = await Promise.all([database(), requests.metrics()]);
    reply.header('cache-control', 'no-store').type(requests.contentType);
    return parts.join('\n');
  });
}

const requestSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The metrics of the process, and a count of every request of the app by the path of its route, however it ends. */
function countRequests(app: FastifyInstance): Registry {
  const registry = processMetrics();
  const registers = [registry];
  const labelNames = ['method', 'route', 'status'];
  const total = new Counter({
    name: 'session_chain_http_requests_total',
    help: 'Requests that are over, by the path of their route.',
    ...{ labelNames, registers },
  });
  const seconds = new Histogram({
    name: 'session_chain_http_request_duration_seconds',
    help: 'Time from a request to the end of its answer, without streams.',
    ...{ labelNames: ['method', 'route'], registers, buckets: requestSeconds },
  });
  const open = new Set<ServerResponse>();
  new Gauge({
    name: 'session_chain_http_streams_open',
    help: 'Answers that are being streamed now.',
    registers,
    collect() {
      this.set([...open].filter(({ headersSent }) => headersSent).length);
    },
  });
  app.addHook('onRequest', async (request, { raw }) => {
    const { method, is404, routeOptions } = request;
    const route = is404 ? 'none' : (routeOptions.url ?? 'none');
    const startedAt = performance.now();
    open.add(raw);
    // Also where the caller goes away, which ends most streams.
    raw.once('close', () => {
      open.delete(raw);
      total.inc({ method, route, status: raw.headersSent ? raw.statusCode : 'aborted' });
      if (!route.endsWith('/stream'))
        seconds.observe({ method, route }, (performance.now() - startedAt) / 1_000);
    });
  });
  return registry;
}

/** However many scrape, the database is read this often at most, and a fiftieth of the time at most. */
const minIntervalMs = 15_000;
const maxShare = 1 / 50;
/** Prometheus gives a scrape 10 s. */
const answerMs = 5_000;

/** A function that returns the metrics of the database; where that does not answer, only that it does not. */
function createDatabaseMetrics(read: () => Promise<Stats>): () => Promise<string> {
  const gauges = databaseGauges();
  let reading: Promise<boolean> | undefined;
  let nextAt = 0;
  const refresh = async (): Promise<boolean> => {
    const startedAt = performance.now();
    try {
      gauges.set(await read());
      return true;
    } catch {
      return false;
    } finally {
      const endedAt = performance.now();
      nextAt = startedAt + Math.max(minIntervalMs, (endedAt - startedAt) / maxShare);
    }
  };
  return async () => {
    if (performance.now() >= nextAt) {
      // Until it has ended, no other begins.
      nextAt = Infinity;
      reading = refresh();
    }
    const isUp = await Promise.race([reading, sleep(answerMs, false, { ref: false })]);
    return await gauges.text(isUp === true);
  };
}

function databaseGauges() {
  const registry = new Registry();
  const gauge = (name: string, help: string, registers: Registry[], ...labelNames: string[]) =>
    new Gauge({ name, help, labelNames, registers });
  const ofStats = (name: string, help: string, ...labelNames: string[]) =>
    gauge(name, help, [registry], ...labelNames);

  const always = new Registry();
  const up = gauge('session_chain_database_up', 'Whether the database answered the last time it was read.', [
    always,
  ]);
  const chains = ofStats(
    'session_chain_chains',
    'Open chains, and closed ones of the last day, by status.',
    'status',
  );
  const stuck = ofStats(
    'session_chain_chains_stuck',
    'Open chains without progress for 30 minutes.',
    'status',
  );
  const length = ofStats('session_chain_queue_length', 'Chains or questions that wait.', 'queue');
  const wait = ofStats(
    'session_chain_queue_wait_seconds',
    'How long the one that waits longest has waited.',
    'queue',
  );
  const ends = ofStats(
    'session_chain_ends_pending',
    'Ends of chains that the host has not been told of: waiting, or failed and to be called again.',
    'state',
  );
  const sync = ofStats(
    'session_chain_sync_ratio',
    'Share of the projects whose newest version names the head.',
  );
  const cacheRead = ofStats(
    'session_chain_cache_read_ratio',
    'Share of input tokens from the cache, newest 1000 attempts.',
  );

  return {
    set(stats: Stats): void {
      for (const [status, count] of Object.entries(stats.chains)) chains.set({ status }, count);
      for (const [status, count] of Object.entries(stats.stuck)) stuck.set({ status }, count);
      for (const [queue, { length: count, longestWaitMs }] of Object.entries(stats.queues)) {
        length.set({ queue }, count);
        wait.set({ queue }, longestWaitMs / 1_000);
      }
      for (const [state, count] of Object.entries(stats.ends)) ends.set({ state }, count);
      // Of nothing there is no share, and no alert on a NaN.
      sync.set(stats.syncShare ?? NaN);
      cacheRead.set(stats.cacheReadShare ?? NaN);
    },
    /** Old numbers would look like new ones. */
    async text(isUp: boolean): Promise<string> {
      up.set(isUp ? 1 : 0);
      return (await always.metrics()) + (isUp ? `\n${await registry.metrics()}` : '');
    },
  };
}
