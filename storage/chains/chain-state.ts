import type { BriefFacts } from '../../contracts/brief.js';
import type { ChainState, CommittedStep, StepState } from '../../contracts/chain.js';
import { type Failure, remedyFor } from '../../contracts/failures.js';
import type { ChainKey } from '../../contracts/ids.js';
import { describeOrigin } from '../../contracts/origin.js';
import type { StepName } from '../../contracts/steps.js';
import { readBrief } from './brief.js';
import { type ChainRow, requireChain } from './chains.js';
import { readHead } from '../heads/heads.js';
import { type ChainSpend, chainSpend } from '../ledger/ledger.js';
import { type Pool, queryRows } from '../db/pool.js';

/**
 * A chain as Postgres knows it, with or without a worker running: how it ended, or how far its journal has come.
 * Throws CHAIN_NOT_FOUND.
 */
export async function readChainState(pool: Pool, key: ChainKey): Promise<ChainState> {
  const chain = await requireChain(pool, key);
  const [soFar, spent, brief] = await Promise.all([
    stateFromJournal(pool, chain),
    chainSpend(pool, key),
    briefFacts(pool, chain),
  ]);
  const state = chain.result ? { ...soFar, ...chain.result } : soFar;
  const failure = state.failure && withRemedy(state.failure);
  return {
    ...state,
    ...(failure ? { failure } : {}),
    ...(brief ? { brief } : {}),
    steps: state.steps.map((step) => withSpend(step, spent)),
  };
}

async function briefFacts(pool: Pool, { chainId, origin }: ChainRow): Promise<BriefFacts | null> {
  const mayHaveOne = origin?.kind === 'context_reset' || origin?.kind === 'recovery';
  if (!mayHaveOne || origin.headSessionId === null) return null;
  const brief = await readBrief(pool, chainId, origin.headSessionId);
  if (!brief) return null;
  const { headSessionId, parts, createdAt } = brief;
  return { headSessionId, parts, createdAt: createdAt.toISOString() };
}

/** A failure that SQL wrote (a chain that was taken over, an attempt nobody saw end) has no remedy of its own. */
function withRemedy(failure: Failure): Failure {
  return { ...failure, remedy: failure.remedy || remedyFor(failure.code) };
}

/** The ledger knows what failed attempts took, too, and costs that came to light after the step had ended. */
function withSpend(step: StepState, { steps }: ChainSpend): StepState {
  const spent = steps.find((one) => one.step === step.step);
  if (!spent) return step;
  const { turns, usage, costUsd, durationMs } = spent;
  return { ...step, turns, usage, costUsd, durationMs, attempts: Math.max(step.attempts, spent.attempts) };
}

interface AttemptRow {
  step: StepName;
  attempt: number;
  state: 'running' | 'waiting' | 'failed' | 'committed';
  baseSessionId: StepState['oldSessionId'];
  result: CommittedStep | null;
  failure: Failure | null;
}

async function stateFromJournal(pool: Pool, chain: ChainRow): Promise<ChainState> {
  const newest = await queryRows<AttemptRow>(pool, {
    name: 'newest_attempts',
    text: `SELECT DISTINCT ON (step) step, attempt, state, base_session_id AS "baseSessionId", result, failure
           FROM session_chain.attempts WHERE project_id = $1 AND version_id = $2 AND build_id = $3
           ORDER BY step, attempt DESC`,
    values: [chain.projectId, chain.versionId, chain.buildId],
  });
  return {
    projectId: chain.projectId,
    versionId: chain.versionId,
    buildId: chain.buildId,
    mode: chain.mode,
    status: chain.status,
    head: await readHead(pool, chain.projectId),
    baseSessionId: chain.baseSessionId,
    ...(chain.origin
      ? { origin: chain.origin, resumedFrom: describeOrigin(chain.origin, chain.baseSessionId) }
      : {}),
    steps: chain.steps.map((step) =>
      stepState(
        step,
        newest.find((attempt) => attempt.step === step),
      ),
    ),
    warnings: [],
    ...(chain.place !== null && chain.waitsFor !== null
      ? { line: { place: chain.place, waitsFor: chain.waitsFor } }
      : {}),
    ...(chain.waitingUntil ? { waitingUntil: chain.waitingUntil.toISOString() } : {}),
  };
}

function stepState(step: StepName, attempt: AttemptRow | undefined): StepState {
  const { result, failure } = attempt ?? {};
  return {
    step,
    status: attempt?.state ?? 'pending',
    attempts: attempt?.attempt ?? 0,
    oldSessionId: result?.oldSessionId ?? attempt?.baseSessionId ?? null,
    newSessionId: result?.newSessionId ?? null,
    turns: result?.turns ?? 0,
    usage: result?.usage ?? { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
    costUsd: result?.costUsd ?? 0,
    durationMs: result?.durationMs ?? 0,
    ...(attempt?.state === 'waiting' && failure ? { reason: failure.message } : {}),
    ...(attempt?.state === 'failed' && failure ? { failure: withRemedy(failure) } : {}),
  };
}
