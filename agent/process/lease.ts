import { uptime } from 'node:os';

/** How long an agent may live: as long as its worker can prove that no other attempt has begun. */
export interface Lease {
  /** By {@link uptimeMs}. The agent and all it started are dead by then, unless it is extended before. */
  endsAtMs(): number;
  /** Calls back at every extension, until the returned function is called. */
  onExtended(extended: () => void): () => void;
}

/** The side of the process that proves it. */
export interface HeldLease extends Lease {
  /** An extension after the end is too late. */
  extendTo(endsAtMs: number): void;
}

export function createLease(endsAtMs: number): HeldLease {
  const listeners = new Set<() => void>();
  return {
    endsAtMs: () => endsAtMs,
    onExtended(extended) {
      listeners.add(extended);
      return () => listeners.delete(extended);
    },
    extendTo(later) {
      if (later <= endsAtMs || uptimeMs() >= endsAtMs) return;
      endsAtMs = later;
      for (const extended of [...listeners]) extended();
    },
  };
}

/** The lease of a process that passes from one attempt to the next. */
export interface PassedLease extends Lease {
  /** From now on it is this one. */
  passTo(lease: Lease): void;
}

export function createPassedLease(first: Lease): PassedLease {
  const listeners = new Set<() => void>();
  const tellAll = () => {
    for (const extended of [...listeners]) extended();
  };
  let current = first;
  let forget = first.onExtended(tellAll);
  return {
    endsAtMs: () => current.endsAtMs(),
    onExtended(extended) {
      listeners.add(extended);
      return () => listeners.delete(extended);
    },
    passTo(lease) {
      forget();
      current = lease;
      forget = lease.onExtended(tellAll);
      tellAll();
    },
  };
}

/**
 * The machine's clock that never jumps and that keeps running during a suspend, in steps of 10 ms. Every process of the
 * machine reads the same one.
 */
export function uptimeMs(): number {
  return Math.round(uptime() * 1000);
}
