import type { ChainPolicy } from './chain.js';

const minutes = 60_000;

export const defaultPolicy: Omit<ChainPolicy, 'taskQueues'> = {
  heartbeatTimeoutMs: 30_000,
  killGraceMs: 5_000,
  // An overload lasts minutes, and every try costs a request.
  waitMs: { initial: 15_000, max: 10 * minutes },
  queueWaitMs: { initial: 30_000, max: 10 * minutes },
};
