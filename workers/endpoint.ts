import { once } from 'node:events';
import { type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SessionChainError } from '../contracts/failures.js';
import type { WorkerHealth } from './health.js';

export interface Address {
  host: string;
  port: number;
}

/** What the endpoint tells; a worker that starts is not ready. */
export interface Told {
  /** Null before the worker is ready. */
  health(): Promise<WorkerHealth> | null;
  /** In the text format of Prometheus. */
  metrics(): Promise<string>;
}

export interface Endpoint {
  /** Where it listens. */
  url: string;
  close(): void;
}

/**
 * Answers /healthz as long as this process can answer at all, /readyz while its worker takes on work, and /metrics. It asks for
 * no key and tells no name of a project. Throws INVALID_CONFIG for an address on which it cannot listen.
 */
export async function openEndpoint(address: Address, told: Told): Promise<Endpoint> {
  const paths: Record<string, (response: ServerResponse) => Promise<unknown>> = {
    '/healthz': async (response) => sendJson(response, 200, { status: 'ok' }),
    '/readyz': async (response) => {
      const health = await told.health();
      sendJson(response, health?.status === 'ready' ? 200 : 503, health ?? { status: 'starting' });
    },
    '/metrics': async (response) =>
      send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', await told.metrics()),
  };
  const server = createServer(
    // A client that is slow, or holds many connections, costs little.
    { requestTimeout: 10_000, headersTimeout: 10_000, connectionsCheckingInterval: 5_000 },
    ({ method, url = '' }, response) => {
      const answer = paths[url.split('?')[0] ?? ''];
      if (!answer)
        return send(
          response,
          404,
          'text/plain',
          `Here are ${Object.keys(paths).join(', ')} and nothing else.\n`,
        );
      if (method !== 'GET' && method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        return send(response, 405, 'text/plain', 'Use GET.\n');
      }
      answer(response).catch(() => response.destroy());
    },
  );
  server.maxConnections = 64;
  await listen(server, address);
  const { address: host, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${host}]` : host}:${port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  send(response, status, 'application/json', `${JSON.stringify(body)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(body);
}

async function listen(server: Server, { host, port }: Address): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new SessionChainError(
      'INVALID_CONFIG',
      `The worker cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}.`,
      'Set SESSION_CHAIN_WORKER_HTTP to a free address of this machine, as host:port, or leave it out.',
    );
  }
}
