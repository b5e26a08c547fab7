import type { LiveEntry, LiveText, ProjectEvent, WatchItem } from '../contracts/events.js';
import type { AttemptId, ChainId, ProjectId } from '../contracts/ids.js';
import { type EventPage, readAllEvents, readProjectEvents } from '../storage/events/events.js';
import { type LiveAttempt, type LiveState, readAttemptsRunningAt } from '../storage/live/attempts.js';
import { readLiveEntries, readRewritten } from '../storage/live/entries.js';
import { readLiveText } from '../storage/live/text.js';
import { onAbort } from '../temporal/signal.js';
import { shownEntryOf, subagentOf } from '../transcript/parts.js';
import { type LivePlace, cursorOf, liveStart } from './watch-cursor.js';
import { type WatchHub, whenAnswered } from './watch-hub.js';

/** What is followed: a project, one of its chains or questions, or with null all projects. */
export interface Followed {
  projectId: ProjectId | null;
  chainId: ChainId | null;
  questionId?: string;
}

export interface FollowOptions {
  /** The event behind which to begin. */
  eventId: number;
  /** The attempts that run as of that event; null for no live items. */
  running: readonly { attempt: LiveAttempt; place: LivePlace }[] | null;
  /** Live text alone, without entries. */
  textOnly?: boolean;
  pageSize: number;
  /** Ends it at once. */
  signal: AbortSignal;
  /** Ends it once there is nothing more to read at present. */
  finish?: AbortSignal;
  /** Of a chain: whether it was closed when it began to be followed. */
  isClosed?: boolean;
}

/**
 * The events of what is followed as they happen, and between them what its running attempts store and write. The entries of an
 * attempt come before the event that ends it. Each item's cursor is the place behind it. A reader that does not go on holds
 * one page. Ends with a chain that is closed, and with the signals; a database that goes away is waited for.
 */
export async function* follow(
  hub: WatchHub,
  followed: Followed,
  options: FollowOptions,
): AsyncGenerator<WatchItem, void, undefined> {
  const { pageSize, finish } = options;
  const ended = new AbortController();
  const stop = () => ended.abort();
  const { signal } = ended;
  const forget = onAbort(options.signal, stop);
  const leave = hub.onClose(stop);
  const woken = finish ? AbortSignal.any([signal, finish]) : signal;
  const tracker = options.running && createTracker(hub, followed, options.running, options.textOnly === true);
  let { eventId, isClosed = false } = options;
  // A first read that fails says that something is set up wrongly.
  let hasRead = false;
  const mayWait = () => hasRead && finish?.aborted !== true;
  const read = async <Value>(load: () => Promise<Value>): Promise<Value | null> => {
    const value = await whenAnswered(load, { mayWait, signal });
    hasRead = true;
    return value;
  };
  const cursor = () => cursorOf({ eventId, live: tracker?.places() ?? null });
  try {
    for (;;) {
      const isFinishing = finish?.aborted === true;
      const page = await read(() => readPage(hub, followed, eventId, pageSize, isFinishing));
      if (!page) return;
      if (page.gap) {
        eventId = Number(page.gap.cursor);
        // What was known of the attempts is not to be relied on either.
        const { projectId, chainId } = followed;
        if (tracker && projectId !== null) {
          const running = await read(() => readAttemptsRunningAt(hub.pool, { projectId, chainId }, eventId));
          if (!running) return;
          tracker.reset(running.map((attempt) => ({ attempt, place: liveStart })));
        }
        yield { ...page.gap, cursor: cursor() };
        continue;
      }
      for (const event of page.events) {
        for (const attempt of tracker?.endedBy(event) ?? [])
          yield* tracker?.news(attempt, event.id, read, cursor) ?? [];
        if (signal.aborted) return;
        eventId = event.id;
        tracker?.note(event);
        if (event.type === 'chain.closed') isClosed = true;
        if (event.type === 'chain.queued') isClosed = false;
        yield { ...event, cursor: cursor() };
        if (signal.aborted) return;
      }
      let isQuiet = page.events.length === 0;
      for (const attempt of tracker?.running() ?? []) {
        for await (const item of tracker?.news(attempt, eventId, read, cursor) ?? []) {
          isQuiet = false;
          yield item;
        }
      }
      if (signal.aborted) return;
      if (!isQuiet) continue;
      if (isFinishing || (followed.chainId !== null && isClosed)) return;
      const { projectId } = followed;
      await hub.changed(
        { projectId, through: page.through, attempts: tracker?.states() ?? new Map() },
        woken,
      );
    }
  } finally {
    forget();
    leave();
  }
}

/** Those who read the same place at the same time share one statement; one that reads for the last time has its own, which begins now. */
async function readPage(
  hub: WatchHub,
  { projectId, chainId }: Followed,
  after: number,
  pageSize: number,
  isLast: boolean,
): Promise<EventPage> {
  const load = async () =>
    projectId === null
      ? await readAllEvents(hub.pool, after, pageSize)
      : await readProjectEvents(
          hub.pool,
          { projectId, ...(chainId === null ? {} : { chainId }) },
          after,
          pageSize,
        );
  if (isLast) return await load();
  return await hub.shared(`events/${projectId ?? ''}/${chainId ?? ''}/${after}/${pageSize}`, load);
}

type Read = <Value>(load: () => Promise<Value>) => Promise<Value | null>;

interface Tracked {
  attempt: LiveAttempt;
  place: LivePlace;
  inheritedThrough: number | null;
  /** The entries of its session's parent that it has in other words, by uuid; null until it has stored some of its own. */
  rewritten: Set<unknown> | null;
}

/** The attempts that run as of the event that was given last, and how far each was read. */
function createTracker(
  hub: WatchHub,
  { questionId }: Followed,
  running: readonly { attempt: LiveAttempt; place: LivePlace }[],
  textOnly: boolean,
) {
  const tracked = new Map<AttemptId, Tracked>();
  const reset = (known: typeof running) => {
    tracked.clear();
    for (const { attempt, place } of known) {
      if (isFollowed(attempt))
        tracked.set(attempt.attemptId, { attempt, place, inheritedThrough: null, rewritten: null });
    }
  };
  const isFollowed = (attempt: LiveAttempt) => questionId === undefined || attempt.questionId === questionId;
  reset(running);
  const thoseOf = (isOf: (attempt: LiveAttempt) => boolean) =>
    [...tracked.values()].filter(({ attempt }) => isOf(attempt));

  function endedBy({ type, data, chainId }: ProjectEvent): Tracked[] {
    switch (type) {
      case 'step.committed':
      case 'step.failed':
        return thoseOf(({ attemptId }) => attemptId === data.attemptId);
      case 'step.started':
        return thoseOf((one) => one.chainId === chainId && one.attemptId !== data.attemptId);
      case 'chain.closed':
        return thoseOf((one) => one.chainId === chainId);
      case 'question.started':
        return thoseOf((one) => one.questionId === data.questionId && one.attemptId !== data.attemptId);
      case 'question.answered':
      case 'question.failed':
        return thoseOf((one) => one.questionId === data.questionId);
      default:
        return [];
    }
  }

  return {
    reset,
    endedBy,
    running: () => [...tracked.values()],
    places: () => new Map([...tracked].map(([attemptId, { place }]) => [attemptId, place])),
    states: (): Map<AttemptId, LiveState> =>
      new Map(
        [...tracked].map(([attemptId, { place }]) => [
          attemptId,
          { appends: textOnly ? Number.MAX_SAFE_INTEGER : place.entry.append - 1, text: place.text },
        ]),
      ),
    note(event: ProjectEvent) {
      for (const { attempt } of endedBy(event)) tracked.delete(attempt.attemptId);
      const attempt = begunBy(event);
      if (!attempt || tracked.has(attempt.attemptId) || !isFollowed(attempt)) return;
      tracked.set(attempt.attemptId, { attempt, place: liveStart, inheritedThrough: null, rewritten: null });
    },
    /** What an attempt has stored and written since it was read last, as it is once the event `since` has happened. */
    async *news(
      one: Tracked,
      since: number,
      read: Read,
      cursor: () => string,
    ): AsyncGenerator<LiveEntry | LiveText> {
      const { attempt } = one;
      const { attemptId, projectId, step, sessionId } = attempt;
      const common = { projectId, step, questionId: attempt.questionId, attemptId, sessionId };
      const isNew = one.place === liveStart;
      const pieces = await read(() =>
        hub.shared(`text/${attemptId}/${since}/${one.place.text}`, () =>
          readLiveText(hub.pool, attemptId, one.place.text),
        ),
      );
      // Of what was written before anyone looked only the newest message may still be on its way.
      const newest = pieces?.at(-1)?.message;
      for (const { ordinal, message, text } of pieces ?? []) {
        one.place = { ...one.place, text: ordinal };
        if (isNew && message !== newest) continue;
        yield { type: 'live.text', cursor: cursor(), ...common, message, text };
      }
      for (let isMore = !textOnly; isMore;) {
        const { entry: from } = one.place;
        const found = await read(() =>
          hub.shared(`entries/${attemptId}/${since}/${from.append}.${from.index}`, () =>
            readLiveEntries(hub.pool, attempt, from, one.inheritedThrough),
          ),
        );
        if (!found) return;
        if (found.entries.length > 0 && !one.rewritten) {
          const rewritten = await read(() =>
            hub.shared(`rewritten/${attemptId}`, () => readRewritten(hub.pool, attempt)),
          );
          if (!rewritten) return;
          one.rewritten = rewritten;
        }
        one.inheritedThrough ??= found.inheritedThrough;
        for (const { entry, subpath, next } of found.entries) {
          one.place = { ...one.place, entry: next };
          const shown = shownEntryOf(entry);
          const { uuid: entryId } = entry;
          if (!shown || typeof entryId !== 'string') continue;
          if (subpath === '' && one.rewritten?.has(entryId)) continue;
          const subagent = subagentOf(subpath);
          yield { type: 'live.entry', cursor: cursor(), ...common, ...shown, entryId, subagent };
        }
        one.place = { ...one.place, entry: found.next };
        isMore = found.isMore;
      }
    },
  };
}

/** The attempt of an agent that an event begins. */
function begunBy({ type, projectId, chainId, data }: ProjectEvent): LiveAttempt | null {
  if (type === 'question.started') {
    const { attemptId, sessionId, attempt, questionId } = data;
    return { attemptId, projectId, sessionId, attempt, chainId: null, step: null, questionId };
  }
  if (type !== 'step.started' || data.attemptId === null || data.sessionId === null) return null;
  const { attemptId, sessionId, attempt, step } = data;
  return { attemptId, projectId, sessionId, attempt, chainId, step, questionId: null };
}
