import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ChainStack, startChainStack } from '../support/chain-stack.js';

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('fault');
});
afterAll(async () => {
  await stack.stop();
});

const twoSteps = (projectId?: string) => ({ ...stack.request(projectId), steps: ['build', 'docs'] });

describe('a holder that was terminated', () => {
  it('counts as gone once the lease of its agent has expired; then the next chain takes over', async () => {
    await stack.onlyWorker();
    const request = twoSteps();
    const build = stack.model.holdNext();
    const holder = await stack.sessionChain.start(request);
    await build.reached;
    await stack.temporal.workflow.getHandle(holder.workflowId).terminate('test');
    await expect(stack.sessionChain.wait(holder)).rejects.toMatchObject({ code: 'CHAIN_TERMINATED' });

    const next = await stack.sessionChain.start(twoSteps(request.projectId));
    const result = await stack.sessionChain.wait(next);
    build.remove();
    expect(result).toMatchObject({ status: 'completed', head: { seq: 2 } });
    expect(await stack.sessionChain.state(holder)).toMatchObject({
      status: 'failed',
      failure: { code: 'CHAIN_TERMINATED' },
    });
  });
});

describe('Redis', () => {
  it('that holds a stale checkpoint changes nothing', async () => {
    await stack.onlyWorker();
    const request = twoSteps();
    const redis = new Redis(process.env['TEST_REDIS_URL'] ?? '');
    const stale = {
      sessionId: 'stale',
      buildId: request.versionId,
      projectPath: '/elsewhere',
      filesCreated: [],
    };
    await redis.set(`claude:session:${request.versionId}`, JSON.stringify(stale));
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result).toMatchObject({ status: 'completed', baseSessionId: null, head: { seq: 2 } });
    await redis.quit();
  });

  it.each([
    ['absent', ''],
    ['gone', 'redis://127.0.0.1:1'],
  ])('that is %s changes nothing', async (_state, url) => {
    await stack.onlyWorker({ REDIS_URL: url });
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(twoSteps()));
    expect(result).toMatchObject({ status: 'completed', warnings: [], head: { seq: 2 } });
  });
});
