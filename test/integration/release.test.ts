import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checks } from '../../cli/doctor-checks.js';
import { readConfig } from '../../config/environment.js';
import { findTemporalCli } from '../../dev/temporal-cli.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { type CommandLine, createCommandLine } from '../support/cli.js';
import { type Release, makeRelease, reversedBundle } from '../support/release.js';

let stack: ChainStack;
let cli: CommandLine;
let reversed: string;
const released = readFileSync('dist/workers/workflow-bundle.js', 'utf8');
beforeAll(async () => {
  stack = await startChainStack('release', {
    ownNamespace: true,
    heartbeatTimeoutMs: longHeartbeatTimeoutMs,
  });
  cli = createCommandLine();
  reversed = await reversedBundle();
});
afterAll(async () => {
  cli.stop();
  await stack.stop();
});

const environment = () => ({
  PATH: process.env['PATH'],
  DATABASE_URL: stack.database.url,
  TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
  TEMPORAL_NAMESPACE: stack.temporal.options.namespace,
  SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
});
const look = async (check: 'worker' | 'worker-here' | 'workflow-tasks') =>
  await checks[check](readConfig(environment()));
const listed = async (projectId: string) =>
  (await stack.sessionChain.chains({ projectId, askTemporal: true })).chains[0];

let releases = 0;
function release(version: string, bundle: string): Release {
  releases += 1;
  return makeRelease(join(stack.root, `release-${releases}`), { version, bundle });
}

/** A chain in the middle of its build. */
async function startHeld(steps = ['build', 'metadata', 'docs']) {
  const held = stack.model.holdNext(({ step }) => step === 'build');
  const request = stack.request();
  const chain = await stack.sessionChain.start({ ...request, steps });
  await held.reached;
  return { chain, held, ...request };
}

describe('a release that cannot go on with an open chain', () => {
  const throwing = () => {
    const broken = released.replace(
      /async function chain\(input\) \{/,
      `async function chain(input) { throw new Error('boom\\n with a second line');`,
    );
    expect(broken).not.toBe(released);
    return broken;
  };

  it.each<[what: string, bundle: () => string, cause: string, said: string]>([
    [
      'runs its steps in another order',
      () => reversed,
      'NON_DETERMINISTIC_ERROR',
      "Activity type of scheduled event 'build'",
    ],
    ['throws', throwing, 'WORKFLOW_WORKER_UNHANDLED_FAILURE', 'boom'],
  ])(
    '%s: status, doctor and one line of the log say so, and the former one goes on',
    async (_what, bundle, cause, said) => {
      const former = await stack.startWorker();
      const { chain, held, projectId, versionId } = await startHeld();
      await former.kill('SIGTERM');
      held.release();
      const next = release('0.2.0', bundle());
      const worker = await stack.startWorker({}, next.command);
      await until(async () => Boolean((await listed(projectId))?.failingTask));

      expect(await listed(projectId)).toMatchObject({
        status: 'running',
        reason: expect.stringContaining(`its workflow task fails: ${cause}: `),
        failingTask: { cause, message: expect.stringContaining(said), worker: identityOf(worker) },
      });
      expect(await look('workflow-tasks')).toMatchObject({
        status: 'fail',
        message: expect.stringMatching(
          `^the workflow tasks of 1 of 1 open .*${chain.workflowId}, since .*${cause}`,
        ),
        remedy: expect.stringContaining('release before'),
      });
      for (const command of ['status', 'chain']) {
        const { stdout } = await cli.run([command, '-p', projectId, '-v', versionId], environment());
        expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
          new RegExp(
            `reason its workflow task fails for .*${cause}: .* what to do Run workers of the release before`,
          ),
        );
      }
      await until(() => linesOf(worker).some(({ event }) => event === 'workflow.task_failing'));
      expect(linesOf(worker).filter(({ level }) => Number(level) >= 50)).toEqual([
        expect.objectContaining({
          ...{ event: 'workflow.task_failing', workflowId: chain.workflowId, projectId, versionId, cause },
          ...{ worker: identityOf(worker), release: expect.stringMatching(/^0\.2\.0-[0-9a-f]{8}$/) },
          reason: expect.stringContaining(said),
        }),
      ]);
      // Before the rollout it could have been known.
      const asked = await next.run(['replay', '-o', 'json'], environment());
      expect(asked.code).toBe(7);
      expect(JSON.parse(asked.stdout)).toMatchObject({
        workflows: [{ workflowId: chain.workflowId, failure: expect.stringContaining(said) }],
      });
      expect(await cli.run(['replay'], environment())).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^The release 0\.\S+ goes on with all of 1 open workflows/),
      });

      await worker.kill('SIGTERM');
      if (cause !== 'NON_DETERMINISTIC_ERROR') {
        await stack.temporal.workflow.getHandle(chain.workflowId).terminate();
        return;
      }
      const again = await stack.startWorker();
      expect((await stack.sessionChain.wait(chain)).steps.map(({ status }) => status)).toEqual([
        'committed',
        'committed',
        'committed',
      ]);
      expect(await listed(projectId)).toMatchObject({ status: 'completed', failingTask: null });
      await until(async () => ((await look('workflow-tasks')) as { status: string }).status === 'ok');
      await again.kill('SIGTERM');
    },
  );
});

describe('a worker of the host', () => {
  it('tells of chains that stand still on it, not of workflows of the host, and has the identity and the version of the host', async () => {
    const folder = join(stack.root, 'host');
    makeRelease(folder, { version: '0.3.0', bundle: released });
    const chain = join(folder, 'dist/workflows/chain.js');
    const code = readFileSync(chain, 'utf8');
    const signature = 'export async function chain(input) {';
    expect(code).toContain(signature);
    writeFileSync(chain, code.replace(signature, `${signature} throw new Error('boom');`));
    writeFileSync(
      join(folder, 'workflows.js'),
      `export async function greet() { throw new Error('of the host'); }`,
    );
    const program = join(folder, 'host.js');
    writeFileSync(
      program,
      `import { NativeConnection, Worker } from '@temporalio/worker';
       import { optionsFromEnvironment, sessionChainPlugin } from './dist/workers/package.js';
       const { temporal, taskQueue, ...options } = optionsFromEnvironment(process.env);
       const connection = await NativeConnection.connect({ address: temporal.address });
       const worker = await Worker.create({
         connection, taskQueue, namespace: temporal.namespace, identity: 'shop-worker',
         workflowsPath: new URL('./workflows.js', import.meta.url).pathname,
         workerDeploymentOptions: {
           version: { deploymentName: 'shop', buildId: 'r7' }, useWorkerVersioning: false,
         },
         plugins: [sessionChainPlugin(options)],
       });
       await worker.run();
       await connection.close();`,
    );
    const worker = await stack.startWorker({}, (node) => [node, [program]]);
    const taskQueue = stack.policy.taskQueues.chains;
    const greeting = await stack.temporal.workflow.start('greet', {
      taskQueue,
      workflowId: `greet-${taskQueue}`,
    });
    const { workflowId, projectId } = await stack.sessionChain.start(stack.request());
    await until(async () => Boolean((await listed(projectId))?.failingTask));
    await until(async () => ((await greeting.describe()).raw.pendingWorkflowTask?.attempt ?? 0) >= 2);
    await until(() => linesOf(worker).some(({ event }) => event === 'workflow.task_failing'));

    expect(linesOf(worker).filter(({ event }) => event === 'workflow.task_failing')).toMatchObject([
      { level: 50, workflowId, projectId, release: 'r7', worker: 'shop-worker', reason: 'boom' },
    ]);
    expect(linesOf(worker).find(({ event }) => event === 'worker.ready')).toMatchObject({
      ...{ identity: 'shop-worker', release: 'r7' },
    });
    expect((await stack.sessionChain.workers()).workers).toMatchObject([
      { identity: 'shop-worker', release: 'r7', deployment: null, alive: true },
    ]);
    expect(await look('worker')).toEqual({ status: 'ok', message: 'polling: shop-worker' });
    expect(await look('worker-here')).toMatchObject({ status: 'ok' });
    expect(await look('workflow-tasks')).toMatchObject({
      status: 'fail',
      message: expect.stringContaining(`of 1 of 1 open workflows fail, and they stand still: ${workflowId}`),
    });
    expect(await cli.run(['replay'], environment())).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('all of 1 open workflows'),
    });
    await worker.kill('SIGTERM');
    await Promise.all([greeting.terminate(), stack.temporal.workflow.getHandle(workflowId).terminate()]);
  });
});

describe('a worker deployment', () => {
  const temporal = async (...args: string[]) => {
    const { address = '', namespace } = {
      address: process.env['TEST_TEMPORAL_ADDRESS'],
      namespace: stack.temporal.options.namespace,
    };
    const cliPath = await findTemporalCli({ onProgress: () => undefined });
    return await promisify(execFile)(cliPath, [...args, '--address', address, '--namespace', namespace]);
  };
  /** As docs/operations.md says; refused until a worker of the release polls. Task queues may learn of it later. */
  const setCurrent = async (deployment: string, release: string) => {
    await until(async () =>
      temporal(
        'worker',
        'deployment',
        'set-current-version',
        '--deployment-name',
        deployment,
        '--build-id',
        release,
        '--yes',
      ).then(
        () => true,
        () => false,
      ),
    );
    await until(async () => {
      const { versioningInfo } = await stack.temporal.workflowService.describeTaskQueue({
        namespace: stack.temporal.options.namespace,
        taskQueue: { name: stack.policy.taskQueues.chains },
        taskQueueType: 1,
      });
      const { deploymentName, buildId } = versioningInfo?.currentDeploymentVersion ?? {};
      return deploymentName === deployment && buildId === release;
    });
  };
  const worker = async (deployment: string, name: string, versioning: string, command?: Release) =>
    await stack.startWorker(
      {
        SESSION_CHAIN_DEPLOYMENT: deployment,
        SESSION_CHAIN_RELEASE: name,
        SESSION_CHAIN_VERSIONING: versioning,
      },
      command?.command,
    );
  /** The releases that did the workflow tasks of a chain, in order. */
  const releasesOf = async (workflowId: string) => {
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    const names = (events ?? []).flatMap(
      ({ workflowTaskCompletedEventAttributes: task }) => task?.deploymentVersion?.buildId ?? [],
    );
    return names.filter((name, place) => name !== names[place - 1]);
  };

  it('that pins lets open chains end on their release, and new ones begin on the current', async () => {
    const a = await worker('pins', 'a', 'pinned');
    // Temporal lists a poller once the deployment has its version.
    await until(async () => JSON.stringify(await look('worker')).includes(`polling: ${identityOf(a)}`));
    expect(await look('worker')).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('the deployment pins has no current release'),
      remedy: expect.stringContaining('--deployment-name pins --build-id a'),
    });
    await setCurrent('pins', 'a');
    const open = await startHeld();
    // It could not go on with the open chain.
    const b = await worker('pins', 'b', 'pinned', release('0.2.0', reversed));
    await setCurrent('pins', 'b');
    const next = await stack.sessionChain.start({ ...stack.request(), steps: ['build'] });
    await stack.sessionChain.wait(next);
    expect(await releasesOf(next.workflowId)).toEqual(['b']);
    open.held.release();
    expect(await stack.sessionChain.wait(open.chain)).toMatchObject({ status: 'completed' });
    expect(await releasesOf(open.chain.workflowId)).toEqual(['a']);
    const { workers } = await stack.sessionChain.workers();
    expect(workers).toContainEqual(
      expect.objectContaining({ identity: identityOf(b), release: 'b', deployment: 'pins' }),
    );
    await b.kill('SIGTERM');
    expect(await look('worker')).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(`^polling: ${identityOf(a)}; no worker has b, the current release`),
    });
    await a.kill('SIGTERM');
  });

  it('that upgrades goes on with open chains on the current release', async () => {
    const a = await worker('upgrades', 'a', 'auto-upgrade');
    await setCurrent('upgrades', 'a');
    const { chain, held } = await startHeld();
    const b = await worker('upgrades', 'b', 'auto-upgrade');
    await setCurrent('upgrades', 'b');
    held.release();
    expect(await stack.sessionChain.wait(chain)).toMatchObject({ status: 'completed' });
    expect(await releasesOf(chain.workflowId)).toEqual(['a', 'b']);
    await Promise.all([a.kill('SIGTERM'), b.kill('SIGTERM')]);
  });
});

const linesOf = (worker: TestWorker) =>
  worker
    .output()
    .split('\n')
    // A host's process has lines of Temporal's library, too.
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const identityOf = (worker: TestWorker) =>
  String(linesOf(worker).find(({ identity }) => identity)?.['identity']);
