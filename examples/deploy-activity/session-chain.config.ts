import { defineChain } from 'session-chain/config';

/** After the build the chain calls deployVersion, a step of its own; a version counts as deployed once that has succeeded. */
export default defineChain({
  steps: [
    'build',
    {
      name: 'deploy',
      kind: 'activity',
      role: 'deploy',
      activity: 'deployVersion',
      taskQueue: process.env['DEPLOY_TASK_QUEUE'] ?? 'deploy',
      startToCloseTimeoutMs: 5 * 60_000,
      critical: true,
    },
    'metadata',
    'docs',
    'compact',
  ],
});
