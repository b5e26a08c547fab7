import type { Agent } from '../agent/agent.js';
import type { VersionStatus } from '../contracts/chain.js';
import type { ChainRuns } from '../contracts/chain-runs.js';
import type { ChainDefinition } from '../definition/definition.js';
import type { ArchiveStore } from '../archive/store.js';
import type { ProjectId } from '../contracts/ids.js';
import type { RetentionPolicy } from '../contracts/retention.js';
import type { Checkpoint } from '../storage/checkpoint.js';
import type { Pool } from '../storage/db/pool.js';
import type { StopRequests } from '../storage/chains/stop-requests.js';
import type { TranscriptStore } from '../storage/transcripts/store.js';
import type { ActivityLog, Log } from './log.js';
import type { Meter } from './meter.js';
import type { Outage } from './outage.js';

/** The dependencies of the activities; wired in workers/. */
export interface ActivityDependencies {
  pool: Pool;
  agent: Agent;
  createTranscriptStore: (projectId: ProjectId) => TranscriptStore;
  checkpoint: Checkpoint;
  /** Absolute paths below which workspaces must be. */
  workspaceRoots: readonly string[];
  /** How long to wait for a worker that has a folder. */
  workspaceWaitMs: number;
  /** The definition of the chains. */
  definition: ChainDefinition;
  /** The values of a version's status, set by the installation and not by the caller. */
  versionStatus: VersionStatus;
  chainRuns: ChainRuns;
  retention: RetentionSetting;
  stopRequests: StopRequests;
  /** The task queues that this worker alone polls, for tasks whose process it keeps; null where it keeps none. */
  ownQueues: { agents: string; chats: string } | null;
  /** Of one call; see `reportingFailures`. */
  log: ActivityLog;
  meter: Meter;
  /** What is said once for all calls. */
  outages: { model: Outage; database: Outage };
}

/** What is the same for all calls: only `reportingFailures` makes a log that knows its ids of `log`. */
export type WorkerDependencies = Shared<ActivityDependencies>;
export type Shared<Dependencies extends { log: ActivityLog }> = Omit<Dependencies, 'log'> & { log: Log };

/** How long this worker keeps what, and where to it archives. */
export interface RetentionSetting {
  policy: RetentionPolicy;
  /** Null where none is configured. */
  archive: ArchiveStore | null;
  /** Version of the package, for manifests. */
  writtenBy: string;
}
