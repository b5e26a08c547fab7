import type { ProjectId, SessionId } from './ids.js';
import type { payloadVersion } from './plan.js';

/** How long what is kept. Periods in whole days, at least one each; the database's clock decides. */
export interface RetentionPolicy {
  /** After which a transition leaves `session_transitions` for `session_chain.session_transitions_archive`. */
  transitionsDays: number;
  /** After its last entry, after which a transcript that nothing needs is archived. */
  transcriptsDays: number;
  /** After its archiving, after which a transcript that nothing needs is dropped from the database. */
  dropDays: number;
  /** After the end of a chain, after which its failed attempts, metrics and briefs are archived and dropped. */
  detailsDays: number;
  /** Whether rows may be deleted from tables that the host created. */
  hostTables: boolean;
  /** The archive without credentials, as `file:///…` or `s3://bucket/prefix`; null for none: then only transitions move. */
  archive: string | null;
}

/** What kinds of things retention is about. */
export const retainedKinds = ['transitions', 'transcripts', 'details'] as const;
export type RetainedKind = (typeof retainedKinds)[number];

/** What one run did for one project, or would do. */
export interface ProjectRetained {
  projectId: ProjectId;
  /** Transitions that left the hot table. */
  transitions: number;
  /** Sessions whose transcripts were written to the archive and read back. */
  archivedSessions: number;
  /** Sessions whose transcripts were dropped from the database; `freedBytes` is what their texts took, about. */
  droppedSessions: number;
  freedBytes: number;
  /** Attempts whose metrics were rolled up and dropped, failed attempts and briefs that were dropped. */
  details: number;
  /** Why less was done than the policy asks for; null for no such reason. */
  leftAlone: 'hold' | 'restored' | 'being_erased' | 'host_tables' | 'no_archive' | null;
}

/** What one run did, or would do (`dryRun`). */
export interface RetentionRun {
  dryRun: boolean;
  policy: RetentionPolicy;
  startedAt: Date;
  endedAt: Date | null;
  /** Only projects of which something is due, at most 1,000. */
  projects: ProjectRetained[];
  /** The sums over all of them, also those that are not in the list. */
  total: Omit<ProjectRetained, 'projectId' | 'leftAlone'>;
}

export interface RestoreRequest {
  projectId: ProjectId;
  /** One session. Without `sessionId` and `month`: everything of the project. */
  sessionId?: SessionId;
  /** A month, as `2026-11`: its sessions and details, and the transitions from it on. */
  month?: string;
  /** Days for which retention leaves the project alone. Default: 30. */
  keepDays?: number;
}

export interface Restored {
  projectId: ProjectId;
  /** Sessions that were brought back; those that were there are not counted. */
  sessions: number;
  entries: number;
  transitions: number;
  /** Until when retention leaves the project alone. */
  keptUntil: Date;
}

/** The input of the workflow of retention, started by its schedule or by a person. */
export interface RetentionInput {
  version: typeof payloadVersion;
  dryRun: boolean;
  /** Only this project. */
  projectId?: ProjectId;
  /** Where a run that continued as new goes on, and what it did before. */
  after?: ProjectId;
  soFar?: RetentionTotals;
}

export interface RetentionTotals {
  startedAt: string;
  projects: ProjectRetained[];
  total: RetentionRun['total'];
}

/** The activities of retention and restoration, on the queue of the chains. Each may run twice. */
export interface RetentionActivities {
  /** The policy of this worker, and the next projects of which something is due, in the order of their ids. */
  dueProjects(input: {
    version: typeof payloadVersion;
    projectId?: ProjectId;
    after?: ProjectId;
  }): Promise<{ policy: RetentionPolicy; projects: ProjectId[] }>;
  /** Does what is due for a project, part by part, with heartbeats; `dryRun` only says what. */
  retainProject(input: {
    version: typeof payloadVersion;
    projectId: ProjectId;
    dryRun: boolean;
  }): Promise<ProjectRetained>;
  restoreProject(input: RestoreInput): Promise<Restored>;
}

/** The input of the workflow that restores from the archive. */
export interface RestoreInput {
  version: typeof payloadVersion;
  request: RestoreRequest;
}
