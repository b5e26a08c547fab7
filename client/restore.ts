import {
  type Client,
  type WorkflowExecutionDescription,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/common';
import { z } from 'zod';
import type { ChainPolicy } from '../contracts/chain.js';
import { type Failure, SessionChainError, failureOfCode, isFailureCode } from '../contracts/failures.js';
import { type ProjectId, parseProjectId, parseSessionId } from '../contracts/ids.js';
import { installationMemo } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import type {
  ProjectHold,
  Restoration,
  RestoreInput,
  RestoreOutcome,
  Restored,
} from '../contracts/retention.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { holdProject, readHold, releaseProject } from '../storage/retention/hold.js';
import { readRestoreFailure } from '../storage/retention/restore.js';
import { temporalError } from '../temporal/errors.js';
import { restoreWorkflowId, workflowTypes } from '../temporal/names.js';
import { withSignal } from '../temporal/signal.js';
import { callerWords } from './caller-text.js';
import { checked, checkedOptions } from './input.js';
import { requireOwn } from './installation.js';

export interface RestoreProjectRequest {
  projectId: string;
  /** One session. Without `sessionId` and `month`: everything of the project. */
  sessionId?: string;
  /** A month, as `2026-11` (UTC): its sessions and details, and the transitions from it on. */
  month?: string;
  /** Days for which retention leaves the project alone, so that what was restored stays. Default: 30. */
  keepDays?: number;
}

export interface HoldOptions {
  /** Why, for those who look after it later. */
  reason: string;
  /** Who says so. */
  by: string;
}

/** Bringing back what retention archived, and keeping it from archiving. */
export interface Restores {
  /**
   * Brings a session, a month or everything of a project back from the archive, byte for byte, and waits for that; a signal ends
   * the wait, not the restoration. A worker that has the archive does it, a file at a time, each as a whole or not at all; what is
   * here and the same is left. Another restoration of the project that is under way is waited for first. Throws INVALID_INPUT,
   * NOT_IN_ARCHIVE, ARCHIVE_NOT_CONFIGURED, ARCHIVE_UNAVAILABLE, ARCHIVE_DAMAGED, SESSION_DIFFERS where the store has another
   * transcript of a session, PROJECT_BEING_ERASED, and the signal's reason.
   * @example
   * const { sessions, entries } = await sessionChain.restore({ projectId: 'shop', month: '2026-03' });
   */
  restore(request: RestoreProjectRequest, options?: { signal?: AbortSignal }): Promise<Restored>;
  /**
   * The same without waiting. Throws INVALID_INPUT, and PROJECT_BUSY while another restoration of the project is under way.
   * @example
   * const { state } = await sessionChain.startRestore({ projectId: 'shop' });
   */
  startRestore(request: RestoreProjectRequest): Promise<Restoration>;
  /**
   * The restoration of a project that is under way, or the last one that Temporal still knows; with `waitMs` once it has ended,
   * or when the time is over. Throws INVALID_INPUT, NOT_IN_ARCHIVE where there is none.
   * @example
   * const { state, restored, failure } = await sessionChain.restoration('shop', { waitMs: 60_000 });
   */
  restoration(projectId: string, options?: { waitMs?: number }): Promise<Restoration>;
  /**
   * Puts a project on legal hold: from then on nothing of it is archived away, dropped or erased. Said again, it takes the new
   * words and stays since when it was. Throws INVALID_INPUT, PROJECT_NOT_FOUND where nothing of it is here, PROJECT_BEING_ERASED.
   * @example
   * await sessionChain.hold('shop', { reason: 'case 17/4', by: 'legal@example.com' });
   */
  hold(projectId: string, options: HoldOptions): Promise<ProjectHold>;
  /**
   * Ends the hold; `released` is false where there was none. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { released } = await sessionChain.release('shop');
   */
  release(projectId: string): Promise<ProjectHold & { released: boolean }>;
  /**
   * Whether a project is on hold, and until when retention leaves it alone because something of it was restored. Throws
   * INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { hold } = await sessionChain.projectHold('shop');
   */
  projectHold(projectId: string): Promise<ProjectHold>;
}

export const holdShape = { reason: callerWords(1_000), by: callerWords(200) };

/** What is restored: also the body of the HTTP server's route. */
export const restoreShape = {
  sessionId: z.string().optional(),
  month: z
    .string()
    .regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'must be a month, such as 2026-11')
    .optional(),
  keepDays: z.number().int().min(1).max(36_500).optional(),
};

const requestSchema = z
  .strictObject({ projectId: z.string(), ...restoreShape })
  .refine(({ sessionId, month }) => sessionId === undefined || month === undefined, {
    path: ['sessionId, month'],
    error: 'give one of the two, or none for everything',
  });

const defaultKeepDays = 30;

export function createRestores({
  pool,
  temporal,
  policy: { taskQueues, heartbeatTimeoutMs },
}: {
  pool: Pool;
  temporal: Client;
  policy: Pick<ChainPolicy, 'taskQueues' | 'heartbeatTimeoutMs'>;
}): Restores {
  /** The id of its run; null where another restoration of the project is under way. */
  async function start(unchecked: RestoreProjectRequest): Promise<string | null> {
    const request = checked(requestSchema, unchecked, refusal, 'request');
    const { month, sessionId, keepDays = defaultKeepDays } = request;
    const projectId = parseProjectId(request.projectId);
    const installation = await readInstallation(pool);
    const input: RestoreInput = {
      ...{ version: payloadVersion, installation: installation.id, heartbeatTimeoutMs },
      request: {
        ...{ projectId, keepDays },
        ...(sessionId === undefined ? {} : { sessionId: parseSessionId(sessionId) }),
        ...(month === undefined ? {} : { month }),
      },
    };
    try {
      const handle = await temporal.workflow.start(workflowTypes.restore, {
        workflowId: restoreWorkflowId(projectId),
        taskQueue: taskQueues.chains,
        args: [input],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        memo: installationMemo(installation),
        staticSummary: `restore ${sessionId ?? month ?? 'everything'}`,
      });
      return handle.firstExecutionRunId;
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) {
        await requireOwn(pool, temporal, restoreWorkflowId(projectId));
        return null;
      }
      throw temporalError(error);
    }
  }

  async function ended(projectId: ProjectId, signal: AbortSignal | undefined): Promise<void> {
    await withSignal(temporal, signal, async () => {
      await temporal.workflow
        .getHandle(restoreWorkflowId(projectId))
        .result()
        .catch((error: unknown) => {
          if (!(error instanceof WorkflowFailedError)) throw temporalError(error);
        });
    });
  }

  async function read(projectId: ProjectId, runId?: string): Promise<Restoration> {
    const handle = temporal.workflow.getHandle(restoreWorkflowId(projectId), runId);
    let run: WorkflowExecutionDescription;
    try {
      run = await handle.describe();
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw temporalError(error);
      throw new SessionChainError(
        'NOT_IN_ARCHIVE',
        `Temporal knows no restoration of the project ${projectId}.`,
        'Nothing was restored, or it was too long ago; ask for it again, which does nothing twice.',
      );
    }
    const known = { projectId, startedAt: run.startTime, endedAt: run.closeTime ?? null };
    if (run.status.name === 'RUNNING') return { ...known, state: 'running', restored: null, failure: null };
    try {
      const outcome = (await handle.result()) as RestoreOutcome;
      const restored: Restored = { ...outcome, keptUntil: new Date(outcome.keptUntil) };
      return { ...known, state: 'finished', restored, failure: null };
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw temporalError(error);
      const failure = await failureOf(pool, projectId, error, run.status.name);
      return { ...known, state: 'failed', restored: null, failure };
    }
  }

  return {
    async restore(request, { signal } = {}) {
      signal?.throwIfAborted();
      const projectId = parseProjectId(checked(requestSchema, request, refusal, 'request').projectId);
      let runId = await start(request);
      while (runId === null) {
        await ended(projectId, signal);
        runId = await start(request);
      }
      await ended(projectId, signal);
      const { restored, failure } = await read(projectId, runId);
      if (restored) return restored;
      const { code, message, remedy } = failure ?? failureOfCode('INTERNAL');
      throw new SessionChainError(code, message, remedy);
    },
    async startRestore(request) {
      const runId = await start(request);
      const projectId = parseProjectId(request.projectId);
      if (runId !== null) return await read(projectId, runId);
      throw new SessionChainError(
        'PROJECT_BUSY',
        `A restoration of the project ${projectId} is under way; no other was started.`,
        'Wait for its end, then ask again.',
      );
    },
    async restoration(projectId, options) {
      const { waitMs } = checkedOptions({ waitMs: z.number().min(0).default(0) }, options);
      const id = parseProjectId(projectId);
      const now = await read(id);
      if (waitMs === 0 || now.state !== 'running') return now;
      const over = AbortSignal.timeout(waitMs);
      await ended(id, over).catch((error: unknown) => {
        if (!over.aborted) throw error;
      });
      return await read(id);
    },
    async hold(projectId, options) {
      return await holdProject(pool, parseProjectId(projectId), checkedOptions(holdShape, options));
    },
    release: async (projectId) => await releaseProject(pool, parseProjectId(projectId)),
    projectHold: async (projectId) => await readHold(pool, parseProjectId(projectId)),
  };
}

const refusal = 'The restoration cannot be asked for so';

/** In full from the database, where it has the failure of this run; Temporal knows its code. */
async function failureOf(
  pool: Pool,
  projectId: ProjectId,
  { cause }: WorkflowFailedError,
  how: string,
): Promise<Failure> {
  const inner = cause instanceof ActivityFailure ? cause.cause : cause;
  if (inner instanceof ApplicationFailure && isFailureCode(inner.type)) {
    const kept = await readRestoreFailure(pool, projectId);
    return kept?.code === inner.type ? kept : failureOfCode(inner.type);
  }
  if (inner instanceof TimeoutFailure) return failureOfCode('WORKER_LOST');
  return {
    ...failureOfCode('CANCELLED'),
    message: `The restoration was ended in Temporal (${how.toLowerCase()}).`,
  };
}
