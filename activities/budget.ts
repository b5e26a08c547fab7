import type { StepInput, StepLimits } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { type Spent, spentSoFar } from '../storage/ledger.js';
import type { Pool } from '../storage/pool.js';

/**
 * What the next attempt may take: the step's limits and the chain's budget, less what earlier attempts have spent.
 * Throws BUDGET_EXCEEDED where nothing is left, before money is spent.
 */
export async function remainingLimits(
  pool: Pool,
  input: StepInput,
): Promise<Omit<StepLimits, 'maxAttempts'>> {
  const { limits, budget, step } = input;
  const spent = await spentSoFar(pool, input, step);
  const least = (what: string, left: (number | undefined)[]): number | undefined => {
    const given = left.filter((value) => value !== undefined);
    const value = given.length > 0 ? Math.min(...given) : undefined;
    if (value === undefined || value > 0) return value;
    throw new SessionChainError(
      'BUDGET_EXCEEDED',
      `The ${what} of the ${step} step, or of its chain, is used up (${describe(spent)}).`,
    );
  };
  const maxCostUsd = least('cost limit', [
    less(limits.maxCostUsd, spent.step.costUsd),
    less(budget.maxCostUsd, spent.chain.costUsd),
  ]);
  const maxTurns = least('limit of model turns', [
    less(limits.maxTurns, spent.step.turns),
    less(budget.maxTurns, spent.chain.turns),
  ]);
  const timeoutMs = least('time limit', [limits.timeoutMs, less(budget.timeoutMs, spent.chainElapsedMs)]);
  return {
    maxTurns: maxTurns ?? limits.maxTurns,
    timeoutMs: timeoutMs ?? limits.timeoutMs,
    ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
  };
}

function less(limit: number | undefined, spent: number): number | undefined {
  return limit === undefined ? undefined : limit - spent;
}

function describe({ chain, step }: { chain: Spent; step: Spent }): string {
  return `spent: step $${step.costUsd.toFixed(4)} in ${step.turns} turns, chain $${chain.costUsd.toFixed(4)} in ${chain.turns} turns`;
}
