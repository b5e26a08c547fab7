import type { ChainPolicy, TaskQueues } from './chain.js';

const minutes = 60_000;

export const defaultPolicy: Omit<ChainPolicy, 'taskQueues'> = {
  budget: {},
  heartbeatTimeoutMs: 30_000,
  killGraceMs: 5_000,
  // An overload lasts minutes, and every look costs a request.
  waitMs: { initial: 15_000, max: 10 * minutes },
  versionStatus: { succeeded: 'deployed', failed: 'failed' },
};

/** The two task queues that share one configured name. */
export function taskQueuesOf(name: string): TaskQueues {
  return { chains: name, agents: `${name}-agents` };
}
