import type { RetentionStatus } from '../client/main.js';
import { type Finding, ok } from './finding.js';
import { formatMinute } from './format.js';
import { lastText, policyText } from './retention-text.js';

const hour = 3_600_000;

/** Whether retention does what its policy says: one policy, a schedule where there is an archive, and a last run that worked. */
export function retentionFindings({ schedule, lastRun, policies, parts }: RetentionStatus): Finding[] {
  const [first] = policies;
  const archives = policies.some(({ policy }) => policy.archive !== null);
  return [
    policyFinding(policies),
    ...(schedule === null
      ? [
          first === undefined || !archives
            ? ok('no schedule is installed; old transitions stay until session-chain retention run')
            : warn(
                'an archive is configured, and no schedule is installed: nothing goes by itself',
                'Run: session-chain retention install',
              ),
        ]
      : [scheduleFinding(schedule, lastRun)]),
    ...(lastRun ? [lastFinding(lastRun)] : []),
    ...(parts.planned > 0 && !archives
      ? [
          warn(
            `${parts.planned} files of the archive were begun, and no worker has an archive now`,
            'Set SESSION_CHAIN_ARCHIVE for the workers again; the next run writes them anew.',
          ),
        ]
      : []),
  ];
}

function policyFinding(policies: RetentionStatus['policies']): Finding {
  const [first, ...others] = policies;
  if (!first) return ok('no worker is there, whose policy would count');
  if (others.length === 0) return ok(policyText(first.policy));
  return warn(
    `workers differ: ${policies.map(({ policy, workers }) => `${policyText(policy)} (${workers.join(', ')})`).join('; ')}`,
    'No action needed during a rollout. After it, give all workers of the database the same retention, and restart them.',
  );
}

function scheduleFinding(
  schedule: NonNullable<RetentionStatus['schedule']>,
  lastRun: RetentionStatus['lastRun'],
): Finding {
  const { every, paused, nextAt, installedAt, betweenMs } = schedule;
  if (paused)
    return warn(`the schedule (${every}) is paused`, 'Run: session-chain retention install --no-paused');
  const since = lastRun && lastRun.startedAt > installedAt ? lastRun.startedAt : installedAt;
  if (betweenMs !== null && Date.now() - since.getTime() > 2 * betweenMs + hour)
    return warn(
      `it should run every ${every}, and has not since ${formatMinute(since)}`,
      'Look whether a worker polls the task queue, and whether a run is stuck: session-chain retention status.',
    );
  return ok(`every ${every}${nextAt ? `, next at ${formatMinute(nextAt)}` : ''}`);
}

function lastFinding(lastRun: NonNullable<RetentionStatus['lastRun']>): Finding {
  const { failure, result } = lastRun;
  const message = `last run, ${lastText(lastRun)}`;
  if (failure) return warn(message, failure.remedy);
  const failed = result?.projects.find((one) => one.failure);
  if (!failed?.failure) return ok(message);
  const { code, remedy } = failed.failure;
  return warn(`${message}; the first of them is ${failed.projectId} (${code})`, remedy);
}

function warn(message: string, remedy: string): Finding {
  return { status: 'warn', message, remedy };
}
