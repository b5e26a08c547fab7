import { setTimeout as sleep } from 'node:timers/promises';
import type { BundlerPlugin, Worker, WorkerOptions, WorkerPlugin } from '@temporalio/worker';
import { findAgentSdk } from '../agent/process/binary.js';
import { SessionChainError } from '../contracts/failures.js';
import { taskQueuesOf } from '../temporal/names.js';
import { createWorkerMetrics } from './metrics.js';
import { type ChainWorkerOptions, checkChainOptions } from './options.js';
import { deploymentOptions, releaseOfHost } from './release.js';
import { withoutTaskTokens } from './temporal-log.js';
import {
  convertersCollide,
  namesCollide,
  requireChainWorkflows,
  withChainWorkflows,
  workflowBundle,
} from './workflow-bundles.js';
import type { ChainService, ServiceActivities } from './worker.js';

/** For `plugins` of a worker, and of `bundleWorkflowCode`. */
export type SessionChainPlugin = Required<Pick<WorkerPlugin, 'configureWorker' | 'runWorker'>> &
  Required<Pick<BundlerPlugin, 'configureBundler'>> & {
    readonly name: string;
    /** What its agents and activities have counted, in the text format of Prometheus; docs/metrics.md explains each metric. */
    metrics(): Promise<string>;
  };

interface HostedService {
  service: ChainService;
  activities: ServiceActivities;
  /** Starts the workers of agents and chats. */
  createWorkers(): Promise<Worker[]>;
  /** How Temporal knows all of them. */
  told: Pick<WorkerOptions, 'identity' | 'workerDeploymentOptions'>;
}

/**
 * Runs chains on a worker of the host. Its queue is that of the chains, and the worker gets their workflows and their
 * short database activities beside its own; while it runs, two more poll for agents and chats, on its connection, at
 * `<queue>-agents` and `<queue>-chats`. They stop with it. `Worker.create` throws what a person must correct first, as
 * `createWorker` does.
 *
 * The worker needs `connection`. Its own payload or failure converter, workflows named `chain`, `chat`, `chainEnd`,
 * `retention`, `restore` or `erase`, and activities that are named like those of the chains are rejected
 * (INVALID_INPUT); payload codecs are used. A bundle made beforehand also needs the plugin in `bundleWorkflowCode`.
 *
 * @example
 * const chains = sessionChainPlugin({
 *   pool, workspaceRoots: ['/srv/projects'], agentEnvironment: process.env,
 * });
 * const worker = await Worker.create({
 *   connection, taskQueue: 'shop', workflowsPath, activities, plugins: [chains],
 * });
 * await worker.run();
 */
export function sessionChainPlugin(options: ChainWorkerOptions): SessionChainPlugin {
  const checked = checkChainOptions(options);
  const meter = createWorkerMetrics();
  /** By the queue of the host's worker; from its creation until it runs. */
  const created = new Map<string, HostedService>();
  /** The queues of our own workers, to which a plugin of the connection is also applied. */
  const ownQueues = new Set<string>();

  async function open(host: WorkerOptions): Promise<HostedService> {
    const { connection, namespace = 'default', taskQueue = '', dataConverter } = host;
    if (!connection) {
      throw new SessionChainError(
        'INVALID_INPUT',
        "The host's worker has no `connection`, which agents and chats share with it.",
        'Pass the NativeConnection to Worker.create.',
      );
    }
    for (const name of ['payloadConverterPath', 'failureConverterPath'] as const) {
      if (dataConverter?.[name] !== undefined) throw convertersCollide(name);
    }
    findAgentSdk();
    // Loaded only now, because it cannot be loaded without the agent SDK.
    const [{ agentWorkers, openService }, { workerName }] = await Promise.all([
      import('./worker.js'),
      import('../activities/workspace.js'),
    ]);
    const ofHost = releaseOfHost(host);
    const service = await openService({ ...checked, ...ofHost }, meter);
    const temporal = { connection, namespace };
    const identity = host.identity ?? workerName();
    const { workerDeploymentOptions } = host;
    const told = {
      identity,
      ...(workerDeploymentOptions ? { workerDeploymentOptions } : {}),
      // It may have a version of the former kind, too.
      ...(ofHost ? {} : deploymentOptions(checked.deployment, service.release)),
    };
    const more = dataConverter === undefined ? {} : { dataConverter };
    const activities = service.activitiesOn({ ...temporal, taskQueue }, more);
    return {
      service,
      activities,
      told,
      createWorkers: async () => {
        const { chains, chats } = taskQueuesOf(taskQueue);
        const { queues } = activities.own ?? {};
        for (const one of [chains.agents, chats.chats, queues?.agents, queues?.chats])
          if (one !== undefined) ownQueues.add(one);
        const workers = await Promise.all(
          agentWorkers(checked, temporal, taskQueue, activities, { ...more, ...told }),
        );
        service.ready({ namespace, taskQueue, identity });
        return workers;
      },
    };
  }

  return {
    name: 'session-chain',
    metrics: () => meter.text(),
    configureBundler: withChainWorkflows,
    async configureWorker(host) {
      const { taskQueue = '', workflowBundle: bundle, workflowsPath } = host;
      if (ownQueues.has(taskQueue)) return host;
      if (bundle) requireChainWorkflows(bundle);
      const hosted = created.get(taskQueue) ?? (await open(host));
      created.set(taskQueue, hosted);
      const database: Record<string, unknown> = { ...hosted.activities.database };
      const theirs = (host.activities ?? {}) as Record<string, unknown>;
      const twice = Object.keys(database).filter(
        (name) => (theirs[name] ?? database[name]) !== database[name],
      );
      if (twice.length > 0) throw namesCollide('activities', twice);
      return {
        ...host,
        ...hosted.told,
        activities: { ...theirs, ...database },
        interceptors: {
          ...host.interceptors,
          activity: [...(host.interceptors?.activity ?? []), withoutTaskTokens((type) => type in database)],
        },
        ...(bundle || workflowsPath ? {} : { workflowBundle: workflowBundle() }),
      };
    },
    async runWorker(worker, next) {
      const { taskQueue } = worker.options;
      const hosted = created.get(taskQueue);
      if (!hosted) return await next(worker);
      created.delete(taskQueue);
      try {
        const { runTogether } = await import('./worker.js');
        hosted.service.watch(worker, hosted.told.identity ?? '');
        const own = await hosted.createWorkers();
        const run = next(worker);
        const together = runTogether(
          [{ worker, run }, ...own.map((one) => ({ worker: one, run: one.run() }))],
          () => hosted.service.stopping(),
        );
        void stopWith(worker, run, together.shutdown);
        await together.finished;
      } finally {
        await hosted.service.close();
      }
    },
  };
}

const lookMs = 100;

/** Tells our workers that the host's worker stops, before that has waited for its own activities. */
async function stopWith(worker: Worker, run: Promise<void>, shutdown: () => void): Promise<void> {
  let ended = false;
  const end = () => (ended = true);
  run.then(end, end);
  while (!ended && ['INITIALIZED', 'RUNNING'].includes(worker.getState())) await sleep(lookMs);
  shutdown();
}
