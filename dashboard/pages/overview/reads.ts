import { http, type Schemas } from '../../api/client.js';
import { useRead } from '../../api/query.js';

/** What the cards of the overview read; what two of them need is asked once. */

export type Chain = Schemas['ChainSummary'];

const dayMs = 86_400_000;
/** As the metrics have it: longer than a step is quiet that works. */
export const stuckAfterMs = 30 * 60_000;
/** Rows of a card; what is behind them is one click away. */
export const rowsShown = 12;

export const useCounts = () =>
  useRead(['chain-counts'], (signal) => http.GET('/v1/chains/counts', { signal }));

export const useServer = () => useRead(['server'], (signal) => http.GET('/v1/server', { signal }));

/** Counts alone: what is out of sync is the matter of another page. */
export function useSync() {
  const server = useServer();
  const mayRead = server.data?.key.projects === null;
  const read = useRead(
    ['sync-counts'],
    (signal) => http.GET('/v1/sync', { params: { query: { limit: 0 } }, signal }),
    { everyMs: 30_000, onEvents: false, enabled: mayRead },
  );
  return { ...read, mayRead: server.data === undefined || mayRead };
}

export function useChains(
  query: {
    status?: Chain['status'][];
    waitingFor?: NonNullable<Chain['waitingFor']>['kind'][];
    failureCode?: NonNullable<Chain['failure']>['code'];
    stuckForMs?: number;
    askTemporal?: boolean;
    limit?: number;
  },
  options: Parameters<typeof useRead>[2] = {},
) {
  return useRead(
    ['chains', query],
    (signal) => http.GET('/v1/chains', { params: { query: { limit: rowsShown, ...query } }, signal }),
    options,
  );
}

/** The last eight days, today included. */
export function useSpendByDay() {
  const first = dayOf(Date.now() - 7 * dayMs);
  return useRead(
    ['spend', 'day', first],
    (signal) =>
      http.GET('/v1/spend', { params: { query: { by: 'day', since: `${first}T00:00:00Z` } }, signal }),
    { everyMs: 30_000, onEvents: false },
  );
}

/** A day as the API writes it, UTC. */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

export type Worker = Schemas['Workers']['workers'][number];
export type TaskQueue = NonNullable<Schemas['Workers']['queues']>[number];

export const useWorkers = () =>
  useRead(['workers'], (signal) => http.GET('/v1/workers', { signal }), { everyMs: 10_000, onEvents: false });
