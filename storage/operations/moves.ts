import type { Head } from '../../contracts/chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { AttemptId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { TransitionSource } from '../../contracts/steps.js';
import { moveHead } from './attempts.js';
import type { AttemptMetrics } from '../ledger/metrics.js';
import { type Pool, queryOne } from '../db/pool.js';

/** Moves of a head outside a chain: chat turns, recorded operations, imports, recoveries, rewinds. */

export interface MoveRequest {
  projectId: ProjectId;
  /** Null: the newest version of the project moves along, where there is one. */
  versionId: VersionId | null;
  /** Names the move, as `chat:…` or `record:…`: what is asked again under the same id is the same move. */
  buildId: string;
  /** What the transition will say; also the journal's step. */
  source: TransitionSource;
  /** The session that the move commits; null for a fresh id. */
  sessionId: SessionId | null;
  /** A session to fork in place of the head, as long as the head is still `whileHead`. */
  fork?: { sessionId: SessionId; whileHead: SessionId | null };
  /** SHA-256 in hex of what the move is asked to do. */
  inputDigest: string;
  /** Names the process, for the reader of the journal. */
  worker: string;
  /** After so much silence of the worker its agent is surely dead; 0 for a move without an agent. */
  leaseMs: number;
}

/** An attempt of a move; a row of the journal. */
export interface Move {
  attemptId: AttemptId;
  /** 1 for the first attempt of the move. */
  attempt: number;
  projectId: ProjectId;
  versionId: VersionId | null;
  buildId: string;
  /** The source. */
  step: TransitionSource;
  sessionId: SessionId;
  /** What the session forks; null for a fresh one. */
  baseSessionId: SessionId | null;
  /** The head when the move began. */
  head: Head;
  /** Whether the head can be forked: its transcript is in the store. */
  headIsUsable: boolean;
  /** Fencing token; null while a chain held the turn, so that the move cannot be committed. */
  epoch: number | null;
  /** The chain that held the project's turn when the move began. */
  holder: { workflowId: string; runId: string } | null;
  /** A head that had been moved outside and was adopted on the way. */
  adoptedSessionId: SessionId | null;
}

/** A move that was committed; the journal's result. */
export interface MoveResult {
  outcome: 'moved';
  source: TransitionSource;
  attemptId: AttemptId;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  seq: number;
  warnings: string[];
}

export type BeginMoveOutcome<Result = MoveResult> =
  /** `earlier`: sessions of attempts that were asked the same of the same base, sealed by now, the newest first. */
  | { outcome: 'begun'; move: Move; earlier: SessionId[] }
  /** The move is done. */
  | { outcome: 'committed'; result: Result }
  /** An earlier attempt's agent is not surely dead; its worker was told to stop. Ask again after `waitMs` or sooner. */
  | { outcome: 'former_agent_alive'; waitMs: number };

/**
 * Journals a move, sealing earlier attempts of it first. A head that was moved outside is adopted, unless a chain holds
 * the turn. Throws PROJECT_NOT_FOUND, VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT, and SESSION_ALREADY_KNOWN for a
 * session id that some other attempt has.
 */
export async function beginMove<Result = MoveResult>(
  pool: Pool,
  request: MoveRequest,
): Promise<BeginMoveOutcome<Result>> {
  const row = await queryOne<{
    outcome:
      | BeginMoveOutcome['outcome']
      | 'project_not_found'
      | 'version_not_found'
      | 'version_of_another_project'
      | 'session_in_journal';
    attempt_id: AttemptId;
    attempt: number;
    version_id: VersionId | null;
    session_id: SessionId;
    base_session_id: SessionId | null;
    head_session_id: SessionId | null;
    head_seq: number | null;
    head_is_usable: boolean;
    epoch: number | null;
    adopted_session_id: SessionId | null;
    result: Result;
    wait_ms: number;
    earlier_session_ids: SessionId[];
    holder_workflow_id: string | null;
    holder_run_id: string;
  }>(pool, {
    name: 'begin_move',
    text: `SELECT outcome, attempt_id::text, attempt, version_id, session_id, base_session_id, head_session_id, head_seq,
             head_is_usable, epoch, adopted_session_id, result, wait_ms, earlier_session_ids, holder_workflow_id, holder_run_id
           FROM session_chain.begin_move($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    values: [
      request.projectId,
      request.versionId,
      request.buildId,
      request.source,
      request.sessionId,
      request.fork?.sessionId ?? null,
      request.fork?.whileHead ?? null,
      request.inputDigest,
      request.worker,
      request.leaseMs,
    ],
  });
  switch (row.outcome) {
    case 'begun':
      return {
        outcome: 'begun',
        move: {
          attemptId: row.attempt_id,
          attempt: row.attempt,
          projectId: request.projectId,
          versionId: row.version_id,
          buildId: request.buildId,
          step: request.source,
          sessionId: row.session_id,
          baseSessionId: row.base_session_id,
          head: { sessionId: row.head_session_id, seq: row.head_seq },
          headIsUsable: row.head_is_usable,
          epoch: row.epoch,
          holder:
            row.holder_workflow_id === null
              ? null
              : { workflowId: row.holder_workflow_id, runId: row.holder_run_id },
          adoptedSessionId: row.adopted_session_id,
        },
        earlier: row.earlier_session_ids,
      };
    case 'committed':
      return { outcome: 'committed', result: row.result };
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', waitMs: row.wait_ms };
    case 'project_not_found':
      throw new SessionChainError(
        'PROJECT_NOT_FOUND',
        `The project ${request.projectId} is not in the table projects.`,
      );
    case 'version_not_found':
      throw new SessionChainError(
        'VERSION_NOT_FOUND',
        `The version ${String(request.versionId)} is not in the table project_versions.`,
      );
    case 'version_of_another_project':
      throw new SessionChainError(
        'VERSION_OF_ANOTHER_PROJECT',
        `The version ${String(request.versionId)} does not belong to the project ${request.projectId}.`,
      );
    case 'session_in_journal':
      throw new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${String(request.sessionId)} of the project ${request.projectId} belongs to another operation.`,
      );
  }
}

export interface MoveCommit {
  move: Move;
  /** The move's own session, or one that it adopted. */
  newSessionId: SessionId;
  parentSessionId: SessionId | null;
  metrics: AttemptMetrics;
  requireTranscript: boolean;
  warnings: string[];
}

/**
 * Moves the head, in the chain's own commit statement. May be repeated. Throws FENCED when a chain holds the turn or
 * head, epoch or attempt are not what they were when the move began, or a required transcript is not in the store.
 */
export async function commitMove(pool: Pool, commit: MoveCommit): Promise<MoveResult> {
  const { move, newSessionId } = commit;
  const result: Omit<MoveResult, 'seq'> = {
    outcome: 'moved',
    source: move.step,
    attemptId: move.attemptId,
    oldSessionId: move.head.sessionId,
    newSessionId,
    warnings: commit.warnings,
  };
  return await moveHead<MoveResult>(pool, {
    ...commit,
    attempt: move,
    source: move.step,
    oldSessionId: move.head.sessionId,
    result,
  });
}

/** What a caller is told whose move or chain found the head moved by somebody else. */
export function adoptionWarning(adopted: SessionId): string {
  return `The head had been moved outside to ${adopted}; it was adopted as an import.`;
}
