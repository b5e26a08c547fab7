import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { type Evidence, judgeEvidence } from '../agent/evidence.js';
import { ownEntries } from '../transcript/entries.js';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import type { AgentTask } from '../contracts/steps.js';
import { findHole } from '../transcript/hole.js';
import type { Attempt } from '../storage/operations/attempts.js';
import { quarantineSession } from '../storage/operations/attempts.js';
import type { ActivityDependencies } from './dependencies.js';

/** An earlier attempt that left something worth having. */
export interface EarlierWork {
  sessionId: SessionId;
  evidence: Exclude<Evidence, { kind: 'nothing' }>;
  /** What the step has added to its base so far. */
  own: SessionStoreEntry[];
}

/**
 * Judges the sealed sessions of earlier attempts from the store alone: one that finished counts before one that did not,
 * and a newer before an older one. Null when none of them is worth going on from. `hint` says which to look at first, and
 * changes nothing of what is found. A transcript with a hole is quarantined.
 */
export async function findEarlierWork(
  deps: ActivityDependencies,
  attempt: Pick<Attempt, 'projectId' | 'baseSessionId'> & { step: AgentTask },
  earlier: SessionId[],
  hint: string | null = null,
): Promise<EarlierWork | null> {
  if (earlier.length === 0) return null;
  const store = deps.createTranscriptStore(attempt.projectId);
  const load = async (sessionId: SessionId) => (await store.load({ projectKey: '', sessionId })) ?? [];
  const base = attempt.baseSessionId ? await load(attempt.baseSessionId) : [];
  const partial: EarlierWork[] = [];
  for (const sessionId of [...earlier].sort((one, other) => Number(other === hint) - Number(one === hint))) {
    const entries = await loadWhole(load, sessionId);
    if (typeof entries === 'string') {
      await quarantineSession(deps.pool, attempt.projectId, sessionId, entries);
      deps.log.warn({ sessionId, reason: entries }, 'A transcript with a hole was quarantined.');
      continue;
    }
    const own = ownEntries(entries, base);
    const evidence = judgeEvidence(attempt.step, own, deps.definition.steps.metadata.schema);
    deps.log.info({ sessionId, step: attempt.step, ...evidence }, 'Judged an earlier attempt.');
    if (evidence.kind === 'finished') return { sessionId, evidence, own };
    if (evidence.kind === 'partial') partial.push({ sessionId, evidence, own });
  }
  const [newest] = earlier.flatMap((id) => partial.filter(({ sessionId }) => sessionId === id));
  return newest ?? null;
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
