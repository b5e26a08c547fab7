import { Context } from '@temporalio/activity';
import { listParts, readPart } from '../archive/part.js';
import type { ArchiveStore } from '../archive/store.js';
import { type FailureCode, SessionChainError, toSessionChainError } from '../contracts/failures.js';
import type { ProjectId, SessionId } from '../contracts/ids.js';
import type { RestoreActivities, RestoreInput, RestoreOutcome } from '../contracts/retention.js';
import {
  type KnownFile,
  type RestoredLines,
  hasTransitionsOf,
  isArchived,
  knownFiles,
  noteRestoreFailure,
  restoreLines,
  restoreTransitions,
  textsOf,
} from '../storage/retention/restore.js';
import type { Pool } from '../storage/db/pool.js';
import { readHold } from '../storage/retention/hold.js';
import type { ActivityDependencies, WorkerDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';

type Dependencies = Pick<ActivityDependencies, 'pool' | 'retention'>;

/** What restores on the queue of the chains. */
export function createRestoreActivities(
  deps: Dependencies & Pick<WorkerDependencies, 'log' | 'meter' | 'outages'>,
): RestoreActivities {
  const { pool } = deps;
  return {
    restoreProject: (input) =>
      reportingFailures(
        input,
        {
          ...deps,
          // What the code alone says needs no row of the project.
          keep: async (failure) => {
            if (!saysAll.has(failure.code)) await noteRestoreFailure(pool, input.request.projectId, failure);
          },
        },
        () => withBeat(() => restoreProject(deps, input)),
      ),
  };
}

const saysAll: ReadonlySet<FailureCode> = new Set(['NOT_IN_ARCHIVE', 'ARCHIVE_NOT_CONFIGURED', 'CANCELLED']);

async function withBeat<Result>(work: () => Promise<Result>): Promise<Result> {
  const { info } = Context.current();
  const beat = setInterval(() => Context.current().heartbeat(), (info.heartbeatTimeoutMs ?? 30_000) / 3);
  return await work().finally(() => clearInterval(beat));
}

/** What concerns one file: the others are restored all the same. */
const ofOneFile: ReadonlySet<FailureCode> = new Set([
  'ARCHIVE_DAMAGED',
  'SESSION_DIFFERS',
  'SESSION_ALREADY_KNOWN',
]);

/**
 * Restores file by file, the newest first; what is here already is left. Throws NOT_IN_ARCHIVE, ARCHIVE_NOT_CONFIGURED,
 * ARCHIVE_UNAVAILABLE, PROJECT_BEING_ERASED, and the failure of the files that could not be restored, once all others are.
 */
async function restoreProject(
  { pool, retention }: Dependencies,
  { request }: RestoreInput,
): Promise<RestoreOutcome> {
  const { projectId, sessionId, month, keepDays } = request;
  const { archive } = retention;
  const known = await knownFiles(pool, projectId, request);
  if (!archive && (known.length > 0 || sessionId !== undefined)) throw notConfigured(projectId, known[0]);
  const total: RestoredLines & { files: number } = {
    ...{ files: 0, sessions: 0, entries: 0, details: 0 },
    left: { transitions: 0, details: 0 },
  };
  const failures: SessionChainError[] = [];
  for (const file of archive ? await filesToRead(archive, projectId, request, known) : []) {
    try {
      const restored = await restoreFile(pool, archive as ArchiveStore, projectId, file, {
        sessionId,
        keepDays,
      });
      if (!restored) continue;
      total.files += 1;
      for (const name of ['sessions', 'entries', 'details'] as const) total[name] += restored[name];
      for (const name of ['transitions', 'details'] as const) total.left[name] += restored.left[name];
      if (sessionId !== undefined) break;
    } catch (error) {
      const failure = toSessionChainError(error);
      if (!ofOneFile.has(failure.code) || Context.current().cancellationSignal.aborted) throw failure;
      failures.push(failure);
    }
  }
  if (failures.length > 0) throw ofFiles(failures, total.files);
  const isKnown = month === undefined || total.files > 0 || (await hasTransitionsOf(pool, projectId, month));
  const transitions =
    sessionId === undefined && isKnown
      ? await restoreTransitions(pool, projectId, month ?? null, keepDays)
      : 0;
  if (total.files === 0 && transitions === 0) throw notInArchive(projectId, request);
  const { restoredUntil } = await readHold(pool, projectId);
  await noteRestoreFailure(pool, projectId, null);
  return { projectId, ...total, transitions, keptUntil: (restoredUntil as Date).toISOString() };
}

interface FileToRead {
  object: string;
  month: string;
  /** What the database knows of it. */
  expected?: KnownFile['expected'];
}

/** The files to read: those that the database knows of, and what else the archive has of the project. The newest first. */
async function filesToRead(
  archive: ArchiveStore,
  projectId: ProjectId,
  { month, sessionId }: Pick<RestoreInput['request'], 'month' | 'sessionId'>,
  known: readonly KnownFile[],
): Promise<FileToRead[]> {
  if (sessionId !== undefined && known.length > 0) return [...known];
  const files = new Map<string, FileToRead>(known.map((file) => [file.object, file]));
  for await (const file of listParts(archive, projectId)) {
    if ((month === undefined || file.month === month) && !files.has(file.object))
      files.set(file.object, file);
  }
  return [...files.values()].sort((one, other) => other.month.localeCompare(one.month));
}

/** Null for a file that does not hold the session. It is verified before anything is written. */
async function restoreFile(
  pool: Pool,
  archive: ArchiveStore,
  projectId: ProjectId,
  { object, expected }: FileToRead,
  { sessionId, keepDays }: { sessionId?: SessionId | undefined; keepDays?: number },
): Promise<RestoredLines | null> {
  const signal = Context.current().cancellationSignal;
  return await readPart(
    archive,
    object,
    async ({ manifest, lines }) => {
      const { part, month } = manifest;
      const file = { location: archive.location, object, part, month, written: manifest };
      const keep = keepDays === undefined ? {} : { keepDays };
      if (sessionId === undefined)
        return await restoreLines(pool, projectId, file, lines, { ...keep, signal });
      // Texts stand before the sessions that need them: one session takes a second reading.
      const texts = await textsOf(lines, sessionId);
      const only = texts && { sessionId, texts };
      return only && (await restoreLines(pool, projectId, file, lines, { only, ...keep, signal }));
    },
    expected,
  );
}

/**
 * Brings the transcript of a session back that an operation is about to fork, where it is in the archive alone; nothing is paid
 * before. Throws SESSION_ARCHIVED where this worker has no archive, and what reading the archive throws.
 */
export async function bringBack(
  { pool, retention: { archive }, log }: Pick<ActivityDependencies, 'pool' | 'retention' | 'log'>,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<void> {
  if (!(await isArchived(pool, projectId, sessionId))) return;
  const [file] = await knownFiles(pool, projectId, { sessionId });
  if (!archive || !file) {
    throw new SessionChainError(
      'SESSION_ARCHIVED',
      `The transcript of the session ${sessionId} of the project ${projectId} is in the archive (${file?.location ?? ''}, ${file?.object ?? ''}), and this worker has none.`,
      'Set SESSION_CHAIN_ARCHIVE for the workers, or call `restore` with the session where it is set; then start again.',
    );
  }
  await restoreFile(pool, archive, projectId, file, { sessionId });
  log.warn('transcript.restored', { restored: sessionId, object: file.object });
}

/** What a chain is told whose base was restored for it. */
export function restoredWarning(sessionId: SessionId): string {
  return `The transcript of the session ${sessionId} was in the archive; it was restored, and the work went on from it.`;
}

function notConfigured(projectId: ProjectId, known: KnownFile | undefined): SessionChainError {
  return new SessionChainError(
    'ARCHIVE_NOT_CONFIGURED',
    `This worker has no archive to restore the project ${projectId} from${known ? `; its files were written to ${known.location}` : ''}.`,
  );
}

function notInArchive(
  projectId: ProjectId,
  { sessionId, month }: Pick<RestoreInput['request'], 'month' | 'sessionId'>,
): SessionChainError {
  const what =
    sessionId !== undefined
      ? `the session ${sessionId}`
      : month === undefined
        ? 'anything'
        : `the month ${month}`;
  return new SessionChainError(
    'NOT_IN_ARCHIVE',
    `The archive does not hold ${what} of the project ${projectId}.`,
  );
}

/** One failure for all files that could not be restored. */
function ofFiles(failures: readonly SessionChainError[], others: number): SessionChainError {
  const [first, ...more] = failures as [SessionChainError, ...SessionChainError[]];
  if (more.length === 0 && others === 0) return first;
  const messages = failures.map(({ message }) => message).join(' ');
  const rest = others === 0 ? '' : ` ${others} ${others === 1 ? 'file was' : 'files were'} restored.`;
  return new SessionChainError(first.code, `${messages}${rest}`, first.remedy, { cause: first });
}
