import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chainKey, createSessionChain } from '../../client/session-chain.js';
import { checks } from '../../cli/doctor-checks.js';
import { readConfig } from '../../config/environment.js';
import { readInstallation } from '../../storage/db/installation.js';
import { chainWorkflowId } from '../../temporal/names.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Two databases that share a task queue and a namespace: each does its own work alone, and says so. */

let stack: ChainStack;
let other: TestDatabase;
let stranger: TestWorker;
let ids: { own: string; other: string };
beforeAll(async () => {
  stack = await startChainStack('installations', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  other = await createTestDatabase();
  // Both are copies of one template.
  await other.pool.query('UPDATE session_chain.installation SET id = gen_random_uuid()');
  ids = {
    own: (await readInstallation(stack.database.pool)).id,
    other: (await readInstallation(other.pool)).id,
  };
  stranger = await stack.startWorker({ DATABASE_URL: other.url });
});
afterAll(async () => {
  await stack.stop();
  await other.drop();
});

let own: TestWorker | undefined;
const startOwn = async () => {
  own ??= await stack.startWorker();
};
const eventsOf = async (workflowId: string) =>
  (await stack.temporal.workflow.getHandle(workflowId).describe()).historyLength;
const bothIds = () => expect.stringMatching(new RegExp(`${ids.own}.*${ids.other}|${ids.other}.*${ids.own}`));

describe('while a worker of another database alone polls the task queue', () => {
  it('a chain waits, its history does not grow, and status and the log of that worker say whose it is', async () => {
    const request = { ...stack.request(), steps: ['build'] };
    const { workflowId } = await stack.sessionChain.start(request);
    const listed = async () =>
      (await stack.sessionChain.chains({ projectId: request.projectId, askTemporal: true })).chains[0];
    // Each look shows what Temporal says in time.
    let seen: Awaited<ReturnType<typeof listed>>;
    await until(async () => typeof (seen = await listed())?.missingWorker?.othersOnly === 'string');
    expect(seen).toMatchObject({
      status: 'queued',
      reason: expect.stringContaining('no worker of this database polls'),
      missingWorker: { othersOnly: bothIds() },
    });
    const before = await eventsOf(workflowId);
    const triesNow = async () => (await stack.sessionChain.progress(chainKey(request)))?.tries ?? 0;
    const tries = await triesNow();
    await until(async () => (await triesNow()) >= tries + 2);
    expect(await eventsOf(workflowId)).toBe(before);
    expect(stranger.output()).toContain('"event":"installation.other"');
    expect(stranger.output()).toContain(workflowId);
    expect((await other.pool.query('SELECT FROM session_chain.attempts')).rowCount).toBe(0);
  });

  it('a question is told so, and answered once a worker of its database is there, as all that waited is', async () => {
    const { projectId, workspace } = stack.request();
    await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
    const question = { projectId, workspace, messageId: 'm-1', text: 'What is this?' };
    await expect(stack.sessionChain.ask(question)).rejects.toMatchObject({
      code: 'OTHER_INSTALLATION',
      message: bothIds(),
    });
    await startOwn();
    expect(await stack.sessionChain.ask(question)).toMatchObject({ kind: 'transition' });
  });
});

describe('with a worker of each', () => {
  beforeAll(startOwn);

  it('the chains of both complete, whoever takes their tasks first, and none uses up a try', async () => {
    const theirs = createSessionChain({
      ...{ pool: other.pool, temporal: stack.temporal, policy: stack.policy, overrides: stack.overrides },
      searchAttributes: 'off',
    });
    const one = { limits: { build: { maxAttempts: 1 } }, steps: ['build'] };
    const requests = Array.from({ length: 2 }, () => ({ ...stack.request(), ...one }));
    const results = await Promise.all(
      requests.map(async (request, index) => {
        const client = index % 2 === 0 ? stack.sessionChain : theirs;
        return await client.wait(await client.start(request));
      }),
    );
    expect(results.map(({ status }) => status)).toEqual(requests.map(() => 'completed'));
    const run = await theirs.runRetention({ projectId: requests[1]?.projectId ?? '' });
    expect(run).toMatchObject({ failure: null, total: { failed: 0 } });
    await theirs.close();
  });

  it('a project of the same name in both is refused to the second, whose erasure leaves the first alone', async () => {
    const theirs = createSessionChain({
      ...{ pool: other.pool, temporal: stack.temporal, policy: stack.policy, overrides: stack.overrides },
      searchAttributes: 'off',
    });
    const request = { ...stack.request(), steps: ['build'] };
    const held = stack.model.holdNext(
      ({ step, bodyText }) => step === 'build' && bodyText.includes(request.projectId),
    );
    const { workflowId } = await stack.sessionChain.start(request);
    await held.reached;
    const refused = { code: 'OTHER_INSTALLATION', message: bothIds() };
    await expect(theirs.start(request)).rejects.toMatchObject(refused);
    await expect(theirs.wait(chainKey(request))).rejects.toMatchObject(refused);
    await expect(theirs.cancel(chainKey(request))).rejects.toMatchObject({ code: 'CHAIN_NOT_FOUND' });
    expect(await theirs.erase(request.projectId, { by: 'test' })).toMatchObject({ state: 'finished' });
    held.release();
    expect(await stack.sessionChain.wait(chainKey(request))).toMatchObject({ status: 'completed' });
    expect(workflowId).toBe(chainWorkflowId(chainKey(request)));

    const chatId = randomUUID();
    const question = { projectId: request.projectId, chatId, text: 'Whose?', workspace: request.workspace };
    await stack.sessionChain.ask(question);
    await other.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [request.projectId]);
    await expect(theirs.ask(question)).rejects.toMatchObject(refused);
    await theirs.close();
  });

  it('a worker that starts beside the other one warns, and doctor names that one', async () => {
    await until(() => own?.output().includes('"event":"installation.neighbours"') ?? false);
    const settings = readConfig({
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
    });
    // Where Temporal or the database is late it says what it knows, or that.
    const names = `this database does not know ${String(stranger.process.pid)}`;
    let found: unknown;
    await until(async () => JSON.stringify((found = await checks.worker(settings))).includes(names));
    expect(found).toMatchObject({ status: 'warn', message: expect.stringContaining(names) });
  });
});
