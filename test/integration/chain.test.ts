import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StepDetails } from '../../client/chains.js';
import { chainKey, createSessionChain } from '../../client/session-chain.js';
import type { ChainResult, ChainState } from '../../contracts/chain.js';
import { parseProjectId } from '../../contracts/ids.js';
import { answers } from '../../dev/offline-model/injections.js';
import { readProjectEvents } from '../../storage/events/events.js';
import { createTranscriptStore, loadOwnEntries } from '../../storage/transcripts/store.js';
import { searchAttributes } from '../../temporal/attributes.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { ownEntries } from '../../transcript/entries.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('chain', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const stepNames = ['build', 'metadata', 'docs', 'compact'];
const idsOf = ({ steps }: ChainState) => steps.map((step) => [step.oldSessionId, step.newSessionId]);

async function rows<Row extends object>(text: string, ...values: unknown[]): Promise<Row[]> {
  return (await stack.database.pool.query<Row>(text, values)).rows;
}

describe('a chain', () => {
  let request: ReturnType<ChainStack['request']>;
  let result: ChainResult;
  beforeAll(async () => {
    request = stack.request();
    result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
  });

  it('runs its four steps, each from the session that the one before it ended on', () => {
    expect(result).toMatchObject({ status: 'completed', mode: 'initial', baseSessionId: null, warnings: [] });
    expect(result.steps.map(({ step, status }) => [step, status])).toEqual(
      stepNames.map((step) => [step, 'committed']),
    );
    const ids = idsOf(result);
    expect(ids[0]?.[0]).toBeNull();
    expect(ids.slice(1).map(([old]) => old)).toEqual(ids.slice(0, -1).map(([, next]) => next));
    expect(new Set(ids.map(([, next]) => next)).size).toBe(4);
  });

  it("ends on the compacted session, which is the head, the version's and the last transition's", async () => {
    const compacted = result.steps.at(-1)?.newSessionId;
    expect(await stack.sessionChain.head(request.projectId)).toEqual({ sessionId: compacted, seq: 4 });
    const transitions = await stack.sessionChain.transitions(request.projectId);
    expect(transitions.map(({ source }) => source)).toEqual(['compact', 'docs', 'metadata', 'build']);
    expect(transitions[0]?.newSessionId).toBe(compacted);
    for (const { oldSessionId, newSessionId } of transitions) expect(oldSessionId).not.toBe(newSessionId);
    const [version] = await rows<{ ai_session_id: string; status: string; ai_metadata: { name: string } }>(
      'SELECT ai_session_id, status, ai_metadata FROM project_versions WHERE version_id = $1',
      request.versionId,
    );
    expect(version).toMatchObject({ ai_session_id: compacted, status: 'deployed' });
    expect(version?.ai_metadata).toMatchObject({
      name: expect.any(String),
      recommendations: expect.any(Array),
    });
  });

  it('leaves the app and its documentation in the workspace', () => {
    const html = readFileSync(join(request.workspace, 'index.html'), 'utf8');
    expect(html).toContain('<!doctype html>');
    expect(existsSync(join(request.workspace, 'README.md'))).toBe(true);
  });

  it('is told whole: what each step said and wrote, by which attempts, and when', async () => {
    const chain = await stack.sessionChain.chain(chainKey(request));
    expect(chain).toMatchObject({
      ...result,
      budgetLeft: null,
      workspace: request.workspace,
      instruction: null,
    });
    const [build, metadata, docs, compact] = chain.steps;
    expect(build?.files).toContain('index.html');
    expect(docs?.files).toContain('README.md');
    expect(docs?.files).not.toContain('index.html');
    expect([metadata?.files, compact?.files]).toEqual([[], []]);
    expect(compact?.reply).toBeNull();
    for (const step of [build, metadata, docs]) expect(step?.reply).toMatch(/\w/);
    await expectOwnEntries(chain.steps);
    for (const { journal, startedAt, endedAt, newSessionId } of chain.steps) {
      expect(journal).toMatchObject([
        { attempt: 1, state: 'committed', sessionId: newSessionId, evidence: null },
      ]);
      expect(Number(endedAt)).toBeGreaterThan(Number(startedAt));
    }
  });

  it('is told with where its time went and what it wrote, and its page in Temporal leads to the dashboard', async () => {
    const key = chainKey(request);
    const { runs, spans, attempts, isMerged } = await stack.sessionChain.timeline(key);
    expect(isMerged).toBe(false);
    expect(runs).toMatchObject([{ openedAt: expect.any(Date), closedAt: expect.any(Date) }]);
    expect(spans.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['queued', 'opening', 'worker']));
    expect(attempts.map(({ step }) => step)).toEqual(['build', 'metadata', 'docs', 'compact']);
    const [build, , , compact] = attempts;
    expect(build?.totalsMs).toMatchObject({ model: expect.any(Number), tool: expect.any(Number) });
    expect(build?.spans.map(({ label }) => label).join()).toMatch(/Write/);
    expect(compact?.totalsMs).toMatchObject({ compaction: expect.any(Number) });
    for (const one of [...spans, ...attempts.flatMap((attempt) => attempt.spans)]) {
      expect(one.endedAt?.getTime()).toBeGreaterThanOrEqual(one.startedAt.getTime());
      expect(one.startedAt.getTime()).toBeGreaterThanOrEqual(runs[0]?.queuedAt.getTime() ?? Infinity);
    }
    const { steps } = await stack.sessionChain.changes(key);
    expect(steps.map(({ step, leftOut }) => [step, leftOut])).toEqual([
      ['build', 0],
      ['docs', 0],
    ]);
    const [written] = steps[0]?.changes.filter(({ path }) => path === 'index.html') ?? [];
    expect(written).toMatchObject({ tool: 'Write', isNew: true, hunks: [{ oldStart: 0, newStart: 1 }] });
    expect(written?.hunks[0]?.lines[0]).toBe('+<!doctype html>');

    const { pool } = stack.database;
    const dashboardUrl = 'https://chains.example/';
    // No worker polls its queue.
    const client = createSessionChain({ pool, temporal: stack.temporal, taskQueue: 'none', dashboardUrl });
    const { workflowId, projectId, versionId, buildId } = await client.start(stack.request());
    const workflow = stack.temporal.workflow.getHandle(workflowId);
    expect(await (await workflow.describe()).staticDetails()).toBe(
      `[Dashboard](https://chains.example/projects/${projectId}/chains/${versionId}/${buildId})`,
    );
    await workflow.terminate();
    for (const wrong of ['chains.example', 'ftp://chains.example', 'javascript:alert(1)']) {
      const made = () => createSessionChain({ pool, temporal: stack.temporal, dashboardUrl: wrong });
      expect(made).toThrow(/dashboardUrl/);
    }
    const missing = { ...key, buildId: 'none' } as typeof key;
    for (const read of ['timeline', 'changes'] as const)
      await expect(stack.sessionChain[read](missing)).rejects.toMatchObject({ code: 'CHAIN_NOT_FOUND' });
  });

  /** By the uuids of the entries, as an attempt is judged: what a step added to its base, and nothing else. */
  async function expectOwnEntries(steps: StepDetails[]): Promise<void> {
    const projectId = parseProjectId(request.projectId);
    const store = createTranscriptStore({ pool: stack.database.pool, projectId });
    const load = async (sessionId: string | null) =>
      sessionId === null ? [] : ((await store.load({ projectKey: '', sessionId })) ?? []);
    const journal = steps.flatMap((step) => step.journal);
    const own = await loadOwnEntries(stack.database.pool, projectId, journal);
    for (const { sessionId, baseSessionId } of journal) {
      const byUuid = ownEntries(await load(sessionId), await load(baseSessionId));
      const messages = ({ type }: { type: string }) =>
        type === 'user' || type === 'assistant' || type === 'system';
      expect(own.get(sessionId)?.main.filter(messages)).toEqual(byUuid.filter(messages));
    }
  }

  it('writes a row of metrics for every step', async () => {
    const metrics = await rows<{ step: string; cost_usd: number; input_tokens: number; outcome: string }>(
      'SELECT step, outcome, cost_usd, input_tokens FROM project_ai_session_metrics WHERE project_id = $1 ORDER BY id',
      request.projectId,
    );
    expect(metrics.map(({ step, outcome }) => [step, outcome])).toEqual(
      stepNames.map((step) => [step, 'committed']),
    );
    for (const { cost_usd } of metrics) expect(cost_usd).toBeGreaterThan(0);
  });

  it('is told as events: its start, each step with its move of the head, and its end', async () => {
    const projectId = parseProjectId(request.projectId);
    const { events } = await readProjectEvents(stack.database.pool, { projectId }, 0, 100);
    expect(events.map(({ type }) => type)).toEqual([
      ...['chain.queued', 'chain.opened'],
      ...stepNames.flatMap(() => ['step.started', 'step.committed', 'head.moved']),
      'chain.closed',
    ]);
    const { sessionId: headSessionId, seq: headSeq } = result.head;
    expect(events.at(-1)?.data).toEqual({ status: 'completed', failureCode: null, headSessionId, headSeq });
    const committed = result.steps.map(({ step, newSessionId, turns, usage, costUsd }) =>
      expect.objectContaining({ step, newSessionId, turns, usage, costUsd }),
    );
    expect(events.filter(({ type }) => type === 'step.committed').map(({ data }) => data)).toEqual(committed);
  });

  it('shows itself in Temporal: search attributes, the query, at most 46 events and nothing of the prompts', async () => {
    const handle = stack.temporal.workflow.getHandle(chainWorkflowId(chainKey(request)));
    const described = await handle.describe();
    expect(described.typedSearchAttributes.get(searchAttributes.projectId)).toBe(request.projectId);
    expect(described.typedSearchAttributes.get(searchAttributes.buildId)).toBe(request.versionId);
    const state = await handle.query<ChainState>('chainState');
    expect(idsOf(state)).toEqual(idsOf(result));
    const history = await handle.fetchHistory();
    // A task of the workflow has three, and more where it is late and given again.
    const events = history.events ?? [];
    const tasks = events.filter((event) => event.workflowTaskCompletedEventAttributes);
    const others = events.filter(
      (event) =>
        !event.workflowTaskScheduledEventAttributes &&
        !event.workflowTaskStartedEventAttributes &&
        !event.workflowTaskCompletedEventAttributes &&
        !event.workflowTaskTimedOutEventAttributes,
    );
    expect(others.length + 3 * tasks.length).toBeLessThanOrEqual(46);
    expect(JSON.stringify(history)).not.toContain('submit_metadata');
  });

  it('leaves a checkpoint in Redis that names the last session', async () => {
    const redis = new Redis(process.env['TEST_REDIS_URL'] ?? '');
    // A write that Redis does not take in time is lost, and the worker says so.
    const isLost = worker.output().includes('"event":"redis.unavailable"');
    const checkpoint = JSON.parse((await redis.get(`claude:session:${request.versionId}`)) ?? '{}') as object;
    expect(checkpoint).toMatchObject({
      sessionId: isLost ? expect.any(String) : result.head.sessionId,
      buildId: request.versionId,
      projectPath: request.workspace,
    });
    expect(await redis.ttl(`claude:session:${request.versionId}`)).toBeGreaterThan(3_500);
    await redis.quit();
  });

  it('that is started again returns its result and pays nothing', async () => {
    const requests = stack.model.requests.length;
    const again = await stack.sessionChain.start(request);
    expect(again).toMatchObject({ alreadyStarted: true, status: 'completed' });
    expect(again.result && idsOf(again.result)).toEqual(idsOf(result));
    expect(stack.model.requests).toHaveLength(requests);
  });

  it('of the next version goes on from the final session and remembers what was built', async () => {
    const next = stack.request(request.projectId);
    const update = await stack.sessionChain.wait(await stack.sessionChain.start(next));
    expect(update).toMatchObject({
      status: 'completed',
      mode: 'update',
      baseSessionId: result.head.sessionId,
    });
    const [first] = stack.model.requests.filter(({ step, mode }) => step === 'build' && mode === 'update');
    expect(first?.bodyText).toContain('index.html');
    const { steps } = await stack.sessionChain.chain(chainKey(next));
    expect(steps[0]).toMatchObject({
      files: expect.arrayContaining(['index.html']),
      reply: expect.any(String),
    });
    await expectOwnEntries(steps);
    expect(readFileSync(join(request.workspace, 'index.html'), 'utf8')).toContain('Version 2');
    expect(await stack.sessionChain.lineage(request.projectId)).toHaveLength(8);
  });

  it('of some steps only runs these', async () => {
    const next = { ...stack.request(request.projectId), steps: ['metadata' as const] };
    const only = await stack.sessionChain.wait(await stack.sessionChain.start(next));
    expect(only.steps.map(({ step, status }) => [step, status])).toEqual([['metadata', 'committed']]);
  });

  it('below the threshold skips compaction and says why', async () => {
    const { createSessionChain } = await import('../../client/session-chain.js');
    const thrifty = createSessionChain({
      pool: stack.database.pool,
      temporal: stack.temporal,
      policy: stack.policy,
      overrides: { compactThresholdTokens: 1_000_000 },
    });
    const next = { ...stack.request(request.projectId), steps: ['compact' as const] };
    const ended = await thrifty.wait(await thrifty.start(next));
    expect(ended).toMatchObject({
      status: 'completed',
      steps: [{ step: 'compact', status: 'skipped', reason: expect.stringContaining('threshold') }],
    });
  });
});

describe('a step that fails', () => {
  it('leaves a good chain when it is optional: the id rolls on from the last good step', async () => {
    const request = { ...stack.request(), limits: { metadata: { maxAttempts: 1 } } };
    const injected = stack.model.inject({
      when: ({ step }) => step === 'metadata',
      times: Infinity,
      answer: answers.textOnly,
    });
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    injected.remove();
    expect(result).toMatchObject({
      status: 'completed_with_warnings',
      warnings: [expect.stringContaining('metadata')],
    });
    const [build, metadata, docs] = result.steps;
    expect(metadata).toMatchObject({
      status: 'failed',
      attempts: 1,
      failure: { code: 'SUBMISSION_INVALID' },
    });
    expect(docs?.oldSessionId).toBe(build?.newSessionId);
    expect(result.head.sessionId).toBe(result.steps.at(-1)?.newSessionId);
  });

  it.each([
    [400, 'MODEL_REJECTED'],
    [401, 'MODEL_UNAUTHORIZED'],
  ] as const)(
    'fails the chain when it is the build: %i is %s, with a remedy, and the head stays',
    async (status, code) => {
      const request = { ...stack.request(), steps: ['build'] };
      const injected = stack.model.inject({ times: Infinity, fail: { status } });
      const started = await stack.sessionChain.start(request);
      const result = await stack.sessionChain.wait(started);
      injected.remove();
      expect(result).toMatchObject({
        status: 'failed',
        failure: { code, remedy: expect.any(String) },
        head: { sessionId: null, seq: null },
      });
      const [version] = await rows(
        'SELECT status FROM project_versions WHERE version_id = $1',
        request.versionId,
      );
      expect(version).toEqual({ status: 'failed' });
      const handle = stack.temporal.workflow.getHandle(started.workflowId);
      expect((await handle.describe()).status.name).toBe('FAILED');

      const again = await stack.sessionChain.start(request);
      expect(again.alreadyStarted).toBe(false);
      expect(await stack.sessionChain.wait(again)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    },
  );
});

describe('a project on which a chain works', () => {
  it('is free again after a cancellation, which ends the agent and keeps the last committed head', async () => {
    const request = stack.request();
    const docs = stack.model.holdNext(({ step }) => step === 'docs');
    const started = await stack.sessionChain.start(request);
    await docs.reached;
    expect(worker.agentProcesses()).not.toEqual([]);
    await stack.sessionChain.cancel(started);
    const result = await stack.sessionChain.wait(started);
    docs.remove();
    expect(result).toMatchObject({ status: 'cancelled', head: { seq: 2 } });
    expect(result.steps.map(({ status }) => status)).toEqual([
      'committed',
      'committed',
      'cancelled',
      'pending',
    ]);
    expect(result.head.sessionId).toBe(result.steps[1]?.newSessionId);
    const handle = stack.temporal.workflow.getHandle(started.workflowId);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
    await until(() => worker.agentProcesses().length === 0);

    // Started again, the committed steps are returned and not repeated.
    const requests = stack.model.requests.length;
    const resumed = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(resumed).toMatchObject({ status: 'completed', head: { seq: 4 } });
    expect(idsOf(resumed).slice(0, 2)).toEqual(idsOf(result).slice(0, 2));
    const repeated = stack.model.requests
      .slice(requests)
      .filter(({ step }) => step === 'build' || step === 'metadata');
    expect(repeated).toEqual([]);
  });
});

describe('a head whose transcript is not in the store', () => {
  it('fails the chain with SESSION_NOT_IN_STORE and stays', async () => {
    const request = stack.request();
    await rows(
      `INSERT INTO projects (project_id, last_ai_session_id) VALUES ($1, 'elsewhere')`,
      request.projectId,
    );
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result).toMatchObject({ status: 'failed', failure: { code: 'SESSION_NOT_IN_STORE' } });
    expect((await stack.sessionChain.head(request.projectId)).sessionId).toBe('elsewhere');
  });
});
