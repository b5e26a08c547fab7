/** `session-chain/worker`: a worker inside of a process of the host's. */
import pino, { type Logger } from 'pino';
import { findAgentSdk } from '../agent/process/binary.js';
import { readConfig } from '../config/environment.js';
import type { RunningWorker } from './worker.js';

export type { RunningWorker } from './worker.js';
export { SessionChainError, type FailureCode } from '../contracts/failures.js';

export interface WorkerOptions {
  /** The variables that configure it, such as `process.env`; the command `session-chain worker` reads the same ones. */
  environment: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on stderr, at SESSION_CHAIN_LOG_LEVEL. */
  log?: Logger;
}

/**
 * Starts a worker in this process, which the host's own code stops: the command `session-chain worker` also minds
 * signals. The definition of the chains is loaded from the working folder, or from SESSION_CHAIN_CONFIG. Throws what a
 * person must mend first: INVALID_INPUT, INVALID_CONFIG, CREDENTIALS_MISSING, AGENT_NOT_FOUND, DATABASE_UNAVAILABLE,
 * MIGRATIONS_BEHIND, TEMPORAL_UNAVAILABLE.
 */
export async function startWorker({ environment, log }: WorkerOptions): Promise<RunningWorker> {
  const config = readConfig(environment);
  findAgentSdk();
  // Loaded only now, because without the agent SDK it cannot be.
  const worker = await import('./worker.js');
  return await worker.startWorker(
    config,
    log ?? pino({ level: config.SESSION_CHAIN_LOG_LEVEL }, pino.destination(2)),
  );
}
