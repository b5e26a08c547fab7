import { z } from 'zod';
import type { HostActivity } from '../contracts/plan.js';
import { unstorable } from '../contracts/text.js';

const minutes = 60_000;
const durationMs = z.number().int().min(1_000);
/** A name that Temporal takes: a workflow that schedules an activity with another one could not go on. */
const name = z
  .string()
  .max(1_000)
  .refine((value) => unstorable(value) === null, {
    error: ({ input }) => `must not hold ${unstorable(String(input))}`,
  })
  .refine((value) => value.trim() !== '', 'must not be empty');

/** How an activity of the host is called. */
export const hostActivityShape = {
  activity: name,
  taskQueue: name.refine(
    (value) => !value.startsWith('/_sys/'),
    'must not begin with /_sys/, which is for Temporal itself',
  ),
  startToCloseTimeoutMs: durationMs.optional(),
  scheduleToStartTimeoutMs: durationMs.optional(),
  heartbeatTimeoutMs: durationMs.optional(),
  maxAttempts: z.number().int().min(1).optional(),
};

/** `onEnd` of a definition, or of a worker's options; with its defaults. */
export const onEndSchema = z
  .strictObject(hostActivityShape)
  .transform(
    ({
      activity,
      taskQueue,
      startToCloseTimeoutMs = minutes,
      scheduleToStartTimeoutMs = 10 * minutes,
      heartbeatTimeoutMs,
      maxAttempts = 5,
    }): HostActivity => ({
      ...{ activity, taskQueue, startToCloseTimeoutMs, scheduleToStartTimeoutMs, maxAttempts },
      ...(heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeoutMs }),
    }),
  );
