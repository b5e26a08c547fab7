import type { BriefFacts } from '../../contracts/brief.js';
import type { ChainState, CommittedStep, Head, StepState } from '../../contracts/chain.js';
import { type Failure, failureOfCode, remedyFor } from '../../contracts/failures.js';
import type { ChainKey, SessionId } from '../../contracts/ids.js';
import { describeOrigin } from '../../contracts/origin.js';
import type { StepName } from '../../contracts/steps.js';
import { type Pool, queryRows } from '../db/pool.js';
import { type ChainSpend, chainSpend } from '../ledger/ledger.js';
import { type ChainRow, type PlannedStep, requireChain } from './chains.js';

/**
 * A chain as Postgres knows it, with or without a worker running: how it ended, or how far its journal has come.
 * Throws CHAIN_NOT_FOUND.
 */
export async function readChainState(pool: Pool, key: ChainKey): Promise<ChainState> {
  const chain = await requireChain(pool, key);
  return await stateOfChain(pool, chain);
}

/** The state of a chain whose row was read. */
export async function stateOfChain(pool: Pool, chain: ChainRow): Promise<ChainState> {
  const [[facts], spent] = await Promise.all([
    queryRows<ChainFacts>(pool, {
      name: 'chain_facts',
      text: `SELECT ${factColumns} FROM session_chain.chains c ${factTables} WHERE c.id = $1`,
      values: [chain.chainId],
    }),
    chainSpend(pool, chain),
  ]);
  return stateOf(chain, facts, spent);
}

/** What other tables hold of a chain. */
export interface ChainFacts {
  head: Head;
  /** The newest try of each step. */
  journal: JournalledStep[];
  brief: BriefFacts | null;
}

interface JournalledStep {
  step: StepName;
  status: StepState['status'];
  attempts: number;
  baseSessionId: SessionId | null;
  result: CommittedStep | null;
  value: Record<string, unknown> | null;
  failure: Failure | null;
}

/** The columns of {@link ChainFacts}, of a row `c` that is joined with {@link factTables}. */
export const factColumns = `jsonb_build_object('sessionId', p.last_ai_session_id::text, 'seq', p.session_seq) AS head,
  CASE WHEN b.chain IS NOT NULL THEN jsonb_build_object('headSessionId', b.head_session_id, 'parts', b.parts,
    'createdAt', to_char(b.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) END AS brief,
  (SELECT coalesce(jsonb_agg(j), '[]') FROM (
    (SELECT DISTINCT ON (a.step) a.step, a.state AS status, a.attempt AS attempts,
       a.base_session_id AS "baseSessionId", a.result, a.value, a.failure
     FROM session_chain.attempts a WHERE a.chain = c.id ORDER BY a.step, a.round DESC, a.attempt DESC)
    UNION ALL
    (SELECT DISTINCT ON (s.step) s.step, s.state, s.calls, NULL, NULL, NULL, s.failure
     FROM session_chain.activity_steps s WHERE s.chain = c.id ORDER BY s.step, s.round DESC)) j) AS journal`;

export const factTables = `LEFT JOIN projects p ON p.project_id = session_chain.project_key(c.project_id)
  LEFT JOIN session_chain.briefs b ON b.chain = c.id AND b.head_session_id = c.origin ->> 'headSessionId'
    AND c.origin ->> 'kind' IN ('context_reset', 'recovery')`;

/** The state of a chain by its row and what other tables hold of it. */
export function stateOf(
  chain: ChainRow,
  facts: ChainFacts = { head: { sessionId: null, seq: null }, journal: [], brief: null },
  spent?: ChainSpend,
): ChainState {
  const { origin, baseSessionId, position, waitsFor, waitingUntil, failures } = chain;
  const soFar: ChainState = {
    projectId: chain.projectId,
    versionId: chain.versionId,
    buildId: chain.buildId,
    mode: chain.mode,
    status: chain.status,
    head: facts.head,
    baseSessionId,
    ...(origin ? { origin, resumedFrom: describeOrigin(origin, baseSessionId) } : {}),
    steps: stepsSoFar(chain, facts.journal),
    warnings: [],
    ...(position !== null && waitsFor !== null ? { queue: { position, waitsFor } } : {}),
    ...(waitingUntil ? { waitingUntil: waitingUntil.toISOString() } : {}),
  };
  const state = { ...soFar, ...chain.result };
  const steps = state.steps.map((step) => {
    const journalled = facts.journal.find((one) => one.step === step.step);
    return {
      ...withSpend(step, spent),
      // The workflow does not count the calls of an activity of the host.
      ...(step.kind === 'activity' && journalled ? { attempts: journalled.attempts } : {}),
      ...(journalled?.value ? { value: journalled.value } : {}),
      ...(step.failure ? { failure: inFull(step.failure, failures[step.step]) } : {}),
    };
  });
  return {
    ...state,
    ...(facts.brief ? { brief: facts.brief } : {}),
    steps,
    warnings: state.warnings.map((warning) => warningInFull(warning, failures)),
    ...(state.failure
      ? { failure: inFull(state.failure, failureOfChain(state.failure, steps, failures)) }
      : {}),
  };
}

function stepsSoFar(chain: ChainRow, journal: readonly JournalledStep[]): StepState[] {
  const steps = (chain.plan ?? []).map((planned) =>
    stepState(
      planned,
      journal.find(({ step }) => step === planned.name),
    ),
  );
  // A step that waits although none of its attempts does: the label names it.
  const [waits, ...reason] = chain.waitingFor?.split(': ') ?? [];
  return steps.map((step) =>
    step.step === waits ? { ...step, status: 'waiting', reason: reason.join(': ') } : step,
  );
}

function stepState({ name, kind, role }: PlannedStep, journalled: JournalledStep | undefined): StepState {
  const { result, failure } = journalled ?? {};
  return {
    step: name,
    kind,
    ...(role ? { role } : {}),
    status: journalled?.status ?? 'pending',
    attempts: journalled?.attempts ?? 0,
    oldSessionId: result?.oldSessionId ?? journalled?.baseSessionId ?? null,
    newSessionId: result?.newSessionId ?? null,
    turns: result?.turns ?? 0,
    usage: result?.usage ?? { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
    costUsd: result?.costUsd ?? 0,
    durationMs: result?.durationMs ?? 0,
    ...(journalled?.status === 'waiting' && failure ? { reason: failure.message } : {}),
    ...(journalled?.status === 'failed' && failure ? { failure } : {}),
  };
}

/** The ledger also knows what failed attempts took, and costs that became known after the step had ended. */
function withSpend(step: StepState, spent: ChainSpend | undefined): StepState {
  const known = spent?.steps.find((one) => one.step === step.step);
  if (!known) return step;
  const { turns, usage, costUsd, durationMs } = known;
  return { ...step, turns, usage, costUsd, durationMs, attempts: Math.max(step.attempts, known.attempts) };
}

/**
 * A failure as it was noted in full, where it is the same one: of an activity's failure a workflow knows the code only. What it
 * says of itself, such as which time-out passed, stands. One that SQL wrote (a chain that was taken over, an attempt whose end
 * was not seen) has no remedy of its own.
 */
function inFull(failure: Failure, noted: Failure | undefined): Failure {
  const isCodeOnly = failure.message === failureOfCode(failure.code).message;
  if (noted?.code === failure.code && isCodeOnly) return noted;
  return { ...failure, remedy: failure.remedy || remedyFor(failure.code) };
}

/** What failed the chain: the last step with this failure, or its opening. */
function failureOfChain(
  { code }: Failure,
  steps: readonly StepState[],
  failures: ChainRow['failures'],
): Failure | undefined {
  const ofSteps = steps.flatMap(({ failure }) => (failure?.code === code ? [failure] : []));
  return ofSteps.at(-1) ?? Object.values(failures).find((noted) => noted.code === code);
}

/** A warning `<step>: <summary of its failure>` with the full message in place of the summary. */
function warningInFull(warning: string, failures: ChainRow['failures']): string {
  const noted = Object.entries(failures).find(
    ([step, { code }]) => warning === `${step}: ${failureOfCode(code).message}`,
  );
  return noted ? `${noted[0]}: ${noted[1].message}` : warning;
}
