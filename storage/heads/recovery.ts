import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { findHole } from '../../transcript/hole.js';
import { type Connection, type Pool, queryOne, queryRows } from '../db/pool.js';
import { quarantineSession } from '../operations/operations.js';
import { type SessionFitness, createTranscriptStore } from '../transcripts/store.js';
import { getSessionChain, readHead } from './heads.js';

/** Which session a project can continue from, when the one that it should continue from is lost. */

/** Whether an operation can continue from a session, and if not, why. */
export type SessionValidity =
  | { valid: true }
  | {
      valid: false;
      /**
       * `unknown`: no transcript of it was ever stored here. `lost`: it was here, and no longer is. `hole`: an entry is
       * missing. `quarantined`: a step could not load it. `archived`: it is in the archive alone.
       */
      reason: Exclude<SessionFitness, 'whole'>;
      detail: string;
    };

/** Whether a session is in the store, without a hole and not in quarantine. Reads the whole transcript. */
export async function checkSessionValidity(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<SessionValidity> {
  const validity = await checkSessionFitness(pool, projectId, sessionId);
  if (!validity.valid) return validity;
  const detail = await holeOf(pool, projectId, sessionId);
  return detail === null ? validity : { valid: false, reason: 'hole', detail };
}

/** The same without what only a scan of its entries finds. */
export async function checkSessionFitness(
  connection: Connection,
  projectId: ProjectId,
  sessionId: SessionId,
): Promise<SessionValidity> {
  const { fitness, quarantineReason } = await queryOne<{
    fitness: SessionFitness;
    quarantineReason: string | null;
  }>(connection, {
    name: 'session_validity',
    text: `SELECT session_chain.session_fitness($1, $2) AS fitness, (
             SELECT s.quarantine_reason FROM session_chain.sessions s WHERE s.project_id = $1 AND s.session_id = $2) AS "quarantineReason"`,
    values: [projectId, sessionId],
  });
  return fitness === 'whole'
    ? { valid: true }
    : { valid: false, reason: fitness, detail: quarantineReason ?? unfit[fitness] };
}

/** Why no operation can continue from a session, for people. */
export const unfit: Record<Exclude<SessionFitness, 'whole'>, string> = {
  quarantined: 'A step could not load its transcript.',
  archived: 'Its transcript is in the archive; it can be restored.',
  hole: 'Entries of its transcript are no longer in the store.',
  lost: 'Its transcript is no longer in the store.',
  unknown: 'Its transcript never was in the store.',
};

/** What only a scan of every entry of a transcript finds; null for a whole one. */
async function holeOf(pool: Pool, projectId: ProjectId, sessionId: SessionId): Promise<string | null> {
  try {
    const store = createTranscriptStore({ pool, projectId });
    const hole = findHole((await store.load({ projectKey: '', sessionId })) ?? []);
    return hole === null ? null : `The entry ${hole} follows one that is missing.`;
  } catch (error) {
    if (error instanceof SessionChainError && error.code === 'SESSION_NOT_IN_STORE') return error.message;
    throw error;
  }
}

/** The session to continue from in place of one that is lost. */
export interface Recovery {
  /** Null: nothing is left to continue from, and the next session is a fresh one. */
  sessionId: SessionId | null;
  /** Sessions between the lost one and this one that are also lost. */
  skipped: number;
}

/**
 * The nearest ancestor of a session that is whole: along what was forked, and where that is not known along what was
 * replaced as head. A transcript with a hole that turns up on the way is quarantined, except for a dry run.
 */
export async function nearestValidAncestor(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  { dryRun = false }: RecoverOptions = {},
): Promise<Recovery> {
  const ancestors = await queryRows<{ id: SessionId }>(pool, {
    name: 'session_ancestors',
    text: 'SELECT session_id AS id FROM session_chain.session_ancestors($1, $2) ORDER BY distance',
    values: [projectId, sessionId],
  });
  for (let skipped = 0; skipped < ancestors.length; skipped += pageSize) {
    const page = await queryRows<{ sessionId: SessionId; fitness: SessionFitness }>(pool, {
      name: 'fitness_of_ancestors',
      text: `SELECT one.id AS "sessionId", session_chain.session_fitness($1, one.id) AS fitness
             FROM unnest($2::text[]) WITH ORDINALITY AS one (id, n) ORDER BY one.n`,
      values: [projectId, ancestors.slice(skipped, skipped + pageSize).map(({ id }) => id)],
    });
    for (const [index, ancestor] of page.entries()) {
      const found: Recovery = { sessionId: ancestor.sessionId, skipped: skipped + index };
      // The step that continues from an archived one restores it.
      if (ancestor.fitness === 'archived') return found;
      if (ancestor.fitness !== 'whole') continue;
      const hole = await holeOf(pool, projectId, ancestor.sessionId);
      if (hole === null) return found;
      if (!dryRun) await quarantineSession(pool, projectId, ancestor.sessionId, hole);
    }
  }
  return { sessionId: null, skipped: ancestors.length };
}

/** The nearest few nearly always have one that is whole, and a line may have thousands. */
const pageSize = 50;

/** Whether an operation can continue from it, if only once it is restored. */
function isUsable(
  validity: SessionValidity,
): validity is { valid: true } | { valid: false; reason: 'archived'; detail: string } {
  return validity.valid || validity.reason === 'archived';
}

function archivedWarning(sessionId: SessionId): string {
  return `The transcript of the session ${sessionId} is in the archive; the step that continues from it restores it first.`;
}

/** What the caller is told about a recovery. */
export function recoveryWarning(lost: SessionId, { sessionId, skipped }: Recovery): string {
  if (sessionId === null) {
    return `The transcript of the session ${lost} is lost, and none of its ancestors is whole: a fresh session is started.`;
  }
  const besides = skipped === 0 ? '' : `, and ${skipped} ${skipped === 1 ? 'session' : 'sessions'} before it`;
  return `The transcript of the session ${lost}${besides} is lost: the work goes on from ${sessionId}, the nearest that is whole.`;
}

/** Which session a project continues from. */
export interface RecoveredSession {
  projectId: ProjectId;
  /** The session that was asked for; null for a project that has none. */
  askedSessionId: SessionId | null;
  /** What to continue from; null for a fresh session. */
  sessionId: SessionId | null;
  /** `valid`: the session itself. `ancestor`: the nearest whole one before it. `fresh`: nothing is left. */
  outcome: 'valid' | 'ancestor' | 'fresh';
  /** Why no operation can continue from the session; null where one can. */
  problem: Exclude<SessionValidity, { valid: true }> | null;
  /** What is lost, for people; null where nothing is. */
  warning: string | null;
  /**
   * The session is the head and was given up, or would be without `dryRun`: the next chain continues from `sessionId`,
   * with the source `recovery`.
   */
  givenUp: boolean;
}

export interface RecoverOptions {
  /** Report what would happen, and write nothing. */
  dryRun?: boolean;
}

/**
 * The session itself where an operation can continue from it, else its nearest ancestor of that kind, else none; a
 * session that the project does not know has the head as its ancestor. A head that is lost is given up: the next chain
 * continues from what this returns, its first transition has the source `recovery`, and its result a warning. The
 * default is the head. Throws PROJECT_NOT_FOUND.
 */
export async function validateAndRecover(
  pool: Pool,
  projectId: ProjectId,
  sessionId?: SessionId,
  options: RecoverOptions = {},
): Promise<RecoveredSession> {
  const { sessionId: head } = await readHead(pool, projectId);
  const asked = sessionId ?? head;
  const about = { projectId, askedSessionId: asked };
  if (asked === null) {
    return { ...about, sessionId: null, outcome: 'fresh', problem: null, warning: null, givenUp: false };
  }
  const validity = await checkSessionValidity(pool, projectId, asked);
  if (isUsable(validity)) {
    const warning = validity.valid ? null : archivedWarning(asked);
    return { ...about, sessionId: asked, outcome: 'valid', problem: null, warning, givenUp: false };
  }
  if (asked === head && !options.dryRun) await giveUp(pool, projectId, asked, validity);
  const recovery = await recoveryOf(pool, projectId, asked, head, options);
  return {
    ...about,
    sessionId: recovery.sessionId,
    outcome: recovery.sessionId === null ? 'fresh' : 'ancestor',
    problem: validity,
    warning: recoveryWarning(asked, recovery),
    givenUp: asked === head,
  };
}

async function recoveryOf(
  pool: Pool,
  projectId: ProjectId,
  asked: SessionId,
  head: SessionId | null,
  options: RecoverOptions,
): Promise<Recovery> {
  const recovery = await nearestValidAncestor(pool, projectId, asked, options);
  if (recovery.skipped > 0 || recovery.sessionId !== null) return recovery;
  // It has no ancestors: it is unknown here, or it was made the head from outside and no chain has adopted it yet.
  const [last = null] = await getSessionChain(pool, projectId);
  for (const sessionId of new Set([head, last])) {
    if (sessionId === null || sessionId === asked) continue;
    const validity = await checkSessionValidity(pool, projectId, sessionId);
    const found: Recovery = isUsable(validity)
      ? { sessionId, skipped: 0 }
      : await nearestValidAncestor(pool, projectId, sessionId, options);
    if (found.sessionId !== null) return found;
  }
  return recovery;
}

/** Lets the next chain continue without the session. If its transcript comes back, the session counts again. */
async function giveUp(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  problem: Exclude<SessionValidity, { valid: true }>,
): Promise<void> {
  await queryRows(pool, {
    name: 'give_up_session',
    text: 'SELECT session_chain.give_up_session($1, $2)',
    values: [projectId, sessionId],
  });
  // Only a scan of every entry finds such a hole, and the next chain does not scan.
  if (problem.reason === 'hole') await quarantineSession(pool, projectId, sessionId, problem.detail);
}
