import type { AttemptId, ChainId } from '../../contracts/ids.js';
import { listen } from '../db/listener.js';
import { type Pool, queryRows } from '../db/pool.js';

/** What may have to stop: everything that works for a chain, or one attempt that was superseded. */
export type StopTarget = `chain:${ChainId}` | `attempt:${AttemptId}`;

/**
 * Notifications that make a worker check whether it must stop; they do not depend on Temporal's heartbeats. Any client
 * may send one, so it proves nothing: the row decides (`renewLease`). A worker that misses one, or cannot hear any behind a
 * pooler, checks with its next renewal.
 */
export interface StopRequests {
  /** Begins to listen; until then a worker checks only with its renewals. */
  listen(): void;
  /** Calls back when the target may have to stop, until the returned function is called. */
  onNotice(target: StopTarget, look: () => void): () => void;
  close(): void;
}

const channel = 'session_chain_stop';

/** Asks everything that works for a chain under its present ticket to stop as cancelled. */
export async function requestStop(pool: Pool, chainId: ChainId): Promise<void> {
  await queryRows(pool, {
    name: 'request_stop',
    text: 'SELECT session_chain.request_stop($1)',
    values: [chainId],
  });
}

export function createStopRequests(pool: Pool, log: (message: string) => void): StopRequests {
  const looks = new Map<string, Set<() => void>>();
  let stop: (() => void) | undefined;
  return {
    listen() {
      stop ??= listen(pool, channel, {
        onNotice(target) {
          for (const look of [...(looks.get(target) ?? [])]) look();
        },
        onBroken: (reason) => log(`Listening for stop requests broke: ${reason}`),
      });
    },
    onNotice(target, look) {
      const ofTarget = looks.get(target) ?? new Set();
      looks.set(target, ofTarget.add(look));
      return () => {
        ofTarget.delete(look);
        if (ofTarget.size === 0) looks.delete(target);
      };
    },
    close: () => stop?.(),
  };
}
