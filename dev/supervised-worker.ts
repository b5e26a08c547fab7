import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '../cli/errors.js';
import { type Failure, SessionChainError } from '../contracts/failures.js';
import { type GuardedServer, startGuarded } from './guard.js';

export interface SupervisedWorker {
  /** Process id of the worker that runs now. */
  pid(): number;
  /** Rejects when the worker cannot be kept running, with what it said where another start does not help. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

// A worker that dies this often within this time has a problem that another start does not fix.
const maxDeaths = 5;
const deathWindowMs = 60_000;
/** What a worker ends with that finds something to correct first. */
const refusals: readonly (number | null)[] = [exitCodes.badInput, exitCodes.setUp];

/** Keeps one worker running, in a process of its own that ends with this one, and starts another when it dies. */
export async function superviseWorker(options: {
  environment: Record<string, string>;
  logFile: string;
  say: (line: string) => void;
}): Promise<SupervisedWorker> {
  const { environment, logFile, say } = options;
  let stopping = false;
  let worker = await spawn();
  const failed = keepRunning();
  failed.catch(() => undefined);
  return {
    pid: () => worker.pid,
    failed,
    async stop() {
      stopping = true;
      await worker.stop();
    },
  };

  async function spawn(): Promise<GuardedServer> {
    return await startGuarded({
      name: 'worker',
      command: process.execPath,
      args: [join(import.meta.dirname, '../cli/main.js'), 'worker', '-o', 'json'],
      cwd: process.cwd(),
      env: environment,
      logFile,
    });
  }

  async function keepRunning(): Promise<never> {
    const deaths: number[] = [];
    for (;;) {
      const code = await worker.exited;
      if (stopping) return await new Promise<never>(() => undefined);
      if (refusals.includes(code)) throw reportedError(logFile);
      const now = Date.now();
      deaths.push(now);
      if (deaths.filter((at) => now - at < deathWindowMs).length >= maxDeaths) {
        throw new SessionChainError(
          'WORKER_LOST',
          `The worker died ${maxDeaths} times within a minute.`,
          `Look into ${logFile}.`,
        );
      }
      say(`Worker: died (exit code ${code ?? 'unknown'}); starting another`);
      await sleep(500);
      if (!stopping) worker = await spawn();
    }
  }
}

/** The error that a worker reported as the last line of its log. */
function reportedError(logFile: string): SessionChainError {
  const last = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(last) as { error: Failure };
  return new SessionChainError(error.code, error.message, error.remedy);
}
