import { SessionChainError } from '../contracts/failures.js';

/** What Temporal's client threw, as TEMPORAL_UNAVAILABLE. */
export function temporalError(error: unknown): SessionChainError {
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return new SessionChainError('TEMPORAL_UNAVAILABLE', `Temporal refused: ${message}${cause}`, undefined, {
    cause: error,
  });
}

/** A Temporal to which no connection came about, as TEMPORAL_UNAVAILABLE. */
export function unreachable(address: string, error: unknown): SessionChainError {
  const why = error instanceof Error ? error.message : String(error);
  return new SessionChainError(
    'TEMPORAL_UNAVAILABLE',
    `Temporal at ${address} cannot be reached: ${why}`,
    undefined,
    {
      cause: error,
    },
  );
}
