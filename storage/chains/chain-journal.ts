import type { Failure } from '../../contracts/failures.js';
import type { AttemptId, ChainId, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';
import type { JudgedEvidence } from '../operations/operations.js';

/** One try of a step, as the journal and the ledger know it. */
export interface AttemptDetails {
  attemptId: AttemptId;
  /** Counts the times that the chain decided to run the step. */
  round: number;
  /** 1 for the first attempt of the round. */
  attempt: number;
  state: 'running' | 'waiting' | 'failed' | 'committed';
  /** The session that it wrote, and what it was to continue from. */
  sessionId: SessionId;
  baseSessionId: SessionId | null;
  /** The session that it forked: the base, or that of an earlier attempt, which it continued. */
  parentSessionId: SessionId | null;
  /** The finished session of an earlier attempt that it committed in place of its own. */
  adopts: SessionId | null;
  /** The number of the transition that its commit made; null unless it is committed. */
  seq: number | null;
  /** The process that ran it, as `pid@host`. */
  worker: string;
  /** When Temporal scheduled it, by its clock. */
  scheduledAt: Date;
  startedAt: Date;
  /** When its worker last gave a sign of life, and when its lease expires without another one. */
  seenAt: Date;
  leaseUntil: Date;
  endedAt: Date | null;
  failure: Failure | null;
  /** What its transcript proves, as a later attempt found; null where none looked, because its end was recorded. */
  evidence: JudgedEvidence | null;
  /** Null where unknown, and until it has ended. */
  costUsd: number | null;
  turns: number | null;
}

/** A call of an activity of the host. */
export interface ActivityDetails {
  activity: string;
  taskQueue: string;
  round: number;
  state: 'running' | 'completed' | 'failed' | 'cancelled';
  startedAt: Date;
  endedAt: Date | null;
}

/** The journal of a chain, in the order in which its entries began. */
export async function readJournal(
  pool: Pool,
  chainId: ChainId,
): Promise<{
  attempts: ({ step: StepName } & AttemptDetails)[];
  activities: ({ step: StepName } & ActivityDetails)[];
}> {
  const [attempts, activities] = await Promise.all([
    queryRows<{ step: StepName } & AttemptDetails>(pool, {
      name: 'chain_attempts',
      text: `SELECT a.step, a.id::text AS "attemptId", a.round, a.attempt, a.state, a.session_id AS "sessionId",
               a.base_session_id AS "baseSessionId", s.parent_session_id AS "parentSessionId", a.adopts,
               (a.result ->> 'seq')::bigint AS seq, a.worker,
               a.scheduled_at AS "scheduledAt", a.started_at AS "startedAt", a.seen_at AS "seenAt",
               a.seen_at + a.lease_ms * interval '1 ms' AS "leaseUntil",
               a.ended_at AS "endedAt", a.failure, a.evidence, m.cost_usd AS "costUsd", m.turns
             FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
             LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
             WHERE a.chain = $1 ORDER BY a.id`,
      values: [chainId],
    }),
    queryRows<{ step: StepName } & ActivityDetails>(pool, {
      name: 'chain_activities',
      text: `SELECT step, activity, task_queue AS "taskQueue", round, state, started_at AS "startedAt", ended_at AS "endedAt"
             FROM session_chain.activity_steps WHERE chain = $1 ORDER BY started_at, key`,
      values: [chainId],
    }),
  ]);
  return { attempts, activities };
}
