import type { Failure } from '../../contracts/failures.js';
import type { ChainId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { type Refusal, refused } from '../heads/errors.js';
import { jsonbOf } from '../jsonb.js';

/** Steps that are activities of the host: they move no head and have rows of their own beside the journal. */

/** A round of a step of the chain that holds the project. */
interface ActivityStep {
  projectId: ProjectId;
  chainId: ChainId;
  /** What proves that the chain holds the project; from its opening. */
  ticket: number;
  step: StepName;
  round: number;
}

export interface ActivityCall extends ActivityStep {
  versionId: VersionId;
  role: string | null;
  /** The activity type. */
  activity: string;
  taskQueue: string;
  /** The head that the activity is called with. */
  sessionId: SessionId | null;
  seq: number | null;
  /** When Temporal scheduled this try: one that arrives after a newer one is fenced. */
  scheduledAtMs: number;
}

/**
 * Journals that an activity of the host is about to be called, under the key that is the same at every call of this
 * round of the step. `completed`: an earlier call succeeded. Throws FENCED for a chain that does not hold the project,
 * and for a late try; else as `beginOperation`.
 */
export async function beginActivityStep(
  pool: Pool,
  call: ActivityCall,
): Promise<{ outcome: 'call'; key: string } | { outcome: 'completed' }> {
  const { outcome, key, why } = await queryOne<{
    outcome: 'call' | 'completed' | Refusal;
    key: string;
    why: string | null;
  }>(pool, {
    name: 'begin_activity',
    text: `SELECT outcome, key,
             CASE outcome WHEN 'fenced' THEN session_chain.why_chain_fenced($2, $3, $4, $5, $11) END AS why
           FROM session_chain.begin_activity($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    values: [
      call.projectId,
      call.chainId,
      call.ticket,
      call.step,
      call.round,
      call.role,
      call.activity,
      call.taskQueue,
      call.sessionId,
      call.seq,
      new Date(call.scheduledAtMs),
    ],
  });
  switch (outcome) {
    case 'call':
      return { outcome, key };
    case 'completed':
      return { outcome };
    default:
      throw refused(outcome, { ...call, why, what: `step ${call.step}` });
  }
}

/** Journals how an activity of the host ended; a chain that no longer holds the project changes nothing. */
export async function endActivityStep(
  pool: Pool,
  end: ActivityStep & {
    /** Null for success, and for a cancellation without a failure. */
    failure: Failure | null;
    cancelled: boolean;
  },
): Promise<void> {
  const state = end.cancelled ? 'cancelled' : end.failure ? 'failed' : 'completed';
  await queryRows(pool, {
    name: 'end_activity',
    text: 'SELECT session_chain.end_activity($1, $2, $3, $4, $5, $6, $7)',
    values: [
      end.projectId,
      end.chainId,
      end.ticket,
      end.step,
      end.round,
      state,
      end.failure && jsonbOf(end.failure),
    ],
  });
}
