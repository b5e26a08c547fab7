import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  InMemorySessionStore,
  type SessionKey,
  type SessionStoreEntry,
} from '@anthropic-ai/claude-agent-sdk';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Agent, createAgent } from '../../agent/agent.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import type { AgentEvent, AgentRequest, AgentResult } from '../../agent/run.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import type { SessionId } from '../../contracts/ids.js';
import { isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { findHole } from '../../transcript/hole.js';
import { renewedLease } from '../support/agent-runner.js';
import { shippedPrompt } from '../support/shipped-prompt.js';

/** A process that does one task after the other. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-warm-')));
const scratchRoot = join(folder, 'scratch');
const steps = shippedDefinition.steps.filter(isAgentStep);

class Store extends InMemorySessionStore {
  async appendToCopy(key: SessionKey, base: SessionId, entries: SessionStoreEntry[]): Promise<void> {
    const copied = (await this.load({ ...key, sessionId: base })) ?? [];
    const own = copied.map((entry) =>
      'sessionId' in entry ? { ...entry, sessionId: key.sessionId } : entry,
    );
    await this.append(key, [...own, ...entries]);
  }
}

let model: OfflineModel;
let agent: Agent;
let store: Store;
let workspace: string;
let events: AgentEvent[] = [];

beforeAll(async () => {
  model = await startOfflineModel();
});
beforeEach(() => {
  store = new Store();
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

function newAgent(): Agent {
  return createAgent({
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'offline' },
    inheritedEnvironment: { PATH: process.env.PATH },
    scratchRoot,
    sandbox: defaultSandbox,
    definition: shippedDefinition,
    log: (event) => events.push(event),
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
      sessionId: randomUUID() as SessionId,
      baseSessionId: base,
      store,
      prompt: await shippedPrompt(definition.name, 'initial'),
      instructionKind: 'none',
      workspace,
      maxTurns: 50,
      timeoutMs: 300_000,
      keepWarm: { idleMs: 60_000 },
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
