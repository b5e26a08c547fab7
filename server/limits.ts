import type { Socket } from 'node:net';
import rateLimit from '@fastify/rate-limit';
import {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RawServerDefault,
} from 'fastify';
import './caller.js';
import { HttpProblem, problemOf } from './problems.js';

export interface LimitsOptions {
  /** Bytes of a request's body. Default: 1 MiB. */
  bodyLimit?: number;
  /** Requests of one key. Default: 1200. */
  requestsPerMinute?: number;
  /** Requests of one address that showed no valid key. Default: 60. */
  failuresPerMinute?: number;
  /** Connections at a time; one more is closed at once. Default: 2000. */
  maxConnections?: number;
  /** Until the whole request has arrived. Default: 30 s; its headers within a third of it. */
  requestTimeoutMs?: number;
  /** Of a connection on which nothing moves while a request is answered. Default: 2 min. */
  stallTimeoutMs?: number;
  /** Pages of these origins may call. Default: none but the server's own. */
  origins?: readonly string[];
  /** The names that the header Host may have. Default: any. */
  hosts?: readonly string[] | null;
  /** Addresses of proxies whose X-Forwarded-For tells the address of a caller. Default: none. */
  trustedProxies?: readonly string[];
}

/** What holds for connections and for requests before they have a route. */
export function serverOptions({
  bodyLimit = 1_048_576,
  requestTimeoutMs = 30_000,
  trustedProxies = [],
}: LimitsOptions = {}): FastifyHttpOptions<RawServerDefault> {
  return {
    bodyLimit,
    requestTimeout: requestTimeoutMs,
    // Longer than load balancers keep idle connections, so that these are the ones that close.
    keepAliveTimeout: 72_000,
    http: {
      maxHeaderSize: 16_384,
      headersTimeout: Math.ceil(requestTimeoutMs / 3),
      connectionsCheckingInterval: Math.min(5_000, requestTimeoutMs),
    },
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    forceCloseConnections: 'idle',
    clientErrorHandler: refuseBroken,
    // One line per request, without what its address holds, is the matter of serve.ts.
    logController: new LogController({ disableRequestLogging: true }),
  };
}

/** Counts by which too many requests are refused (429). */
export interface Rates {
  /** Refuses an address that has shown too many keys that are not valid. */
  requireFewFailures(request: FastifyRequest): Promise<void>;
  countFailure(request: FastifyRequest): Promise<void>;
  /** Counts a request of a known caller, and refuses one too many. */
  countRequest(request: FastifyRequest): Promise<void>;
}

/** Security headers, allowed hosts and origins, and the rates; they apply to every request, also where there is no route. */
export async function limits(app: FastifyInstance, options: LimitsOptions = {}): Promise<Rates> {
  const { maxConnections = 2_000, stallTimeoutMs = 120_000, origins = [], hosts = null } = options;
  app.server.maxConnections = maxConnections;
  app.server.setTimeout(stallTimeoutMs);
  app.addHook('onRequest', async (request, reply) => {
    setSecurityHeaders(reply);
    if (hosts !== null) requireHost(request, hosts);
    if (origins.length > 0) await allowOrigin(request, reply, origins);
  });
  return await createRates(app, options);
}

const securityHeaders = [
  ['cache-control', 'no-store'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['cross-origin-resource-policy', 'same-origin'],
  ['referrer-policy', 'no-referrer'],
  ['x-content-type-options', 'nosniff'],
] as const;

/** On the raw answer, so that streams, which write their own heads, have them too. */
export function setSecurityHeaders({ raw }: FastifyReply): void {
  for (const [name, value] of securityHeaders) raw.setHeader(name, value);
}

/** A name of another host that leads to this machine would let a page of that name read what it should not (DNS rebinding). */
function requireHost({ headers }: FastifyRequest, hosts: readonly string[]): void {
  const name = (headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
  if (hosts.includes(name)) return;
  throw new HttpProblem(
    421,
    'The header Host names a host that this server is not.',
    'Use the address that the server prints, or let its operator add the name to SESSION_CHAIN_HTTP_HOSTS.',
  );
}

async function allowOrigin(
  { method, headers }: FastifyRequest,
  reply: FastifyReply,
  origins: readonly string[],
): Promise<void> {
  const { raw } = reply;
  raw.setHeader('vary', 'origin');
  if (headers.origin === undefined || !origins.includes(headers.origin)) return;
  raw.setHeader('access-control-allow-origin', headers.origin);
  raw.setHeader('access-control-expose-headers', 'etag, location, retry-after');
  if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return;
  await reply
    .headers({
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'access-control-allow-headers':
        'accept, authorization, content-type, idempotency-key, if-none-match, last-event-id',
      'access-control-max-age': '600',
    })
    .code(204)
    .send();
}

async function createRates(
  app: FastifyInstance,
  { requestsPerMinute = 1_200, failuresPerMinute = 60 }: LimitsOptions,
): Promise<Rates> {
  await app.register(rateLimit, { global: false });
  const timeWindow = 60_000;
  const failures = app.createRateLimit({ max: failuresPerMinute, timeWindow });
  const requests = app.createRateLimit({
    max: requestsPerMinute,
    timeWindow,
    keyGenerator: ({ caller }) => caller.keyId ?? '',
  });
  return {
    async requireFewFailures(request) {
      const counted = await failures(request, { increment: false });
      if (counted.isAllowed || counted.remaining > 0) return;
      throw new HttpProblem(
        429,
        'Too many requests from this address showed no valid key.',
        'Correct the key, and call again when Retry-After has passed.',
        counted.ttl,
      );
    },
    async countFailure(request) {
      await failures(request);
    },
    async countRequest(request) {
      const counted = await requests(request);
      if (counted.isAllowed || !counted.isExceeded) return;
      throw new HttpProblem(
        429,
        `The key makes more than ${counted.max} requests per minute.`,
        'Call again when Retry-After has passed. Where the calls ask for news, read a stream of events in their place.',
        counted.ttl,
      );
    },
  };
}

/** What is no request that a route could answer: its head is malformed, too large or too late. */
function refuseBroken(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (!socket.writable) return void socket.destroy();
  const [status, message, remedy] = ofParser[error.code ?? ''] ?? [
    400,
    'The request is not HTTP as it should be.',
    'Send a well-formed HTTP/1.1 request.',
  ];
  const said = problemOf(new HttpProblem(status, message, remedy));
  const body = JSON.stringify(said);
  const head = [
    `HTTP/1.1 ${status} ${said.title}`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

const ofParser: Record<string, [number, string, string]> = {
  HPE_HEADER_OVERFLOW: [
    431,
    'The head of the request is larger than 16 KiB.',
    'Send fewer or shorter headers.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request did not arrive in time.', 'Send the request again, at once.'],
};
