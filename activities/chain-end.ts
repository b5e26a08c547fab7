import type { EndActivities } from '../contracts/end.js';
import { SessionChainError } from '../contracts/failures.js';
import { beginEnd, noteEnd } from '../storage/chains/ends.js';
import type { WorkerDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';

/** The short activities around the call of the host's activity at the end of a chain. */
export function createEndActivities(
  deps: Pick<WorkerDependencies, 'pool' | 'log' | 'meter' | 'outages'>,
): EndActivities {
  const { pool } = deps;
  return {
    beginEnd: (input) => reportingFailures(input, deps, () => beginEnd(pool, keyOf(input))),
    noteEnd: (input) => reportingFailures(input, deps, () => noteEnd(pool, keyOf(input), input.failure)),
  };
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What no dispatcher wrote is not tried again. */
function keyOf({ key }: { key: unknown }): string {
  if (typeof key === 'string' && uuid.test(key)) return key;
  throw new SessionChainError('INVALID_INPUT', 'The key of an end of a chain is not a uuid.');
}
