import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { nextTurn } from './builder.js';
import { readSession, readStepHint, readSubagent } from './headers.js';
import {
  activate,
  type ActiveInjection,
  type ApiFailure,
  type Injection,
  type InjectionHandle,
} from './injections.js';
import { InvalidRequestError, parseMessagesRequest, type MessagesRequest, type Turn } from './messages.js';
import { sessionIdOf, type OfflineRequest, type ResponseSummary } from './request-log.js';
import { encodeEvent, toStreamEvents, type Message } from './sse.js';
import { countOutputTokens, countTokens, createPromptCache } from './usage.js';

export interface OfflineModelOptions {
  /** 0, the default, takes a free port. */
  port?: number;
  host?: string;
  /** How many requests the log keeps; the oldest go first. A body is 100 kB and more. */
  maxLoggedRequests?: number;
}

export interface OfflineModel {
  /** For ANTHROPIC_BASE_URL. */
  url: string;
  port: number;
  /** The `POST /v1/messages` requests so far, oldest first. */
  requests: readonly OfflineRequest[];
  /** Disturbs requests to come; of several injections that match, the oldest applies. */
  inject(injection: Injection): InjectionHandle;
  /** Holds the next matching request before its answer; see `reached` and `release` of the handle. */
  holdNext(when?: Injection['when']): InjectionHandle;
  /** Cuts all connections and closes the server. */
  stop(): Promise<void>;
}

/**
 * Starts the offline model: a loopback server that speaks the streaming Messages API and plays an app builder through
 * real tool calls. It keeps no state between requests except for what the usage figures need (the prompt cache) and
 * the log. Any API key is accepted, a missing one is not. Rejects with the server's own error when the port is taken.
 */
export async function startOfflineModel(options: OfflineModelOptions = {}): Promise<OfflineModel> {
  const { port = 0, host = '127.0.0.1', maxLoggedRequests = 500 } = options;
  const cache = createPromptCache();
  const requests: OfflineRequest[] = [];
  const injections = new Set<ActiveInjection>();
  let received = 0;

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendFailure(response, { status: 500, message: String(error) });
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address() as AddressInfo;

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('request-id', `req_${randomUUID().replaceAll('-', '')}`);
    const path = new URL(incoming.url ?? '/', 'http://offline-model').pathname;
    if (path === '/' && (incoming.method === 'GET' || incoming.method === 'HEAD')) {
      sendJson(response, 200, { name: 'session-chain offline model' });
      return;
    }
    const isMessages = path === '/v1/messages';
    if (incoming.method !== 'POST' || (!isMessages && path !== '/v1/messages/count_tokens')) {
      sendFailure(response, { status: 404, message: `Not found: ${incoming.method} ${path}` });
      return;
    }
    const bodyText = await readBody(incoming);
    if (!incoming.headers['x-api-key'] && !incoming.headers.authorization) {
      sendFailure(response, { status: 401, message: 'x-api-key header is required' });
      return;
    }
    let body: MessagesRequest;
    let logged: OfflineRequest;
    try {
      body = parseMessagesRequest(bodyText);
      logged = toLogEntry(incoming, body, bodyText);
    } catch (error) {
      if (!(error instanceof InvalidRequestError || error instanceof RangeError)) throw error;
      sendFailure(response, { status: 400, message: error.message });
      return;
    }
    if (!isMessages) {
      sendJson(response, 200, { input_tokens: countTokens(body) });
      return;
    }
    requests.push(logged);
    if (requests.length > maxLoggedRequests) requests.shift();
    await answer(body, logged, response);
  }

  function toLogEntry(incoming: IncomingMessage, body: MessagesRequest, bodyText: string): OfflineRequest {
    return {
      ...readStepHint(incoming.headers),
      number: (received += 1),
      at: new Date().toISOString(),
      model: body.model,
      sessionId: readSession(incoming.headers) ?? sessionIdOf(body.metadata?.user_id),
      subagent: readSubagent(incoming.headers),
      bodyText,
    };
  }

  async function answer(
    body: MessagesRequest,
    logged: OfflineRequest,
    response: ServerResponse,
  ): Promise<void> {
    const active = [...injections].find((candidate) => candidate.matches(logged));
    const injection = active?.injection ?? {};
    active?.hit(logged);
    if (injection.hold !== 'midStream') active?.markReached(logged);
    if (injection.hold === 'before') await active?.released;
    if (injection.delayMs !== undefined) await delay(injection.delayMs);
    if (injection.drop === 'before') {
      response.destroy();
      return;
    }
    if (injection.fail) {
      logged.response = { status: injection.fail.status, text: '', toolCalls: [] };
      sendFailure(response, injection.fail);
      return;
    }
    if (response.destroyed) return;
    const planned = nextTurn(body, logged, logged.subagent !== undefined);
    const turn = injection.answer ? injection.answer(planned) : planned;
    const message = toMessage(body, turn);
    logged.usage = message.usage;
    if (body.stream === true && !(await streamUpToEnd(message, logged, response, active))) return;
    // Logged before the client can see the end, so that a client that saw it finds the log complete.
    logged.response = summaryOf(message);
    if (body.stream === true) response.end();
    else sendJson(response, 200, message);
  }

  function toMessage(body: MessagesRequest, turn: Turn): Message {
    return {
      id: newId('msg'),
      type: 'message',
      role: 'assistant',
      model: body.model,
      content: turn.content.map((block) =>
        block.type === 'tool_use' ? { ...block, id: newId('toolu') } : block,
      ),
      stop_reason: turn.stopReason,
      stop_sequence: null,
      usage: { ...cache.account(body, Date.now()), output_tokens: countOutputTokens(turn.content) },
    };
  }

  function inject(injection: Injection): InjectionHandle {
    const active = activate(injection);
    injections.add(active);
    return active;
  }

  return {
    url: `http://${host}:${address.port}`,
    port: address.port,
    requests,
    inject,
    holdNext: (when) => inject({ hold: 'before', ...(when && { when }) }),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      for (const active of injections) active.remove();
      await closed;
    },
  };
}

/**
 * Streams an answer; an injection may stop it after the first delta, for a while or permanently. Returns whether all of
 * it was sent; ending the response is left to the caller.
 */
async function streamUpToEnd(
  message: Message,
  logged: OfflineRequest,
  response: ServerResponse,
  active: ActiveInjection | undefined,
): Promise<boolean> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  let isFirstDelta = true;
  for (const event of toStreamEvents(message)) {
    if (response.destroyed) return false;
    response.write(encodeEvent(event));
    if (event.type !== 'content_block_delta' || !isFirstDelta) continue;
    isFirstDelta = false;
    if (active?.injection.hold === 'midStream') {
      active.markReached(logged);
      await active.released;
    }
    if (active?.injection.drop === 'midStream') {
      await new Promise((flushed) => response.write(': cut here\n\n', flushed));
      response.destroy();
    }
  }
  return !response.destroyed;
}

function summaryOf({ id, content, stop_reason: stopReason }: Message): ResponseSummary {
  return {
    status: 200,
    messageId: id,
    stopReason,
    text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    toolCalls: content.flatMap((block) =>
      block.type === 'tool_use' ? [{ name: block.name, input: block.input }] : [],
    ),
  };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

function sendFailure(response: ServerResponse, { status, type, message, headers }: ApiFailure): void {
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  const error = {
    type: type ?? errorTypes[status] ?? 'api_error',
    message: message ?? `Injected failure ${status}.`,
  };
  sendJson(response, status, { type: 'error', error, request_id: response.getHeader('request-id') });
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function newId(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll('-', '').slice(0, 24)}`;
}
