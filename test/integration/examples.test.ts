import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Job, Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { chainKey } from '../../client/session-chain.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { newKey } from '../support/chains.js';
import { type Project, installPackage, link } from '../support/installed-package.js';

/** The examples as they stand, in a project that has the package installed, on real servers. */

let stack: ChainStack;
let project: Project;
let environment: Record<string, string>;

beforeAll(async () => {
  stack = await startChainStack('examples', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  project = installPackage();
  for (const name of ['@anthropic-ai/claude-agent-sdk', 'bullmq', 'standardwebhooks'])
    link(project.folder, name);
  for (const file of [
    'queue-worker/enqueue',
    'queue-worker/before',
    'queue-worker/after',
    'outbox/relay',
    'deploy-activity/worker',
    'end-webhook/worker',
    'end-webhook/receiver',
  ]) {
    project.compile(`examples/${file}.ts`, `${file}.js`);
  }
  environment = {
    DATABASE_URL: stack.database.url,
    REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
    QUEUE: stack.policy.taskQueues.chains,
    DEPLOY_TASK_QUEUE: `${stack.policy.taskQueues.chains}-deploy`,
    RELEASES: join(stack.root, 'releases'),
  };
  await stack.startWorker({
    SESSION_CHAIN_CONFIG: join(process.cwd(), 'examples/deploy-activity/session-chain.config.ts'),
    DEPLOY_TASK_QUEUE: environment['DEPLOY_TASK_QUEUE'] ?? '',
  });
});

afterAll(async () => {
  project.remove();
  await stack.stop();
});

/** A project and version that nobody has inserted yet, with a folder. */
function newVersion(projectId?: string) {
  const key = newKey(projectId);
  const workspace = join(stack.root, key.projectId);
  mkdirSync(workspace, { recursive: true });
  return { ...key, workspace };
}

async function one<Row>(text: string, values: unknown[]): Promise<Row | undefined> {
  return (await stack.database.pool.query(text, values)).rows[0] as Row | undefined;
}

const sessionsOf = async (projectId: string) =>
  await one<{ head: string | null; version: string | null; status: string | null }>(
    `SELECT p.last_ai_session_id AS head, v.ai_session_id AS version, v.status
     FROM projects p JOIN project_versions v USING (project_id) WHERE project_id = $1`,
    [projectId],
  );

describe('examples/deploy-activity', () => {
  it('deploys after the build, under the key of the call', async () => {
    const host = await project.start(['deploy-activity/worker.js'], environment);
    const { projectId, versionId, workspace } = newVersion();
    await stack.database.pool.query(readFileSync('examples/deploy-activity/schema.sql', 'utf8'));
    const started = await stack.sessionChain.start({
      ...{ projectId, versionId, workspace, steps: ['build', 'deploy'], createRows: true },
    });
    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({
      status: 'completed',
      steps: [
        { step: 'build', status: 'committed' },
        { step: 'deploy', kind: 'activity', status: 'completed' },
      ],
    });
    const release = join(environment['RELEASES'] ?? '', versionId);
    expect(existsSync(release)).toBe(true);
    expect(
      await one(
        `SELECT d.path, t.source, s.session_id FROM deployments d
         JOIN session_chain.activity_steps s ON s.key = d.key
         JOIN session_transitions t ON t.new_session_id = s.session_id AND t.seq = s.seq WHERE d.version_id = $1`,
        [versionId],
      ),
    ).toEqual({ path: release, source: 'build', session_id: result.head.sessionId });
    expect((await sessionsOf(projectId))?.status).toBe('deployed');
    await host.stop();
  });
});

describe('examples with a deploying host', () => {
  let deployer: Awaited<ReturnType<Project['start']>>;
  beforeAll(async () => {
    deployer = await project.start(['deploy-activity/worker.js'], environment);
  });
  afterAll(async () => {
    await deployer.stop();
  });

  it('examples/queue-worker/before keeps the session id in three places by itself', async () => {
    const { projectId, versionId, workspace } = newVersion();
    const worker = await project.start(
      ['queue-worker/before.js'],
      {
        ...environment,
        ANTHROPIC_BASE_URL: stack.model.url,
        ANTHROPIC_API_KEY: 'test-credential',
        DISABLE_AUTOUPDATER: '1',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      },
      'ready',
    );
    await project.node(
      ['queue-worker/enqueue.js', projectId, versionId, workspace, 'Build a page.'],
      environment,
    );
    await until(async () => (await sessionsOf(projectId))?.status === 'deployed');
    await worker.stop();
    const sessions = await sessionsOf(projectId);
    const redis = new Redis(environment['REDIS_URL'] ?? '');
    const checkpoint = await redis.get(`claude:session:${versionId}`);
    redis.disconnect();
    expect(sessions?.head).toEqual(expect.any(String));
    expect([sessions?.version, checkpoint]).toEqual([sessions?.head, sessions?.head]);
  });

  it('examples/queue-worker/after starts one chain, however often the job runs', async () => {
    const { projectId, versionId, workspace } = newVersion();
    const worker = await project.start(['queue-worker/after.js'], environment, 'ready');
    const enqueue = ['queue-worker/enqueue.js', projectId, versionId, workspace, 'Build a page.'];
    await project.node(enqueue, environment);
    await project.node(enqueue, environment);
    const result = await stack.sessionChain.wait(await started(projectId, versionId));
    expect(result.status).toBe('completed');
    expect(await sessionsOf(projectId)).toEqual({
      head: result.head.sessionId,
      version: result.head.sessionId,
      status: 'deployed',
    });

    const data = { projectId, versionId, workspace, instruction: 'Build a page.' };
    // As a queue does that lost a worker: the same job again. And what no retry mends, with attempts left.
    const again = await ended(data, `${versionId}-again`);
    const unknown = await ended({ ...data, projectId: 'nobody' }, `${versionId}-nobody`);
    await worker.stop();
    expect(again.returnvalue).toEqual({
      workflowId: `chain/${projectId}/${versionId}/${versionId}`,
      alreadyStarted: true,
    });
    const moves = await stack.sessionChain.transitions(projectId);
    expect(moves.map(({ source }) => source)).toEqual(['docs', 'metadata', 'build']);
    expect(unknown.failedReason).toMatch(/^PROJECT_NOT_FOUND: .*Insert the row in projects first/);
    expect(unknown.attemptsMade).toBe(1);
  });

  it('examples/outbox starts exactly once what the host committed, with several relays', async () => {
    const { pool } = stack.database;
    await pool.query(readFileSync('examples/outbox/schema.sql', 'utf8'));
    const relays = await Promise.all([1, 2].map(() => project.start(['outbox/relay.js'], environment)));
    const request = async (
      end: 'COMMIT' | 'ROLLBACK',
      { projectId, versionId, workspace } = newVersion(),
    ) => {
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query('INSERT INTO projects (project_id) VALUES ($1) ON CONFLICT DO NOTHING', [projectId]);
      await client.query('INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2)', [
        versionId,
        projectId,
      ]);
      await client.query(
        `INSERT INTO build_requests (project_id, version_id, workspace, instruction) VALUES ($1, $2, $3, 'Build a page.')`,
        [projectId, versionId, workspace],
      );
      await client.query(end);
      client.release();
      return { projectId, versionId };
    };
    const undone = await request('ROLLBACK');
    const bad = await request('COMMIT', { ...newVersion(), workspace: 'nowhere' });
    const first = await request('COMMIT');
    const second = await request('COMMIT', newVersion(first.projectId));
    const openRequests = async () =>
      (
        await one<{ open: number }>(
          'SELECT count(*) AS open FROM build_requests WHERE started_at IS NULL AND failure IS NULL',
          [],
        )
      )?.open;
    await until(async () => (await openRequests()) === 0);
    expect(await one('SELECT failure FROM build_requests WHERE version_id = $1', [bad.versionId])).toEqual({
      failure: expect.stringMatching(/^INVALID_INPUT: .*absolute path/),
    });

    // A relay that died between start and commit leaves the row as it was.
    await pool.query('UPDATE build_requests SET started_at = NULL WHERE version_id = $1', [first.versionId]);
    await until(async () => (await openRequests()) === 0);
    for (const { projectId, versionId } of [first, second]) {
      expect((await stack.sessionChain.wait(await started(projectId, versionId))).status).toBe('completed');
    }
    await Promise.all(relays.map((relay) => relay.stop()));
    const lines = relays
      .flatMap((relay) => relay.output().trim().split('\n'))
      .filter(Boolean)
      .sort();
    const workflow = ({ projectId, versionId }: { projectId: string; versionId: string }) =>
      `chain/${projectId}/${versionId}/${versionId}`;
    expect(lines).toEqual(
      [`${workflow(first)} had begun`, `${workflow(first)} started`, `${workflow(second)} started`].sort(),
    );
    const { rows } = await pool.query(
      'SELECT version_id FROM session_chain.chains WHERE version_id = ANY($1)',
      [[undone, bad, first, second].map(({ versionId }) => versionId)],
    );
    expect(rows).toHaveLength(2);
  });
});

/** A job of the build queue, once it has ended for good. */
async function ended(data: object, jobId: string): Promise<Job> {
  const connection = new Redis(environment['REDIS_URL'] ?? '', { maxRetriesPerRequest: null });
  const queue = new Queue(environment['QUEUE'] ?? '', { connection });
  try {
    await queue.add('build', data, { jobId, attempts: 10 });
    await until(async () => ['completed', 'failed'].includes(await queue.getJobState(jobId)));
    // Read when it has ended: one that was read before has no outcome.
    return (await queue.getJob(jobId)) as Job;
  } finally {
    await queue.close();
    connection.disconnect();
  }
}

/** The key of a chain, once there is one. */
async function started(projectId: string, versionId: string) {
  const key = chainKey({ projectId, versionId });
  await until(
    async () =>
      (await one('SELECT FROM session_chain.chains WHERE version_id = $1', [versionId])) !== undefined,
  );
  return key;
}

describe('examples/end-webhook', () => {
  it('posts each end once under a signature that the receiver accepts, and no other', async () => {
    const webhooks = {
      ...{ TEMPORAL_ADDRESS: environment['TEMPORAL_ADDRESS'] ?? '', PORT: '0' },
      WEBHOOK_TASK_QUEUE: `${stack.policy.taskQueues.chains}-webhooks`,
      WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
    };
    const receiver = await project.start(['end-webhook/receiver.js'], webhooks, 'listening on');
    const [, port = ''] = /listening on (\d+)/.exec(receiver.output()) ?? [];
    const url = `http://127.0.0.1:${port}/`;
    const forged = await fetch(url, { method: 'POST', body: '{"type":"chain.closed"}' });
    expect(forged.status).toBe(401);
    const poster = await project.start(['end-webhook/worker.js'], { ...webhooks, WEBHOOK_URL: url });
    await stack.onlyWorker({
      SESSION_CHAIN_CONFIG: join(process.cwd(), 'examples/end-webhook/session-chain.config.ts'),
      WEBHOOK_TASK_QUEUE: webhooks.WEBHOOK_TASK_QUEUE,
    });
    const { projectId, versionId, workspace } = newVersion();
    const started = await stack.sessionChain.start({
      ...{ projectId, versionId, workspace, steps: ['build'], createRows: true },
    });
    const { head } = await stack.sessionChain.wait(started);
    await until(async () => (await stack.sessionChain.ends(started))[0]?.deliveredAt !== null);
    const [end] = await stack.sessionChain.ends(started);
    await until(() => receiver.output().includes(end?.key ?? ''));
    const received = [...receiver.output().matchAll(/^received (\S+) (.*)$/gm)].filter(([, , body = '']) =>
      body.includes(versionId),
    );
    expect(received.map(([, id]) => id)).toEqual([end?.key]);
    expect(JSON.parse(received[0]?.[2] ?? '')).toMatchObject({
      type: 'chain.closed',
      data: { projectId, versionId, status: 'completed', failureCode: null, sessionId: head.sessionId },
    });
    await Promise.all([poster.stop(), receiver.stop()]);
  });
});
