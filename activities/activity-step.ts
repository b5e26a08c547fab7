import { Context } from '@temporalio/activity';
import type { BeginActivityInput, BegunActivity, EndActivityInput } from '../contracts/chain.js';
import { chainOfStep } from '../storage/chains/chains.js';
import { beginActivityStep, endActivityStep } from '../storage/operations/activity-steps.js';
import type { ActivityDependencies } from './dependencies.js';
import { failureFields, levelOfPart } from './log.js';

/**
 * Journals that an activity of the host is about to be called, and returns its input. Throws FENCED,
 * DATABASE_WENT_BACK.
 */
export async function beginActivity(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  input: BeginActivityInput,
): Promise<BegunActivity> {
  const { projectId, versionId, buildId, chainId, ticket, step, round, plan, head } = input;
  const { activity, taskQueue, role = null } = plan;
  const { workspace } = await chainOfStep(pool, input);
  const begun = await beginActivityStep(pool, {
    ...{ projectId, versionId, chainId, ticket, step, round, role, activity, taskQueue },
    ...head,
    scheduledAtMs: Context.current().info.currentAttemptScheduledTimestampMs,
  });
  if (begun.outcome === 'call') {
    const { scheduleToStartTimeoutMs } = plan;
    log.info('step.called', { called: activity, taskQueue, mustBeTakenWithinMs: scheduleToStartTimeoutMs });
  }
  return begun.outcome === 'completed'
    ? begun
    : { outcome: 'call', call: { projectId, versionId, buildId, step, key: begun.key, ...head, workspace } };
}

/** Journals how an activity of the host ended; a chain that no longer holds its project changes nothing. */
export async function endActivity(
  { pool, meter, log }: Pick<ActivityDependencies, 'pool' | 'meter' | 'log'>,
  { projectId, chainId, ticket, step, round, failure }: EndActivityInput,
): Promise<void> {
  const cancelled = failure?.code === 'CANCELLED';
  await endActivityStep(pool, { projectId, chainId, ticket, step, round, failure, cancelled });
  meter.activityEnded(step, failure);
  if (failure === null) log.info('step.completed');
  else if (cancelled) log.info('step.interrupted', failureFields(failure));
  else log[levelOfPart(failure.code)]('step.failed', failureFields(failure));
}
