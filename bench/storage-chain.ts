import { randomUUID } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { CommittedStep } from '../contracts/chain.js';
import type { ChainKey, SessionId } from '../contracts/ids.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../contracts/ids.js';
import type { StepName } from '../contracts/steps.js';
import { resolvePlan } from '../definition/resolve-plan.js';
import { shippedDefinition } from '../definition/shipped.js';
import { readChainState } from '../storage/chains/chain-state.js';
import { type OpenOptions, closeChain, openChain, registerChain } from '../storage/chains/chains.js';
import type { Pool } from '../storage/db/pool.js';
import { nothingSpent } from '../storage/ledger/metrics.js';
import { type Attempt, beginOperation, commitOperation } from '../storage/operations/operations.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';

/** What a chain of the shipped steps does to the database, without Temporal and without an agent. */

export type OpenedChain = Awaited<ReturnType<typeof register>> & { ticket: number };

export const openOptions: OpenOptions = {
  plan: resolvePlan(shippedDefinition, []).plan.steps.map(({ name, kind, role }) => ({
    name,
    kind,
    ...(role ? { role } : {}),
  })),
};

export function newKey(projectId = `bench-${randomUUID()}`): ChainKey {
  const versionId = `v-${randomUUID()}`;
  return {
    projectId: parseProjectId(projectId),
    versionId: parseVersionId(versionId),
    buildId: parseBuildId(versionId),
  };
}

export async function register(pool: Pool, key = newKey()) {
  const { chainId } = await registerChain(pool, { ...key, workspace: '/nowhere', createRows: true });
  return { ...key, chainId, runId: randomUUID() };
}

export async function open(pool: Pool, chain: Awaited<ReturnType<typeof register>>): Promise<OpenedChain> {
  const opener = { runId: chain.runId, home: 'bench', ticket: null };
  const opened = await openChain(pool, chain, opener, null, openOptions);
  if (opened.outcome !== 'opened') throw new Error(`The chain is ${opened.outcome}.`);
  return { ...chain, ticket: opened.ticket };
}

/** An attempt with a transcript, of one message unless appends are given, ready to be committed. */
export async function begin(
  pool: Pool,
  { projectId, chainId, ticket }: OpenedChain,
  step: StepName,
  baseSessionId: SessionId | null,
  appendsOf: (sessionId: SessionId) => SessionStoreEntry[][] = oneMessage,
): Promise<Attempt> {
  const role = openOptions.plan.find(({ name }) => name === step)?.role ?? null;
  const begun = await beginOperation(pool, {
    projectId,
    inputDigest: 'bench',
    worker: 'bench',
    leaseMs: 0,
    operation: {
      kind: 'step',
      ...{ chainId, ticket, step, round: 1, role, headSessionId: baseSessionId, baseSessionId },
      scheduledAtMs: Date.now(),
    },
  });
  if (begun.outcome !== 'begun') throw new Error(`The step is ${begun.outcome}.`);
  const { sessionId } = begun.attempt;
  const store = createTranscriptStore({ pool, projectId });
  for (const entries of appendsOf(sessionId)) await store.append({ projectKey: '', sessionId }, entries);
  return begun.attempt;
}

function oneMessage(sessionId: SessionId): SessionStoreEntry[][] {
  return [[{ type: 'user', uuid: randomUUID(), sessionId, message: { role: 'user', content: sessionId } }]];
}

/** Makes the attempt's session the head. */
export async function commit(pool: Pool, attempt: Attempt): Promise<CommittedStep> {
  const { step, attemptId, sessionId, head, baseSessionId } = attempt;
  const { usage, turns, durationMs } = nothingSpent;
  const result: Omit<CommittedStep, 'seq'> = {
    outcome: 'committed',
    ...{ step, attemptId, attempt: attempt.attempt, oldSessionId: head.sessionId, newSessionId: sessionId },
    ...{ turns, usage, costUsd: 0, durationMs, warnings: [] },
  };
  const committed = await commitOperation<CommittedStep>(pool, {
    ...{ attempt, result, source: step, newSessionId: sessionId, parentSessionId: baseSessionId },
    metrics: nothingSpent,
  });
  return committed.result;
}

export async function close(pool: Pool, chain: OpenedChain): Promise<void> {
  const state = await readChainState(pool, chain);
  await closeWith(pool, chain, { ...state, status: 'completed' });
}

export async function closeWith(
  pool: Pool,
  chain: OpenedChain,
  result: Parameters<typeof closeChain>[2]['result'],
): Promise<void> {
  await closeChain(pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result,
    versionStatus: { succeeded: null, failed: null },
  });
}

/** Open, four steps, close. */
export async function runChain(pool: Pool, projectId?: string): Promise<void> {
  const chain = await open(pool, await register(pool, newKey(projectId)));
  let head: SessionId | null = null;
  for (const { name } of openOptions.plan) {
    head = (await commit(pool, await begin(pool, chain, name, head))).newSessionId;
  }
  await close(pool, chain);
}
