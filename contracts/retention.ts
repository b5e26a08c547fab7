import type { Failure } from './failures.js';
import type { ProjectId, SessionId } from './ids.js';
import type { OfInstallation } from './installation.js';
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

/**
 * What is wrong with the periods of a policy, each with what to do. What a head, a version, an open chain or a question needs
 * stays whatever they say; these rules keep together what is read together.
 */
export function senseless({
  transitionsDays,
  transcriptsDays,
  detailsDays,
}: Pick<RetentionPolicy, 'transitionsDays' | 'transcriptsDays' | 'detailsDays'>): {
  path: 'transcriptsDays' | 'detailsDays';
  message: string;
}[] {
  return [
    ...(transcriptsDays < transitionsDays
      ? [
          {
            path: 'transcriptsDays' as const,
            message: `${transcriptsDays} days are less than the ${transitionsDays} days for which transitions stay in session_transitions: a rewind to one of them would find no transcript; use at least ${transitionsDays}`,
          },
        ]
      : []),
    ...(detailsDays < transcriptsDays
      ? [
          {
            path: 'detailsDays' as const,
            message: `${detailsDays} days are less than the ${transcriptsDays} days for which transcripts stay: a chain that is started again would have the transcripts of its attempts without the attempts, and pay for them again; use at least ${transcriptsDays}`,
          },
        ]
      : []),
  ];
}

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
  /** Why the run gave up on this project; the figures are what it had done by then. The next run goes on. */
  failure: Failure | null;
}

/** Sums over projects. */
export interface RetentionTotal extends Omit<ProjectRetained, 'projectId' | 'leftAlone' | 'failure'> {
  /** Projects of which something was due. */
  projects: number;
  /** Those of them on which the run gave up. */
  failed: number;
}

/** What one run did, or would do (`dryRun`). */
export interface RetentionRun {
  dryRun: boolean;
  policy: RetentionPolicy;
  startedAt: Date;
  endedAt: Date;
  /** Only projects of which something is due, at most 1,000. */
  projects: ProjectRetained[];
  /** The sums over all of them, also those that are not in the list. */
  total: RetentionTotal;
  /** Why it ended before it had looked at every project, such as an archive out of reach; null where it did. */
  failure: Failure | null;
}

/** A run of retention in Temporal. */
export interface RetentionRunState {
  /** A uuid, or of a run of the schedule its time. */
  id: string;
  /** Its id in Temporal. */
  workflowId: string;
  state: 'running' | 'finished' | 'failed';
  dryRun: boolean;
  /** The only project that it was asked for; null for all. */
  projectId: ProjectId | null;
  /** Whether the schedule started it. */
  scheduled: boolean;
  startedAt: Date;
  endedAt: Date | null;
  /** Null until it is finished. */
  result: RetentionRun | null;
  /** Why it has no result, or an incomplete one. */
  failure: Failure | null;
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

/** What a restoration brought back; what was there and is the same is not counted. */
export interface Restored {
  projectId: ProjectId;
  /** Files of the archive that were read. */
  files: number;
  /** Sessions whose transcripts were brought back, and the entries of their main conversations. */
  sessions: number;
  entries: number;
  /** Transitions that are in `session_transitions` again. */
  transitions: number;
  /** Attempts, metrics and briefs. */
  details: number;
  /** What the archive has and this database has no place for: it lacks the transitions, attempts or chains that they follow. */
  left: { transitions: number; details: number };
  /** Until when retention leaves the project alone. */
  keptUntil: Date;
}

/** A restoration of a project, the one under way or the last one. */
export interface Restoration {
  projectId: ProjectId;
  state: 'running' | 'finished' | 'failed';
  startedAt: Date;
  endedAt: Date | null;
  /** Null until it is finished. */
  restored: Restored | null;
  failure: Failure | null;
}

/** Where retention has to leave a project alone. */
export interface ProjectHold {
  projectId: ProjectId;
  /** The legal hold: nothing of the project is archived away, dropped or erased. Null for none. */
  hold: { since: Date; by: string; reason: string } | null;
  /** Until when it is left alone because something of it was restored. */
  restoredUntil: Date | null;
}

/** The input of the workflow of retention, started by its schedule or by a person. */
export interface RetentionInput extends OfInstallation {
  version: typeof payloadVersion;
  dryRun: boolean;
  /** After which a worker that says nothing has died; also the lease of a file that is being written. */
  heartbeatTimeoutMs: number;
  /** Only this project. */
  projectId?: ProjectId;
  /** Where a run that continued as new goes on, and what it did before. */
  after?: ProjectId;
  soFar?: RetentionTotals;
}

export interface RetentionTotals {
  startedAt: string;
  projects: ProjectRetained[];
  total: RetentionTotal;
  /** How many of the last projects failed in a row because something did not answer. */
  unavailable: number;
}

/** What the workflow of retention returns. */
export interface RetentionOutcome extends Omit<RetentionTotals, 'unavailable'> {
  dryRun: boolean;
  policy: RetentionPolicy;
  failure: Failure | null;
}

/** What one call of the activity did, and whether there is more to do at once. */
export interface RetainedSlice extends Omit<ProjectRetained, 'projectId' | 'failure'> {
  more: boolean;
}

/** The activities of retention, on the queue of the chains. Each may run twice. */
export interface RetentionActivities {
  /** The policy of this worker, and the next projects of which something is due, in the order of their ids. */
  dueProjects(
    input: { version: typeof payloadVersion; projectId?: ProjectId; after?: ProjectId } & OfInstallation,
  ): Promise<{ policy: RetentionPolicy; projects: ProjectId[] }>;
  /** Does what is due for a project, for some minutes at most, with heartbeats; `dryRun` only says what. */
  retainProject(
    input: { version: typeof payloadVersion; projectId: ProjectId; dryRun: boolean } & OfInstallation,
  ): Promise<RetainedSlice>;
}

/** The input of the workflow that restores from the archive. */
export interface RestoreInput extends OfInstallation {
  version: typeof payloadVersion;
  /** After which a worker that says nothing has died. */
  heartbeatTimeoutMs: number;
  request: RestoreRequest & { keepDays: number };
}

/** What the workflow returns. */
export interface RestoreOutcome extends Omit<Restored, 'keptUntil'> {
  keptUntil: string;
}

/** The activity of a restoration, on the queue of the chains. It may run twice. */
export interface RestoreActivities {
  restoreProject(input: RestoreInput): Promise<RestoreOutcome>;
}
