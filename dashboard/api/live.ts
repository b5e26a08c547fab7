import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { HttpStreamError, type StreamSubject, type WatchItem } from '../../http/client.js';
import { http, isReachable } from './client.js';
import { queryClient } from './query.js';

/** How the page learns of changes: `live` by the stream of events, `polling` where its key may not read that, `broken` while it connects. */
export const connection = signal<'live' | 'polling' | 'broken'>('broken');

/** Events come in bursts; what is shown is read again once per burst. */
const burstMs = 500;
const pollMs = 5_000;

/**
 * Follows a subject while the page is shown: `onItem` gets each item, and what was read of the item's project is read again. A key
 * that may not read the stream polls instead.
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
    const stop = new AbortController();
    const changed = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refresh = () => {
      timer = undefined;
      const projects = new Set(changed);
      changed.clear();
      void queryClient.invalidateQueries({
        predicate: ({ queryKey: [, project] }) => typeof project !== 'string' || projects.has(project),
      });
    };
    const follow = async () => {
      try {
        const options = { live, signal: stop.signal, onOpen, onBreak };
        for await (const item of http.streamEvents(subject, options)) {
          handler.current?.(item);
          if (item.type === 'live.text' || item.type === 'live.entry') continue;
          if ('projectId' in item) changed.add(item.projectId);
          else void queryClient.invalidateQueries();
          timer ??= setTimeout(refresh, burstMs);
        }
      } catch (error) {
        if (!(error instanceof HttpStreamError)) throw error;
        connection.value = 'polling';
        const poll = setInterval(() => void queryClient.invalidateQueries(), pollMs);
        stop.signal.addEventListener('abort', () => clearInterval(poll));
      }
    };
    void follow();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, live, enabled]);
}

let wasBroken = false;
function onOpen() {
  connection.value = 'live';
  isReachable.value = true;
  // What happened meanwhile comes by the stream; what was read just before it broke may be older.
  if (wasBroken) void queryClient.invalidateQueries();
  wasBroken = false;
}
function onBreak() {
  connection.value = 'broken';
  wasBroken = true;
}
