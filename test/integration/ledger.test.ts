import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChainResult } from '../../contracts/chain.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { lastCounters } from '../../transcript/entries.js';
import { answers } from '../../dev/offline-model/injections.js';
import { projectSpend } from '../../storage/ledger/ledger.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, loggedUsage, requestsOf, storedToolCalls } from '../support/project-facts.js';

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('ledger', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

/** The last word of the agent's own counters about a lineage that was never cut: cumulative over all its forks. */
async function countedCost(projectId: string, sessionId: SessionId | null): Promise<number | undefined> {
  const store = createTranscriptStore({ pool: stack.database.pool, projectId: projectId as ProjectId });
  const entries = await store.load({ projectKey: '', sessionId: sessionId ?? '' });
  return lastCounters(entries ?? [])?.costUsd;
}

/** The prices of the agent's list for the offline model, from what a whole run of it cost: US dollars per token. */
const dollars = (usage: ReturnType<typeof loggedUsage>) =>
  usage.inputTokens * 4e-6 +
  usage.outputTokens * 20e-6 +
  usage.cacheReadTokens * 0.2e-6 +
  usage.cacheWriteTokens * 8e-6;

/** The ledger against the model's own log: nothing missing, nothing twice, at the agent's prices. */
async function expectLedgerToBeTheLog(projectId: string): Promise<void> {
  const logged = loggedUsage(answered(await requestsOf(stack, projectId)));
  const spent = await stack.sessionChain.spend(projectId);
  expect(spent.usage).toEqual(logged);
  expect(spent.costUsd).toBeCloseTo(dollars(logged), 8);
  expect(spent.attemptsOfUnknownCost).toBe(0);
  for (const [, usage] of Object.entries(spent.byModel)) expect(usage.costUsd).toBeGreaterThan(0);
  const models = Object.values(spent.byModel);
  expect(models.reduce((sum, { outputTokens }) => sum + outputTokens, 0)).toBe(logged.outputTokens);
}

describe('the ledger of a plain chain', () => {
  let projectId: string;
  let result: ChainResult;
  beforeAll(async () => {
    const request = stack.request();
    projectId = request.projectId;
    result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
  });

  it('says what the model’s log says, the compaction included', async () => {
    expect(result.status).toBe('completed');
    await expectLedgerToBeTheLog(projectId);
    expect((await stack.sessionChain.spend(projectId)).costUsd).toBeCloseTo(
      (await countedCost(projectId, result.head.sessionId)) ?? 0,
      8,
    );
  });

  it('has a row for every attempt, with model and version, and its sums are the chain’s', async () => {
    const attempts = await attemptsOf(stack, projectId);
    expect(attempts).toHaveLength(4);
    for (const attempt of attempts) {
      expect(attempt).toMatchObject({
        outcome: 'committed',
        turnInFlightUnknown: false,
        costDerived: false,
        model: expect.stringMatching(/claude/),
        agentVersion: expect.stringMatching(/^\d+\.\d+/),
      });
      expect(attempt.durationMs).toBeGreaterThan(0);
    }
    const chain = await stack.sessionChain.chainSpend(result);
    expect(chain.steps.map(({ step, attempts }) => [step, attempts])).toEqual([
      ['build', 1],
      ['metadata', 1],
      ['docs', 1],
      ['compact', 1],
    ]);
    expect(chain.steps.map(({ costUsd }) => costUsd)).toEqual(result.steps.map(({ costUsd }) => costUsd));
    expect(await projectSpend(stack.database.pool, projectId as ProjectId)).toEqual({
      ...chain,
      steps: undefined,
    });
  });
});

/** Waits until the session of the newest attempt has a tool call that its base has not: its turn is stored then. */
async function untilTurnIsStored(projectId: string, base: SessionId | null): Promise<void> {
  const before = base ? (await storedToolCalls(stack, projectId, base)).length : 0;
  await until(async () => {
    const sessionId = (await attemptsOf(stack, projectId)).at(-1)?.sessionId;
    return sessionId !== undefined && (await storedToolCalls(stack, projectId, sessionId)).length > before;
  });
}

/** The connections whose commit statement waits for a lock. */
async function waitingCommits(): Promise<number[]> {
  const { rows } = await stack.database.pool.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%commit_operation(%'`,
  );
  return rows.map(({ pid }) => pid);
}

describe('the ledger of a chain that had to try again', () => {
  it('counts a failed attempt and the one that went on from it, under the step’s figures', async () => {
    const request = {
      ...stack.request(),
      limits: { metadata: { maxAttempts: 1 } },
      steps: ['build', 'metadata'] as const,
    };
    const wordy = stack.model.inject({
      when: ({ step }) => step === 'metadata',
      answer: answers.textOnly,
      times: Infinity,
    });
    const first = await stack.sessionChain.wait(
      await stack.sessionChain.start({ ...request, steps: [...request.steps] }),
    );
    wordy.remove();
    expect(first.steps[1]).toMatchObject({ status: 'failed', failure: { code: 'SUBMISSION_INVALID' } });
    expect(first.steps[1]?.costUsd).toBeGreaterThan(0);
    await expectLedgerToBeTheLog(request.projectId);
  });

  it('of a worker killed in mid-build, and of a finished step that was adopted', async () => {
    const version1 = stack.request();
    const { head } = await stack.sessionChain.wait(
      await stack.sessionChain.start({ ...version1, steps: ['build'] }),
    );
    const request = { ...stack.request(version1.projectId), steps: ['build' as const, 'docs' as const] };
    const { projectId } = request;

    // In a fork: its base has counters, which the killed session does not carry on.
    const build = stack.model.holdNext(
      ({ step, mode, bodyText }) =>
        step === 'build' && mode === 'update' && /"tool_result"(?!.*Step: build\.)/s.test(bodyText),
    );
    const started = await stack.sessionChain.start(request);
    await build.reached;
    // The tool ran on the note of its call; the turn itself may be on its way to the store.
    await untilTurnIsStored(projectId, head.sessionId);
    await worker.kill('SIGKILL');
    worker = await stack.startWorker();
    build.remove();

    // The docs step's final message is stored, but its commit finds the project locked, and then its worker dies.
    const docs = stack.model.holdNext(({ step, bodyText }) => step === 'docs' && bodyText.includes('README'));
    await docs.reached;
    const lock = await stack.database.pool.connect();
    await lock.query('BEGIN');
    await lock.query('SELECT FROM projects WHERE project_id = $1 FOR UPDATE', [projectId]);
    docs.release();
    await until(async () => (await waitingCommits()).length === 1);
    await worker.kill('SIGKILL');
    // A statement that waits for a lock does not notice that its client is dead: it would commit after all.
    for (const pid of await waitingCommits()) await lock.query('SELECT pg_terminate_backend($1)', [pid]);
    await until(async () => (await waitingCommits()).length === 0);
    await lock.query('ROLLBACK');
    lock.release();
    docs.remove();
    const asked = (await requestsOf(stack, projectId)).length;
    worker = await stack.startWorker();

    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({ status: 'completed', steps: [{ attempts: 2 }, { attempts: 2 }] });
    expect((await requestsOf(stack, projectId)).length).toBe(asked);
    const attempts = await attemptsOf(stack, projectId);
    expect(attempts.map(({ step, outcome }) => [step, outcome])).toEqual([
      ['build', 'committed'],
      ['build', 'interrupted'],
      ['build', 'committed'],
      ['docs', 'interrupted'],
      ['docs', 'adopted'],
    ]);
    const [, killed, , finished, adopted] = attempts;
    expect(killed).toMatchObject({ turnInFlightUnknown: true, costDerived: true });
    expect(killed?.turns).toBeGreaterThan(0);
    expect(adopted).toMatchObject({ turns: 0, costUsd: 0, adopts: finished?.sessionId });
    await expectLedgerToBeTheLog(projectId);
    // The step's figures are those of all its attempts.
    const { steps } = await stack.sessionChain.chainSpend(started);
    expect(result.steps.map(({ costUsd }) => costUsd)).toEqual(steps.map(({ costUsd }) => costUsd));
    expect(result.steps[1]?.costUsd).toBeGreaterThan(0);
  });

  it('of an agent that is killed under its worker, first thing in a project', async () => {
    const request = { ...stack.request(), steps: ['build' as const] };
    const build = stack.model.holdNext(
      ({ step, mode, bodyText }) =>
        step === 'build' && mode === 'initial' && bodyText.includes('tool_result'),
    );
    const started = await stack.sessionChain.start(request);
    await build.reached;
    await untilTurnIsStored(request.projectId, null);
    for (const pid of worker.agentProcesses()) process.kill(pid, 'SIGKILL');
    await until(async () => (await attemptsOf(stack, request.projectId))[0]?.state === 'failed');
    build.remove();
    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({ status: 'completed', steps: [{ attempts: 2 }] });
    const [killed] = await attemptsOf(stack, request.projectId);
    expect(killed).toMatchObject({
      outcome: 'failed',
      failure: 'AGENT_FAILED',
      turnInFlightUnknown: true,
      costDerived: true,
    });
    await expectLedgerToBeTheLog(request.projectId);
  });
});
