import { Context } from '@temporalio/activity';
import type { ChainId } from '../contracts/ids.js';
import { type Attempt, renewLease } from '../storage/operations/operations.js';
import type { ActivityDependencies } from './dependencies.js';

/** A worker's hold on an attempt: aborts when it is to stop. */
export interface Hold {
  signal: AbortSignal;
  /** Whether the chain was cancelled, as opposed to this worker or this attempt losing it. */
  isCancelled(): boolean;
  release(): void;
}

/**
 * Keeps the attempt's lease and listens for whatever ends it: Temporal (cancellation, shutdown, reset, pause, a lost
 * heartbeat), and the row, at every renewal and whenever a notification says to look: the chain was cancelled, or another
 * attempt has taken over.
 */
export function holdAttempt(
  { pool, stopRequests, log }: Pick<ActivityDependencies, 'pool' | 'stopRequests' | 'log'>,
  attempt: Pick<Attempt, 'attemptId'>,
  { chainId, leaseMs }: { chainId: ChainId | undefined; leaseMs: number },
): Hold {
  const context = Context.current();
  const stopped = new AbortController();
  let chainCancelled = false;
  const look = () => {
    renewLease(pool, attempt).then(
      (lease) => {
        chainCancelled ||= lease === 'cancelled';
        if (lease !== 'held') stopped.abort();
      },
      // A database that is away is no reason to stop; another attempt waits for the lease.
      (error: unknown) =>
        log.warn({ err: error, attemptId: attempt.attemptId }, 'The lease could not be renewed.'),
    );
  };
  const forgetChain = chainId === undefined ? undefined : stopRequests.onNotice(`chain:${chainId}`, look);
  const forgetAttempt = stopRequests.onNotice(`attempt:${attempt.attemptId}`, look);
  const renewal = setInterval(look, leaseMs / 3);
  return {
    signal: AbortSignal.any([context.cancellationSignal, stopped.signal]),
    isCancelled: () => chainCancelled || (context.cancellationDetails?.cancelRequested ?? false),
    release() {
      clearInterval(renewal);
      forgetChain?.();
      forgetAttempt();
    },
  };
}
