import { Context } from '@temporalio/activity';
import { readPart, writePart } from '../archive/part.js';
import type { ArchiveStore } from '../archive/store.js';
import { SessionChainError } from '../contracts/failures.js';
import type { ProjectId } from '../contracts/ids.js';
import type { RetainedSlice, RetentionActivities } from '../contracts/retention.js';
import type { Pool } from '../storage/db/pool.js';
import { rollUpDetails } from '../storage/retention/details.js';
import { isPlanned, leasePart } from '../storage/retention/lease.js';
import { dueProjects, dryRunOf } from '../storage/retention/needed.js';
import {
  type DroppablePart,
  type PlannedPart,
  dropDue,
  droppableParts,
  dropsAtOnce,
  planPart,
  readPartLines,
  verifyPart,
} from '../storage/retention/parts.js';
import { archiveTransitions } from '../storage/retention/transitions.js';
import type { ActivityDependencies, WorkerDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';
import { settleLedger } from './ledger.js';

type RetentionDependencies = Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'retention'>;

/** The activities of retention, for the task queue of the chains. */
export function createRetentionActivities(
  deps: RetentionDependencies & Pick<WorkerDependencies, 'log' | 'meter' | 'outages'>,
): Pick<RetentionActivities, 'dueProjects' | 'retainProject'> {
  const { pool, retention } = deps;
  const { policy } = retention;
  return {
    dueProjects: (input) =>
      reportingFailures(input, deps, async () => {
        const { projectId, after = null } = input;
        return {
          policy,
          projects:
            projectId === undefined ? await dueProjects(pool, policy, after, projectsAtOnce) : [projectId],
        };
      }),
    retainProject: (input) =>
      reportingFailures(input, deps, async () => {
        const { projectId, dryRun } = input;
        return dryRun
          ? { ...(await dryRunOf(pool, projectId, policy)), more: false }
          : await retainProject(deps, projectId);
      }),
  };
}

const projectsAtOnce = 100;
/** Rows that one statement moves or deletes: transactions stay short. */
const rowsAtOnce = 1_000;
/** A part is followed by a pause of this share of the time that it took. */
const pauseShare = 0.5;
/** After so long a call leaves the rest to the next one, so that a stopped worker costs little. */
const sliceMs = 5 * 60_000;

type Figures = Omit<RetainedSlice, 'more' | 'leftAlone'>;

/** One call of the activity: what it did so far is its heartbeat, and what an earlier try did counts. */
async function retainProject(deps: RetentionDependencies, projectId: ProjectId): Promise<RetainedSlice> {
  const {
    pool,
    retention: { policy, archive, writtenBy },
  } = deps;
  const context = Context.current();
  const began = performance.now();
  const done = figuresOf(context.info.heartbeatDetails);
  const beat = () => {
    context.heartbeat(done);
    context.cancellationSignal.throwIfAborted();
  };
  const timer = setInterval(() => context.heartbeat(done), (context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  const isOver = () => performance.now() - began > sliceMs;
  try {
    beat();
    for (let moved = rowsAtOnce; moved === rowsAtOnce; beat()) {
      moved = await archiveTransitions(pool, projectId, policy, rowsAtOnce);
      done.transitions += moved;
    }
    if (archive) {
      // What an attempt that died had spent is told by its transcript alone.
      await settleLedger(deps, projectId);
      beat();
      for (;;) {
        const part = await planPart(pool, projectId, policy, archive.location);
        if (!part) break;
        const partBegan = performance.now();
        done.archivedSessions += await writeOnce(
          { pool, archive, writtenBy, leaseMs: leaseMsOf(context), beat },
          part,
        );
        beat();
        if (isOver()) return { ...done, leftAlone: null, more: true };
        await context.sleep((performance.now() - partBegan) * pauseShare);
      }
      done.details += await rollUpDetails(pool, projectId, policy);
      beat();
      for (const part of await droppableParts(pool, projectId, policy)) {
        await lookAgain(archive, part);
        for (let dropped = dropsAtOnce; dropped === dropsAtOnce; beat()) {
          const gone = await dropDue(pool, projectId, policy, part.id, dropsAtOnce);
          dropped = gone.sessions;
          done.droppedSessions += gone.sessions;
          done.freedBytes += gone.bytes;
          if (isOver()) return { ...done, leftAlone: null, more: true };
        }
      }
    }
    return { ...done, leftAlone: (await dryRunOf(pool, projectId, policy)).leftAlone, more: false };
  } finally {
    clearInterval(timer);
  }
}

/** A file may have been lost since it was written: it is read once more before the only other copy goes. */
async function lookAgain(
  archive: ArchiveStore,
  { location, object, expected }: DroppablePart,
): Promise<void> {
  if (location === archive.location) return await readPart(archive, object, async () => undefined, expected);
  throw new SessionChainError(
    'ARCHIVE_UNAVAILABLE',
    `The file ${object} is in ${location}; the archive of this worker is ${archive.location}.`,
    `Give the workers that archive again, or copy its files to the new one and set archive_parts.location to it. Nothing of that file is dropped before.`,
  );
}

interface Writing {
  pool: Pool;
  archive: ArchiveStore;
  writtenBy: string;
  leaseMs: number;
  beat: () => void;
}

/**
 * Writes a part, unless another worker does. A worker that died in the middle left a lease, which is waited for; the part is then
 * written anew, with the same bytes.
 */
async function writeOnce(
  { pool, archive, writtenBy, leaseMs, beat }: Writing,
  part: PlannedPart,
): Promise<number> {
  let lease = await leasePart(pool, part.id, leaseMs);
  while (!lease) {
    if (!(await isPlanned(pool, part.id))) return 0;
    beat();
    await Context.current().sleep(lookMs);
    lease = await leasePart(pool, part.id, leaseMs);
  }
  const held = lease;
  const renewing = setInterval(() => void held.renew().catch(() => undefined), leaseMs / 3);
  try {
    const { projectId, month, id } = part;
    const header = { projectId, month, part: id, writtenBy };
    const written = await writePart(archive, header, readPartLines(pool, part));
    beat();
    if (!(await held.renew())) return 0;
    await verifyPart(pool, part, written);
    return written.counts.session;
  } finally {
    clearInterval(renewing);
  }
}

const lookMs = 500;

function leaseMsOf({ info }: Context): number {
  return info.heartbeatTimeoutMs ?? 30_000;
}

const none: Figures = { transitions: 0, archivedSessions: 0, droppedSessions: 0, freedBytes: 0, details: 0 };

function figuresOf(details: unknown): Figures {
  return { ...none, ...(typeof details === 'object' ? details : null) };
}
