import { randomUUID } from 'node:crypto';
import type { CommittedStep, Usage, VersionStatus } from '../../contracts/chain.js';
import {
  type ChainId,
  type ChainKey,
  type SessionId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { type Opener, type PlannedStep, openChain, registerChain } from '../../storage/chains/chains.js';
import type { Pool } from '../../storage/db/pool.js';
import type { AttemptMetrics } from '../../storage/ledger/metrics.js';
import { type Attempt, beginOperation, commitOperation } from '../../storage/operations/operations.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';

/** Storage-level helpers: what a chain does to the database, without Temporal and without an agent. */

export type OpenedChain = ChainKey & {
  chainId: ChainId;
  ticket: number;
  runId: string;
  head: SessionId | null;
};

/** What a version is called as shipped, and where its status is left alone. */
export const shippedStatus: VersionStatus = { succeeded: 'deployed', failed: 'failed' };
export const noStatus: VersionStatus = { succeeded: null, failed: null };

/** The steps that ship. */
export const plan: PlannedStep[] = [
  { name: 'build', kind: 'work', role: 'build', critical: true },
  { name: 'metadata', kind: 'submission' },
  { name: 'docs', kind: 'work' },
  { name: 'compact', kind: 'compaction' },
];

export function newKey(projectId = `p-${randomUUID()}`): ChainKey {
  const versionId = parseVersionId(`v-${randomUUID()}`);
  return { projectId: parseProjectId(projectId), versionId, buildId: parseBuildId(versionId) };
}

export async function register(pool: Pool, key: ChainKey, steps?: StepName[]) {
  return await registerChain(pool, {
    ...key,
    ...(steps ? { steps } : {}),
    workspace: '/nowhere',
    createRows: true,
  });
}

/** A run that has no ticket yet, in the one home of these tests. */
export function openerOf(runId: string, ticket: number | null = null): Opener {
  return { runId, ticket, home: 'test' };
}

export async function openNew(pool: Pool, key = newKey()): Promise<OpenedChain> {
  const { chainId } = await register(pool, key);
  const runId = randomUUID();
  const opened = await openChain(pool, { ...key, chainId }, openerOf(runId), null, { plan });
  if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
  return { ...key, chainId, runId, ticket: opened.ticket, head: opened.head.sessionId };
}

export async function begin(
  pool: Pool,
  chain: OpenedChain,
  step: StepName,
  options: { scheduledAtMs?: number; leaseMs?: number; knowsHead?: boolean } = {},
) {
  return await beginOperation<CommittedStep>(pool, {
    projectId: chain.projectId,
    inputDigest: 'digest',
    worker: 'test',
    // Most of these attempts have no agent that could be alive.
    leaseMs: options.leaseMs ?? 0,
    operation: {
      kind: 'step',
      chainId: chain.chainId,
      ticket: chain.ticket,
      step,
      round: 1,
      role: plan.find(({ name }) => name === step)?.role ?? null,
      // Most of these tests move heads behind the chain's back.
      headSessionId: options.knowsHead ? chain.head : null,
      baseSessionId: chain.head,
      scheduledAtMs: options.scheduledAtMs ?? Date.now(),
    },
  });
}

/** Begins an attempt that must be new, and stores a transcript of one message under its session. */
export async function beginWithTranscript(pool: Pool, chain: OpenedChain, step: StepName): Promise<Attempt> {
  const begun = await begin(pool, chain, step);
  if (begun.outcome !== 'begun') throw new Error('The step is committed already.');
  await storeMessage(pool, chain.projectId, begun.attempt.sessionId);
  return begun.attempt;
}

export async function storeMessage(
  pool: Pool,
  projectId: ChainKey['projectId'],
  sessionId: string,
): Promise<void> {
  await createTranscriptStore({ pool, projectId }).append({ projectKey: 'any', sessionId }, [
    { type: 'user', uuid: randomUUID(), sessionId, message: { role: 'user', content: 'hello' } },
  ]);
}

/** Commits an attempt's own session in place of the head `old`. */
export async function commitAttempt(
  pool: Pool,
  attempt: Attempt,
  old: SessionId | null,
): Promise<CommittedStep> {
  const { turns, costUsd, durationMs } = someMetrics;
  const { result } = await commitOperation<CommittedStep>(pool, {
    attempt: { ...attempt, head: { ...attempt.head, sessionId: old } },
    source: attempt.step,
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: someMetrics,
    result: {
      outcome: 'committed',
      step: attempt.step,
      attemptId: attempt.attemptId,
      attempt: attempt.attempt,
      oldSessionId: old,
      newSessionId: attempt.sessionId,
      turns,
      usage,
      costUsd,
      durationMs,
      warnings: [],
    },
  });
  return result;
}

/** One whole step; the chain's head moves along. */
export async function runStep(pool: Pool, chain: OpenedChain, step: StepName): Promise<CommittedStep> {
  const result = await commitAttempt(pool, await beginWithTranscript(pool, chain, step), chain.head);
  chain.head = result.newSessionId;
  return result;
}

const usage: Usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };

export const someMetrics: AttemptMetrics = {
  usage,
  costUsd: 0.5,
  turns: 1,
  durationMs: 10,
  apiDurationMs: 5,
  byModel: { model: { ...usage, costUsd: 0.5 } },
  model: 'model',
  agentVersion: '1.0.0',
  turnInFlightUnknown: false,
};
