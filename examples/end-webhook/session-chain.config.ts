import { defineChain } from 'session-chain/config';

/** The shipped chain; at each of its ends the activity chainEnded of the host's own worker is called. */
export default defineChain({
  onEnd: {
    activity: 'chainEnded',
    taskQueue: process.env['WEBHOOK_TASK_QUEUE'] ?? 'webhooks',
    maxAttempts: 10,
  },
});
