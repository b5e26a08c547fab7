import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Keys } from '../client/keys.js';
import type { SessionChain } from '../client/session-chain.js';
import type { Config } from '../config/environment.js';
import { SessionChainError } from '../contracts/failures.js';
import { createApp } from './app.js';
import type { DoctorFinding } from './doctor.js';

export interface ServeOptions {
  config: Config;
  sessionChain: SessionChain;
  keys: Keys;
  ready: () => Promise<void>;
  /** Checks what the server needs. */
  doctor: () => Promise<DoctorFinding[]>;
  /** Of the package. */
  version: string;
  log: Logger;
}

/** After the grace time, for closing what is open. */
const closingMs = 2_000;
const loopback = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Serves HTTP until SIGTERM or SIGINT; then it takes no more, ends its streams, finishes its requests and returns. A second
 * signal, or the end of the grace time, ends the process. Throws INVALID_INPUT where it cannot listen.
 */
export async function serve({
  config,
  sessionChain,
  keys,
  ready,
  doctor,
  version,
  log,
}: ServeOptions): Promise<void> {
  const stop = new AbortController();
  const isLocal = isLoopback(config.SESSION_CHAIN_HTTP_HOST);
  const app = await createApp({
    sessionChain,
    keys,
    ready,
    doctor,
    log,
    hasLinks: isLocal,
    dashboard: join(import.meta.dirname, '../dashboard'),
    draining: stop.signal,
    redisUrl: config.REDIS_URL,
    about: {
      version,
      namespace: config.environment.TEMPORAL_NAMESPACE ?? 'default',
      temporalUi: config.SESSION_CHAIN_TEMPORAL_UI ?? null,
    },
    limits: {
      requestsPerMinute: config.SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE,
      maxConnections: config.SESSION_CHAIN_HTTP_MAX_CONNECTIONS,
      origins: config.SESSION_CHAIN_HTTP_ORIGINS,
      trustedProxies: config.SESSION_CHAIN_HTTP_TRUSTED_PROXIES,
      hosts: isLocal
        ? [...loopback, ...config.SESSION_CHAIN_HTTP_HOSTS.map((name) => name.toLowerCase())]
        : null,
    },
  });
  const drained = new Promise<void>((resolve) => {
    const onSignal = () => {
      if (stop.signal.aborted) process.exit(1);
      stop.abort();
      resolve();
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  });
  // A connection whose request is finished after that is not kept for another.
  app.addHook('onSend', async (_request, reply) => {
    if (stop.signal.aborted) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async ({ method, routeOptions, caller }, reply) => {
    const { url = 'none', config } = routeOptions;
    const fields = { method, route: url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) };
    // Probes come every few seconds.
    log[config.scope === 'open' ? 'debug' : 'info']({ ...fields, key: caller?.keyId }, 'Answered.');
  });
  await listen(app, config);
  if (!isLocal)
    log.warn({}, 'The server listens beyond loopback: a proxy that speaks TLS has to stand in front of it.');
  await drained;
  log.info({}, 'The server stops: its streams end, and its requests are finished.');
  const graceMs = config.SESSION_CHAIN_SHUTDOWN_GRACE_MS;
  setTimeout(() => app.server.closeAllConnections(), graceMs).unref();
  // What a request of it still waits for may hold the database's connections, too.
  setTimeout(() => process.exit(1), graceMs + closingMs).unref();
  await app.close();
}

async function listen(app: Awaited<ReturnType<typeof createApp>>, config: Config): Promise<void> {
  const { SESSION_CHAIN_HTTP_HOST: host, SESSION_CHAIN_HTTP_PORT: port } = config;
  try {
    await app.listen({ host, port, listenTextResolver: (address) => `The server listens on ${address}.` });
  } catch (cause) {
    await app.close();
    throw new SessionChainError(
      'INVALID_INPUT',
      `The server cannot listen on ${host}, port ${port}: ${(cause as Error).message}.`,
      'Set SESSION_CHAIN_HTTP_HOST to an address of this machine and SESSION_CHAIN_HTTP_PORT to a free port (0 for any).',
      { cause },
    );
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
