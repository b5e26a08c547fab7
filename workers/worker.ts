import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { Client } from '@temporalio/client';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import {
  createAgentActivities,
  createChainActivities,
  createChatActivities,
  createChatReadActivities,
} from '../activities/create-activities.js';
import { createEndActivities } from '../activities/chain-end.js';
import { createRetentionActivities } from '../activities/retention.js';
import type { RetentionSetting } from '../activities/dependencies.js';
import { createEraseActivities } from '../activities/erase.js';
import { createRestoreActivities } from '../activities/restore.js';
import {
  createInstallationCheck,
  ofOwnInstallation,
  waitingForOwnInstallation,
} from '../activities/installation.js';
import { leftToOwnInstallation } from '../activities/step.js';
import { leftQuestion } from '../activities/question.js';
import { type Log, createEventLog, failureFields, levelOfPart } from '../activities/log.js';
import { type Outage, createOutage } from '../activities/outage.js';
import { workerName } from '../activities/workspace.js';
import { createAgent } from '../agent/agent.js';
import { openArchive } from '../archive/open.js';
import type { AgentEvent } from '../agent/run.js';
import { checkSandbox } from '../agent/sandbox/apart.js';
import { withoutSandbox } from '../agent/sandbox/sandbox.js';
import { findAgentBinary, installedSdk } from '../agent/process/binary.js';
import { requireCredentials } from '../agent/process/environment.js';
import { differenceFromTested } from '../agent/process/tested.js';
import { modelEnvironmentOf } from '../config/environment.js';
import { packageVersion } from '../config/package-version.js';
import { sandboxSettings } from '../config/sandbox.js';
import type { AgentActivities, Returned } from '../contracts/activities.js';
import type { EndActivities } from '../contracts/end.js';
import type { EraseActivities } from '../contracts/erasure.js';
import type { ChatActivities } from '../contracts/question.js';
import type { RestoreActivities } from '../contracts/retention.js';
import { SessionChainError } from '../contracts/failures.js';
import { credentialsIn } from '../contracts/secrets.js';
import { type ChainDefinition, isAgentStep, submissionSteps } from '../definition/definition.js';
import { stepDigest } from '../definition/digest.js';
import { loadDefinition } from '../definition/load.js';
import { showDefinition } from '../definition/shown.js';
import { takeEnds } from '../storage/chains/ends.js';
import { createStopRequests } from '../storage/chains/stop-requests.js';
import { isInterruption } from '../storage/operations/operations.js';
import { createCheckpoint } from '../storage/checkpoint.js';
import { missingSubmissionColumns } from '../storage/db/host-tables.js';
import { requireRights } from '../storage/db/grants.js';
import { requireAccess } from '../storage/db/host-access.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Installation } from '../contracts/installation.js';
import { requireMigrations } from '../storage/db/migrate.js';
import { type Pool, createPool, requireWriting } from '../storage/db/pool.js';
import { keepTrimmed } from '../storage/events/trim.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';
import { type NativeTemporal, connectNative } from '../temporal/connect-native.js';
import { createLog } from '../config/log.js';
import { createProjectHistories } from '../temporal/histories.js';
import { ownTaskQueuesOf, taskQueuesOf } from '../temporal/names.js';
import { createChainRuns } from '../temporal/runs.js';
import { requireRoots } from '../workspace/workspace.js';
import { type WorkerHealth, createHealth, healthTimeoutMs } from './health.js';
import { type WorkerMetrics, createWorkerMetrics } from './metrics.js';
import { type CheckedChainOptions, type CreateWorkerOptions, checkWorkerOptions } from './options.js';
import { type EndDispatcher, dispatchEnds } from './ends.js';
import { type Places, createPlaces } from './places.js';
import { tellFailingTasks } from './failing-tasks.js';
import { warnOfNeighbours } from './neighbours.js';
import { type Presence, keepPresent } from './presence.js';
import { deploymentOptions, releaseOf, unversioned } from './release.js';
import { type Watch, keepWatch } from './watch.js';
import { withoutTaskTokens } from './temporal-log.js';
import { workflowBundle } from './workflow-bundles.js';

export interface RunningWorker {
  /** Whether it takes on work; cheap enough for a probe every second. */
  health(): Promise<WorkerHealth>;
  /** What it has counted since its start, in the text format of Prometheus; docs/metrics.md explains each metric. */
  metrics(): Promise<string>;
  /** Resolves when the worker has stopped and what it opened is closed; rejects when it broke. */
  finished: Promise<void>;
  /** Stops polling and interrupts running steps, which another worker then continues. */
  shutdown: () => void;
}

/**
 * Starts the worker: one for workflows and short database activities, one for the agents, one for the answers of chats, on
 * one connection. Nothing is shared with another worker of the process.
 */
export async function createWorker(given: CreateWorkerOptions): Promise<RunningWorker> {
  const { temporal: where, taskQueue, ...options } = checkWorkerOptions(given);
  const metrics = createWorkerMetrics();
  const service = await openService(options, metrics);
  const identity = workerName();
  try {
    const temporal = await connectNative(where);
    try {
      const activities = service.activitiesOn({ ...temporal, taskQueue });
      const told = { identity, ...deploymentOptions(options.deployment, service.release) };
      const workers = await Promise.all([
        Worker.create({
          ...sharedOptions(options, temporal),
          ...told,
          ...ownWorkflows(),
          taskQueue,
          activities: { ...activities.database },
        }),
        ...agentWorkers(options, temporal, taskQueue, activities, told),
      ]);
      service.watch(workers[0], identity);
      service.ready({ namespace: temporal.namespace, taskQueue, identity });
      const { finished, shutdown } = runTogether(
        workers.map((worker) => ({ worker, run: worker.run() })),
        () => service.stopping(),
      );
      return {
        health: createHealth({
          states: () => workers.map((worker) => worker.getState()),
          connection: temporal.connection,
          database: () => service.requireDatabase(healthTimeoutMs),
        }),
        metrics: () => metrics.text(),
        shutdown,
        finished: finished.finally(() => Promise.allSettled([temporal.close(), service.close()])),
      };
    } catch (error) {
      await temporal.close().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** What chains need from a process, whichever workers poll for it. */
export interface ChainService {
  /** What this release is called. */
  release: string;
  /** The activities, by the queue that is polled for them. */
  activitiesOn(
    temporal: Pick<NativeTemporal, 'connection' | 'namespace'> & { taskQueue: string },
    more?: Pick<WorkerOptions, 'dataConverter'>,
  ): ServiceActivities;
  /** Called when its workers poll: logs it, and begins to listen for requests to stop and for ends of chains. */
  ready(fields: { namespace: string; taskQueue: string; identity: string }): void;
  /** Called for the worker that has the workflows: logs those whose tasks fail on it. */
  watch(worker: Worker | undefined, identity: string): void;
  /** Throws DATABASE_UNAVAILABLE, DATABASE_REFUSED where the database does not answer within this time, or writes nothing. */
  requireDatabase(timeoutMs: number): Promise<void>;
  /** Called when its workers begin to stop: ends the processes that wait for their next task. */
  stopping(): void;
  /** Closes what was opened here. */
  close(): Promise<void>;
}

export interface ServiceActivities {
  database: ReturnType<typeof createChainActivities> &
    ReturnType<typeof createChatReadActivities> &
    EndActivities &
    EraseActivities &
    RestoreActivities &
    ReturnType<typeof createRetentionActivities>;
  agents: ReturnType<typeof createAgentActivities>;
  chats: ReturnType<typeof createChatActivities>;
  /** What agents and chats of this worker share between the queues of all workers and its own; null where it keeps no process. */
  own: { queues: { agents: string; chats: string }; agents: Places; chats: Places } | null;
}

/**
 * Checks what a person must correct first, and opens what the activities work with. Throws CREDENTIALS_MISSING,
 * AGENT_NOT_FOUND, SANDBOX_UNAVAILABLE, INVALID_INPUT, INVALID_CONFIG, DATABASE_UNAVAILABLE, DATABASE_REFUSED for a role
 * that lacks rights, MIGRATIONS_BEHIND.
 */
export async function openService(options: CheckedChainOptions, meter: WorkerMetrics): Promise<ChainService> {
  const { limits, workspaceRoots, versionStatus } = options;
  const log = logOf(options);
  const outages = {
    model: createOutage(log, { subject: 'model', pageAfterMs: null }),
    database: createOutage(log, { subject: 'database', pageAfterMs: leasesEndAfterMs }),
    temporal: createOutage(log, { subject: 'temporal', pageAfterMs: leasesEndAfterMs }),
  };
  const onBrokenConnection = saidSeldom((reason) => log.info('database.connection_broke', { reason }));
  const modelEnvironment = modelEnvironmentOf(options.agentEnvironment);
  requireCredentials(modelEnvironment);
  await findAgentBinary(options.agentPath);
  for (const root of await requireRoots(workspaceRoots)) {
    log.warn('worker.warning', { reason: 'This workspace root is not a folder here.', root });
  }
  const { definition, warnings } = await loadDefinition(options.definition, options.model);
  for (const reason of warnings) log.warn('worker.warning', { reason, file: definition.file });
  const onEnd = options.onEnd ?? definition.onEnd;
  const { sandbox, missing } = await checkSandbox(sandboxSettings(definition.sandbox, options.sandbox), {
    workspaceRoots,
    scratchRoot: options.scratchFolder,
  });
  for (const path of missing) {
    const reason = 'This path of sandbox.read does not exist here; agents go without it.';
    log.warn('worker.warning', { reason, path });
  }
  const ownPool =
    options.databaseUrl === undefined
      ? null
      : createPool(options.databaseUrl, {
          applicationName: 'session-chain worker',
          // One listens for requests to stop.
          max: 11 + limits.maxAgents + limits.maxChats,
          log: onBrokenConnection,
        });
  const pool = ownPool ?? (options.pool as Pool);
  const running = { agents: 0, chats: 0 };
  const isStep = new Set(definition.steps.map(({ name }) => name));
  const places = { agents: createPlaces(limits.maxAgents), chats: createPlaces(limits.maxChats) };
  const agent = createAgent({
    maxProcesses: limits.maxAgents + limits.maxChats,
    modelEnvironment,
    inheritedEnvironment: options.agentEnvironment,
    scratchRoot: options.scratchFolder,
    sandbox,
    ...(options.agentPath === undefined ? {} : { binaryPath: options.agentPath }),
    definition,
    log: (event, ids) => {
      meter.agentEvent(event);
      meter.parked(agent.parked());
      if (event.event === 'agent.started') running[isStep.has(event.step) ? 'agents' : 'chats'] += 1;
      if (event.event === 'agent.ended' || event.event === 'agent.failed')
        running[isStep.has(event.step) ? 'agents' : 'chats'] -= 1;
      if (event.event === 'agent.parked' && isStep.has(event.step)) places.agents.keep();
      logAgent(log.with(ids), event, outages.model);
    },
  });
  let installation: Installation;
  try {
    await requireRights(pool, 'worker');
    await requireMigrations(pool);
    await requireAccess(pool);
    installation = await readInstallation(pool);
    await requireColumns(pool, definition);
    // Before any chain can end here: it says that ends are wanted.
    if (onEnd) await takeEnds(pool, 0);
    await agent.recover();
  } catch (error) {
    await ownPool?.end();
    throw error;
  }
  const version = await agent.version();
  const claudeCode = version ?? 'of unknown version';
  const release = releaseOf(options.release);
  const difference = differenceFromTested({ claudeCode, sdk: installedSdk().version });
  if (difference !== null) {
    const remedy = 'run session-chain doctor --probe-agent, which says what differs in what chains rely on.';
    log.warn('agent.untested', { claudeCode, reason: `${difference}: ${remedy}` });
  }
  const retention = retentionSetting(options);
  const check = createInstallationCheck(pool, log, installation);
  const installationId = async () => (await readInstallation(pool)).id;
  const checkpoint = createCheckpoint(options.redisUrl ?? null, {
    log: (reason) => log.warn('redis.unavailable', { reason }),
  });
  const stopRequests = createStopRequests(pool, onBrokenConnection);
  let trimming: ReturnType<typeof keepTrimmed> | undefined;
  let client: Client | undefined;
  let dispatcher: EndDispatcher | undefined;
  let presence: Presence | undefined;
  let watch: Watch | undefined;
  let keepsWatch: (() => Watch) | undefined;
  const requireDatabase = async (timeoutMs: number) => await requireWriting(pool, timeoutMs);
  let neighbours: ReturnType<typeof warnOfNeighbours> | undefined;
  return {
    release,
    watch(worker, identity) {
      if (worker && client) tellFailingTasks(worker, { client, log, facts: { release, worker: identity } });
    },
    activitiesOn({ connection, namespace, taskQueue }, more = {}) {
      client = new Client({ connection, namespace, ...more });
      keepsWatch = () => keepWatch({ log, connection, database: requireDatabase, outages });
      // A process id is not unique among containers.
      const ownQueues = limits.warm ? ownTaskQueuesOf(taskQueue, randomUUID().slice(0, 8)) : null;
      const dependencies = {
        ...{
          pool,
          agent,
          checkpoint,
          workspaceRoots,
          definition,
          versionStatus,
          stopRequests,
          log,
          meter,
          outages,
        },
        ownQueues,
        createTranscriptStore: (projectId: Parameters<typeof createTranscriptStore>[0]['projectId']) =>
          createTranscriptStore({ pool, projectId }),
        workspaceWaitMs: limits.workspaceWaitMs,
        retention,
        chainRuns: createChainRuns(client, installationId),
      };
      const histories = createProjectHistories(client, installationId);
      return {
        database: {
          ...ofOwnInstallation(
            {
              ...createChainActivities(dependencies),
              ...createChatReadActivities(dependencies),
              ...createEndActivities(dependencies),
              ...createEraseActivities({ ...dependencies, histories }),
            },
            check,
          ),
          ...ofOwnInstallation(
            { ...createRetentionActivities(dependencies), ...createRestoreActivities(dependencies) },
            check,
            { bounded: true },
          ),
        },
        agents: waitingForOwnInstallation(createAgentActivities(dependencies), check, leftToOwnInstallation),
        chats: waitingForOwnInstallation(createChatActivities(dependencies), check, leftQuestion),
        own: ownQueues && { queues: ownQueues, ...places },
      };
    },
    ready(fields) {
      stopRequests.listen();
      trimming ??= keepTrimmed(pool, limits.eventsDays, (reason) =>
        log.warn('events.not_trimmed', { reason }),
      );
      watch ??= keepsWatch?.();
      if (onEnd && client) {
        const { taskQueue } = fields;
        dispatcher = dispatchEnds({ pool, client, taskQueue, onEnd, log });
      }
      const { shown, digest } = showDefinition(definition, onEnd);
      presence ??= keepPresent({
        ...{ pool, log },
        facts: {
          ...{
            ...fields,
            limits: { ...limits, retention: retention.policy },
            host: hostname(),
            version: packageVersion(),
            release,
            deployment: options.deployment?.name ?? null,
          },
          ...{ claudeCode: version, sdk: installedSdk().version, sandbox: sandbox.kind },
          ...{ definition: shown, definitionDigest: digest, definitionFile: definition.file },
        },
        running: () => ({ ...running, parked: agent.parked() }),
      });
      if (client) neighbours ??= warnOfNeighbours({ pool, client, log }, fields);
      const { maxAgents, maxChats } = limits;
      const steps = definition.steps.map(({ name }) => name);
      meter.describe({ steps, maxAgents, maxChats, claudeCode, sandbox: sandbox.kind, release });
      log.info('worker.ready', {
        ...fields,
        release,
        ...(options.deployment ? { deployment: options.deployment } : {}),
        maxAgents,
        maxChats,
        claudeCode,
        sandbox: sandbox.kind,
        warm: limits.warm,
        ...(onEnd ? { onEnd: `${onEnd.activity} on ${onEnd.taskQueue}` } : {}),
        archive: retention.policy.archive ?? 'none',
        definition: definition.file ?? 'shipped',
        steps: Object.fromEntries(
          definition.steps
            .filter(isAgentStep)
            .map((step) => [step.name, stepDigest(definition, step).slice(0, 12)]),
        ),
      });
    },
    stopping: () => void agent.close(),
    requireDatabase,
    async close() {
      checkpoint.close();
      neighbours?.close();
      await presence?.close();
      stopRequests.close();
      const closing = [watch?.close(), agent.close(), dispatcher?.close(), trimming?.close()];
      await Promise.allSettled([...closing, ownPool?.end()]);
    },
  };
}

function retentionSetting({ retention, agentEnvironment }: CheckedChainOptions): RetentionSetting {
  const { archive: setting, ...periods } = retention;
  const archive = setting === undefined ? null : openArchive(setting, agentEnvironment);
  return {
    policy: { ...periods, archive: archive?.location ?? null },
    archive,
    writtenBy: packageVersion(),
  };
}

function logAgent(log: Log, event: AgentEvent, model: Outage): void {
  switch (event.event) {
    case 'agent.sandbox': {
      const { event: name, ...fields } = event;
      if (event.kind !== 'none') return log.info(name, fields);
      return log.warn(name, { ...fields, reason: withoutSandbox(event.hold) });
    }
    case 'agent.egress_refused': {
      const { event: name, ...fields } = event;
      return log.warn(name, fields);
    }
    case 'agent.model_unreachable':
      return model.trouble(log, { host: event.host, reason: event.error });
    case 'agent.failed': {
      const { event: name, error, ...fields } = event;
      const level = isInterruption(error.code) ? 'info' : levelOfPart(error.code);
      return log[level](name, { ...fields, ...failureFields(error) });
    }
    default: {
      const { event: name, ...fields } = event;
      if (name === 'agent.ended') model.over();
      log.info(name, fields);
    }
  }
}

/** The host's log, or lines on stderr; in neither is a credential of the environment. */
function logOf({ log, agentEnvironment, databaseUrl, redisUrl }: CheckedChainOptions): Log {
  const environment = { ...agentEnvironment, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl };
  return createEventLog(
    log ?? createLog({ SESSION_CHAIN_LOG_LEVEL: 'info', environment }),
    credentialsIn(environment),
  );
}

/** Of what comes in swarms: the first, then none for a minute. */
function saidSeldom(say: (message: string) => void): (message: string) => void {
  let saidAtMs = -Infinity;
  return (message) => {
    if (performance.now() - saidAtMs < 60_000) return;
    saidAtMs = performance.now();
    say(message);
  };
}

/** From about then on agents are stopped, because their leases cannot be renewed. */
const leasesEndAfterMs = 30_000;

/** Every column that a submission is written to must exist before anything is paid. */
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

/** The workers beside the one that polls for the chains: a process full of agents still opens and commits chains. */
export function agentWorkers(
  options: Pick<CheckedChainOptions, 'limits'>,
  temporal: Pick<NativeTemporal, 'connection' | 'namespace'>,
  taskQueue: string,
  { agents, chats, own }: Pick<ServiceActivities, 'agents' | 'chats' | 'own'>,
  more: Pick<WorkerOptions, 'dataConverter' | 'identity' | 'workerDeploymentOptions'>,
): Promise<Worker>[] {
  const { maxAgents, maxChats, heartbeatThrottleMs } = options.limits;
  const queues = taskQueuesOf(taskQueue);
  const shared = {
    ...sharedOptions(options, temporal),
    ...more,
    maxHeartbeatThrottleInterval: heartbeatThrottleMs,
  };
  const all = [
    { taskQueue: queues.chains.agents, activities: agents, max: maxAgents, places: own?.agents },
    { taskQueue: queues.chats.chats, activities: chats, max: maxChats, places: own?.chats },
  ];
  return [
    ...all.map(({ max, places, taskQueue, activities }) =>
      Worker.create({
        ...{ ...shared, taskQueue },
        ...(places
          ? { ...shareOf(places), activities: withPlace(activities, places, 'all') }
          : { activities, maxConcurrentActivityTaskExecutions: max }),
      }),
    ),
    ...(own
      ? [
          { taskQueue: own.queues.agents, activities: withPlace(agents, own.agents, 'own'), max: maxAgents },
          { taskQueue: own.queues.chats, activities: withPlace(chats, own.chats, 'own'), max: maxChats },
        ].map(({ max, ...polled }) =>
          // One more, which is returned.
          Worker.create({
            ...shared,
            ...unversioned(more),
            ...polled,
            maxConcurrentActivityTaskExecutions: max + 1,
          }),
        )
      : []),
  ];
}

/** One poll at a time: each has a place before it brings a task. */
function shareOf({ supplier }: Places): Pick<WorkerOptions, 'tuner' | 'activityTaskPollerBehavior'> {
  const none = { type: 'fixed-size', numSlots: 1 } as const;
  return {
    tuner: {
      activityTaskSlotSupplier: supplier,
      workflowTaskSlotSupplier: { type: 'fixed-size', numSlots: 2 },
      localActivityTaskSlotSupplier: none,
      nexusTaskSlotSupplier: none,
    },
    activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 1 },
  };
}

/** The same activities; each returns at once where no place is free, and then goes to all workers. */
function withPlace(
  activities: AgentActivities | Pick<ChatActivities, 'answerQuestion'>,
  places: Places,
  queue: 'all' | 'own',
): Record<string, (input: never) => Promise<unknown>> {
  const entries = Object.entries<(input: never) => Promise<object>>(activities);
  return Object.fromEntries(
    entries.map(([name, run]) => [
      name,
      async (input: never): Promise<object> => {
        const give = places.take(queue);
        if (give === null) return { outcome: 'returned' } satisfies Returned;
        return await run(input).finally(give);
      },
    ]),
  );
}

function sharedOptions(
  { limits }: Pick<CheckedChainOptions, 'limits'>,
  { connection, namespace }: Pick<NativeTemporal, 'connection' | 'namespace'>,
): Pick<
  WorkerOptions,
  'connection' | 'namespace' | 'interceptors' | 'shutdownGraceTime' | 'shutdownForceTime'
> {
  return {
    interceptors: { activity: [withoutTaskTokens(() => true)] },
    connection,
    namespace,
    // Running steps are told immediately: an agent that is interrupted early leaves a transcript to continue from,
    // unlike one that is killed at the end of a grace time.
    shutdownGraceTime: 0,
    shutdownForceTime: limits.shutdownGraceMs,
  };
}

function ownWorkflows(): Pick<
  WorkerOptions,
  'workflowBundle' | 'workflowThreadPoolSize' | 'maxCachedWorkflows' | 'stickyQueueScheduleToStartTimeout'
> {
  return {
    workflowBundle: workflowBundle(),
    workflowThreadPoolSize: 1,
    // Few chains work at a time; the others wait for hours, and cost a short replay when they are woken.
    maxCachedWorkflows: 200,
    // What a killed worker had in its cache goes on elsewhere after this time; what a busy one has is replayed elsewhere.
    stickyQueueScheduleToStartTimeout: '3 s',
  };
}

/**
 * Workers that run until one of them stops or breaks: alone, the others must not go on. `finished` rejects with what broke
 * the first.
 */
export function runTogether(
  members: { worker: Worker; run: Promise<void> }[],
  stopping: () => void,
): Pick<RunningWorker, 'finished' | 'shutdown'> {
  const shutdown = () => {
    stopping();
    members.forEach(({ worker }) => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    });
  };
  const finished = Promise.allSettled(members.map(({ run }) => run.finally(shutdown))).then((ends) => {
    const broken = ends.find((end) => end.status === 'rejected');
    if (broken) throw broken.reason;
  });
  return { finished, shutdown };
}
