import type { Client } from '@temporalio/client';

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
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([client.withAbortSignal(signal, work), aborted]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
