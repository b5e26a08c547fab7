import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { type NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import {
  createAgentActivities,
  createChainActivities,
  createChatActivities,
  createChatReadActivities,
} from '../activities/create-activities.js';
import type { ActivityDependencies } from '../activities/dependencies.js';
import { createAgent } from '../agent/agent.js';
import { findAgentBinary } from '../agent/process/binary.js';
import { createChainRuns } from '../temporal/runs.js';
import { loadChainDefinition } from '../definition/load.js';
import { type Config, required } from '../config/environment.js';
import { SessionChainError } from '../contracts/failures.js';
import { createCheckpoint } from '../storage/checkpoint.js';
import { requireMigrations } from '../storage/db/migrate.js';
import { missingSubmissionColumns } from '../storage/db/host-tables.js';
import { type Pool, createPool } from '../storage/db/pool.js';
import { type ChainDefinition, isAgentStep, submissionSteps } from '../definition/definition.js';
import { stepDigest } from '../definition/digest.js';
import { listenForStopRequests } from '../storage/chains/stop-requests.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';
import { connectNative } from '../temporal/connect-native.js';
import { taskQueuesOf } from '../temporal/names.js';
import { requireRoots } from '../workspace/workspace.js';

export interface RunningWorker {
  /** Resolves when the worker has stopped and everything is closed; rejects when it broke. */
  finished: Promise<void>;
  /** Stops polling and interrupts running steps, which another worker then goes on with. */
  shutdown(): void;
}

/**
 * Starts the worker: one for chains and short database activities, one for the agents, one for the chats, on one
 * connection. Throws what a person must mend first: missing variables, DATABASE_UNAVAILABLE, MIGRATIONS_BEHIND, TEMPORAL_UNAVAILABLE,
 * INVALID_CONFIG, CREDENTIALS_MISSING, AGENT_NOT_FOUND.
 */
export async function startWorker(config: Config, log: Logger): Promise<RunningWorker> {
  if (!config.hasModelCredentials) {
    throw new SessionChainError(
      'CREDENTIALS_MISSING',
      'No model credential is in the environment of the worker.',
    );
  }
  await findAgentBinary(config.SESSION_CHAIN_AGENT_PATH);
  const missingRoots = await requireRoots(config.SESSION_CHAIN_WORKSPACE_ROOTS);
  for (const root of missingRoots) log.warn({ root }, 'This workspace root is not a folder here.');
  const { definition, warnings } = await loadChainDefinition(config);
  for (const warning of warnings) log.warn({ file: definition.file }, warning);
  const databaseUrl = required(config.DATABASE_URL, 'DATABASE_URL');
  const pool = createPool(databaseUrl, {
    applicationName: 'session-chain worker',
    max: 10 + config.SESSION_CHAIN_MAX_AGENTS + config.SESSION_CHAIN_MAX_CHATS,
    log: (message) => log.warn(message),
  });
  try {
    await requireMigrations(pool);
    await requireColumns(pool, definition);
    const { connection, namespace } = await connectNative(config);
    const checkpoint = createCheckpoint(config.REDIS_URL ?? null, { log: (message) => log.warn(message) });
    const agent = createAgent({
      modelEnvironment: config.modelEnvironment,
      inheritedEnvironment: config.environment,
      scratchRoot: config.SESSION_CHAIN_SCRATCH_DIR,
      ...(config.SESSION_CHAIN_AGENT_PATH ? { binaryPath: config.SESSION_CHAIN_AGENT_PATH } : {}),
      definition,
      log: (event) => {
        if (event.event !== 'agent.containment' || event.kind === 'namespace') log.info(event);
        else log.warn(event, 'No process namespaces: a command that detaches itself may outlive its step.');
      },
    });
    await agent.recover();
    const stopRequests = listenForStopRequests(databaseUrl, (message) => log.warn(message));
    const deps: ActivityDependencies = {
      pool,
      agent,
      createTranscriptStore: (projectId) => createTranscriptStore({ pool, projectId }),
      checkpoint,
      workspaceRoots: config.SESSION_CHAIN_WORKSPACE_ROOTS,
      workspaceWaitMs: config.SESSION_CHAIN_WORKSPACE_WAIT_MS,
      definition,
      versionStatus: {
        succeeded: config.SESSION_CHAIN_STATUS_SUCCEEDED || null,
        failed: config.SESSION_CHAIN_STATUS_FAILED || null,
      },
      chainRuns: createChainRuns(new Client({ connection, namespace })),
      stopRequests,
      log,
    };
    const workers = await createWorkers(config, deps, connection, namespace);
    log.info(
      {
        namespace,
        taskQueue: config.SESSION_CHAIN_TASK_QUEUE,
        maxAgents: config.SESSION_CHAIN_MAX_AGENTS,
        maxChats: config.SESSION_CHAIN_MAX_CHATS,
        definition: definition.file ?? 'shipped',
        steps: Object.fromEntries(
          definition.steps
            .filter(isAgentStep)
            .map((step) => [step.name, stepDigest(definition, step).slice(0, 12)]),
        ),
      },
      'The worker is ready.',
    );
    const running = workers.map((worker) => worker.run());
    const shutdown = () =>
      workers.filter((worker) => worker.getState() === 'RUNNING').forEach((worker) => worker.shutdown());
    // When one of them breaks, the others must not go on alone.
    running.forEach((run) => void run.catch(shutdown));
    const finished = Promise.allSettled(running).then(async (ends) => {
      checkpoint.close();
      await Promise.allSettled([connection.close(), pool.end(), stopRequests.close()]);
      const broken = ends.find((end) => end.status === 'rejected');
      if (broken) throw broken.reason;
    });
    return { finished, shutdown };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

/** Every column that a submission is to be written to must be there before anything is paid. */
async function requireColumns(pool: Pool, definition: ChainDefinition): Promise<void> {
  const columns = submissionSteps(definition).flatMap(({ name, column }) =>
    column === undefined ? [] : [{ step: name, column }],
  );
  const problems = await missingSubmissionColumns(pool, columns);
  if (problems.length === 0) return;
  throw new SessionChainError(
    'INVALID_CONFIG',
    `${definition.file ?? 'The shipped definition'}: ${problems.join('; ')}.`,
  );
}

async function createWorkers(
  config: Config,
  deps: ActivityDependencies,
  connection: NativeConnection,
  namespace: string,
): Promise<Worker[]> {
  const taskQueues = taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE);
  const shared: Pick<WorkerOptions, 'connection' | 'namespace' | 'shutdownGraceTime' | 'shutdownForceTime'> =
    {
      connection,
      namespace,
      // Running steps are told at once: an agent that is interrupted early leaves a transcript to go on from, one that is
      // killed at the end of a grace time does not.
      shutdownGraceTime: 0,
      shutdownForceTime: config.SESSION_CHAIN_SHUTDOWN_GRACE_MS,
    };
  const workflows: Pick<WorkerOptions, 'workflowBundle' | 'workflowThreadPoolSize' | 'maxCachedWorkflows'> = {
    workflowBundle: { codePath: workflowBundlePath() },
    workflowThreadPoolSize: 1,
    // Few chains work at a time; the others wait for hours, and cost a short replay when they are woken.
    maxCachedWorkflows: 200,
  };
  // A cancellation that does not come through our client reaches an activity with its next heartbeat only.
  const maxHeartbeatThrottleInterval = Math.min(
    config.SESSION_CHAIN_HEARTBEAT_THROTTLE_MS,
    config.SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS / 3,
  );
  return await Promise.all([
    Worker.create({
      ...shared,
      ...workflows,
      taskQueue: taskQueues.chains.chains,
      activities: { ...createChainActivities(deps), ...createChatReadActivities(deps) },
    }),
    Worker.create({
      ...shared,
      taskQueue: taskQueues.chains.agents,
      activities: createAgentActivities(deps),
      maxConcurrentActivityTaskExecutions: config.SESSION_CHAIN_MAX_AGENTS,
      maxHeartbeatThrottleInterval,
    }),
    Worker.create({
      ...shared,
      ...workflows,
      taskQueue: taskQueues.chats.chats,
      activities: createChatActivities(deps),
      maxConcurrentActivityTaskExecutions: config.SESSION_CHAIN_MAX_CHATS,
      maxHeartbeatThrottleInterval,
    }),
  ]);
}

/** The bundle that `npm run build` made of workflows/, beside the compiled workers. */
function workflowBundlePath(): string {
  const path = join(import.meta.dirname, 'workflow-bundle.js');
  readFileSync(path); // a missing bundle is an error of the build, to be told at start
  return path;
}
