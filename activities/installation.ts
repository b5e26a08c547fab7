import { ApplicationFailure, Context } from '@temporalio/activity';
import type { Installation, OfInstallation } from '../contracts/installation.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import type { Log } from './log.js';
import { workerName } from './workspace.js';

/** Why this worker leaves a task alone; null for one of its own installation. */
export type InstallationCheck = (input: OfInstallation) => Promise<string | null>;

/** So often, at most, the log says that another installation asks for work here. */
const toldEveryMs = 60_000;

/**
 * Compares whose a task is with the database of the pool, `own`, which is asked again before a task is left alone. A database that
 * is away is none of its matters: the activity itself finds that out, and says so.
 */
export function createInstallationCheck(pool: Pool, log: Log, own: Installation): InstallationCheck {
  let known = own;
  const told = new Map<string, number>();
  return async ({ installation }) => {
    if (installation === undefined || installation === known.id) return null;
    // It may have got another id since.
    known = await readInstallation(pool).catch(() => known);
    if (installation === known.id) return null;
    const { id, database } = known;
    const { activityType, workflowExecution, taskQueue } = Context.current().info;
    const why = `It is of the installation ${installation}, and the worker ${workerName()} uses the database ${database}, of the installation ${id}.`;
    if (performance.now() - (told.get(installation) ?? -Infinity) >= toldEveryMs) {
      told.set(installation, performance.now());
      log.warn('installation.other', {
        ...{ installation, ownInstallation: id, database, taskQueue, activity: activityType },
        workflowId: workflowExecution?.workflowId,
      });
    }
    return why;
  };
}

/** Every other task finds its worker at once: the first tries follow each other quickly. Tries add nothing to a history. */
function nextTryMs(attempt: number): number {
  if (attempt <= 5) return 1_000;
  return attempt <= 15 ? 5_000 : 60_000;
}

/** The same for what adds to a history: the n-th look, from 0. */
export function nextLookMs(look: number, longestMs: number): number {
  return Math.round(Math.min(1_000 * 1.5 ** look, longestMs));
}

type Activity = (input: never) => Promise<unknown>;

/**
 * The same activities, which do nothing for another installation. Temporal tries again, which another worker may take; the tries
 * of what may be tried so often only (`bounded`) are left to the workflow.
 */
export function ofOwnInstallation<Activities extends object>(
  activities: Activities,
  check: InstallationCheck,
  { bounded = false } = {},
): Activities {
  return guarded(activities, check, (why) => {
    throw ApplicationFailure.create({
      ...{ type: 'OTHER_INSTALLATION', message: why, nonRetryable: bounded },
      nextRetryDelay: nextTryMs(Context.current().info.attempt),
    });
  });
}

/** The same, whose result for another installation is that they wait. */
export function waitingForOwnInstallation<Activities extends object>(
  activities: Activities,
  check: InstallationCheck,
  waiting: (why: string, input: never) => object,
): Activities {
  return guarded(activities, check, waiting);
}

function guarded<Activities extends object>(
  activities: Activities,
  check: InstallationCheck,
  otherwise: (why: string, input: never) => unknown,
): Activities {
  const entries = Object.entries(activities) as [string, Activity][];
  return Object.fromEntries(
    entries.map(([name, run]) => [
      name,
      async (input: never) => {
        const why = await check(input ?? {});
        return why === null ? await run(input) : otherwise(why, input);
      },
    ]),
  ) as Activities;
}
