import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { AgentTask, Evidence } from '../agent/kinds/kind.js';
import { kinds } from '../agent/kinds/kinds.js';
import { SessionChainError } from '../contracts/failures.js';
import type { ProjectId, SessionId } from '../contracts/ids.js';
import {
  type Attempt,
  type EarlierAttempt,
  callsNotedBefore,
  noteEvidence,
  quarantineSession,
} from '../storage/operations/operations.js';
import { loadSubagents } from '../storage/transcripts/store.js';
import { answerText, ownEntries, toolUseIds } from '../transcript/entries.js';
import { findHole } from '../transcript/hole.js';
import type { ActivityDependencies } from './dependencies.js';

/** An earlier attempt that left something useful. */
export interface EarlierWork extends EarlierAttempt {
  evidence: Exclude<Evidence, { kind: 'nothing' }>;
  /** What the operation has added to its base so far. */
  own: SessionStoreEntry[];
  /** What the subagents of all earlier attempts did, where there is work left. */
  bySubagents: SessionStoreEntry[];
  /** The model's last message. */
  text: string;
}

/**
 * Judges the sealed sessions of earlier attempts from the store alone: one that finished counts before one that did
 * not, and a newer before an older one. Null when none of them is worth continuing from. `hint` says which to look at
 * first; it does not change what is found. A transcript with a hole is quarantined.
 */
export async function findEarlierWork(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'log'>,
  { projectId, task }: { projectId: ProjectId; task: AgentTask },
  earlier: EarlierAttempt[],
  hint: string | null = null,
): Promise<EarlierWork | null> {
  const store = deps.createTranscriptStore(projectId);
  const load = async (sessionId: SessionId) => (await store.load({ projectKey: '', sessionId })) ?? [];
  /**
   * A fork repeats what it continues from, except for what comes before a compaction, which is only in the earlier
   * session.
   */
  const inheritedOnly = async (
    { parentSessionId }: EarlierAttempt,
    repeated: SessionStoreEntry[],
  ): Promise<SessionStoreEntry[]> => {
    const parent = earlier.find(({ sessionId }) => sessionId === parentSessionId);
    const entries = parent ? await loadWhole(load, parent.sessionId) : [];
    if (!parent || typeof entries === 'string') return [];
    return ownEntries([...(await inheritedOnly(parent, entries)), ...entries], repeated);
  };
  const bases = new Map<SessionId, SessionStoreEntry[]>();
  const partial: EarlierWork[] = [];
  for (const attempt of [...earlier].sort(
    (one, other) => Number(other.sessionId === hint) - Number(one.sessionId === hint),
  )) {
    const { sessionId, baseSessionId } = attempt;
    if (baseSessionId !== null && !bases.has(baseSessionId))
      bases.set(baseSessionId, await load(baseSessionId));
    const entries = await loadWhole(load, sessionId);
    if (typeof entries === 'string') {
      await quarantineSession(deps.pool, projectId, sessionId, entries);
      await noteEvidence(deps.pool, projectId, sessionId, { kind: 'nothing', rule: entries });
      deps.log.warn('transcript.quarantined', { quarantined: sessionId, reason: entries });
      continue;
    }
    const base = (baseSessionId && bases.get(baseSessionId)) || [];
    const own = ownEntries([...(await inheritedOnly(attempt, entries)), ...entries], base);
    const evidence = kinds[task.kind].evidence(task, own);
    await noteEvidence(deps.pool, projectId, sessionId, evidence);
    if (evidence.kind === 'nothing') continue;
    deps.log.info('evidence.found', { earlier: sessionId, kind: evidence.kind, rule: evidence.rule });
    const work = { ...attempt, evidence, own, bySubagents: [], text: answerText(own) };
    if (evidence.kind === 'finished') return work;
    partial.push(work);
  }
  const [newest] = earlier.flatMap((one) => partial.filter(({ sessionId }) => sessionId === one.sessionId));
  if (!newest) return null;
  const transcripts = await Promise.all(
    // They only name files; one that cannot be read stops nothing.
    earlier.map(({ sessionId }) => loadSubagents(store, sessionId).catch(() => [])),
  );
  return { ...newest, bySubagents: transcripts.flat().flatMap(({ entries }) => entries) };
}

/**
 * What to tell a session that goes on after `known` of tool calls that earlier attempts of the operation let run, and
 * whose entries are not among it; undefined for none.
 */
export async function warningOfLostCalls(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  attempt: Attempt,
  known: SessionStoreEntry[],
): Promise<string | undefined> {
  if (attempt.attempt === 1) return undefined;
  const stored = new Set(toolUseIds(known));
  const lost = (await callsNotedBefore(pool, attempt)).filter(({ id }) => !stored.has(id));
  if (lost.length === 0) return undefined;
  return [
    'An earlier try was stopped during these tool calls, before their results were stored. Each may have run, in part or ' +
      'in full: check what it did before you make it again.',
    ...lost.map(({ name, input }) => `${name}: ${input}`),
  ].join('\n\n');
}

/** The entries of a session, or why they cannot be used: an entry, or the predecessor of one, is missing. */
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
