import type { CommittedStep } from '../../contracts/chain.js';
import { type Failure, SessionChainError } from '../../contracts/failures.js';
import type { AttemptId, ChainId, ChainKey, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { StepName, TransitionSource } from '../../contracts/steps.js';
import {
  type AttemptMetrics,
  metricColumns,
  metricParameters,
  metricUpdates,
  metricValues,
} from '../ledger/metrics.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

export interface AttemptRequest extends ChainKey {
  chainId: ChainId;
  /** What the chain's opening gave it to prove that it holds the project's turn. */
  turn: number;
  step: StepName;
  baseSessionId: SessionId | null;
  /** SHA-256 in hex of what the attempt is asked to do. */
  inputDigest: string;
  /** When Temporal scheduled this try of the activity, in ms since the epoch. */
  scheduledAtMs: number;
  /** Names the worker process, for the reader of the journal. */
  worker: string;
  /** After so much silence of the worker its agent is surely dead. */
  leaseMs: number;
}

export interface Attempt extends ChainKey {
  attemptId: AttemptId;
  /** 1 for the first attempt of the step. */
  attempt: number;
  step: StepName;
  /** The session that the attempt writes, chosen before anything runs. */
  sessionId: SessionId;
  baseSessionId: SessionId | null;
  /** Fencing token: the commit succeeds only while the project's epoch is this one. */
  epoch: number;
}

export type BeginOutcome =
  /** `earlier`: sessions of attempts that were asked the same of the same base, sealed by now, the newest first. */
  | { outcome: 'begun'; attempt: Attempt; earlier: SessionId[] }
  | { outcome: 'committed'; result: CommittedStep }
  /** An earlier attempt's agent is not surely dead; its worker was told to stop. Ask again after `waitMs` or sooner. */
  | { outcome: 'former_agent_alive'; waitMs: number };

/**
 * Journals a new attempt of a step, sealing every earlier one first; a step that is committed already returns its stored
 * result. Throws FENCED for a chain that does not hold the turn and for a try older than the journal's newest.
 */
export async function beginAttempt(pool: Pool, request: AttemptRequest): Promise<BeginOutcome> {
  const row = await queryOne<{
    outcome: BeginOutcome['outcome'] | 'fenced';
    attempt_id: AttemptId;
    attempt: number;
    session_id: SessionId;
    epoch: number;
    result: CommittedStep;
    wait_ms: number;
    earlier_session_ids: SessionId[];
  }>(pool, {
    name: 'begin_attempt',
    text: `SELECT outcome, attempt_id::text, attempt, session_id, epoch, result, wait_ms, earlier_session_ids
           FROM session_chain.begin_attempt($1, $2, $3, $4, $5, $6, to_timestamp($7 / 1000.0), $8, $9)`,
    values: [
      request.projectId,
      request.chainId,
      request.turn,
      request.step,
      request.baseSessionId,
      request.inputDigest,
      request.scheduledAtMs,
      request.worker,
      request.leaseMs,
    ],
  });
  switch (row.outcome) {
    case 'begun':
      return {
        outcome: 'begun',
        attempt: {
          projectId: request.projectId,
          versionId: request.versionId,
          buildId: request.buildId,
          step: request.step,
          attemptId: row.attempt_id,
          attempt: row.attempt,
          sessionId: row.session_id,
          baseSessionId: request.baseSessionId,
          epoch: row.epoch,
        },
        earlier: row.earlier_session_ids,
      };
    case 'committed':
      return { outcome: 'committed', result: row.result };
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', waitMs: row.wait_ms };
    case 'fenced':
      throw new SessionChainError(
        'FENCED',
        `The ${request.step} step of build ${request.buildId} no longer holds the turn of project ${request.projectId}, or a newer try has begun.`,
      );
  }
}

/**
 * Tells that the attempt's worker is alive and holds it. False when the attempt is no longer the worker's: somebody has
 * taken over, and its agent must stop.
 */
export async function renewLease(pool: Pool, { attemptId }: Pick<Attempt, 'attemptId'>): Promise<boolean> {
  const held = await queryRows(pool, {
    name: 'renew_lease',
    text: `UPDATE session_chain.attempts a SET seen_at = clock_timestamp()
           FROM session_chain.sessions s
           WHERE a.id = $1 AND a.state = 'running' AND s.project_id = a.project_id AND s.session_id = a.session_id
             AND s.sealed_at IS NULL
           RETURNING a.id`,
    values: [attemptId],
  });
  return held.length > 0;
}

/** Journals that an attempt commits the finished session of an earlier one in place of its own. */
export async function adoptSession(
  pool: Pool,
  { attemptId }: Pick<Attempt, 'attemptId'>,
  sessionId: SessionId,
): Promise<void> {
  await queryRows(pool, {
    name: 'adopt_session',
    text: `UPDATE session_chain.attempts SET adopts = $2 WHERE id = $1 AND state = 'running'`,
    values: [attemptId, sessionId],
  });
}

/** Journals that an attempt's session forks an earlier attempt's partial one instead of the base. */
export async function journalFork(
  pool: Pool,
  attempt: Pick<Attempt, 'projectId' | 'sessionId'>,
  parentSessionId: SessionId,
): Promise<void> {
  await queryRows(pool, {
    name: 'journal_fork',
    text: `UPDATE session_chain.sessions SET parent_session_id = $3
           WHERE project_id = $1 AND session_id = $2 AND sealed_at IS NULL`,
    values: [attempt.projectId, attempt.sessionId, parentSessionId],
  });
}

/** How many attempts of the same step waited for the model service, one after the other, just before this one. */
export async function countWaits(pool: Pool, attempt: Attempt): Promise<number> {
  const { waits } = await queryOne<{ waits: number }>(pool, {
    name: 'count_waits',
    text: `SELECT count(*)::integer AS waits FROM session_chain.attempts a
           WHERE a.project_id = $1 AND a.version_id = $2 AND a.build_id = $3 AND a.step = $4 AND a.attempt < $5
             AND a.failure ->> 'code' = 'MODEL_UNAVAILABLE' AND NOT EXISTS (
               SELECT FROM session_chain.attempts b
               WHERE b.project_id = $1 AND b.version_id = $2 AND b.build_id = $3 AND b.step = $4
                 AND b.attempt > a.attempt AND b.attempt < $5 AND b.failure ->> 'code' <> 'MODEL_UNAVAILABLE')`,
    values: [attempt.projectId, attempt.versionId, attempt.buildId, attempt.step, attempt.attempt],
  });
  return waits;
}

/** Whether a step of a chain is committed. */
export async function isCommitted(pool: Pool, key: ChainKey, step: StepName): Promise<boolean> {
  const committed = await queryRows(pool, {
    name: 'is_committed',
    text: `SELECT id FROM session_chain.attempts
           WHERE project_id = $1 AND version_id = $2 AND build_id = $3 AND step = $4 AND state = 'committed'`,
    values: [key.projectId, key.versionId, key.buildId, step],
  });
  return committed.length > 0;
}

/** Takes a session out of use: no step goes on from it. */
export async function quarantineSession(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  reason: string,
): Promise<void> {
  await queryRows(pool, {
    name: 'quarantine_session',
    text: `UPDATE session_chain.sessions SET quarantined_at = clock_timestamp(), quarantine_reason = $3
           WHERE project_id = $1 AND session_id = $2 AND quarantined_at IS NULL`,
    values: [projectId, sessionId, reason],
  });
}

/** Takes out of use what an attempt's session forks: its base, or the earlier attempt that it went on from. */
export async function quarantineParent(
  pool: Pool,
  attempt: Pick<Attempt, 'projectId' | 'sessionId'>,
  reason: string,
): Promise<void> {
  await queryRows(pool, {
    name: 'quarantine_parent',
    text: `UPDATE session_chain.sessions s SET quarantined_at = clock_timestamp(), quarantine_reason = $3
           FROM session_chain.sessions own
           WHERE own.project_id = $1 AND own.session_id = $2 AND s.project_id = own.project_id
             AND s.session_id = own.parent_session_id AND s.quarantined_at IS NULL`,
    values: [attempt.projectId, attempt.sessionId, reason],
  });
}

export interface Commit {
  attempt: Attempt;
  source: TransitionSource;
  /** The head as the attempt found it. */
  oldSessionId: SessionId | null;
  /** The attempt's own session, or the one it adopted. */
  newSessionId: SessionId;
  /** What the new session forked; null for a fresh one. */
  parentSessionId: SessionId | null;
  metrics: AttemptMetrics;
  /** What earlier attempts of the step spent, which the result counts as well; absent for a first attempt. */
  earlier?: Pick<CommittedStep, 'turns' | 'usage' | 'costUsd' | 'durationMs'>;
  /** Written to `project_versions.ai_metadata`; absent leaves the column alone. */
  metadata?: unknown;
  warnings: string[];
}

/**
 * Moves the head: head, version row, transition, journal, metrics and seal change in one statement or not at all. A
 * commit whose answer was lost may be repeated and returns the stored result. Throws FENCED when the head, the epoch
 * or the attempt is not what the caller believes, or when the new session's transcript is not in the store.
 */
export async function commitStep(pool: Pool, commit: Commit): Promise<CommittedStep> {
  const { attempt, metrics, earlier } = commit;
  const result: Omit<CommittedStep, 'seq' | 'transitionId'> = {
    outcome: 'committed',
    step: attempt.step,
    attemptId: attempt.attemptId,
    attempt: attempt.attempt,
    oldSessionId: commit.oldSessionId,
    newSessionId: commit.newSessionId,
    turns: metrics.turns + (earlier?.turns ?? 0),
    usage: {
      inputTokens: metrics.usage.inputTokens + (earlier?.usage.inputTokens ?? 0),
      outputTokens: metrics.usage.outputTokens + (earlier?.usage.outputTokens ?? 0),
      cacheReadTokens: metrics.usage.cacheReadTokens + (earlier?.usage.cacheReadTokens ?? 0),
      cacheWriteTokens: metrics.usage.cacheWriteTokens + (earlier?.usage.cacheWriteTokens ?? 0),
    },
    costUsd: (metrics.costUsd ?? 0) + (earlier?.costUsd ?? 0),
    durationMs: metrics.durationMs + (earlier?.durationMs ?? 0),
    warnings: commit.warnings,
  };
  return await moveHead<CommittedStep>(pool, { ...commit, result, requireTranscript: true });
}

/** A move of the head that an attempt has earned, of a step or outside a chain. */
export interface HeadMove {
  attempt: Pick<Attempt, 'projectId' | 'attemptId' | 'attempt'> & {
    buildId: string;
    versionId: VersionId | null;
    step: string;
    epoch: number | null;
  };
  source: TransitionSource;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  parentSessionId: SessionId | null;
  metrics: AttemptMetrics;
  /** False for a session whose transcript lies elsewhere; then no step can go on from it before it is imported. */
  requireTranscript: boolean;
  metadata?: unknown;
  /** The journal's result, to which the statement adds `seq` and `transitionId`. */
  result: object;
}

/** Sends the commit statement; the journal's result, also of a commit whose answer was lost. Throws FENCED. */
export async function moveHead<Result>(pool: Pool, move: HeadMove): Promise<Result> {
  const { attempt } = move;
  const [committed] = await queryRows<{ result: Result }>(pool, {
    name: 'move_head',
    text: commitStatement,
    values: [
      attempt.projectId,
      attempt.versionId,
      attempt.attemptId,
      attempt.epoch,
      move.oldSessionId,
      move.newSessionId,
      move.source,
      move.parentSessionId,
      JSON.stringify(move.result),
      move.metadata === undefined ? null : JSON.stringify(move.metadata),
      move.requireTranscript,
      ...metricValues(move.metrics),
    ],
  });
  if (committed) return committed.result;
  // The statement above saw a snapshot from before whatever refused it; what holds now takes another one.
  const [journal] = await queryRows<{ result: Result | null }>(pool, {
    name: 'read_attempt_result',
    text: 'SELECT result FROM session_chain.attempts WHERE id = $1',
    values: [attempt.attemptId],
  });
  if (journal?.result) return journal.result;
  throw new SessionChainError(
    'FENCED',
    `Attempt ${attempt.attempt} of ${attempt.step} (build ${attempt.buildId}) may not move the head of project ${attempt.projectId} from ${move.oldSessionId ?? 'none'}: somebody else has moved it or holds the turn.`,
  );
}

// Every sibling hangs on the rows of `head`: where the UPDATE finds no row, nothing is written. The fence stands on the
// updated row itself, where a concurrent change makes Postgres look again.
const commitStatement = `
  WITH head AS (
    UPDATE projects p SET
      last_ai_session_id = $6,
      session_seq = coalesce(p.session_seq, 0) + 1,
      last_ai_session_updated_at =
        greatest(clock_timestamp(), p.last_ai_session_updated_at + interval '1 microsecond')
    FROM session_chain.attempts a
      LEFT JOIN project_versions v ON v.version_id = session_chain.version_key($2)
    WHERE p.project_id = session_chain.project_key($1) AND (v.project_id = p.project_id OR a.version_id IS NULL)
      AND p.session_epoch = $4
      AND p.last_ai_session_id IS NOT DISTINCT FROM $5
      AND a.id = $3 AND a.project_id = $1 AND a.state = 'running' AND $6 IN (a.session_id, a.adopts)
      AND (NOT $11 OR session_chain.session_is_usable($1, $6))
    RETURNING p.project_id, v.version_id, p.session_seq, p.last_ai_session_updated_at AS at, a.step, a.build_id, a.session_id
  ), transition AS (
    INSERT INTO session_transitions (project_id, version_id, old_session_id, new_session_id, source, created_at, seq, prev_seq,
      parent_session_id, step, attempt_id)
    SELECT project_id, version_id, $5, $6, $7, at, session_seq, nullif(session_seq - 1, 0), $8, step, $3 FROM head
    RETURNING id
  ), version AS (
    UPDATE project_versions v SET ai_session_id = $6, ai_session_last_used_at = head.at,
      ai_metadata = coalesce($10::jsonb, v.ai_metadata)
    FROM head WHERE v.version_id = head.version_id AND v.project_id = head.project_id
  ), journal AS (
    UPDATE session_chain.attempts a SET state = 'committed', ended_at = head.at,
      result = $9::jsonb || jsonb_build_object('seq', head.session_seq, 'transitionId', transition.id::text)
    FROM head, transition WHERE a.id = $3
    RETURNING a.result
  ), seal AS (
    UPDATE session_chain.sessions s SET sealed_at = head.at
    FROM head WHERE s.project_id = $1 AND s.session_id IN ($6, head.session_id) AND s.sealed_at IS NULL
      -- A recorded session without a transcript is open for its import.
      AND (s.messages > 0 OR s.session_id <> $6)
  ), metrics AS (
    INSERT INTO project_ai_session_metrics (session_id, project_id, version_id, build_id, step, attempt_id, outcome, created_at,
      ${metricColumns})
    SELECT session_id, project_id, version_id, build_id, step, $3, CASE WHEN $6 = session_id THEN 'committed' ELSE 'adopted' END,
      at, ${metricParameters(12)}
    FROM head
  )
  SELECT result FROM journal`;

/**
 * Records how an attempt that committed nothing ended and what it spent, and seals its session. With `waitMs` it is
 * `waiting`, and so is its chain: the next attempt begins after so long. An attempt that was superseded meanwhile stays
 * as it is, but for what it spent: its own counters know more than the transcript from which it was accounted for.
 */
export async function endAttempt(
  pool: Pool,
  attempt: Pick<Attempt, 'attemptId'>,
  end: { failure: Failure; spent: AttemptMetrics; waitMs?: number },
): Promise<void> {
  const { failure, spent, waitMs } = end;
  await queryRows(pool, {
    name: 'end_attempt',
    text: `
      WITH ended AS (
        UPDATE session_chain.attempts SET failure = $2,
          state = CASE WHEN $3::integer IS NULL THEN 'failed' ELSE 'waiting' END,
          ended_at = CASE WHEN $3::integer IS NULL THEN clock_timestamp() END
        WHERE id = $1 AND state = 'running'
        RETURNING id, project_id, version_id, build_id, step, session_id, state
      ), seal AS (
        UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
        FROM ended e WHERE s.project_id = e.project_id AND s.session_id = e.session_id AND s.sealed_at IS NULL
      ), wait AS (
        UPDATE session_chain.chains c SET status = 'waiting', waiting_until = clock_timestamp() + $3 * interval '1 ms'
        FROM ended e WHERE c.project_id = e.project_id AND c.version_id = e.version_id AND c.build_id = e.build_id
          AND e.state = 'waiting' AND c.status = 'running'
      )
      INSERT INTO project_ai_session_metrics AS m (session_id, project_id, version_id, build_id, step, attempt_id, outcome,
        ${metricColumns})
      SELECT a.session_id, session_chain.project_key(a.project_id), session_chain.version_key(a.version_id), a.build_id, a.step,
        a.id, coalesce(
          CASE WHEN $4 THEN 'interrupted' ELSE (SELECT state FROM ended) END, 'interrupted'), ${metricParameters(5)}
      FROM session_chain.attempts a WHERE a.id = $1 AND a.state IN ('running', 'failed')
      ON CONFLICT (attempt_id) DO UPDATE SET ${metricUpdates}, cost_derived = false
        WHERE m.outcome = 'interrupted' AND m.turns <= excluded.turns AND excluded.cost_usd IS NOT NULL`,
    values: [
      attempt.attemptId,
      JSON.stringify(failure),
      waitMs === undefined ? null : Math.ceil(waitMs),
      failure.code === 'CANCELLED' || failure.code === 'WORKER_LOST',
      ...metricValues(spent),
    ],
  });
}
