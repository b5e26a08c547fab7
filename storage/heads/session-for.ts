import { setImmediate as nextRound, setTimeout as sleep } from 'node:timers/promises';
import { assertNever } from '../../contracts/assert-never.js';
import type { Head } from '../../contracts/chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId } from '../../contracts/ids.js';
import type { SessionMoment } from '../../contracts/question.js';
import { onAbort } from '../../temporal/signal.js';
import { projectNotFound } from './errors.js';
import { type HeadSnapshot, readHead, readHeadSnapshots } from './heads.js';
import { listen } from '../db/listener.js';
import { type Connection, type Pool, queryOne } from '../db/pool.js';

/**
 * Which head a reader wants: `now`, the head at this moment; `after_step`, the head once the step that runs now has ended,
 * whether it was committed, failed or superseded; `committed`, the head once the chain that holds the project now is closed.
 */

export interface WaitOptions {
  /** If absent, the wait ends when the session is known, or with `signal`. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

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
  { timeoutMs, signal }: WaitOptions = {},
): Promise<Head> {
  if (moment === 'now') return await readHead(pool, projectId);
  signal?.throwIfAborted();
  const room = rooms.get(pool) ?? createRoom(pool);
  rooms.set(pool, room);
  return await new Promise((resolve, reject) => {
    let isLate = false;
    const late = (afterMs: number) => {
      isLate = true;
      room.look([waiter]);
      timer = setTimeout(() => waiter.fail(unanswered(afterMs)), lastLookMs);
    };
    let timer =
      timeoutMs === undefined || timeoutMs > longestTimerMs
        ? undefined
        : setTimeout(late, timeoutMs, timeoutMs);
    const forget = onAbort(signal, () => leave(() => reject(signal?.reason as Error)));
    const leave = (settle: () => void) => {
      clearTimeout(timer);
      forget();
      room.leave(waiter);
      settle();
    };
    const waiter: Waiter = {
      ...{ projectId, sinceMs: Date.now(), first: null, group: null },
      see(latest) {
        if (!latest) return leave(() => reject(projectNotFound(projectId)));
        waiter.first ??= latest;
        if (!isInTheWay(moment, waiter.first, latest)) leave(() => resolve(latest.head));
        else if (isLate) leave(() => reject(timedOut(projectId, moment, timeoutMs ?? 0, latest)));
      },
      fail: (error) => leave(() => reject(error)),
    };
    room.enter(waiter);
  });
}

/** What setTimeout takes; a longer one would be over at once. */
const longestTimerMs = 2 ** 31 - 1;

interface Waiter {
  projectId: ProjectId;
  sinceMs: number;
  /** What was under way at its first look. */
  first: HeadSnapshot | null;
  /** By which its project's changes are told of; null until they are. */
  group: number | null;
  see(latest: HeadSnapshot | undefined): void;
  fail(error: Error): void;
}

/** Where all that wait through a pool do so together: one statement looks for all of them, one after the other. */
interface Room {
  enter(waiter: Waiter): void;
  leave(waiter: Waiter): void;
  /** Looks for these as soon as possible. */
  look(at: Iterable<Waiter>): void;
}

const rooms = new WeakMap<Pool, Room>();

/** How long the look may take with which a wait ends, where the database does not answer or the pool has no connection to give. */
const lastLookMs = 2_000;
const firstLookMs = 200;
/** As often as nothing would tell of a change. */
const slowestLookMs = 1_000;
/** As often while changes are told of. */
const netMs = 5_000;
/** However often there is something new. */
const betweenTellingsMs = 100;
/** What is over before is not worth a connection that listens. */
const listensAfterMs = 1_000;

function createRoom(pool: Pool): Room {
  const waiters = new Set<Waiter>();
  const due = new Set<Waiter>();
  let newestMs = 0;
  let isLooking = false;
  let timer: NodeJS.Timeout | undefined;
  let stopListening: (() => void) | undefined;
  let hearing: Connection | null = null;
  /** The groups that the connection is told of. */
  let told = new Set<number>();

  function look(at: Iterable<Waiter>): void {
    for (const waiter of at) due.add(waiter);
    if (!isLooking) void lookAtDue();
  }

  async function lookAtDue(): Promise<void> {
    isLooking = true;
    clearTimeout(timer);
    // Whoever comes in the same moment is looked for by the same statement.
    await nextRound();
    while (due.size > 0) {
      const looked = [...due].filter((waiter) => waiters.has(waiter));
      due.clear();
      if (looked.length > 0) await lookFor(looked);
      for (const waiter of await newlyTold()) due.add(waiter);
    }
    isLooking = false;
    if (waiters.size > 0) timer = setTimeout(() => look(waiters), pauseMs());
  }

  async function lookFor(looked: readonly Waiter[]): Promise<void> {
    try {
      const snapshots = await readHeadSnapshots(pool, [...new Set(looked.map(({ projectId }) => projectId))]);
      for (const waiter of looked) waiter.see(snapshots.get(waiter.projectId));
    } catch (error) {
      for (const waiter of looked) waiter.fail(error as Error);
    }
  }

  /**
   * Has changes told of the projects of waiters, and of no others. Returns the new ones: what happened meanwhile was told to
   * nobody.
   */
  async function newlyTold(): Promise<Waiter[]> {
    const connection = hearing;
    const all = [...waiters];
    const untold = all.filter(({ group }) => group === null);
    const groups = new Set(all.map(({ group }) => group));
    if (!connection || (untold.length === 0 && groups.size === told.size)) return [];
    const groupOf = await groupsOf(connection, all);
    if (hearing !== connection) return [];
    if (!groupOf) hearing = null;
    told = new Set(groupOf?.values());
    for (const waiter of all) waiter.group = groupOf?.get(waiter.projectId) ?? null;
    return groupOf ? untold : [];
  }

  function pauseMs(): number {
    const now = Date.now();
    // A set has them in the order in which they came.
    const [oldest] = waiters;
    if (oldest && now - oldest.sinceMs >= listensAfterMs) stopListening ??= startListening();
    if ([...waiters].every(({ group }) => group !== null)) return netMs;
    return Math.min(Math.max((now - newestMs) / 4, firstLookMs), slowestLookMs);
  }

  function startListening(): () => void {
    const tellings = new Set<Waiter>();
    const deaf = () => {
      hearing = null;
      told = new Set();
      for (const waiter of waiters) waiter.group = null;
    };
    const stop = listen(pool, 'session_chain_wait', {
      onNotice(group) {
        const isQuiet = tellings.size === 0;
        for (const waiter of waiters) if (String(waiter.group) === group) tellings.add(waiter);
        if (!isQuiet || tellings.size === 0) return;
        void sleep(betweenTellingsMs).then(() => {
          look(tellings);
          tellings.clear();
        });
      },
      onHearing(connection) {
        hearing = connection;
        look(waiters);
      },
      onDeaf: deaf,
    });
    return () => {
      // Others may go on to listen by this connection.
      if (hearing) void groupsOf(hearing, []);
      stop();
      deaf();
    };
  }

  return {
    enter(waiter) {
      newestMs = waiter.sinceMs;
      waiters.add(waiter);
      look([waiter]);
    },
    leave(waiter) {
      waiters.delete(waiter);
      if (waiters.size > 0) return;
      clearTimeout(timer);
      stopListening?.();
      stopListening = undefined;
    },
    look,
  };
}

/** Lets the connection be told of changes of these projects alone, each by its group; null where it may not. */
async function groupsOf(
  connection: Connection,
  waiters: readonly Waiter[],
): Promise<ReadonlyMap<ProjectId, number> | null> {
  const projectIds = [...new Set(waiters.map(({ projectId }) => projectId))];
  try {
    const { groups } = await queryOne<{ groups: number[] }>(connection, {
      text: 'SELECT session_chain.wait_for($1::text[]) AS groups',
      values: [projectIds],
      query_timeout: 10_000,
    });
    return new Map(groups.map((group, index) => [projectIds[index] as ProjectId, group]));
  } catch {
    return null;
  }
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

function unanswered(timeoutMs: number): SessionChainError {
  return new SessionChainError(
    'DATABASE_UNAVAILABLE',
    `After ${timeoutMs} ms the database did not say within ${lastLookMs} ms where the project stands (it is slow, or all connections of the pool are busy).`,
  );
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
