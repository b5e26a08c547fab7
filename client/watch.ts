import { z } from 'zod';
import type { ProjectEvent, WatchGap, WatchItem } from '../contracts/events.js';
import { SessionChainError } from '../contracts/failures.js';
import { type ChainId, type ChainKey, type ProjectId, parseProjectId } from '../contracts/ids.js';
import { isClosed } from '../contracts/steps.js';
import { requireChain } from '../storage/chains/chains.js';
import { readHead } from '../storage/heads/heads.js';
import {
  beforeNewestStart,
  beforeQuestion,
  lastEventId,
  readAllEvents,
  readProjectEvents,
} from '../storage/events/events.js';
import {
  type LiveAttempt,
  readAttemptsRunningAt,
  readLiveAttempts,
  readLiveStates,
} from '../storage/live/attempts.js';
import type { LivePiece } from '../storage/live/text.js';
import { chainKey } from './chain-key.js';
import { checkedOptions } from './input.js';
import { type LivePlace, type WatchPlace, cursorOf, liveStart, placeOf } from './watch-cursor.js';
import { type FollowOptions, type Followed, follow } from './watch-follow.js';
import type { WatchHub } from './watch-hub.js';

/** What is watched: a chain by its key (what a start or a list returned names it, too), a project by its id, or all projects. */
export type WatchSubject = string | ChainKey | { projectId: string; versionId: string } | { all: true };

export interface WatchOptions {
  /**
   * The cursor of the last item that was seen: what came after it follows. `0` begins with the oldest event that is kept, `now`
   * with what comes. Default: `now`, and for a chain its newest start.
   */
  after?: string;
  /** Ends the watch. */
  signal?: AbortSignal;
  /** Shows what running steps and answers store and write, too. Default: true; not for all projects. */
  live?: boolean;
  /** Events that are read at a time. Default: 100. */
  pageSize?: number;
}

/** Some events, in their order. */
export interface EventPage {
  events: ProjectEvent[];
  /** Where to go on, also when there are no more at present. */
  nextCursor: string;
  /** True where there are more already. */
  hasMore: boolean;
  /** Set where the events after the cursor are gone: then there are none, and `nextCursor` is behind the gap. */
  gap: WatchGap | null;
}

/** What happens to projects, as it happens. */
export interface Watches {
  /**
   * The events of a chain, a project or all projects as they happen, and between them what the running steps and answers
   * store (`live.entry`) and write (`live.text`, best effort). The entries of an attempt come before the event that ends it. Each
   * item's `cursor` is the place behind it: a watch that goes on `after` it misses no event and no entry, and repeats none. A
   * `gap` says that events are no longer kept. It goes on when the database was away, ends without an error with the signal and
   * with the client, and that of a chain with its end. Throws INVALID_INPUT, CHAIN_NOT_FOUND, PROJECT_NOT_FOUND.
   * @example
   * for await (const item of sessionChain.watch(started)) {
   *   if (item.type === 'live.text') process.stdout.write(item.text);
   *   if (item.type === 'step.committed') console.log(item.data.step, item.data.costUsd);
   * }
   */
  watch(subject: WatchSubject, options?: WatchOptions): AsyncGenerator<WatchItem, void, undefined>;
  /**
   * The events of a chain, a project or all projects after a cursor of a watch or of a page, `limit` (100) at most; without
   * `after` from the oldest that is kept. `after: 'now'` is an empty page whose `nextCursor` is the present place. Throws as
   * {@link Watches.watch}.
   * @example
   * const { events, nextCursor } = await sessionChain.events({ all: true }, { after: '0' });
   */
  events(subject: WatchSubject, options?: { after?: string; limit?: number }): Promise<EventPage>;
}

const pageSize = z.number().int().min(1).max(1_000).default(100);
const cursor = z.string();
const watchShape = {
  after: cursor.optional(),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'must be an AbortSignal').optional(),
  live: z.boolean().optional(),
  pageSize,
};

export function createWatches(hub: WatchHub): Watches {
  return {
    watch(subject, options) {
      const wanted = subjectOf(subject);
      const {
        after,
        signal = new AbortController().signal,
        live,
        pageSize,
      } = checkedOptions(watchShape, options);
      if (live === true && wanted.kind === 'all') {
        throw new SessionChainError(
          'INVALID_INPUT',
          'A watch over all projects cannot show live items.',
          'Leave out `live`, or watch a project or a chain.',
        );
      }
      const from = after === undefined || after === 'now' ? after : placeOf(after);
      return watch(hub, wanted, { from, signal, live: live ?? wanted.kind !== 'all', pageSize });
    },
    async events(subject, options) {
      const wanted = subjectOf(subject);
      const { after, limit } = checkedOptions({ after: cursor.default('0'), limit: pageSize }, options);
      const from = after === 'now' ? after : placeOf(after);
      const followed = await existing(hub, wanted);
      if (from === 'now') {
        const nextCursor = cursorOf(await placeNow(hub, followed, wanted.kind !== 'all'));
        return { events: [], nextCursor, hasMore: false, gap: null };
      }
      const { projectId, chainId } = followed;
      const page =
        projectId === null
          ? await readAllEvents(hub.pool, from.eventId, limit + 1)
          : await readProjectEvents(hub.pool, { projectId, ...ofChain(chainId) }, from.eventId, limit + 1);
      const events = page.events.slice(0, limit);
      return {
        events,
        nextCursor: page.gap?.cursor ?? events.at(-1)?.cursor ?? after,
        hasMore: page.events.length > limit,
        gap: page.gap,
      };
    },
  };
}

type Subject = { kind: 'all' } | { kind: 'project'; projectId: ProjectId } | { kind: 'chain'; key: ChainKey };

function subjectOf(subject: unknown): Subject {
  if (typeof subject === 'string') return { kind: 'project', projectId: parseProjectId(subject) };
  if (typeof subject === 'object' && subject !== null) {
    if (!('all' in subject)) return { kind: 'chain', key: chainKey(subject as ChainKey) };
    if (subject.all === true) return { kind: 'all' };
  }
  throw new SessionChainError(
    'INVALID_INPUT',
    'What is to be watched is neither a project id, nor the key of a chain, nor { all: true }.',
    'Pass one of these.',
  );
}

/** Throws PROJECT_NOT_FOUND, CHAIN_NOT_FOUND. */
async function existing({ pool }: WatchHub, subject: Subject): Promise<Followed & { isClosed: boolean }> {
  switch (subject.kind) {
    case 'all':
      return { projectId: null, chainId: null, isClosed: false };
    case 'project':
      await readHead(pool, subject.projectId);
      return { projectId: subject.projectId, chainId: null, isClosed: false };
    case 'chain': {
      const { projectId, chainId, status } = await requireChain(pool, subject.key);
      return { projectId, chainId, isClosed: isClosed(status) };
    }
  }
}

interface Watching {
  from: WatchPlace | 'now' | undefined;
  signal: AbortSignal;
  live: boolean;
  pageSize: number;
}

async function* watch(
  hub: WatchHub,
  subject: Subject,
  { from, signal, live, pageSize }: Watching,
): AsyncGenerator<WatchItem, void, undefined> {
  if (signal.aborted) return;
  const followed = await existing(hub, subject);
  const place = await beginning(hub, subject, followed, from, live);
  const { isClosed } = followed;
  const running = live ? await attemptsAt(hub, followed, place) : null;
  if (from === undefined && !(await startIsKept(hub, followed, place.eventId))) {
    yield { type: 'gap', cursor: cursorOf({ ...place, live: live ? place.live : null }), reason: 'trimmed' };
  }
  const options: FollowOptions = { eventId: place.eventId, running, isClosed, pageSize, signal };
  yield* follow(hub, followed, options);
}

async function beginning(
  hub: WatchHub,
  subject: Subject,
  { projectId, chainId }: Followed,
  from: Watching['from'],
  live: boolean,
): Promise<WatchPlace> {
  if (from === undefined && projectId !== null && chainId !== null) {
    return { eventId: await beforeNewestStart(hub.pool, { projectId, chainId }), live: new Map() };
  }
  if (from === undefined || from === 'now') return await placeNow(hub, { projectId, chainId }, live);
  return from;
}

/** Whether the events of a chain begin with its start; else the beginning is no longer kept. */
async function startIsKept(
  { pool }: WatchHub,
  { projectId, chainId }: Followed,
  eventId: number,
): Promise<boolean> {
  if (projectId === null || chainId === null) return true;
  const { events } = await readProjectEvents(pool, { projectId, chainId }, eventId, 1);
  return events[0]?.type === 'chain.queued';
}

/** The place behind all that has happened, been stored and been written by now. */
async function placeNow(
  { pool }: WatchHub,
  { projectId, chainId }: Followed,
  live: boolean,
): Promise<WatchPlace> {
  const eventId = await lastEventId(pool, projectId);
  if (!live || projectId === null) return { eventId, live: null };
  const running = await readAttemptsRunningAt(pool, { projectId, chainId }, eventId);
  const states = await readLiveStates(
    pool,
    running.map(({ attemptId }) => attemptId),
  );
  const places = running.map(({ attemptId }): [LiveAttempt['attemptId'], LivePlace] => {
    const { appends = 0, text = 0 } = states.get(attemptId) ?? {};
    return [attemptId, { entry: { append: appends + 1, index: 0 }, text }];
  });
  return { eventId, live: new Map(places) };
}

/** The attempts that ran as of a place, and how far each was read; one that is of another project or chain is left out. */
async function attemptsAt(
  { pool }: WatchHub,
  { projectId, chainId }: Followed,
  { eventId, live }: WatchPlace,
): Promise<{ attempt: LiveAttempt; place: LivePlace }[]> {
  if (projectId === null) return [];
  const attempts =
    live === null
      ? await readAttemptsRunningAt(pool, { projectId, chainId }, eventId)
      : live.size === 0
        ? []
        : await readLiveAttempts(pool, projectId, [...live.keys()]);
  return attempts
    .filter((attempt) => chainId === null || attempt.chainId === chainId)
    .map((attempt) => ({ attempt, place: live?.get(attempt.attemptId) ?? liveStart }));
}

function ofChain(chainId: ChainId | null): { chainId?: ChainId } {
  return chainId === null ? {} : { chainId };
}

/** A piece of a reply as it is being written. */
export interface ReplyChunk extends LivePiece {
  /** The attempt that wrote it; a higher one than before has started over. */
  attempt: number;
}

export interface QuestionFollower {
  onChunk?: ((chunk: ReplyChunk) => void) | undefined;
  onItem?: ((item: WatchItem) => void) | undefined;
}

/**
 * Calls back with what happens to a question since it was asked, and with the pieces of the reply as they are written, in order,
 * until `finish` aborts and all that was there by then is told. Best effort: the reply itself is stored with the question.
 */
export async function followQuestion(
  hub: WatchHub,
  { projectId, questionId }: { projectId: ProjectId; questionId: string },
  { onChunk, onItem }: QuestionFollower,
  finish: AbortSignal,
): Promise<void> {
  const attempts = new Map<LiveAttempt['attemptId'], number>();
  const items = follow(
    hub,
    { projectId, chainId: null, questionId },
    {
      eventId: await beforeQuestion(hub.pool, { projectId, questionId }),
      running: [],
      textOnly: !onItem,
      pageSize: 100,
      signal: new AbortController().signal,
      finish,
    },
  );
  for await (const item of items) {
    if (item.type === 'live.text') {
      const { attemptId, message, text } = item;
      onChunk?.({ attempt: attempts.get(attemptId) ?? 1, message, text });
    } else if (item.type !== 'live.entry' && item.type !== 'gap') {
      if (!('questionId' in item.data) || item.data.questionId !== questionId) continue;
      if (item.type === 'question.started') attempts.set(item.data.attemptId, item.data.attempt);
    }
    onItem?.(item);
  }
}
