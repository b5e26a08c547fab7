import { randomUUID } from 'node:crypto';
import type { CommittedStep, Usage } from '../../contracts/chain.js';
import {
  type ChainId,
  type ChainKey,
  type SessionId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../../contracts/ids.js';
import { type StepName, stepNames } from '../../contracts/steps.js';
import { type Attempt, beginAttempt, commitStep } from '../../storage/operations/attempts.js';
import { type Opener, openChain, registerChain } from '../../storage/chains/chains.js';
import type { AttemptMetrics } from '../../storage/ledger/metrics.js';
import type { Pool } from '../../storage/db/pool.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';

/** Storage-level helpers: what a chain does to the database, without Temporal and without an agent. */

export type OpenedChain = ChainKey & {
  chainId: ChainId;
  turn: number;
  runId: string;
  head: SessionId | null;
};

export function newKey(projectId = `p-${randomUUID()}`): ChainKey {
  const versionId = parseVersionId(`v-${randomUUID()}`);
  return { projectId: parseProjectId(projectId), versionId, buildId: parseBuildId(versionId) };
}

export async function register(pool: Pool, key: ChainKey, steps: StepName[] = [...stepNames]) {
  return await registerChain(pool, { ...key, steps, workspace: '/nowhere', createRows: true });
}

/** A run that has no number yet, in the one home of these tests. */
export function openerOf(runId: string, turn: number | null = null): Opener {
  return { runId, turn, home: 'test' };
}

export async function openNew(pool: Pool, key = newKey()): Promise<OpenedChain> {
  const { chainId } = await register(pool, key);
  const runId = randomUUID();
  const opened = await openChain(pool, { ...key, chainId }, openerOf(runId), null);
  if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
  return { ...key, chainId, runId, turn: opened.turn, head: opened.head.sessionId };
}

export async function begin(
  pool: Pool,
  chain: OpenedChain,
  step: StepName,
  options: { scheduledAtMs?: number } = {},
) {
  return await beginAttempt(pool, {
    ...chain,
    step,
    baseSessionId: chain.head,
    inputDigest: 'digest',
    scheduledAtMs: options.scheduledAtMs ?? Date.now(),
    worker: 'test',
    // These attempts have no agent that could be alive.
    leaseMs: 0,
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

export async function commitAttempt(
  pool: Pool,
  attempt: Attempt,
  old: SessionId | null,
): Promise<CommittedStep> {
  return await commitStep(pool, {
    attempt,
    source: stepNames.find((step) => step === attempt.step) ?? 'build',
    oldSessionId: old,
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: someMetrics,
    warnings: [],
  });
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
