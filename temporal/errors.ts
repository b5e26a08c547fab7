import { NamespaceNotFoundError } from '@temporalio/common';
import { SessionChainError, toSessionChainError } from '../contracts/failures.js';

/** gRPC status codes, by number, with which the same call may succeed a moment later. */
const notNow: Readonly<Record<number, string>> = {
  1: 'CANCELLED',
  2: 'UNKNOWN',
  4: 'DEADLINE_EXCEEDED',
  8: 'RESOURCE_EXHAUSTED',
  10: 'ABORTED',
  13: 'INTERNAL',
  14: 'UNAVAILABLE',
  15: 'DATA_LOSS',
};

/** gRPC status codes with which the server has understood the call and will always reject it. */
const refusals: Readonly<Record<number, string>> = {
  3: 'INVALID_ARGUMENT',
  5: 'NOT_FOUND',
  6: 'ALREADY_EXISTS',
  7: 'PERMISSION_DENIED',
  9: 'FAILED_PRECONDITION',
  11: 'OUT_OF_RANGE',
  12: 'UNIMPLEMENTED',
  16: 'UNAUTHENTICATED',
};

/**
 * An error of Temporal's client as one of ours: TEMPORAL_REFUSED for a rejection, TEMPORAL_UNAVAILABLE where no answer
 * came or a later one may differ, INTERNAL for what does not come from Temporal.
 */
export function temporalError(error: unknown): SessionChainError {
  if (error instanceof SessionChainError) return error;
  const code = grpcCode(error);
  const said = saidBy(error);
  if (error instanceof NamespaceNotFoundError) {
    return refused(`it has no namespace ${error.namespace}`, error);
  }
  if (code === null) return toSessionChainError(error);
  const refusal = refusals[code];
  if (refusal !== undefined) return refused(`${said} (${refusal})`, error);
  const late = code === 4 ? 'did not answer before the deadline of the call' : 'did not do what it was asked';
  return new SessionChainError(
    'TEMPORAL_UNAVAILABLE',
    `Temporal ${late}: ${said} (${notNow[code] ?? `gRPC status ${code}`})`,
    undefined,
    { cause: error },
  );
}

/**
 * The error where no connection was made within `timeoutMs`: TEMPORAL_UNAVAILABLE, or TEMPORAL_REFUSED for a rejection.
 */
export function unreachable(address: string, error: unknown, timeoutMs?: number): SessionChainError {
  const code = grpcCode(error);
  const said = saidBy(error);
  if (code !== null && refusals[code] !== undefined) return refused(`${address} answers: ${said}`, error);
  const within = timeoutMs === undefined ? '' : ` within ${timeoutMs} ms`;
  return new SessionChainError(
    'TEMPORAL_UNAVAILABLE',
    `Temporal at ${address} cannot be reached${within}: ${said}`,
    undefined,
    { cause: error },
  );
}

function refused(why: string, cause: unknown): SessionChainError {
  return new SessionChainError('TEMPORAL_REFUSED', `Temporal refuses the call: ${why}`, undefined, { cause });
}

/**
 * The status of a failed call to Temporal, by the client or by a worker's native connection; null for another error.
 */
function grpcCode(error: unknown): number | null {
  for (let one = error; one instanceof Error; one = one.cause) {
    const { code, details } = one as { code?: unknown; details?: unknown };
    if (typeof code === 'number' && typeof details === 'string') return code;
  }
  if (!(error instanceof Error)) return null;
  // A client that could not connect at its first call.
  if (/Failed to connect before the deadline/.test(error.message)) return 14;
  // A native connection that could not be made names the status only in its message.
  if (error.name !== 'TransportError') return null;
  if (/code: \W*Unauthenticated|unauthenticated/i.test(error.message)) return 16;
  return /code: \W*PermissionDenied/.test(error.message) ? 7 : 14;
}

function saidBy(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { details } = error as { details?: unknown };
  const own = typeof details === 'string' && details !== '' ? details : error.message;
  return error.cause instanceof Error ? `${own}: ${saidBy(error.cause)}` : own;
}
