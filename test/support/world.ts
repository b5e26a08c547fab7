import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { ApplicationFailure, cancelled } from '@temporalio/activity';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createKeys } from '../../client/keys.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { ChainKey } from '../../contracts/ids.js';
import type { ActivityStepInput } from '../../contracts/plan.js';
import type { StartRequest } from '../../client/start-request.js';
import { answers } from '../../dev/offline-model/injections.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from './chain-stack.js';
import { controls, tricks, writeHostileSession, writeLongSession } from './world-hostile.js';
import { keyOf, makeBrokenProjects, makeLongLine, makeSmallProjects } from './world-states.js';

/**
 * Data of every state that the pages show. What an agent can bring about is made by chains of the real agent on the offline model,
 * the rest by the storage functions. Chains that are open stay as they are for as long as the world stands.
 */
export interface World {
  stack: ChainStack;
  /** The worker that is there now. */
  worker: TestWorker;
  keys: { admin: string; start: string; read: string; /** For the project `shop` alone. */ shop: string };
  chains: Chains;
  sessions: Sessions;
  /** Ends its processes at once and drops its database. */
  stop(): Promise<void>;
}

/** By what there is to see. */
interface Chains {
  /** Every step of the definition, with thinking, a picture and edits. */
  completed: ChainKey;
  /** Its worker was killed in the build; the next attempt continued. */
  continued: ChainKey;
  /** Its worker was killed before the commit; the next attempt adopted what was finished. */
  adopted: ChainKey;
  /** Of `shop`: cancelled in the middle of its build, which left an orphaned session. */
  cancelled: ChainKey;
  /** Of `shop`: started a fresh session after a rewind. */
  reset: ChainKey;
  /** The model refused. */
  failed: ChainKey;
  /** The activity of the host failed, with a message full of HTML. */
  hostile: ChainKey;
  budget: ChainKey;
  /** Its build has said half a sentence. */
  running: ChainKey;
  /** Behind `running`, the first and the second in the queue. */
  queued: ChainKey;
  queuedSecond: ChainKey;
  /** The model service is overloaded. */
  waiting: ChainKey;
  /** No worker polls the queue of its activity. */
  withoutWorker: ChainKey;
  /** An activity of the host runs. */
  deploying: ChainKey;
}

interface Sessions {
  /** Of the build of `completed`. */
  build: string;
  /** Of its compaction. */
  compacted: string;
  hostile: string;
  long: string;
}

export interface WorldOptions {
  /** Projects `small-…`. Default: 200. */
  small?: number;
  /** Builds of the project `long-line`. Default: 40. */
  builds?: number;
  /** Entries of the session of the project `long-session`. Default: 10,000. */
  entries?: number;
  say?: (line: string) => void;
}

const shippedSteps = ['build', 'metadata', 'docs', 'compact'];

export async function makeWorld({
  small = 200,
  builds = 40,
  entries = 10_000,
  say = () => undefined,
}: WorldOptions = {}): Promise<World> {
  const stack = await startChainStack('world', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  const { sessionChain, database, model, root } = stack;
  const host = await startHost(hostQueueOf(stack));
  const environment = {
    SESSION_CHAIN_MAX_AGENTS: '8',
    SESSION_CHAIN_CONFIG: stack.configuration(`{
      steps: ['build', 'metadata', 'docs', 'compact',
        { name: 'deploy', purpose: 'Puts the app on the web', kind: 'activity', role: 'deploy', critical: true, activity: 'deployVersion', taskQueue: '${hostQueueOf(stack)}' },
        { name: 'review', purpose: 'A person looks at the app', kind: 'activity', activity: 'reviewVersion', taskQueue: '${hostQueueOf(stack)}-of-nobody' }],
    }`),
  };
  const doomed = await stack.startWorker(environment);

  const workspaceOf = (projectId: string) => join(root, projectId);
  const start = async (key: ChainKey, request: Partial<StartRequest> = {}) => {
    const workspace = workspaceOf(key.projectId);
    mkdirSync(workspace, { recursive: true });
    return await sessionChain.start({ ...key, workspace, createRows: true, ...request });
  };
  const run = async (key: ChainKey, request: Partial<StartRequest> = {}): Promise<ChainResult> =>
    await sessionChain.wait(await start(key, request));
  /** The requests for a project's build. */
  const buildOf = (projectId: string) => (request: OfflineRequest) =>
    request.step === 'build' && request.bodyText.includes(workspaceOf(projectId));
  /** Holds the build of a project at its n-th request. */
  const holdAt = (projectId: string, nth: number) => {
    let asked = 0;
    const isBuild = buildOf(projectId);
    return model.inject({ hold: 'before', when: (request) => isBuild(request) && (asked += 1) === nth });
  };

  const shop = {
    first: keyOf('shop'),
    second: keyOf('shop', 'v2'),
    third: keyOf('shop', 'v3'),
    fourth: keyOf('shop', 'v4'),
  };
  const buildShop = async () => {
    mkdirSync(workspaceOf('shop'));
    writeFileSync(join(workspaceOf('shop'), 'logo.png'), picture());
    // The first turn of the model thinks, and looks at a picture beside what it does anyway.
    model.inject({
      when: buildOf('shop'),
      answer: (turn) => ({
        ...turn,
        content: [
          {
            type: 'thinking',
            thinking: 'The folder has a logo. I look at it first, so that the colours of the page fit it.',
          },
          ...turn.content,
          { type: 'tool_use', name: 'Read', input: { file_path: join(workspaceOf('shop'), 'logo.png') } },
        ],
      }),
    });
    const result = await run(shop.first, { steps: [...shippedSteps, 'deploy'] });
    expectStatus(result, 'completed');
    const [build, , , compacted] = result.steps.map(({ newSessionId }) => newSessionId ?? '');
    return { build, compacted };
  };
  const fail = async () => {
    const refused = model.inject({ when: buildOf('forum'), times: Infinity, answer: answers.refusal });
    expectStatus(
      await run(keyOf('forum'), { steps: ['build'], instruction: 'Add a board for members' }),
      'failed',
    );
    refused.remove();
  };
  const spendAll = async () => {
    const request = {
      steps: ['build'],
      budget: { maxCostUsd: 2, maxTurns: 2 },
      instruction: 'Add a list of customers',
    };
    expectStatus(await run(keyOf('crm'), request), 'budget_exceeded');
  };
  const [{ build = '', compacted = '' }] = await Promise.all([buildShop(), fail(), spendAll()]);
  say('Made: shop, forum, crm');

  // One worker is killed in the build of one chain and in the commit of another.
  const held = holdAt('shop', 2);
  const beforeEnd = holdAt('notes', 4);
  const going = [
    await start(shop.second, { steps: ['build', 'docs'], instruction: 'Add a search field' }),
    await start(keyOf('notes'), { steps: ['build'] }),
  ];
  await Promise.all([held.reached, beforeEnd.reached]);
  await killBeforeCommit(stack, 'notes', doomed, () => beforeEnd.release());
  held.remove();
  const worker = await stack.startWorker(environment);
  for (const chain of going) expectStatus(await sessionChain.wait(chain), 'completed');
  say('Made: chains that went on after their worker was killed');

  const goOnWithShop = async () => {
    const projectId = 'shop';
    await sessionChain.ask({ projectId, text: 'Which files hold the search? See index.html', aside: true });
    await sessionChain.ask({ projectId, text: 'What did you build last?' });
    const stopped = holdAt(projectId, 2);
    const third = await start(shop.third, { steps: ['build'], instruction: 'Add a dark mode' });
    await stopped.reached;
    await sessionChain.cancel(third);
    expectStatus(await sessionChain.wait(third), 'cancelled');
    stopped.remove();
    await sessionChain.rewind(projectId, { to: 4, key: 'undo-search' });
    const request = {
      steps: ['build'],
      reset: { operations: 1 },
      instruction: 'Add a list of favourites',
      budget: { maxCostUsd: 5 },
    };
    expectStatus(await run(shop.fourth, request), 'completed');
  };
  const leaveOpen = async () => {
    const instruction = 'Build a blog with tags';
    let asked = 0;
    const running = model.inject({
      hold: 'midStream',
      // Also what a second attempt asks for, which there is where the machine is busy for seconds.
      times: Infinity,
      when: (request) =>
        buildOf('blog')(request) && !request.bodyText.includes('Add a feed') && (asked += 1) >= 3,
    });
    model.inject({
      when: buildOf('wiki'),
      times: Infinity,
      fail: { status: 529, headers: { 'retry-after': '3000' } },
    });
    await start(keyOf('blog'), { instruction, budget: { maxCostUsd: 5, maxTurns: 50 } });
    await start(keyOf('wiki'), { steps: ['build'], instruction: 'Add pages that link to one another' });
    await start(keyOf('landing'), { steps: ['deploy'] });
    await start(keyOf('intranet'), { steps: ['review'] });
    await start(keyOf('hostile'), {
      steps: ['deploy'],
      instruction: `Build ${controls.bidi} ${tricks.script} ${tricks.image}`,
    });
    await running.reached;
    for (const version of ['v2', 'v3']) {
      await start(keyOf('blog', version), { steps: ['build'], instruction: `Add a feed (${version})` });
      await until(async () => (await sessionChain.state(keyOf('blog', version))).status === 'queued');
    }
    const statusOf = async (projectId: string) => (await sessionChain.state(keyOf(projectId))).status;
    await until(
      async () => (await statusOf('wiki')) === 'waiting' && (await statusOf('hostile')) === 'failed',
    );
    await host.isDeploying;
  };
  const importLong = async () => {
    const { sessionId, claudeDir } = writeLongSession(join(root, 'claude-long'), entries);
    await database.pool.query(`INSERT INTO projects (project_id) VALUES ('long-session')`);
    await sessionChain.importSession({ projectId: 'long-session', sessionId, claudeDir });
    return sessionId;
  };
  const importHostile = async () => {
    const { sessionId, claudeDir } = writeHostileSession(join(root, 'claude-hostile'));
    await sessionChain.importSession({ projectId: 'hostile', sessionId, claudeDir });
    return sessionId;
  };
  const [long, hostile] = await Promise.all([
    importLong(),
    leaveOpen().then(importHostile),
    goOnWithShop(),
    makeBrokenProjects(database.pool),
    makeSmallProjects(database.pool, small).then(() => makeLongLine(database.pool, builds)),
  ]);
  say('Made: everything else');

  const made = createKeys(database.pool);
  const keyFor = async (scope: 'read' | 'start' | 'admin', ...projects: string[]) =>
    (
      await made.create({
        name: `${scope} key of the world`,
        scope,
        ...(projects.length > 0 ? { projects } : {}),
      })
    ).key;
  return {
    stack,
    worker,
    keys: {
      admin: await keyFor('admin'),
      start: await keyFor('start'),
      read: await keyFor('read'),
      shop: await keyFor('read', 'shop'),
    },
    chains: {
      completed: shop.first,
      continued: shop.second,
      adopted: keyOf('notes'),
      cancelled: shop.third,
      reset: shop.fourth,
      failed: keyOf('forum'),
      hostile: keyOf('hostile'),
      budget: keyOf('crm'),
      running: keyOf('blog'),
      queued: keyOf('blog', 'v2'),
      queuedSecond: keyOf('blog', 'v3'),
      waiting: keyOf('wiki'),
      withoutWorker: keyOf('intranet'),
      deploying: keyOf('landing'),
    },
    sessions: { build, compacted, hostile, long },
    async stop() {
      await host.stop();
      await worker.kill('SIGKILL');
      await sessionChain.close();
      await stack.stop();
    },
  };
}

const hostQueueOf = ({ policy }: ChainStack) => `${policy.taskQueues.chains}-host`;

function expectStatus({ projectId, status, failure }: ChainResult, expected: ChainResult['status']): void {
  if (status === expected) return;
  throw new Error(`The chain of ${projectId} is ${status}, not ${expected}: ${failure?.message ?? ''}`);
}

/** The host's worker, whose deployment of `landing` never ends, and of `hostile` fails. */
async function startHost(taskQueue: string) {
  Runtime.install({
    // Who made the world ends it.
    shutdownSignals: [],
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  const connection = await NativeConnection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
  let reached: () => void = () => undefined;
  const isDeploying = new Promise<void>((resolve) => (reached = resolve));
  const worker = await Worker.create({
    connection,
    taskQueue,
    shutdownForceTime: '1 s',
    activities: {
      async deployVersion({ projectId }: ActivityStepInput) {
        if (projectId === 'hostile')
          throw ApplicationFailure.nonRetryable(`${tricks.script}${tricks.image}${controls.bidi}`);
        if (projectId !== 'landing') return;
        reached();
        await cancelled();
      },
    },
  });
  const running = worker.run();
  return {
    isDeploying,
    async stop() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}

/** Kills a worker whose agent has finished, just before that is committed: the project's row is locked until the worker is dead. */
async function killBeforeCommit(
  { database }: ChainStack,
  projectId: string,
  worker: TestWorker,
  letItFinish: () => void,
): Promise<void> {
  const lock = await database.pool.connect();
  const isCommitting = `datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%commit_operation%'`;
  try {
    await lock.query('BEGIN');
    await lock.query('SELECT FROM projects WHERE project_id = $1 FOR UPDATE', [projectId]);
    letItFinish();
    await until(
      async () =>
        (await database.pool.query(`SELECT FROM pg_stat_activity WHERE ${isCommitting}`)).rowCount === 1,
    );
    await worker.kill('SIGKILL');
    await database.pool.query(
      `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE ${isCommitting}`,
    );
  } finally {
    await lock.query('ROLLBACK');
    lock.release();
  }
}

/** A small PNG: stripes in four colours. */
function picture(): Buffer {
  const [width, height] = [48, 32];
  const colours = [
    [38, 70, 83],
    [42, 157, 143],
    [233, 196, 106],
    [231, 111, 81],
  ];
  const row = (y: number) =>
    Buffer.from([0, ...Array.from({ length: width }, () => colours[Math.floor(y / 8)] ?? []).flat()]);
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat(Array.from({ length: height }, (_, y) => row(y))))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
