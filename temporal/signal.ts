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

/**
 * A signal that aborts with the given one, for what adds listeners and does not remove them; `end` lets go of the given one.
 */
export function ownSignal(signal: AbortSignal | undefined): { signal: AbortSignal; end: () => void } {
  const own = new AbortController();
  return { signal: own.signal, end: onAbort(signal, () => own.abort(signal?.reason)) };
}

/**
 * Calls to Temporal that a signal ends, with its reason. Temporal's own `withAbortSignal` ends a call that is under
 * way; it does not notice an abort before a call or between two.
 */
export async function withSignal<Result>(
  client: Client,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  if (!signal) return await work();
  signal.throwIfAborted();
  const own = ownSignal(signal);
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(signal.reason as Error));
  });
  try {
    return await Promise.race([client.withAbortSignal(own.signal, work), aborted]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    stop();
    own.end();
  }
}
