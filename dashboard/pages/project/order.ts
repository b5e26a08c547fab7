import type { LineageNode } from './layout.js';

/**
 * The sessions in the order of the picture: heads by their numbers, the others between them by the time at which they began,
 * and each after the one that it forked.
 */
export function inOrder(nodes: readonly LineageNode[]): LineageNode[] {
  const byId = new Map(nodes.map((node) => [node.sessionId, node]));
  const parentOf = (node: LineageNode) =>
    node.parentSessionId === null ? undefined : byId.get(node.parentSessionId);
  const heads = nodes.filter(({ seq }) => seq !== null).sort((one, other) => seqOf(one) - seqOf(other));
  const positions = new Map(heads.map((node, index) => [node, index]));
  // Clocks differ: a head is taken to begin when the one before it did, at the earliest.
  let latest = -Infinity;
  const begun = heads.map(({ createdAt }) => (latest = Math.max(latest, Date.parse(createdAt))));

  const beside = nodes
    .filter(({ seq }) => seq === null)
    .sort((one, other) => one.createdAt.localeCompare(other.createdAt));
  for (const node of beside) positions.set(node, lastAtOrBefore(begun, Date.parse(node.createdAt)));
  for (const node of beside) {
    for (const one of wayUp(node, parentOf).reverse()) {
      const parent = parentOf(one);
      if (one.seq !== null || parent === undefined) continue;
      positions.set(one, Math.max(positions.get(one) ?? 0, positions.get(parent) ?? 0));
    }
  }

  const placeOf = (node: LineageNode) => positions.get(node) ?? -1;
  const sorted = [...heads, ...beside].sort(
    (one, other) => placeOf(one) - placeOf(other) || Number(one.seq === null) - Number(other.seq === null),
  );
  const ordered = new Set<LineageNode>();
  for (const node of sorted) {
    for (const one of wayUp(node, parentOf, ordered).reverse()) ordered.add(one);
  }
  return [...ordered];
}

/** A session and those that it comes from, as far as they are not known yet; ends where it would go in a circle. */
function wayUp(
  node: LineageNode,
  parentOf: (node: LineageNode) => LineageNode | undefined,
  known: ReadonlySet<LineageNode> = new Set(),
): LineageNode[] {
  const way = new Set<LineageNode>();
  for (
    let one: LineageNode | undefined = node;
    one !== undefined && !known.has(one) && !way.has(one);
    one = parentOf(one)
  )
    way.add(one);
  return [...way];
}

function seqOf({ seq }: LineageNode): number {
  return seq ?? 0;
}

/** The index of the last of rising numbers that is not greater; -1 for none. */
function lastAtOrBefore(rising: readonly number[], value: number): number {
  let [low, high] = [0, rising.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rising[middle] ?? Infinity) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
