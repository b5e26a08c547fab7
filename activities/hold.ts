import { Context } from '@temporalio/activity';
import type { ChainId } from '../contracts/ids.js';
import { type Attempt, renewLease } from '../storage/operations/operations.js';
import { type Lease, createLease, uptimeMs } from '../agent/process/lease.js';
import type { ActivityDependencies } from './dependencies.js';

/** A worker's hold on an attempt: aborts when it is to stop. */
export interface Hold {
  signal: AbortSignal;
  /** What the agent lives by. */
  lease: Lease;
  /** Whether the chain was cancelled, as opposed to this worker or this attempt losing it. */
  isCancelled(): boolean;
  release(): void;
}

export interface LeaseTimes {
  /** For the database: no other attempt begins within so long a silence. */
  leaseMs: number;
  /** How often it is renewed, and how long before its end the agent is dead. */
  renewalMs: number;
}

const renewalsPerTimeout = 6;

/**
 * An agent is interrupted when five sixths of the heartbeat timeout have passed since a renewal was sent that succeeded, and
 * killed after the grace. The last sixth is for the kill, on a machine that is slow.
 */
export function leaseTimes(heartbeatTimeoutMs: number, killGraceMs: number): LeaseTimes {
  return { leaseMs: heartbeatTimeoutMs + killGraceMs, renewalMs: heartbeatTimeoutMs / renewalsPerTimeout };
}

/**
 * Keeps the attempt's lease and listens for whatever ends it: Temporal (cancellation, shutdown, reset, pause, a lost
 * heartbeat), and the row, at every renewal and whenever a notification says to look: the chain was cancelled, or another
 * attempt has taken over. `begunAtMs` is when the attempt's beginning was sent, by {@link uptimeMs}.
 */
export function holdAttempt(
  { pool, stopRequests, log }: Pick<ActivityDependencies, 'pool' | 'stopRequests' | 'log'>,
  attempt: Pick<Attempt, 'attemptId'>,
  {
    chainId,
    begunAtMs,
    leaseMs,
    renewalMs,
  }: LeaseTimes & { chainId: ChainId | undefined; begunAtMs: number },
): Hold {
  const context = Context.current();
  const stopped = new AbortController();
  // The database counts from when a renewal arrives, the worker from when it sent it: never later.
  const provenUntil = (sentAtMs: number) => sentAtMs + leaseMs - renewalMs;
  const lease = createLease(provenUntil(begunAtMs));
  let chainCancelled = false;
  let unanswered = 0;
  const renew = async () => {
    // A database that hangs must not get all connections of the pool.
    if (unanswered === renewalsPerTimeout) return;
    unanswered += 1;
    const sentAtMs = uptimeMs();
    try {
      const state = await renewLease(pool, attempt);
      if (state === 'held') return lease.extendTo(provenUntil(sentAtMs));
      chainCancelled ||= state === 'cancelled';
      stopped.abort();
    } catch (error) {
      log.warn({ err: error, attemptId: attempt.attemptId }, 'The lease could not be renewed.');
    } finally {
      unanswered -= 1;
    }
  };
  const look = () => void renew();
  const forgetChain = chainId === undefined ? undefined : stopRequests.onNotice(`chain:${chainId}`, look);
  const forgetAttempt = stopRequests.onNotice(`attempt:${attempt.attemptId}`, look);
  const renewal = setInterval(look, renewalMs);
  return {
    signal: AbortSignal.any([context.cancellationSignal, stopped.signal]),
    lease,
    isCancelled: () => chainCancelled || (context.cancellationDetails?.cancelRequested ?? false),
    release() {
      clearInterval(renewal);
      forgetChain?.();
      forgetAttempt();
    },
  };
}
