import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';

/**
 * The first entry whose predecessor is missing; null for a transcript without a hole. What follows a hole was told to
 * a model that had seen more than is stored. The order does not matter: a store may return entries in any order.
 */
export function findHole(entries: readonly { uuid?: string; parentUuid?: unknown }[]): string | null {
  const there = new Set<unknown>(entries.map(({ uuid }) => uuid));
  const orphan = entries.find(
    // An empty parent counts as none.
    ({ parentUuid }) => typeof parentUuid === 'string' && parentUuid !== '' && !there.has(parentUuid),
  );
  return orphan === undefined ? null : (orphan.uuid ?? String(orphan.parentUuid));
}

/** A transcript in which no entry's predecessor is missing. */
export interface Bridged {
  entries: SessionStoreEntry[];
  /** Indexes of the entries that now follow another one. */
  bridged: number[];
  /** Indexes of the entries before which nothing was found; they now begin a conversation. */
  begun: number[];
}

/**
 * Closes the holes of a transcript as Claude Code does when it resumes one (seen with 2.1.330): an entry whose
 * predecessor is missing, or is not part of a conversation, follows the last message before it in time, in the same
 * line (main or side); if there is none in the 5 s before it, the conversation begins there.
 */
export function bridgeHoles(original: readonly SessionStoreEntry[]): Bridged {
  const entries = [...original];
  const known = new Set<unknown>(entries.map(({ uuid }) => uuid));
  const linked = new Set<unknown>(entries.filter(isLinked).map(({ uuid }) => uuid));
  const orphans = [...entries.entries()]
    .filter(([, entry]) => entry.parentUuid && !(isLinked(entry) ? linked : known).has(entry.parentUuid))
    .map(([index]) => index);
  const outcome: Bridged = { entries, bridged: [], begun: [] };
  if (orphans.length === 0) return outcome;
  const childrenOf = new Map<unknown, SessionStoreEntry[]>();
  for (const entry of entries) addTo(childrenOf, entry.parentUuid, entry);
  for (const index of orphans) {
    const orphan = entries[index] as SessionStoreEntry;
    const before = lastBefore(orphan, entries, descendants(orphan, childrenOf));
    const mended = { ...orphan, parentUuid: before?.uuid ?? null };
    entries[index] = mended;
    addTo(childrenOf, mended.parentUuid, mended);
    (before ? outcome.bridged : outcome.begun).push(index);
  }
  return outcome;
}

/**
 * Index of the message before which a model sees nothing, although there are messages: the chain of the conversation's
 * last message ends at it, and it names no parent. Null where it is the first message, or the one after a compaction.
 */
export function lateBeginning(entries: readonly SessionStoreEntry[]): number | null {
  const indexOf = new Map<unknown, number>();
  for (const [index, entry] of entries.entries()) if (isLinked(entry)) indexOf.set(entry.uuid, index);
  const isSaid = (entry: SessionStoreEntry) => isSaying(entry) && isLinked(entry) && !entry.isSidechain;
  let root = entries.findLastIndex(isSaid);
  const seen = new Set<number>();
  for (let index: number | undefined = root; index !== undefined && !seen.has(index);) {
    seen.add(index);
    root = index;
    index = indexOf.get(entries[index]?.parentUuid);
  }
  const first = entries[root];
  if (!first || first.parentUuid || first.subtype === 'compact_boundary') return null;
  return entries.slice(0, root).some((entry, index) => isSaid(entry) && !seen.has(index)) ? root : null;
}

/** Whether an entry is what a user or a model said. */
export function isSaying({ type }: SessionStoreEntry): boolean {
  return type === 'user' || type === 'assistant';
}

function addTo(
  childrenOf: Map<unknown, SessionStoreEntry[]>,
  parent: unknown,
  child: SessionStoreEntry,
): void {
  const children = childrenOf.get(parent);
  if (children) children.push(child);
  else childrenOf.set(parent, [child]);
}

/** How far back Claude Code looks. */
const bridgeMs = 5_000;

/** Of several at the same time, the first. */
function lastBefore(
  orphan: SessionStoreEntry,
  entries: readonly SessionStoreEntry[],
  excluded: ReadonlySet<unknown>,
): SessionStoreEntry | undefined {
  const orphanMs = timeOf(orphan);
  let last: SessionStoreEntry | undefined;
  let lastMs = orphanMs - bridgeMs;
  for (const entry of entries) {
    const entryMs = timeOf(entry);
    if (!(entryMs <= orphanMs && (last ? entryMs > lastMs : entryMs >= lastMs))) continue;
    if (!isMessage(entry) || entry.isSidechain !== orphan.isSidechain || excluded.has(entry.uuid)) continue;
    last = entry;
    lastMs = entryMs;
  }
  return last;
}

/** The uuids of an entry and of all that follow it. */
function descendants(
  entry: SessionStoreEntry,
  childrenOf: ReadonlyMap<unknown, readonly SessionStoreEntry[]>,
): Set<unknown> {
  const found = new Set<unknown>();
  const left = [entry.uuid];
  while (left.length > 0) {
    const uuid = left.pop();
    if (uuid === undefined || found.has(uuid)) continue;
    found.add(uuid);
    left.push(...(childrenOf.get(uuid) ?? []).map((child) => child.uuid));
  }
  return found;
}

/** Whether Claude Code follows links through an entry of this type. */
function isLinked({ type, uuid }: SessionStoreEntry): boolean {
  return (
    typeof uuid === 'string' && uuid !== '' && /^(user|assistant|attachment|system|progress)$/.test(type)
  );
}

function isMessage(entry: SessionStoreEntry): boolean {
  return isLinked(entry) && entry.type !== 'progress' && entry.subtype !== 'file_snapshot';
}

/** NaN, which compares as false, where there is none. */
function timeOf({ timestamp }: SessionStoreEntry): number {
  return typeof timestamp === 'string' ? Date.parse(timestamp) : Number.NaN;
}
