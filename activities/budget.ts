import type { RunLimits } from '../agent/run.js';
import type { StepInput } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { type Limit, type LimitOwner, limitName, limitRemedy } from '../contracts/limits.js';
import { type ChainSpend, type Spent, chainElapsedMs, chainSpend } from '../storage/ledger/ledger.js';
import type { Pool } from '../storage/db/pool.js';

/**
 * The limits of the next attempt: the step's limits and the chain's budget, less what earlier attempts have spent.
 * Throws BUDGET_EXCEEDED where nothing is left, before money is spent.
 */
export async function remainingLimits(pool: Pool, input: StepInput): Promise<RunLimits> {
  const { budget, step } = input;
  const { limits } = input.plan;
  const spent = await chainSpend(pool, input);
  const spentByStep = spent.steps.find((one) => one.step === step) ?? nothing;
  const elapsedMs = await chainElapsedMs(pool, input);
  const left: Record<Limit, [step: number | undefined, chain: number | undefined]> = {
    cost: [less(limits.maxCostUsd, spentByStep.costUsd), less(budget.maxCostUsd, spent.costUsd)],
    turns: [less(limits.maxTurns, spentByStep.turns), less(budget.maxTurns, spent.turns)],
    time: [limits.timeoutMs, less(budget.timeoutMs, elapsedMs)],
  };
  const ownerOf = (limit: Limit): LimitOwner => {
    const [ofStep = Infinity, ofChain = Infinity] = left[limit];
    return ofChain <= ofStep ? 'chain' : 'step';
  };
  const least = (limit: Limit): number | undefined => {
    const [ofStep, ofChain] = left[limit];
    const least = Math.min(ofStep ?? Infinity, ofChain ?? Infinity);
    if (least > 0) return least === Infinity ? undefined : least;
    const owner = ownerOf(limit);
    throw new SessionChainError(
      'BUDGET_EXCEEDED',
      `The ${limitName(limit, owner)} is used up: ${describe(spent, spentByStep, step, elapsedMs)}.`,
      limitRemedy({ limit, owner }),
      { reached: { limit, owner } },
    );
  };
  const maxCostUsd = least('cost');
  return {
    maxTurns: least('turns') ?? limits.maxTurns,
    timeoutMs: Math.ceil(least('time') ?? limits.timeoutMs),
    ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
    limitsOf: { cost: ownerOf('cost'), turns: ownerOf('turns'), time: ownerOf('time') },
  };
}

const nothing = { costUsd: 0, turns: 0, attemptsOfUnknownCost: 0 };

function less(limit: number | undefined, spent: number): number | undefined {
  return limit === undefined ? undefined : limit - spent;
}

function describe(
  chain: ChainSpend,
  byStep: Pick<Spent, 'costUsd' | 'turns'>,
  step: string,
  elapsedMs: number,
): string {
  return [
    `the ${step} step took $${byStep.costUsd.toFixed(4)} and ${byStep.turns} turns`,
    `the chain $${chain.costUsd.toFixed(4)}, ${chain.turns} turns and ${Math.round(elapsedMs / 1000)} s`,
    ...(chain.attemptsOfUnknownCost > 0
      ? [`${chain.attemptsOfUnknownCost} attempts of unknown cost aside`]
      : []),
  ].join('; ');
}
