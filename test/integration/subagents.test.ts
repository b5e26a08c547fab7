import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InMemorySessionStore, type SessionStore } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { createAgent } from '../../agent/agent.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import type { AgentRequest, AgentResult, AgentRunError } from '../../agent/run.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { checkDefinition } from '../../definition/check.js';
import { isAgentStep } from '../../definition/definition.js';
import { submissionTool } from '../../definition/submission.js';
import { answers, type Injection } from '../../dev/offline-model/injections.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { createTranscriptStore, loadSubagents } from '../../storage/transcripts/store.js';
import { acceptedCalls } from '../../transcript/entries.js';
import { renewedLease } from '../support/agent-runner.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, loggedUsage, requestsOf } from '../support/project-facts.js';

/** The real Claude Code binary whose model starts subagents: two at once, each of which looks at the folder and writes a file. */

const bySubagents = ({ subagent }: OfflineRequest) => subagent !== undefined;
const call = (name: string, input: Record<string, unknown>) => ({ type: 'tool_use' as const, name, input });
/** Changes the input of the calls by which the agent starts its subagents. */
const startedWith =
  (change: Record<string, unknown>): NonNullable<Injection['answer']> =>
  (turn) => ({
    ...turn,
    content: turn.content.map((block) =>
      block.type === 'tool_use' ? { ...block, input: { ...block.input, ...change } } : block,
    ),
  });

describe('an agent with subagents', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'subagents-')));
  let model: OfflineModel;
  let workspace: string;
  let turnsTold: number;
  beforeAll(async () => {
    model = await startOfflineModel();
  });
  beforeEach(() => {
    workspace = join(folder, randomUUID());
    mkdirSync(workspace);
    turnsTold = 0;
  });
  afterAll(async () => {
    await model.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const sessionId = () => randomUUID() as SessionId;
  const requests = () => model.requests.filter(({ bodyText }) => bodyText.includes(workspace));
  const written = () => readdirSync(workspace).sort();

  function run(
    { step: name = 'review', allowedTools = ['Agent', 'Bash', 'Read', 'Write'], ...request }: RunOptions = {},
    tools = ['Agent', 'Bash', 'Read', 'Write'],
  ): Promise<AgentResult> {
    const prompt = () => `Step: ${name}.`;
    const { definition } = checkDefinition({
      tools,
      steps: [
        { name: 'review', kind: 'work', prompt, allowedTools, writes: ['review-two.md'] },
        { name: 'metadata', allowedTools },
      ],
    });
    const step = definition.steps.filter(isAgentStep).find((one) => one.name === name);
    if (!step) throw new Error('The definition has no step.');
    const agent = createAgent({
      modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'test-credential' },
      inheritedEnvironment: { PATH: process.env['PATH'] },
      scratchRoot: join(folder, 'scratch'),
      sandbox: defaultSandbox,
      definition,
      log: () => undefined,
    });
    const task = stepTask(step);
    return agent.run(
      {
        task,
        model: 'default',
        mode: 'initial',
        sessionId: sessionId(),
        baseSessionId: null,
        store: new InMemorySessionStore(),
        prompt: prompt(),
        instructionKind: 'none',
        workspace,
        maxTurns: 20,
        timeoutMs: 500_000,
        ...request,
      },
      {
        signal: new AbortController().signal,
        lease: renewedLease(60_000),
        onProgress: ({ turns }) => {
          turnsTold = turns;
        },
      },
    );
  }
  interface RunOptions extends Partial<AgentRequest> {
    step?: string;
    allowedTools?: string[];
  }
  const failing = (options: RunOptions) =>
    run(options).then(
      () => {
        throw new Error('The run was expected to fail.');
      },
      (error: AgentRunError) => error,
    );

  it('has their turns in its figures and its progress, those of their own subagents included', async () => {
    const nested = model.inject({
      when: bySubagents,
      answer: () => ({
        content: [call('Agent', { description: 'nested', prompt: 'Look. The part: nested' })],
        stopReason: 'tool_use',
      }),
    });
    const result = await run({}, ['Task', 'Bash', 'Read', 'Write']);
    nested.remove();
    expect(new Set(requests().map(({ subagent }) => subagent)).size).toBe(4);
    expect(result.usage).toEqual(loggedUsage(requests()));
    expect(result).toMatchObject({ turns: requests().length, turnInFlightUnknown: false, warnings: [] });
    expect(turnsTold).toBe(result.turns);
    expect(written()).toEqual(['nested.md', 'review-one.md', 'review-two.md']);
    expect([...result.filesTouched].sort()).toEqual(written());
  });

  it('lets them use the tools of the step inside the workspace, and neither submit nor work elsewhere', async () => {
    model.inject({
      when: (request) => !bySubagents(request),
      answer: () => ({
        content: [
          call('Agent', { description: 'x', prompt: 'Look. The part: elsewhere', isolation: 'worktree' }),
          call('Agent', { description: 'x', prompt: 'Look. The part: inside' }),
        ],
        stopReason: 'tool_use',
      }),
    });
    const attacks = model.inject({
      when: bySubagents,
      answer: () => ({
        content: [
          call('Bash', { command: 'touch by-shell', description: 'Write' }),
          call('Write', { file_path: join(folder, 'outside.md'), content: 'x' }),
          call(submissionTool('metadata'), { name: 'x', description: 'x', tags: [], recommendations: [] }),
        ],
        stopReason: 'tool_use',
      }),
    });
    const result = await run({
      step: 'metadata',
      allowedTools: ['Agent(general-purpose)', 'Bash(ls:*)', 'Read', 'Write'],
    });
    expect(result.value).toMatchObject({ name: expect.stringMatching(/../) });
    expect(attacks.hits).toHaveLength(1);
    const [, after] = requests().filter(bySubagents);
    expect(after?.bodyText.match(/"is_error":true/g)).toHaveLength(3);
    expect(requests().at(-1)?.bodyText).toContain('isolation is not available');
    expect(existsSync(join(folder, 'outside.md'))).toBe(false);
    expect(written()).toEqual(['inside.md']);
  });

  it('may start those of an allowed type only', async () => {
    await run({ allowedTools: ['Agent(Explore)', 'Bash', 'Write'] });
    expect(requests().filter(bySubagents)).toEqual([]);
    expect(written()).toEqual(['review.md']);
  });

  it('counts their turns against its limit, and their cost', async () => {
    const turns = await failing({ maxTurns: 3 });
    expect(turns).toMatchObject({ code: 'BUDGET_EXCEEDED', spent: { turnInFlightUnknown: true } });
    // Two at once: one turn more may have been under way when the limit was reached.
    expect(turns.spent.turns).toBeGreaterThanOrEqual(3);
    expect(turns.spent.turns).toBeLessThanOrEqual(4);
    expect(written()).toEqual([]);
    const wordy = model.inject({
      when: bySubagents,
      times: 2,
      answer: (turn) => ({
        ...turn,
        content: [{ type: 'text', text: 'word '.repeat(10_000) }, ...turn.content],
      }),
    });
    const cost = await failing({ maxCostUsd: 0.15 });
    wordy.remove();
    expect(cost).toMatchObject({ code: 'BUDGET_EXCEEDED', spent: { turnInFlightUnknown: true } });
    expect(cost.spent.costUsd).toBeGreaterThan(0.15);
  });

  it('ends at once when an entry of theirs is not stored, and nothing of it has run', async () => {
    const store = new InMemorySessionStore();
    const refusing: SessionStore = {
      load: (key) => store.load(key),
      append: async (key, entries) => {
        if (key.subpath !== undefined && entries.some(({ type }) => type === 'assistant'))
          throw new Error('full');
        await store.append(key, entries);
      },
    };
    expect(await failing({ store: refusing })).toMatchObject({ code: 'STORE_REFUSED' });
    expect(written()).toEqual([]);
  });

  it('waits without a process for a service that asks one of them for a pause', async () => {
    const busy = model.inject({
      when: bySubagents,
      times: Infinity,
      fail: { status: 429, headers: { 'retry-after': '30' } },
    });
    expect(await failing({})).toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('429'),
      retryAfterMs: expect.any(Number),
    });
    busy.remove();
  });
});

describe('a chain with subagents', () => {
  let stack: ChainStack;
  let worker: TestWorker;
  let file: string;
  const startWorker = async () => {
    worker = await stack.startWorker({ SESSION_CHAIN_CONFIG: file });
  };
  beforeAll(async () => {
    stack = await startChainStack('subagents', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
    const step = (name: string, tools: string, writes: string) =>
      `{ name: '${name}', kind: 'work', prompt: () => 'Step: ${name}.', allowedTools: [${tools}], writes: ['${writes}'], critical: true }`;
    file = stack.configuration(`{
      tools: ['Agent', 'Bash', 'Glob', 'Grep', 'Read', 'Write'],
      steps: [
        ${step('review', "'Agent', 'Bash', 'Read', 'Write'", 'review-one.md')},
        ${step('notes', "'Bash', 'Read', 'Write'", 'notes.md')},
      ],
    }`);
    await startWorker();
  });
  afterAll(async () => {
    await stack.stop();
  });

  const review = () => ({ ...stack.request(), steps: ['review'] });
  const store = (projectId: string) =>
    createTranscriptStore({ pool: stack.database.pool, projectId: projectId as ProjectId });
  const subpathsOf = (projectId: string, sessionId: string | null) =>
    store(projectId).listSubkeys({ projectKey: '', sessionId: sessionId ?? '' });
  /** The files that subagents of a project's first attempt wrote, by what is stored of them. */
  const writtenBySubagents = async (projectId: string) => {
    const [attempt] = await attemptsOf(stack, projectId);
    const transcripts = await loadSubagents(store(projectId), attempt?.sessionId as SessionId);
    return transcripts
      .flatMap(({ entries }) => acceptedCalls(entries))
      .filter(({ name }) => name === 'Write');
  };
  /** Subagents of a project that have written their file and ask for the last time. */
  const lastOf = (projectId: string) => (request: OfflineRequest) =>
    bySubagents(request) &&
    request.bodyText.includes(projectId) &&
    request.bodyText.includes('File created successfully');

  /** The ledger against the model's own log, model by model. */
  async function expectLedgerToBeTheLog(projectId: string): Promise<void> {
    const log = answered(await requestsOf(stack, projectId));
    const spent = await stack.sessionChain.spend(projectId);
    expect(spent).toMatchObject({ turns: log.length, usage: loggedUsage(log), attemptsOfUnknownCost: 0 });
    for (const [model, { costUsd, ...usage }] of Object.entries(spent.byModel)) {
      expect(usage).toEqual(loggedUsage(log.filter((request) => request.model === model)));
      expect(costUsd).toBeGreaterThan(0);
    }
    expect(Object.keys(spent.byModel).sort()).toEqual([...new Set(log.map(({ model }) => model))].sort());
  }

  describe('where nothing happens', () => {
    let projectId: string;
    let result: ChainResult;
    beforeAll(async () => {
      const request = stack.request();
      projectId = request.projectId;
      const started = stack.model.inject({
        when: (asked) => asked.step === 'review' && !bySubagents(asked),
        answer: startedWith({ model: 'haiku', run_in_background: true }),
      });
      result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
      started.remove();
    });

    it('waits for all of them, also for those in the background, and pays each model', async () => {
      expect(result).toMatchObject({
        status: 'completed',
        warnings: [],
        steps: [{ attempts: 1 }, { attempts: 1 }],
      });
      const [first, ...others] = (await requestsOf(stack, projectId)).filter(({ step }) => step === 'review');
      const last = others.pop();
      expect([first?.subagent, last?.subagent]).toEqual([undefined, undefined]);
      expect(new Set(others.map(({ subagent }) => subagent)).size).toBe(2);
      // At once: the second began before the first had ended.
      const isOfFirst = others.map(({ subagent }) => subagent === others[0]?.subagent);
      expect(isOfFirst.indexOf(false)).toBeLessThan(isOfFirst.lastIndexOf(true));
      for (const { subagent, model } of others) {
        expect(subagent).toBeDefined();
        expect(model).not.toBe(first?.model);
      }
      await expectLedgerToBeTheLog(projectId);
      const { costUsd, byModel } = await stack.sessionChain.spend(projectId);
      expect(costUsd).toBeCloseTo(
        Object.values(byModel).reduce((sum, one) => sum + (one.costUsd ?? 0), 0),
        8,
      );
    });

    it('keeps their transcripts with the session that had them; the next one knows their answers alone', async () => {
      const [reviewed, noted] = await attemptsOf(stack, projectId);
      expect(await subpathsOf(projectId, reviewed?.sessionId ?? null)).toEqual([
        expect.stringMatching(/^subagents\/agent-/),
        expect.stringMatching(/^subagents\/agent-/),
      ]);
      expect(await subpathsOf(projectId, noted?.sessionId ?? null)).toEqual([]);
      const next = (await requestsOf(stack, projectId)).find(({ step }) => step === 'notes');
      expect(next?.bodyText).toContain('wrote review-one.md');
      expect(next?.bodyText).not.toContain('File created successfully');
    });

    it('answers a question without any', async () => {
      const injected = stack.model.inject({
        when: ({ step, bodyText }) => step === 'chat_plan' && bodyText.includes(projectId),
        answer: () => ({
          content: [call('Agent', { description: 'x', prompt: 'Write. The part: chat' })],
          stopReason: 'tool_use',
        }),
      });
      await stack.sessionChain.ask({ projectId, text: 'What is this project?' });
      expect(injected.hits).toHaveLength(1);
      const asked = (await requestsOf(stack, projectId)).filter(({ step }) => step === 'chat_plan');
      expect(asked.filter(bySubagents)).toEqual([]);
      expect(asked.at(-1)?.bodyText).toContain('Agent is not allowed here');
    });
  });

  it('goes on after its worker was killed under them; what they spent and wrote counts', async () => {
    const request = review();
    const { projectId } = request;
    const held = stack.model.inject({ hold: 'before', when: lastOf(projectId), times: 2 });
    const started = await stack.sessionChain.start(request);
    await until(() => held.hits.length === 2);
    await until(async () => (await writtenBySubagents(projectId)).length === 2);
    await worker.kill('SIGKILL');
    held.remove();
    const ending = stack.model.inject({
      when: (asked) => asked.bodyText.includes(projectId) && asked.bodyText.includes('Tool call interrupted'),
      answer: answers.textOnly,
    });
    await startWorker();
    const result = await stack.sessionChain.wait(started);
    ending.remove();
    // The second attempt wrote nothing: the file that the step should write is the work of a subagent before.
    expect(result).toMatchObject({ status: 'completed', warnings: [], steps: [{ attempts: 2 }] });
    const [killed] = await attemptsOf(stack, projectId);
    expect(killed).toMatchObject({
      outcome: 'interrupted',
      turns: 5,
      turnInFlightUnknown: true,
      costDerived: true,
    });
    await expectLedgerToBeTheLog(projectId);
  });

  it('stops with them when it is cancelled', async () => {
    const request = review();
    const { projectId } = request;
    const held = stack.model.inject({ hold: 'before', when: lastOf(projectId), times: 2 });
    const started = await stack.sessionChain.start(request);
    await until(() => held.hits.length === 2);
    await until(async () => (await writtenBySubagents(projectId)).length === 2);
    await stack.sessionChain.cancel(started);
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'cancelled' });
    expect(worker.agentProcesses()).toEqual([]);
    held.remove();
    await expectLedgerToBeTheLog(projectId);
  });
});
