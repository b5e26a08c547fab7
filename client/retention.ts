import { randomUUID } from 'node:crypto';
import {
  ActivityFailure,
  ApplicationFailure,
  type Client,
  type ScheduleSpec,
  type WorkflowExecutionInfo,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { z } from 'zod';
import type { ChainPolicy } from '../contracts/chain.js';
import { type Failure, SessionChainError, failureOfCode, isFailureCode } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { type Installation, installationMemo } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import type {
  RetentionInput,
  RetentionOutcome,
  RetentionPolicy,
  RetentionRun,
  RetentionRunState,
} from '../contracts/retention.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { readHead } from '../storage/heads/heads.js';
import { type ArchiveParts, readParts } from '../storage/retention/status.js';
import { listWorkers } from '../storage/workers/workers.js';
import { temporalError } from '../temporal/errors.js';
import { listWorkflows } from '../temporal/listing.js';
import { retentionId, workflowTypes } from '../temporal/names.js';
import { putSchedule, readSchedule, removeSchedule } from '../temporal/schedules.js';
import { withSignal } from '../temporal/signal.js';
import { checkedOptions } from './input.js';

/** When retention runs by itself. */
export interface RetentionSchedule {
  /** As it was given to `installRetention`. */
  every: string;
  paused: boolean;
  /** When it runs next; null while it is paused. */
  nextAt: Date | null;
  /** Milliseconds between its next two runs; null where Temporal does not tell. */
  betweenMs: number | null;
  installedAt: Date;
  /** Times at which it was to start and did not, because Temporal was away for too long. */
  missed: number;
}

export interface RetentionStatus {
  /** Null where none is installed: then retention runs only when it is asked for. */
  schedule: RetentionSchedule | null;
  running: RetentionRunState[];
  /** The last run over all projects that ended, dry runs apart; null for none that Temporal still knows. */
  lastRun: RetentionRunState | null;
  /** The policies of the living workers, that of most workers first. Several are a rollout, or a mistake. */
  policies: { policy: RetentionPolicy; workers: string[] }[];
  /** The files of the archive. */
  parts: ArchiveParts;
}

export interface InstallRetentionOptions {
  /** `day at 03:00` (UTC, the default), an interval such as `6h` or `1d`, or five fields of cron, in UTC. */
  every?: string;
  /** Whether it starts no run until it is installed again with `false`. Default: as it is. */
  paused?: boolean;
}

export interface RunRetentionOptions {
  /** Only this project. */
  projectId?: string;
  /** Only says what a run would do now; nothing is written. */
  dryRun?: boolean;
}

/** Retention: what is old and not needed leaves the hot tables, goes to the archive, and is dropped. */
export interface Retention {
  /**
   * Lets Temporal run retention at these times, one run at a time. Called again, it changes the times in place. Throws
   * INVALID_INPUT, and TEMPORAL_REFUSED where the namespace allows no schedules.
   * @example
   * const { nextAt } = await sessionChain.installRetention({ every: 'day at 03:00' });
   */
  installRetention(options?: InstallRetentionOptions): Promise<RetentionSchedule>;
  /**
   * Ends the schedule; a run that is under way goes on.
   * @example
   * const { removed } = await sessionChain.removeRetention();
   */
  removeRetention(): Promise<{ removed: boolean }>;
  /**
   * The schedule, what runs, the last run with its figures, the policies of the workers, and the files of the archive.
   * @example
   * const { schedule, lastRun } = await sessionChain.retentionStatus();
   * console.log(schedule?.nextAt, lastRun?.result?.total.freedBytes);
   */
  retentionStatus(): Promise<RetentionStatus>;
  /**
   * Runs retention now and waits for its end; a signal ends the wait, not the run. What it did for each project, or with `dryRun`
   * would do, is in the result; so is each project on which it gave up. Throws INVALID_INPUT, PROJECT_NOT_FOUND, the failure of
   * a run that has no result, and the signal's reason.
   * @example
   * const { total, projects } = await sessionChain.runRetention({ dryRun: true });
   * console.log(total.archivedSessions, projects.map(({ projectId, leftAlone }) => [projectId, leftAlone]));
   */
  runRetention(options?: RunRetentionOptions & { signal?: AbortSignal }): Promise<RetentionRun>;
  /**
   * The same without waiting. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { id } = await sessionChain.startRetention({ projectId: 'shop' });
   */
  startRetention(options?: RunRetentionOptions): Promise<RetentionRunState>;
  /**
   * A run as it stands; with `waitMs` once it has ended, or when the time is over. Throws INVALID_INPUT, RUN_NOT_FOUND.
   * @example
   * const { state, result } = await sessionChain.retentionRun(id, { waitMs: 60_000 });
   */
  retentionRun(id: string, options?: { waitMs?: number }): Promise<RetentionRunState>;
}

const runShape = { projectId: z.string().optional(), dryRun: z.boolean().default(false) };
const waitShape = { waitMs: z.number().int().min(0).max(3_600_000).default(0) };
/** Among so many of the newest runs the last one over all projects is looked for. */
const looked = 200;

export function createRetention({
  pool,
  temporal,
  policy: { taskQueues, heartbeatTimeoutMs },
}: {
  pool: Pool;
  temporal: Client;
  policy: Pick<ChainPolicy, 'taskQueues' | 'heartbeatTimeoutMs'>;
}): Retention {
  const taskQueue = taskQueues.chains;
  const scheduleId = retentionId(taskQueue);
  const inputOf = ({ id }: Installation): RetentionInput => ({
    ...{ version: payloadVersion, installation: id, dryRun: false, heartbeatTimeoutMs },
  });
  const ids = runIds(scheduleId);

  async function start(options: z.infer<z.ZodObject<typeof runShape>>): Promise<string> {
    const projectId = options.projectId === undefined ? undefined : parseProjectId(options.projectId);
    if (projectId !== undefined) await readHead(pool, projectId);
    const { dryRun } = options;
    const id = randomUUID();
    const installation = await readInstallation(pool);
    const one: RetentionInput = {
      ...{ ...inputOf(installation), dryRun },
      ...(projectId === undefined ? {} : { projectId }),
    };
    await temporal.workflow.start(workflowTypes.retention, {
      workflowId: ids.workflowIdOf(id),
      taskQueue,
      args: [one],
      memo: { ...memoOf(one), ...installationMemo(installation) },
      staticSummary: `${dryRun ? 'dry run' : 'run'}${projectId === undefined ? '' : ` of ${projectId}`}`,
    });
    return id;
  }

  async function read(id: string): Promise<RetentionRunState> {
    try {
      const handle = temporal.workflow.getHandle(ids.workflowIdOf(id));
      return await stateOf(temporal, ids, await handle.describe());
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw temporalError(error);
      throw new SessionChainError('RUN_NOT_FOUND', `Temporal knows no run of retention with the id ${id}.`);
    }
  }

  async function ended(id: string, signal: AbortSignal | undefined): Promise<void> {
    await withSignal(temporal, signal, async () => {
      await temporal.workflow
        .getHandle(ids.workflowIdOf(id))
        .result()
        .catch((error: unknown) => {
          if (!(error instanceof WorkflowFailedError)) throw temporalError(error);
        });
    });
  }

  return {
    async installRetention(options) {
      const shape = { every: z.string().default('day at 03:00'), paused: z.boolean().optional() };
      const { every, paused } = checkedOptions(shape, options);
      const installation = await readInstallation(pool);
      const input = inputOf(installation);
      const memo = { ...memoOf(input), ...installationMemo(installation) };
      await putSchedule(temporal, {
        ...{ scheduleId, every, spec: specOf(every), taskQueue, input, memo },
        workflowType: workflowTypes.retention,
        ...(paused === undefined ? {} : { paused }),
      });
      return (await readSchedule(temporal, scheduleId)) as RetentionSchedule;
    },
    removeRetention: async () => ({ removed: await removeSchedule(temporal, scheduleId) }),
    async retentionStatus() {
      const [schedule, { running, lastRun }, workers, parts] = await Promise.all([
        readSchedule(temporal, scheduleId),
        recentRuns(temporal, ids, taskQueue),
        listWorkers(pool),
        readParts(pool),
      ]);
      const living = workers.filter(({ alive }) => alive);
      return { schedule, running, lastRun, policies: policiesOf(living), parts };
    },
    async runRetention({ signal, ...options } = {}) {
      const id = await start(checkedOptions(runShape, options));
      await ended(id, signal);
      const { result, failure } = await read(id);
      if (result) return result;
      const { code, message, remedy } = failure ?? failureOfCode('INTERNAL');
      throw new SessionChainError(code, message, remedy);
    },
    startRetention: async (options) => await read(await start(checkedOptions(runShape, options))),
    async retentionRun(id, options) {
      const { waitMs } = checkedOptions(waitShape, options);
      const now = await read(checkedId(id));
      if (waitMs === 0 || now.state !== 'running') return now;
      const over = AbortSignal.timeout(waitMs);
      await ended(id, over).catch((error: unknown) => {
        if (!over.aborted) throw error;
      });
      return await read(id);
    },
  };
}

/** What tells runs apart in a list, where their input is not shown. */
function memoOf({ dryRun, projectId }: Pick<RetentionInput, 'dryRun' | 'projectId'>) {
  return { dryRun, projectId: projectId ?? null };
}

interface RunIds {
  workflowIdOf(id: string): string;
  idOf(workflowId: string): string;
}

const byTemporal = /^\d{4}-\d{2}-\d{2}T/;

/** A run of the schedule is named by its time, as Temporal appends it; any other by a uuid. */
function runIds(scheduleId: string): RunIds {
  return {
    workflowIdOf: (id) => `${scheduleId}${byTemporal.test(id) ? '-' : '/'}${id}`,
    idOf: (workflowId) => workflowId.slice(scheduleId.length + 1),
  };
}

function checkedId(id: unknown): string {
  if (typeof id === 'string' && /^[0-9a-zA-Z][0-9a-zA-Z:.-]{0,99}$/.test(id)) return id;
  throw new SessionChainError('INVALID_INPUT', `The id ${JSON.stringify(id)} is not one of a run.`);
}

/** Throws INVALID_INPUT. */
function specOf(every: string): ScheduleSpec {
  const [, hour, minute] = /^day at ([01]\d|2[0-3]):([0-5]\d)$/.exec(every) ?? [];
  if (hour !== undefined) return { calendars: [{ hour: Number(hour), minute: Number(minute) }] };
  const [, number, unit] = /^([1-9]\d{0,3})(min|h|d)$/.exec(every) ?? [];
  if (number !== undefined)
    return { intervals: [{ every: Number(number) * units[unit as keyof typeof units] }] };
  if (/^[\d*,/-]+( [\dA-Za-z*,/?-]+){4}$/.test(every)) return { cronExpressions: [every] };
  throw new SessionChainError(
    'INVALID_INPUT',
    `${JSON.stringify(every)} says no times.`,
    'Use "day at 03:00", an interval such as 6h or 1d, or five fields of cron such as "0 3 * * 6"; times are UTC.',
  );
}

const units = { min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

async function recentRuns(
  client: Client,
  ids: RunIds,
  taskQueue: string,
): Promise<Pick<RetentionStatus, 'running' | 'lastRun'>> {
  const quoted = `'${taskQueue.replaceAll("'", "''")}'`;
  const query = `WorkflowType = '${workflowTypes.retention}' AND TaskQueue = ${quoted} AND ExecutionStatus != 'ContinuedAsNew'`;
  const running: RetentionRunState[] = [];
  let seen = 0;
  // Those that run come first, then the one that ended last.
  for await (const listed of listWorkflows(client, query, { pageSize: 20 })) {
    const run = { ...listed, memo: listed.memo ?? {} };
    if (run.status.name === 'RUNNING') running.push(await stateOf(client, ids, run));
    else if (run.memo['dryRun'] !== true && (run.memo['projectId'] ?? null) === null)
      return { running, lastRun: await stateOf(client, ids, run) };
    if (++seen === looked) break;
  }
  return { running, lastRun: null };
}

async function stateOf(
  client: Client,
  ids: RunIds,
  run: Pick<WorkflowExecutionInfo, 'workflowId' | 'runId' | 'status' | 'startTime' | 'closeTime' | 'memo'>,
): Promise<RetentionRunState> {
  const { workflowId, startTime, closeTime, memo, status } = run;
  const id = ids.idOf(workflowId);
  const known = {
    ...{ id, workflowId, scheduled: byTemporal.test(id) },
    dryRun: memo?.['dryRun'] === true,
    projectId: (memo?.['projectId'] ?? null) as ProjectId | null,
    startedAt: startTime,
  };
  if (closeTime === undefined)
    return { ...known, state: 'running', endedAt: null, result: null, failure: null };
  const over = { ...known, endedAt: closeTime };
  try {
    const outcome = (await client.workflow
      .getHandle(workflowId, run.runId)
      .result()) as unknown as RetentionOutcome;
    const startedAt = new Date(outcome.startedAt);
    const result: RetentionRun = { ...outcome, startedAt, endedAt: closeTime };
    return { ...over, startedAt, state: 'finished', result, failure: outcome.failure };
  } catch (error) {
    if (error instanceof WorkflowFailedError)
      return { ...over, state: 'failed', result: null, failure: failureOf(error, status.name) };
    throw temporalError(error);
  }
}

function failureOf({ cause }: WorkflowFailedError, how: string): Failure {
  const inner = cause instanceof ActivityFailure ? cause.cause : cause;
  if (inner instanceof ApplicationFailure && isFailureCode(inner.type))
    return { ...failureOfCode(inner.type), message: inner.message };
  if (how === 'CANCELLED' || how === 'TERMINATED')
    return { ...failureOfCode('CANCELLED'), message: `The run was ${how.toLowerCase()}.` };
  return { ...failureOfCode('INTERNAL'), message: `The run ended as ${how}: ${inner?.message ?? ''}` };
}

function policiesOf(
  workers: readonly { identity: string; limits: { retention: RetentionPolicy } }[],
): RetentionStatus['policies'] {
  const by = new Map<string, RetentionStatus['policies'][number]>();
  for (const { identity, limits } of workers) {
    const key = JSON.stringify(Object.entries(limits.retention).sort());
    const known = by.get(key) ?? { policy: limits.retention, workers: [] };
    by.set(key, known);
    known.workers.push(identity);
  }
  return [...by.values()].sort((one, other) => other.workers.length - one.workers.length);
}
