import type { Client } from '@temporalio/client';
import type { Brief } from '../contracts/brief.js';
import type { ChainPolicy, ChainState, QueuePosition, StepState } from '../contracts/chain.js';
import type { ChainEnd } from '../contracts/end.js';
import type { Failure, FailureCode } from '../contracts/failures.js';
import { type ChainKey, type SessionId, parseProjectId } from '../contracts/ids.js';
import type { ChainBudget } from '../contracts/limits.js';
import {
  type ChainMode,
  type ChainStatus,
  type StepName,
  chainStatuses,
  isClosed,
} from '../contracts/steps.js';
import {
  type FailingTask,
  type WaitKind,
  type WaitingFor,
  waitKinds,
  whatFails,
} from '../contracts/waiting.js';
import { readBrief } from '../storage/chains/brief.js';
import { type ActivityDetails, type AttemptDetails, readJournal } from '../storage/chains/chain-journal.js';
import { type ListedChain, countChains, listChains } from '../storage/chains/chain-list.js';
import { stateOfChain } from '../storage/chains/chain-state.js';
import { type ChainRow, requireChain } from '../storage/chains/chains.js';
import { listEnds } from '../storage/chains/ends.js';
import { readHead } from '../storage/heads/heads.js';
import { type Lineage, readLineage } from '../storage/heads/lineage.js';
import { type ChainSpend, chainElapsedMs, chainSpend } from '../storage/ledger/ledger.js';
import type { Pool } from '../storage/db/pool.js';
import { type OwnEntries, loadOwnEntries } from '../storage/transcripts/store.js';
import { pollersOf } from '../temporal/task-queues.js';
import { describeWorkflow, failingTaskOf } from '../temporal/workflow-tasks.js';
import { answerText } from '../transcript/entries.js';
import { writtenFiles } from '../transcript/written-files.js';
import { chainKey } from './chain-key.js';
import { type ChainFilter, cursorOf, moment, parseChainFilter, someProjects } from './chain-filter.js';
import { checkedOptions, limit as rows } from './input.js';
import { hasOwnWorker, takenByOthers } from './installation.js';
import { waitsInItsTaskQueue } from './progress.js';
import { type Saved, savedOf, sumSaved } from './saved.js';

/** A chain in a list. */
export interface ChainSummary extends ChainKey {
  workflowId: string;
  mode: ChainMode;
  status: ChainStatus;
  /** The step that an open chain works on or waits in, or at which a closed one failed. */
  step: StepName | null;
  /** The steps of its plan in order, and how far each is; empty until it has opened. */
  steps: Pick<StepState, 'step' | 'status'>[];
  /** Why an open chain waits, why a closed one failed, or the warnings of a completed one; null if there are none. */
  reason: string | null;
  /** Why it failed, with the code; null unless it did. */
  failure: Failure | null;
  warnings: string[];
  /** The first line of what was asked for; null for the standard instruction of its mode. */
  firstLine: string | null;
  /** US dollars, as far as they are known. */
  costUsd: number;
  attemptsOfUnknownCost: number;
  createdAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
  /** When it last made progress, see `stuckForMs` of {@link ChainFilter}. */
  progressAt: Date;
  /** Until when it waits; null when it does not. */
  waitingUntil: Date | null;
  queue: QueuePosition | null;
  /** What it waits for and since when; null while an agent works, and once it is closed. */
  waitingFor: WaitingFor | null;
  /** The project's head, or of a closed chain the head that it left. */
  sessionId: SessionId | null;
  /**
   * The task queue that it waits on and that no worker polls; null where one does, and where Temporal was not asked.
   * `othersOnly`: what a worker of another database said, where such ones alone poll it.
   */
  missingWorker: { taskQueue: string; since: Date; othersOnly: string | null } | null;
  /**
   * Why it stands still though workers poll: its workflow task fails, as on a release that does not replay it. Null where it does not,
   * and where Temporal was not asked.
   */
  failingTask: FailingTask | null;
}

/** A page of a list, newest first. */
export interface ChainPage {
  chains: ChainSummary[];
  /** For the next page; null on the last one. */
  nextCursor: string | null;
}

/** How many chains there are, by what they do. */
export interface ChainCounts {
  /** Open ones as they are now, and those that have ended since `since`. */
  status: Record<ChainStatus, number>;
  /** Open ones that wait, by what for. */
  waitingFor: Record<WaitKind, number>;
  /** Those that failed since `since`, by the code; only codes that occurred. */
  failed: Partial<Record<FailureCode, number>>;
  since: Date;
}

/** A step with all that is known of it. */
export interface StepDetails extends StepState {
  /** When its first attempt began, and when its last one ended. */
  startedAt: Date | null;
  endedAt: Date | null;
  /** The model's last message; null if there was none. */
  reply: string | null;
  /** The files that its file tools wrote, all attempts and their subagents included; not what shell commands wrote. */
  files: string[];
  saved: Saved;
  /** Its attempts, oldest first. */
  journal: AttemptDetails[];
  /** The calls of an activity of the host, oldest first. */
  calls: ActivityDetails[];
}

/** What a chain may still take. A field is null where the budget does not limit it. */
export interface BudgetLeft {
  costUsd: number | null;
  turns: number | null;
  /** Wall-clock time; of a closed chain what was left when it closed. */
  timeMs: number | null;
}

/** Everything that is known of a chain. */
export interface ChainDetails extends ChainState {
  workflowId: string;
  /** What was asked for; null for the standard instruction of its mode. */
  instruction: string | null;
  firstLine: string | null;
  /** Absolute path of the project's files, as the worker sees it. */
  workspace: string;
  /** The steps that its last start named; null for all of the definition. */
  requestedSteps: StepName[] | null;
  createdAt: Date;
  /** When it was last asked for. */
  requestedAt: Date;
  openedAt: Date | null;
  closedAt: Date | null;
  steps: StepDetails[];
  saved: Saved;
  spent: ChainSpend;
  /** What it may take, once it has opened; null without a budget. */
  budget: ChainBudget | null;
  budgetLeft: BudgetLeft | null;
  /** How it has ended, each time, the newest first, and whether the activity of the host was told; see `ends`. */
  ends: ChainEnd[];
}

/** Reading chains: only Postgres is queried, unless stated otherwise. */
export interface ChainReads {
  /**
   * Chains of one project or of all, newest first, by one statement however long the list. Chains that start meanwhile
   * do not shift the pages. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * let cursor: string | undefined;
   * do {
   *   const page = await sessionChain.chains({ status: ['failed'], since: '2026-11-01', ...(cursor && { cursor }) });
   *   for (const { projectId, failure, costUsd } of page.chains) console.log(projectId, failure?.code, costUsd);
   *   cursor = page.nextCursor ?? undefined;
   * } while (cursor);
   */
  chains(filter?: ChainFilter): Promise<ChainPage>;
  /**
   * How many chains work, wait and for what, and how many ended since a moment (a day ago) and with which failure: of all
   * projects, or of `projectIds`. One statement. Throws INVALID_INPUT.
   * @example
   * const { status, waitingFor, failed } = await sessionChain.chainCounts({ since: new Date(Date.now() - 3_600_000) });
   * console.log(status.running, waitingFor.model, failed.MODEL_REFUSED ?? 0);
   */
  chainCounts(options?: { since?: Date | string; projectIds?: readonly string[] }): Promise<ChainCounts>;
  /**
   * Everything about one chain: its times, the request, the reply and the files of each step, every attempt with the rule
   * by which it was judged, what was spent and what is left of the budget. It reads transcripts: for a look at where a chain
   * stands, `state` is cheaper. Throws INVALID_INPUT, CHAIN_NOT_FOUND.
   * @example
   * const { steps, budgetLeft } = await sessionChain.chain(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
   * for (const { step, reply, files } of steps) console.log(step, files, reply);
   * console.log(budgetLeft?.costUsd ?? 'no limit');
   */
  chain(key: ChainKey): Promise<ChainDetails>;
  /**
   * What the chain's fresh session was told about the project's state; null where it continued from the head. Throws
   * INVALID_INPUT, CHAIN_NOT_FOUND.
   * @example
   * const brief = await sessionChain.brief(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
   * console.log(brief?.content ?? 'It remembers.');
   */
  brief(key: ChainKey): Promise<Brief | null>;
  /**
   * How the chain has ended, each time, the newest first, and whether the activity of the host (`onEnd` of the workers)
   * was told; empty where no worker has one. What was delivered more than 30 days ago is forgotten. Throws INVALID_INPUT,
   * CHAIN_NOT_FOUND.
   * @example
   * const [end] = await sessionChain.ends(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
   * console.log(end?.status, end?.deliveredAt ?? end?.failure);
   */
  ends(key: ChainKey): Promise<ChainEnd[]>;
  /**
   * The sessions of a project as a tree: the line of its last `limit` heads (200), and what was forked beside it. Throws
   * INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { nodes, headSessionId } = await sessionChain.tree('shop');
   * console.log(nodes.filter(({ kind }) => kind === 'side_branch').length, headSessionId);
   */
  tree(projectId: string, options?: { limit?: number }): Promise<Lineage>;
}

export function createChainReads({
  pool,
  temporal,
  policy,
}: {
  pool: Pool;
  temporal: Client;
  policy: ChainPolicy;
}): ChainReads {
  return {
    async chains(filter = {}) {
      const { projectId, conditions, after, limit, askTemporal } = parseChainFilter(filter);
      if (projectId !== null) await readHead(pool, projectId);
      const listed = await listChains(pool, conditions, { after, limit: limit + 1 });
      const page = listed.slice(0, limit);
      const seen = askTemporal
        ? await seenByTemporal(pool, temporal, policy, page)
        : new Map<string, never>();
      return {
        chains: page.map((one) => summaryOf(one, policy, seen.get(one.chain.workflowId))),
        nextCursor:
          listed.length > limit ? (page.slice(-1).map(({ place }) => cursorOf(place))[0] ?? null) : null,
      };
    },
    async chainCounts(options) {
      const { since = new Date(Date.now() - dayMs), projectIds } = checkedOptions(countsShape, options);
      return countsOf(await countChains(pool, since, projectIds?.map(parseProjectId) ?? null), since);
    },
    chain: async (key) => await readDetails(pool, await requireChain(pool, chainKey(key))),
    async brief(key) {
      const { chainId, origin } = await requireChain(pool, chainKey(key));
      const headSessionId = origin?.headSessionId ?? null;
      return headSessionId === null ? null : await readBrief(pool, chainId, headSessionId);
    },
    ends: async (key) => await listEnds(pool, await requireChain(pool, chainKey(key))),
    async tree(projectId, options) {
      const { limit } = checkedOptions({ limit: rows.default(200) }, options);
      return await readLineage(pool, parseProjectId(projectId), limit);
    },
  };
}

const dayMs = 86_400_000;
const countsShape = { since: moment.optional(), projectIds: someProjects.optional() };

function countsOf(counted: Awaited<ReturnType<typeof countChains>>, since: Date): ChainCounts {
  const sumOf = (isMeant: (one: (typeof counted)[number]) => boolean) =>
    counted.filter(isMeant).reduce((sum, { chains }) => sum + chains, 0);
  const by = <Key extends string>(
    keys: readonly Key[],
    isMeant: (one: (typeof counted)[number]) => string | null,
  ) =>
    Object.fromEntries(keys.map((key) => [key, sumOf((one) => isMeant(one) === key)])) as Record<Key, number>;
  const codes = counted.flatMap(({ failureCode }) => failureCode ?? []);
  return {
    status: by(chainStatuses, ({ status }) => status),
    waitingFor: by(waitKinds, ({ waitKind }) => waitKind),
    failed: by(codes, ({ failureCode }) => failureCode),
    since,
  };
}

function summaryOf(
  listed: ListedChain,
  policy: ChainPolicy,
  { missingWorker, failingTask }: SeenByTemporal = { missingWorker: null, failingTask: null },
): ChainSummary {
  const { chain, state, costUsd, attemptsOfUnknownCost, progressAt } = listed;
  const { projectId, versionId, buildId, workflowId, mode, status, createdAt, openedAt, closedAt } = chain;
  return {
    ...{ projectId, versionId, buildId, workflowId, mode, status },
    step: currentStep(state),
    steps: state.steps.map(({ step, status }) => ({ step, status })),
    reason: failingTask
      ? `its workflow task fails: ${whatFails(failingTask)}`
      : missingWorker
        ? `no worker ${missingWorker.othersOnly === null ? '' : 'of this database '}polls the task queue ${missingWorker.taskQueue}`
        : reasonOf(state),
    failure: state.failure ?? null,
    warnings: state.warnings,
    firstLine: firstLineOf(chain.instruction),
    ...{ costUsd, attemptsOfUnknownCost, createdAt, openedAt, closedAt, progressAt },
    waitingUntil: chain.waitingUntil,
    queue: state.queue ?? null,
    waitingFor: waitingForOf(listed, policy),
    sessionId: state.head.sessionId,
    ...{ missingWorker, failingTask },
  };
}

function waitingForOf(
  { chain, state, waitKind, called, progressAt: since }: ListedChain,
  { taskQueues }: ChainPolicy,
): WaitingFor | null {
  const { waitingUntil: until } = chain;
  switch (waitKind) {
    case null:
      return null;
    case 'queue':
      return { kind: waitKind, since, position: chain.position, behind: chain.waitsFor };
    case 'worker': {
      const taskQueue = chain.status === 'queued' ? taskQueues.chains : taskQueues.agents;
      const lacks = state.steps.find((step) => step.status === 'waiting')?.reason ?? null;
      return { kind: waitKind, since, taskQueue, lacks, until };
    }
    case 'model':
      return { kind: waitKind, since, until };
    case 'activity':
      return called && { kind: waitKind, since, ...called };
  }
}

/** The step that an open chain works on, or the one at which a closed chain failed. */
function currentStep({ status, steps }: ChainState): StepName | null {
  const wanted = isClosed(status) ? ['failed', 'cancelled'] : ['running', 'waiting', 'failed'];
  return steps.find((step) => wanted.includes(step.status))?.step ?? null;
}

function reasonOf({ status, queue, steps, failure, warnings }: ChainState): string | null {
  switch (status) {
    case 'queued':
      return queue ? `position ${queue.position}, behind ${queue.waitsFor}` : 'no worker has taken it up yet';
    case 'waiting':
      return steps.find((step) => step.status === 'waiting')?.reason ?? null;
    case 'running':
      return null;
    default:
      return failure?.message ?? (warnings.join(' ') || null);
  }
}

function firstLineOf(instruction: string | null): string | null {
  return instruction?.trim().split('\n')[0]?.trim() ?? null;
}

/** How long Temporal may take; the list does not depend on it. */
const askTemporalMs = 5_000;

/** What Temporal alone knows of an open chain. */
type SeenByTemporal = Pick<ChainSummary, 'missingWorker' | 'failingTask'>;

/** What Temporal knows of the open chains of a page, by workflow id; empty where it does not answer. */
async function seenByTemporal(
  pool: Pool,
  temporal: Client,
  policy: ChainPolicy,
  page: readonly ListedChain[],
): Promise<Map<string, SeenByTemporal>> {
  const isPolled = {
    workflow: onceFor(async (taskQueue) => (await pollersOf(temporal, taskQueue, 'workflow')).length > 0),
    activity: onceFor(async (taskQueue) => (await pollersOf(temporal, taskQueue, 'activity')).length > 0),
  };
  const hasBusyWorker = onceFor((taskQueue) => hasOwnWorker(pool, temporal, taskQueue));
  const look = async (one: ListedChain): Promise<SeenByTemporal> => {
    const waits = waitsOn(one, policy);
    const description = await describeWorkflow(temporal, one.chain.workflowId);
    const failingTask = description && (await failingTaskOf(temporal, description));
    if (!waits) return { missingWorker: null, failingTask };
    const { type, ...queue } = waits;
    if (await isPolled[type](queue.taskQueue)) {
      const othersOnly = await takenByOthers(pool, temporal, one.chain.workflowId, policy.taskQueues.chains);
      return { missingWorker: othersOnly === null ? null : { ...queue, othersOnly }, failingTask };
    }
    // A worker with all its slots taken does not poll.
    if (type === 'activity' && (await hasBusyWorker(queue.taskQueue)))
      return { missingWorker: null, failingTask };
    const isWaiting = type === 'workflow' || (description !== null && waitsInItsTaskQueue(description));
    return { missingWorker: isWaiting ? { ...queue, othersOnly: null } : null, failingTask };
  };
  const open = page.filter(({ chain }) => !isClosed(chain.status));
  try {
    return await temporal.withDeadline(
      Date.now() + askTemporalMs,
      async () =>
        new Map(await Promise.all(open.map(async (one) => [one.chain.workflowId, await look(one)] as const))),
    );
  } catch {
    return new Map();
  }
}

function onceFor(ask: (taskQueue: string) => Promise<boolean>): (taskQueue: string) => Promise<boolean> {
  const asked = new Map<string, Promise<boolean>>();
  return (taskQueue) => {
    const answer = asked.get(taskQueue) ?? ask(taskQueue);
    asked.set(taskQueue, answer);
    return answer;
  };
}

/** The task queue on which a worker has to take something for the chain to go on, as far as Postgres knows. */
function waitsOn(
  listed: ListedChain,
  policy: ChainPolicy,
): { taskQueue: string; type: 'workflow' | 'activity'; since: Date } | null {
  const waitingFor = waitingForOf(listed, policy);
  if (waitingFor?.kind !== 'activity' && waitingFor?.kind !== 'worker') return null;
  // It looks again by itself.
  if (listed.chain.status === 'waiting') return null;
  const { taskQueue, since } = waitingFor;
  return { taskQueue, since, type: listed.chain.status === 'queued' ? 'workflow' : 'activity' };
}

async function readDetails(pool: Pool, chain: ChainRow): Promise<ChainDetails> {
  const { workflowId, instruction, workspace, createdAt, requestedAt, openedAt, closedAt, budget } = chain;
  const [state, spent, journal, ends] = await Promise.all([
    stateOfChain(pool, chain),
    chainSpend(pool, chain),
    readJournal(pool, chain.chainId),
    listEnds(pool, chain),
  ]);
  const own = await loadOwnEntries(pool, chain.projectId, journal.attempts);
  const steps = state.steps.map((step) => stepDetails(step, journal, own));
  return {
    ...state,
    ...{
      workflowId,
      instruction,
      firstLine: firstLineOf(instruction),
      workspace,
      requestedSteps: chain.steps,
      createdAt,
      requestedAt,
      openedAt,
      closedAt,
      steps,
    },
    saved: sumSaved(steps.map(({ saved }) => saved)),
    spent,
    budget,
    budgetLeft: budget && (await budgetLeft(pool, chain, budget, spent)),
    ends,
  };
}

function stepDetails(
  step: StepState,
  { attempts, activities }: Awaited<ReturnType<typeof readJournal>>,
  own: ReadonlyMap<SessionId, OwnEntries>,
): StepDetails {
  const isOfStep = (one: { step: StepName }) => one.step === step.step;
  const journal = attempts.filter(isOfStep).map(({ step: _, ...attempt }) => attempt);
  const calls = activities.filter(isOfStep).map(({ step: _, ...call }) => call);
  const tries = [...journal, ...calls];
  const committed = journal.find(({ state }) => state === 'committed');
  // Of a step that is not committed, the last attempt with a message.
  const spoke = committed ? [committed] : journal.toReversed();
  const replies = spoke.map(({ adopts, sessionId }) => answerText(own.get(adopts ?? sessionId)?.main ?? []));
  return {
    ...step,
    startedAt: tries[0]?.startedAt ?? null,
    endedAt: tries.at(-1)?.endedAt ?? null,
    reply: replies.find((reply) => reply.trim() !== '') ?? null,
    files: [
      ...new Set(
        journal.flatMap(({ sessionId }) => {
          const { main = [], bySubagents = [] } = own.get(sessionId) ?? {};
          return [...writtenFiles(main), ...writtenFiles(bySubagents)];
        }),
      ),
    ],
    saved: savedOf(journal),
    journal,
    calls,
  };
}

async function budgetLeft(
  pool: Pool,
  key: ChainKey,
  { maxCostUsd, maxTurns, timeoutMs }: ChainBudget,
  spent: ChainSpend,
): Promise<BudgetLeft> {
  const less = (limit: number | undefined, taken: number) =>
    limit === undefined ? null : Math.max(0, limit - taken);
  return {
    costUsd: less(maxCostUsd, spent.costUsd),
    turns: less(maxTurns, spent.turns),
    timeMs: timeoutMs === undefined ? null : less(timeoutMs, Math.round(await chainElapsedMs(pool, key))),
  };
}
