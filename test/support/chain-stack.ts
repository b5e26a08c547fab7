import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainPolicy } from '../../contracts/chain.js';
import type { ChainOverrides } from '../../contracts/plan.js';
import { defaultPolicy } from '../../contracts/policy.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { processesNaming } from './processes.js';
import { newKey } from './chains.js';
import { type TestDatabase, createTestDatabase } from './database.js';
import { until } from './until.js';

export { until };

/**
 * A heartbeat timeout for tests that count attempts, requests or calls: a machine that is busy for seconds does not make a second
 * attempt of one. After a kill the next attempt waits as long.
 */
export const longHeartbeatTimeoutMs = 15_000;

/** Everything that a chain needs, real: a database and a task queue of its own, the offline model, workers as processes. */
export interface ChainStack {
  database: TestDatabase;
  model: OfflineModel;
  temporal: Client;
  sessionChain: SessionChain;
  policy: ChainPolicy;
  /** Every chain compacts, however small its context is. */
  overrides: ChainOverrides;
  /** Workspaces lie below it. */
  root: string;
  /** A request for a new version, of a new project unless one is given. */
  request(projectId?: string): StartRequest & { versionId: string };
  startWorker(environment?: Record<string, string>, command?: WorkerCommand): Promise<TestWorker>;
  /**
   * The only worker, with this environment: the one that runs if it is such, else a new one in place of all that run. After an
   * orderly stop of such a worker its process runs the next one.
   */
  onlyWorker(environment?: Record<string, string>): Promise<TestWorker>;
  /** A configuration file whose definition has this body, for SESSION_CHAIN_CONFIG; its path, the same for the same body. */
  configuration(body: string): string;
  /** Stops the workers and checks that nothing of them is left. */
  stop(): Promise<void>;
}

/** How a worker is started: by Node, unless it is to run as another user. */
export type WorkerCommand = (node: string, args: string[]) => [command: string, args: string[]];

export interface TestWorker {
  process: ChildProcess;
  isRunning(): boolean;
  /** Agents and what they started: processes whose environment names this worker's scratch folder. */
  agentProcesses(): number[];
  output(): string;
  kill(signal: NodeJS.Signals): Promise<void>;
}

interface ChainStackOptions {
  /** In place of one of its own on the server that all tests share. */
  database?: TestDatabase;
  /** For a file whose projects have names that another file may use, too: the ids of workflows are made of them. */
  ownNamespace?: boolean;
  /** {@link longHeartbeatTimeoutMs} or short, for tests that kill workers. Default: 3,000. */
  heartbeatTimeoutMs?: number;
}

export async function startChainStack(
  name: string,
  { database: given, ownNamespace = false, heartbeatTimeoutMs = 3_000 }: ChainStackOptions = {},
): Promise<ChainStack> {
  const database = given ?? (await createTestDatabase());
  const model = await startOfflineModel();
  const address = process.env['TEST_TEMPORAL_ADDRESS'] ?? '';
  const connection = await Connection.connect({ address });
  const taskQueue = `${name}-${process.pid}`;
  const namespace = ownNamespace ? await registerNamespace(connection, taskQueue) : 'default';
  const temporal = new Client({ connection, namespace });
  const root = realpathSync(mkdtempSync(join(tmpdir(), `session-chain-${name}-`)));
  const policy: ChainPolicy = {
    ...defaultPolicy,
    heartbeatTimeoutMs,
    killGraceMs: 1_000,
    taskQueues: taskQueuesOf(taskQueue).chains,
  };
  const overrides: ChainOverrides = { compactThresholdTokens: 0 };
  const workers: TestWorker[] = [];
  const environments = new Map<TestWorker, Record<string, string>>();
  const configurations = new Map<string, string>();
  const hosts = createWorkerHosts();
  const started = async (
    environment: Record<string, string>,
    start: (scratch: string, whole: Record<string, string>) => Promise<TestWorker>,
  ): Promise<TestWorker> => {
    const worker = await start(join(root, `scratch-${workers.length}`), {
      DATABASE_URL: database.url,
      REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: namespace,
      SESSION_CHAIN_TASK_QUEUE: taskQueue,
      SESSION_CHAIN_WORKSPACE_ROOTS: root,
      SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: String(heartbeatTimeoutMs),
      SESSION_CHAIN_KILL_GRACE_MS: '1000',
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'test-credential',
      ...environment,
    });
    workers.push(worker);
    environments.set(worker, environment);
    return worker;
  };
  const stack: ChainStack = {
    database,
    model,
    temporal,
    policy,
    overrides,
    root,
    sessionChain: createSessionChain({
      pool: database.pool,
      temporal,
      policy,
      overrides,
      // They are registered in the namespace that all share.
      searchAttributes: ownNamespace ? 'off' : 'on',
    }),
    request(projectId) {
      const key = newKey(projectId);
      const workspace = join(root, key.projectId);
      mkdirSync(workspace, { recursive: true });
      return { projectId: key.projectId, versionId: key.versionId, workspace, createRows: true };
    },
    async startWorker(environment = {}, command) {
      return await started(
        environment,
        async (scratch, whole) => await startWorkerProcess(scratch, whole, command),
      );
    },
    async onlyWorker(environment = {}) {
      const running = workers.filter((worker) => worker.isRunning());
      const [only] = running;
      if (only && running.length === 1 && isDeepStrictEqual(environments.get(only), environment)) return only;
      await Promise.all(running.map((worker) => worker.kill('SIGTERM')));
      return await started(environment, async (scratch, whole) => await hosts.start(scratch, whole));
    },
    configuration(body) {
      const known = configurations.get(body);
      if (known !== undefined) return known;
      const file = join(root, `chain-${configurations.size + 1}.config.ts`);
      configurations.set(body, file);
      writeFileSync(
        file,
        `import { defineChain } from 'session-chain/config';\nexport default defineChain(${body});\n`,
      );
      return file;
    },
    async stop() {
      await Promise.all(workers.map((worker) => worker.kill('SIGTERM')));
      await hosts.stop();
      await connection.close();
      await model.stop();
      const orphans = workers.flatMap((worker) => worker.agentProcesses());
      await database.drop();
      rmSync(root, { recursive: true, force: true });
      if (orphans.length > 0) throw new Error(`Processes were left behind: ${orphans.join(', ')}.`);
    },
  };
  return stack;
}

/** Makes a namespace, and waits until the server takes workflows in it. */
async function registerNamespace(connection: Connection, namespace: string): Promise<string> {
  const workflowExecutionRetentionPeriod = msToTs('1 day');
  await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
  await until(() =>
    connection.workflowService.countWorkflowExecutions({ namespace }).then(
      () => true,
      () => false,
    ),
  );
  return namespace;
}

/** The compiled worker as a process, once it polls. */
export async function startWorkerProcess(
  scratch: string,
  environment: Record<string, string>,
  command: WorkerCommand = (node, args) => [node, args],
): Promise<TestWorker> {
  const main = join(process.cwd(), 'dist/cli/main.js');
  const child = spawn(...command(process.execPath, [main, 'worker']), {
    cwd: '/',
    env: { PATH: process.env['PATH'], SESSION_CHAIN_SCRATCH_DIR: scratch, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  return await polling(child, scratch, exited);
}

/** Processes that have the compiled program loaded and run one worker after another. */
function createWorkerHosts() {
  const hosts = new Map<ChildProcess, Promise<unknown>>();
  const idle: ChildProcess[] = [];
  const startHost = () => {
    const host = fork(join(import.meta.dirname, 'worker-host.js'), {
      cwd: '/',
      execArgv: [],
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    hosts.set(host, once(host, 'exit'));
    return host;
  };
  return {
    async start(scratch: string, environment: Record<string, string>): Promise<TestWorker> {
      const host = idle.pop() ?? startHost();
      // Those of the worker before.
      host.stderr?.removeAllListeners('data');
      const stopped = once(host, 'message').then(() => void idle.push(host));
      host.send({ PATH: process.env['PATH'], SESSION_CHAIN_SCRATCH_DIR: scratch, ...environment });
      return await polling(host, scratch, Promise.race([stopped, hosts.get(host)]));
    },
    async stop(): Promise<void> {
      for (const host of hosts.keys()) host.kill('SIGKILL');
      await Promise.all(hosts.values());
    },
  };
}

/** The worker that starts in a process, once it polls. */
async function polling(child: ChildProcess, scratch: string, ended: Promise<unknown>): Promise<TestWorker> {
  let output = '';
  let isOver = false;
  child.stderr?.on('data', (data: Buffer) => (output += data.toString()));
  const whenOver = ended.then(() => {
    isOver = true;
  });
  const worker: TestWorker = {
    process: child,
    isRunning: () => !isOver && isAlive(child),
    // The worker itself names the folder, too.
    agentProcesses: () => processesNaming(scratch).filter((pid) => pid !== child.pid),
    output: () => output,
    async kill(signal) {
      const agents = worker.agentProcesses();
      if (worker.isRunning()) child.kill(signal);
      if (signal === 'SIGSTOP' || signal === 'SIGCONT') return;
      await whenOver;
      // Its agents end with it, a moment later; until then a request that a test holds might still be answered.
      await until(() => agents.every(isGone) && worker.agentProcesses().length === 0);
      // Two rounds of the event loop, in which the offline model learns that their connections are closed.
      for (let round = 0; round < 2; round++) await new Promise(setImmediate);
    },
  };
  try {
    await until(() => {
      if (!isAlive(child)) throw new Error(`The worker did not start: ${output}`);
      return output.includes('The worker is ready.');
    });
  } catch (error) {
    await worker.kill('SIGKILL');
    throw error;
  }
  return worker;
}

/** Whether a process that waited for the next step of a project was given up: a busy machine may come to the step later than that. */
export function waitedInVain(worker: TestWorker, projectId: string): boolean {
  return worker
    .output()
    .split('\n')
    .some((line) => line.includes('No task came for it.') && line.includes(projectId));
}

function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** Whether a process has ended to its last thread: only then are its connections closed. */
function isGone(pid: number): boolean {
  try {
    const [, state] = /\) (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return (state === 'Z' || state === 'X') && readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    return true;
  }
}
