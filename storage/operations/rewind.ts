import { createHash, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { PastOperation } from '../chains/brief.js';
import { type Connection, type Pool, queryRows } from '../db/pool.js';
import { inTransaction } from '../db/transaction.js';
import { projectNotFound } from '../heads/errors.js';
import { adoptionWarning } from '../heads/heads.js';
import { type SessionValidity, checkSessionFitness, checkSessionValidity } from '../heads/recovery.js';
import { nothingSpent } from '../ledger/metrics.js';
import { type Attempt, beginOperation, commitOperation } from './operations.js';

/** Takes the conversation of a project back to an earlier head, by a copy of its session. */

export interface RewindRequest {
  projectId: ProjectId;
  /** The number of the transition whose session is copied. */
  to: number;
  /** Null: the newest version of the project moves along, where there is one. */
  versionId: VersionId | null;
  /** The same key is the same rewind; null for a new one. */
  key: string | null;
  /** Report what would be done, and do nothing. */
  dryRun: boolean;
}

export interface RewoundProject {
  projectId: ProjectId;
  /** The version that moved with the head. */
  versionId: VersionId | null;
  /** The copy, which became the head; null of a dry run. */
  sessionId: SessionId | null;
  /** The transition that made it the head; of a dry run the one that would. */
  transitionSeq: number;
  /** The transition to which the conversation was taken back, and the session that was copied. */
  toSeq: number;
  sourceSessionId: SessionId;
  /** The same key was used before: this is what was done then; this call wrote nothing. */
  alreadyRewound: boolean;
  /** The operations that the head knew before and does not know any more, oldest first. */
  forgotten: PastOperation[];
  warnings: string[];
}

/** What the journal keeps of a rewind. */
interface Stored {
  seq: number;
  toSeq: number;
  newSessionId: SessionId;
  sourceSessionId: SessionId;
  warnings: string[];
}

/**
 * Makes a copy of the session of an earlier transition the head, under a fresh id and in one transaction; what came
 * between stays in the lineage, as a branch. The files are not touched. With a key it may be repeated. Throws
 * PROJECT_NOT_FOUND, VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT, INVALID_INPUT for a transition that the project
 * does not have or that made the present head, SESSION_NOT_IN_STORE where its transcript is not whole, PROJECT_BUSY
 * while a chain holds the project, and KEY_REUSED for a key of another rewind.
 */
export async function rewindProject(pool: Pool, request: RewindRequest): Promise<RewoundProject> {
  const { projectId, to, versionId, dryRun } = request;
  const buildId = `rewind:${request.key ?? randomUUID()}`;
  const before = await look(pool, request, buildId);
  if (before.stored)
    return await done(pool, request, { ...before.stored, versionId: before.storedVersionId });
  // Reads every entry, which would take too long under the project's lock.
  const target = targetOf(request, before);
  requireValid(request, target, await checkSessionValidity(pool, projectId, target));

  // A dry run does what a rewind does, and so can report it exactly.
  return await inTransaction(
    pool,
    async (connection) => {
      await lockProject(connection, projectId);
      const known = await look(connection, request, buildId);
      if (known.stored)
        return await done(connection, request, { ...known.stored, versionId: known.storedVersionId });
      if (known.holder !== null) throw busy(request, known.holder);
      const sourceSessionId = targetOf(request, known);
      // It may have been dropped or quarantined until the lock was there.
      requireValid(
        request,
        sourceSessionId,
        await checkSessionFitness(connection, projectId, sourceSessionId),
      );
      const begun = await beginOperation<Stored>(connection, {
        projectId,
        inputDigest: createHash('sha256').update(`rewind ${to}`).digest('hex'),
        worker: `${process.pid}@${hostname()}`,
        leaseMs: 0,
        operation: {
          kind: 'outside',
          ...{ versionId, buildId, source: 'rewind', sessionId: null },
          fork: { sessionId: sourceSessionId, whileHead: null },
        },
      });
      if (begun.outcome !== 'begun')
        throw new Error(`A rewind under the project's lock cannot be ${begun.outcome}.`);
      const { attempt } = begun;
      await copyTranscript(connection, attempt);
      const { result } = await commitOperation<Stored>(connection, {
        attempt,
        source: 'rewind',
        newSessionId: attempt.sessionId,
        parentSessionId: sourceSessionId,
        metrics: nothingSpent,
        result: {
          toSeq: to,
          newSessionId: attempt.sessionId,
          sourceSessionId,
          warnings: attempt.adoptedSessionId ? [adoptionWarning(attempt.adoptedSessionId)] : [],
        },
        rewoundTo: to,
      });
      const rewound = await resultOf(connection, projectId, {
        ...result,
        versionId: attempt.versionId,
        dryRun,
      });
      return dryRun ? { ...rewound, sessionId: null } : rewound;
    },
    { undo: dryRun },
  );
}

interface Known {
  headSessionId: SessionId | null;
  seq: number | null;
  oldestSeq: number | null;
  /** The session that the wanted transition made the head; null where there is no such transition. */
  targetSessionId: SessionId | null;
  /** Workflow id of the chain that holds the project. */
  holder: string | null;
  /** What was done with the same key before. */
  stored: Stored | null;
  storedVersionId: VersionId | null;
}

async function look(
  connection: Connection,
  { projectId, to }: RewindRequest,
  buildId: string,
): Promise<Known> {
  const [known] = await queryRows<Known>(connection, {
    name: 'look_before_rewinding',
    text: `SELECT p.last_ai_session_id AS "headSessionId", p.session_seq AS seq, t.new_session_id AS "targetSessionId",
             (SELECT min(o.seq) FROM session_chain.all_transitions($1) o) AS "oldestSeq",
             (SELECT h.workflow_id FROM session_chain.holder_of($1) h) AS holder, a.result AS stored, a.version_id AS "storedVersionId"
           FROM projects p
           LEFT JOIN session_chain.all_transitions($1) t ON t.seq = $2
           LEFT JOIN session_chain.attempts a ON a.project_id = $1 AND a.build_id = $3 AND a.step = 'rewind'
             AND a.chain IS NULL AND a.state = 'committed'
           WHERE p.project_id = session_chain.project_key($1)`,
    values: [projectId, to, buildId],
  });
  if (known) return known;
  throw projectNotFound(projectId);
}

function targetOf({ projectId, to }: RewindRequest, known: Known): SessionId {
  const { targetSessionId, headSessionId, seq, oldestSeq } = known;
  if (targetSessionId === null) {
    throw new SessionChainError(
      'INVALID_INPUT',
      seq === null
        ? `The project ${projectId} has no transitions yet; there is nothing to go back to.`
        : `The project ${projectId} has no transition ${to}; its transitions are ${oldestSeq ?? seq} to ${seq}.`,
      'Pass the number of one of the transitions.',
    );
  }
  if (to === seq && targetSessionId === headSessionId) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `Transition ${to} made the present head of the project ${projectId}; nothing came after it.`,
      'No action needed, or pass the number of an earlier transition.',
    );
  }
  return targetSessionId;
}

function requireValid({ to }: RewindRequest, sessionId: SessionId, validity: SessionValidity): void {
  if (validity.valid) return;
  if (validity.reason === 'archived') {
    throw new SessionChainError(
      'SESSION_ARCHIVED',
      `The transcript of the session ${sessionId} of transition ${to} is in the archive; nothing was changed.`,
      'Restore that session with `restore`, then go back.',
    );
  }
  throw new SessionChainError(
    'SESSION_NOT_IN_STORE',
    `The session ${sessionId} of transition ${to} cannot be continued (${validity.reason}): ${validity.detail}`,
    'Go back to another transition, or import the transcript; nothing was changed.',
  );
}

function busy({ projectId }: RewindRequest, holder: string): SessionChainError {
  return new SessionChainError(
    'PROJECT_BUSY',
    `The chain ${holder} works on the project ${projectId}; nothing was rewound.`,
  );
}

async function lockProject(connection: Connection, projectId: ProjectId): Promise<void> {
  await queryRows(connection, {
    text: 'SELECT session_chain.lock_project($1)',
    values: [projectId],
  });
}

/** Gives the session of a rewind the main transcript of the one that it forks. */
async function copyTranscript(
  connection: Connection,
  { attemptId }: Pick<Attempt, 'attemptId'>,
): Promise<void> {
  await queryRows(connection, {
    name: 'copy_rewound',
    text: 'SELECT session_chain.copy_rewound($1)',
    values: [attemptId],
  });
}

/** What was done before under the same key. Throws KEY_REUSED where that was something else. */
async function done(
  connection: Connection,
  { projectId, to, versionId, key }: RewindRequest,
  stored: Stored & { versionId: VersionId | null },
): Promise<RewoundProject> {
  if (stored.toSeq !== to || (versionId !== null && versionId !== stored.versionId)) {
    const where = stored.versionId === null ? '' : ` with the version ${stored.versionId}`;
    throw new SessionChainError(
      'KEY_REUSED',
      `The key ${key ?? ''} took the project ${projectId} back to transition ${stored.toSeq}${where} before; nothing was rewound.`,
    );
  }
  return { ...(await resultOf(connection, projectId, stored)), alreadyRewound: true };
}

async function resultOf(
  connection: Connection,
  projectId: ProjectId,
  {
    versionId,
    seq,
    toSeq,
    newSessionId,
    sourceSessionId,
    warnings,
    dryRun = false,
  }: Stored & { versionId: VersionId | null; dryRun?: boolean },
): Promise<RewoundProject> {
  const forgotten = await forgottenBy(connection, projectId, seq);
  const filesStay = `Only the conversation ${dryRun ? 'would be' : 'was'} taken back, not the files: the workspace still holds what the forgotten operations wrote.`;
  return {
    ...{ projectId, versionId, sessionId: newSessionId, transitionSeq: seq, toSeq, sourceSessionId },
    alreadyRewound: false,
    forgotten,
    warnings: [...warnings, ...(forgotten.length > 0 ? [filesStay] : [])],
  };
}

/** What the head before a rewind came from and the head after it does not. */
async function forgottenBy(
  connection: Connection,
  projectId: ProjectId,
  seq: number,
): Promise<PastOperation[]> {
  return await queryRows<PastOperation>(connection, {
    name: 'forgotten_by',
    text: `SELECT t.seq, t.source, t.version_id AS "versionId", t.created_at AS "createdAt"
           FROM session_chain.all_transitions($1) t
           WHERE t.rewound_to IS NULL
             AND t.seq IN (SELECT generate_series(l.low, l.high) FROM session_chain.line_of_heads($1, $2::bigint - 1) l)
             AND NOT EXISTS (
               SELECT FROM (SELECT generate_series(n.low, n.high) AS seq FROM session_chain.line_of_heads($1, $2) n) now WHERE now.seq = t.seq)
           ORDER BY t.seq`,
    values: [projectId, seq],
  });
}
