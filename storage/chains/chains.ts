import type { ChainRun } from '../../contracts/chain-runs.js';
import type { ChainResult, Head, OpenedChain, QueuePosition, VersionStatus } from '../../contracts/chain.js';
import { type Failure, type FailureCode, SessionChainError } from '../../contracts/failures.js';
import type { ChainId, ChainKey, ProjectId, SessionId } from '../../contracts/ids.js';
import type { ChainBudget } from '../../contracts/limits.js';
import type { ChainOrigin, ResetPolicy } from '../../contracts/origin.js';
import type { ChainMode, ChainStatus, StepKind, StepName, StepRole } from '../../contracts/steps.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type Connection, type Pool, queryOne, queryRows } from '../db/pool.js';
import {
  type Refusal,
  projectNotFound,
  refused,
  versionNotFound,
  versionOfAnotherProject,
} from '../heads/errors.js';
import { adoptionWarning } from '../heads/heads.js';
import { jsonbOf } from '../jsonb.js';

export interface ChainRequest extends ChainKey {
  /** Absent: `initial` for a project without a head, else `update`. */
  mode?: ChainMode;
  /** Absent: every step of the worker's definition. */
  steps?: StepName[];
  /** What to build, in the caller's words; absent: the default instruction of the mode. */
  instruction?: string;
  /** Absolute path of the project's files. */
  workspace: string;
  /** Insert missing rows of projects and project_versions, where these migrations created the tables. */
  createRows: boolean;
  /** How many chains of the project may be queued; absent: any number. */
  maxQueued?: number;
}

export interface RegisteredChain {
  chainId: ChainId;
  mode: ChainMode;
  status: ChainStatus;
  /** False when the chain existed already, open or completed. */
  isNew: boolean;
}

/**
 * Records what a caller wants done, before any workflow exists. Safe to repeat. Throws PROJECT_NOT_FOUND,
 * VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT and PROJECT_QUEUE_FULL.
 */
export async function registerChain(pool: Connection, request: ChainRequest): Promise<RegisteredChain> {
  const row = await queryOne<{
    outcome:
      | 'registered'
      | 'exists'
      | 'project_not_found'
      | 'version_not_found'
      | 'version_of_another_project'
      | 'queue_full';
    chain_id: ChainId;
    mode: ChainMode;
    status: ChainStatus;
    queued: number;
  }>(pool, {
    name: 'register_chain',
    text: `SELECT outcome, chain_id::text, mode, status, queued
           FROM session_chain.register_chain($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    values: [
      request.projectId,
      request.versionId,
      request.buildId,
      request.mode ?? null,
      request.steps ?? null,
      request.instruction ?? null,
      request.workspace,
      request.createRows,
      request.maxQueued ?? null,
    ],
  });
  switch (row.outcome) {
    case 'registered':
    case 'exists': {
      const { chain_id: chainId, mode, status } = row;
      return { chainId, mode, status, isNew: row.outcome === 'registered' };
    }
    case 'project_not_found':
      throw projectNotFound(request.projectId);
    case 'version_not_found':
      throw versionNotFound(request.versionId);
    case 'version_of_another_project':
      throw versionOfAnotherProject(request.projectId, request.versionId);
    case 'queue_full':
      throw new SessionChainError(
        'PROJECT_QUEUE_FULL',
        `${row.queued} chains of the project ${request.projectId} are queued, and no more than ${String(request.maxQueued)} may be; nothing was started.`,
      );
  }
}

export type OpenOutcome =
  | Omit<OpenedChain, 'plan'>
  /** `ticket` is null while an earlier run of this very chain is in the way. `holds`: the blocker works, as opposed to waiting. */
  | { outcome: 'queued'; ticket: number | null; position: number; blocker: ChainRun; holds: boolean }
  /** The run in the way is gone, but the lease of its agent has not expired; ask again after `waitMs`. */
  | { outcome: 'former_agent_alive'; blocker: ChainRun; waitMs: number }
  /** The head's transcript is lost: ask again with a `recovery`. */
  | { outcome: 'head_lost'; sessionId: SessionId; ticket: number; warnings: string[] };

/** What the database has to know of a step of a plan. */
export interface PlannedStep {
  name: StepName;
  kind: StepKind;
  role?: StepRole;
  /** The chain is not complete without it. */
  critical?: boolean;
}

/** What a chain is to do, and what it may start from. */
export interface OpenOptions {
  /** Which opening of its run this is, from 1; a later one means that the database went back after the one before. */
  opening?: number;
  /** The steps in order. */
  plan: PlannedStep[];
  /** Whether the definition has a step that deploys, in the plan or not. */
  deploys?: boolean;
  /** What the whole chain may take; absent: no limit. */
  budget?: ChainBudget;
  /** When a build starts a fresh session; absent: never. */
  reset?: ResetPolicy;
  /** Whether a head that never was in the store also counts as lost. */
  recover?: boolean;
  /** What to continue from in place of a lost head; null for a fresh session. */
  recovery?: { head: SessionId; base: SessionId | null };
}

/** The run that asks for a project. */
export interface Opener {
  runId: string;
  home: string;
  /** The ticket that the run drew before; null when it knows of none. */
  ticket: number | null;
}

/**
 * Takes the project for a chain, or queues it. `goneRunId` names the run in the way that the caller saw closed. Throws
 * SESSION_NOT_IN_STORE for a head that never was in the store, FENCED for a chain that was closed meanwhile,
 * REQUEST_LOST for one that does not exist, and PROJECT_NOT_FOUND.
 */
export async function openChain(
  pool: Connection,
  chain: ChainKey & { chainId: ChainId },
  { runId, home, ticket }: Opener,
  goneRunId: string | null,
  { opening = 1, plan, deploys = false, budget, reset, recover = false, recovery }: OpenOptions,
): Promise<OpenOutcome> {
  const row = await queryOne<{
    outcome:
      OpenOutcome['outcome'] | 'fenced' | 'request_lost' | 'project_not_found' | 'session_not_in_store';
    head_session_id: SessionId | null;
    base_session_id: SessionId | null;
    seq: number | null;
    adopted_session_id: SessionId | null;
    head_was_cleared: boolean;
    ticket: number;
    position: number;
    blocker_workflow_id: string;
    blocker_run_id: string;
    blocker_home: string | null;
    blocker_holds: boolean;
    wait_ms: number;
    origin: ChainOrigin;
    why: string | null;
  }>(pool, {
    name: 'open_chain',
    text: `SELECT outcome, head_session_id, base_session_id, seq, adopted_session_id, head_was_cleared, ticket, "position",
             blocker_workflow_id, blocker_run_id, blocker_home, blocker_holds, wait_ms, origin,
             CASE outcome WHEN 'fenced' THEN session_chain.why_chain_fenced($2, $4, NULL, NULL, NULL, $3) END AS why
           FROM session_chain.open_chain($1, $2, $3, $4, $5, $6, $7)`,
    values: [
      chain.projectId,
      chain.chainId,
      runId,
      ticket,
      home,
      goneRunId,
      jsonbOf({
        opening,
        plan: plan.map(({ name, kind, role, critical }) => ({ name, kind, role, critical })),
        deploys,
        budget: budget && Object.keys(budget).length > 0 ? budget : undefined,
        resetOperations: reset?.operations ?? 0,
        resetTokens: reset?.contextTokens ?? 0,
        recover,
        recovery,
      }),
    ],
  });
  const blocker = { workflowId: row.blocker_workflow_id, runId: row.blocker_run_id, home: row.blocker_home };
  switch (row.outcome) {
    case 'opened':
      return {
        outcome: 'opened',
        head: { sessionId: row.head_session_id, seq: row.seq },
        baseSessionId: row.base_session_id,
        ticket: row.ticket,
        origin: row.origin,
        warnings: openWarnings(row.adopted_session_id, row.head_was_cleared),
      };
    case 'head_lost':
      return {
        outcome: 'head_lost',
        sessionId: String(row.head_session_id) as SessionId,
        ticket: row.ticket,
        warnings: openWarnings(row.adopted_session_id, false),
      };
    case 'queued': {
      const { ticket, position, blocker_holds: holds } = row;
      return { outcome: 'queued', ticket, position, blocker, holds };
    }
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', blocker, waitMs: row.wait_ms };
    case 'fenced':
      throw new SessionChainError(
        'FENCED',
        `The run ${runId} of the chain ${chainWorkflowId(chain)} may not open it: ${row.why ?? 'it has no right to'}.`,
      );
    case 'request_lost':
      throw requestLost(chain);
    case 'project_not_found':
      throw projectNotFound(chain.projectId);
    case 'session_not_in_store':
      throw new SessionChainError(
        'SESSION_NOT_IN_STORE',
        `The head of the project ${chain.projectId} is the session ${String(row.head_session_id)}, whose transcript is not in the store.`,
      );
  }
}

function openWarnings(adopted: SessionId | null, headWasCleared: boolean): string[] {
  return [
    ...(adopted ? [adoptionWarning(adopted)] : []),
    ...(headWasCleared ? ['The head had been cleared outside; this chain starts from a fresh session.'] : []),
  ];
}

interface NextRow {
  next_workflow_id: string | null;
  next_run_id: string;
  next_home: string | null;
}

function nextOf(row: NextRow): ChainRun | null {
  return row.next_workflow_id === null
    ? null
    : { workflowId: row.next_workflow_id, runId: row.next_run_id, home: row.next_home };
}

/**
 * Closes a chain, and frees the project or leaves the queue. The result is the workflow's own account; of steps, head
 * and success only what the tables confirm is written. `versionStatus` holds the statuses for the version. `fenced`
 * when another run has the chain by now; nothing was changed. `next` may hold the project now and has not been told
 * yet. Throws DATABASE_WENT_BACK, and changes nothing, for a completed chain whose ticket or head the database does not
 * know.
 */
export async function closeChain(
  pool: Connection,
  chain: ChainKey,
  close: {
    ticket: number | null;
    runId: string;
    result: Pick<ChainResult, 'status' | 'head' | 'steps' | 'warnings' | 'failure'>;
    versionStatus: VersionStatus;
  },
): Promise<{ outcome: 'closed' | 'fenced'; next: ChainRun | null }> {
  const row = await queryOne<NextRow & { outcome: 'closed' | 'fenced' | 'went_back' }>(pool, {
    name: 'close_chain',
    text: `SELECT outcome, next_workflow_id, next_run_id, next_home
           FROM session_chain.close_chain($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      chain.projectId,
      chain.versionId,
      chain.buildId,
      close.ticket,
      close.runId,
      jsonbOf(close.result),
      close.versionStatus.succeeded,
      close.versionStatus.failed,
    ],
  });
  if (row.outcome === 'went_back') throw refused(row.outcome, { ...chain, what: 'end of the chain' });
  return { outcome: row.outcome, next: nextOf(row) };
}

export type ReleaseOutcome =
  /** `not_open`: the chain was closed by another process, or it has another run. */
  | { outcome: 'released' | 'not_open'; next: ChainRun | null }
  | { outcome: 'former_agent_alive'; waitMs: number };

/** Closes a chain whose run the caller saw closed, and fences whatever still works for it. */
export async function releaseChain(
  pool: Connection,
  projectId: ProjectId,
  run: ChainRun,
): Promise<ReleaseOutcome> {
  const row = await queryOne<NextRow & { outcome: ReleaseOutcome['outcome']; wait_ms: number }>(pool, {
    name: 'release_chain',
    text: `SELECT outcome, wait_ms, next_workflow_id, next_run_id, next_home
           FROM session_chain.release_chain($1, $2, $3)`,
    values: [projectId, run.workflowId, run.runId],
  });
  return row.outcome === 'former_agent_alive'
    ? { outcome: row.outcome, waitMs: row.wait_ms }
    : { outcome: row.outcome, next: nextOf(row) };
}

/**
 * Stores the failure of a step in full: a workflow learns only the code. `open` stands for the opening. Of a chain that is
 * not the project's, or has another ticket by now, nothing is stored.
 */
export async function noteFailure(
  pool: Pool,
  { projectId, chainId, ticket }: { projectId: ProjectId; chainId: ChainId; ticket: number | null },
  step: StepName,
  failure: Failure,
): Promise<void> {
  await queryRows(pool, {
    name: 'note_failure',
    text: `UPDATE session_chain.chains SET failures = failures || jsonb_build_object($2::text, $3::jsonb)
           WHERE id = $1 AND project_id = $4 AND ($5::bigint IS NULL OR ticket = $5)`,
    values: [chainId, step, jsonbOf(failure), projectId, ticket],
  });
}

/** Stores why a step had nothing to do; only a compaction may have nothing to do. */
export async function noteSkipped(
  pool: Pool,
  {
    projectId,
    chainId,
    ticket,
    step,
  }: { projectId: ProjectId; chainId: ChainId; ticket: number; step: StepName },
  reason: string,
): Promise<void> {
  await queryRows(pool, {
    name: 'note_skipped',
    text: 'SELECT session_chain.note_skipped($1, $2, $3, $4, $5)',
    values: [projectId, chainId, ticket, step, reason],
  });
}

/**
 * Marks that a chain waits although no attempt was begun; `waitingFor` is a label, `code` says the same in the event. The
 * next operation sets it running again.
 */
export async function noteWaiting(
  pool: Pool,
  { projectId, chainId, ticket }: { projectId: ProjectId; chainId: ChainId; ticket: number },
  { waitMs, waitingFor, code }: { waitMs: number; waitingFor: string; code: FailureCode },
): Promise<void> {
  await queryRows(pool, {
    name: 'note_waiting',
    text: 'SELECT session_chain.note_waiting($1, $2, $3, $4, $5, $6)',
    values: [projectId, chainId, ticket, Math.ceil(waitMs), code, waitingFor],
  });
}

/** The runs of a project's open chains: first the holder's, then the queue in its order; null for all. */
export async function listOpenRuns(
  pool: Pool,
  projectId: ProjectId,
  limit: number | null = null,
): Promise<ChainRun[]> {
  return await queryRows<ChainRun>(pool, {
    name: 'open_runs',
    text: `SELECT workflow_id AS "workflowId", run_id AS "runId", home FROM session_chain.chains
           WHERE project_id = $1 AND closed_at IS NULL AND ticket IS NOT NULL ORDER BY status = 'queued', ticket LIMIT $2`,
    values: [projectId, limit],
  });
}

/** A row of `session_chain.chains`. */
export interface ChainRow extends ChainKey {
  chainId: ChainId;
  workflowId: string;
  mode: ChainMode;
  /** The part of the steps that its start named; null for all of the definition. */
  steps: StepName[] | null;
  /** The steps with which the chain last opened; null before. */
  plan: PlannedStep[] | null;
  /** What the whole chain may take, once it has opened; null for no limit. */
  budget: ChainBudget | null;
  status: ChainStatus;
  instruction: string | null;
  workspace: string;
  baseSessionId: SessionId | null;
  /** What it started from when it last opened; null before. */
  origin: ChainOrigin | null;
  /** Until when and for what (a label) the chain waits; null when it does not. */
  waitingUntil: Date | null;
  waitingFor: string | null;
  /** What each step last failed with, in full; `open` stands for the opening. */
  failures: Record<StepName, Failure>;
  /** Of a chain that no run has taken up yet: the run that had it before, which may be about to end. */
  formerRunId: string | null;
  /** For a queued chain: 1 is the next to hold the project. Null for any other, and until its workflow has drawn a ticket. */
  position: QueuePosition['position'] | null;
  /** For a queued chain: the workflow that holds the project, or else the first of the queue. */
  waitsFor: QueuePosition['waitsFor'] | null;
  /** How the chain ended; null while it is open. A chain whose workflow vanished has only a status and a failure. */
  result: (Partial<ChainResult> & Pick<ChainResult, 'status'>) | null;
  createdAt: Date;
  /** When it was last asked for. */
  requestedAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
}

/** The columns of {@link ChainRow}, of a row `c`. */
export const chainColumns = `c.id::text AS "chainId", c.project_id AS "projectId", c.version_id AS "versionId", c.build_id AS "buildId",
  c.workflow_id AS "workflowId", c.mode, c.steps, c.plan, c.budget, c.status, c.instruction, c.workspace,
  c.base_session_id AS "baseSessionId", c.origin, c.waiting_until AS "waitingUntil", c.waiting_for AS "waitingFor", c.failures,
  c.result, c.created_at AS "createdAt", c.requested_at AS "requestedAt", c.opened_at AS "openedAt", c.closed_at AS "closedAt",
  CASE WHEN c.ticket IS NULL AND c.closed_at IS NULL THEN c.run_id END AS "formerRunId",
  CASE WHEN c.status = 'queued' AND c.ticket IS NOT NULL THEN (SELECT count(*)::integer FROM session_chain.chains o
    WHERE o.project_id = c.project_id AND o.closed_at IS NULL AND o.status = 'queued' AND o.ticket <= c.ticket) END AS position,
  CASE WHEN c.status = 'queued' AND c.ticket IS NOT NULL THEN (SELECT o.workflow_id FROM session_chain.chains o
    WHERE o.project_id = c.project_id AND o.closed_at IS NULL AND o.id <> c.id AND (o.status <> 'queued' OR o.ticket < c.ticket)
    ORDER BY o.status = 'queued', o.ticket LIMIT 1) END AS "waitsFor"`;

export async function readChain(pool: Pool, key: ChainKey): Promise<ChainRow | null> {
  const [row] = await queryRows<ChainRow>(pool, {
    name: 'read_chain',
    text: `SELECT ${chainColumns} FROM session_chain.chains c
           WHERE c.project_id = $1 AND c.version_id = $2 AND c.build_id = $3`,
    values: [key.projectId, key.versionId, key.buildId],
  });
  return row ?? null;
}

/** As {@link readChain}. Throws CHAIN_NOT_FOUND. */
export async function requireChain(pool: Pool, key: ChainKey): Promise<ChainRow> {
  const chain = await readChain(pool, key);
  if (chain) return chain;
  throw new SessionChainError('CHAIN_NOT_FOUND', `No chain ${chainWorkflowId(key)} was ever started.`);
}

/** The row for which a workflow works. Throws REQUEST_LOST. */
export async function chainOfRun(pool: Pool, run: ChainKey & { chainId: ChainId }): Promise<ChainRow> {
  const chain = await readChain(pool, run);
  if (chain?.chainId === run.chainId) return chain;
  throw requestLost(run);
}

export interface ChainOfStep extends ChainRow {
  /** The version of Claude Code that the last attempt under this ticket ran with; null before there is one. */
  agentVersion: string | null;
}

/**
 * The same for a step, which presents the chain's ticket and head; checked before anything is done for the step,
 * although its beginning decides. Throws as {@link chainOfRun}, DATABASE_WENT_BACK, PROJECT_NOT_FOUND,
 * VERSION_NOT_FOUND.
 */
export async function chainOfStep(
  pool: Pool,
  step: ChainKey & { chainId: ChainId; ticket: number; step: StepName; head: Head },
): Promise<ChainOfStep> {
  const chain = await chainOfRun(pool, step);
  const { standing, agentVersion } = await queryOne<{
    standing: Refusal | 'holds';
    agentVersion: string | null;
  }>(pool, {
    name: 'chain_standing',
    text: `SELECT session_chain.chain_standing($1, $2, $3, $4) AS standing,
             (SELECT m.agent_version FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id
              WHERE a.chain = $2 AND a.ticket = $3 AND m.agent_version IS NOT NULL ORDER BY a.id DESC LIMIT 1) AS "agentVersion"`,
    values: [step.projectId, step.chainId, step.ticket, step.head.sessionId],
  });
  // A closed chain also gets back what is committed.
  if (standing === 'holds' || standing === 'fenced') return { ...chain, agentVersion };
  throw refused(standing, { ...step, what: `step ${step.step}` });
}

/** The error of a chain that was asked for and whose row is gone. */
export function requestLost(chain: ChainKey): SessionChainError {
  return new SessionChainError(
    'REQUEST_LOST',
    `The chain ${chainWorkflowId(chain)} is not in the database any more: its row was deleted, or the database went back to before the chain was asked for.`,
  );
}
