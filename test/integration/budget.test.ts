import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defaultPayloadConverter } from '@temporalio/common';
import { chainKey } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { readProjectEvents } from '../../storage/events/events.js';
import { chainWorkflowId } from '../../temporal/names.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, requestsOf, storedToolCalls } from '../support/project-facts.js';

let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('budget', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
const buildOnly = () => ({ ...stack.request(), steps: ['build' as const] });
/** A build's requests from the second on: the first tool call has run and is stored. */
const afterFirstTool = (projectId: string) => {
  const hold = stack.model.holdNext(
    ({ step, bodyText }) =>
      step === 'build' && bodyText.includes(projectId) && bodyText.includes('tool_result'),
  );
  return hold;
};

/** The model turns that an undisturbed build takes; one more would mean that a stored one was asked for again. */
const turnsOfBuild = 4;

async function expectGoneOnFrom(projectId: string, partialSessionId: string): Promise<void> {
  const requests = answered(await requestsOf(stack, projectId));
  const next = requests.find(({ sessionId }) => sessionId !== partialSessionId);
  const stored = await storedToolCalls(stack, projectId, partialSessionId);
  expect(stored).not.toEqual([]);
  for (const call of stored) expect(next?.bodyText).toContain(call);
}

/** In Temporal's Web UI: the failure, the current details, and the summary of the step. */
async function expectToldApart(stopped: ChainResult, limit: string): Promise<void> {
  const handle = stack.temporal.workflow.getHandle(chainWorkflowId(stopped));
  await expect(handle.result()).rejects.toMatchObject({
    cause: { type: 'BUDGET_EXCEEDED', message: expect.stringMatching(/^budget exceeded in build: /) },
  });
  const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
  expect(currentDetails).toMatch(
    /^\*\*budget exceeded\*\* in build since 20[\d-]{8} [\d:]{8} UTC · \$0\.0*[1-9]\d* {2}\nBUDGET_EXCEEDED: .+ {2}\nNext: Raise /,
  );
  expect(currentDetails).toContain(`Raise the ${limit} (`);
  const { events } = await handle.fetchHistory();
  const step = events?.find(
    (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'build',
  );
  expect(defaultPayloadConverter.fromPayload(step?.userMetadata?.summary ?? {})).toBe(
    'Builds what the instruction asks for · from a fresh session',
  );
}

// A cost limit stops the agent between a turn and the tool that it calls: the model has to call that one again.
describe.each([
  ['cost of the chain', { budget: { maxCostUsd: 0.004 } }, { budget: { maxCostUsd: 5 } }, turnsOfBuild + 1],
  ['turns of the chain', { budget: { maxTurns: 2 } }, { budget: { maxTurns: 20 } }, turnsOfBuild],
  ['cost of the step', { limits: { build: { maxCostUsd: 0.004 } } }, {}, turnsOfBuild + 1],
  [
    'turns of the step',
    { limits: { build: { maxTurns: 2 } } },
    { limits: { build: { maxTurns: 9 } } },
    turnsOfBuild,
  ],
])('a budget for the %s', (what, small, large, turns) => {
  it('stops a chain while it spends, before it spends when nothing is left, and lets it go on when raised', async () => {
    // The remedy is to raise the one that was reached.
    const limit = `${what.startsWith('cost') ? 'cost limit' : 'limit of model turns'} of the ${what.split(' ').at(-1)}`;
    const request = buildOnly();
    const stopped = await run({ ...request, ...small });
    expect(stopped).toMatchObject({
      status: 'budget_exceeded',
      failure: { code: 'BUDGET_EXCEEDED', remedy: expect.stringContaining(limit) },
      head: { sessionId: null },
      steps: [{ status: 'failed', attempts: 1 }],
    });
    await expectToldApart(stopped, limit);
    const { events } = await readProjectEvents(stack.database.pool, stopped, 0, 100);
    const [kind, owner] = [what.split(' ')[0], what.split(' ').at(-1)];
    expect(events.find(({ type }) => type === 'budget.reached')?.data).toEqual({
      limit: { limit: kind, owner },
    });
    // What was spent is shown although the step came to nothing.
    expect(stopped.steps[0]?.turns).toBeGreaterThan(0);
    expect(stopped.steps[0]?.costUsd).toBeGreaterThan(0);
    const spentOn = (await requestsOf(stack, request.projectId)).length;

    const { budget, budgetLeft } = await stack.sessionChain.chain(chainKey(request));
    // A limit of the step is no budget of the chain.
    const ofChain = 'budget' in small ? small.budget : null;
    expect(budget).toEqual(ofChain);
    expect(budgetLeft).toEqual(
      ofChain && {
        costUsd: 'maxCostUsd' in ofChain ? expect.any(Number) : null,
        turns: 'maxTurns' in ofChain ? 0 : null,
        timeMs: null,
      },
    );

    const again = await run({ ...request, ...small });
    expect(again).toMatchObject({ status: 'budget_exceeded', failure: { code: 'BUDGET_EXCEEDED' } });
    expect(again.failure).toMatchObject({
      message: expect.stringContaining(`${limit} is used up`),
      remedy: expect.stringContaining(limit),
    });
    expect(await requestsOf(stack, request.projectId)).toHaveLength(spentOn);

    const result = await run({ ...request, ...large });
    expect(result).toMatchObject({ status: 'completed', head: { seq: 1 } });
    const [partial] = await attemptsOf(stack, request.projectId);
    await expectGoneOnFrom(request.projectId, partial?.sessionId ?? '');
    expect(answered(await requestsOf(stack, request.projectId))).toHaveLength(turns);
    expect(result.steps[0]).toMatchObject({ attempts: 3, turns });
  });
});

describe.each([
  ['a step', (timeoutMs: number) => ({ limits: { build: { timeoutMs } } })],
  ['a chain', (timeoutMs: number) => ({ budget: { timeoutMs } })],
])('a time limit for %s', (_what, within) => {
  /** A build that is stopped after its first tool, however long it took to get there. */
  async function stoppedBuild(timeoutMs = 6_000): Promise<StartRequest> {
    const request = buildOnly();
    const build = afterFirstTool(request.projectId);
    let isReached = false;
    void build.reached.then(() => (isReached = true));
    const stopped = await run({ ...request, ...within(timeoutMs) });
    build.remove();
    expect(stopped).toMatchObject({
      status: 'budget_exceeded',
      failure: { code: 'STEP_TIMED_OUT' },
      head: { sessionId: null },
    });
    return isReached ? request : await stoppedBuild(2 * timeoutMs);
  }

  it('stops it resumable: started again with more time, it goes on', async () => {
    const request = await stoppedBuild();
    await until(() => worker.agentProcesses().length === 0);

    expect(await run(request)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    const [partial] = await attemptsOf(stack, request.projectId);
    await expectGoneOnFrom(request.projectId, partial?.sessionId ?? '');
  });
});

describe('a budget of the whole chain', () => {
  it('ends it after a step that used it up, with the head at the last committed session', async () => {
    const request = stack.request();
    const stopped = await run({ ...request, budget: { maxTurns: 5 } });
    expect(stopped).toMatchObject({ status: 'budget_exceeded', head: { seq: 1 } });
    expect(stopped.steps.map(({ status }) => status)).toEqual(['committed', 'failed', 'pending', 'pending']);
    const result = await run({ ...request, budget: { maxTurns: 50 } });
    expect(result).toMatchObject({ status: 'completed', head: { seq: 4 } });
    expect(result.steps[0]?.newSessionId).toBe(stopped.steps[0]?.newSessionId);
  });
});
