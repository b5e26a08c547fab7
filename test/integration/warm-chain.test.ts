import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { callTools } from '../../dev/offline-model/messages.js';
import { beforeStep } from '../fault/moments.js';
import { type StatementProxy, startStatementProxy } from '../fault/statement-proxy.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
  waitedInVain,
} from '../support/chain-stack.js';
import { requestsOf } from '../support/project-facts.js';
import { processesNaming } from '../support/processes.js';

/** Chains on a real worker whose processes go on with the next step, against the same chains without that. */

const stepNames = ['build', 'metadata', 'docs', 'compact'];
let stack: ChainStack;
let proxy: StatementProxy;
const mark = 'LEFT=by-the-build';

beforeAll(async () => {
  stack = await startChainStack('warm-chain', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  proxy = await startStatementProxy(stack.database.url);
});
afterAll(async () => {
  await stack.stop();
  await proxy.stop();
});

const workerThat = async (keeps: 'keeps processes' | 'keeps none'): Promise<TestWorker> =>
  await stack.onlyWorker({
    DATABASE_URL: proxy.url,
    ...(keeps === 'keeps none' ? { SESSION_CHAIN_WARM: '0' } : {}),
  });

interface Ran {
  request: StartRequest;
  result: ChainResult;
  /** The steps whose agents began, and whether in a process that had waited. */
  starts: [step: string, warm: boolean][];
}

async function run(worker: TestWorker, more: Partial<StartRequest> = {}): Promise<Ran> {
  const request = { ...stack.request(), ...more };
  const before = startsOf(worker).length;
  const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
  return { request, result, starts: startsOf(worker).slice(before) };
}

/** Runs it once more where a process waited in vain. */
async function runInTime(
  worker: TestWorker,
  more: Partial<StartRequest> = {},
  prepare: () => void = () => undefined,
): Promise<Ran> {
  for (;;) {
    prepare();
    const ran = await run(worker, more);
    if (!waitedInVain(worker, ran.request.projectId)) return ran;
  }
}

function startsOf(worker: TestWorker): [string, boolean][] {
  return worker
    .output()
    .split('\n')
    .filter((line) => line.includes('"agent.started"'))
    .map((line) => JSON.parse(line) as { step: string; warm: boolean })
    .map(({ step, warm }) => [step, warm]);
}

/** What a chain came to, whichever processes did it. */
async function outcomeOf({ request, result }: Ran) {
  const { status, failure, steps, head } = result;
  const requests = await requestsOf(stack, request.projectId);
  return {
    ...{ status, code: failure?.code, seq: head.seq },
    steps: steps.map(({ step, status, attempts, turns }) => ({ step, status, attempts, turns })),
    requests: requests.map(({ step, kind, model }) => ({ step, kind, model })),
  };
}

/** What a chain wrote, by file. */
function filesOf({ request: { workspace } }: Ran): [file: string, text: string][] {
  return readdirSync(workspace)
    .filter((file) => /^\w.*\.\w+$/.test(file))
    .sort()
    .map((file) => [file, readFileSync(join(workspace, file), 'utf8')]);
}

describe('a chain', () => {
  let warm: Ran;
  let cold: Ran;
  /** Of the processes that the build had left, those that were alive at the next step's first request. */
  let leftAlive: number[] | undefined;
  /** What the steps cost once everything that chains have in common is in the prompt cache. */
  let costs: number[];

  beforeAll(async () => {
    const worker = await workerThat('keeps processes');
    const leave = () =>
      stack.model.inject({
        when: ({ step }) => step === 'build',
        answer: () =>
          callTools('I leave something behind.', {
            name: 'Bash',
            input: { command: `${mark} setsid sleep 1000 >/dev/null 2>&1 &`, description: 'Leave it' },
          }),
      });
    warm = await runInTime(worker, {}, () => {
      leave();
      const held = stack.model.holdNext(({ step }) => step === 'metadata');
      void held.reached.then(() => {
        leftAlive = processesNaming(mark);
        held.remove();
      });
    });
    leave();
    cold = await run(await workerThat('keeps none'));
    costs = cold.result.steps.map(({ costUsd }) => costUsd ?? 0);
  });

  it('is done by one process, step after step', () => {
    expect(warm.result.status).toBe('completed');
    expect(warm.starts).toEqual(stepNames.map((step, index) => [step, index > 0]));
  });

  it('comes to the same where each step starts its own', async () => {
    expect(cold.starts).toEqual(stepNames.map((step) => [step, false]));
    expect(await outcomeOf(warm)).toEqual(await outcomeOf(cold));
    expect(filesOf(warm)).toEqual(filesOf(cold));
  });

  it('goes on when what its build had left behind is dead', () => {
    expect(leftAlive).toEqual([]);
  });

  it('ends at its budget where it would without', async () => {
    const [build = 0, metadata = 0, docs = 0] = costs;
    const budget = { maxCostUsd: build + metadata + docs / 2 };
    const stoppedCold = await run(await workerThat('keeps none'), { budget });
    const stoppedWarm = await runInTime(await workerThat('keeps processes'), { budget });
    expect(stoppedCold.result).toMatchObject({ status: 'budget_exceeded', head: { seq: 2 } });
    expect(await outcomeOf(stoppedWarm)).toEqual(await outcomeOf(stoppedCold));
    expect(stoppedWarm.starts).toEqual([
      ['build', false],
      ['metadata', true],
      ['docs', true],
    ]);
  });

  it('keeps the limits of each step: of turns in the same process, of cost in one of its own', async () => {
    const worker = await workerThat('keeps processes');
    const steps = ['build', 'docs'];
    const ofTurns = await runInTime(worker, { steps, limits: { docs: { maxTurns: 1, maxAttempts: 1 } } });
    expect(ofTurns.starts).toEqual([
      ['build', false],
      ['docs', true],
    ]);
    expect(ofTurns.result.steps[1]).toMatchObject({ step: 'docs', status: 'failed', turns: 1 });
    const ofCost = await run(worker, { steps, limits: { docs: { maxCostUsd: 0.001, maxAttempts: 1 } } });
    expect(ofCost.starts).toEqual([
      ['build', false],
      ['docs', false],
    ]);
    expect(ofCost.result.steps[1]).toMatchObject({ step: 'docs', status: 'failed' });
    for (const { result } of [ofTurns, ofCost]) expect(result.failure?.code).toBe('BUDGET_EXCEEDED');
    await until(() => worker.agentProcesses().length === 0);
  });

  it('is fenced when its head is moved outside while its process waits', async () => {
    const worker = await workerThat('keeps processes');
    const docs = shippedDefinition.steps.filter(isAgentStep).find(({ name }) => name === 'docs');
    if (!docs) throw new Error('There is no step docs.');
    const held = beforeStep({ proxy, step: docs });
    const request = { ...stack.request(), steps: ['build', 'docs'] };
    const started = await stack.sessionChain.start(request);
    await until(() => held.isReached());
    await stack.database.pool.query(
      `UPDATE projects SET last_ai_session_id = 'outside', session_seq = NULL WHERE project_id = $1`,
      [request.projectId],
    );
    held.release();
    const result = await stack.sessionChain.wait(started);
    expect(result.failure?.code).toBe('FENCED');
    const asked = await requestsOf(stack, request.projectId);
    expect(new Set(asked.map(({ step }) => step))).toEqual(new Set(['build']));
    await until(() => worker.agentProcesses().length === 0);
  });
});
