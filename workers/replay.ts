import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { describeWorkflow, openWorkflows } from '../temporal/workflow-tasks.js';
import { saidBy } from './failing-tasks.js';
import { workflowBundle } from './workflow-bundles.js';

export interface Replayed {
  workflowId: string;
  runId: string;
  /** Why this release cannot go on with it; null where it can. */
  failure: string | null;
}

/** Replays the newest `limit` open workflows of a task queue on the workflows of this package, which changes none of them. */
export async function* replayOpenWorkflows(
  client: Client,
  { taskQueue, limit }: { taskQueue: string; limit: number },
): AsyncGenerator<Replayed> {
  // The library would print what it finds as well.
  const runtime = Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  const runs: string[] = [];
  async function* histories() {
    let left = limit;
    for await (const { workflowId, runId } of openWorkflows(client, taskQueue)) {
      if (left-- === 0) return;
      const history = await client.workflow
        .getHandle(workflowId, runId)
        .fetchHistory()
        .catch(async (error: unknown) => {
          // It has ended meanwhile, and is gone.
          if ((await describeWorkflow(client, workflowId, runId)) === null) return null;
          throw error;
        });
      if (history === null) continue;
      runs.push(runId);
      yield { workflowId, history };
    }
  }
  try {
    const results = Worker.runReplayHistories({ workflowBundle: workflowBundle() }, histories());
    for await (const { workflowId, error } of results) {
      yield {
        workflowId,
        runId: runs.shift() ?? '',
        failure: error === undefined ? null : saidBy(error.message.replace(/^.*Details: /s, '')),
      };
    }
  } finally {
    // It does not end with the worker that replays, and would keep the process.
    await runtime.shutdown();
  }
}
