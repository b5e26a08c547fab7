import { createHash, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FailureCode, SessionChainError } from '../../contracts/failures.js';
import type { AttemptId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';
import { projectNotFound, sessionOfAnotherProject } from '../heads/errors.js';
import { adoptionWarning } from '../heads/heads.js';
import { unfit } from '../heads/recovery.js';
import { type AttemptMetrics, nothingSpent } from '../ledger/metrics.js';
import type { SessionFitness } from '../transcripts/store.js';
import { type Attempt, beginOperation, commitOperation } from './operations.js';

/** Records a Claude operation that ran outside a chain. */

export interface RecordRequest {
  projectId: ProjectId;
  /** Null: the newest version of the project, where there is one. */
  versionId: VersionId | null;
  /** The session on which the operation ended. */
  sessionId: SessionId;
  source: TransitionSource;
  metrics: AttemptMetrics;
  /** Record it although no chain can continue from it before its transcript is imported. Default: false. */
  notInStore?: boolean;
}

/** The transition that made a session the head. */
export interface RecordedSession {
  projectId: ProjectId;
  versionId: VersionId | null;
  /** The source in the transition; of a head that was known before, perhaps another one than was asked for. */
  source: TransitionSource;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  seq: number;
  /** The session was the head already; this call wrote nothing. */
  alreadyRecorded: boolean;
  /** Whether a chain can continue from it: its transcript is in the store. */
  inStore: boolean;
  warnings: string[];
}

/** The metrics of an operation whose figures are unknown; its cost is recorded as unknown, not as 0. */
export const unknownSpend: AttemptMetrics = { ...nothingSpent, costUsd: null, apiDurationMs: null };

/** For how long it retries while other operations move the same head. */
const giveUpAfterMs = 10_000;
/** However long each takes: one that moves the head on, or waits for another to, may be slow. */
const fewestTries = 5;
/** Beginning and committing take milliseconds: an operation that began this long ago will not be committed any more. */
const abandonedAfterMs = 2_000;

/**
 * Makes a session the head. If it is the head already, the stored transition is returned. Throws SESSION_NOT_IN_STORE
 * where no chain could continue from it, unless the request allows for that, PROJECT_NOT_FOUND, VERSION_NOT_FOUND,
 * VERSION_OF_ANOTHER_PROJECT, PROJECT_BUSY while a chain holds the project, SESSION_ALREADY_KNOWN for a session that
 * was a head before or belongs to another operation or project, and FENCED when other operations kept moving the head.
 */
export async function recordSession(pool: Pool, request: RecordRequest): Promise<RecordedSession> {
  const deadlineMs = Date.now() + giveUpAfterMs;
  let why = '';
  for (let round = 1; round <= fewestTries || Date.now() < deadlineMs; round++) {
    const recorded = await tryToRecord(pool, request);
    if (typeof recorded !== 'string') return recorded;
    why = recorded;
    await sleep(Math.random() * Math.min(10 * round, 100));
  }
  throw new SessionChainError(
    'FENCED',
    `The session ${request.sessionId} of the project ${request.projectId} was not recorded within ${giveUpAfterMs} ms. The last try: ${why}`,
    'Record it again.',
  );
}

/** A sentence if the try came too late: another look will show the present state. */
async function tryToRecord(pool: Pool, request: RecordRequest): Promise<RecordedSession | string> {
  const { projectId, sessionId, source, notInStore = false } = request;
  const known = await look(pool, request);
  if (known.headSessionId === sessionId && known.lastSessionId === sessionId)
    return asRecorded(request, known);
  if (known.holder !== null) throw busy(request, known.holder);
  if (known.headSessionId === sessionId) {
    // An old writer made it the head; only its transition is missing.
    await adoptHead(pool, request);
    return 'The head had been moved to it from outside, and its transition was written.';
  }
  if (known.isOfAnotherProject) throw sessionOfAnotherProject(projectId, sessionId);
  if (known.wasHead) {
    throw new SessionChainError(
      'SESSION_ALREADY_KNOWN',
      `The session ${sessionId} was a head of the project ${projectId} before; the head now is ${known.headSessionId ?? 'none'}.`,
    );
  }
  if (known.attemptId !== null) {
    if (known.attemptAgeMs === null) {
      throw new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${sessionId} of the project ${projectId} belongs to another operation.`,
      );
    }
    if (known.attemptAgeMs > abandonedAfterMs) await forget(pool, known.attemptId);
    return `The attempt ${known.attemptId} records the same session.`;
  }
  if (!notInStore && known.fitness !== 'whole') throw notThere(request, known.fitness);

  const attempt = await beginRecording(pool, request);
  if (!attempt) return 'Another operation has just begun with the same session.';
  const warnings = attempt.adoptedSessionId ? [adoptionWarning(attempt.adoptedSessionId)] : [];
  const oldSessionId = attempt.head.sessionId;
  try {
    if (attempt.holder) throw busy(request, attempt.holder.workflowId);
    const { result } = await commitOperation<{ seq: number }>(pool, {
      attempt,
      source,
      newSessionId: sessionId,
      // What it forked is unknown.
      parentSessionId: null,
      metrics: request.metrics,
      result: { source, oldSessionId, newSessionId: sessionId, warnings },
      requireTranscript: !notInStore,
    });
    return {
      projectId,
      versionId: attempt.versionId,
      source,
      oldSessionId,
      newSessionId: sessionId,
      seq: result.seq,
      alreadyRecorded: false,
      ...storeFacts(sessionId, known.fitness, warnings),
    };
  } catch (error) {
    // The operation itself is over; an uncommitted attempt would only prevent recording it later.
    await forget(pool, attempt.attemptId).catch(() => undefined);
    if (isCode(error, 'FENCED')) return error.message;
    throw error;
  }
}

/** Null: the same session is being recorded by another caller. */
async function beginRecording(
  pool: Pool,
  { projectId, versionId, sessionId, source }: RecordRequest,
): Promise<Attempt | null> {
  try {
    const begun = await beginOperation(pool, {
      projectId,
      inputDigest: createHash('sha256').update(`${source} ${sessionId}`).digest('hex'),
      worker: `${process.pid}@${hostname()}`,
      leaseMs: 0,
      operation: { kind: 'outside', versionId, buildId: `record:${randomUUID()}`, source, sessionId },
    });
    if (begun.outcome === 'begun') return begun.attempt;
    throw new Error(`An operation that was not begun before cannot be ${begun.outcome}.`);
  } catch (error) {
    if (isCode(error, 'SESSION_ALREADY_KNOWN')) return null;
    throw error;
  }
}

function isCode(error: unknown, code: FailureCode): error is SessionChainError {
  return error instanceof SessionChainError && error.code === code;
}

interface Known {
  headSessionId: SessionId | null;
  seq: number | null;
  /** The session that the last transition made the head, with that transition. */
  lastSessionId: SessionId | null;
  lastOldSessionId: SessionId | null;
  lastSource: TransitionSource;
  lastVersionId: VersionId | null;
  /** Workflow id of the chain that holds the project. */
  holder: string | null;
  wasHead: boolean;
  isOfAnotherProject: boolean;
  /** The attempt that has the session; its age only if it is a recording that has not been committed. */
  attemptId: AttemptId | null;
  attemptAgeMs: number | null;
  fitness: SessionFitness;
}

async function look(pool: Pool, { projectId, sessionId }: RecordRequest): Promise<Known> {
  const [known] = await queryRows<Known>(pool, {
    name: 'look_before_recording',
    text: `SELECT p.last_ai_session_id AS "headSessionId", p.session_seq AS seq, t.new_session_id AS "lastSessionId",
             t.old_session_id AS "lastOldSessionId", t.source AS "lastSource", t.version_id::text AS "lastVersionId",
             (SELECT h.workflow_id FROM session_chain.holder_of($1) h) AS holder,
             session_chain.was_head($1, $2) AS "wasHead",
             session_chain.is_of_another_project($1, $2) AS "isOfAnotherProject",
             a.id::text AS "attemptId",
             CASE WHEN a.build_id LIKE 'record:%' AND a.state = 'running'
               THEN extract(epoch FROM clock_timestamp() - a.started_at) * 1000 END AS "attemptAgeMs",
             session_chain.session_fitness($1, $2) AS fitness
           FROM projects p
           LEFT JOIN session_transitions t ON t.project_id = session_chain.transition_project_key($1) AND t.seq = p.session_seq
           LEFT JOIN session_chain.attempts a ON a.project_id = $1 AND a.session_id = $2
           WHERE p.project_id = session_chain.project_key($1)`,
    values: [projectId, sessionId],
  });
  if (known) return known;
  throw projectNotFound(projectId);
}

function asRecorded({ projectId, sessionId }: RecordRequest, known: Known): RecordedSession {
  return {
    projectId,
    versionId: known.lastVersionId,
    source: known.lastSource,
    oldSessionId: known.lastOldSessionId,
    newSessionId: sessionId,
    seq: known.seq ?? 0,
    alreadyRecorded: true,
    ...storeFacts(sessionId, known.fitness, []),
  };
}

function storeFacts(sessionId: SessionId, fitness: SessionFitness, warnings: string[]) {
  const inStore = fitness === 'whole';
  const missing = `The transcript of ${sessionId} is not in the store: until it is imported, the next chain fails with SESSION_NOT_IN_STORE.`;
  return { inStore, warnings: inStore ? warnings : [...warnings, missing] };
}

function notThere(
  { projectId, sessionId }: RecordRequest,
  fitness: Exclude<SessionFitness, 'whole'>,
): SessionChainError {
  return new SessionChainError(
    'SESSION_NOT_IN_STORE',
    `No chain could go on from the session ${sessionId} of the project ${projectId}; nothing was recorded. ${unfit[fitness]}`,
    'Import it, which makes it the head as well; or record it as one that is not in the store (notInStore), and import it before the next chain.',
  );
}

function busy({ projectId }: RecordRequest, holder: string): SessionChainError {
  return new SessionChainError(
    'PROJECT_BUSY',
    `The chain ${holder} works on the project ${projectId}; nothing was recorded.`,
  );
}

/**
 * Writes the transition of a head that was moved outside, and the version's row. The lock is taken before anything is
 * read.
 */
async function adoptHead(pool: Pool, { projectId, versionId }: RecordRequest): Promise<void> {
  await queryRows(pool, {
    name: 'adopt_outside_head',
    text: 'SELECT session_chain.adopt_outside_head($1, $2)',
    values: [projectId, versionId],
  });
}

/** Removes a recording that was not committed from the journal, so that its session can be recorded later. */
async function forget(pool: Pool, attemptId: AttemptId): Promise<void> {
  await queryRows(pool, {
    name: 'forget_recording',
    text: 'SELECT session_chain.forget_recording($1)',
    values: [attemptId],
  });
}
