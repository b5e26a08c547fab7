import { continueAsNew, isCancellation, proxyActivities, workflowInfo } from '@temporalio/workflow';
import { categoryOf } from '../contracts/failures.js';
import { sameInstallation } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import type {
  ProjectRetained,
  RetainedSlice,
  RetentionActivities,
  RetentionInput,
  RetentionOutcome,
  RetentionTotals,
} from '../contracts/retention.js';
import { failureOf } from './failures.js';
import { onAnyWorker, onOwnInstallation } from './own-installation.js';
import { unknownPayload } from './payload-version.js';

/** In the result; sums are over all. */
const listed = 1_000;
/** Projects in a row for which something did not answer: the rest is left to the next run. */
const mostUnavailable = 3;

/**
 * Retention, one project after the other. A project on which it gives up does not stop the others; an archive or a database
 * that stays away ends the run.
 */
export async function retention(input: RetentionInput): Promise<RetentionOutcome> {
  if (input?.version !== payloadVersion) throw unknownPayload('the input', input?.version);
  const { version, dryRun, heartbeatTimeoutMs, projectId } = input;
  const { taskQueue, startTime } = workflowInfo();
  const retry = { initialInterval: '1 s', backoffCoefficient: 3, maximumAttempts: 3 } as const;
  const { dueProjects } = proxyActivities<Pick<RetentionActivities, 'dueProjects'>>({
    ...onAnyWorker,
    taskQueue,
    startToCloseTimeout: '5 min',
    retry,
  });
  const { retainProject } = proxyActivities<Pick<RetentionActivities, 'retainProject'>>({
    ...onAnyWorker,
    taskQueue,
    startToCloseTimeout: '2 h',
    heartbeatTimeout: heartbeatTimeoutMs,
    retry,
  });
  const soFar = input.soFar ?? nothingYet(startTime.toISOString());
  let { after } = input;
  for (;;) {
    const only = projectId === undefined ? {} : { projectId };
    const { policy, projects } = await onOwnInstallation(() =>
      dueProjects({
        version,
        ...sameInstallation(input),
        ...only,
        ...(after === undefined ? {} : { after }),
      }),
    );
    const outcome = (failure: RetentionOutcome['failure']): RetentionOutcome => {
      const { unavailable: _, ...totals } = soFar;
      return { ...totals, dryRun, policy, failure };
    };
    for (const one of projects) {
      const retained: ProjectRetained = { projectId: one, ...nothing, leftAlone: null, failure: null };
      try {
        for (let more = true; more;) {
          const slice = await onOwnInstallation(() =>
            retainProject({ version, ...sameInstallation(input), projectId: one, dryRun }),
          );
          add(retained, slice);
          retained.leftAlone = slice.leftAlone;
          ({ more } = slice);
        }
      } catch (error) {
        if (isCancellation(error)) throw error;
        retained.failure = failureOf(error);
      }
      note(soFar, retained);
      if (soFar.unavailable >= mostUnavailable) return outcome(retained.failure);
      after = one;
      if (workflowInfo().continueAsNewSuggested)
        await continueAsNew<typeof retention>({ ...input, after, soFar });
    }
    if (projects.length === 0 || projectId !== undefined) return outcome(null);
  }
}

const nothing = {
  ...{ transitions: 0, archivedSessions: 0, droppedSessions: 0, freedBytes: 0, details: 0 },
};
type Figures = typeof nothing;

function nothingYet(startedAt: string): RetentionTotals {
  return { startedAt, projects: [], total: { ...nothing, projects: 0, failed: 0 }, unavailable: 0 };
}

function add(to: Figures, figures: Figures | RetainedSlice): void {
  for (const name of Object.keys(nothing) as (keyof Figures)[]) to[name] += figures[name];
}

function note(soFar: RetentionTotals, retained: ProjectRetained): void {
  const { failure } = retained;
  add(soFar.total, retained);
  soFar.total.projects += 1;
  if (failure) soFar.total.failed += 1;
  soFar.unavailable = failure && categoryOf(failure.code) === 'unavailable' ? soFar.unavailable + 1 : 0;
  if (soFar.projects.length < listed) soFar.projects.push(retained);
}
