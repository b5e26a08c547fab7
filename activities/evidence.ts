import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { type Evidence, findHole, judgeEvidence } from '../agent/evidence.js';
import { ownEntries } from '../agent/transcript.js';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import type { Attempt } from '../storage/attempts.js';
import { quarantineSession } from '../storage/attempts.js';
import type { ActivityDependencies } from './dependencies.js';

/** An earlier attempt that left something worth having. */
export interface EarlierWork {
  sessionId: SessionId;
  evidence: Exclude<Evidence, { kind: 'nothing' }>;
  /** What the step has added to its base so far. */
  own: SessionStoreEntry[];
}

/**
 * Judges the sealed sessions of earlier attempts, the newest first, from the store alone; null when none of them is
 * worth going on from. A transcript with a hole is quarantined.
 */
export async function findEarlierWork(
  deps: ActivityDependencies,
  attempt: Attempt,
  earlier: SessionId[],
): Promise<EarlierWork | null> {
  if (earlier.length === 0) return null;
  const store = deps.createTranscriptStore(attempt.projectId);
  const load = async (sessionId: SessionId) => (await store.load({ projectKey: '', sessionId })) ?? [];
  const base = attempt.baseSessionId ? await load(attempt.baseSessionId) : [];
  for (const sessionId of earlier) {
    const entries = await loadWhole(load, sessionId);
    if (typeof entries === 'string') {
      await quarantineSession(deps.pool, attempt.projectId, sessionId, entries);
      deps.log.warn({ sessionId, reason: entries }, 'A transcript with a hole was quarantined.');
      continue;
    }
    const own = ownEntries(entries, base);
    const evidence = judgeEvidence(attempt.step, own);
    deps.log.info({ sessionId, step: attempt.step, ...evidence }, 'Judged an earlier attempt.');
    if (evidence.kind !== 'nothing') return { sessionId, evidence, own };
  }
  return null;
}

/** The entries of a session, or why they cannot be used: one is missing, from the store or from the line. */
async function loadWhole(
  load: (sessionId: SessionId) => Promise<SessionStoreEntry[]>,
  sessionId: SessionId,
): Promise<SessionStoreEntry[] | string> {
  try {
    const entries = await load(sessionId);
    const hole = findHole(entries);
    return hole === null ? entries : `The entry ${hole} follows one that is missing.`;
  } catch (error) {
    if (error instanceof SessionChainError && error.code === 'SESSION_NOT_IN_STORE') return error.message;
    throw error;
  }
}
