import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { createSessionChain } from '../../client/session-chain.js';
import { parseProjectId } from '../../contracts/ids.js';
import { chatWorkflowId, updates } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { historyOf } from '../support/histories.js';

Runtime.install({ logger: new DefaultLogger('ERROR') });

const released = { codePath: join(import.meta.dirname, '../../dist/workers/workflow-bundle.js') };

/** Recorded chats replay with the chains' histories, in replay.test.ts; these ran just now. */
describe('a chat that ran just now', () => {
  let stack: ChainStack;
  beforeAll(async () => {
    stack = await startChainStack('chat-replay', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
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

  const idOf = (projectId: string) =>
    chatWorkflowId({ projectId: parseProjectId(projectId), chatId: projectId });

  it('replays, and so does the chain that it asked: during a chain, at each moment, to the idle end', async () => {
    const { temporal, policy, overrides, database } = stack;
    const sessionChain = createSessionChain({
      ...{ pool: database.pool, temporal, policy, overrides, searchAttributes: 'off' },
      chat: { idleMs: 500 },
    });
    const request = { ...stack.request(), steps: ['build', 'docs'] };
    const { projectId } = request;
    const build = stack.model.holdNext(({ step }) => step === 'build');
    const chain = await sessionChain.start(request);
    await build.reached;
    await sessionChain.ask({ projectId, text: 'Now?' });
    const asked = (['after_step', 'committed'] as const).map((when) =>
      sessionChain.ask({ projectId, text: `And ${when}?`, when }),
    );
    await until(async () => {
      const { events } = await temporal.workflow.getHandle(chain.workflowId).fetchHistory();
      return (events ?? []).filter((event) => event.workflowExecutionSignaledEventAttributes).length === 3;
    });
    build.release();
    await Promise.all([...asked, sessionChain.wait(chain)]);
    const handle = temporal.workflow.getHandle(idOf(projectId));
    await until(async () => (await handle.describe()).status.name === 'COMPLETED');
    await replay(idOf(projectId), 'chat');
    await until(
      async () =>
        (await temporal.workflow.getHandle(chain.workflowId).describe()).status.name === 'COMPLETED',
    );
    await replay(chain.workflowId, 'asked-by-a-chat');
  });

  it('replays: continued as new with a question handed on', async () => {
    const { temporal, policy, overrides, database } = stack;
    const sessionChain = createSessionChain({
      ...{ pool: database.pool, temporal, policy, overrides, searchAttributes: 'off' },
      chat: { maxQuestionsPerRun: 1, idleMs: 500 },
    });
    const { projectId, workspace } = stack.request();
    await database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
    const held = stack.model.holdNext(({ step }) => step === 'chat_plan');
    const first = sessionChain.ask({ projectId, text: 'One?', workspace });
    await held.reached;
    const { runId } = await temporal.workflow.getHandle(idOf(projectId)).describe();
    const second = sessionChain.ask({ projectId, text: 'Two?' });
    await until(async () => {
      const { events } = await temporal.workflow.getHandle(idOf(projectId)).fetchHistory();
      const accepted = (events ?? []).filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes);
      return accepted.length === 2;
    });
    held.release();
    await Promise.all([first, second]);
    const history = await temporal.workflow.getHandle(idOf(projectId), runId).fetchHistory();
    await Worker.runReplayHistory({ workflowBundle: released }, history, idOf(projectId));
  });

  it('replays: failed questions, a refused update and a cancelled chat', async () => {
    const { projectId } = stack.request();
    await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
    await stack.sessionChain.ask({ projectId, text: 'Where?' }).catch(() => undefined);
    const handle = stack.temporal.workflow.getHandle(idOf(projectId));
    await handle.executeUpdate(updates.ask, { args: ['nothing'] }).catch(() => undefined);
    await handle.cancel();
    await until(async () => (await handle.describe()).status.name === 'CANCELLED');
    await replay(handle.workflowId, 'chat-cancelled');
  });
});
