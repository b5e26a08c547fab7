import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { answers } from '../../dev/offline-model/injections.js';
import type { StartedChain } from '../../client/session-chain.js';
import { packageVersion } from '../../config/package-version.js';
import { payloadVersion } from '../../contracts/plan.js';
import { releaseChain } from '../../storage/chains/chains.js';
import { takeEnds } from '../../storage/chains/ends.js';
import { chainWorkflowId, endWorkflowId, workflowTypes } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { openNew } from '../support/chains.js';
import { historyOf, recordedHistories, recordedReleases } from '../support/histories.js';

/**
 * Histories that are committed, of each release, and chains that ran just now, replay on the workflow code of today. Those of the next
 * release, in the folder of its version, are made anew, from the chains and chats that run in this folder, by
 *
 *   rm -f test/replay/histories/<version>/*.json && RECORD_HISTORIES=1 npm test -- test/replay
 *
 * which does not replay what was recorded before; a run without the variable replays the new ones.
 */

// The host's worker below logs the failure that a test wants.
Runtime.install({
  logger: new DefaultLogger('ERROR', () => undefined),
  telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
});

const released = { codePath: join(import.meta.dirname, '../../dist/workers/workflow-bundle.js') };

if (!process.env['RECORD_HISTORIES']) {
  describe('the recorded histories', () => {
    const recorded = recordedHistories();

    it.each(recorded)('%s replays', async (_name, history) => {
      await Worker.runReplayHistory({ workflowBundle: released }, history);
    });

    it('are there of each version that the changelog names, and of the next one', () => {
      const versions = readFileSync('CHANGELOG.md', 'utf8').matchAll(/^## \[(\d+\.\d+\.\d+)\]/gm);
      const out = [...versions].map(([, version = '']) => version);
      expect(recordedReleases().sort()).toEqual([...new Set([...out, packageVersion()])].sort());
    });

    it('do not replay on a chain whose steps run in another order', async () => {
      const reversed = join(import.meta.dirname, 'reversed-chain.ts');
      const workflowBundle = await bundleWorkflowCode({
        workflowsPath: reversed,
        workflowInterceptorModules: [reversed],
        logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} },
      });
      const completed = recorded.find(([name]) => name === `${packageVersion()}/completed.json`);
      await expect(Worker.runReplayHistory({ workflowBundle }, completed?.[1])).rejects.toThrow(
        DeterminismViolationError,
      );
    });
  });
}

describe('a chain that ran just now', () => {
  let stack: ChainStack;
  let host: { worker: Worker; running: Promise<void>; connection: NativeConnection };
  beforeAll(async () => {
    stack = await startChainStack('replay', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
    host = await startHost(hostQueue());
    const file = join(stack.root, 'replay.config.ts');
    writeFileSync(file, definition(hostQueue()));
    await stack.startWorker({ SESSION_CHAIN_CONFIG: file });
  });
  afterAll(async () => {
    host.worker.shutdown();
    await host.running;
    await host.connection.close();
    await stack.stop();
  });

  const hostQueue = () => `${stack.policy.taskQueues.chains}-host`;
  const shipped = ['build', 'metadata', 'docs', 'compact'];

  async function replay(workflowId: string, shape: string) {
    await Worker.runReplayHistory(
      { workflowBundle: released },
      await historyOf(stack.temporal, workflowId, shape),
      workflowId,
    );
  }

  it('replays: completed', async () => {
    const started = await stack.sessionChain.start({ ...stack.request(), steps: shipped });
    await stack.sessionChain.wait(started);
    await replay(started.workflowId, 'completed');
  });

  it('replays: an optional step failed', async () => {
    const injected = stack.model.inject({
      when: ({ step }) => step === 'metadata',
      times: Infinity,
      answer: answers.textOnly,
    });
    const started = await stack.sessionChain.start({
      ...stack.request(),
      steps: ['build', 'metadata'],
      limits: { metadata: { maxAttempts: 1 } },
    });
    await stack.sessionChain.wait(started);
    injected.remove();
    await replay(started.workflowId, 'optional-step-failed');
  });

  it('replays: the build failed', async () => {
    const injected = stack.model.inject({ times: Infinity, fail: { status: 400 } });
    const started = await stack.sessionChain.start({ ...stack.request(), steps: shipped });
    await stack.sessionChain.wait(started);
    injected.remove();
    await replay(started.workflowId, 'build-failed');
  });

  it('replays: activities of the host, one of which failed, and a step that was skipped', async () => {
    const started = await stack.sessionChain.start({
      ...stack.request(),
      steps: ['build', 'check', 'deploy', 'compact'],
      compactThresholdTokens: 10_000_000,
    });
    const { steps } = await stack.sessionChain.wait(started);
    expect(steps.map(({ status }) => status)).toEqual(['committed', 'failed', 'completed', 'skipped']);
    await replay(started.workflowId, 'activity-steps');
  });

  it('replays: cancelled in mid-build; queued, and woken by that; queued, and cancelled there', async () => {
    const request = { ...stack.request(), steps: shipped };
    const build = stack.model.holdNext();
    const first = await stack.sessionChain.start(request);
    await build.reached;
    const next = () => ({ ...stack.request(request.projectId), steps: shipped });
    const waiter = await stack.sessionChain.start(next());
    await untilQueued(waiter);
    const leaver = await stack.sessionChain.start(next());
    await untilQueued(leaver);
    await stack.sessionChain.cancel(leaver);
    await stack.sessionChain.wait(leaver);
    await stack.sessionChain.cancel(first);
    await stack.sessionChain.wait(first);
    build.remove();
    await stack.sessionChain.wait(waiter);
    await replay(first.workflowId, 'cancelled');
    await replay(waiter.workflowId, 'queued');
    await replay(leaver.workflowId, 'queued-cancelled');
  });

  it('replays: ends of which the activity of the host was told, after it failed, and which were told already', async () => {
    const { database, sessionChain, temporal, policy } = stack;
    await takeEnds(database.pool, 0);
    const chain = await openNew(database.pool);
    await releaseChain(database.pool, chain.projectId, {
      ...{ workflowId: chainWorkflowId(chain), runId: chain.runId, home: 'test' },
    });
    const [end] = await sessionChain.ends(chain);
    const key = end?.key ?? '';
    const workflowId = endWorkflowId(chain, key);
    const round = async (activity: string) => {
      const onEnd = { activity, taskQueue: hostQueue(), maxAttempts: 1, ...patient };
      const args = [{ version: payloadVersion, key, onEnd }];
      const options = { workflowId, taskQueue: policy.taskQueues.chains, args };
      await temporal.workflow.execute(workflowTypes.chainEnd, options).catch(() => undefined);
    };
    await round('check');
    await replay(workflowId, 'end-failed');
    await round('deploy');
    await replay(workflowId, 'end-told');
    await round('deploy');
    await replay(workflowId, 'end-told-already');
    expect(await sessionChain.ends(chain)).toMatchObject([{ rounds: 2, deliveredAt: expect.any(Date) }]);
  });

  const patient = { startToCloseTimeoutMs: 60_000, scheduleToStartTimeoutMs: 60_000 };

  async function untilQueued(chain: StartedChain): Promise<void> {
    await until(async () => (await stack.sessionChain.state(chain)).queue !== undefined);
  }
});

/** The shipped steps, with two activities of the host after the build. */
function definition(taskQueue: string): string {
  const activity = (name: string) => ({ name, kind: 'activity', activity: name, taskQueue, maxAttempts: 1 });
  const steps = [
    'build',
    activity('check'),
    { ...activity('deploy'), role: 'deploy' },
    'metadata',
    'docs',
    'compact',
  ];
  return `export default ${JSON.stringify({ steps })};\n`;
}

/** A worker of the host's own. */
async function startHost(taskQueue: string) {
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  const worker = await Worker.create({
    connection,
    taskQueue,
    activities: {
      check: () => Promise.reject(new Error('It does not look right.')),
      deploy: () => Promise.resolve(),
    },
  });
  return { worker, connection, running: worker.run() };
}
