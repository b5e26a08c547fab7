import type { Log, LogFields } from './log.js';

/** What all work of a worker needs: while it is away, that is said once, then at a slow rate, and once when it is over. */
export interface Outage {
  /** It did not do what it was asked; `log` names for what. */
  trouble(log: Log, fields: LogFields): void;
  /** It did. */
  over(): void;
}

export interface OutageOptions {
  subject: 'model' | 'database' | 'temporal';
  /** After which a person is paged; null: never. */
  pageAfterMs: number | null;
  /** Between two lines, also of two outages. Default: 5 min. */
  repeatMs?: number;
  /** Default: the process's own clock. */
  nowMs?: () => number;
}

export function createOutage(
  worker: Log,
  { subject, pageAfterMs, repeatMs = 5 * 60_000, nowMs = () => performance.now() }: OutageOptions,
): Outage {
  let saidAtMs = -Infinity;
  let outage: { sinceMs: number; isSaid: boolean; isPaged: boolean; tries: number } | null = null;
  return {
    trouble(log, fields) {
      const now = nowMs();
      outage ??= { sinceMs: now, isSaid: false, isPaged: false, tries: 0 };
      outage.tries += 1;
      const lastsMs = Math.round(now - outage.sinceMs);
      const pages = pageAfterMs !== null && lastsMs >= pageAfterMs;
      if (now - saidAtMs < repeatMs && (outage.isPaged || !pages)) return;
      const event = outage.isSaid
        ? (`${subject}.still_unavailable` as const)
        : (`${subject}.unavailable` as const);
      log[pages ? 'error' : 'warn'](event, { ...fields, lastsMs, tries: outage.tries });
      saidAtMs = now;
      outage.isSaid = true;
      outage.isPaged = pages;
    },
    over() {
      if (outage?.isSaid) {
        const lastedMs = Math.round(nowMs() - outage.sinceMs);
        worker.info(`${subject}.available`, { lastedMs, tries: outage.tries });
      }
      outage = null;
    },
  };
}
