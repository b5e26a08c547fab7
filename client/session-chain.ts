import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  type WorkflowHandle,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { z } from 'zod';
import type { ChainRun, ChainRuns } from '../contracts/chain-runs.js';
import type { ChainInput, ChainPolicy, ChainResult, ChainState, Head } from '../contracts/chain.js';
import { type ChainOverrides, payloadVersion } from '../contracts/plan.js';
import {
  type ChatPolicy,
  type SessionMoment,
  defaultChatPolicy,
  sessionMoments,
} from '../contracts/question.js';
import { SessionChainError } from '../contracts/failures.js';
import {
  type ChainKey,
  type ProjectId,
  type SessionId,
  parseProjectId,
  parseSessionId,
} from '../contracts/ids.js';
import { type Installation, installationMemo, isOfOther } from '../contracts/installation.js';
import { defaultMaxQueued, defaultPolicy } from '../contracts/policy.js';
import { type ChainStatus, isClosed } from '../contracts/steps.js';
import { readChainState } from '../storage/chains/chain-state.js';
import {
  listOpenRuns,
  registerChain,
  releaseChain,
  requestLost,
  requireChain,
} from '../storage/chains/chains.js';
import {
  type Transition,
  getProjectSession,
  getSessionChain,
  listTransitions,
  readHead,
} from '../storage/heads/heads.js';
import { type ChainSpend, type Spent, chainSpend, projectSpend } from '../storage/ledger/ledger.js';
import { type Stats, readStats } from '../storage/ledger/stats.js';
import { type ReconcileOptions, type Reconciled, reconcile, wakeNext } from '../storage/chains/queue.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { type RecoverOptions, type RecoveredSession, validateAndRecover } from '../storage/heads/recovery.js';
import { type RecordedSession, recordSession } from '../storage/operations/record.js';
import { type RewoundProject, rewindProject } from '../storage/operations/rewind.js';
import { type UnboundWorkspace, unbindWorkspace } from '../storage/workspaces/workspaces.js';
import { type WaitOptions, sessionFor } from '../storage/heads/session-for.js';
import { requestStop } from '../storage/chains/stop-requests.js';
import { type SyncReport, readSyncReport } from '../storage/heads/sync.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import { createChainRuns } from '../temporal/runs.js';
import { someProjects } from './chain-filter.js';
import { chainKey } from './chain-key.js';
import {
  type Installations,
  createInstallations,
  ofOtherInstallation,
  otherInstallation,
  requireOwn,
} from './installation.js';
import { type ChainReads, createChainReads } from './chains.js';
import { type ChainWork, createChainWork } from './chain-work.js';
import { type Chats, createChats } from './chats.js';
import { type Entries, createEntries } from './entries.js';
import { type Erasures, createErasures } from './erasure.js';
import { type Imports, createImports } from './import.js';
import {
  type ConnectionsOptions,
  connectionsShape,
  giveOneDatabase,
  isOneDatabase,
  openConnections,
} from './connections.js';
import { checked, checkedOptions, limit as rows } from './input.js';
import { type IntegrityReads, createIntegrityReads } from './integrity.js';
import { cursorAfterTransitions, transitionPlaceOf } from './transition-cursor.js';
import { type LiveProgress, readProgress } from './progress.js';
import { type ProjectReads, createProjectReads } from './projects.js';
import { type RecordSessionRequest, parseRecordRequest } from './record-request.js';
import { type Retention, createRetention } from './retention.js';
import { type StorageReads, createStorageReads } from './storage.js';
import { type Restores, createRestores } from './restore.js';
import { type RewindOptions, parseRewindRequest } from './rewind-request.js';
import {
  type SearchAttributeMode,
  createSearchAttributes,
  searchAttributeModes,
} from '../temporal/attributes.js';
import { type StartRequest, parseStartRequest } from './start-request.js';
import { temporalError } from '../temporal/errors.js';
import { throwingOwnErrors } from './own-errors.js';
import { withSignal } from '../temporal/signal.js';
import { chainWorkflowId, taskQueuesOf, workflowTypes } from '../temporal/names.js';
import { createWatchHub } from './watch-hub.js';
import { type Watches, createWatches } from './watch.js';
import { type WorkerReads, createWorkerReads } from './workers.js';

export { chainKey };

export type SessionChainOptions = ConnectionsOptions & {
  /** SESSION_CHAIN_TASK_QUEUE of the workers. Default: `session-chain`. */
  taskQueue?: string;
  /** How chains wait, where it differs from the default. */
  policy?: Partial<ChainPolicy>;
  /** What every start sets in place of the worker's definition; a start's own fields come first. */
  overrides?: ChainOverrides;
  /** The limits of answers. Default: as shipped, with the chains' heartbeat timeout and kill grace. */
  chat?: Partial<ChatPolicy>;
  /** Chains of one project that may be queued; one more start is PROJECT_QUEUE_FULL. Default: 20. */
  maxQueued?: number;
  /** If given, a workspace outside these folders is rejected before anything is started; the worker checks again. */
  workspaceRoots?: readonly string[];
  searchAttributes?: SearchAttributeMode;
  /** Address of the dashboard: the page of each chain in Temporal's Web UI links to its page there. Default: no link. */
  dashboardUrl?: string;
};

export interface StartedChain extends ChainKey {
  workflowId: string;
  /** True when the chain was running or completed already: nothing was started. */
  alreadyStarted: boolean;
  status: ChainStatus;
  /** How the chain ended, if it has. */
  result: ChainResult | null;
}

/**
 * What an application calls: start a chain when a project build starts, wait for it, read the head. Every method but `close`
 * may throw INVALID_INPUT, DATABASE_UNAVAILABLE, DATABASE_REFUSED and MIGRATIONS_BEHIND, and one that speaks to Temporal
 * TEMPORAL_UNAVAILABLE and TEMPORAL_REFUSED, each of them CLIENT_CLOSED; what else it throws is said of each.
 */
export interface SessionChain
  extends
    ChainReads,
    ChainWork,
    Chats,
    Entries,
    Erasures,
    Imports,
    Installations,
    IntegrityReads,
    ProjectReads,
    Restores,
    Retention,
    StorageReads,
    Watches,
    WorkerReads {
  /**
   * Starts the chain of a build. Idempotent by build id. Throws INVALID_INPUT, PROJECT_NOT_FOUND, VERSION_NOT_FOUND,
   * VERSION_OF_ANOTHER_PROJECT, WORKSPACE_NOT_ALLOWED, PROJECT_QUEUE_FULL, SEARCH_ATTRIBUTES_NOT_REGISTERED, DATABASE_UNAVAILABLE,
   * TEMPORAL_UNAVAILABLE.
   * @example
   * const started = await sessionChain.start({
   *   projectId: 'shop', versionId: 'shop-v2', workspace: '/srv/projects/shop', instruction: 'Add a search field',
   * });
   */
  start(request: StartRequest): Promise<StartedChain>;
  /**
   * The chain as the database knows it, with or without a worker. Throws CHAIN_NOT_FOUND.
   * @example
   * const { status, steps } = await sessionChain.state(started);
   */
  state(key: ChainKey): Promise<ChainState>;
  /**
   * What the running step is doing right now, as of its last heartbeat; null when none runs, and for a chain that was never started.
   * Asks Temporal alone. Throws TEMPORAL_UNAVAILABLE.
   * @example
   * const { step, turns } = (await sessionChain.progress(started)) ?? {};
   */
  progress(key: ChainKey): Promise<LiveProgress | null>;
  /**
   * How the chain ended, once it has; a failed chain is a result, too. Throws CHAIN_NOT_FOUND, CHAIN_TERMINATED,
   * REQUEST_LOST where its row was deleted meanwhile, DATABASE_WENT_BACK where the database lost its end, and the signal's
   * reason: a signal ends the wait, not the chain.
   * @example
   * const result = await sessionChain.wait(started, { signal: AbortSignal.timeout(60_000) });
   */
  wait(key: ChainKey, options?: { signal?: AbortSignal }): Promise<ChainResult>;
  /**
   * Asks the chain to stop; the head stays at the last committed session. A running agent is told at once, through the
   * database. Throws CHAIN_NOT_FOUND, also for a chain that is over; CHAIN_TERMINATED for one whose workflow is gone, and
   * TEMPORAL_UNAVAILABLE for one of another Temporal. `force` closes these two, once the leases of their agents
   * have expired.
   * @example
   * await sessionChain.cancel(started);
   */
  cancel(key: ChainKey, options?: { force?: boolean }): Promise<void>;
  /**
   * Closes the chains of a project whose workflows are gone, once the leases of their agents have expired, and wakes the
   * chains behind them. Queued chains do the same by themselves, in time. `dryRun` only says so, and writes nothing. Throws
   * INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { released } = await sessionChain.reconcile('shop', { dryRun: true });
   */
  reconcile(projectId: string, options?: ReconcileOptions): Promise<Reconciled>;
  /**
   * The project's latest session. Throws PROJECT_NOT_FOUND.
   * @example
   * const { sessionId, seq } = await sessionChain.head('shop');
   */
  head(projectId: string): Promise<Head>;
  /**
   * The project's latest session `now`, once the step that runs now has ended (`after_step`), or once the chain that works
   * now is closed (`committed`). Needs no worker. Never older than a head that was read before. Throws PROJECT_NOT_FOUND,
   * INVALID_INPUT, WAIT_TIMED_OUT, and the signal's reason.
   * @example
   * const { sessionId } = await sessionChain.sessionFor('shop', 'committed', { timeoutMs: 600_000 });
   */
  sessionFor(projectId: string, moment: SessionMoment, options?: WaitOptions): Promise<Head>;
  /**
   * Records a Claude operation that ran outside a chain: its session becomes the head. One that is the head already is
   * `alreadyRecorded`. Throws INVALID_INPUT, PROJECT_NOT_FOUND, VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT,
   * PROJECT_BUSY while a chain works, SESSION_ALREADY_KNOWN, and without `notInStore` SESSION_NOT_IN_STORE for one from which
   * no chain could go on.
   * @example
   * await sessionChain.recordSession({ projectId: 'shop', sessionId, source: 'docs', notInStore: true });
   */
  recordSession(request: RecordSessionRequest): Promise<RecordedSession>;
  /**
   * {@link SessionChain.recordSession} under its older name, for workers that keep their transcripts on their own disks: it
   * takes a session that is not in the store, and warns of it. `metadata_generation` is `metadata`.
   * @example
   * await sessionChain.updateProjectSession('shop', sessionId, 'metadata_generation', 'shop-v2');
   */
  updateProjectSession(
    projectId: string,
    sessionId: string,
    source: RecordSessionRequest['source'],
    versionId?: string,
  ): Promise<RecordedSession>;
  /**
   * The session to continue from: the given one (default: the head) where it is whole, else its nearest ancestor that
   * is, else none. A lost head is given up: the next chain continues from there, with a warning. `dryRun` only says so,
   * and writes nothing. To go back on purpose, from a head that is whole: {@link SessionChain.rewind}. Throws
   * INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { outcome, sessionId } = await sessionChain.validateAndRecover('shop', undefined, { dryRun: true });
   */
  validateAndRecover(
    projectId: string,
    sessionId?: string,
    options?: RecoverOptions,
  ): Promise<RecoveredSession>;
  /**
   * Takes the conversation back: a copy of the session of an earlier transition becomes the head. What came after stays in
   * the lineage, and the next build is told which operations its session does not know. **The files are not taken back**:
   * the workspace holds what these operations wrote. Throws INVALID_INPUT, also for a transition that the project does not
   * have or that made the head, PROJECT_NOT_FOUND, VERSION_NOT_FOUND, VERSION_OF_ANOTHER_PROJECT, PROJECT_BUSY while a chain
   * works, SESSION_NOT_IN_STORE where that session is not whole, and KEY_REUSED for a key of another rewind.
   *
   * @example
   * ```ts
   * const { forgotten } = await sessionChain.rewind('shop', { to: 12, dryRun: true });
   * await sessionChain.rewind('shop', { to: 12, key: 'undo-of-build-77' });
   * ```
   */
  rewind(projectId: string, options: RewindOptions): Promise<RewoundProject>;
  /**
   * Lets go of a project's folder: the next chain binds the project to the folder that it is given, and another project may
   * have this one. For a folder that was moved without its marker, restored or handed over on purpose. `path` is null where the
   * project had none. Throws PROJECT_NOT_FOUND, PROJECT_BUSY.
   * @example
   * const { path } = await sessionChain.unbindWorkspace('shop');
   */
  unbindWorkspace(projectId: string): Promise<UnboundWorkspace>;
  /**
   * How many projects are in sync, and why the others are not: of all, of one, or of `projectIds`. `limit` (100) bounds the
   * drifted ones in the report, and 0 only counts, which is fast; without `redisUrl` no checkpoints are compared. Throws
   * INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { share, drifted } = await sessionChain.syncReport();
   */
  syncReport(options?: {
    projectId?: string;
    projectIds?: readonly string[];
    limit?: number;
    redisUrl?: string;
  }): Promise<SyncReport>;
  /**
   * Numbers over all projects, for a monitoring: chains by status, what waits and for how long, how many projects are in
   * sync. One statement, cheap enough for every few seconds.
   * @example
   * const { queues, stuck } = await sessionChain.stats();
   */
  stats(): Promise<Stats>;
  /**
   * What a project has spent, failed and interrupted attempts included. Throws PROJECT_NOT_FOUND.
   * @example
   * const { costUsd, attemptsOfUnknownCost } = await sessionChain.spend('shop');
   */
  spend(projectId: string): Promise<Spent>;
  /**
   * What a chain has spent over all its runs, by step. Throws CHAIN_NOT_FOUND.
   * @example
   * const { costUsd, steps } = await sessionChain.chainSpend(started);
   */
  chainSpend(key: ChainKey): Promise<ChainSpend>;
  /**
   * The moves of the head, newest first; `limit` is 100 by default. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const [last] = await sessionChain.transitions('shop', { limit: 1 });
   * console.log(last?.source, last?.newSessionId);
   */
  transitions(projectId: string, options?: { limit?: number }): Promise<Transition[]>;
  /**
   * A page of {@link SessionChain.transitions}: `cursor` is `nextCursor` of the page before. Moves that are made meanwhile do not
   * shift the pages. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { transitions, nextCursor } = await sessionChain.transitionPage('shop', { limit: 50 });
   */
  transitionPage(
    projectId: string,
    options?: { limit?: number; cursor?: string },
  ): Promise<{ transitions: Transition[]; nextCursor: string | null }>;
  /**
   * The lineage of the head, the newest session first. Throws PROJECT_NOT_FOUND.
   * @example
   * const [head, before] = await sessionChain.lineage('shop');
   */
  lineage(projectId: string): Promise<SessionId[]>;
  /**
   * The id of the project's latest session, null for none: `sessionId` of {@link SessionChain.head}. Throws PROJECT_NOT_FOUND.
   * @example
   * const sessionId = await sessionChain.getProjectSession('shop');
   */
  getProjectSession(projectId: string): Promise<SessionId | null>;
  /**
   * {@link SessionChain.lineage} under its older name. Throws PROJECT_NOT_FOUND.
   * @example
   * const sessionIds = await sessionChain.getSessionChain('shop');
   */
  getSessionChain(projectId: string): Promise<SessionId[]>;
  /**
   * Ends every watch, and every call that is under way with CLIENT_CLOSED, as any later one; what a call had begun goes on. Closes
   * the connections that were opened by address; what the host passed stays open. May be called again.
   * @example
   * process.once('beforeExit', () => void sessionChain.close());
   */
  close(): Promise<void>;
}

const optionsSchema = z
  .strictObject({
    ...connectionsShape,
    taskQueue: z.string().min(1).optional(),
    policy: z.looseObject({}).optional(),
    overrides: z.looseObject({}).optional(),
    chat: z.looseObject({}).optional(),
    maxQueued: z.number().int().min(1).optional(),
    workspaceRoots: z.array(z.string()).optional(),
    searchAttributes: z.enum(searchAttributeModes).optional(),
    dashboardUrl: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !/^https?:\/\/[^/?#]*@/.test(url), 'must be without user and password')
      .optional(),
  })
  .refine(isOneDatabase, giveOneDatabase);

/**
 * The client on a database and a namespace of Temporal. Nothing is connected before its first use. Throws INVALID_INPUT.
 * @example
 * const sessionChain = createSessionChain({
 *   databaseUrl: 'postgres://localhost/app',
 *   temporal: { address: 'localhost:7233' },
 * });
 */
export function createSessionChain(options: SessionChainOptions): SessionChain {
  checked(optionsSchema, options, 'The options of the client are not usable');
  const { workspaceRoots, dashboardUrl } = options;
  const { pool, temporal, close } = openConnections(options);
  const hub = createWatchHub(pool);
  const client: ChainClient = {
    pool,
    temporal,
    policy: chainPolicyOf(options),
    overrides: options.overrides ?? {},
    maxQueued: options.maxQueued ?? defaultMaxQueued,
    ...(workspaceRoots ? { workspaceRoots } : {}),
    ...(dashboardUrl === undefined ? {} : { dashboardUrl }),
  };
  const chat = chatPolicyOf(client.policy, options.chat);
  const searchAttributes = createSearchAttributes(temporal, options.searchAttributes ?? 'auto');
  const handleOf = (key: ChainKey) => temporal.workflow.getHandle(chainWorkflowId(key));
  const runs = createChainRuns(temporal, async () => (await readInstallation(pool)).id);
  const record = async (request: RecordSessionRequest) =>
    await recordSession(pool, parseRecordRequest(request));
  const lineage = async (projectId: string) => await getSessionChain(pool, await existing(pool, projectId));
  const closing = new AbortController();
  const methods: Omit<SessionChain, 'close'> = {
    ...createImports(pool),
    ...createEntries(pool),
    ...createErasures(client),
    ...createInstallations({ pool, temporal, runs }),
    ...createIntegrityReads(pool),
    ...createProjectReads(pool),
    ...createChainReads(client),
    ...createChainWork(client),
    ...createChats({ ...client, hub, policy: chat }),
    ...createRetention(client),
    ...createStorageReads(pool),
    ...createRestores(client),
    ...createWorkerReads({ ...client, chat }),
    ...createWatches(hub),
    start: async (request) => await start(client, searchAttributes, request),
    state: async (key) => await readChainState(pool, chainKey(key)),
    progress: async (key) => await readProgress(handleOf(chainKey(key))),
    wait: async (key, { signal } = {}) =>
      await withSignal(temporal, signal, (own) => wait(pool, temporal, handleOf, chainKey(key), own)),
    async cancel(key, options) {
      const { force } = checkedOptions({ force: z.boolean().default(false) }, options);
      await cancel(pool, temporal, runs, handleOf, chainKey(key), force);
    },
    async reconcile(projectId, options) {
      const dry = checkedOptions({ dryRun: z.boolean().default(false) }, options);
      return await reconcile(pool, runs, await existing(pool, projectId), dry);
    },
    head: async (projectId) => await readHead(pool, parseProjectId(projectId)),
    async sessionFor(projectId, moment, options) {
      checkedOptions({ timeoutMs: z.number().min(0).optional(), signal: z.custom().optional() }, options);
      const wanted = [parseProjectId(projectId), checkedMoment(moment)] as const;
      return await withSignal(temporal, options?.signal, (signal) =>
        sessionFor(pool, ...wanted, { ...options, signal }),
      );
    },
    recordSession: record,
    updateProjectSession: async (projectId, sessionId, source, versionId) =>
      await record({
        ...{ projectId, sessionId, source, notInStore: true },
        ...(versionId === undefined ? {} : { versionId }),
      }),
    validateAndRecover: async (projectId, sessionId, options) =>
      await validateAndRecover(
        pool,
        parseProjectId(projectId),
        sessionId === undefined ? undefined : parseSessionId(sessionId),
        checkedOptions({ dryRun: z.boolean().default(false) }, options),
      ),
    rewind: async (projectId, options) => await rewindProject(pool, parseRewindRequest(projectId, options)),
    unbindWorkspace: async (projectId) => await unbindWorkspace(pool, parseProjectId(projectId)),
    async syncReport(options) {
      const { projectId, projectIds, limit, redisUrl = null } = checkedOptions(syncShape, options);
      return await readSyncReport(pool, {
        ...(projectId === undefined ? {} : { projectId: parseProjectId(projectId) }),
        ...(projectIds === undefined ? {} : { projectIds: projectIds.map(parseProjectId) }),
        ...{ limit, redisUrl },
      });
    },
    stats: async () => await readStats(pool),
    spend: async (projectId) => await projectSpend(pool, await existing(pool, projectId)),
    chainSpend: async (key) => await chainSpend(pool, await requireChain(pool, chainKey(key))),
    async transitions(projectId, options) {
      const { limit } = checkedOptions({ limit: rows.default(100) }, options);
      return await listTransitions(pool, await existing(pool, projectId), limit);
    },
    async transitionPage(projectId, options) {
      const shape = { limit: rows.default(100), cursor: z.string().optional() };
      const { limit, cursor } = checkedOptions(shape, options);
      const place = cursor === undefined ? { before: null, skip: 0 } : transitionPlaceOf(cursor);
      const found = await listTransitions(pool, await existing(pool, projectId), limit + 1, place);
      const transitions = found.slice(0, limit);
      return {
        transitions,
        nextCursor: found.length > limit ? cursorAfterTransitions(transitions, place) : null,
      };
    },
    lineage,
    getProjectSession: async (projectId) => await getProjectSession(pool, parseProjectId(projectId)),
    getSessionChain: lineage,
  };
  return {
    ...throwingOwnErrors(pool, methods, {
      ...{ temporal, closed: closing.signal },
      items: { watch: 'ends', importHeads: 'fails' },
    }),
    ...throwingOwnErrors<Pick<SessionChain, 'close'>>(pool, {
      async close() {
        closing.abort(new SessionChainError('CLIENT_CLOSED', 'The client was closed.'));
        hub.close();
        await close();
      },
    }),
  };
}

const syncShape = {
  projectId: z.string().optional(),
  projectIds: someProjects.optional(),
  limit: z.number().int().min(0).max(10_000).default(100),
  redisUrl: z.string().optional(),
};

/** What the client works with, once it is complete. */
interface ChainClient {
  pool: Pool;
  temporal: Client;
  policy: ChainPolicy;
  overrides: ChainOverrides;
  maxQueued: number;
  workspaceRoots?: readonly string[];
  dashboardUrl?: string;
}

function chainPolicyOf({ taskQueue = 'session-chain', policy }: SessionChainOptions): ChainPolicy {
  return { ...defaultPolicy, taskQueues: taskQueuesOf(taskQueue).chains, ...policy };
}

function chatPolicyOf(
  { heartbeatTimeoutMs, killGraceMs, taskQueues }: ChainPolicy,
  chat: SessionChainOptions['chat'],
): ChatPolicy {
  return {
    ...defaultChatPolicy,
    heartbeatTimeoutMs,
    killGraceMs,
    taskQueues: taskQueuesOf(taskQueues.chains).chats,
    ...chat,
  };
}

async function existing(pool: Pool, projectId: string): Promise<ProjectId> {
  const id = parseProjectId(projectId);
  await readHead(pool, id);
  return id;
}

function checkedMoment(moment: SessionMoment): SessionMoment {
  if (sessionMoments.includes(moment)) return moment;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The moment ${JSON.stringify(moment)} is not one of ${sessionMoments.join(', ')}.`,
  );
}

async function start(
  { pool, temporal, policy, overrides, maxQueued, workspaceRoots, dashboardUrl }: ChainClient,
  searchAttributes: ReturnType<typeof createSearchAttributes>,
  unchecked: StartRequest,
): Promise<StartedChain> {
  const request = parseStartRequest(unchecked);
  const key = chainKey(request);
  const workflowId = chainWorkflowId(key);
  if (workspaceRoots) await resolveWorkspace(request.workspace, workspaceRoots);
  const typedSearchAttributes = await searchAttributes.of(key);
  const chain = await registerChain(pool, {
    ...key,
    workspace: request.workspace,
    createRows: request.createRows ?? false,
    maxQueued,
    ...(request.steps ? { steps: request.steps } : {}),
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
  // A row without a workflow, left by an interrupted start, holds what was first asked for.
  const [{ steps, formerRunId }, installation] = await Promise.all([
    requireChain(pool, key),
    readInstallation(pool),
  ]);
  const input: ChainInput = {
    version: payloadVersion,
    installation: installation.id,
    ...key,
    chainId: chain.chainId,
    mode: chain.mode,
    policy,
    overrides: [overrides, overridesOf(request)],
    ...(request.recover ? { recover: true } : {}),
  };
  const started = { ...key, workflowId, status: chain.status, result: null };
  for (;;) {
    try {
      await temporal.workflow.start(workflowTypes.chain, {
        workflowId,
        taskQueue: policy.taskQueues.chains,
        args: [input],
        // One running workflow per chain; a closed one may run again, because the row in `chains` has decided that it
        // should.
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        memo: { ...installationMemo(installation), chain: chain.chainId },
        staticSummary: steps ? `${chain.mode}: ${steps.join(' → ')}` : chain.mode,
        ...(dashboardUrl === undefined ? {} : { staticDetails: `[Dashboard](${pageOf(dashboardUrl, key)})` }),
        ...(typedSearchAttributes ? { typedSearchAttributes } : {}),
      });
      return { ...started, alreadyStarted: false };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw temporalError(error);
      if (!(await formerRunEnded(temporal, workflowId, formerRunId, installation)))
        return { ...started, alreadyStarted: true };
    }
  }
}

/** The page of a chain in the dashboard, as dashboard/links.ts makes it. */
function pageOf(dashboardUrl: string, { projectId, versionId, buildId }: ChainKey): string {
  const [project, version, build] = [projectId, versionId, buildId].map(encodeURIComponent);
  return `${dashboardUrl.replace(/\/+$/, '')}/projects/${project}/chains/${version}/${build}`;
}

/**
 * Whether the run in the way of a start is the one that closed the chain before, and has ended by now: it closes the chain
 * a moment before it is over, and what starts another has to wait for that.
 */
async function formerRunEnded(
  temporal: Client,
  workflowId: string,
  formerRunId: string | null,
  installation: Installation,
): Promise<boolean> {
  try {
    const { runId, memo } = await temporal.workflow.getHandle(workflowId).describe();
    if (isOfOther(memo, installation.id)) throw ofOtherInstallation(temporal, workflowId, memo, installation);
    if (runId !== formerRunId) return false;
    await temporal.workflow.getHandle(workflowId, runId).result();
  } catch (error) {
    if (!(error instanceof WorkflowFailedError) && !(error instanceof WorkflowNotFoundError))
      throw temporalError(error);
  }
  return true;
}

function overridesOf({ limits, model, compactThresholdTokens, budget, reset }: StartRequest): ChainOverrides {
  return {
    ...(limits ? { limits } : {}),
    ...(model === undefined ? {} : { model }),
    ...(compactThresholdTokens === undefined ? {} : { compactThresholdTokens }),
    ...(budget ? { budget } : {}),
    ...(reset ? { reset } : {}),
  };
}

type HandleOf = (key: ChainKey) => WorkflowHandle;

async function wait(
  pool: Pool,
  temporal: Client,
  handleOf: HandleOf,
  key: ChainKey,
  signal: AbortSignal,
): Promise<ChainResult> {
  let unknown: SessionChainError | undefined;
  const ended = await resultOf(pool, key).catch((error: unknown) => {
    if (!isChainNotFound(error)) throw error;
    unknown = error;
    return null;
  });
  if (ended) return ended;
  signal.throwIfAborted();
  await requireOwn(pool, temporal, chainWorkflowId(key));
  const end = await endOfWorkflow(handleOf(key));
  if (unknown && !end) throw unknown;
  const result = await resultOf(pool, key).catch((error: unknown) => {
    throw isChainNotFound(error) ? requestLost(key) : error;
  });
  if (result) return result;
  const workflowId = chainWorkflowId(key);
  if (end && endsByItself.has(end)) {
    throw new SessionChainError(
      'DATABASE_WENT_BACK',
      `The workflow ${workflowId} had closed its chain and is over (${end}), but the database does not know that end: it went back to an earlier state.`,
      'Start the chain again: what the database still knows to be done is not repeated, and what it lost is done and paid again.',
    );
  }
  throw new SessionChainError(
    'CHAIN_TERMINATED',
    end
      ? `The workflow ${workflowId} is over (${end}), but its chain was not closed.`
      : `No workflow works for the chain ${workflowId}: it was never started, or its history is gone.`,
  );
}

/** A workflow that ends so has closed its chain before. */
const endsByItself: ReadonlySet<string> = new Set(['COMPLETED', 'FAILED', 'CANCELLED']);

/** Waits for the end of a workflow: Temporal's status, null if there is no such workflow. */
async function endOfWorkflow(handle: WorkflowHandle): Promise<string | null> {
  try {
    // How the chain ended is in the database; a failure of the workflow says no more.
    await handle.result().catch((error: unknown) => {
      if (!(error instanceof WorkflowFailedError)) throw error;
    });
    const { status } = await handle.describe();
    return status.name;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw temporalError(error);
  }
}

function isChainNotFound(error: unknown): error is SessionChainError {
  return error instanceof SessionChainError && error.code === 'CHAIN_NOT_FOUND';
}

async function resultOf(pool: Pool, key: ChainKey): Promise<ChainResult | null> {
  const state = await readChainState(pool, key);
  return isClosed(state.status) ? { ...state, status: state.status } : null;
}

async function cancel(
  pool: Pool,
  temporal: Client,
  runs: ChainRuns,
  handleOf: HandleOf,
  key: ChainKey,
  force: boolean,
): Promise<void> {
  const handle = handleOf(key);
  const { chainId, status } = await requireChain(pool, key);
  if (isClosed(status)) throw chainOver(key, status);
  const run = (await listOpenRuns(pool, key.projectId)).find((one) => one.workflowId === handle.workflowId);
  const home = await runs.home().catch((error: unknown) => {
    throw temporalError(error);
  });
  const livesElsewhere = run !== undefined && run.home !== null && run.home !== home;
  const isOwn = (await otherInstallation(pool, temporal, handle.workflowId)) === null;
  const isCancelled = isOwn && (await requestCancel(handle));
  if (isCancelled && !livesElsewhere) {
    // Temporal tells the running step with its next heartbeat; this tells it now.
    await requestStop(pool, chainId);
    return;
  }

  const now = await requireChain(pool, key);
  if (isClosed(now.status)) throw chainOver(key, now.status);
  if (!run) {
    throw new SessionChainError(
      'CHAIN_NOT_FOUND',
      `No workflow of the chain ${chainWorkflowId(key)} ever asked for the project; there is nothing to cancel.`,
      'Start the chain again, or leave it: no chain waits for it.',
    );
  }
  if (!force) throw livesElsewhere ? ofAnotherTemporal(run, home) : workflowGone(run);
  await closeByForce(pool, runs, key.projectId, run);
}

/** False when there is no workflow that works. */
async function requestCancel(handle: WorkflowHandle): Promise<boolean> {
  try {
    await handle.cancel();
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw temporalError(error);
  }
}

/** Closes a chain whose workflow cannot, once the lease of its agent, which is told to stop, has expired; then the next one works. */
async function closeByForce(pool: Pool, runs: ChainRuns, projectId: ProjectId, run: ChainRun): Promise<void> {
  for (;;) {
    const released = await releaseChain(pool, projectId, run);
    if (released.outcome !== 'former_agent_alive') {
      await wakeNext(pool, runs, projectId, released.next);
      return;
    }
    // Its worker may report earlier that it has stopped.
    await sleep(Math.min(released.waitMs, 500));
  }
}

function chainOver(key: ChainKey, how: string): SessionChainError {
  return new SessionChainError(
    'CHAIN_NOT_FOUND',
    `The chain ${chainWorkflowId(key)} is over (${how}); there is nothing to cancel.`,
    'No action needed.',
  );
}

function workflowGone({ workflowId, runId }: ChainRun): SessionChainError {
  return new SessionChainError(
    'CHAIN_TERMINATED',
    `The workflow ${workflowId} (run ${runId}) is over or its history is gone, but its chain was not closed.`,
    'Cancel the chain with `force`, which closes it; or reconcile the project (`reconcile`), which closes every such chain.',
  );
}

function ofAnotherTemporal({ workflowId, runId, home }: ChainRun, here: string): SessionChainError {
  return new SessionChainError(
    'TEMPORAL_UNAVAILABLE',
    `The chain ${workflowId} (run ${runId}) belongs to the Temporal cluster and namespace ${home ?? ''}; this is ${here}.`,
    'Cancel it there. Where that Temporal is gone for good, cancel the chain with `force`, which closes it.',
  );
}
