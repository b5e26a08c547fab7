import { SessionChainError } from '../contracts/failures.js';

/** What Temporal's client threw, as TEMPORAL_UNAVAILABLE. */
export function temporalError(error: unknown): SessionChainError {
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return new SessionChainError('TEMPORAL_UNAVAILABLE', `Temporal refused: ${message}${cause}`, undefined, {
    cause: error,
  });
}
