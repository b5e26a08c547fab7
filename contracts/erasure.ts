import type { ProjectId } from './ids.js';
import type { OfInstallation } from './installation.js';
import type { payloadVersion } from './plan.js';

/** What is counted when a project is erased: rows, files, workflows and keys by kind, such as `sessions` or `workflows`. */
export type ErasedCounts = Record<string, number>;

export interface EraseRequest {
  projectId: ProjectId;
  /** Who asks: a name for the certificate. */
  by: string;
  reason?: string;
}

/** All that stays of an erased project. */
export interface ErasureCertificate {
  erasureId: string;
  projectId: ProjectId;
  requestedBy: string;
  reason: string | null;
  requestedAt: Date;
  finishedAt: Date;
  /** What was erased. */
  erased: ErasedCounts;
  /** What was left on purpose, such as rows that the host's application wrote, and the files of the workspace. */
  left: { what: string; why: string }[];
  /** What no delete reaches at once, such as the write-ahead log, and when it goes. */
  later: { what: string; until: string }[];
}

/** An erasure: what `dryRun` would erase, one under way, or a finished one with its certificate. */
export interface Erasure {
  /** Null for a dry run. */
  erasureId: string | null;
  projectId: ProjectId;
  state: 'planned' | 'running' | 'finished';
  /** What there is to erase (`planned`), or what was erased so far. */
  counts: ErasedCounts;
  certificate: ErasureCertificate | null;
}

/** The input of the workflow that erases a project. */
export interface EraseInput extends OfInstallation {
  version: typeof payloadVersion;
  /** After which silence of a worker another one goes on. */
  heartbeatTimeoutMs: number;
  erasureId: string;
  projectId: ProjectId;
}

/** The activities of an erasure, on the queue of the chains, in their order. Each may run twice. */
export interface EraseActivities {
  /** Stops chains and questions. False while the lease of an agent, or the write of a file of the archive, has not ended. */
  stopWork(input: EraseInput): Promise<boolean>;
  /** Terminates and deletes the histories of the project in Temporal. False while some are still listed. */
  eraseHistories(input: EraseInput): Promise<boolean>;
  eraseArchive(input: EraseInput): Promise<void>;
  eraseCheckpoints(input: EraseInput): Promise<void>;
  /** Local files of runs on this worker's machine. */
  eraseRunFiles(input: EraseInput): Promise<void>;
  /** Some rows. False while there are more. */
  eraseRows(input: EraseInput): Promise<boolean>;
  /** Looks once more for everything, and writes the certificate. False where something came up meanwhile. */
  certify(input: EraseInput): Promise<boolean>;
}
