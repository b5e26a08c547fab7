import { createHash } from 'node:crypto';
import type { Stored } from '../../transcript/codec.js';

/** A main transcript as it was loaded: where each of its texts is, by the beginning of the text's digest. */
export interface LoadedTranscript {
  sessionId: string;
  places: ReadonlyMap<number, number>;
}

/** An append in which what a loaded transcript holds already is referred to. */
export interface References {
  baseSessionId: string;
  /** Pairs of numbers, see session_chain.referred_texts. */
  runs: number[];
  /** The SHA-256 of all digests: what is referred to is what was meant, or the append is refused. */
  proof: Buffer;
  /** What is not in the loaded transcript, and is sent. */
  own: Stored[];
}

/** Entries of a loaded transcript that are remembered, at about 50 bytes each; what comes later is sent. */
const rememberedEntries = 100_000;

export function loadedTranscript(sessionId: string, digests: readonly Buffer[]): LoadedTranscript {
  const places = new Map<number, number>();
  for (const [place, digest] of digests.slice(0, rememberedEntries).entries()) {
    places.set(keyOf(digest), place);
  }
  return { sessionId, places };
}

/** Null where the append repeats nothing of the loaded transcript. */
export function referTo(
  { sessionId, places }: LoadedTranscript,
  contents: readonly Stored[],
): References | null {
  const runs: { from: number; length: number }[] = [];
  const own: Stored[] = [];
  for (const content of contents) {
    const place = places.get(keyOf(content.digest)) ?? null;
    const last = runs.at(-1);
    const goesOn =
      last && (place === null ? last.from < 0 : last.from >= 0 && place === last.from + last.length);
    if (goesOn) last.length++;
    else runs.push({ from: place ?? -1 - own.length, length: 1 });
    if (place === null) own.push(content);
  }
  if (own.length === contents.length) return null;
  const proof = createHash('sha256');
  for (const { digest } of contents) proof.update(digest);
  return {
    baseSessionId: sessionId,
    runs: runs.flatMap(({ from, length }) => [from, length]),
    proof: proof.digest(),
    own,
  };
}

function keyOf(digest: Buffer): number {
  return digest.readUIntBE(0, 6);
}
