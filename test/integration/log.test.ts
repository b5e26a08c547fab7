import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { logEvents } from '../../activities/log.js';
import { levelOf } from '../../activities/log.js';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import { isFailureCode } from '../../contracts/failures.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';

/** The log of one worker through what happens to chains: each line on its own, and all lines of each fact. */

const page = readFileSync(join(import.meta.dirname, '../../docs/log.md'), 'utf8');
const ids = ['projectId', 'versionId', 'buildId', 'chatId', 'questionId', 'workflowId', 'step', 'attempt'];
/** Of each event its levels and its fields, as docs/log.md has them. */
const documented = new Map(
  [...page.matchAll(/^\| `([a-z_]+\.[a-z_]+)` +\| ([^|]+?) +\|([^|]*)\|/gm)].map(
    ([, event = '', levels, fields]) => [
      event,
      {
        levels: levels ?? '',
        fields: new Set([...ids, 'sessionId', 'activity', ...(fields?.match(/\w+/g) ?? [])]),
      },
    ],
  ),
);
const levelNames: Readonly<Record<number, string>> = { 30: 'info', 40: 'warn', 50: 'error' };

const text = z.string().min(1);
const ofProject = { projectId: text, workflowId: text };
const ofChain = { ...ofProject, workflowId: z.string().startsWith('chain/'), versionId: text, buildId: text };
const ofQuestion = { ...ofProject, workflowId: z.string().startsWith('chat/'), questionId: text };
const ofAttempt = { attempt: z.number().int().min(1), sessionId: z.uuid() };
const failure = { code: z.string().refine(isFailureCode), reason: text };
const wait = { waitsFor: text, waitMs: z.number(), until: z.iso.datetime() };
const ended = { costUsd: z.number(), durationMs: z.number().int() };

/** What a line of these events cannot be without. */
const required: Readonly<Record<string, z.ZodObject>> = {
  'chain.queued': z.looseObject({ ...ofChain, position: z.number() }),
  'chain.opened': z.looseObject(ofChain),
  'chain.waiting': z.looseObject({ ...ofChain, ...wait, step: text }),
  'chain.closed': z.looseObject({ ...ofChain, ...ended, status: text }),
  'step.started': z.looseObject({ ...ofChain, ...ofAttempt, step: text }),
  'step.committed': z.looseObject({ ...ofChain, ...ofAttempt, ...ended, step: text }),
  'step.failed': z.looseObject({ ...ofChain, ...ofAttempt, ...failure, step: text }),
  'step.retried': z.looseObject({ ...ofChain, ...ofAttempt, ...failure, step: text }),
  'step.interrupted': z.looseObject({ ...ofChain, ...ofAttempt, ...failure, step: text }),
  'question.started': z.looseObject({ ...ofQuestion, ...ofAttempt }),
  'question.answered': z.looseObject({ ...ofQuestion, ...ofAttempt, ...ended }),
  'agent.started': z.looseObject({ ...ofProject, ...ofAttempt, step: text, warm: z.boolean() }),
  'agent.parked': z.looseObject({ ...ofProject, ...ofAttempt, step: text }),
  'agent.given_up': z.looseObject({ ...ofProject, ...ofAttempt, step: text, reason: text }),
  'agent.ended': z.looseObject({ ...ofProject, ...ofAttempt, step: text, durationMs: z.number().int() }),
  'agent.failed': z.looseObject({ ...ofProject, ...ofAttempt, ...failure, step: text }),
  'model.unavailable': z.looseObject({ ...ofProject, ...failure }),
};

type Line = Record<string, unknown> & {
  level: number;
  event: keyof typeof logEvents;
  workflowId?: string;
  code?: string;
};

const secret = 'canary-instruction';
let stack: ChainStack;
let impatient: SessionChain;
let database: TcpProxy;
let temporal: TcpProxy;
let worker: TestWorker;
let reply: string;
/** The workflows of the chains, by what happened to them. */
const chains: Record<string, string> = {};

const raw = () => worker.output().trim().split('\n');
const lines = () => raw().map((line) => JSON.parse(line) as Line);
const linesOf = (what: string) => lines().filter(({ workflowId }) => workflowId === chains[what]);
const eventsOf = (what: string, pattern: RegExp) =>
  linesOf(what)
    .filter(({ event }) => pattern.test(event))
    .map(({ level, event }) => `${levelNames[level] ?? level} ${event}`);
const isSaid = (event: Line['event'], what?: string) =>
  (what === undefined ? lines() : linesOf(what)).some((line) => line.event === event);

async function start(what: string, more: object = {}) {
  const request = { ...stack.request(), instruction: secret, steps: ['build'], ...more };
  const started = await impatient.start(request);
  chains[what] = started.workflowId;
  return started;
}

beforeAll(async () => {
  stack = await startChainStack('log', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  database = await startTcpProxy(stack.database.url);
  temporal = await startTcpProxy(`http://${process.env['TEST_TEMPORAL_ADDRESS'] ?? ''}`);
  worker = await stack.startWorker({
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: new URL(temporal.url).host,
  });
  const { policy, overrides } = stack;
  impatient = createSessionChain({
    pool: stack.database.pool,
    temporal: stack.temporal,
    policy: { ...policy, waitMs: { initial: 300, max: 300 } },
    overrides,
    searchAttributes: 'on',
  });
  const { model } = stack;
  const end = async (started: Awaited<ReturnType<typeof start>>) => await impatient.wait(started);

  const held = model.holdNext();
  const first = await start('completed', { steps: ['build', 'docs'] });
  await held.reached;
  const second = await start('queued', { ...stack.request(first.projectId) });
  await until(() => isSaid('chain.queued', 'queued'));
  held.release();
  await Promise.all([end(first), end(second)]);
  const text = `What is this project, ${secret}?`;
  ({ reply = '' } = await impatient.ask({ projectId: first.projectId, text }));

  const quoted = { status: 400, message: `messages.0.content: "${secret}"` };
  for (const [what, fail] of [
    ['failed', quoted],
    ['unauthorized', { status: 401 }],
  ] as const) {
    const refused = model.inject({ times: Infinity, fail });
    await end(await start(what));
    refused.remove();
  }

  const overloaded = model.inject({ times: Infinity, fail: { status: 529 } });
  const waiting = [await start('outage'), await start('outage too')];
  await until(() => ['outage', 'outage too'].every((what) => eventsOf(what, /waiting/).length >= 2));
  overloaded.remove();
  await Promise.all(waiting.map(end));

  const mortal = model.holdNext();
  const killed = await start('killed');
  await mortal.reached;
  for (const pid of worker.agentProcesses()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with the one before.
    }
  }
  mortal.release();
  await end(killed);

  const unwanted = model.holdNext();
  const cancelled = await start('cancelled');
  await unwanted.reached;
  await impatient.cancel(cancelled);
  await end(cancelled);
  unwanted.release();

  const nowhere = await start('nowhere', { workspace: join(stack.root, 'not-there') });
  await until(() => eventsOf('nowhere', /waiting/).length >= 2);
  await impatient.cancel(nowhere);
  await end(nowhere);

  const interrupted = model.holdNext();
  const cut = await start('cut');
  await interrupted.reached;
  await database.cut();
  await until(() => isSaid('database.unavailable') && isSaid('lease.not_renewed', 'cut'));
  await database.restore();
  interrupted.release();
  await until(() => isSaid('database.available'));
  await end(cut);

  await temporal.cut();
  await until(() => isSaid('temporal.unavailable'));
  await temporal.restore();
  await until(() => isSaid('temporal.available'));
  await worker.kill('SIGTERM');
});
afterAll(async () => {
  await stack?.stop();
  await Promise.all([database?.stop(), temporal?.stop()]);
});

describe('a line', () => {
  it('is JSON with an event, levels and fields that docs/log.md has, and with its ids', () => {
    const wrong = lines().flatMap((line) => {
      const known = documented.get(line.event);
      if (!known) return [`${JSON.stringify(line)}: unknown`];
      const { level, time: _, pid: __, hostname: ___, event: ____, msg: _____, ...fields } = line;
      const name = levelNames[level] ?? '';
      const byCode = isFailureCode(line.code) ? levelOf(line.code) : 'info';
      return [
        ...Object.keys(fields).filter((field) => !known.fields.has(field)),
        ...((known.levels === 'by the code' ? name === byCode : `${known.levels} to `.includes(name))
          ? []
          : [name]),
        ...(required[line.event]?.safeParse(line).error?.issues ?? []).map(
          ({ path, message }) => `${path.join('.')}: ${message}`,
        ),
      ].map((problem) => `${line.event}: ${problem}`);
    });
    expect(wrong).toEqual([]);
  });

  it('is short, and has no prompt, reply, credential or task token', () => {
    expect(raw().filter((line) => Buffer.byteLength(line) > 2_200)).toEqual([]);
    expect(reply).not.toBe('');
    const whole = worker.output();
    for (const hidden of [secret, reply.slice(0, 40), 'test-credential', 'taskToken', 'What is this'])
      expect(whole).not.toContain(hidden);
    const { password } = new URL(stack.database.url);
    if (password.length >= 10) expect(whole).not.toContain(password);
  });
});

describe('a fact', () => {
  it('has one line: of a chain, of an attempt, and of an agent its beginning and its end', () => {
    const count = (of: (line: Line) => string | null) => {
      const counts = new Map<string, number>();
      for (const key of lines().map(of)) if (key !== null) counts.set(key, (counts.get(key) ?? 0) + 1);
      return counts;
    };
    const once = (name: string, pattern: RegExp, key: (line: Line) => unknown[]) => {
      const counts = count((line) => (pattern.test(line.event) ? JSON.stringify(key(line)) : null));
      expect([name, [...counts].filter(([, times]) => times !== 1)]).toEqual([name, []]);
      return [...counts.keys()].sort();
    };
    const ofAttempts = ({ workflowId, step, attempt }: Line) => [workflowId, step, attempt];
    const opened = once('opened', /^chain\.opened$/, ({ workflowId }) => [workflowId]);
    expect(once('closed', /^chain\.closed$/, ({ workflowId }) => [workflowId])).toEqual(opened);
    expect(opened).toHaveLength(Object.keys(chains).length);
    const begun = once('begun', /^step\.started$/, ofAttempts);
    expect(
      once('over', /^(step\.(committed|retried|failed|interrupted)|chain\.waiting)$/, (line) =>
        line.attempt !== undefined ? ofAttempts(line) : [line.workflowId, line['looks']],
      ).filter((key) => begun.includes(key)),
    ).toEqual(begun);
    const runs = once('runs', /^agent\.started$/, ({ sessionId }) => [sessionId]);
    expect(once('run', /^agent\.(ended|failed)$/, ({ sessionId }) => [sessionId])).toEqual(runs);
  });

  it('of a chain that failed is a warning, and of one that failed by its set-up it pages', () => {
    expect(eventsOf('failed', /./)).toEqual([
      ...['info chain.opened', 'info step.started', 'info agent.started'],
      ...['warn agent.failed', 'warn step.failed', 'warn chain.closed'],
    ]);
    expect(linesOf('failed').filter(({ code }) => code !== undefined)).toMatchObject([
      { code: 'MODEL_REJECTED', reason: 'The model service answered 400.' },
      { code: 'MODEL_REJECTED', reason: 'The model service answered 400.' },
      { code: 'MODEL_REJECTED', step: 'build', status: 'failed' },
    ]);
    expect(eventsOf('unauthorized', /closed|failed/)).toEqual([
      ...['warn agent.failed', 'warn step.failed', 'error chain.closed'],
    ]);
    expect(linesOf('unauthorized').at(-1)).toMatchObject({ code: 'MODEL_UNAUTHORIZED' });
    // Nothing else does.
    expect(lines().filter(({ level }) => level >= 50)).toHaveLength(1);
  });

  it('of a model service that is away is told once, and of each chain that it waits', () => {
    const said = lines().filter(({ event }) => event.startsWith('model.'));
    expect(said.map(({ level, event }) => `${levelNames[level] ?? ''} ${event}`)).toEqual([
      ...['warn model.unavailable', 'info model.available'],
    ]);
    for (const what of ['outage', 'outage too']) {
      expect(eventsOf(what, /waiting/).length).toBeGreaterThanOrEqual(2);
      expect(eventsOf(what, /failed|waiting|closed/).filter((line) => !line.startsWith('info'))).toEqual([]);
      expect(linesOf(what).at(-1)).toMatchObject({ event: 'chain.closed', status: 'completed' });
    }
  });

  it('of an agent that died is a warning with the reason, and of one that was stopped none', () => {
    expect(eventsOf('killed', /failed|retried|committed/)).toEqual([
      ...['warn agent.failed', 'info step.retried', 'info step.committed'],
    ]);
    expect(linesOf('killed').find(({ event }) => event === 'agent.failed')).toMatchObject({
      code: 'AGENT_FAILED',
      reason: 'Claude Code ended by SIGKILL and without a result.',
    });
    expect(eventsOf('cancelled', /failed|interrupted|closed/)).toEqual([
      ...['info agent.failed', 'info step.interrupted', 'info chain.closed'],
    ]);
  });

  it('of a folder that no worker has is a warning the first time alone', () => {
    expect(eventsOf('nowhere', /waiting/).slice(0, 2)).toEqual(['warn chain.waiting', 'info chain.waiting']);
  });

  it('of Postgres and Temporal that were away has a beginning and an end', () => {
    const said = lines().filter(({ event }) => /^(database|temporal)\..*available/.test(event));
    expect(said.map(({ level, event }) => `${levelNames[level] ?? ''} ${event}`)).toEqual([
      ...['warn database.unavailable', 'info database.available'],
      ...['warn temporal.unavailable', 'info temporal.available'],
    ]);
    expect(isSaid('worker.stopping')).toBe(true);
  });
});

it('a database that is away at the first task of a worker is told as at any other', async () => {
  const fresh = await stack.startWorker({ DATABASE_URL: database.url });
  await database.cut();
  const { workflowId, ...key } = await start('early');
  const pending = async () =>
    (await stack.temporal.workflow.getHandle(workflowId).describe()).raw.pendingActivities?.[0]
      ?.lastFailure ?? undefined;
  await until(async () => (await pending()) !== undefined);
  expect((await pending())?.applicationFailureInfo?.type).toBe('DATABASE_UNAVAILABLE');
  await database.restore();
  expect(await impatient.wait(key)).toMatchObject({ status: 'completed' });
  expect(fresh.output()).toContain('"event":"database.unavailable"');
});
