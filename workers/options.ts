import { relative, sep } from 'node:path';
import type { NativeConnection } from '@temporalio/worker';
import { z } from 'zod';
import { type DatabaseOptions, giveOneDatabase, isOneDatabase, poolSchema } from '../client/connections.js';
import { checked, has } from '../client/input.js';
import { maxEventsDays, readConfig, required, variables } from '../config/environment.js';
import { createLog } from '../config/log.js';
import { retentionOfVariables } from '../config/retention.js';
import { sandboxOfVariables, sandboxSchema } from '../config/sandbox.js';
import type { VersionStatus } from '../contracts/chain.js';
import type { OnEndInput } from '../contracts/end.js';
import { senseless } from '../contracts/retention.js';
import type { SandboxInput } from '../contracts/sandbox.js';
import type { ChainDefinitionInput } from '../definition/definition.js';
import { onEndSchema } from '../definition/host-activity.js';
import { definitionFile } from '../definition/load.js';
import {
  type HostConnection,
  type WorkerTemporalAddress,
  temporalFromEnvironment,
} from '../temporal/connect-native.js';

/** How much a worker takes on, and how it waits. Every field is optional. */
export interface WorkerLimits {
  /** Agents that run at the same time. Default: min(2 x cores, memory / 512 MB). */
  maxAgents?: number;
  /** Questions that are answered at the same time, beside the agents. Default: 2. */
  maxChats?: number;
  /**
   * Milliseconds between two heartbeats that reach Temporal, and bring its cancellations to the agent; at most a third of
   * the chains' heartbeat timeout. Default: 10,000.
   */
  heartbeatThrottleMs?: number;
  /** Milliseconds that a stopping worker gives its running steps. Default: 20,000. */
  shutdownGraceMs?: number;
  /** Milliseconds after which an operation fails whose folder no worker has. Default: 600,000. */
  workspaceWaitMs?: number;
  /** Days after which events are deleted; of several workers the least counts. Default: 30. */
  eventsDays?: number;
  /** Whether steps and answers go on in the Claude Code process of the one before, where it is still there. Default: true. */
  warm?: boolean;
}

/**
 * How long a worker keeps what; whole days, by the database's clock. It counts for the projects on which this worker runs
 * retention, so all workers of a database should have the same.
 */
export interface RetentionOptions {
  /**
   * Where to archive: the absolute path of a folder that all workers share, or `s3://bucket/prefix`, with credentials as the
   * AWS SDK finds them. Default: none; then transitions move, and nothing else goes.
   */
  archive?: string;
  /** After which transitions leave `session_transitions` for `session_chain.session_transitions_archive`. Default: 30. */
  transitionsDays?: number;
  /** After its last entry, after which a transcript that nothing needs is archived; at least `transitionsDays`. Default: 90. */
  transcriptsDays?: number;
  /** After its archiving, after which such a transcript is dropped from the database. Default: 30. */
  dropDays?: number;
  /**
   * After the end of a chain, after which its failed attempts, metrics and briefs are archived and dropped; at least
   * `transcriptsDays`. Default: 400.
   */
  detailsDays?: number;
  /** Lets it delete old rows from tables that the host created. Default: false. */
  hostTables?: boolean;
}

/** Where a worker logs: a pino logger, or anything with these methods. docs/log.md explains the lines. */
export interface WorkerLog {
  info(fields: Record<string, unknown>, message?: string): void;
  warn(fields: Record<string, unknown>, message?: string): void;
  /** What pages a person. Default: `warn`. */
  error?(fields: Record<string, unknown>, message?: string): void;
}

/** A worker deployment of Temporal, in which each release is a version; docs/operations.md says what has to be set on the server. */
export interface DeploymentInput {
  name: string;
  /** Whether open workflows stay with the release with which they began, or go on with the current one. Default: `pinned`. */
  versioning?: 'pinned' | 'auto-upgrade';
}

/** The options of anything that runs chains: `createWorker`, or a worker of the host with `sessionChainPlugin`. */
export type ChainWorkerOptions = DatabaseOptions & {
  /** The chain's steps: what `defineChain` returned, or the path of a file that exports it. Default: the shipped chain. */
  definition?: ChainDefinitionInput | string;
  /** The model where the definition names none. Default: Claude Code's own choice. */
  model?: string;
  /** Absolute paths of the folders below which workspaces may lie. */
  workspaceRoots: readonly string[];
  /**
   * The environment from which the agents get theirs, such as `process.env`: the model's credentials (ANTHROPIC_API_KEY
   * and its relatives), PATH, language and proxies. No other variable reaches an agent.
   */
  agentEnvironment: Readonly<Record<string, string | undefined>>;
  /** The claude binary. Default: the one that comes with the agent SDK. */
  agentPath?: string;
  /** The folder for private folders of running agents. Default: `session-chain` in the system's temp folder. */
  scratchFolder?: string;
  /** How agents are kept in. Default, field by field: what the definition sets, else bubblewrap. */
  sandbox?: SandboxInput;
  /**
   * An activity of the host that is called at every end of a chain, at least once, whatever ended it. Default: what the
   * definition sets, else none. Workers of one database that differ in it share the calls: each end goes to one of them.
   */
  onEnd?: OnEndInput;
  /** A cache of the Redis protocol for the checkpoint. Default: none; nothing depends on it. */
  redisUrl?: string;
  /** What `project_versions.status` becomes; null leaves it alone. Default: `deployed` and `failed`. */
  versionStatus?: Partial<VersionStatus>;
  limits?: WorkerLimits;
  retention?: RetentionOptions;
  /** What its release is called, to Temporal its build id. Default: the package's version and a hash of its workflows. */
  release?: string;
  /** Lets Temporal keep releases apart. Default: none; a worker takes the tasks of every release. */
  deployment?: DeploymentInput;
  /** Default: JSON lines on stderr. */
  log?: WorkerLog;
};

/** The options of `createWorker`. A pool or a connection that the host passes is not closed. */
export type CreateWorkerOptions = ChainWorkerOptions & {
  /** The namespace in which the chains run: its address, or a connection of the host. */
  temporal: WorkerTemporalAddress | HostConnection;
  /** The queue of the chains; agents and chats add `-agents` and `-chats`. Default: `session-chain`. */
  taskQueue?: string;
};

const defaults = readConfig({});
const count = (byDefault: number) => z.number().int().min(1).default(byDefault);
const days = (byDefault: number) => z.number().int().min(1).max(maxEventsDays).default(byDefault);
/** `process.env` itself is no plain object, which a record has to be. */
const isEnvironment = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const chainShape = {
  databaseUrl: variables.DATABASE_URL,
  pool: poolSchema.optional(),
  definition: z
    .union(
      [z.string().min(1), z.custom<ChainDefinitionInput>((value) => typeof value === 'object' && value)],
      {
        error: 'must be what defineChain returned, or the path of a file',
      },
    )
    .optional(),
  model: z.string().min(1).optional(),
  workspaceRoots: z.array(z.string().regex(/^\//, 'must be an absolute path')).min(1, 'must name a folder'),
  agentEnvironment: z.preprocess(
    (given) => (isEnvironment(given) ? { ...given } : given),
    z.record(z.string(), z.string().optional()),
  ),
  agentPath: z.string().min(1).optional(),
  scratchFolder: z.string().min(1).default(defaults.SESSION_CHAIN_SCRATCH_DIR),
  sandbox: sandboxSchema.prefault({}),
  onEnd: onEndSchema.optional(),
  redisUrl: variables.REDIS_URL,
  versionStatus: z
    .strictObject({
      succeeded: z.string().min(1).nullable().default(defaults.SESSION_CHAIN_STATUS_SUCCEEDED),
      failed: z.string().min(1).nullable().default(defaults.SESSION_CHAIN_STATUS_FAILED),
    })
    .prefault({}),
  limits: z
    .strictObject({
      maxAgents: count(defaults.SESSION_CHAIN_MAX_AGENTS),
      maxChats: count(defaults.SESSION_CHAIN_MAX_CHATS),
      heartbeatThrottleMs: count(defaults.SESSION_CHAIN_HEARTBEAT_THROTTLE_MS),
      shutdownGraceMs: count(defaults.SESSION_CHAIN_SHUTDOWN_GRACE_MS),
      workspaceWaitMs: count(defaults.SESSION_CHAIN_WORKSPACE_WAIT_MS),
      eventsDays: z.number().int().min(1).max(maxEventsDays).default(defaults.SESSION_CHAIN_EVENTS_DAYS),
      warm: z.boolean().default(defaults.SESSION_CHAIN_WARM),
    })
    .prefault({}),
  retention: z
    .strictObject({
      archive: variables.SESSION_CHAIN_ARCHIVE,
      transitionsDays: days(defaults.SESSION_CHAIN_KEEP_TRANSITIONS_DAYS),
      transcriptsDays: days(defaults.SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS),
      dropDays: days(defaults.SESSION_CHAIN_DROP_TRANSCRIPTS_DAYS),
      detailsDays: days(defaults.SESSION_CHAIN_KEEP_DETAILS_DAYS),
      hostTables: z.boolean().default(false),
    })
    .superRefine((policy, context) => {
      for (const { path, message } of senseless(policy))
        context.addIssue({ code: 'custom', path: [path], message });
    })
    .prefault({}),
  release: variables.SESSION_CHAIN_RELEASE,
  deployment: z
    .strictObject({
      name: variables.SESSION_CHAIN_DEPLOYMENT.unwrap(),
      versioning: variables.SESSION_CHAIN_VERSIONING,
    })
    .optional(),
  log: z
    .custom<WorkerLog>(
      (value) => has(value, 'info', 'function') && has(value, 'warn', 'function'),
      'must have the methods info and warn',
    )
    .optional(),
};
const chainSchema = z
  .strictObject(chainShape)
  .refine(isOneDatabase, giveOneDatabase)
  .superRefine(keepArchiveApart);
const workerSchema = z
  .strictObject({
    ...chainShape,
    temporal: z.union(
      [
        z.strictObject({
          // The client's connection has no such method.
          connection: z.custom<NativeConnection>((value) => has(value, 'setMetadata', 'function')),
          namespace: z.string().min(1).optional(),
        }),
        z.strictObject({
          address: z.string().min(1),
          namespace: z.string().min(1).optional(),
          apiKey: z.string().optional(),
          tls: z.custom<WorkerTemporalAddress['tls']>().optional(),
          metadata: z.custom<WorkerTemporalAddress['metadata']>().optional(),
        }),
      ],
      { error: 'must be { address, namespace } or { connection, namespace } with a NativeConnection' },
    ),
    taskQueue: variables.SESSION_CHAIN_TASK_QUEUE,
  })
  .refine(isOneDatabase, giveOneDatabase)
  .superRefine(keepArchiveApart);

const unusable = 'The options of the worker are not usable';

/** Agents write below the roots and in the scratch folder; an archive there is theirs to change. */
function keepArchiveApart(
  {
    retention,
    workspaceRoots,
    scratchFolder,
  }: {
    retention: { archive?: string | undefined };
    workspaceRoots: readonly string[];
    scratchFolder: string;
  },
  context: z.RefinementCtx,
): void {
  const { archive } = retention;
  if (!archive?.startsWith('/')) return;
  const theirs = [...workspaceRoots, scratchFolder].find(
    (folder) => isWithin(archive, folder) || isWithin(folder, archive),
  );
  if (theirs === undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['retention', 'archive'],
    message: `${archive} and ${theirs}, where agents write, must not lie in each other`,
  });
}

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`));
}

/** The options, checked and with their defaults. */
export type CheckedChainOptions = z.infer<typeof chainSchema>;

/** Throws INVALID_INPUT that names every option that is wrong. */
export function checkChainOptions(options: ChainWorkerOptions): CheckedChainOptions {
  return checked(chainSchema, options, unusable);
}

/** Throws INVALID_INPUT that names every option that is wrong. */
export function checkWorkerOptions(
  options: CreateWorkerOptions,
): CheckedChainOptions & Required<Pick<CreateWorkerOptions, 'temporal' | 'taskQueue'>> {
  return checked(workerSchema, options, unusable) as ReturnType<typeof checkWorkerOptions>;
}

/**
 * The options from an environment, by the variables that the command `session-chain worker` reads; the definition is
 * looked up in the working folder. Throws INVALID_INPUT or INVALID_CONFIG that names the variable.
 *
 * @example
 * const worker = await createWorker({ ...optionsFromEnvironment(process.env), log });
 * await worker.finished;
 */
export function optionsFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): CreateWorkerOptions {
  const config = readConfig(environment);
  const definition = definitionFile(config);
  const roots = config.SESSION_CHAIN_WORKSPACE_ROOTS;
  return {
    databaseUrl: required(config.DATABASE_URL, 'DATABASE_URL'),
    temporal: temporalFromEnvironment(config),
    taskQueue: config.SESSION_CHAIN_TASK_QUEUE,
    ...(definition === undefined ? {} : { definition }),
    ...(config.SESSION_CHAIN_MODEL === undefined ? {} : { model: config.SESSION_CHAIN_MODEL }),
    workspaceRoots: required(roots.length > 0 ? roots : undefined, 'SESSION_CHAIN_WORKSPACE_ROOTS'),
    agentEnvironment: config.environment,
    ...(config.SESSION_CHAIN_AGENT_PATH === undefined ? {} : { agentPath: config.SESSION_CHAIN_AGENT_PATH }),
    scratchFolder: config.SESSION_CHAIN_SCRATCH_DIR,
    sandbox: sandboxOfVariables(config),
    ...(config.REDIS_URL === undefined ? {} : { redisUrl: config.REDIS_URL }),
    versionStatus: {
      succeeded: config.SESSION_CHAIN_STATUS_SUCCEEDED || null,
      failed: config.SESSION_CHAIN_STATUS_FAILED || null,
    },
    limits: {
      maxAgents: config.SESSION_CHAIN_MAX_AGENTS,
      maxChats: config.SESSION_CHAIN_MAX_CHATS,
      // A cancellation that does not come through our client reaches an activity only with its next heartbeat.
      heartbeatThrottleMs: Math.floor(
        Math.min(config.SESSION_CHAIN_HEARTBEAT_THROTTLE_MS, config.SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS / 3),
      ),
      shutdownGraceMs: config.SESSION_CHAIN_SHUTDOWN_GRACE_MS,
      workspaceWaitMs: config.SESSION_CHAIN_WORKSPACE_WAIT_MS,
      eventsDays: config.SESSION_CHAIN_EVENTS_DAYS,
      warm: config.SESSION_CHAIN_WARM,
    },
    retention: retentionOfVariables(config),
    ...(config.SESSION_CHAIN_RELEASE === undefined ? {} : { release: config.SESSION_CHAIN_RELEASE }),
    ...(config.SESSION_CHAIN_DEPLOYMENT === undefined
      ? {}
      : {
          deployment: {
            name: config.SESSION_CHAIN_DEPLOYMENT,
            versioning: config.SESSION_CHAIN_VERSIONING,
          },
        }),
    log: createLog(config),
  };
}
