import { ApplicationFailure, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { ChainActivities } from '../contracts/activities.js';
import { failureOfCode } from '../contracts/failures.js';
import { sameInstallation } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import { chainKeyOf } from '../temporal/names.js';

/** Payloads of a version that this code does not know: nothing in them can be relied on, only where they were found. */

/** The failure that names the version. */
export function unknownPayload(what: string, version: unknown): ApplicationFailure {
  const label = typeof version === 'number' ? String(version) : 'no number';
  return ApplicationFailure.create({
    type: 'PAYLOAD_UNKNOWN',
    message: `The version of ${what} is ${label}; this worker knows ${payloadVersion}.`,
    nonRetryable: true,
  });
}

/** Closes the chain that the workflow id names, so that the project is free, and fails the execution. */
export async function rejectUnknownPayload(input: unknown): Promise<never> {
  const { workflowId, taskQueue } = workflowInfo();
  const failure = unknownPayload('the input', (input as { version?: unknown } | undefined)?.version);
  const key = chainKeyOf(workflowId);
  if (key) {
    const { commit } = proxyActivities<ChainActivities>({
      taskQueue,
      startToCloseTimeout: '30 s',
      retry: { initialInterval: '1 s', maximumInterval: '1 min' },
    });
    const { code, remedy } = failureOfCode('PAYLOAD_UNKNOWN');
    await commit({
      version: payloadVersion,
      ...sameInstallation(input ?? {}),
      ...key,
      ticket: null,
      result: {
        ...key,
        mode: 'update',
        status: 'failed',
        head: { sessionId: null, seq: null },
        baseSessionId: null,
        steps: [],
        warnings: [],
        failure: { code, message: failure.message, remedy },
      },
    });
  }
  throw failure;
}
