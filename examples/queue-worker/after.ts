import { type Job, UnrecoverableError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { SessionChainError, createSessionChain, isRetryable } from 'session-chain/client';
import type { BuildJob } from './job.js';

// The same worker: it starts the chain of the version and is done. Claude Code runs in the workers of session-chain,
// which keep the session id, retry what can be retried, and let one chain at a time work on a project.

const sessionChain = createSessionChain({
  databaseUrl: process.env['DATABASE_URL'] ?? 'postgres://localhost/app',
  temporal: { address: process.env['TEMPORAL_ADDRESS'] ?? 'localhost:7233' },
  taskQueue: process.env['SESSION_CHAIN_TASK_QUEUE'] ?? 'session-chain',
});
const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://localhost:6379', { maxRetriesPerRequest: null });

const worker = new Worker<BuildJob>(process.env['QUEUE'] ?? 'builds', build, { connection: redis });
console.log('ready');
process.once('SIGTERM', () => void stop());

/** Safe to retry: the chain's key is the version, so that a second start finds the first one. */
async function build({ data }: Job<BuildJob>): Promise<{ workflowId: string; alreadyStarted: boolean }> {
  try {
    const { workflowId, alreadyStarted } = await sessionChain.start(data);
    return { workflowId, alreadyStarted };
  } catch (error) {
    // An error that no retry can cure fails the job at once, with its remedy.
    if (error instanceof SessionChainError && !isRetryable(error.code)) {
      throw new UnrecoverableError(`${error.code}: ${error.message} ${error.remedy}`);
    }
    throw error;
  }
}

async function stop(): Promise<void> {
  await worker.close();
  redis.disconnect();
  await sessionChain.close();
}
