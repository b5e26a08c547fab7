import type { Agent } from '../agent/agent.js';
import type { VersionStatus } from '../contracts/chain.js';
import type { ChainRuns } from '../contracts/chain-runs.js';
import type { ChainDefinition } from '../definition/definition.js';
import type { ProjectId } from '../contracts/ids.js';
import type { Checkpoint } from '../storage/checkpoint.js';
import type { Pool } from '../storage/db/pool.js';
import type { StopRequests } from '../storage/chains/stop-requests.js';
import type { TranscriptStore } from '../storage/transcripts/store.js';

/** What the activities are given; wired in workers/. */
export interface ActivityDependencies {
  pool: Pool;
  agent: Agent;
  createTranscriptStore: (projectId: ProjectId) => TranscriptStore;
  checkpoint: Checkpoint;
  /** Absolute paths below which workspaces may lie. */
  workspaceRoots: readonly string[];
  /** How long a folder that no worker has is waited for. */
  workspaceWaitMs: number;
  /** What the steps of a chain are. */
  definition: ChainDefinition;
  /** The words for a version's status; the installation's, not the caller's. */
  versionStatus: VersionStatus;
  chainRuns: ChainRuns;
  stopRequests: StopRequests;
  log: ActivityLog;
}

export interface ActivityLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}
