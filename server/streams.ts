import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { SessionChain } from '../client/session-chain.js';
import type { WatchSubject } from '../client/watch.js';
import type { WatchItem } from '../contracts/events.js';
import './caller.js';
import { HttpProblem, problemOf } from './problems.js';
import { chainParams, given, projectParams, reads, refusals, whole } from './routes/common.js';
import './scopes.js';

export interface StreamsOptions {
  sessionChain: SessionChain;
  /** Streams at a time, of the whole server and of one key; one more is refused. Default: 1000 and 200. */
  maxStreams?: number;
  maxStreamsOfKey?: number;
  /** After this time without anything else comes a `ping`; as often the viewer's key is checked again. Default: 15 s. */
  pingMs?: number;
  /** A viewer that takes nothing for this long is cut off. Default: 30 s. */
  stallMs?: number;
}

/** Why a stream ends. Unless its chain is `closed`, a viewer may connect again, with the id of the last event that it has. */
type StreamEnd = 'closed' | 'draining' | 'key_invalid' | 'failed';

/**
 * Events of all projects, of a project and of a chain: as pages of JSON, and as server-sent events. A stream reads its next
 * page when its viewer has taken the last one, so that a slow viewer costs one page.
 */
export async function streams(app: FastifyInstance, options: StreamsOptions): Promise<void> {
  const { sessionChain } = options;
  const streams = openStreams(app, options);
  const routes = app.withTypeProvider<ZodTypeProvider>();
  for (const { path, params, subjectOf, what, ids } of subjects) {
    routes.get(
      path,
      {
        config: { scope: 'read' },
        schema: {
          ...{ tags, operationId: `list${ids}`, params },
          summary: `Events of ${what}`,
          description:
            'A page of events, oldest first. `nextCursor` is where to go on, also when there are no more yet.',
          querystring: z.strictObject({
            after: after.default('0'),
            limit: whole(1, 1_000, 'Events at most; default 100').optional(),
          }),
          response: reads(pageSchema),
        },
      },
      async ({ params, query }) => await sessionChain.events(subjectOf(params), given(query)),
    );
    routes.get(
      `${path}/stream`,
      {
        // A stream without its body would never end.
        exposeHeadRoute: false,
        config: { scope: 'read' },
        schema: {
          ...{ tags, operationId: `stream${ids}`, params },
          summary: `Events of ${what}, as they happen`,
          description: streamDescription,
          querystring: z.strictObject({
            after: after.optional(),
            live: z
              .enum(['true', 'false'])
              .optional()
              .describe(
                'Whether live entries and live text are shown. Default: true, except over all projects',
              ),
          }),
          headers: z.looseObject({ 'last-event-id': after.optional() }),
          response: { 200: stream, ...refusals },
        },
      },
      async (request, reply) => {
        const subject = subjectOf(request.params);
        const { live } = request.query;
        const { stop, leave } = streams.enter(request);
        try {
          // An EventSource that connects again knows better than the address with which it was made.
          const from = request.headers['last-event-id'] || request.query.after;
          // Whatever is wrong is told before the stream begins.
          const { nextCursor } = await sessionChain.events(subject, { after: from ?? 'now', limit: 1 });
          const begin = from ?? (what === 'a chain' ? null : nextCursor);
          const items = sessionChain.watch(subject, {
            ...(begin === null ? {} : { after: begin }),
            ...(live === undefined ? {} : { live: live === 'true' }),
            signal: stop.signal,
          });
          const isDraining = () => streams.areDraining();
          await send(request, reply, { items, stop, begin, isDraining }, options);
        } finally {
          leave();
        }
        return reply;
      },
    );
  }
}

/** The streams that are open. When the app closes, they end. */
function openStreams(app: FastifyInstance, { maxStreams = 1_000, maxStreamsOfKey = 200 }: StreamsOptions) {
  const viewers = new Map<AbortController, string>();
  let draining = false;
  app.addHook('preClose', async () => {
    draining = true;
    for (const stop of viewers.keys()) stop.abort();
  });
  return {
    areDraining: () => draining,
    /** Refuses one stream too many of a key (429) or of the server (503). */
    enter({ caller, ip }: FastifyRequest): { stop: AbortController; leave: () => void } {
      const viewer = caller.keyId ?? ip;
      if (draining || viewers.size >= maxStreams) {
        throw new HttpProblem(
          503,
          draining ? 'The server is shutting down.' : `The server has ${maxStreams} open streams already.`,
          'Connect again later, or read pages of events.',
          5_000,
        );
      }
      if ([...viewers.values()].filter((one) => one === viewer).length >= maxStreamsOfKey) {
        throw new HttpProblem(
          429,
          `The caller has ${maxStreamsOfKey} open streams already.`,
          'Close those that are not needed, or let several viewers share one.',
          5_000,
        );
      }
      const stop = new AbortController();
      viewers.set(stop, viewer);
      return { stop, leave: () => viewers.delete(stop) };
    },
  };
}

const after = z
  .string()
  .describe(
    'The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes',
  );

const tags = ['events'];
const subjects: {
  path: string;
  params: z.ZodObject<Record<string, z.ZodString>>;
  what: string;
  /** In the name of the operation. */
  ids: string;
  subjectOf: (params: Record<string, string>) => WatchSubject;
}[] = [
  {
    path: '/v1/events',
    params: z.strictObject({}),
    what: 'all projects',
    ids: 'Events',
    subjectOf: () => ({ all: true }),
  },
  {
    path: '/v1/projects/:projectId/events',
    params: projectParams,
    what: 'a project',
    ids: 'ProjectEvents',
    subjectOf: ({ projectId = '' }) => projectId,
  },
  {
    path: '/v1/projects/:projectId/chains/:versionId/:buildId/events',
    params: chainParams,
    what: 'a chain',
    ids: 'ChainEvents',
    subjectOf: ({ projectId = '', versionId = '', buildId = '' }) => ({ projectId, versionId, buildId }),
  },
];

const eventSchema = z
  .looseObject({
    type: z.string().describe('Such as `step.committed`; a type that is not known is to be ignored'),
    cursor: z.string().describe('Where to go on after it'),
    id: z.int().describe('Rises within a project'),
    at: z.string().describe('ISO 8601'),
    projectId: z.string(),
    versionId: z.string().nullable(),
    buildId: z.string().nullable(),
    chainId: z.string().nullable().describe('Null outside a chain'),
    data: (z.looseObject({}) as z.ZodType<object>).describe(
      'What the type carries: ids, numbers and short labels',
    ),
  })
  .meta({ id: 'Event', description: 'What happened to a project' });

const gapSchema = z.object({
  type: z.literal('gap'),
  cursor: z.string(),
  reason: z
    .enum(['trimmed', 'ahead'])
    .describe('They were older than events are kept; or the database went back to before them'),
});

const pageSchema = z
  .object({
    events: z.array(eventSchema),
    nextCursor: z.string().describe('Where to go on, also when there are no more yet'),
    hasMore: z.boolean().describe('Whether there are more already'),
    gap: gapSchema
      .nullable()
      .describe(
        'Set where the events after the cursor are gone: read the present state, then go on at nextCursor',
      ),
  })
  .meta({ id: 'EventPage', description: 'Some events, in their order' });

const stream = {
  description: 'Server-sent events: `id` is a cursor, `event` a type, `data` JSON',
  content: { 'text/event-stream': { schema: z.string() } },
};

const streamDescription = [
  'The events as they happen, and between them what running steps and answers store (`live.entry`) and write (`live.text`).',
  'A viewer that connects again with `Last-Event-ID`, or `after`, misses none and gets none twice.',
  '`gap`: events are no longer kept; read the present state. `ping`: nothing else has happened for a while.',
  '`end` is the last one, and says why: `closed`, the chain has ended; `draining` or `failed`, connect again; `key_invalid`.',
].join(' ');

interface Sending {
  items: AsyncGenerator<WatchItem>;
  stop: AbortController;
  /** The cursor of the beginning; null where it is not known before the first item. */
  begin: string | null;
  isDraining: () => boolean;
}

/** Sends a watch to its viewer until either ends. */
async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  { items, stop, begin, isDraining }: Sending,
  { pingMs = 15_000, stallMs = 30_000 }: StreamsOptions,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  let cursor = begin;
  let why: StreamEnd = 'closed';
  const gone = () => stop.abort();
  raw.on('close', gone).on('error', gone);
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) raw.setHeader(name, value);
  }
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    // Kept open for other requests it would hold up a server that shuts down.
    connection: 'close',
    'x-accel-buffering': 'no',
  });
  raw.write(message('ping', {}, cursor));
  const ping = setInterval(() => {
    // A viewer that has not taken what there is gets nothing on top of it.
    if (raw.writableNeedDrain) return;
    if (!raw.write(message('ping', {}, cursor))) void hasTaken(raw, stallMs);
  }, pingMs);
  // A timer of its own: a stream that is never silent is never pinged.
  const check = setInterval(() => {
    void isAllowed(request).then((allowed) => {
      if (allowed) return;
      why = 'key_invalid';
      stop.abort();
    });
  }, pingMs);
  try {
    for await (const item of items) {
      cursor = item.cursor;
      ping.refresh();
      if (!raw.write(message(item.type, item, cursor)) && !(await hasTaken(raw, stallMs))) return;
    }
    if (isDraining()) why = 'draining';
  } catch (error) {
    why = 'failed';
    request.log.warn({ err: error }, 'A stream of events failed.');
    raw.write(message('problem', problemOf(error), null));
  } finally {
    clearInterval(ping);
    clearInterval(check);
    raw.off('close', gone);
    if (!raw.destroyed) raw.end(message('end', { reason: why }, cursor));
  }
}

function message(event: string, data: object, id: string | null): string {
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Whether a viewer takes what was sent. One that takes nothing for too long is cut off. */
async function hasTaken(raw: ServerResponse, stallMs: number): Promise<boolean> {
  if (raw.destroyed) return false;
  const over = new AbortController();
  const { signal } = over;
  const stalled = setTimeout(() => raw.destroy(), stallMs);
  try {
    await Promise.race([once(raw, 'drain', { signal }), once(raw, 'close', { signal })]);
    return !raw.destroyed;
  } catch {
    return false;
  } finally {
    clearTimeout(stalled);
    over.abort();
  }
}

/** A key that was revoked or has expired ends its streams; while the database is away that is not known. */
async function isAllowed({ caller }: FastifyRequest): Promise<boolean> {
  return await caller.isStillAllowed().catch(() => true);
}
