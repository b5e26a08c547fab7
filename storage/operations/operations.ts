import type { CommittedStep, Head } from '../../contracts/chain.js';
import { type Failure, type FailureCode, SessionChainError } from '../../contracts/failures.js';
import type { AttemptId, ChainId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import type { StepName, TransitionSource } from '../../contracts/steps.js';
import { type Connection, type Parameter, type Pool, type Query, queryOne, queryRows } from '../db/pool.js';
import {
  type Refusal,
  projectNotFound,
  refused,
  versionNotFound,
  sessionOfAnotherProject,
  versionOfAnotherProject,
} from '../heads/errors.js';
import { shorten } from '../../contracts/text.js';
import { jsonbOf } from '../jsonb.js';
import { type AttemptMetrics, metricsColumns } from '../ledger/metrics.js';

/**
 * The one way to begin, commit and end what may produce a session: a step of a chain, a question, a recorded operation, an
 * import, a rewind. Every try of it is an attempt, a row of the journal.
 */

/** A step of a chain that holds its project. */
export interface StepOperation {
  chainId: ChainId;
  /** What proves that the chain holds the project; from its opening. */
  ticket: number;
  step: StepName;
  round: number;
  role: string | null;
  /** The head that the chain knows; null for none. */
  headSessionId: SessionId | null;
  /** What the attempt's session forks; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** When Temporal scheduled this try of the activity, in ms since the epoch. */
  scheduledAtMs: number;
}

/** An operation outside a chain. It cannot move the head while a chain holds the project. */
export interface OutsideOperation {
  /** Null: the newest version of the project moves along, where there is one. */
  versionId: VersionId | null;
  /** Names the operation, as `chat:…`, `record:…` or `rewind:…`: the same id is the same operation. */
  buildId: string;
  /** The source of its transition; also the journal's step. */
  source: TransitionSource;
  /** The session that it commits; null for a fresh id. */
  sessionId: SessionId | null;
  /** A session to fork in place of the head, as long as the head is still `whileHead`; of a rewind in any case. */
  fork?: { sessionId: SessionId; whileHead: SessionId | null };
}

export interface OperationRequest {
  projectId: ProjectId;
  /** SHA-256 in hex of what the attempt is asked to do. */
  inputDigest: string;
  /** Names the process, for readers of the journal. */
  worker: string;
  /**
   * After this much silence of the worker the attempt's lease has expired and its agent is dead; 0 without an agent.
   */
  leaseMs: number;
  operation: ({ kind: 'step' } & StepOperation) | ({ kind: 'outside' } & OutsideOperation);
}

export interface Attempt {
  projectId: ProjectId;
  /** Null where the project has no version. */
  versionId: VersionId | null;
  buildId: string;
  /** The step of a chain, or the source of an operation outside one. */
  step: string;
  round: number;
  attemptId: AttemptId;
  /** 1 for the first attempt of the operation. */
  attempt: number;
  /** The session that the attempt writes, chosen before anything runs. */
  sessionId: SessionId;
  /** What the session forks; null for a fresh one. */
  baseSessionId: SessionId | null;
  /** The head when the attempt began, which its commit expects. */
  head: Head;
  /** Whether the head can be forked: its transcript is in the store. */
  headIsWhole: boolean;
  /** Fencing token: the commit moves the head only while the project's epoch is this one; null: it cannot move it. */
  epoch: number | null;
  /** The chain that held the project when an operation outside a chain began. */
  holder: { workflowId: string; runId: string } | null;
  /** A head that had been moved outside and was adopted by this call. */
  adoptedSessionId: SessionId | null;
}

/** An attempt of the same operation with the same input; its session is sealed by now and holds a transcript. */
export interface EarlierAttempt {
  sessionId: SessionId;
  baseSessionId: SessionId | null;
  /** What its session forked: the base, or the session of an attempt before it. */
  parentSessionId: SessionId | null;
}

export type Begun<Result> =
  /** `earlier`, newest first; of a step only those on the same base. */
  | { outcome: 'begun'; attempt: Attempt; earlier: EarlierAttempt[] }
  /** The operation is done; a head that it moved has a `seq` in the result. */
  | { outcome: 'committed'; result: Result }
  /** The lease of an earlier attempt has not expired; its worker was told to stop. Ask again after `waitMs` or sooner. */
  | { outcome: 'former_agent_alive'; waitMs: number };

/**
 * Journals a new attempt before anything is spent, and seals the earlier ones. Outside a chain, a head that was moved
 * outside is adopted. Throws FENCED for a chain that does not hold the project and for a try older than the journal's
 * newest, DATABASE_WENT_BACK for a chain whose ticket or head the database does not know, REQUEST_LOST for a chain that
 * it does not know, PROJECT_NOT_FOUND, VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT, and SESSION_ALREADY_KNOWN for a
 * session id that another attempt has.
 */
export async function beginOperation<Result>(
  connection: Connection,
  request: OperationRequest,
): Promise<Begun<Result>> {
  const row = await queryOne<BegunRow<Result>>(connection, beginQuery(request));
  switch (row.outcome) {
    case 'begun':
      return { outcome: 'begun', attempt: attemptOf(request, row), earlier: row.earlier };
    case 'committed':
      return { outcome: 'committed', result: row.result };
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', waitMs: row.wait_ms };
    default:
      throw refusal(request, { ...row, outcome: row.outcome });
  }
}

const begunColumns = `outcome, attempt_id::text, attempt, version_id, build_id, session_id, base_session_id, head_session_id,
  head_seq, head_is_whole, epoch, adopted_session_id, result, wait_ms, earlier, holder_workflow_id, holder_run_id`;

function beginQuery({ projectId, inputDigest, worker, leaseMs, operation }: OperationRequest): Query {
  if (operation.kind === 'outside' && isRecording(operation)) {
    const { versionId, buildId, source, sessionId, fork } = operation;
    return {
      name: 'begin_recording',
      text: `SELECT ${begunColumns}, NULL AS why FROM session_chain.begin_recording($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      values: [
        ...[projectId, versionId, buildId, source, sessionId],
        ...[fork?.sessionId ?? null, fork?.whileHead ?? null, inputDigest, worker],
      ],
    };
  }
  return {
    name: 'begin_operation',
    text: `SELECT ${begunColumns},
             CASE outcome WHEN 'fenced' THEN session_chain.why_chain_fenced($2, $3, $6, $7, to_timestamp($13 / 1000.0)) END AS why
           FROM session_chain.begin_operation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, to_timestamp($13 / 1000.0),
             $14, $15)`,
    values: [
      projectId,
      ...(operation.kind === 'step' ? stepValues(operation) : outsideValues(operation)),
      inputDigest,
      operation.kind === 'step' ? operation.scheduledAtMs : null,
      ...[worker, leaseMs],
    ],
  };
}

/** Recorded operations and rewinds have functions of their own, which a client may call: they work for no chain. */
function isRecording({ buildId }: Pick<OutsideOperation, 'buildId'>): boolean {
  return /^(record|rewind):/.test(buildId);
}

type Refused = Refusal | 'version_of_another_project' | 'session_in_journal' | 'session_of_another_project';

interface BegunRow<Result> {
  outcome: Begun<Result>['outcome'] | Refused;
  why: string | null;
  attempt_id: AttemptId;
  attempt: number;
  version_id: VersionId | null;
  build_id: string;
  session_id: SessionId;
  base_session_id: SessionId | null;
  head_session_id: SessionId | null;
  head_seq: number | null;
  head_is_whole: boolean | null;
  epoch: number | null;
  adopted_session_id: SessionId | null;
  result: Result;
  wait_ms: number;
  earlier: EarlierAttempt[];
  holder_workflow_id: string | null;
  holder_run_id: string;
}

/** p_chain, p_ticket, p_version, p_build, p_step, p_round, p_role, p_session, p_base, p_while_head */
function stepValues(operation: StepOperation): Parameter[] {
  const { chainId, ticket, step, round, role, baseSessionId, headSessionId } = operation;
  return [chainId, ticket, null, null, step, round, role, null, baseSessionId, headSessionId];
}

function outsideValues({ versionId, buildId, source, sessionId, fork }: OutsideOperation): Parameter[] {
  const { sessionId: base = null, whileHead = null } = fork ?? {};
  return [null, null, versionId, buildId, source, 1, null, sessionId, base, whileHead];
}

function attemptOf({ projectId, operation }: OperationRequest, row: BegunRow<unknown>): Attempt {
  const { holder_workflow_id: workflowId, holder_run_id: runId } = row;
  return {
    projectId,
    versionId: row.version_id,
    buildId: row.build_id,
    step: operation.kind === 'step' ? operation.step : operation.source,
    round: operation.kind === 'step' ? operation.round : 1,
    attemptId: row.attempt_id,
    attempt: row.attempt,
    sessionId: row.session_id,
    baseSessionId: row.base_session_id,
    head: { sessionId: row.head_session_id, seq: row.head_seq },
    // The opening of a chain has checked it.
    headIsWhole: row.head_is_whole ?? true,
    epoch: row.epoch,
    holder: workflowId === null ? null : { workflowId, runId },
    adoptedSessionId: row.adopted_session_id,
  };
}

function refusal(
  { projectId, operation }: OperationRequest,
  {
    outcome,
    version_id: versionOfChain,
    why,
  }: Pick<BegunRow<unknown>, 'version_id' | 'why'> & { outcome: Refused },
): SessionChainError {
  const { versionId, sessionId, what } =
    operation.kind === 'outside'
      ? { ...operation, what: operation.buildId }
      : { versionId: versionOfChain, sessionId: null, what: `step ${operation.step}` };
  switch (outcome) {
    default:
      return refused(outcome, { projectId, versionId, what, why });
    case 'version_of_another_project':
      return versionOfAnotherProject(projectId, versionId);
    case 'session_in_journal':
      return new SessionChainError(
        'SESSION_ALREADY_KNOWN',
        `The session ${String(sessionId)} of the project ${projectId} belongs to another operation.`,
      );
    case 'session_of_another_project':
      return sessionOfAnotherProject(projectId, sessionId);
  }
}

export interface OperationCommit {
  attempt: Attempt;
  /** What moved the head, for its transition. */
  source: TransitionSource;
  /** The attempt's own session, or the one that it adopted. */
  newSessionId: SessionId;
  /** What the new session forked; null for a fresh one. */
  parentSessionId: SessionId | null;
  metrics: AttemptMetrics;
  /** The journal's result; a moved head adds its `seq`. */
  result: object;
  /** The value of a submission. */
  value?: Record<string, unknown>;
  /** The column of `project_versions` that gets the value. */
  column?: string;
  answer?: { questionId: string; reply: string };
  /**
   * False for a session whose transcript is stored elsewhere: no step can continue from it before it is imported.
   * Default: true.
   */
  requireTranscript?: boolean;
  /**
   * How many appends the attempt's session received; where it holds fewer, the database went back. Default: not
   * checked.
   */
  appends?: number | null;
  /** Whether the session may, or has to, be committed without moving the head. Default: `never`. */
  beside?: 'never' | 'allowed' | 'always';
  /** Of a rewind: the transition that it goes back to. */
  rewoundTo?: number;
}

/**
 * Moves the head to the attempt's session, or commits the session beside the line of heads: head, version row, transition,
 * journal, metrics, seal, value and answer change together or not at all. A commit whose answer was lost may be repeated
 * and returns the stored result. Throws FENCED when head, epoch or attempt are not what they were when the attempt
 * began, or when the new session's transcript is not in the store.
 */
export async function commitOperation<Result extends object>(
  connection: Connection,
  commit: OperationCommit,
): Promise<{ outcome: 'moved' | 'beside'; result: Result }> {
  const {
    attempt,
    value,
    column,
    answer,
    requireTranscript = true,
    appends,
    beside = 'never',
    rewoundTo,
  } = commit;
  const options = jsonbOf({
    requireTranscript,
    appends: appends ?? undefined,
    beside: beside === 'always',
    mayStayBeside: beside !== 'never',
    value,
    column,
    answer,
    rewoundTo,
  });
  const isRecorded = isRecording(attempt);
  const { outcome, result, why } = await queryOne<{
    outcome: 'moved' | 'beside' | 'fenced';
    result: Result;
    why: string | null;
  }>(connection, {
    name: isRecorded ? 'commit_recording' : 'commit_operation',
    text: `SELECT outcome, result,
               CASE outcome WHEN 'fenced' THEN session_chain.why_not_committed($1, $2, $3, $7) END AS why
             FROM session_chain.${isRecorded ? 'commit_recording($1' : 'commit_operation($1, $8'}, $2, $3, $4, $5, $6, $7)`,
    values: [
      attempt.attemptId,
      attempt.head.sessionId,
      commit.newSessionId,
      commit.parentSessionId,
      jsonbOf(commit.result),
      jsonbOf(metricsColumns(commit.metrics)),
      options,
      ...(isRecorded ? [] : [commit.source]),
    ],
  });
  if (outcome !== 'fenced') return { outcome, result };
  throw new SessionChainError(
    'FENCED',
    `Attempt ${attempt.attempt} of ${attempt.step} (build ${attempt.buildId}) is not committed, and the head of the project ${attempt.projectId} stays: ${why ?? 'it has no right to'}.`,
  );
}

/**
 * Records how an attempt that committed nothing ended and what it spent, and seals its session. With `waitMs` it is
 * `waiting`, and so is its chain: the next attempt begins after that time. An attempt that was superseded meanwhile
 * stays as it is, except for what it spent: its own counters are more complete than the transcript from which its row
 * was written. What it noted of its tool calls stays where it may be more than the transcript has: `hasOpenCalls`.
 */
export async function endOperation(
  pool: Pool,
  { attemptId }: Pick<Attempt, 'attemptId'>,
  {
    failure,
    spent,
    waitMs,
    hasOpenCalls = false,
  }: { failure: Failure; spent: AttemptMetrics; waitMs?: number; hasOpenCalls?: boolean },
): Promise<void> {
  await queryRows(pool, {
    name: 'end_operation',
    text: 'SELECT session_chain.end_operation($1, $2, $3, $4, $5, $6)',
    values: [
      attemptId,
      jsonbOf(failure),
      waitMs === undefined ? null : Math.ceil(waitMs),
      isInterruption(failure.code),
      jsonbOf(metricsColumns(spent)),
      hasOpenCalls,
    ],
  });
}

/** Whether an attempt that ended so was stopped, or lost with its worker. */
export function isInterruption(code: FailureCode): boolean {
  return code === 'CANCELLED' || code === 'WORKER_LOST';
}

/**
 * `lost`: another attempt has taken over, or a row that its commit needs was deleted or replaced. `cancelled`: the
 * chain was asked to stop. In both the agent must stop.
 */
export type LeaseState = 'held' | 'lost' | 'cancelled';

/** Confirms that the attempt's worker is alive and holds it, and learns whether it still does. */
export async function renewLease(pool: Pool, { attemptId }: Pick<Attempt, 'attemptId'>): Promise<LeaseState> {
  const [row] = await queryRows<{ lease: LeaseState }>(pool, {
    name: 'renew_lease',
    text: `WITH held AS (
             UPDATE session_chain.attempts a SET seen_at = clock_timestamp()
             FROM session_chain.sessions s
             WHERE a.id = $1 AND a.state = 'running' AND s.project_id = a.project_id AND s.session_id = a.session_id
               AND s.sealed_at IS NULL
               AND EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(a.project_id)
                 AND p.session_epoch >= coalesce(a.epoch, 0))
               AND (a.chain IS NULL OR EXISTS (SELECT FROM project_versions v
                 WHERE v.version_id = session_chain.version_key(a.version_id)
                   AND v.project_id = session_chain.project_key(a.project_id)))
             RETURNING a.id
           )
           SELECT CASE WHEN c.cancelled_ticket = a.ticket THEN 'cancelled' WHEN held.id IS NULL THEN 'lost' ELSE 'held' END AS lease
           FROM session_chain.attempts a LEFT JOIN held ON true LEFT JOIN session_chain.chains c ON c.id = a.chain
           WHERE a.id = $1`,
    values: [attemptId],
  });
  return row?.lease ?? 'lost';
}

/** A tool call that ran, or may have, before its transcript entry was stored. */
export interface NotedCall {
  id: string;
  name: string;
  /** The beginning of the input, as JSON. */
  input: string;
}

const notedInputLength = 500;

/**
 * Notes beside the journal which tool calls run before their entries are stored, in place of those noted before. The
 * note counts as the store's knowledge of the calls: FENCED where the attempt would not take their entries, or its lease
 * has expired.
 */
export async function noteCalls(
  pool: Pool,
  { attemptId }: Pick<Attempt, 'attemptId'>,
  calls: readonly { id: string; name: string; input: unknown }[],
): Promise<void> {
  const noted = calls.map(({ id, name, input }): NotedCall => {
    return { id, name, input: shorten(jsonbOf({ ...(input as object) }), notedInputLength) };
  });
  const rows = await queryRows(pool, {
    name: 'note_calls',
    text: `UPDATE session_chain.attempts a SET calls = $2 FROM session_chain.sessions s
           WHERE a.id = $1 AND a.state = 'running' AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()
             AND s.project_id = a.project_id AND s.session_id = a.session_id AND s.sealed_at IS NULL
           RETURNING a.id`,
    values: [attemptId, jsonbOf(noted)],
  });
  if (rows.length === 0) {
    throw new SessionChainError('FENCED', `The attempt ${attemptId} may not go on: no tool call was noted.`);
  }
}

/** What earlier attempts of the same operation noted and did not take back, in their order. */
export async function callsNotedBefore(
  pool: Pool,
  { attemptId }: Pick<Attempt, 'attemptId'>,
): Promise<NotedCall[]> {
  const rows = await queryRows<{ calls: NotedCall[] }>(pool, {
    name: 'calls_noted_before',
    text: `SELECT a.calls FROM session_chain.attempts own
           JOIN session_chain.attempts a ON a.project_id = own.project_id AND a.build_id = own.build_id
             AND a.chain IS NOT DISTINCT FROM own.chain AND a.step = own.step AND a.round = own.round
             AND a.attempt < own.attempt AND a.calls IS NOT NULL
           WHERE own.id = $1 ORDER BY a.attempt`,
    values: [attemptId],
  });
  return rows.flatMap(({ calls }) => calls);
}

/**
 * What an attempt began with and now lacks, null for nothing: the project (an epoch only grows: a row with a lower one
 * was inserted again), the version of its chain, or what the database had confirmed of the attempt itself. `appends` is
 * how many its session received.
 */
export async function lostRow(
  pool: Pool,
  {
    projectId,
    versionId,
    attemptId,
    sessionId,
  }: Pick<Attempt, 'projectId' | 'versionId' | 'attemptId' | 'sessionId'>,
  { ofChain, appends }: { ofChain: boolean; appends: number },
): Promise<SessionChainError | null> {
  const { lost } = await queryOne<{ lost: 'project' | 'project_replaced' | 'version' | 'attempt' | null }>(
    pool,
    {
      name: 'lost_row',
      text: `SELECT CASE
             WHEN NOT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key($1)) THEN 'project'
             WHEN EXISTS (SELECT FROM projects p JOIN session_chain.attempts a ON a.id = $3 AND a.epoch > p.session_epoch
               WHERE p.project_id = session_chain.project_key($1)) THEN 'project_replaced'
             WHEN $5 AND NOT EXISTS (SELECT FROM project_versions v WHERE v.version_id = session_chain.version_key($2)
               AND v.project_id = session_chain.project_key($1)) THEN 'version'
             WHEN NOT EXISTS (SELECT FROM session_chain.attempts a
               JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
               WHERE a.id = $3 AND a.project_id = $1 AND a.session_id = $4 AND s.batches >= $6) THEN 'attempt'
           END AS lost`,
      values: [projectId, versionId, attemptId, sessionId, ofChain, appends],
    },
  );
  switch (lost) {
    case null:
      return null;
    case 'project':
      return projectNotFound(projectId);
    case 'project_replaced':
      return new SessionChainError(
        'REQUEST_LOST',
        `The row of the project ${projectId} in projects is another one than that for which the attempt ${attemptId} began: it was deleted and inserted again, or its session_epoch was set back.`,
      );
    case 'version':
      return versionNotFound(versionId);
    case 'attempt':
      return new SessionChainError(
        'DATABASE_WENT_BACK',
        `The attempt ${attemptId} with the session ${sessionId} is not in the database as it was confirmed: the database went back to an earlier state.`,
      );
  }
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

/** How many attempts of the same operation waited for the model service, one after the other, just before this one. */
export async function countWaits(pool: Pool, { attemptId }: Pick<Attempt, 'attemptId'>): Promise<number> {
  const { waits } = await queryOne<{ waits: number }>(pool, {
    name: 'count_waits',
    text: `SELECT count(*) FILTER (WHERE waited)::integer AS waits FROM (
             SELECT bool_and(a.failure ->> 'code' IS NOT DISTINCT FROM 'MODEL_UNAVAILABLE') OVER (ORDER BY a.attempt DESC) AS waited
             FROM session_chain.attempts own
             JOIN session_chain.attempts a ON a.project_id = own.project_id AND a.build_id = own.build_id
               AND a.chain IS NOT DISTINCT FROM own.chain AND a.step = own.step AND a.round = own.round
               AND a.attempt < own.attempt
             WHERE own.id = $1) before`,
    values: [attemptId],
  });
  return waits;
}

/** The stored result of a chain's step; null while its round is not committed. */
export async function committedStep(
  pool: Pool,
  { chainId, step, round }: Pick<StepOperation, 'chainId' | 'step' | 'round'>,
): Promise<CommittedStep | null> {
  const [committed] = await queryRows<{ result: CommittedStep }>(pool, {
    name: 'committed_step',
    text: `SELECT result FROM session_chain.attempts
           WHERE chain = $1 AND step = $2 AND round = $3 AND state = 'committed'`,
    values: [chainId, step, round],
  });
  return committed?.result ?? null;
}

/**
 * The same for a step that its chain gives up: null once it is certain that none of its attempts will commit.
 * `scheduledAtMs` is when Temporal scheduled this call; a try of the step that was scheduled before is fenced.
 */
export async function settleStep(
  pool: Pool,
  call: Pick<StepOperation, 'chainId' | 'ticket' | 'step' | 'round' | 'scheduledAtMs'> & {
    projectId: ProjectId;
  },
): Promise<CommittedStep | null> {
  const [committed] = await queryRows<{ result: CommittedStep }>(pool, {
    name: 'settle_step',
    text: 'SELECT result FROM session_chain.settle_step($1, $2, $3, $4, $5, to_timestamp($6 / 1000.0))',
    values: [call.projectId, call.chainId, call.ticket, call.step, call.round, call.scheduledAtMs],
  });
  return committed?.result ?? null;
}

/** The values that a chain's steps submitted, by step; of several rounds the last one. */
export async function submittedValues(pool: Pool, chainId: ChainId): Promise<Record<StepName, unknown>> {
  const rows = await queryRows<{ step: StepName; value: unknown }>(pool, {
    name: 'submitted_values',
    text: `SELECT DISTINCT ON (step) step, value FROM session_chain.attempts
           WHERE chain = $1 AND state = 'committed' AND value IS NOT NULL ORDER BY step, round DESC`,
    values: [chainId],
  });
  return Object.fromEntries(rows.map(({ step, value }) => [step, value]));
}

/** What a stored transcript proves of an attempt whose end was not recorded; `rule` is the sentence that decided. */
export interface JudgedEvidence {
  /** `finished`: committed as it is. `partial`: the step continued from it. `nothing`: the step started over. */
  kind: 'finished' | 'partial' | 'nothing';
  rule: string;
}

/** Journals what the transcript of an earlier attempt proves, as a later one found, and by which rule. */
export async function noteEvidence(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  { kind, rule }: JudgedEvidence,
): Promise<void> {
  await queryRows(pool, {
    name: 'note_evidence',
    text: 'UPDATE session_chain.attempts SET evidence = $3 WHERE project_id = $1 AND session_id = $2',
    values: [projectId, sessionId, jsonbOf({ kind, rule })],
  });
}

/** Takes a session out of use: no step continues from it. */
export async function quarantineSession(
  pool: Pool,
  projectId: ProjectId,
  sessionId: SessionId,
  reason: string,
): Promise<void> {
  await queryRows(pool, {
    name: 'quarantine_session',
    text: 'SELECT session_chain.quarantine_session($1, $2, $3)',
    values: [projectId, sessionId, reason],
  });
}

/** Takes out of use what an attempt's session forks: its base, or the earlier attempt that it continued from. */
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
