import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { answers } from '../../dev/offline-model/injections.js';
import { type ChainStack, startChainStack } from '../support/chain-stack.js';
import { historyOf, recordedHistories } from '../support/histories.js';

Runtime.install({ logger: new DefaultLogger('ERROR') });

const released = { codePath: join(import.meta.dirname, '../../dist/workers/workflow-bundle.js') };

describe('the recorded histories', () => {
  it.each(recordedHistories())('%s replays', async (_name, history) => {
    await Worker.runReplayHistory({ workflowBundle: released }, history);
  });

  it('do not replay on a chain whose steps run in another order', async () => {
    const workflowBundle = await bundleWorkflowCode({
      workflowsPath: join(import.meta.dirname, 'reversed-chain.ts'),
      logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} },
    });
    const completed = recordedHistories().find(([name]) => name === 'completed.json');
    await expect(Worker.runReplayHistory({ workflowBundle }, completed?.[1])).rejects.toThrow(
      DeterminismViolationError,
    );
  });
});

describe('a chain that ran just now', () => {
  let stack: ChainStack;
  beforeAll(async () => {
    stack = await startChainStack('replay');
    await stack.startWorker();
  });
  afterAll(async () => {
    await stack.stop();
  });

  async function replay(workflowId: string, shape: string) {
    await Worker.runReplayHistory(
      { workflowBundle: released },
      await historyOf(stack.temporal, workflowId, shape),
      workflowId,
    );
  }

  it('replays: completed', async () => {
    const started = await stack.sessionChain.start(stack.request());
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
    const started = await stack.sessionChain.start(stack.request());
    await stack.sessionChain.wait(started);
    injected.remove();
    await replay(started.workflowId, 'build-failed');
  });

  it('replays: cancelled in mid-build, and refused as busy meanwhile', async () => {
    const request = stack.request();
    const build = stack.model.holdNext();
    const started = await stack.sessionChain.start(request);
    await build.reached;
    const busy = await stack.sessionChain.start(stack.request(request.projectId));
    await stack.sessionChain.wait(busy);
    await stack.sessionChain.cancel(started);
    await stack.sessionChain.wait(started);
    build.remove();
    await replay(started.workflowId, 'cancelled');
    await replay(busy.workflowId, 'busy');
  });
});
