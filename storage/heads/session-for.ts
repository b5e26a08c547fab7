import { setTimeout as sleep } from 'node:timers/promises';
import { assertNever } from '../../contracts/assert-never.js';
import type { Head } from '../../contracts/chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId } from '../../contracts/ids.js';
import type { SessionMoment } from '../../contracts/question.js';
import { type HeadSnapshot, readHead, readHeadSnapshot } from './heads.js';
import type { Pool } from '../db/pool.js';

/**
 * Which head a reader wants: `now`, the head at this moment; `after_step`, the head once the step that runs now has ended,
 * whether it was committed, failed or superseded; `committed`, the head once the chain that holds the project now is closed.
 */

export interface WaitOptions {
  /** If absent, the wait ends when the session is known, or with `signal`. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const firstLookMs = 200;
const slowestLookMs = 1_000;

/**
 * The project's head at the given moment, from the database alone, with or without a worker. It is never older than one
 * that was read before. `after_step` is `now` where no agent works: between two steps, while a chain is queued or waits
 * for the model service, and where the worker is dead. Throws PROJECT_NOT_FOUND, WAIT_TIMED_OUT, and the signal's
 * reason.
 */
export async function sessionFor(
  pool: Pool,
  projectId: ProjectId,
  moment: SessionMoment,
  { timeoutMs = Number.POSITIVE_INFINITY, signal }: WaitOptions = {},
): Promise<Head> {
  if (moment === 'now') return await readHead(pool, projectId);
  const deadlineMs = Date.now() + timeoutMs;
  const first = await readHeadSnapshot(pool, projectId);
  let latest = first;
  for (let pauseMs = firstLookMs; isInTheWay(moment, first, latest);) {
    signal?.throwIfAborted();
    const leftMs = deadlineMs - Date.now();
    if (leftMs <= 0) throw timedOut(projectId, moment, timeoutMs, first);
    await sleep(Math.min(pauseMs, leftMs), undefined, signal ? { signal } : {}).catch(() => undefined);
    pauseMs = Math.min(pauseMs * 1.25, slowestLookMs);
    latest = await readHeadSnapshot(pool, projectId);
  }
  return latest.head;
}

/** Whether what was under way at the first look still is. */
function isInTheWay(
  moment: Exclude<SessionMoment, 'now'>,
  first: HeadSnapshot,
  latest: HeadSnapshot,
): boolean {
  switch (moment) {
    case 'after_step':
      return first.running !== null && latest.running?.attemptId === first.running.attemptId;
    case 'committed':
      // A chain that is started again draws another ticket.
      return first.holder !== null && latest.holder?.ticket === first.holder.ticket;
    default:
      return assertNever(moment);
  }
}

function timedOut(
  projectId: ProjectId,
  moment: SessionMoment,
  timeoutMs: number,
  { holder, running }: HeadSnapshot,
): SessionChainError {
  const what = moment === 'after_step' ? `the ${running?.step ?? ''} step of ` : '';
  return new SessionChainError(
    'WAIT_TIMED_OUT',
    `After ${timeoutMs} ms ${what}the chain ${holder?.workflowId ?? ''} still works on the project ${projectId}.`,
  );
}
