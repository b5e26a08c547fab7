import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StartedChain } from '../../client/session-chain.js';
import { parseBuildId } from '../../contracts/ids.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';

/** Rows are deleted under an agent that works for them: it is stopped before it has spent more, and the end says why. */

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('deleted-rows', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const sql = async (text: string, ...values: string[]) => await stack.database.pool.query(text, values);

describe('a row that is deleted under an agent', () => {
  let ofProject: StartedChain, ofVersion: StartedChain, itself: StartedChain, replaced: StartedChain;
  let endOfItself: Promise<unknown>;
  let question: Promise<unknown>;
  beforeAll(async () => {
    const asked = stack.request();
    await stack.sessionChain.wait(await stack.sessionChain.start({ ...asked, steps: ['build'] }));
    const requests = [stack.request(), stack.request(), stack.request(), stack.request()];
    // An optional step, too, is nothing to go on after.
    const docs = stack.model.holdNext(({ step }) => step === 'docs');
    [ofProject, ofVersion, itself, replaced] = (await Promise.all(
      requests.map((request, index) =>
        stack.sessionChain.start({ ...request, steps: index === 0 ? ['docs', 'compact'] : ['build'] }),
      ),
    )) as [StartedChain, StartedChain, StartedChain, StartedChain];
    endOfItself = stack.sessionChain.wait(itself);
    endOfItself.catch(() => undefined);
    const held = stack.model.inject({ when: ({ step }) => step !== 'docs', times: Infinity, hold: 'before' });
    question = stack.sessionChain
      .ask({ projectId: asked.projectId, text: 'What is this?' })
      .catch((error: unknown) => error);
    await docs.reached;
    await until(() => held.hits.length === 4);

    for (const projectId of [ofProject.projectId, asked.projectId, replaced.projectId]) {
      await sql('DELETE FROM project_versions WHERE project_id = $1', projectId);
      await sql('DELETE FROM projects WHERE project_id = $1', projectId);
    }
    await sql('INSERT INTO projects (project_id) VALUES ($1)', replaced.projectId);
    await sql(
      'INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2)',
      replaced.versionId,
      replaced.projectId,
    );
    await sql('DELETE FROM project_versions WHERE version_id = $1', ofVersion.versionId);
    await sql('DELETE FROM session_chain.attempts WHERE project_id = $1', itself.projectId);
    await sql('DELETE FROM session_chain.chains WHERE project_id = $1', itself.projectId);
    await until(() => worker.agentProcesses().length === 0);
    docs.remove();
    held.remove();
  });

  it('a project: the chain fails for it, whatever its step', async () => {
    const { status, failure, steps } = await stack.sessionChain.wait(ofProject);
    expect(status).toBe('failed');
    expect(failure).toMatchObject({
      code: 'PROJECT_NOT_FOUND',
      message: expect.stringContaining(ofProject.projectId),
    });
    expect(steps.map((step) => step.status)).toEqual(['failed', 'pending']);
  });

  it('a version: the chain fails for it', async () => {
    expect(await stack.sessionChain.wait(ofVersion)).toMatchObject({
      status: 'failed',
      failure: { code: 'VERSION_NOT_FOUND', message: expect.stringContaining(ofVersion.versionId) },
    });
  });

  it('a chain: whoever waits is told that it is gone, before and after', async () => {
    for (const end of [endOfItself, stack.sessionChain.wait(itself)])
      await expect(end).rejects.toMatchObject({
        code: 'REQUEST_LOST',
        message: expect.stringContaining(itself.workflowId),
      });
    await expect(
      stack.sessionChain.wait({ ...itself, buildId: parseBuildId('never') }),
    ).rejects.toMatchObject({ code: 'CHAIN_NOT_FOUND' });
  });

  it('a project that is inserted again with its version: the chain fails for it', async () => {
    expect(await stack.sessionChain.wait(replaced)).toMatchObject({
      status: 'failed',
      failure: { code: 'REQUEST_LOST', message: expect.stringContaining('inserted again') },
      steps: [{ status: 'failed' }],
    });
  });

  it('the project of a question: it fails for it, and is no answer', async () => {
    expect(await question).toMatchObject({ code: 'PROJECT_NOT_FOUND' });
  });
});
