import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { answers } from '../../dev/offline-model/injections.js';
import type { StartedChain } from '../../client/session-chain.js';
import { type ChainStack, startChainStack, until } from '../support/chain-stack.js';
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

  it('replays: cancelled in mid-build; in line, and woken by that; in line, and cancelled there', async () => {
    const request = stack.request();
    const build = stack.model.holdNext();
    const first = await stack.sessionChain.start(request);
    await build.reached;
    const waiter = await stack.sessionChain.start(stack.request(request.projectId));
    await inLine(waiter);
    const leaver = await stack.sessionChain.start(stack.request(request.projectId));
    await inLine(leaver);
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

  async function inLine(chain: StartedChain): Promise<void> {
    await until(async () => (await stack.sessionChain.state(chain)).line !== undefined);
  }
});
