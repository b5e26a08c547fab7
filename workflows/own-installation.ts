import { sleep } from '@temporalio/workflow';
import { failureOf } from './failures.js';

const longestPauseMs = 300_000;

/** Of an activity that is called so: else it goes back, each time, to the worker that runs the workflow. */
export const onAnyWorker = { allowEagerDispatch: false } as const;

/** The result of a call, which is made again, less and less often, as long as a worker of another installation takes it. */
export async function onOwnInstallation<Result>(call: () => Promise<Result>): Promise<Result> {
  for (let pauseMs = 1_000; ; pauseMs = Math.min(1.5 * pauseMs, longestPauseMs)) {
    try {
      return await call();
    } catch (error) {
      if (failureOf(error).code !== 'OTHER_INSTALLATION') throw error;
    }
    await sleep(pauseMs);
  }
}
