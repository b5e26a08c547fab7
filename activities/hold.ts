import { Context } from '@temporalio/activity';
import type { ChainId } from '../contracts/ids.js';
import { isDatabaseAway } from '../storage/db/pool.js';
import { type Attempt, renewLease } from '../storage/operations/operations.js';
import { type Lease, createLease, uptimeMs } from '../agent/process/lease.js';
import { toSessionChainError } from '../contracts/failures.js';
import type { ActivityDependencies } from './dependencies.js';
import { failureFields } from './log.js';

/** A worker's hold on an attempt: aborts when it is to stop. */
export interface Hold {
  signal: AbortSignal;
  /** The lease of the agent. */
  lease: Lease;
  /** Whether the chain was cancelled, as opposed to this worker or attempt losing it. */
  isCancelled(): boolean;
  release(): void;
}

export interface LeaseTimes {
  /** For the database: no other attempt begins before this much silence. */
  leaseMs: number;
  /** How often it is renewed, and how long before its end the agent is dead. */
  renewalMs: number;
}

const renewalsPerTimeout = 6;

/**
 * An agent is interrupted when five sixths of the heartbeat timeout have passed since the last successful renewal was
 * sent, and killed after the grace. The last sixth leaves time for the kill on a slow machine.
 */
export function leaseTimes(heartbeatTimeoutMs: number, killGraceMs: number): LeaseTimes {
  return { leaseMs: heartbeatTimeoutMs + killGraceMs, renewalMs: heartbeatTimeoutMs / renewalsPerTimeout };
}

/**
 * Renews the attempt's lease and listens for whatever ends it: Temporal (cancellation, shutdown, reset, pause, a lost
 * heartbeat), and the row, at every renewal and at every notification: the chain was cancelled, or another attempt has
 * taken over. `begunAtMs` is when the attempt's beginning was sent, by {@link uptimeMs}.
 */
export function holdAttempt(
  {
    pool,
    stopRequests,
    log,
    outages,
  }: Pick<ActivityDependencies, 'pool' | 'stopRequests' | 'log' | 'outages'>,
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
  // The database counts from the arrival of a renewal, the worker from when it was sent, which is never later.
  const provenUntil = (sentAtMs: number) => sentAtMs + leaseMs - renewalMs;
  const lease = createLease(provenUntil(begunAtMs));
  let chainCancelled = false;
  let unanswered = 0;
  let isTold = false;
  const renew = async () => {
    // A database that hangs must not use up all connections of the pool.
    if (unanswered === renewalsPerTimeout) return;
    unanswered += 1;
    const sentAtMs = uptimeMs();
    try {
      const state = await renewLease(pool, attempt);
      isTold = false;
      if (state === 'held') return lease.extendTo(provenUntil(sentAtMs));
      chainCancelled ||= state === 'cancelled';
      stopped.abort();
    } catch (error) {
      const failure = failureFields(toSessionChainError(error));
      if (isDatabaseAway(error)) outages.database.trouble(log, failure);
      // An outage is loud by itself.
      if (!isTold)
        log[failure.code === 'DATABASE_UNAVAILABLE' ? 'info' : 'warn']('lease.not_renewed', {
          ...failure,
          agentEndsWithinMs: Math.max(0, Math.round(lease.endsAtMs() - uptimeMs())),
        });
      isTold = true;
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
