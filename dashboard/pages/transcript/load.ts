import { useEffect, useRef, useState } from 'preact/hooks';
import { dataOf, http } from '../../api/client.js';
import { useLive } from '../../api/live.js';
import type { Entry } from './rows.js';

/** Longer texts are cut; the whole is one request away. */
const maxText = 20_000;
/** The first page is small, so that it is there at once. */
const firstPageSize = 200;
const pageSize = 1_000;
/** New entries come in bursts. */
const burstMs = 300;

export interface Loaded {
  entries: readonly Entry[];
  /** Everything that is stored is here. */
  isComplete: boolean;
  error: unknown;
  retry: () => void;
  /** What the model is writing just now; empty for nothing. */
  writing: string;
}

/**
 * The entries of a session, page by page until all are there, and then those that are added: when a live entry or a changed
 * `appendedAt` says that there are some.
 */
export function useEntries(
  projectId: string,
  sessionId: string,
  { appendedAt, isRunning }: { appendedAt: string | null; isRunning: boolean },
): Loaded {
  const [entries, setEntries] = useState<readonly Entry[]>([]);
  const [isComplete, setComplete] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [written, setWritten] = useState<{ message: number; text: string } | null>(null);
  const read = useRef<(() => void) | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    let cursor: string | undefined;
    let isReading = false;
    let isAskedAgain = false;
    setEntries([]);
    setComplete(false);
    const all = async () => {
      for (;;) {
        const query = {
          raw: false,
          maxText,
          limit: cursor === undefined ? firstPageSize : pageSize,
          ...(cursor === undefined ? {} : { cursor }),
        };
        const params = { path: { projectId, sessionId }, query };
        const page = await dataOf(
          http.GET('/v1/projects/{projectId}/sessions/{sessionId}/entries', { params, signal: stop.signal }),
        );
        cursor = page.nextCursor ?? page.entries.at(-1)?.cursor ?? cursor;
        if (page.entries.length > 0) setEntries((known) => [...known, ...page.entries]);
        if (page.nextCursor === null) return;
      }
    };
    const start = async () => {
      isAskedAgain = isReading;
      if (isReading) return;
      isReading = true;
      try {
        do {
          isAskedAgain = false;
          await all();
        } while (isAskedAgain as boolean);
        setError(null);
        setComplete(true);
      } catch (failure) {
        if (!stop.signal.aborted) setError(failure);
      } finally {
        isReading = false;
      }
    };
    read.current = () => void start();
    read.current();
    return () => stop.abort();
  }, [projectId, sessionId]);

  useEffect(() => {
    if (appendedAt !== null) read.current?.();
  }, [appendedAt]);

  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  useLive(
    { projectId },
    (item) => {
      if (!('sessionId' in item) || item.sessionId !== sessionId) return;
      if (item.type === 'live.text') {
        setWritten((known) => ({
          message: item.message,
          text: known?.message === item.message ? known.text + item.text : item.text,
        }));
      } else if (item.type === 'live.entry') {
        if (item.role === 'assistant' && item.parts.some(({ kind }) => kind === 'text')) setWritten(null);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => read.current?.(), burstMs);
      }
    },
    { live: isRunning },
  );
  useEffect(() => {
    if (!isRunning) setWritten(null);
  }, [isRunning]);

  return { entries, isComplete, error, retry: () => read.current?.(), writing: written?.text ?? '' };
}
