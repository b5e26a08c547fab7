import { defineChain } from 'session-chain/config';

/** After a build has committed, the chain calls deployVersion; a version counts as deployed once that is done. */
export default defineChain({
  after: {
    build: {
      activity: 'deployVersion',
      taskQueue: process.env['DEPLOY_TASK_QUEUE'] ?? 'deploy',
      startToCloseTimeoutMs: 5 * 60_000,
      critical: true,
    },
  },
});
