import type { SDKResultMessage, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { Usage } from '../contracts/chain.js';
import {
  countersByModel,
  lastCounters,
  noUsage,
  sumUsage,
  type Counters,
  type ModelCounters,
} from './entries.js';

const usageFields = Object.keys(noUsage) as (keyof Usage)[];

/**
 * What one run itself spent, from the running totals at its end. Claude Code continues the totals of the forked
 * session; versions before 2.1.282 did not, and a killed session leaves none. The tokens show which case it is: the
 * base's totals are subtracted when the run's totals contain them and are closer to base and own turns together than
 * to the own turns alone. Never negative.
 */
export function ownSpend(total: Counters, base: Counters | null, ownTurns: Usage): Counters {
  const taken = base !== null && carriesOn(total, base, ownTurns) ? base : null;
  const byModel = Object.entries(total.byModel).map(([model, counters]): [string, ModelCounters] => {
    const before = taken?.byModel[model];
    return [
      model,
      {
        ...mapUsage((field) => counters[field] - (before?.[field] ?? 0)),
        costUsd: toNanoDollars(counters.costUsd - (before?.costUsd ?? 0)),
      },
    ];
  });
  return {
    costUsd: toNanoDollars(total.costUsd - (taken?.costUsd ?? 0)),
    apiDurationMs: Math.max(0, total.apiDurationMs - (taken?.apiDurationMs ?? 0)),
    usage: mapUsage((field) => total.usage[field] - (taken?.usage[field] ?? 0)),
    byModel: Object.fromEntries(byModel.filter(([, own]) => usageFields.some((field) => own[field] > 0))),
  };
}

/**
 * The agent's running totals at the end of a run: from the result, or from the counters that it stored at its end;
 * null where it was killed before either.
 */
export function runningTotals(
  result: SDKResultMessage | null,
  appended: SessionStoreEntry[],
): Counters | null {
  const stored = lastCounters(appended);
  if (result === null) return stored;
  const byModel = countersByModel(result.modelUsage);
  return {
    costUsd: result.total_cost_usd,
    // The result of a compaction says 0; the counters stored after it are right.
    apiDurationMs: Math.max(result.duration_api_ms, stored?.apiDurationMs ?? 0),
    usage: sumUsage(Object.values(byModel)),
    byModel,
  };
}

function carriesOn(total: Counters, base: Counters, ownTurns: Usage): boolean {
  const holdsBase = usageFields.every((field) => total.usage[field] >= base.usage[field]);
  const distanceTo = (expected: (field: keyof Usage) => number) =>
    usageFields.reduce((sum, field) => sum + Math.abs(total.usage[field] - expected(field)), 0);
  const carried = distanceTo((field) => base.usage[field] + ownTurns[field]);
  const startedAgain = distanceTo((field) => ownTurns[field]);
  return holdsBase && total.costUsd >= base.costUsd - 1e-9 && carried <= startedAgain;
}

/** Sums of binary fractions: keeps 0.044 - 0.034 from being stored as 0.009999999999999995. Never negative. */
function toNanoDollars(costUsd: number): number {
  return Math.max(0, Math.round(costUsd * 1e9) / 1e9);
}

function mapUsage(valueOf: (field: keyof Usage) => number): Usage {
  return {
    inputTokens: Math.max(0, valueOf('inputTokens')),
    outputTokens: Math.max(0, valueOf('outputTokens')),
    cacheReadTokens: Math.max(0, valueOf('cacheReadTokens')),
    cacheWriteTokens: Math.max(0, valueOf('cacheWriteTokens')),
  };
}
