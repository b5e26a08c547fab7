/** `session-chain/worker`: a worker inside of a process of the host's. */
import { findAgentSdk } from '../agent/process/binary.js';
import type { CreateWorkerOptions } from './options.js';
import type { RunningWorker } from './worker.js';

export type { RunningWorker } from './worker.js';
export type { WorkerHealth } from './health.js';
export { type SessionChainPlugin, sessionChainPlugin } from './plugin.js';
export {
  type ChainWorkerOptions,
  type CreateWorkerOptions,
  type DeploymentInput,
  type RetentionOptions,
  type WorkerLimits,
  type WorkerLog,
  optionsFromEnvironment,
} from './options.js';
export type { DatabaseOptions } from '../client/connections.js';
export type { OnEndInput } from '../contracts/end.js';
export type { SandboxInput, SandboxLimits, SandboxSettings } from '../contracts/sandbox.js';
export type { VersionStatus } from '../contracts/chain.js';
export type { ChainDefinitionInput } from '../definition/definition.js';
export type { HostConnection, WorkerTemporalAddress } from '../temporal/connect-native.js';
export { SessionChainError, type FailureCode } from '../contracts/failures.js';

/**
 * Starts a worker in this process; the host's own code stops it, whereas the command `session-chain worker` also
 * handles signals. Several may run in one process. Throws what a person must correct first: INVALID_INPUT,
 * INVALID_CONFIG, CREDENTIALS_MISSING, AGENT_NOT_FOUND, SANDBOX_UNAVAILABLE, DATABASE_UNAVAILABLE, MIGRATIONS_BEHIND, TEMPORAL_UNAVAILABLE.
 *
 * @example
 * const worker = await createWorker({
 *   databaseUrl: 'postgres://localhost/app',
 *   temporal: { address: 'localhost:7233' },
 *   workspaceRoots: ['/srv/projects'],
 *   agentEnvironment: process.env,
 *   limits: { maxAgents: 4 },
 * });
 * process.once('SIGTERM', () => worker.shutdown());
 * await worker.finished;
 */
export async function createWorker(options: CreateWorkerOptions): Promise<RunningWorker> {
  findAgentSdk();
  // Loaded only now, because it cannot be loaded without the agent SDK.
  const worker = await import('./worker.js');
  return await worker.createWorker(options);
}
