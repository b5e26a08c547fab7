import type { ChainChanges } from '../contracts/changes.js';
import type { ChainKey } from '../contracts/ids.js';
import type { ChainTimeline } from '../contracts/timeline.js';
import { readJournal } from '../storage/chains/chain-journal.js';
import { requireChain } from '../storage/chains/chains.js';
import type { Pool } from '../storage/db/pool.js';
import { readProjectEvents } from '../storage/events/events.js';
import { loadOwnEntries } from '../storage/transcripts/store.js';
import { boundedChanges, fileChanges } from '../transcript/changes.js';
import { attemptSpans, mergedSpans, totalsOf } from '../transcript/timeline.js';
import { chainKey } from './chain-key.js';
import { chainSpans, workEnd } from './chain-spans.js';

/** How a chain spent its time, and what it wrote. */
export interface ChainWork {
  /**
   * Where the time of a chain went: of each attempt what the model, the tools and the rest took, by its transcript, and what the
   * chain did outside attempts, by its events. Of a long chain short spans are merged. It reads transcripts. Throws INVALID_INPUT,
   * CHAIN_NOT_FOUND.
   * @example
   * const { attempts } = await sessionChain.timeline(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
   * for (const { step, attempt, totalsMs } of attempts) console.log(step, attempt, totalsMs.model, totalsMs.tool);
   */
  timeline(key: ChainKey): Promise<ChainTimeline>;
  /**
   * What a chain wrote with file tools, write by write: its attempts and their subagents. What shell commands wrote is not known. Long
   * changes are cut and later ones left out, about 500 kB in all. It reads transcripts. Throws INVALID_INPUT, CHAIN_NOT_FOUND.
   * @example
   * const { steps } = await sessionChain.changes(chainKey({ projectId: 'shop', versionId: 'shop-v2' }));
   * for (const { path, hunks } of steps.flatMap(({ changes }) => changes)) console.log(path, hunks.length);
   */
  changes(key: ChainKey): Promise<ChainChanges>;
}

/** Spans and changes of all attempts together. */
const mostSpans = 500;
const mostEvents = 10_000;
const changesBytes = 500_000;

export function createChainWork({ pool }: { pool: Pool }): ChainWork {
  /** The journal, with what each attempt added itself to the session that it forked. */
  const readWork = async (key: ChainKey) => {
    const chain = await requireChain(pool, chainKey(key));
    const journal = await readJournal(pool, chain.chainId);
    const own = await loadOwnEntries(
      pool,
      chain.projectId,
      journal.attempts.map(({ sessionId, parentSessionId: baseSessionId }) => ({ sessionId, baseSessionId })),
    );
    return {
      chain,
      journal,
      entriesOf: (attempt: (typeof journal.attempts)[number]) => own.get(attempt.sessionId),
    };
  };
  return {
    async timeline(key) {
      const { chain, journal, entriesOf } = await readWork(key);
      const { events } = await readProjectEvents(pool, chain, 0, mostEvents);
      const { attempts, activities: calls } = journal;
      const at = new Date();
      const whole = attempts.map((attempt) => {
        const { step, attemptId, round, attempt: number, startedAt, seenAt, leaseUntil } = attempt;
        const spans = attemptSpans(entriesOf(attempt)?.main ?? [], {
          ...{ startedAt, seenAt, leaseUntil },
          endedAt: workEnd(attempt, events),
          isCommitted: attempt.state === 'committed',
        });
        return { step, attemptId, round, attempt: number, spans, totalsMs: totalsOf(spans, at) };
      });
      const most = Math.max(1, Math.floor(mostSpans / Math.max(1, attempts.length)));
      const merged = whole.map((one) => ({ ...one, spans: mergedSpans(one.spans, most, at) }));
      return {
        at,
        ...chainSpans({ chain, events, attempts, calls }),
        attempts: merged,
        isMerged: merged.some(({ spans }, place) => spans.length < (whole[place]?.spans.length ?? 0)),
      };
    },
    async changes(key) {
      const { chain, journal, entriesOf } = await readWork(key);
      const steps = [
        ...new Set([
          ...(chain.plan ?? []).map(({ name }) => name),
          ...journal.attempts.map(({ step }) => step),
        ]),
      ];
      let left = changesBytes;
      return {
        steps: steps.flatMap((step) => {
          const all = journal.attempts
            .filter((attempt) => attempt.step === step)
            .flatMap((attempt) => {
              const { main = [], bySubagents = [] } = entriesOf(attempt) ?? {};
              return [...fileChanges(main), ...fileChanges(bySubagents)].map((change) => ({
                ...change,
                attemptId: attempt.attemptId,
              }));
            });
          const { changes, bytes, leftOut } = boundedChanges(all, left);
          left -= bytes;
          return all.length === 0 ? [] : [{ step, changes, leftOut }];
        }),
      };
    },
  };
}
