import { signal } from '@preact/signals';
import type { Query } from '@tanstack/preact-query';
import { useEffect, useRef } from 'preact/hooks';
import { HttpStreamError, type StreamSubject, type WatchItem } from '../../http/client.js';
import { type Schemas, http, isReachable } from './client.js';
import { type Refreshed, pauseBefore } from './pace.js';
import { queryClient } from './query.js';

type State = 'live' | 'polling' | 'broken';

/** How the page learns of changes: `live` by streams of events, `polling` where its key may not read one, `broken` while one connects. */
export const connection = signal<State>('broken');

const pollMs = 5_000;

interface Listener {
  live: boolean;
  onItem: (item: WatchItem) => void;
}

/** The stream of a subject, one for all that listen to it. */
interface Followed {
  subject: StreamSubject;
  listeners: Set<Listener>;
  /** Of the connection that is open; null where none is. */
  stop: AbortController | null;
  state: State;
  live: boolean;
  /** Of the last item. */
  after: string | undefined;
}

const followed = new Map<string, Followed>();

/**
 * Follows a subject while the page is shown: `onItem` gets each item, and what was read of the item's project is read again. A key
 * that may not read the stream polls instead. The shell follows the page's project, or all: a page needs this for live items alone.
 */
export function useLive(
  subject: StreamSubject,
  onItem?: (item: WatchItem) => void,
  { live = false, enabled = true }: { live?: boolean; enabled?: boolean } = {},
): void {
  const handler = useRef(onItem);
  handler.current = onItem;
  const key = JSON.stringify(subject);
  useEffect(() => {
    if (!enabled) return undefined;
    const one = followed.get(key) ?? {
      ...{ subject, listeners: new Set(), stop: null, state: 'broken', live: false, after: undefined },
    };
    followed.set(key, one);
    const listener: Listener = { live, onItem: (item) => handler.current?.(item) };
    one.listeners.add(listener);
    queueMicrotask(settle);
    return () => {
      one.listeners.delete(listener);
      queueMicrotask(settle);
    };
  }, [key, live, enabled]);
}

// A browser has six connections to a server, for all its tabs: one that is not seen takes none.
document.addEventListener('visibilitychange', settle);

/** Opens the streams that are wanted and closes the others. One that shows live items goes on to, whoever else listens. */
function settle(): void {
  for (const [key, one] of followed) {
    const live = one.live || [...one.listeners].some((listener) => listener.live);
    const isWanted = one.listeners.size > 0 && document.visibilityState === 'visible';
    if (one.stop !== null && (!isWanted || live !== one.live)) {
      one.stop.abort();
      one.stop = null;
    }
    if (one.listeners.size === 0) followed.delete(key);
    one.live = live;
    if (isWanted && one.stop === null) void follow(one, (one.stop = new AbortController()).signal);
  }
  tell();
}

async function follow(one: Followed, signal: AbortSignal): Promise<void> {
  const change = (state: State) => {
    if (signal.aborted) return;
    one.state = state;
    tell();
  };
  const poll = () => {
    change('polling');
    const timer = setInterval(() => refreshSoon(null), pollMs);
    signal.addEventListener('abort', () => clearInterval(timer));
  };
  if ('all' in one.subject && isKeyOfSomeProjects()) return poll();
  change('broken');
  try {
    const items = http.streamEvents(one.subject, {
      ...{ live: one.live, signal },
      ...(one.after === undefined ? {} : { after: one.after }),
      onOpen: () => {
        isReachable.value = true;
        change('live');
        // What was read before the stream was open may be older than its first event.
        void queryClient.invalidateQueries(
          { predicate: ({ state }) => state.status === 'success' },
          { cancelRefetch: false },
        );
      },
      onBreak: () => change('broken'),
    });
    for await (const item of items) {
      one.after = item.cursor ?? one.after;
      for (const { onItem } of one.listeners) onItem(item);
      if (item.type !== 'live.text' && item.type !== 'live.entry')
        refreshSoon('projectId' in item ? item.projectId : null);
    }
  } catch (error) {
    if (!(error instanceof HttpStreamError)) throw error;
    if (!signal.aborted) poll();
  }
}

function tell(): void {
  const states = [...followed.values()].map(({ state }) => state);
  connection.value = (['broken', 'polling'] as const).find((state) => states.includes(state)) ?? 'live';
}

function isKeyOfSomeProjects(): boolean {
  const server = queryClient.getQueryData<Schemas['Server']>(['server']);
  return server !== undefined && server.key.projects !== null;
}

/** The projects of which something happened since the last refresh; null: of all. */
const changed = new Set<string | null>();
let isRefreshing = false;

/** One refresh at a time: what takes longer than a burst is not begun anew by each. */
function refreshSoon(projectId: string | null): void {
  changed.add(projectId);
  if (isRefreshing) return;
  void refreshWhileChanged();
}

async function refreshWhileChanged(): Promise<void> {
  isRefreshing = true;
  let last: Refreshed | null = null;
  // Events that come within the pause after a refresh go on with the burst.
  while (last === null || changed.size > 0) {
    const pauseMs = pauseBefore(last);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const startedAt = performance.now();
    // A tab that is not seen reads nothing: it reads all anew when its stream opens again.
    if (document.visibilityState !== 'visible') changed.clear();
    if (changed.size > 0) await refresh();
    last = { pauseMs, tookMs: performance.now() - startedAt };
  }
  isRefreshing = false;
}

async function refresh(): Promise<void> {
  const projects = new Set(changed);
  changed.clear();
  const isConcerned = ({ queryKey: [name, project], meta }: Query) =>
    name !== 'server' &&
    meta?.['onEvents'] !== false &&
    (projects.has(null) || typeof project !== 'string' || projects.has(project));
  // What is being read for the first time is not begun anew, but read again by the next refresh.
  const isFirst = ({ state }: Query) => state.status === 'pending' && state.fetchStatus === 'fetching';
  const cache = queryClient.getQueryCache();
  if (cache.getAll().some((query) => isConcerned(query) && isFirst(query)))
    for (const project of projects) changed.add(project);
  await queryClient.invalidateQueries({ predicate: (query) => isConcerned(query) && !isFirst(query) });
}
