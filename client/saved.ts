import type { AttemptDetails } from '../storage/chains/chain-journal.js';

/**
 * What recovery has saved a step or a chain: the work of attempts that ended without a commit (their worker was killed, say) and that a
 * later attempt used nevertheless, so that the model was not asked and paid for it again. Counted are the attempts from which the
 * newest attempt of each round goes on, directly or through others, with what they themselves spent. What the continuing attempt
 * spends on reading the conversation again is its own cost, and not taken off.
 */
export interface Saved {
  /** US dollars that these attempts had spent, as far as they are known. */
  costUsd: number;
  /** Those among them whose cost is unknown, and so is not in `costUsd`. */
  attemptsOfUnknownCost: number;
  /** Model turns that were not asked for again. */
  turns: number;
  /** Attempts that had finished their work, which was committed as it was. */
  adopted: number;
  /** Attempts that had begun their work, which the next one continued. */
  continued: number;
}

type Attempt = Pick<
  AttemptDetails,
  'round' | 'sessionId' | 'parentSessionId' | 'adopts' | 'costUsd' | 'turns'
>;

/** Of one step, by its attempts, oldest first. */
export function savedOf(journal: readonly Attempt[]): Saved {
  const newest = new Map(journal.map((attempt) => [attempt.round, attempt]));
  return sumSaved([...newest.values()].map((attempt) => usedBy(attempt, journal)));
}

export function sumSaved(all: readonly Saved[]): Saved {
  const sum = (of: keyof Saved) => all.reduce((total, one) => total + one[of], 0);
  return {
    costUsd: Math.round(sum('costUsd') * 1e9) / 1e9,
    attemptsOfUnknownCost: sum('attemptsOfUnknownCost'),
    turns: sum('turns'),
    adopted: sum('adopted'),
    continued: sum('continued'),
  };
}

function usedBy({ sessionId, parentSessionId, adopts }: Attempt, journal: readonly Attempt[]): Saved {
  const used = journal.find(
    (one) => one.sessionId !== sessionId && one.sessionId === (adopts ?? parentSessionId),
  );
  if (!used) return sumSaved([]);
  const own = {
    costUsd: used.costUsd ?? 0,
    attemptsOfUnknownCost: used.costUsd === null ? 1 : 0,
    turns: used.turns ?? 0,
    adopted: adopts === null ? 0 : 1,
    continued: adopts === null ? 1 : 0,
  };
  // What comes before it in the journal: a session forks only what was there.
  return sumSaved([own, usedBy(used, journal.slice(0, journal.indexOf(used)))]);
}
