import { SessionChainError } from '../contracts/failures.js';
import type { CommandContext } from './context.js';
import { note } from './output.js';

const askTemporalMs = 5_000;

/** Asks Temporal, best effort: missing information is left out, with a remark. */
export async function askTemporal<Result>(
  { temporal }: CommandContext,
  what: string,
  ask: () => Promise<Result>,
): Promise<Result | null> {
  try {
    return await (await temporal()).withDeadline(Date.now() + askTemporalMs, ask);
  } catch (error) {
    if (error instanceof SessionChainError && error.code !== 'TEMPORAL_UNAVAILABLE') throw error;
    note(`${what} is not known: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
