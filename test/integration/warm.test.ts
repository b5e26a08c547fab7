import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Agent, createAgent } from '../../agent/agent.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import type { AgentDependencies, AgentEvent, AgentRequest, AgentResult } from '../../agent/run.js';
import { killQuietly } from '../../agent/process/marked-processes.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import type { SessionId } from '../../contracts/ids.js';
import { isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { findHole } from '../../transcript/hole.js';
import { renewedLease } from '../support/agent-runner.js';
import { until } from '../support/chain-stack.js';
import { CopyingStore } from '../support/copying-store.js';
import { processesNaming } from '../support/processes.js';
import { shippedPrompt } from '../support/shipped-prompt.js';

/** A process that does one task after the other. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-warm-')));
const scratchRoot = join(folder, 'scratch');
const steps = shippedDefinition.steps.filter(isAgentStep);

let model: OfflineModel;
let agent: Agent;
let store: CopyingStore;
let workspace: string;
let events: AgentEvent[] = [];

beforeAll(async () => {
  model = await startOfflineModel();
});
beforeEach(() => {
  store = new CopyingStore();
  events = [];
  workspace = mkdtempSync(join(folder, 'project-'));
  agent = newAgent();
});
afterEach(async () => {
  await agent.close();
  expect(existsSync(scratchRoot) ? readdirSync(scratchRoot) : []).toEqual([]);
});
afterAll(async () => {
  await model.stop();
  rmSync(folder, { recursive: true, force: true });
});

function newAgent(more: Partial<AgentDependencies> = {}): Agent {
  return createAgent({
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'offline' },
    inheritedEnvironment: { PATH: process.env.PATH },
    scratchRoot,
    sandbox: defaultSandbox,
    definition: shippedDefinition,
    log: (event) => events.push(event),
    ...more,
  });
}

async function run(
  step: string,
  base: SessionId | null,
  more: Partial<AgentRequest> = {},
): Promise<AgentResult> {
  const definition = steps.find(({ name }) => name === step);
  if (!definition) throw new Error(`There is no step ${step}.`);
  return await agent.run(
    {
      task: stepTask(definition),
      model: 'default',
      mode: 'initial',
      sessionId: newSession(),
      baseSessionId: base,
      store,
      prompt: await shippedPrompt(definition.name, 'initial'),
      instructionKind: 'none',
      workspace,
      maxTurns: 50,
      timeoutMs: 300_000,
      keepWarm: { idleMs: 3_600_000 },
      ...more,
    },
    { signal: new AbortController().signal, lease: renewedLease(3_600_000), onProgress: () => undefined },
  );
}

async function chain(more: Partial<AgentRequest> = {}): Promise<AgentResult[]> {
  const results: AgentResult[] = [];
  for (const { name } of steps) results.push(await run(name, results.at(-1)?.sessionId ?? null, more));
  return results;
}

const newSession = () => randomUUID() as SessionId;
const starts = () => events.flatMap((event) => (event.event === 'agent.started' ? [event.warm] : []));
const givenUp = () => events.flatMap((event) => (event.event === 'agent.given_up' ? [event.reason] : []));
const stored = async (sessionId: SessionId) => (await store.load({ projectKey: '', sessionId })) ?? [];
const requestsOf = (sessionId: SessionId) =>
  model.requests.filter((request) => request.sessionId === sessionId);
/** The prompt cache of a model knows every chain before. */
async function newModel(): Promise<void> {
  await model?.stop();
  model = await startOfflineModel();
  await agent?.close();
  agent = newAgent();
}

describe('the steps of a chain', () => {
  it('are done by one process, and cost, store and ask what four would', async () => {
    await newModel();
    const cold = await chain({ keepWarm: null });
    expect(starts()).toEqual([false, false, false, false]);
    workspace = mkdtempSync(join(folder, 'project-'));
    await newModel();
    events = [];
    const warm = await chain();
    expect(starts()).toEqual([false, true, true, true]);
    expect(warm.map(({ parked }) => parked)).toEqual([true, true, true, true]);
    const spent = (results: AgentResult[]) =>
      results.map(({ costUsd, turns, usage, agentVersion, model }) => ({
        ...{ costUsd, turns, usage, agentVersion, model },
      }));
    expect(spent(warm)).toEqual(spent(cold));
    // A summary names the file of the transcript, which has a name of another length.
    const contexts = (results: AgentResult[]) =>
      results.slice(0, -1).map(({ contextTokens }) => contextTokens);
    expect(contexts(warm)).toEqual(contexts(cold));
    for (const [index, { sessionId }] of warm.entries()) {
      const entries = await stored(sessionId);
      expect(entries.length).toBeGreaterThan(5);
      expect(findHole(entries)).toBeNull();
      expect(entries.filter((entry) => 'sessionId' in entry && entry.sessionId !== sessionId)).toEqual([]);
      const requests = requestsOf(sessionId);
      expect(requests.map(({ step }) => step)).toEqual(requests.map(() => steps[index]?.name));
      const before = warm[index - 1];
      const last = before && requestsOf(before.sessionId).at(-1);
      if (last && requests[0]) expect(repeatedPart(last, requests[0])).toBeGreaterThan(0.99);
    }
    // Any of them can be gone on from without the process, and knows then what its step knew.
    await agent.close();
    const forks = await Promise.all(
      warm.slice(0, 3).map(async ({ sessionId }) => await run('docs', sessionId, { keepWarm: null })),
    );
    for (const [index, fork] of forks.entries()) {
      const last = warm[index] && requestsOf(warm[index].sessionId).at(-1);
      const [first] = requestsOf(fork.sessionId);
      expect(last && first && repeatedPart(last, first)).toBeGreaterThan(0.99);
      expect(fork.costUsd).toBeGreaterThan(0);
      expect(fork.turns).toBe(requestsOf(fork.sessionId).length);
    }
  });
});

describe('a process that waits', () => {
  it('takes no task with another model, and of each task the limit of turns', async () => {
    const build = await run('build', null);
    const metadata = await run('metadata', build.sessionId, { model: 'claude-haiku-4-5' });
    // With nothing said about the model that the conversation or the model itself would not have without.
    expect(requestsOf(metadata.sessionId).map((request) => request.model)).toEqual(
      Array.from({ length: metadata.turns }, () => 'claude-haiku-4-5'),
    );
    const docs = await run('docs', metadata.sessionId);
    const sessionId = newSession();
    await expect(run('docs', docs.sessionId, { sessionId, maxTurns: 1 })).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
    });
    expect(starts()).toEqual([false, false, false, true]);
    expect(requestsOf(sessionId).map((request) => request.model)).toEqual([build.model]);
    const own = (await stored(sessionId)).filter(({ type }) => type === 'assistant');
    expect(own.length).toBeGreaterThan(0);
    // The first two wait on, each with its own session.
    expect(agent.parked()).toBe(2);
  });

  it('is given up when its time is over, when it dies, when another needs its place, and when its worker stops', async () => {
    agent = newAgent({ maxProcesses: 1 });
    const build = await run('build', null, { keepWarm: { idleMs: 1 } });
    await until(() => givenUp().length === 1);
    const again = await run('metadata', build.sessionId);
    for (const pid of processesNaming(scratchRoot)) killQuietly(pid, 'SIGKILL');
    await until(() => givenUp().length === 2);
    const third = await run('docs', again.sessionId);
    workspace = mkdtempSync(join(folder, 'project-'));
    await run('build', null);
    expect(givenUp()).toEqual(['No task came for it.', 'It ended.', 'Another task needs its place.']);
    expect(agent.parked()).toBe(1);
    await agent.close();
    expect(givenUp().at(-1)).toBe('The worker stops.');
    expect(processesNaming(scratchRoot)).toEqual([]);
    expect(starts()).toEqual([false, false, false, false]);
    expect(findHole(await stored(third.sessionId))).toBeNull();
  });

  it('is not taken for a session that it does not hold', async () => {
    const build = await run('build', null);
    const beside = await run('docs', build.sessionId, { keepWarm: null, maxCostUsd: 1 });
    expect(agent.parked()).toBe(1);
    // The head has moved to the session beside.
    const metadata = await run('metadata', beside.sessionId);
    expect(starts()).toEqual([false, false, false]);
    expect((await stored(metadata.sessionId)).length).toBeGreaterThan(
      (await stored(beside.sessionId)).length,
    );
  });
});
