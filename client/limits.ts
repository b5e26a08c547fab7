import { SessionChainError } from '../contracts/failures.js';

const most = 10_000;

/** How many rows a list may have. Throws INVALID_INPUT. */
export function limitOf(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The limit ${String(limit)} is not a whole number from 1 to ${most}.`,
  );
}
