import type { ChainResult, OpenResult } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { type ChainId, type ChainKey, type SessionId, chainWorkflowId } from '../contracts/ids.js';
import type { ChainMode, ChainStatus, StepName } from '../contracts/steps.js';
import { type Pool, queryOne, queryRows } from './pool.js';

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

/** The run that holds a project's turn. */
export interface Holder {
  workflowId: string;
  runId: string;
}

export type OpenOutcome =
  | ({ outcome: 'opened' } & OpenResult)
  | { outcome: 'busy'; holder: Holder }
  /** The holder is gone, but its agent is not surely dead; ask again after `waitMs`. */
  | { outcome: 'former_agent_alive'; holder: Holder; waitMs: number };

/**
 * Takes the project's turn for a chain. `goneRun` names a holder that the caller saw closed.
 * Throws SESSION_NOT_IN_STORE for a head that cannot be forked and FENCED for a chain that was closed meanwhile.
 */
export async function openChain(
  pool: Pool,
  chain: ChainKey & { chainId: ChainId },
  runId: string,
  goneRun: string | null,
): Promise<OpenOutcome> {
  const row = await queryOne<{
    outcome:
      'opened' | 'busy' | 'former_agent_alive' | 'fenced' | 'project_not_found' | 'session_not_in_store';
    head_session_id: SessionId | null;
    base_session_id: SessionId | null;
    seq: number | null;
    adopted_session_id: SessionId | null;
    head_was_cleared: boolean;
    turn: number;
    holder_workflow_id: string;
    holder_run_id: string;
    wait_ms: number;
  }>(pool, {
    name: 'open_chain',
    text: 'SELECT * FROM session_chain.open_chain($1, $2, $3, $4)',
    values: [chain.projectId, chain.chainId, runId, goneRun],
  });
  const holder = { workflowId: row.holder_workflow_id, runId: row.holder_run_id };
  switch (row.outcome) {
    case 'opened':
      return {
        outcome: 'opened',
        head: { sessionId: row.head_session_id, seq: row.seq },
        baseSessionId: row.base_session_id,
        turn: row.turn,
        warnings: openWarnings(row.adopted_session_id, row.head_was_cleared),
      };
    case 'busy':
      return { outcome: 'busy', holder };
    case 'former_agent_alive':
      return { outcome: 'former_agent_alive', holder, waitMs: row.wait_ms };
    case 'fenced':
      throw new SessionChainError(
        'FENCED',
        `The chain ${chainWorkflowId(chain)} was closed before it could open.`,
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
    ...(adopted ? [`The head had been moved outside to ${adopted}; it was adopted as an import.`] : []),
    ...(headWasCleared ? ['The head had been cleared outside; this chain starts from a fresh session.'] : []),
  ];
}

/** Closes a chain and hands on the turn; `fenced` when the chain has another holder by now and nothing was changed. */
export async function closeChain(
  pool: Pool,
  chain: ChainKey & { chainId: ChainId },
  close: { turn: number | null; runId: string; result: ChainResult; versionStatus: string | null },
): Promise<'closed' | 'fenced'> {
  const { outcome } = await queryOne<{ outcome: 'closed' | 'fenced' }>(pool, {
    name: 'close_chain',
    text: 'SELECT outcome FROM session_chain.close_chain($1, $2, $3, $4, $5, $6, $7)',
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
  return outcome;
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
  /** Until when the chain waits for the model service; null when it does not. */
  waitingUntil: Date | null;
  /** How the chain ended; null while it is open. A chain whose holder vanished has only its status and failure. */
  result: (Partial<ChainResult> & Pick<ChainResult, 'status'>) | null;
  createdAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
}

const chainColumns = `id::text AS "chainId", project_id AS "projectId", version_id AS "versionId", build_id AS "buildId",
  workflow_id AS "workflowId", mode, steps, status, instruction, workspace, base_session_id AS "baseSessionId", waiting_until AS "waitingUntil", result,
  created_at AS "createdAt", opened_at AS "openedAt", closed_at AS "closedAt"`;

export async function readChain(pool: Pool, key: ChainKey): Promise<ChainRow | null> {
  const [row] = await queryRows<ChainRow>(pool, {
    name: 'read_chain',
    text: `SELECT ${chainColumns} FROM session_chain.chains WHERE project_id = $1 AND version_id = $2 AND build_id = $3`,
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
    text: `SELECT ${chainColumns} FROM session_chain.chains WHERE project_id = $1 ORDER BY id DESC LIMIT $2`,
    values: [projectId, limit],
  });
}
