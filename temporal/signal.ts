import { AsyncLocalStorage } from 'node:async_hooks';
import { setMaxListeners } from 'node:events';
import type { Client } from '@temporalio/client';

/**
 * Calls back when the signal aborts, at once where it has; returns what ends that. However many wait with one signal, it has one
 * listener, and none once all are gone: Node takes more than ten for a leak.
 */
export function onAbort(signal: AbortSignal | undefined, call: () => void): () => void {
  if (!signal) return () => undefined;
  if (signal.aborted) {
    call();
    return () => undefined;
  }
  const known = waiting.get(signal);
  const calls = known?.calls ?? new Set();
  const tell = known?.tell ?? (() => [...calls].forEach((one) => one()));
  // An object of its own, for the same function may be given twice.
  const one = () => call();
  calls.add(one);
  if (!known) {
    waiting.set(signal, { calls, tell });
    signal.addEventListener('abort', tell, { once: true });
  }
  return () => {
    if (!calls.delete(one) || calls.size > 0) return;
    signal.removeEventListener('abort', tell);
    waiting.delete(signal);
  };
}

const waiting = new WeakMap<AbortSignal, { calls: Set<() => void>; tell: () => void }>();

/** The signals under which the present call stands: Temporal's client knows the innermost one alone. */
const around = new AsyncLocalStorage<AbortSignal>();

/**
 * Calls to Temporal that a signal ends, with its reason. Temporal's own `withAbortSignal` ends a call that is under
 * way; it does not notice an abort before a call or between two. `work` gets the signal for what else it waits for: that of the
 * call around it, too, ends it.
 */
export async function withSignal<Result>(
  client: Client,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const outer = around.getStore();
  const own = new AbortController();
  // Temporal's client adds a listener for each call, and removes none.
  setMaxListeners(0, own.signal);
  const forgets = [signal, outer].map((one) => onAbort(one, () => own.abort(one?.reason)));
  const aborted = new Promise<never>((_, reject) => {
    onAbort(own.signal, () => reject(own.signal.reason as Error));
  });
  try {
    const working = around.run(own.signal, () => client.withAbortSignal(own.signal, () => work(own.signal)));
    return await Promise.race([working, aborted]);
  } catch (error) {
    own.signal.throwIfAborted();
    throw error;
  } finally {
    for (const forget of forgets) forget();
  }
}
