/** Events come in bursts; what is shown is read again once per burst. */
const burstMs = 500;
/** Events that do not end refresh a page at least this seldom. */
const steadyMs = 2_000;
/** A page reads for at most a fifth of the time, so that a slow server gets fewer requests, not more. */
const restPerRead = 4;
const mostMs = 30_000;

/** The refresh before: how long was waited for it, and how long its reads took. */
export interface Refreshed {
  pauseMs: number;
  tookMs: number;
}

/**
 * How long to wait before the next refresh: a burst after a quiet time (`last` is null); while events go on, twice as long each time
 * up to the steady rate, and longer where the reads themselves take long.
 */
export function pauseBefore(last: Refreshed | null): number {
  if (last === null) return burstMs;
  return Math.min(Math.max(Math.min(last.pauseMs * 2, steadyMs), last.tookMs * restPerRead), mostMs);
}
