import type { EndActivities } from '../contracts/end.js';
import { beginEnd, noteEnd } from '../storage/chains/ends.js';
import type { ActivityDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';

/** The short activities around the call of the host's activity at the end of a chain. */
export function createEndActivities({
  pool,
  log,
  meter,
}: Pick<ActivityDependencies, 'pool' | 'log' | 'meter'>): EndActivities {
  return {
    beginEnd: (input) => reportingFailures(input, { log, meter }, () => beginEnd(pool, input.key)),
    noteEnd: (input) =>
      reportingFailures(input, { log, meter }, () => noteEnd(pool, input.key, input.failure)),
  };
}
