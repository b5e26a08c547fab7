import { deriveCost, type PricedUsage, undatedModel } from '../transcript/prices.js';
import { ownSpend } from '../transcript/counters.js';
import {
  agentVersion,
  lastCounters,
  lastModel,
  ownEntries,
  usageOfTurns,
  withUnknownCost,
} from '../transcript/entries.js';
import type { ModelUsage } from '../contracts/chain.js';
import type { ProjectId, SessionId } from '../contracts/ids.js';
import {
  type UnaccountedAttempt,
  accountInterrupted,
  countedUsage,
  unaccountedAttempts,
  uncostedAttempts,
  writeDerivedCost,
} from '../storage/ledger/ledger.js';
import type { AttemptMetrics } from '../storage/ledger/metrics.js';
import { loadSubagents } from '../storage/transcripts/store.js';
import type { ActivityDependencies } from './dependencies.js';

type Dependencies = Pick<ActivityDependencies, 'pool' | 'createTranscriptStore'>;

/**
 * Completes the ledger of a project. Attempts that died before they could account for themselves get their tokens from
 * their stored transcripts, and their cost from the agent's counters where it had written them; missing costs are
 * calculated from what other runs of the same model cost, among them `counted`, which is not in the ledger yet.
 */
export async function settleLedger(
  deps: Dependencies,
  projectId: ProjectId,
  counted: Record<string, ModelUsage> = {},
): Promise<void> {
  for (const attempt of await unaccountedAttempts(deps.pool, projectId)) {
    await accountInterrupted(deps.pool, attempt.attemptId, await metricsOfDead(deps, projectId, attempt));
  }
  const uncosted = await uncostedAttempts(deps.pool, projectId);
  if (uncosted.length === 0) return;
  const others = [counted, ...(await countedUsage(deps.pool, projectId))];
  for (const { attemptId, byModel } of uncosted) {
    const costed = withDerivedCosts(byModel, others);
    if (costed) await writeDerivedCost(deps.pool, attemptId, costed.byModel, costed.costUsd);
  }
}

async function metricsOfDead(
  { createTranscriptStore }: Dependencies,
  projectId: ProjectId,
  { sessionId, parentSessionId, durationMs }: UnaccountedAttempt,
): Promise<AttemptMetrics> {
  const store = createTranscriptStore(projectId);
  // A transcript that can no longer be read proves nothing; the row says that something is unknown.
  const load = async (id: SessionId | null) =>
    (id && (await store.load({ projectKey: '', sessionId: id }).catch(() => null))) || [];
  const base = await load(parentSessionId);
  const own = ownEntries(await load(sessionId), base);
  const subagents = await loadSubagents(store, sessionId).catch(() => []);
  const { turns, usage, byModel } = usageOfTurns([...own, ...subagents.flatMap(({ entries }) => entries)]);
  const counters = lastCounters(own);
  const spent = counters && ownSpend(counters, lastCounters(base), usage);
  return {
    usage: spent?.usage ?? usage,
    byModel: spent?.byModel ?? withUnknownCost(byModel),
    costUsd: spent?.costUsd ?? (turns === 0 ? 0 : null),
    turns,
    durationMs,
    apiDurationMs: spent ? Math.round(spent.apiDurationMs) : null,
    model: lastModel(own),
    agentVersion: agentVersion(own),
    // The counters are the last thing that an agent writes: if they are there, nothing was under way any more.
    turnInFlightUnknown: counters === null,
  };
}

/** Null if the cost of a model cannot be determined. */
function withDerivedCosts(
  byModel: Record<string, ModelUsage>,
  others: readonly Record<string, ModelUsage>[],
): { byModel: Record<string, ModelUsage>; costUsd: number } | null {
  const costed: Record<string, PricedUsage> = {};
  for (const [model, usage] of Object.entries(byModel)) {
    const costUsd = usage.costUsd ?? deriveCost(usage, runsOf(model, others));
    if (costUsd === null) return null;
    costed[model] = { ...usage, costUsd };
  }
  const costUsd = Object.values(costed).reduce((total, usage) => total + usage.costUsd, 0);
  return { byModel: costed, costUsd };
}

function runsOf(model: string, others: readonly Record<string, ModelUsage>[]): PricedUsage[] {
  return others
    .flatMap((byModel) => Object.entries(byModel))
    .filter(([other]) => undatedModel(other) === undatedModel(model))
    .flatMap(([, usage]) => (usage.costUsd === null ? [] : [{ ...usage, costUsd: usage.costUsd }]));
}
