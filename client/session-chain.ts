import {
  type Client,
  type WorkflowHandle,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type {
  ChainBudget,
  ChainInput,
  ChainPolicy,
  ChainResult,
  ChainState,
  Head,
  StepLimits,
} from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import {
  type ChainKey,
  type ProjectId,
  chainWorkflowId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../contracts/ids.js';
import { type ChainMode, type ChainStatus, type StepName, isClosed, stepNames } from '../contracts/steps.js';
import { readChainState } from '../storage/chain-state.js';
import { registerChain, requireChain } from '../storage/chains.js';
import { type Transition, getSessionChain, listTransitions, readHead } from '../storage/heads.js';
import { type ChainSpend, type Spent, chainSpend, projectSpend } from '../storage/ledger.js';
import type { Pool } from '../storage/pool.js';
import { requestStop } from '../storage/stop-requests.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import { type LiveProgress, readProgress } from './progress.js';
import { type SearchAttributeMode, createSearchAttributes } from './search-attributes.js';
import { parseStartRequest } from './start-request.js';

export interface SessionChainOptions {
  /** The host's database. */
  pool: Pool;
  /** A client of the namespace in which the chains run. */
  temporal: Client;
  policy: ChainPolicy;
  /** Where given, a workspace outside of these folders is refused before anything is started; the worker checks again. */
  workspaceRoots?: readonly string[];
  searchAttributes?: SearchAttributeMode;
}

export interface StartRequest {
  projectId: string;
  versionId: string;
  /** The caller's key of this chain; a second start of the same key starts nothing. Default: the version id. */
  buildId?: string;
  /** Absolute path of the project's files, as the worker sees it. */
  workspace: string;
  /** Default: `initial` for a project without a session, else `update`. */
  mode?: ChainMode;
  /** What to build, in the user's words. Default: a standard instruction of the mode. */
  instruction?: string;
  /** A part of the steps, in their order. Default: all. */
  steps?: StepName[];
  limits?: Partial<Record<StepName, Partial<StepLimits>>>;
  /** What the whole chain may take; over it, the chain ends as `budget_exceeded` and may be started again with more. */
  budget?: ChainBudget;
  /** Insert missing rows of projects and project_versions; only where the migrations created these tables. */
  createRows?: boolean;
}

export interface StartedChain extends ChainKey {
  workflowId: string;
  /** True when the chain was running or completed already: nothing was started. */
  alreadyStarted: boolean;
  status: ChainStatus;
  /** How the chain ended, where it has. */
  result: ChainResult | null;
}

/** What an application calls: start a chain when a project build starts, wait for it, read the head. */
export interface SessionChain {
  /**
   * Starts the chain of a build. Idempotent by build id. Throws INVALID_INPUT, PROJECT_NOT_FOUND, VERSION_NOT_FOUND,
   * VERSION_OF_ANOTHER_PROJECT, WORKSPACE_NOT_ALLOWED, SEARCH_ATTRIBUTES_NOT_REGISTERED, DATABASE_UNAVAILABLE,
   * TEMPORAL_UNAVAILABLE.
   */
  start(request: StartRequest): Promise<StartedChain>;
  /** The chain as the database knows it, with or without a worker. Throws CHAIN_NOT_FOUND. */
  state(key: ChainKey): Promise<ChainState>;
  /** What the running step does just now, as of its last heartbeat; null when none runs. */
  progress(key: ChainKey): Promise<LiveProgress | null>;
  /** How the chain ended, once it has; a failed chain is a result, too. Throws CHAIN_NOT_FOUND, CHAIN_TERMINATED. */
  wait(key: ChainKey): Promise<ChainResult>;
  /**
   * Asks the chain to stop; the head stays at the last committed session. A running agent is told at once, through the
   * database. Throws CHAIN_NOT_FOUND, also for a chain that is over.
   */
  cancel(key: ChainKey): Promise<void>;
  /** The project's latest session. Throws PROJECT_NOT_FOUND. */
  head(projectId: string): Promise<Head>;
  /** What a project has spent, failed and interrupted attempts included. Throws PROJECT_NOT_FOUND. */
  spend(projectId: string): Promise<Spent>;
  /** What a chain has spent over all its runs, by step. Throws CHAIN_NOT_FOUND. */
  chainSpend(key: ChainKey): Promise<ChainSpend>;
  /** The moves of the head, the newest first. */
  transitions(projectId: string, options?: { limit?: number }): Promise<Transition[]>;
  /** The lineage of the head, the newest session first. */
  lineage(projectId: string): Promise<string[]>;
}

/** The key of a chain from plain strings. Throws INVALID_INPUT. */
export function chainKey(key: {
  projectId: string;
  versionId: string;
  buildId?: string | undefined;
}): ChainKey {
  return {
    projectId: parseProjectId(key.projectId),
    versionId: parseVersionId(key.versionId),
    buildId: parseBuildId(key.buildId ?? key.versionId),
  };
}

export function createSessionChain(options: SessionChainOptions): SessionChain {
  const { pool, temporal } = options;
  const searchAttributes = createSearchAttributes(temporal, options.searchAttributes ?? 'auto');
  const handleOf = (key: ChainKey) => temporal.workflow.getHandle(chainWorkflowId(key));
  return {
    start: async (request) => await start(options, searchAttributes, request),
    state: async (key) => await readChainState(pool, key),
    progress: async (key) => await readProgress(handleOf(key)),
    wait: async (key) => await wait(pool, handleOf(key), key),
    cancel: async (key) => await cancel(pool, handleOf(key), key),
    head: async (projectId) => await readHead(pool, parseProjectId(projectId)),
    spend: async (projectId) => await projectSpend(pool, await existing(pool, projectId)),
    chainSpend: async (key) => await chainSpend(pool, await requireChain(pool, key)),
    transitions: async (projectId, { limit = 100 } = {}) =>
      await listTransitions(pool, await existing(pool, projectId), limit),
    lineage: async (projectId) => await getSessionChain(pool, await existing(pool, projectId)),
  };
}

async function existing(pool: Pool, projectId: string): Promise<ProjectId> {
  const id = parseProjectId(projectId);
  await readHead(pool, id);
  return id;
}

async function start(
  { pool, temporal, policy, workspaceRoots }: SessionChainOptions,
  searchAttributes: ReturnType<typeof createSearchAttributes>,
  unchecked: StartRequest,
): Promise<StartedChain> {
  const request = parseStartRequest(unchecked);
  const key = chainKey(request);
  const workflowId = chainWorkflowId(key);
  if (workspaceRoots) await resolveWorkspace(request.workspace, workspaceRoots);
  const typedSearchAttributes = await searchAttributes.of(key);
  const steps = stepNames.filter((step) => !request.steps || request.steps.includes(step));

  const chain = await registerChain(pool, {
    ...key,
    steps,
    workspace: request.workspace,
    createRows: request.createRows ?? false,
    ...(request.mode ? { mode: request.mode } : {}),
    ...(request.instruction === undefined ? {} : { instruction: request.instruction }),
  });
  if (!chain.isNew && isClosed(chain.status)) {
    return {
      ...key,
      workflowId,
      alreadyStarted: true,
      status: chain.status,
      result: await resultOf(pool, key),
    };
  }
  const input: ChainInput = {
    ...key,
    chainId: chain.chainId,
    mode: chain.mode,
    steps,
    policy: {
      ...policy,
      limits: mergedLimits(policy, request.limits),
      budget: { ...policy.budget, ...request.budget },
    },
  };
  try {
    await temporal.workflow.start('chain', {
      workflowId,
      taskQueue: policy.taskQueues.chains,
      args: [input],
      // One running workflow per chain; a closed one may run again, for the row in `chains` has decided that it should.
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      staticSummary: `${chain.mode}: ${steps.join(' → ')}`,
      ...(typedSearchAttributes ? { typedSearchAttributes } : {}),
    });
    return { ...key, workflowId, alreadyStarted: false, status: chain.status, result: null };
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      return { ...key, workflowId, alreadyStarted: true, status: chain.status, result: null };
    }
    throw temporalError(error);
  }
}

function mergedLimits(policy: ChainPolicy, overrides: StartRequest['limits']): ChainPolicy['limits'] {
  const merged = stepNames.map((step) => [step, { ...policy.limits[step], ...overrides?.[step] }]);
  return Object.fromEntries(merged) as ChainPolicy['limits'];
}

async function wait(pool: Pool, handle: WorkflowHandle, key: ChainKey): Promise<ChainResult> {
  const ended = await resultOf(pool, key);
  if (ended) return ended;
  try {
    await handle.result();
  } catch (error) {
    // How it ended stands in the database; a failure of the workflow says no more.
    if (!(error instanceof WorkflowFailedError) && !(error instanceof WorkflowNotFoundError))
      throw temporalError(error);
  }
  const result = await resultOf(pool, key);
  if (result) return result;
  throw new SessionChainError(
    'CHAIN_TERMINATED',
    `The workflow ${chainWorkflowId(key)} is over, but its chain was not closed: it was terminated or timed out.`,
  );
}

async function resultOf(pool: Pool, key: ChainKey): Promise<ChainResult | null> {
  const state = await readChainState(pool, key);
  return isClosed(state.status) ? { ...state, status: state.status } : null;
}

async function cancel(pool: Pool, handle: WorkflowHandle, key: ChainKey): Promise<void> {
  const { chainId, status } = await requireChain(pool, key);
  const over = (how: string) =>
    new SessionChainError(
      'CHAIN_NOT_FOUND',
      `The chain ${chainWorkflowId(key)} is over (${how}); there is nothing to cancel.`,
      'Nothing: it works no more.',
    );
  if (isClosed(status)) throw over(status);
  try {
    await handle.cancel();
    // Temporal tells the running step with its next heartbeat; this tells it now.
    await requestStop(pool, `chain:${chainId}`);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw over('its workflow is closed');
    throw temporalError(error);
  }
}

function temporalError(error: unknown): SessionChainError {
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return new SessionChainError('TEMPORAL_UNAVAILABLE', `Temporal refused: ${message}${cause}`, undefined, {
    cause: error,
  });
}
