import type { Rule } from './checker.js';
import type { Operation } from './history.js';

/** Operations by kind and outcome, as lines of a table. */
export function countOperations(history: readonly Operation[]): string[] {
  const counts = new Map<string, Map<string, number>>();
  for (const { call, answer } of history) {
    const outcomes = counts.get(call.kind) ?? new Map<string, number>();
    const outcome = !answer ? 'unknown' : answer.code ? `${answer.outcome} (${answer.code})` : answer.outcome;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    counts.set(call.kind, outcomes);
  }
  return [...counts].map(([kind, outcomes]) => {
    const total = [...outcomes.values()].reduce((sum, count) => sum + count, 0);
    const parts = [...outcomes]
      .sort(([, a], [, b]) => b - a)
      .map(([outcome, count]) => `${count} ${outcome}`);
    return `  ${kind.padEnd(12)}${String(total).padStart(7)}   ${parts.join(', ')}`;
  });
}

/** A rule's verdict, with the first of what speaks against it. */
export function verdictOf({ name, violations }: Rule): string[] {
  const more = violations.length > 3 ? [`    … and ${violations.length - 3} more`] : [];
  return [
    `  ${violations.length === 0 ? '✓' : '✗'} ${name}`,
    ...violations.slice(0, 3).map((violation) => `    ${violation}`),
    ...more,
  ];
}

/** Why operations have no answer. */
export function countUnknowns(history: readonly Operation[]): string {
  const reasons = history.flatMap(({ answer, error }) => (answer ? [] : [reasonOf(error)]));
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`);
  return `  ${reasons.length} without an answer: ${parts.join(', ')}`;
}

function reasonOf(error: string | undefined): string {
  if (error === undefined) return 'of a writer that was killed';
  return error.includes('statement timeout') ? 'out of time' : 'on a connection that broke';
}
