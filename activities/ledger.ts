import { ownSpend } from '../agent/spend.js';
import { lastCounters, lastModel, ownEntries, usageOfTurns } from '../agent/transcript.js';
import type { ProjectId } from '../contracts/ids.js';
import { accountInterrupted, unaccountedAttempts } from '../storage/ledger.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Accounts for attempts that died before they could: their tokens come from their stored transcripts, their cost from
 * the agent's own counters where it had written them.
 */
export async function settleLedger(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore'>,
  projectId: ProjectId,
): Promise<void> {
  const attempts = await unaccountedAttempts(deps.pool, projectId);
  if (attempts.length === 0) return;
  const store = deps.createTranscriptStore(projectId);
  for (const { attemptId, sessionId, parentSessionId } of attempts) {
    const entries = (await store.load({ projectKey: '', sessionId })) ?? [];
    const base = parentSessionId
      ? ((await store.load({ projectKey: '', sessionId: parentSessionId })) ?? [])
      : [];
    const own = ownEntries(entries, base);
    const { turns, usage } = usageOfTurns(own);
    const counters = lastCounters(own);
    const spent = counters ? ownSpend(counters, lastCounters(base), usage) : null;
    await accountInterrupted(deps.pool, attemptId, {
      turns,
      usage,
      costUsd: spent?.costUsd ?? (turns === 0 ? 0 : null),
      model: lastModel(own),
    });
  }
}
