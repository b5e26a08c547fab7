/**
 * The first entry whose predecessor is not there; null for a transcript without a hole. What follows a hole was said to
 * a model that had seen more than is stored. The order does not matter: a store may give entries in any.
 */
export function findHole(entries: readonly { uuid?: string; parentUuid?: unknown }[]): string | null {
  const there = new Set<unknown>(entries.map(({ uuid }) => uuid));
  const orphan = entries.find(({ parentUuid }) => typeof parentUuid === 'string' && !there.has(parentUuid));
  return orphan === undefined ? null : (orphan.uuid ?? String(orphan.parentUuid));
}
