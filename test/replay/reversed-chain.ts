import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';
import type { OpenResult } from '../../contracts/chain.js';

/** A chain that was changed carelessly: the steps of its plan run in another order. */
export { chain } from '../../workflows/chain.js';

export const interceptors: WorkflowInterceptorsFactory = () => ({
  outbound: [
    {
      async scheduleActivity(input, next) {
        const result = await next(input);
        if (input.activityType !== 'open') return result;
        const opened = result as OpenResult;
        return opened.outcome === 'queued'
          ? opened
          : { ...opened, plan: { ...opened.plan, steps: [...opened.plan.steps].reverse() } };
      },
    },
  ],
});
