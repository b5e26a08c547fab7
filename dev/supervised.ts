import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '../cli/errors.js';
import { type Failure, SessionChainError } from '../contracts/failures.js';
import { type GuardedServer, startGuarded } from './guard.js';

export interface Supervised {
  /** Process id of the one that runs now. */
  pid(): number;
  /** Rejects when it cannot be kept running, with what it said where another start does not help. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

// A process that dies this often within this time has a problem that another start does not fix.
const maxDeaths = 5;
const deathWindowMs = 60_000;
/** What a process of ours ends with that finds something to correct first. */
const refusals: readonly (number | null)[] = [exitCodes.badInput, exitCodes.setUp];

/** Keeps a worker or a server running, in a process of its own that ends with this one, and starts another when it dies. */
export async function supervise(options: {
  /** The command of the command line that it is. */
  command: 'worker' | 'serve';
  environment: Record<string, string>;
  logFile: string;
  say: (line: string) => void;
}): Promise<Supervised> {
  const { command, environment, logFile, say } = options;
  const name = command === 'serve' ? 'server' : command;
  let stopping = false;
  let running = await spawn();
  const failed = keepRunning();
  failed.catch(() => undefined);
  return {
    pid: () => running.pid,
    failed,
    async stop() {
      stopping = true;
      await running.stop();
    },
  };

  async function spawn(): Promise<GuardedServer> {
    return await startGuarded({
      name,
      command: process.execPath,
      args: [join(import.meta.dirname, '../cli/main.js'), command, '-o', 'json'],
      cwd: process.cwd(),
      env: environment,
      logFile,
    });
  }

  async function keepRunning(): Promise<never> {
    const deaths: number[] = [];
    for (;;) {
      const code = await running.exited;
      if (stopping) return await new Promise<never>(() => undefined);
      if (refusals.includes(code)) throw reportedError(logFile);
      const now = Date.now();
      deaths.push(now);
      if (deaths.filter((at) => now - at < deathWindowMs).length >= maxDeaths) {
        throw new SessionChainError(
          command === 'worker' ? 'WORKER_LOST' : 'SERVER_START_FAILED',
          `The ${name} died ${maxDeaths} times within a minute.`,
          `Look into ${logFile}.`,
        );
      }
      say(
        `${name.charAt(0).toUpperCase()}${name.slice(1)}: died (exit code ${code ?? 'unknown'}); starting another`,
      );
      await sleep(500);
      if (!stopping) running = await spawn();
    }
  }
}

/** The error that a process of ours reported as the last line of its log. */
function reportedError(logFile: string): SessionChainError {
  const last = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(last) as { error: Failure };
  return new SessionChainError(error.code, error.message, error.remedy);
}
