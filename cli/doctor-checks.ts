import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Client } from '@temporalio/client';
import { describeAgentBinary, installedSdk } from '../agent/process/binary.js';
import { differenceFromTested } from '../agent/process/tested.js';
import { missingSearchAttributes, registerCommand } from '../temporal/attributes.js';
import { isAgentStep } from '../definition/definition.js';
import { loadChainDefinition } from '../definition/load.js';
import type { Config } from '../config/environment.js';
import { retentionOfVariables } from '../config/retention.js';
import { SessionChainError } from '../contracts/failures.js';
import { modelCredentials } from '../contracts/model-credentials.js';
import { failingTaskRemedy, whatFails } from '../contracts/waiting.js';
import { createRetention } from '../client/retention.js';
import { chainsWithoutCostLimit } from '../storage/chains/cost-limits.js';
import { lateEnds } from '../storage/chains/ends.js';
import { readHeadKey } from '../storage/heads/enforce-head.js';
import { type Part, currentRole, missingRights, openSchemas, parts, remedyOf } from '../storage/db/grants.js';
import { type Expectations, findObstacles, helpOf } from '../storage/db/host-tables.js';
import { pendingMigrations } from '../storage/db/migrate.js';
import type { Pool } from '../storage/db/pool.js';
import { connectClient, temporalAddressOf } from '../temporal/connect.js';
import { taskQueuesOf, workflowTypes } from '../temporal/names.js';
import { requireRoots } from '../workspace/workspace.js';
import type { Check } from './examine.js';
import {
  type KnownWorkers,
  type StoredWorker,
  knownWorkers,
  listDefinitions,
  listWorkers,
} from '../storage/workers/workers.js';
import { openPool } from './database.js';
import { archiveFinding } from './doctor-archive.js';
import { redisFinding } from './doctor-redis.js';
import { databaseFindings } from './doctor-database.js';
import { expectationsOf } from './expectations.js';
import { retentionFindings } from './doctor-retention.js';
import { sandboxFindings } from './doctor-sandbox.js';
import { type CheckName, type Finding, ok } from './finding.js';
import { formatTime } from './format.js';
import { currentReleaseOf, identitiesPolling, pollersOf } from '../temporal/task-queues.js';
import { failingWorkflows } from '../temporal/workflow-tasks.js';

/** Looks at one thing, or at several that belong together. Rejects where that cannot even be asked. */
export const checks: Record<CheckName, Check> = {
  node: async () => nodeVersion(process.versions.node),
  agent: async ({ SESSION_CHAIN_AGENT_PATH }) => {
    const { path, version } = await describeAgentBinary(SESSION_CHAIN_AGENT_PATH);
    const difference = differenceFromTested({ claudeCode: version, sdk: installedSdk().version });
    return difference === null
      ? ok(`Claude Code ${version} at ${path}`)
      : {
          status: 'warn',
          message: `${difference}, at ${path}`,
          remedy: 'Run: session-chain doctor --probe-agent; it says what differs in what chains rely on.',
        };
  },
  sandbox: sandboxFindings,
  credentials: async (config) => credentials(config),
  definition,
  limits,
  workspaces,
  database: async (config) => await withPool((pool) => databaseFindings(pool, config.environment))(config),
  // A worker's environment has a model credential.
  rights: async (config) =>
    await withPool((pool) => rights(pool, config.hasModelCredentials ? ['worker'] : []))(config),
  'host-tables': async (config) => {
    const expectations = await expectationsOf(config);
    return await withPool((pool) => hostTables(pool, expectations))(config);
  },
  migrations: withPool(async (pool) => {
    const pending = await pendingMigrations(pool);
    if (pending.length > 0) {
      return {
        status: 'fail',
        message: `missing: ${pending.join(', ')}`,
        remedy: 'Run: session-chain migrate',
      };
    }
    return (await readHeadKey(pool)).status === 'valid'
      ? ok('up to date; no head can move without a transition')
      : ok(
          'up to date; old writers may still move heads (once they are gone: session-chain migrate --enforce-head)',
        );
  }),
  temporal: withClient(async (client, config) => {
    const { namespace } = client.options;
    await client.workflowService.describeNamespace({ namespace });
    return ok(`${temporalAddressOf(config)}, namespace ${namespace}`);
  }),
  'search-attributes': searchAttributes,
  worker: withClient(worker),
  activities: async (config) => {
    const { definition } = await loadChainDefinition(config);
    // Those of the workers, which are what chains are run with; the checks of the database tell why they cannot be read.
    const stored = await withPool(listDefinitions)(config).catch(() => []);
    return await activities(config, [definition, ...stored.map((one) => one.definition)]);
  },
  'workflow-tasks': withClient(workflowTasks),
  'worker-here': withClient(workerHere),
  ends: async (config) =>
    await ends(config, (await loadChainDefinition(config)).definition.onEnd, 'the definition here'),
  retention: async (config) => {
    // A policy that no worker would load.
    retentionOfVariables(config);
    return await retention(config);
  },
  archive: archiveFinding,
  redis: redisFinding,
};

/** The checks of a server: it runs no agent and has no definition, and its role needs two parts. */
export const serverChecks: Partial<Record<CheckName, Check>> = {
  node: checks.node,
  database: checks.database,
  rights: withPool(async (pool) => await rights(pool, ['client', 'server'])),
  // What else the tables must accept depends on the definition, which a worker's doctor has.
  'host-tables': withPool(async (pool) => await hostTables(pool, { sources: [], columns: [], statuses: [] })),
  migrations: checks.migrations,
  temporal: checks.temporal,
  'search-attributes': checks['search-attributes'],
  worker: checks.worker,
  activities: async (config) =>
    await activities(
      config,
      (await withPool(listDefinitions)(config)).map(({ definition }) => definition),
    ),
  'workflow-tasks': checks['workflow-tasks'],
  ends: async (config) => {
    const definitions = await withPool(listDefinitions)(config);
    const [onEnd = null] = definitions.flatMap(({ definition }) => definition.onEnd ?? []);
    return await ends(config, onEnd, 'no living worker');
  },
  retention,
  redis: checks.redis,
};

/** Node's version against what package.json asks for. */
export function nodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 20 || (major === 20 && minor >= 20)
    ? ok(`Node ${version}`)
    : { status: 'fail', message: `Node ${version} is too old`, remedy: 'Install Node 20.20 or newer.' };
}

function credentials({ modelEnvironment, hasModelCredentials }: Config): Finding {
  if (!hasModelCredentials) {
    return {
      status: 'warn',
      message: 'no model credential in this environment; a worker does not start without one',
      remedy:
        'Set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, or the Bedrock, Vertex or Foundry switches for the worker.',
    };
  }
  const names = modelCredentials.filter((name) => modelEnvironment[name] !== undefined);
  const service = modelEnvironment['ANTHROPIC_BASE_URL'];
  return ok(`${names.join(', ')}${service === undefined ? '' : `, model service ${originOf(service)}`}`);
}

/** Of an address what names the server: user, password, path and query may be credentials. */
function originOf(address: string): string {
  const url = URL.canParse(address) ? new URL(address) : null;
  return url?.host ? `${url.protocol}//${url.host}` : 'at an address that is malformed (ANTHROPIC_BASE_URL)';
}

/** Whether what a chain may cost has a limit: of each step, by the definition, or of each chain, by who starts it. */
async function limits(config: Config): Promise<Finding> {
  const { definition } = await loadChainDefinition(config);
  const steps = definition.steps.filter(isAgentStep);
  const without = steps.filter(({ maxCostUsd }) => maxCostUsd === undefined).map(({ name }) => name);
  if (without.length === 0) {
    const sum = steps.reduce((total, { maxCostUsd = 0 }) => total + maxCostUsd, 0);
    return ok(`each step has a cost limit; those of a chain come to $${sum.toFixed(2)}`);
  }
  // What a start asks for is nowhere but in its chain; the checks of the database tell why that cannot be read.
  const { chains, unlimited } = await withPool(chainsWithoutCostLimit)(config).catch(() => ({
    ...{ chains: 0, unlimited: 0 },
  }));
  if (chains > 0 && unlimited === 0)
    return ok(`the last ${chains === 1 ? 'chain' : `${chains} chains`} had a cost limit (budget.maxCostUsd)`);
  const seen = chains === 0 ? '' : `, and ${unlimited} of the last ${chains} chains had none either`;
  return {
    status: 'warn',
    message: `no cost limit for the steps ${without.join(', ')}${seen}`,
    remedy:
      "Set maxCostUsd of these steps in the definition, or pass budget.maxCostUsd to the client's start (--max-cost-usd) every time.",
  };
}

async function definition(config: Config): Promise<Finding> {
  const { definition, warnings } = await loadChainDefinition(config);
  return warnings.length === 0
    ? ok(definition.file ?? 'the shipped one; no session-chain.config file in this folder')
    : {
        status: 'warn',
        message: `${definition.file ?? 'the definition'}: ${warnings.join(' ')}`,
        remedy: 'No action needed if this is intended; docs/configuration.md says what it costs.',
      };
}

async function workspaces({ SESSION_CHAIN_WORKSPACE_ROOTS: roots }: Config): Promise<Finding> {
  await requireRoots(roots);
  const troubles = (await Promise.all(roots.map(troubleWithFolder))).filter((trouble) => trouble !== null);
  return troubles.length === 0
    ? ok(roots.join(', '))
    : {
        status: 'fail',
        message: troubles.join('; '),
        remedy: 'Create the folder, or correct SESSION_CHAIN_WORKSPACE_ROOTS.',
      };
}

async function troubleWithFolder(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  if (!found) return `${path} does not exist`;
  if (!found.isDirectory()) return `${path} is not a folder`;
  const usable = await access(path, constants.R_OK | constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  return usable ? null : `${path} cannot be written by this user`;
}

/** What the role of DATABASE_URL may do, which has to have these parts; without any, whichever it has will do. */
async function rights(pool: Pool, needed: readonly Part[]): Promise<Finding> {
  const { role, isSuperuser } = await currentRole(pool);
  if (isSuperuser) {
    return {
      status: 'warn',
      message: `${role} is a superuser, which no part of session-chain needs`,
      remedy: 'Give workers and clients roles of their own: session-chain migrate --grants worker=…,client=…',
    };
  }
  const missing = await Promise.all(
    parts.map(async (part) => ({ part, lacks: await missingRights(pool, part) })),
  );
  const held = missing.filter(({ lacks }) => lacks === null).map(({ part }) => part);
  const wanted: readonly Part[] = needed.length > 0 || held.length > 0 ? needed : ['client'];
  const lacking = missing.find(({ part, lacks }) => lacks !== null && wanted.includes(part));
  if (lacking?.lacks) {
    const { part, lacks } = lacking;
    return {
      status: 'fail',
      message: `${role} lacks rights of a ${part}: ${lacks.statements.join(' ')}`,
      remedy: remedyOf(part, lacks),
    };
  }
  const open = await openSchemas(pool);
  return open.length === 0
    ? ok(`${role} has the rights of: ${held.join(', ')}`)
    : {
        status: 'warn',
        message: `every role may create tables and functions in a schema of the search path of ${role}, and so stand in for yours`,
        remedy: open.join(' '),
      };
}

/** What an up-to-date database can be read to refuse; what only a trial shows is for the rehearsal of `migrate --dry-run`. */
async function hostTables(pool: Pool, expectations: Expectations): Promise<Finding> {
  const isMigrated = !(await pendingMigrations(pool)).some((name) => !name.startsWith('functions/'));
  const obstacles = await findObstacles(pool, expectations, { isMigrated });
  return obstacles.length === 0
    ? ok('they take what chains write, as far as can be read; session-chain migrate --dry-run also tries it')
    : {
        status: 'fail',
        message: obstacles.map(({ problem }) => problem).join('; '),
        remedy: `Review, adapt and run: ${helpOf(obstacles)}`,
      };
}

async function searchAttributes(config: Config): Promise<Finding> {
  const mode = config.SESSION_CHAIN_SEARCH_ATTRIBUTES;
  if (mode === 'off') return ok('off by SESSION_CHAIN_SEARCH_ATTRIBUTES');
  return await withClient<Finding>(async (client) => {
    const missing = await missingSearchAttributes(client);
    if (missing.length === 0) return ok('registered');
    return {
      status: mode === 'on' ? 'fail' : 'warn',
      message: `not registered: ${missing.join(', ')}; ${mode === 'on' ? 'no chain starts' : 'chains go without'}`,
      remedy: `Run: ${registerCommand(client.options.namespace, missing)}`,
    };
  })(config);
}

async function worker(client: Client, config: Config): Promise<Finding> {
  const { living, gone, unknown, rows } = await workersOf(client, config);
  const strangers = unknown.length === 0 ? '' : `this database does not know ${unknown.join(', ')}`;
  if (living.length === 0) {
    const left = [gone.length === 0 ? '' : `${gone.join(', ')} stopped`, strangers].filter(Boolean);
    return {
      status: 'warn',
      message: [
        `no worker polls the task queues of ${config.SESSION_CHAIN_TASK_QUEUE}; chains wait`,
        ...left,
      ].join('; '),
      remedy: `Run: session-chain worker${strangers && `. ${strangersRemedy}`}`,
    };
  }
  const polling = `polling: ${living.join(', ')}`;
  if (strangers) return { status: 'warn', message: `${polling}; ${strangers}`, remedy: strangersRemedy };
  const unrouted = await unroutedDeployment(client, rows);
  if (unrouted) return { ...unrouted, message: `${polling}; ${unrouted.message}` };
  const differing = differencesOf(rows);
  return differing.length === 0
    ? ok(polling)
    : {
        status: 'warn',
        message: `${polling}; they differ: ${differing.join('; ')}`,
        remedy: 'No action needed during a rollout. After it, restart the workers that were left behind.',
      };
}

const strangersRemedy =
  'Workers of another database take tasks of this one and leave them: give each database a task queue (SESSION_CHAIN_TASK_QUEUE) or a namespace of its own. Else they cannot write to this database, or are without session-chain: look at their logs. Those of a copy of this database take its tasks for their own: run session-chain restored --new-installation on the copy.';

/** The first worker deployment whose current release no living worker has: new chains wait for one. */
async function unroutedDeployment(client: Client, living: readonly StoredWorker[]): Promise<Finding | null> {
  for (const { deployment, release } of living) {
    if (deployment === null) continue;
    const current = await currentReleaseOf(client, deployment);
    if (living.some((one) => one.deployment === deployment && one.release === current)) continue;
    return {
      status: 'warn',
      message:
        current === null
          ? `the deployment ${deployment} has no current release, and its workers get no new chains`
          : `no worker has ${current}, the current release of the deployment ${deployment}, and new chains wait for one`,
      remedy: `Start one, or route new chains to those that are there: temporal worker deployment set-current-version --namespace ${client.options.namespace} --deployment-name ${deployment} --build-id ${release} --yes`,
    };
  }
  return null;
}

/** In what living workers differ, with who has what: `session-chain 0.1.0-1f (7@one), 0.2.0-2e (8@two)`. */
function differencesOf(living: readonly StoredWorker[]): string[] {
  const by = (what: string, valueOf: (one: StoredWorker) => string) => {
    const values = [...new Set(living.map(valueOf))];
    const holders = (value: string) =>
      living.filter((one) => valueOf(one) === value).map(({ identity }) => identity);
    return values.length < 2
      ? []
      : [`${what} ${values.map((value) => `${value} (${holders(value).join(', ')})`).join(', ')}`];
  };
  return [
    ...by('session-chain', ({ release }) => release),
    ...by('Claude Code', ({ claudeCode }) => claudeCode ?? 'unknown'),
    ...by('definition', ({ digest }) => digest.slice(0, 12)),
  ];
}

async function workerHere(client: Client, config: Config): Promise<Finding> {
  const { living, rows } = await workersOf(client, config);
  const hostOf = (identity: string) =>
    rows.find((row) => row.identity === identity)?.host ?? identity.replace(/^.*@/, '');
  const here = living.filter((identity) => hostOf(identity) === hostname());
  return here.length > 0
    ? ok(`polling: ${here.join(', ')}`)
    : {
        status: 'fail',
        message: `no worker of ${hostname()} polls the task queues of ${config.SESSION_CHAIN_TASK_QUEUE}`,
        remedy: "Look at the worker's log, and restart it.",
      };
}

/**
 * The workers that poll for chains, and the living rows of their task queue. Temporal remembers a poller for a while; one that lives
 * has also renewed its row. Where rows cannot be read, which other checks tell, Temporal alone counts.
 */
async function workersOf(client: Client, config: Config): Promise<KnownWorkers & { rows: StoredWorker[] }> {
  const { SESSION_CHAIN_TASK_QUEUE: taskQueue } = config;
  const polling = await identitiesPolling(client, taskQueue);
  const known = await withPool(async (pool) => ({
    ...(await knownWorkers(pool, polling)),
    rows: (await listWorkers(pool)).filter(
      (row) => row.alive && row.taskQueue === taskQueue && row.namespace === client.options.namespace,
    ),
  }))(config).catch(() => null);
  return known ?? { living: polling, gone: [], unknown: [], rows: [] };
}

/** Of more open workflows, as many are looked at, the newest. */
const mostWorkflows = 1_000;
const shownWorkflows = 3;

/** Whether open workflows stand still because their tasks fail, as on a release that does not replay them. */
async function workflowTasks(client: Client, config: Config): Promise<Finding> {
  const taskQueue = config.SESSION_CHAIN_TASK_QUEUE;
  const { open, more, failing } = await failingWorkflows(client, taskQueue, mostWorkflows);
  const looked = more ? `the newest ${open}` : String(open);
  if (failing.length === 0) return ok(`no task fails of ${looked} open workflows on ${taskQueue}`);
  const shown = failing
    .slice(0, shownWorkflows)
    .map(
      (one) => `${one.workflowId}, since ${formatTime(one.since)}, in ${one.tries} tries: ${whatFails(one)}`,
    );
  const rest = failing.length - shown.length;
  return {
    status: 'fail',
    message: `the workflow tasks of ${failing.length} of ${looked} open workflows fail, and they stand still: ${shown.join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`,
    remedy: [...new Set(failing.map(({ cause }) => failingTaskRemedy(cause)))].join(' '),
  };
}

/** Whether someone polls each queue on which a step of these definitions calls an activity of the host. */
async function activities(
  config: Config,
  definitions: readonly {
    steps: readonly { name: string; activity?: string | null; taskQueue?: string | null }[];
  }[],
): Promise<Finding> {
  const called = new Map<string, Set<string>>();
  for (const { name, activity, taskQueue } of definitions.flatMap(({ steps }) => steps)) {
    if (!activity || !taskQueue) continue;
    called.set(taskQueue, (called.get(taskQueue) ?? new Set()).add(`${activity} (step ${name})`));
  }
  if (called.size === 0) return ok('no step is an activity of yours');
  return await withClient<Finding>(async (client) => {
    const unpolled: string[] = [];
    for (const [taskQueue, by] of called) {
      if ((await pollersOf(client, taskQueue, 'activity')).length === 0)
        unpolled.push(`${taskQueue} for ${[...by].join(', ')}`);
    }
    return unpolled.length === 0
      ? ok(`polled: ${[...called.keys()].join(', ')}`)
      : {
          status: 'warn',
          message: `no worker polls the task queue ${unpolled.join('; ')}: chains wait there`,
          remedy: 'Start your worker for that queue, or correct taskQueue of the step.',
        };
  })(config);
}

/** Whether the host is told of the ends of chains, where it wants to be. `by` has the definition that says so, or not. */
async function ends(
  config: Config,
  onEnd: Readonly<{ activity: string; taskQueue: string }> | null,
  by: string,
): Promise<Finding> {
  const late = await withPool(lateEnds)(config);
  const waiting =
    late.since === null ? '' : `${late.count} not told of, the oldest of ${formatTime(late.since)}`;
  if (!onEnd) {
    return late.count === 0
      ? ok('not configured: no activity of yours is called at the end of chains (onEnd)')
      : {
          status: 'warn',
          message: `${waiting}, and ${by} has no onEnd`,
          remedy: 'Set onEnd in session-chain.config.ts or in the options of the workers, and start one.',
        };
  }
  const { activity, taskQueue } = onEnd;
  return await withClient<Finding>(async (client) => {
    if ((await pollersOf(client, taskQueue, 'activity')).length === 0) {
      return {
        status: 'warn',
        message: `no worker polls the task queue ${taskQueue} for the activity ${activity} (onEnd)${waiting && `; ${waiting}`}`,
        remedy: 'Start your worker for that queue, or correct onEnd.taskQueue.',
      };
    }
    return late.count === 0
      ? ok(`${activity} on ${taskQueue}; all ends are delivered`)
      : {
          status: 'warn',
          message: `${waiting}. ${late.failure ?? 'A call is under way, or waits for a worker with onEnd.'}`,
          remedy: `Look at what ${activity} throws, in Temporal's Web UI: workflows of the type ${workflowTypes.chainEnd}. Calls go on by themselves.`,
        };
  })(config);
}

async function retention(config: Config): Promise<Finding[]> {
  return await withPool(
    async (pool) =>
      await withClient(async (temporal) => {
        const policy = {
          taskQueues: taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE).chains,
          heartbeatTimeoutMs: config.SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS,
        };
        return retentionFindings(await createRetention({ pool, temporal, policy }).retentionStatus());
      })(config),
  )(config);
}

function withPool<Found>(look: (pool: Pool) => Promise<Found>): (config: Config) => Promise<Found> {
  return async (config) => {
    const pool = openPool(config);
    try {
      return await look(pool);
    } finally {
      await pool.end();
    }
  };
}

function withClient<Found>(
  look: (client: Client, config: Config) => Promise<Found>,
): (config: Config) => Promise<Found> {
  return async (config) => {
    const client = await connectClient(config);
    try {
      return await look(client, config);
    } catch (error) {
      if (error instanceof SessionChainError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      const remedy = /namespace .* not found/i.test(why)
        ? `Create it: temporal operator namespace create --namespace ${client.options.namespace}; or correct TEMPORAL_NAMESPACE.`
        : undefined;
      throw new SessionChainError(
        'TEMPORAL_UNAVAILABLE',
        `Temporal at ${temporalAddressOf(config)} answers: ${why}`,
        remedy,
        {
          cause: error,
        },
      );
    } finally {
      await client.connection.close();
    }
  };
}
