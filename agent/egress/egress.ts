import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Dispatcher } from 'undici';
import { modelServiceOf } from './model-service.js';
import { type TaskHeaders, taskHeaders } from './task-headers.js';
import { createUpstream } from './upstream.js';

/**
 * The only way out of a sandbox: a proxy in the worker, which holds the credential of the model. What Claude Code asks of the
 * model goes to the model service with the credential put in; CONNECT and plain HTTP reach the hosts of an allow-list,
 * without it; everything else is refused.
 */
export interface Egress {
  /** A proxy for one process of Claude Code. */
  open(options: { listen: EgressListener }): Promise<OpenEgress>;
}

/**
 * - a socket, which the sandbox relays to its own 127.0.0.1:{@link portInside};
 * - `loopback`: a free port of this machine, where there is no sandbox.
 */
export type EgressListener = { socket: string } | 'loopback';

export interface OpenEgress {
  /** What Claude Code gets to reach the model and, through the proxy, other hosts. Nothing in it is a secret. */
  environment: Record<string, string>;
  /** What the process works on from now on; without a task, nothing reaches the model. */
  attach(task: TaskHeaders | null): void;
  /** Ends all connections. */
  close(): Promise<void>;
}

export interface EgressOptions {
  /** The model variables, with the credential. */
  model: Readonly<Record<string, string>>;
  /** The worker's environment, for the proxy that it is to use itself. */
  worker: Readonly<Record<string, string | undefined>>;
  /** `host:port` of what is reachable besides the model. */
  allow: readonly string[];
  log: (event: EgressEvent) => void;
}

/** Names a run in the log. */
interface EgressRun {
  sessionId: string;
  step: string;
}

export type EgressEvent = EgressRun &
  (
    | /** Logged once for each host, port and run. */
      { event: 'agent.egress_refused'; host: string; port: number }
      /** The model service, or its source of credentials, did not answer the worker. */
    | { event: 'agent.model_unreachable'; host: string; error: string }
  );

/** Where the proxy is reached inside a sandbox. */
export const portInside = 8787;
/** A run that asks for more hosts than this is no longer news. */
const maxLoggedHosts = 100;
const maxConnections = 512;
/** More than any model service takes. */
const maxSignedBytes = 64 * 1024 * 1024;

/** Of one connection, not of a request; and whatever could prove who pays. */
const droppedHeaders = new Set([
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'expect', 'host', 'http2-settings'],
]);
const credentialHeaders = new Set([
  ...['authorization', 'x-api-key', 'api-key', 'x-amz-date', 'x-amz-security-token', 'x-amz-content-sha256'],
  'x-goog-user-project',
]);

/** One per worker: connections to the model service are shared by all runs. Throws what {@link modelServiceOf} throws. */
export function createEgress({ model, worker, allow, log }: EgressOptions): Egress {
  const service = modelServiceOf(model);
  const upstream = createUpstream(worker);
  const allowed = new Set(allow.map((entry) => entry.toLowerCase()));

  return {
    async open({ listen }) {
      let task: TaskHeaders | null = null;
      const run = (): EgressRun => ({ sessionId: task?.sessionId ?? '', step: task?.task.name ?? '' });
      const token = randomBytes(16).toString('hex');
      const refusals = new Set<string>();
      const tunnels = new Set<Duplex>();
      const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 });
      server.maxConnections = maxConnections;

      /** The words of a refusal; null for a host that is allowed. */
      function refusal(host: string, port: number): string | null {
        const target = `${host.toLowerCase()}:${port}`;
        if (allowed.has(target)) return null;
        if (!refusals.has(target) && refusals.size < maxLoggedHosts) {
          refusals.add(target);
          log({ event: 'agent.egress_refused', ...run(), host, port });
        }
        return `${target} is not reachable from here: the operator would add it to sandbox.egress`;
      }

      async function toModel(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
        const [method, path] = [incoming.method ?? '', (incoming.url ?? '').slice(token.length + 1)];
        const url = incoming.url?.startsWith(`/${token}/`) ? service.urlOf(method, path) : null;
        if (url === null)
          return sendError(outgoing, 404, 'not_found_error', 'Not part of what an agent may ask.');
        if (task === null) return sendError(outgoing, 403, 'permission_error', 'No task is under way.');
        try {
          const body = service.signsBody ? await boundedBody(incoming) : null;
          if (body === 'too large') {
            return sendError(outgoing, 413, 'request_too_large', 'The request is too large.');
          }
          const credentials = await service.credentials({ method, url, body: body ?? Buffer.alloc(0) });
          const headers = headersOf(incoming, credentialHeaders);
          const { 'anthropic-beta': betas, ...own } = service.headers;
          if (betas !== undefined)
            headers['anthropic-beta'] = [headers['anthropic-beta'], betas].filter(Boolean).join(',');
          const all = { ...taskHeaders(task), ...headers, ...credentials, ...own };
          await forward(url, all, incoming, outgoing, body);
        } catch (error) {
          const code = codeOf(error);
          // The agent has hung up, which says nothing about the service.
          if (outgoing.destroyed && (!outgoing.headersSent || code === 'ERR_STREAM_PREMATURE_CLOSE')) return;
          log({ event: 'agent.model_unreachable', ...run(), host: url.host, error: code });
          if (outgoing.headersSent) outgoing.destroy();
          else if (isRefusedCredential(error)) {
            sendError(
              outgoing,
              401,
              'authentication_error',
              `The worker got no credential for the model service: ${code}.`,
            );
          } else sendError(outgoing, 502, 'api_error', `The model service cannot be reached: ${code}.`);
        }
      }

      /** A request in absolute form, as to any proxy. */
      async function toHost(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
        const url = URL.canParse(incoming.url ?? '') ? new URL(incoming.url ?? '') : null;
        if (url?.protocol !== 'http:' || url.username !== '')
          return sendText(outgoing, 400, 'Not a proxy for this.');
        const words = refusal(url.hostname, Number(url.port || 80));
        if (words !== null) return sendText(outgoing, 403, words);
        try {
          await forward(url, headersOf(incoming, new Set()), incoming, outgoing, null);
        } catch (error) {
          if (outgoing.headersSent) outgoing.destroy();
          else sendText(outgoing, 502, `${url.host} cannot be reached: ${codeOf(error)}`);
        }
      }

      async function forward(
        url: URL,
        headers: Record<string, string | string[]>,
        incoming: IncomingMessage,
        outgoing: ServerResponse,
        body: Buffer | null,
      ): Promise<void> {
        const gone = new AbortController();
        outgoing.once('close', () => gone.abort());
        if (outgoing.destroyed) return;
        const hasBody = 'content-length' in headers || incoming.headers['transfer-encoding'] !== undefined;
        const answer = await upstream.request(url, {
          method: incoming.method as Dispatcher.HttpMethod,
          headers,
          body: body ?? (hasBody ? incoming : null),
          signal: gone.signal,
        });
        outgoing.writeHead(answer.statusCode, withoutDropped(answer.headers));
        outgoing.flushHeaders();
        await pipeline(answer.body, outgoing);
      }

      async function tunnel(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
        const end = (status: string, words: string) =>
          socket.end(
            `HTTP/1.1 ${status} ${words}\r\ncontent-type: text/plain\r\ncontent-length: ${words.length}\r\nconnection: close\r\n\r\n${words}`,
          );
        tunnels.add(socket);
        socket.on('error', () => undefined).once('close', () => tunnels.delete(socket));
        const [, host, port] =
          /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(incoming.url ?? '') ?? [];
        if (host === undefined) return void end('400', 'CONNECT takes host:port');
        const words = refusal(host, Number(port));
        if (words !== null) return void end('403', words);
        try {
          const far = await upstream.tunnel(host, Number(port));
          far.on('error', () => undefined);
          if (socket.destroyed) return void far.destroy();
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
          if (head.length > 0) far.write(head);
          socket.once('close', () => far.destroy());
          far.once('close', () => socket.destroy());
          far.pipe(socket).pipe(far);
        } catch (error) {
          end('502', `${host}:${port} cannot be reached: ${codeOf(error)}`);
        }
      }

      server.on('request', (incoming, outgoing) => {
        outgoing.on('error', () => undefined);
        const answered = incoming.url?.startsWith('/')
          ? toModel(incoming, outgoing)
          : toHost(incoming, outgoing);
        // What comes from inside must not end the worker, whatever it is.
        void answered.catch(() => outgoing.destroy());
      });
      server.on(
        'connect',
        (incoming, socket, head) => void tunnel(incoming, socket, head).catch(() => socket.destroy()),
      );
      const { port, release } = await listenOn(server, listen);
      return {
        environment: environmentOf(`http://127.0.0.1:${port}`, token),
        attach(next) {
          task = next;
          refusals.clear();
        },
        async close() {
          const closed = once(server, 'close');
          server.close();
          server.closeAllConnections();
          for (const socket of tunnels) socket.destroy();
          await closed;
          await release();
        },
      };
    },
  };

  function environmentOf(proxy: string, token: string): Record<string, string> {
    // Tools look for either spelling. What a run starts on its own loopback is not the proxy's business.
    const local = 'localhost,127.0.0.1,::1';
    return {
      ...service.environment(`${proxy}/${token}`),
      ...{ HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: local },
      ...{ http_proxy: proxy, https_proxy: proxy, no_proxy: local },
    };
  }
}

async function listenOn(
  server: Server,
  listen: EgressListener,
): Promise<{ port: number; release: () => Promise<void> }> {
  if (listen === 'loopback') {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port, release: async () => undefined };
  }
  // The address of a socket holds about a hundred bytes, a path may be longer: the folder is named by its descriptor.
  const folder = await open(dirname(listen.socket), 'r');
  try {
    server.listen(`/proc/self/fd/${folder.fd}/${basename(listen.socket)}`);
    await once(server, 'listening');
  } catch (error) {
    await folder.close();
    throw error;
  }
  return { port: portInside, release: () => folder.close() };
}

async function boundedBody(incoming: IncomingMessage): Promise<Buffer | 'too large'> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxSignedBytes) return 'too large';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function headersOf(
  incoming: IncomingMessage,
  without: ReadonlySet<string>,
): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(withoutDropped(incoming.headers)).filter(([name]) => !without.has(name)),
  );
}

function withoutDropped(headers: NodeJS.Dict<string | string[]>): Record<string, string | string[]> {
  const named = String(headers.connection ?? '')
    .toLowerCase()
    .split(/\s*,\s*/);
  return Object.fromEntries(
    Object.entries(headers).filter(
      (header): header is [string, string | string[]] =>
        header[1] !== undefined && !droppedHeaders.has(header[0]) && !named.includes(header[0]),
    ),
  );
}

/** In the form of the Messages API, which Claude Code understands. */
function sendError(outgoing: ServerResponse, status: number, type: string, message: string): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' });
  outgoing.end(JSON.stringify({ type: 'error', error: { type, message } }));
}

function sendText(outgoing: ServerResponse, status: number, words: string): void {
  outgoing.writeHead(status, { 'content-type': 'text/plain' }).end(`${words}\n`);
}

/** What went wrong, in a word: a message may quote what it should not. */
function codeOf(error: unknown): string {
  const codes = chainOf(error).map((each) => (each as { code?: unknown }).code);
  const code = codes.find(
    (each): each is string => typeof each === 'string' && /^[A-Z][A-Z0-9_]+$/.test(each),
  );
  return code ?? (error instanceof Error ? error.name : 'unknown');
}

/** Whether the source of credentials said no, and did not merely fail to answer. */
function isRefusedCredential(error: unknown): boolean {
  return chainOf(error).some((each) => {
    const { name, status } = each as { name?: unknown; status?: unknown };
    return name === 'CredentialsProviderError' || (typeof status === 'number' && status < 500);
  });
}

function chainOf(error: unknown): object[] {
  return typeof error === 'object' && error !== null
    ? [error, ...chainOf((error as { cause?: unknown }).cause)]
    : [];
}
