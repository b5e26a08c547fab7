import type { SDKResultMessage, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { Usage } from '../contracts/chain.js';
import { lastCounters, noUsage, type Counters } from './transcript.js';

const usageFields = Object.keys(noUsage) as (keyof Usage)[];

/**
 * What one run spent itself, from the running totals at its end. Claude Code carries the totals of the forked session
 * on; its versions before 2.1.282 did not, and a session that was killed leaves none to carry on. Which it was shows
 * in the tokens: the base's are taken off when the totals hold them and come nearer to base and own turns together
 * than to the own turns alone. Never negative.
 */
export function ownSpend(total: Counters, base: Counters | null, ownTurns: Usage): Counters {
  if (base === null || !carriesOn(total, base, ownTurns)) {
    return { ...total, costUsd: toNanoDollars(total.costUsd) };
  }
  return {
    costUsd: Math.max(0, toNanoDollars(total.costUsd - base.costUsd)),
    apiDurationMs: Math.max(0, total.apiDurationMs - base.apiDurationMs),
    usage: mapUsage((field) => total.usage[field] - base.usage[field]),
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
  const models = Object.values(result.modelUsage);
  const sum = (valueOf: (model: (typeof models)[number]) => number) =>
    models.reduce((total, model) => total + valueOf(model), 0);
  return {
    costUsd: result.total_cost_usd,
    // The result of a compaction says 0; the counters stored after it know better.
    apiDurationMs: Math.max(result.duration_api_ms, stored?.apiDurationMs ?? 0),
    usage: {
      inputTokens: sum((model) => model.inputTokens),
      outputTokens: sum((model) => model.outputTokens),
      cacheReadTokens: sum((model) => model.cacheReadInputTokens),
      cacheWriteTokens: sum((model) => model.cacheCreationInputTokens),
    },
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

/** Sums of binary fractions: keeps 0.044 - 0.034 from being stored as 0.009999999999999995. */
function toNanoDollars(costUsd: number): number {
  return Math.round(costUsd * 1e9) / 1e9;
}

function mapUsage(valueOf: (field: keyof Usage) => number): Usage {
  return {
    inputTokens: valueOf('inputTokens'),
    outputTokens: valueOf('outputTokens'),
    cacheReadTokens: valueOf('cacheReadTokens'),
    cacheWriteTokens: valueOf('cacheWriteTokens'),
  };
}
