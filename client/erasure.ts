import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { z } from 'zod';
import type { ChainPolicy } from '../contracts/chain.js';
import type { EraseInput, Erasure } from '../contracts/erasure.js';
import { SessionChainError, isFailureCode } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { installationMemo } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { lastErasure, planErasure, readErasure, requestErasure } from '../storage/erasure/erasure.js';
import { temporalError } from '../temporal/errors.js';
import { createProjectHistories } from '../temporal/histories.js';
import { eraseWorkflowId, workflowTypes } from '../temporal/names.js';
import { withSignal } from '../temporal/signal.js';
import { callerWords } from './caller-text.js';
import { checkedOptions } from './input.js';

export interface EraseOptions {
  /** Who asks, for the certificate: 1 to 200 characters. Required, but for a dry run. */
  by?: string;
  /** Why, for the certificate: up to 1,000 characters. */
  reason?: string;
  /** Only say what there is to erase. */
  dryRun?: boolean;
  /** How long to wait for the end. Default: until it is there; 0 does not wait. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface Erasures {
  /**
   * Erases everything of a project, for good, also where its row is gone: what works for it is stopped, then its rows,
   * transcripts, files of the archive, checkpoints and histories in Temporal are deleted. What stays is a certificate.
   * Meanwhile nothing is begun in the project (PROJECT_BEING_ERASED). Needs a worker; one that dies is replaced by another,
   * which goes on. Called again while it is under way, it waits for the same erasure; afterwards it looks everywhere anew,
   * with a certificate of its own. A wait that ends ends nothing else. Throws INVALID_INPUT, PROJECT_NOT_FOUND,
   * PROJECT_ON_HOLD, ARCHIVE_NOT_CONFIGURED, and the signal's reason.
   * @example
   * const { counts } = await sessionChain.erase('shop', { dryRun: true });
   * const { certificate } = await sessionChain.erase('shop', { by: 'Ada', reason: 'Request 4711 of the customer' });
   */
  erase(projectId: string, options?: EraseOptions): Promise<Erasure>;
  /**
   * The erasure of a project that is under way, else the last one with its certificate. Throws ERASURE_NOT_FOUND.
   * @example
   * const { state, certificate } = await sessionChain.erasure('shop');
   */
  erasure(projectId: string): Promise<Erasure>;
}

const shape = {
  by: callerWords(200).optional(),
  reason: callerWords(1_000).optional(),
  dryRun: z.boolean().default(false),
  timeoutMs: z.number().min(0).optional(),
  signal: z.custom<AbortSignal>().optional(),
};

export function createErasures({
  pool,
  temporal,
  policy,
}: {
  pool: Pool;
  temporal: Client;
  policy: ChainPolicy;
}): Erasures {
  return {
    async erase(id, options) {
      const projectId = parseProjectId(id);
      const { by, reason, dryRun, timeoutMs, signal } = checkedOptions(shape, options);
      if (dryRun) return await plan(pool, temporal, projectId);
      if (by === undefined) {
        throw new SessionChainError(
          'INVALID_INPUT',
          'The options are not usable: by: is required.',
          'Say who asks for the erasure; the certificate names them.',
        );
      }
      const erasureId = await requestErasure(pool, {
        ...{ projectId, by },
        ...(reason === undefined ? {} : { reason }),
      });
      const { heartbeatTimeoutMs } = policy;
      const installation = await readInstallation(pool);
      const input: EraseInput = {
        ...{ version: payloadVersion, heartbeatTimeoutMs, erasureId, projectId },
        installation: installation.id,
      };
      const memo = installationMemo(installation);
      await withSignal(temporal, signal, () => startAndWait(temporal, policy, input, memo, timeoutMs));
      return await readErasure(pool, erasureId);
    },
    erasure: async (projectId) => await lastErasure(pool, parseProjectId(projectId)),
  };
}

async function plan(pool: Pool, temporal: Client, projectId: ProjectId): Promise<Erasure> {
  const counts = await planErasure(pool, projectId);
  let workflows = 0;
  try {
    for await (const _ of createProjectHistories(
      temporal,
      async () => (await readInstallation(pool)).id,
    ).list(projectId))
      workflows += 1;
  } catch (error) {
    throw temporalError(error);
  }
  return {
    ...{ erasureId: null, projectId, state: 'planned', certificate: null },
    counts: workflows === 0 ? counts : { ...counts, workflows },
  };
}

/** The row is there before its workflow, and a call that is repeated starts what an earlier one could not. */
async function startAndWait(
  temporal: Client,
  policy: ChainPolicy,
  input: EraseInput,
  memo: Record<string, unknown>,
  timeoutMs: number | undefined,
): Promise<void> {
  try {
    const handle = await temporal.workflow.start(workflowTypes.erase, {
      workflowId: eraseWorkflowId(input.erasureId),
      workflowIdConflictPolicy: 'USE_EXISTING',
      taskQueue: policy.taskQueues.chains,
      args: [input],
      memo,
      staticSummary: 'erasure of a project',
    });
    const waited = new AbortController();
    const ended = handle.result();
    if (timeoutMs === undefined) return void (await ended);
    const tooLong = sleep(timeoutMs, undefined, { signal: waited.signal }).catch(() => undefined);
    ended.catch(() => undefined);
    await Promise.race([ended, tooLong]).finally(() => waited.abort());
  } catch (error) {
    const cause = error instanceof WorkflowFailedError ? rootOf(error) : null;
    if (cause instanceof ApplicationFailure && isFailureCode(cause.type))
      throw new SessionChainError(cause.type, cause.message);
    throw temporalError(error);
  }
}

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}
