import type { ChainRun } from '../../contracts/chain-runs.js';
import type { ChainResult, OpenedChain } from '../../contracts/chain.js';
import { SessionChainError } from '../../contracts/failures.js';
import {
  type ChainId,
  type ChainKey,
  type ProjectId,
  type SessionId,
  chainWorkflowId,
} from '../../contracts/ids.js';
import type { ChainOrigin, ResetPolicy } from '../../contracts/origin.js';
import type { ChainMode, ChainStatus, StepName } from '../../contracts/steps.js';
import { adoptionWarning } from '../operations/moves.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

export interface ChainRequest extends ChainKey {
  /** Absent: `initial` for a project without a head, else `update`. */
  mode?: ChainMode;
  steps: StepName[];
  /** What to build, in the caller's words; absent: the default instruction of the mode. */
  instruction?: string;
  /** Absolute path of the project's files. */
  workspace: string;
  /** Insert missing rows of projects and project_versions, where these migrations created the tables. */
  createRows: boolean;
}

export interface RegisteredChain {
  chainId: ChainId;
  mode: ChainMode;
  status: ChainStatus;
  /** False when the chain was there already, open or completed. */
  isNew: boolean;
}

/** Writes down what a caller wants done, before any workflow exists. Safe to repeat. */
export async function registerChain(pool: Pool, request: ChainRequest): Promise<RegisteredChain> {
  const row = await queryOne<{
    outcome:
      'registered' | 'exists' | 'project_not_found' | 'version_not_found' | 'version_of_another_project';
    chain_id: ChainId;
    mode: ChainMode;
    status: ChainStatus;
  }>(pool, {
    name: 'register_chain',
    text: `SELECT outcome, chain_id::text, mode, status
           FROM session_chain.register_chain($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      request.projectId,
      request.versionId,
      request.buildId,
      request.mode ?? null,
      request.steps,
      request.instruction ?? null,
      request.workspace,
      request.createRows,
    ],
  });
  switch (row.outcome) {
    case 'registered':
    case 'exists':
      return {
        chainId: row.chain_id,
        mode: row.mode,
        status: row.status,
        isNew: row.outcome === 'registered',
      };
    case 'project_not_found':
      throw new SessionChainError(
        'PROJECT_NOT_FOUND',
        `The project ${request.projectId} is not in the table projects.`,
      );
    case 'version_not_found':
      throw new SessionChainError(
        'VERSION_NOT_FOUND',
        `The version ${request.versionId} is not in the table project_versions.`,
      );
    case 'version_of_another_project':
      throw new SessionChainError(
        'VERSION_OF_ANOTHER_PROJECT',
        `The version ${request.versionId} does not belong to the project ${request.projectId}.`,
      );
  }
}

export type OpenOutcome =
  | ({ outcome: 'opened'; origin: ChainOrigin } & OpenedChain)
  /** `turn` is null while an earlier run of this very chain is in the way. `holds`: it works, as opposed to waiting. */
  | { outcome: 'queued'; turn: number | null; place: number; blocker: ChainRun; holds: boolean }
  /** The run in the way is gone, but its agent is not surely dead; ask again after `waitMs`. */
  | { outcome: 'former_agent_alive'; blocker: ChainRun; waitMs: number }
  /** The head's transcript is lost: ask again with a `recovery`. */
  | { outcome: 'head_lost'; sessionId: SessionId; turn: number; warnings: string[] };

/** From what a chain may work. */
export interface OpenOptions {
  /** When a build starts a fresh session; absent: never. */
  reset?: ResetPolicy;
  /** Whether a head that never was in the store counts as lost, too. */
  recover?: boolean;
  /** From what to go on in place of a lost head; null for a fresh session. */
  recovery?: { head: SessionId; base: SessionId | null };
}

/** Who asks for a project's turn. */
export interface Opener {
  runId: string;
  home: string;
  /** The number that the run drew before; null when it knows of none. */
  turn: number | null;
}

/**
 * Takes the project's turn for a chain, or a place in the line. `goneRunId` names the run in the way that the caller saw
 * closed. Throws SESSION_NOT_IN_STORE for a head that never was in the store and FENCED for a chain that was closed
 * meanwhile.
 */
export async function openChain(
  pool: Pool,
  chain: ChainKey & { chainId: ChainId },
  { runId, home, turn }: Opener,
  goneRunId: string | null,
  { reset, recover = false, recovery }: OpenOptions = {},
): Promise<OpenOutcome> {
  const row = await queryOne<{
    outcome: OpenOutcome['outcome'] | 'fenced' | 'project_not_found' | 'session_not_in_store';
    head_session_id: SessionId | null;
    base_session_id: SessionId | null;
    seq: number | null;
    adopted_session_id: SessionId | null;
    head_was_cleared: boolean;
    turn: number;
    place: number;
    blocker_workflow_id: string;
    blocker_run_id: string;
    blocker_home: string | null;
    blocker_holds: boolean;
    wait_ms: number;
    origin: ChainOrigin;
  }>(pool, {
    name: 'open_chain',
    text: 'SELECT * FROM session_chain.open_chain($1, $2, $3, $4, $5, $6, $7)',
    values: [
      chain.projectId,
      chain.chainId,
      runId,
      turn,
      home,
      goneRunId,
      JSON.stringify({
        resetOperations: reset?.operations ?? 0,
        resetTokens: reset?.contextTokens ?? 0,
        recover,
        ...(recovery ? { recovery } : {}),
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
        turn: row.turn,
        origin: row.origin,
        warnings: openWarnings(row.adopted_session_id, row.head_was_cleared),
      };
    case 'head_lost':
      return {
        outcome: 'head_lost',
        sessionId: String(row.head_session_id) as SessionId,
        turn: row.turn,
        warnings: openWarnings(row.adopted_session_id, false),
      };
    case 'queued':
      return { outcome: 'queued', turn: row.turn, place: row.place, blocker, holds: row.blocker_holds };
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', blocker, waitMs: row.wait_ms };
    case 'fenced':
      throw new SessionChainError(
        'FENCED',
        `The chain ${chainWorkflowId(chain)} was closed before it could open, or another run has its place.`,
      );
    case 'project_not_found':
      throw new SessionChainError(
        'PROJECT_NOT_FOUND',
        `The project ${chain.projectId} is not in the table projects.`,
      );
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
 * Closes a chain, and hands on the turn or leaves the line. `fenced` when somebody else has the chain's turn by now and
 * nothing was changed. `next` may work now; nobody knows yet that it does.
 */
export async function closeChain(
  pool: Pool,
  chain: ChainKey & { chainId: ChainId },
  close: { turn: number | null; runId: string; result: ChainResult; versionStatus: string | null },
): Promise<{ outcome: 'closed' | 'fenced'; next: ChainRun | null }> {
  const row = await queryOne<NextRow & { outcome: 'closed' | 'fenced' }>(pool, {
    name: 'close_chain',
    text: 'SELECT * FROM session_chain.close_chain($1, $2, $3, $4, $5, $6, $7)',
    values: [
      chain.projectId,
      chain.chainId,
      close.turn,
      close.runId,
      close.result.status,
      JSON.stringify(close.result),
      close.versionStatus,
    ],
  });
  return { outcome: row.outcome, next: nextOf(row) };
}

export type ReleaseOutcome =
  /** `not_open`: somebody else has closed the chain, or it has another run. */
  | { outcome: 'released' | 'not_open'; next: ChainRun | null }
  | { outcome: 'former_agent_alive'; waitMs: number };

/** Closes a chain whose run the caller saw closed, and fences whoever still works for it. */
export async function releaseChain(pool: Pool, projectId: ProjectId, run: ChainRun): Promise<ReleaseOutcome> {
  const row = await queryOne<NextRow & { outcome: ReleaseOutcome['outcome']; wait_ms: number }>(pool, {
    name: 'release_chain',
    text: 'SELECT * FROM session_chain.release_chain($1, $2, $3)',
    values: [projectId, run.workflowId, run.runId],
  });
  return row.outcome === 'former_agent_alive'
    ? { outcome: row.outcome, waitMs: row.wait_ms }
    : { outcome: row.outcome, next: nextOf(row) };
}

/** The runs of a project's open chains: first the one that holds the turn, then the line in its order; null for all. */
export async function listOpenRuns(
  pool: Pool,
  projectId: ProjectId,
  limit: number | null = null,
): Promise<ChainRun[]> {
  return await queryRows<ChainRun>(pool, {
    name: 'open_runs',
    text: `SELECT workflow_id AS "workflowId", run_id AS "runId", home FROM session_chain.chains
           WHERE project_id = $1 AND closed_at IS NULL AND turn IS NOT NULL ORDER BY status = 'queued', turn LIMIT $2`,
    values: [projectId, limit],
  });
}

/** A row of `session_chain.chains`. */
export interface ChainRow extends ChainKey {
  chainId: ChainId;
  workflowId: string;
  mode: ChainMode;
  steps: StepName[];
  status: ChainStatus;
  instruction: string | null;
  workspace: string;
  baseSessionId: SessionId | null;
  /** From what it worked when it opened last; null before. */
  origin: ChainOrigin | null;
  /** Until when the chain waits for the model service; null when it does not. */
  waitingUntil: Date | null;
  /** For a chain in line: 1 is the next to work. Null for any other, and for one whose workflow has not asked yet. */
  place: number | null;
  /** For a chain in line: the workflow that works on the project, or else the first in line. */
  waitsFor: string | null;
  /** How the chain ended; null while it is open. A chain whose holder vanished has only its status and failure. */
  result: (Partial<ChainResult> & Pick<ChainResult, 'status'>) | null;
  createdAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
}

const chainColumns = `id::text AS "chainId", project_id AS "projectId", version_id AS "versionId", build_id AS "buildId",
  workflow_id AS "workflowId", mode, steps, status, instruction, workspace, base_session_id AS "baseSessionId", origin, waiting_until AS "waitingUntil", result,
  created_at AS "createdAt", opened_at AS "openedAt", closed_at AS "closedAt",
  CASE WHEN status = 'queued' AND turn IS NOT NULL THEN (SELECT count(*)::integer FROM session_chain.chains o
    WHERE o.project_id = c.project_id AND o.closed_at IS NULL AND o.status = 'queued' AND o.turn <= c.turn) END AS place,
  CASE WHEN status = 'queued' AND turn IS NOT NULL THEN (SELECT o.workflow_id FROM session_chain.chains o
    WHERE o.project_id = c.project_id AND o.closed_at IS NULL AND o.id <> c.id AND (o.status <> 'queued' OR o.turn < c.turn)
    ORDER BY o.status = 'queued', o.turn LIMIT 1) END AS "waitsFor"`;

export async function readChain(pool: Pool, key: ChainKey): Promise<ChainRow | null> {
  const [row] = await queryRows<ChainRow>(pool, {
    name: 'read_chain',
    text: `SELECT ${chainColumns} FROM session_chain.chains c WHERE project_id = $1 AND version_id = $2 AND build_id = $3`,
    values: [key.projectId, key.versionId, key.buildId],
  });
  return row ?? null;
}

/** As {@link readChain}, for an activity that knows the chain exists. */
export async function requireChain(pool: Pool, key: ChainKey): Promise<ChainRow> {
  const chain = await readChain(pool, key);
  if (chain) return chain;
  throw new SessionChainError('CHAIN_NOT_FOUND', `No chain ${chainWorkflowId(key)} was ever started.`);
}

/** The chains of a project, the newest first. */
export async function listChains(pool: Pool, projectId: string, limit: number): Promise<ChainRow[]> {
  return await queryRows<ChainRow>(pool, {
    name: 'list_chains',
    text: `SELECT ${chainColumns} FROM session_chain.chains c WHERE project_id = $1 ORDER BY id DESC LIMIT $2`,
    values: [projectId, limit],
  });
}
