import { randomUUID } from 'node:crypto';
import type { ChainKey, SessionId } from '../contracts/ids.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../contracts/ids.js';
import { type StepName, stepNames } from '../contracts/steps.js';
import { type Attempt, beginAttempt, commitStep } from '../storage/operations/attempts.js';
import { closeChain, openChain, registerChain } from '../storage/chains/chains.js';
import { readChainState } from '../storage/chains/chain-state.js';
import { nothingSpent } from '../storage/ledger/metrics.js';
import type { Pool } from '../storage/db/pool.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';

/** What a chain does to the database, without Temporal and without an agent. */

export type OpenedChain = Awaited<ReturnType<typeof register>> & { turn: number };

export function newKey(projectId = `bench-${randomUUID()}`): ChainKey {
  const versionId = `v-${randomUUID()}`;
  return {
    projectId: parseProjectId(projectId),
    versionId: parseVersionId(versionId),
    buildId: parseBuildId(versionId),
  };
}

export async function register(pool: Pool, key = newKey()) {
  const { chainId } = await registerChain(pool, {
    ...key,
    steps: [...stepNames],
    workspace: '/nowhere',
    createRows: true,
  });
  return { ...key, chainId, runId: randomUUID() };
}

export async function open(pool: Pool, chain: Awaited<ReturnType<typeof register>>): Promise<OpenedChain> {
  const opened = await openChain(pool, chain, { runId: chain.runId, home: 'bench', turn: null }, null);
  if (opened.outcome !== 'opened') throw new Error(`The chain is ${opened.outcome}.`);
  return { ...chain, turn: opened.turn };
}

/** An attempt with a transcript of one message, ready to be committed. */
export async function begin(
  pool: Pool,
  chain: OpenedChain,
  step: StepName,
  baseSessionId: SessionId | null,
): Promise<Attempt> {
  const begun = await beginAttempt(pool, {
    ...chain,
    step,
    baseSessionId,
    inputDigest: 'bench',
    scheduledAtMs: Date.now(),
    worker: 'bench',
    leaseMs: 0,
  });
  if (begun.outcome !== 'begun') throw new Error(`The step is ${begun.outcome}.`);
  const { projectId, sessionId } = begun.attempt;
  await createTranscriptStore({ pool, projectId }).append({ projectKey: '', sessionId }, [
    { type: 'user', uuid: randomUUID(), sessionId, message: { role: 'user', content: sessionId } },
  ]);
  return begun.attempt;
}

export async function commit(pool: Pool, attempt: Attempt, oldSessionId: SessionId | null) {
  return await commitStep(pool, {
    attempt,
    source: attempt.step,
    oldSessionId,
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: nothingSpent,
    warnings: [],
  });
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
  await closeChain(pool, chain, { turn: chain.turn, runId: chain.runId, result, versionStatus: null });
}

/** Open, four steps, close. */
export async function runChain(pool: Pool, projectId?: string): Promise<void> {
  const chain = await open(pool, await register(pool, newKey(projectId)));
  let head: SessionId | null = null;
  for (const step of stepNames) {
    const attempt: Attempt = await begin(pool, chain, step, head);
    head = (await commit(pool, attempt, head)).newSessionId;
  }
  await close(pool, chain);
}
