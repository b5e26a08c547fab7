import createClient, { type Client } from 'openapi-fetch';
import type {
  EventData,
  EventType,
  EntryPart,
  LiveEntry,
  LiveItem,
  LiveText,
  ProjectEvent,
  QuestionEvent,
  StepEvent,
  WatchGap,
  WatchItem,
} from '../contracts/events.js';
import { type SseMessage, messagesOf } from './sse.js';
import type { components, paths } from './schema.js';

/** `session-chain/http`: what a browser or another program imports to speak to `session-chain serve`. */
export type { components, paths };
export type {
  EntryPart,
  EventData,
  EventType,
  LiveEntry,
  LiveItem,
  LiveText,
  ProjectEvent,
  QuestionEvent,
  StepEvent,
  WatchGap,
  WatchItem,
};

export interface HttpClientOptions {
  /** Where the server is, such as `http://localhost:8420`. */
  baseUrl: string;
  /** A key of `session-chain keys create`. It goes into a header, never into an address. */
  key?: string;
  /** In place of the global one. */
  fetch?: (request: Request) => Promise<Response>;
}

/** Why a call was refused or failed (RFC 9457). */
export type Problem = components['schemas']['Problem'];

/** Which events: of all projects, of a project, or of a chain. */
export type StreamSubject =
  { all: true } | { projectId: string } | { projectId: string; versionId: string; buildId: string };

export interface StreamOptions {
  /** The cursor of the last item that was seen; `0` for the oldest event that is kept. Default: what comes, and for a chain its newest start. */
  after?: string;
  /** Whether live entries and live text are shown. Default: true, except over all projects. */
  live?: boolean;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Each time that the server has answered, and each time that the connection is lost, until the stream ends. */
  onOpen?: () => void;
  onBreak?: () => void;
}

export interface HttpClient extends Client<paths> {
  /**
   * The items of a watch as the server sends them. A stream that breaks is taken up again behind the last item, so that no event is
   * missed and none comes twice; it ends with the signal and, of a chain, with its end. Throws {@link HttpStreamError} for what
   * trying again cannot mend.
   * @example
   * for await (const item of http.streamEvents({ projectId: 'shop' })) console.log(item.type, item.cursor);
   */
  streamEvents(subject: StreamSubject, options?: StreamOptions): AsyncGenerator<WatchItem, void, undefined>;
}

/** A stream that the server refused, or that its key may not read any more. */
export class HttpStreamError extends Error {
  override readonly name = 'HttpStreamError';
  constructor(
    /** What the server said; null where it said nothing that is a problem. */
    readonly problem: Problem | null,
    message: string,
  ) {
    super(message);
  }
}

/**
 * A typed client of the HTTP server, for browsers and Node: `GET`, `POST` with the paths of docs/openapi.json, and the stream of
 * events. A call returns `data` or, where the server refused it, `error`, a problem.
 * @example
 * const http = createHttpClient({ baseUrl: 'http://localhost:8420', key });
 * const { data, error } = await http.GET('/v1/projects/{projectId}/head', { params: { path: { projectId: 'shop' } } });
 */
export function createHttpClient({
  baseUrl,
  key,
  fetch = (request) => globalThis.fetch(request),
}: HttpClientOptions): HttpClient {
  const base = baseUrl.replace(/\/+$/, '');
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const client = createClient<paths>({ baseUrl: base, headers, fetch });
  return Object.assign(client, {
    streamEvents: (subject: StreamSubject, options: StreamOptions = {}) =>
      streamEvents(`${base}${pathOf(subject)}`, headers, fetch, options),
  });
}

function pathOf(subject: StreamSubject): string {
  if ('all' in subject) return '/v1/events/stream';
  const project = `/v1/projects/${encodeURIComponent(subject.projectId)}`;
  if (!('versionId' in subject)) return `${project}/events/stream`;
  const chain = [subject.versionId, subject.buildId].map(encodeURIComponent).join('/');
  return `${project}/chains/${chain}/events/stream`;
}

/** The server sends something at least every 15 s; a connection that is silent for this long is dead. */
const silenceMs = 45_000;
const firstPauseMs = 500;
const slowestPauseMs = 30_000;

async function* streamEvents(
  address: string,
  headers: Record<string, string>,
  fetch: (request: Request) => Promise<Response>,
  { after, live, signal, onOpen, onBreak }: StreamOptions,
): AsyncGenerator<WatchItem, void, undefined> {
  let cursor = after;
  let pauseMs = firstPauseMs;
  while (!signal?.aborted) {
    const connection = connect(signal);
    let retryMs: number | null = null;
    try {
      const url = new URL(address);
      if (cursor !== undefined) url.searchParams.set('after', cursor);
      if (live !== undefined) url.searchParams.set('live', String(live));
      const request = new Request(url, {
        headers: { ...headers, accept: 'text/event-stream' },
        signal: connection.signal,
      });
      const response = await fetch(request);
      if (!response.ok || !response.body) retryMs = await retryOf(response);
      else {
        onOpen?.();
        for await (const message of messagesOf(response.body, connection.alive)) {
          pauseMs = firstPauseMs;
          if (message.id !== null) cursor = message.id;
          if (message.event === 'end') {
            const { reason } = dataOf<{ reason: string }>(message);
            if (reason === 'closed') return;
            if (reason === 'key_invalid') throw new HttpStreamError(null, 'The key is not valid any more.');
          } else if (message.event !== 'ping' && message.event !== 'problem') {
            yield dataOf<WatchItem>(message);
          }
        }
      }
    } catch (error) {
      if (error instanceof HttpStreamError) throw error;
      // The connection broke, or was silent for too long: it is taken up again.
    } finally {
      connection.close();
    }
    onBreak?.();
    await pause(Math.max(retryMs ?? 0, pauseMs * (0.5 + Math.random() / 2)), signal);
    pauseMs = Math.min(2 * pauseMs, slowestPauseMs);
  }
}

/** When to try again after a refusal. Throws where that cannot help. */
async function retryOf(response: Response): Promise<number> {
  const said = (await response.json().catch(() => null)) as Problem | null;
  if (response.status < 500 && response.status !== 429)
    throw new HttpStreamError(said, said?.detail ?? `The server answered ${response.status}.`);
  return Number(response.headers.get('retry-after') ?? 0) * 1_000;
}

function dataOf<Data>({ data }: SseMessage): Data {
  return JSON.parse(data) as Data;
}

/** A signal that ends a connection: with the caller's, or once nothing has come for too long. */
function connect(signal: AbortSignal | undefined) {
  const controller = new AbortController();
  const close = () => controller.abort();
  signal?.addEventListener('abort', close);
  let silence = setTimeout(close, silenceMs);
  return {
    signal: controller.signal,
    alive: () => {
      clearTimeout(silence);
      silence = setTimeout(close, silenceMs);
    },
    close: () => {
      clearTimeout(silence);
      signal?.removeEventListener('abort', close);
      close();
    },
  };
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end);
  });
}
