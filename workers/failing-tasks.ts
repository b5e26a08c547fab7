import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Worker } from '@temporalio/worker';
import type { Log } from '../activities/log.js';
import { startOf } from '../contracts/text.js';
import { failingTaskRemedy } from '../contracts/waiting.js';
import { idsIn } from '../temporal/names.js';
import { workflowOfRun } from '../temporal/workflow-tasks.js';

/**
 * Why a workflow leaves a worker's cache, as far as its task has failed: the SDK's number, and Temporal's name of the cause. What is
 * fatal to the library is none: it says so of each workflow when a worker stops.
 */
const causes: Readonly<Record<number, string>> = {
  3: 'NON_DETERMINISTIC_ERROR',
  4: 'WORKFLOW_WORKER_UNHANDLED_FAILURE',
};
/** What has been told is forgotten at some size, so that a worker of months does not grow. */
const mostTold = 1_000;
/** Temporal's search lags behind a workflow that began just now. */
const searchTries = 5;
const searchAgainMs = 2_000;

interface Eviction {
  runId: string;
  evictJob: { reason?: number | null; message?: string | null };
}

/**
 * Logs each workflow whose task fails on this worker: once for each cause, however often Temporal lets it try. Temporal's library
 * itself is silent from the second try on, and names the run alone.
 */
export function tellFailingTasks(
  worker: Worker,
  { client, log, facts }: { client: Client; log: Log; facts: Record<string, unknown> },
): void {
  // No public interface tells it; the one that replays histories listens here.
  const { evictionsEmitter } = worker as unknown as { evictionsEmitter?: EventEmitter };
  const told = new Set<string>();
  evictionsEmitter?.on('eviction', ({ runId, evictJob: { reason, message } }: Eviction) => {
    const cause = causes[Number(reason)];
    if (cause === undefined) return;
    const said = saidBy(message ?? '');
    const key = `${runId} ${said}`;
    if (told.has(key)) return;
    if (told.size >= mostTold) told.clear();
    told.add(key);
    void tell(runId, cause, said);
  });

  async function tell(runId: string, cause: string, said: string): Promise<void> {
    const found = await find(runId);
    // The host looks after its own workflows.
    if (found?.isOurs === false) return;
    log.error('workflow.task_failing', {
      ...(found === null ? {} : { workflowId: found.workflowId, ...idsIn(found.workflowId) }),
      ...{ runId, cause, reason: said, ...facts, remedy: failingTaskRemedy(cause) },
    });
  }

  async function find(runId: string): ReturnType<typeof workflowOfRun> {
    for (let tries = 1; tries <= searchTries; tries++) {
      const found = await workflowOfRun(client, runId).catch(() => null);
      if (found !== null) return found;
      if (tries < searchTries) await sleep(searchAgainMs, undefined, { ref: false });
    }
    return null;
  }
}

/** The failure's own message; the library gives it as it prints its structures. */
export function saidBy(message: string): string {
  const [, quoted] = /message: ("(?:[^"\\]|\\.)*")/.exec(message) ?? [];
  const [said = ''] = (quoted === undefined ? message : unquoted(quoted)).split('\n');
  return startOf(said, 500);
}

function unquoted(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1);
  }
}
