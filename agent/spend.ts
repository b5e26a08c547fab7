import type { Usage } from '../contracts/chain.js';
import { noUsage, type Counters } from './transcript.js';

const usageFields = Object.keys(noUsage) as (keyof Usage)[];

/**
 * What one run spent itself, from the running totals at its end. Claude Code carries the totals of the forked session
 * on (its versions before 2.1.282 did not, and a session that was killed leaves none to carry on), so the base's
 * totals are taken off exactly when the run's totals hold them: no counter is below the base's plus what the
 * run's own stored turns used. Never negative.
 */
export function ownSpend(total: Counters, base: Counters | null, ownTurns: Usage): Counters {
  if (base === null || !carriesOn(total, base, ownTurns)) return total;
  return {
    // Sums of binary fractions: keeps 0.044 - 0.034 from being stored as 0.009999999999999995.
    costUsd: Math.max(0, Math.round((total.costUsd - base.costUsd) * 1e9) / 1e9),
    apiDurationMs: Math.max(0, total.apiDurationMs - base.apiDurationMs),
    usage: mapUsage((field) => total.usage[field] - base.usage[field]),
  };
}

function carriesOn(total: Counters, base: Counters, ownTurns: Usage): boolean {
  const enough = usageFields.every((field) => total.usage[field] >= base.usage[field] + ownTurns[field]);
  return enough && total.costUsd >= base.costUsd - 1e-9;
}

function mapUsage(valueOf: (field: keyof Usage) => number): Usage {
  return {
    inputTokens: valueOf('inputTokens'),
    outputTokens: valueOf('outputTokens'),
    cacheReadTokens: valueOf('cacheReadTokens'),
    cacheWriteTokens: valueOf('cacheWriteTokens'),
  };
}
