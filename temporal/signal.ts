import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { setMaxListeners } from 'node:events';
import type { Client, ConnectionOptions } from '@temporalio/client';

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

/** What `work` comes to, or the signal's reason. Nothing of it is left on the signal, which may live as long as the process. */
export async function unlessAborted<Value>(signal: AbortSignal, work: Promise<Value>): Promise<Value> {
  let forget = () => undefined as void;
  const aborted = new Promise<never>((_, reject) => {
    forget = onAbort(signal, () => reject(signal.reason as Error));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    forget();
  }
}

const waiting = new WeakMap<AbortSignal, { calls: Set<() => void>; tell: () => void }>();

/** Under what the present call stands: the signal that ends it, and where its caller called. */
const around = new AsyncLocalStorage<{ signal: AbortSignal; caller: AsyncResource }>();

export type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];
type Call = ReturnType<Interceptor>;
type Start = Call['start'];

/**
 * Ends each call to Temporal, and each retry of it, by the signal under which it was begun. Temporal's own `withAbortSignal`
 * keeps every call that was made under a signal, 16 KB each, for as long as it is used: a wait of an hour makes some hundreds.
 */
export const endsWithSignal: Interceptor = (options, nextCall) => {
  const call = nextCall(options) as Call;
  // A retry is begun by a timer, with the same options.
  const signal = signals.get(options) ?? around.getStore()?.signal;
  if (!signal) return call;
  signals.set(options, signal);
  const start: Start = call.start.bind(call);
  call.start = (metadata, listener) => {
    let forget = () => undefined as void;
    start(metadata, {
      onReceiveMetadata: (received) => listener?.onReceiveMetadata?.(received),
      onReceiveMessage: (message: unknown) => listener?.onReceiveMessage?.(message),
      onReceiveStatus(status) {
        forget();
        listener?.onReceiveStatus?.(status);
      },
    });
    forget = onAbort(signal, () => call.cancelWithStatus(cancelled, 'Ended by its signal.'));
  };
  return call;
};

const signals = new WeakMap<object, AbortSignal>();
const cancelled = 1;

/** A connection of the host may be one that takes no interceptors. */
function endsBySignal({ connection }: Client): boolean {
  const { options } = connection as { options?: { interceptors?: unknown } };
  return Array.isArray(options?.interceptors) && options.interceptors.includes(endsWithSignal);
}

/**
 * Calls to Temporal that a signal ends, with its reason, and whatever else `work` waits for by the signal that it gets: that of
 * the call around it, too, ends it.
 */
export async function withSignal<Result>(
  client: Client,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const outer = around.getStore();
  const own = new AbortController();
  const forgets = [signal, outer?.signal].map((one) => onAbort(one, () => own.abort(one?.reason)));
  const here = { signal: own.signal, caller: outer?.caller ?? new AsyncResource('session-chain call') };
  try {
    const working = around.run(here, async () => {
      if (endsBySignal(client)) return await work(own.signal);
      // It adds a listener for each call.
      setMaxListeners(0, own.signal);
      return await client.withAbortSignal(own.signal, () => work(own.signal));
    });
    return await unlessAborted(own.signal, working);
  } catch (error) {
    own.signal.throwIfAborted();
    throw error;
  } finally {
    for (const forget of forgets) forget();
  }
}

/** A function of the caller, as it called us: what it calls in turn stands under no signal of the present call. */
export function ofCaller<Args extends unknown[]>(call: (...args: Args) => void): (...args: Args) => void {
  const { caller } = around.getStore() ?? {};
  return caller ? (...args) => caller.runInAsyncScope(call, undefined, ...args) : call;
}
