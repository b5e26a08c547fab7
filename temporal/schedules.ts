import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleSpec,
} from '@temporalio/client';
import { SessionChainError } from '../contracts/failures.js';
import { isOfOther } from '../contracts/installation.js';
import { temporalError } from './errors.js';

/** A workflow that Temporal starts at given times, one run at a time. */
export interface Scheduled {
  scheduleId: string;
  spec: ScheduleSpec;
  /** The times as a person wrote them. */
  every: string;
  workflowType: string;
  taskQueue: string;
  input: object;
  memo: Record<string, unknown>;
  /** Absent: as it is, and not paused where it is new. */
  paused?: boolean;
}

export interface ScheduleState {
  every: string;
  paused: boolean;
  nextAt: Date | null;
  /** The time between its next two runs; null where Temporal does not tell. */
  betweenMs: number | null;
  /** Or last changed. */
  installedAt: Date;
  /** Times at which it was to start and did not, because Temporal was away for too long. */
  missed: number;
}

/** What Temporal was away for is made up for within this time. */
const catchupWindow = '12 h';

/** Makes the schedule, or changes it in place. Throws INVALID_INPUT for times that cannot be, TEMPORAL_REFUSED where the namespace allows none. */
export async function putSchedule(client: Client, scheduled: Scheduled): Promise<void> {
  const { scheduleId, spec, every, workflowType, taskQueue, input, memo, paused } = scheduled;
  const action = {
    type: 'startWorkflow' as const,
    ...{ workflowId: scheduleId, workflowType, taskQueue, args: [input] },
    memo: { ...memo, every },
  };
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow } as const;
  await refusedClearly(client, async () => {
    try {
      await client.schedule.create({
        ...{ scheduleId, spec, action, policies },
        ...(paused === undefined ? {} : { state: { paused } }),
      });
    } catch (error) {
      // Which is how the client of Temporal tells of an argument that the server does not take.
      if (error instanceof TypeError)
        throw new SessionChainError(
          'INVALID_INPUT',
          `${JSON.stringify(every)} says no times: ${error.message}.`,
        );
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      await client.schedule.getHandle(scheduleId).update(({ state, action: former }) => {
        const own = memo['installation'];
        if (typeof own === 'string' && isOfOther(former.memo, own))
          throw new SessionChainError(
            'OTHER_INSTALLATION',
            `The schedule ${scheduleId} in the namespace ${client.options.namespace} is of the installation ${String(former.memo?.['installation'])}; this is the installation ${own}.`,
          );
        return {
          ...{ spec, action, policies },
          state: { ...state, paused: paused ?? state.paused },
        };
      });
    }
  });
}

/** Null where there is none. */
export async function readSchedule(client: Client, scheduleId: string): Promise<ScheduleState | null> {
  return await refusedClearly(client, async () => {
    try {
      const { action, state, info } = await client.schedule.getHandle(scheduleId).describe();
      const [next, afterNext] = info.nextActionTimes;
      const every = action.memo?.['every'];
      return {
        every: typeof every === 'string' ? every : 'as it was changed in Temporal',
        paused: state.paused,
        nextAt: state.paused ? null : (next ?? null),
        betweenMs: next && afterNext ? afterNext.getTime() - next.getTime() : null,
        installedAt: info.lastUpdatedAt ?? info.createdAt,
        missed: info.numActionsMissedCatchupWindow,
      };
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return null;
      throw error;
    }
  });
}

/** False where there was none. */
export async function removeSchedule(client: Client, scheduleId: string): Promise<boolean> {
  return await refusedClearly(client, async () => {
    try {
      await client.schedule.getHandle(scheduleId).delete();
      return true;
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return false;
      throw error;
    }
  });
}

async function refusedClearly<Result>(client: Client, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw ofSchedules(temporalError(error), client.options.namespace);
  }
}

/** The same error, which says of a refusal that it concerns schedules, and how to go without. */
export function ofSchedules(error: SessionChainError, namespace: string): SessionChainError {
  if (error.code !== 'TEMPORAL_REFUSED') return error;
  if (!/schedules? .*(disabled|not allowed|not enabled)|UNIMPLEMENTED|PERMISSION_DENIED/i.test(error.message))
    return error;
  return new SessionChainError(
    'TEMPORAL_REFUSED',
    `The namespace ${namespace} does not let this client keep schedules: ${error.message}`,
    'Allow schedules there (frontend.enableSchedules, or the rights of the client); or let a timer of your own start retention.',
    { cause: error },
  );
}
