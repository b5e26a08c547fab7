import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SessionChainError } from '../../contracts/failures.js';
import type { ChainId, ChainKey, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { closeChain, listOpenRuns, openChain, readChain, releaseChain } from '../../storage/chains/chains.js';
import { getSessionChain, readHead } from '../../storage/heads/heads.js';
import { type Attempt, beginOperation } from '../../storage/operations/operations.js';
import { chainWorkflowId } from '../../temporal/names.js';
import * as chains from '../support/chains.js';
import {
  commitAttempt,
  newKey,
  noStatus,
  openerOf,
  plan,
  register,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { fc } from '../support/properties.js';

/**
 * The storage functions against a model of them in memory: whatever is asked in whatever order, by any run, the
 * answers and the head are those of the model.
 */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

interface ModelChain {
  key: ChainKey;
  chainId: ChainId | null;
  status: 'new' | 'queued' | 'working' | 'closed';
  /** The runs that ever worked for it, the latest last, each with the ticket that it knows it drew. */
  runs: { runId: string; ticket: number | null }[];
  /** The ticket with which it is queued or works, and the run that drew it. */
  ticket: number | null;
  runId: string | null;
  committed: Map<StepName, SessionId>;
  newestTry: Map<StepName, { atMs: number; ticket: number; attempt: number; order: number }>;
}

/** An attempt, which may commit as long as it is alive and epoch and head are its own. */
interface ModelAttempt {
  attempt: Attempt;
  /** The chain whose step it is; null for an import outside a chain. */
  chain: ModelChain | null;
  isAlive: boolean;
  epoch: number | null;
  old: SessionId | null;
  committedAs: { seq: number } | null;
}

/** One project. */
interface Model {
  chains: ModelChain[];
  attempts: ModelAttempt[];
  lineage: SessionId[];
  /** Raised whenever what was begun before may no longer commit. */
  epoch: number;
  clockMs: number;
}

type Command = fc.AsyncCommand<Model, undefined>;

const headOf = ({ lineage }: Model) => lineage.at(-1) ?? null;
const holderOf = ({ chains }: Model) => chains.find(({ status }) => status === 'working');
const queueOf = ({ chains }: Model) =>
  chains
    .filter(({ status, ticket }) => status === 'queued' && ticket !== null)
    .sort((a, b) => (a.ticket ?? 0) - (b.ticket ?? 0));
const runsOf = (chain: ModelChain) => {
  const run = chain.runs.at(-1);
  if (!run) throw new Error('The chain has no run.');
  return run;
};

function endAttemptsOf(model: Model, chain: ModelChain): void {
  for (const attempt of model.attempts) {
    if (attempt.chain === chain) attempt.isAlive = false;
  }
}

function closeIn(model: Model, chain: ModelChain): void {
  if (chain.status === 'working') {
    endAttemptsOf(model, chain);
    model.epoch++;
  }
  chain.status = 'closed';
}

/** The chain is closed for a run that is gone; its ticket counts no more. */
function releaseIn(model: Model, chain: ModelChain): void {
  closeIn(model, chain);
  chain.ticket = null;
}

/** What every command leaves true. */
async function expectSameHead(model: Model): Promise<void> {
  const { projectId } = chainAt(model, 0).key;
  if (model.chains.every(({ status }) => status === 'new') && model.attempts.length === 0) return;
  expect(await readHead(database.pool, projectId)).toEqual({
    sessionId: headOf(model),
    seq: model.lineage.length || null,
  });
  expect((await listOpenRuns(database.pool, projectId)).map(({ runId }) => runId)).toEqual(
    [holderOf(model), ...queueOf(model)].flatMap((chain) => chain?.runId ?? []),
  );
}

function chainAt({ chains }: Model, index: number): ModelChain {
  const chain = chains[index % chains.length];
  if (!chain) throw new Error('The model has no chain.');
  return chain;
}

/** A command that is always possible: what cannot be done now must be refused, and change nothing. */
function command(name: string, act: (model: Model) => Promise<void>): Command {
  return {
    check: () => true,
    async run(model) {
      await act(model);
      await expectSameHead(model);
    },
    toString: () => name,
  };
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => new Error('It was not refused.'),
    (reason: unknown) => reason,
  );
  if (error instanceof SessionChainError) return error.code;
  throw error;
}

/** Starts the chain where it is not open, and its latest run asks for the project. `gone`: having seen closed what was in the way. */
const open = (index: number, { gone }: { gone: boolean }) =>
  command(`open(${index}${gone ? ', gone' : ''})`, async (model) => {
    const chain = chainAt(model, index);
    if (chain.status === 'new' || chain.status === 'closed') {
      const registered = await register(database.pool, chain.key);
      expect(registered.isNew).toBe(true);
      chain.chainId = registered.chainId;
      Object.assign(chain, { status: 'queued', ticket: null, runId: null });
      chain.runs.push({ runId: randomUUID(), ticket: null });
    }
    await ask(model, chain, gone);
  });

/** A run that knows nothing of the one before it asks for the project for an open chain. */
const openAgain = (index: number, { gone }: { gone: boolean }) =>
  command(`openAgain(${index}${gone ? ', gone' : ''})`, async (model) => {
    const chain = chainAt(model, index);
    if (chain.status !== 'queued' && chain.status !== 'working') return;
    chain.runs.push({ runId: randomUUID(), ticket: null });
    await ask(model, chain, gone);
  });

async function ask(model: Model, chain: ModelChain, gone: boolean): Promise<void> {
  const run = runsOf(chain);
  const isReplaced = chain.ticket !== null && run.ticket === null && chain.runId !== run.runId;
  const firstInTheWay = isReplaced ? chain : inTheWayOf(model, chain);
  const goneRunId = gone ? (firstInTheWay?.runId ?? 'unknown') : null;
  const asking = openChain(
    database.pool,
    { ...chain.key, chainId: idOf(chain) },
    openerOf(run.runId, run.ticket),
    goneRunId,
    { plan },
  );
  const isSuperseded = run.ticket !== null && run.ticket !== chain.ticket;
  if (isSuperseded || (chain.status === 'working' && chain.runId === run.runId && hasBegun(chain))) {
    expect(await refusal(asking)).toBe('FENCED');
    return;
  }
  const answer = await asking;

  if (gone && firstInTheWay === chain) {
    endAttemptsOf(model, chain);
    Object.assign(chain, { status: 'queued', ticket: null });
  } else if (gone && firstInTheWay) {
    releaseIn(model, firstInTheWay);
  }
  if (isReplaced && !gone) {
    expect(answer).toMatchObject({ outcome: 'queued', ticket: null, blocker: { runId: chain.runId } });
    return;
  }
  if (answer.outcome === 'former_agent_alive') throw new Error('No agent is alive here.');
  if (chain.ticket === null) {
    // Whatever the ticket is, it is higher than all that were drawn before.
    const drawn = model.chains.flatMap(({ runs }) => runs.flatMap(({ ticket }) => ticket ?? []));
    expect(answer.ticket).toBeGreaterThan(Math.max(0, ...drawn));
    Object.assign(chain, { ticket: answer.ticket, runId: run.runId });
  }
  run.ticket = chain.ticket;
  const blocker = inTheWayOf(model, chain);
  if (blocker) {
    expect(answer).toMatchObject({
      outcome: 'queued',
      ticket: chain.ticket,
      position: 1 + queueOf(model).indexOf(chain),
      blocker: { runId: blocker.runId, workflowId: chainWorkflowId(blocker.key) },
      holds: blocker.status === 'working',
    });
    return;
  }
  chain.status = 'working';
  model.epoch++;
  expect(answer).toMatchObject({
    outcome: 'opened',
    head: { sessionId: headOf(model), seq: model.lineage.length || null },
    baseSessionId: headOf(model),
    ticket: chain.ticket,
    warnings: [],
  });
}

/** Whether a step was begun under the chain's present ticket. */
function hasBegun({ newestTry, ticket }: ModelChain): boolean {
  return [...newestTry.values()].some((newest) => newest.ticket === ticket);
}

/** The holder, else the first in the queue before it; undefined for a chain that works. */
function inTheWayOf(model: Model, chain: ModelChain): ModelChain | undefined {
  if (chain.status === 'working') return undefined;
  const before = queueOf(model).filter(({ ticket }) => (ticket ?? 0) < (chain.ticket ?? Infinity));
  return holderOf(model) ?? before[0];
}

function idOf({ chainId }: ModelChain): ChainId {
  if (chainId === null) throw new Error('The chain was not registered.');
  return chainId;
}

/** Begins a step under the ticket of any of the chain's runs. `late`: a try that was scheduled before the step's newest. */
const begin = (index: number, step: StepName, { former, late }: { former: boolean; late: boolean }) =>
  command(`begin(${index}, ${step}${former ? ', former run' : ''}${late ? ', late' : ''})`, async (model) => {
    const chain = chainAt(model, index);
    if (chain.chainId === null) return;
    const run = former ? chain.runs[0] : chain.runs.at(-1);
    const ticket = run?.ticket ?? 0;
    const newest = chain.newestTry.get(step);
    const scheduledAtMs = late && newest ? newest.atMs - 1 : ++model.clockMs;
    const asking = chains.begin(
      database.pool,
      { ...chain.key, chainId: chain.chainId, ticket, runId: '', head: headOf(model) },
      step,
      { scheduledAtMs },
    );
    const done = chain.committed.get(step);
    if (done) {
      expect(await asking).toMatchObject({ outcome: 'committed', result: { step, newSessionId: done } });
      return;
    }
    if (chain.status === 'queued' && chain.ticket === ticket) {
      // No chain begins a step that was not opened, as far as its database knows.
      expect(await refusal(asking)).toBe('DATABASE_WENT_BACK');
      return;
    }
    if (chain.status !== 'working' || chain.ticket !== ticket || isLate(chain, step, scheduledAtMs)) {
      expect(await refusal(asking)).toBe('FENCED');
      return;
    }
    const begun = await asking;
    if (begun.outcome !== 'begun') throw new Error(`It should have begun: ${begun.outcome}.`);
    const { attempt } = begun;
    expect(attempt.attempt).toBe((newest?.attempt ?? 0) + 1);
    endAttemptsOf(model, chain);
    model.epoch++;
    const order = model.attempts.length;
    chain.newestTry.set(step, { atMs: scheduledAtMs, ticket, attempt: attempt.attempt, order });
    model.attempts.push({
      attempt,
      chain,
      isAlive: true,
      epoch: model.epoch,
      old: headOf(model),
      committedAs: null,
    });
    await storeMessage(database.pool, chain.key.projectId, attempt.sessionId);
  });

/** Whether a newer try of the step, or one of a step that comes after it, has begun under the chain's ticket. */
function isLate({ newestTry, ticket }: ModelChain, step: StepName, scheduledAtMs: number): boolean {
  const underTicket = [...newestTry].filter(([, newest]) => newest.ticket === ticket);
  const own = underTicket.find(([name]) => name === step)?.[1];
  if (own && own.atMs > scheduledAtMs) return true;
  const position = (name: StepName) => plan.findIndex((planned) => planned.name === name);
  return underTicket.some(
    ([name, other]) => name !== step && (own ? other.order > own.order : position(name) > position(step)),
  );
}

const beginImport = () =>
  command('beginImport', async (model) => {
    const { key } = chainAt(model, 0);
    const asking = beginOperation(database.pool, {
      projectId: key.projectId,
      inputDigest: 'digest',
      worker: 'test',
      leaseMs: 0,
      operation: {
        kind: 'outside',
        versionId: null,
        buildId: `record:${randomUUID()}`,
        source: 'import',
        sessionId: null,
      },
    });
    if (model.chains.every(({ chainId }) => chainId === null)) {
      expect(await refusal(asking)).toBe('PROJECT_NOT_FOUND');
      return;
    }
    const begun = await asking;
    if (begun.outcome !== 'begun') throw new Error(`It should have begun: ${begun.outcome}.`);
    const { attempt } = begun;
    const holder = holderOf(model);
    expect(attempt.head).toEqual({ sessionId: headOf(model), seq: model.lineage.length || null });
    expect(attempt.holder?.runId ?? null).toBe(holder?.runId ?? null);
    expect(attempt.epoch === null).toBe(holder !== undefined);
    await storeMessage(database.pool, key.projectId, attempt.sessionId);
    model.attempts.push({
      attempt,
      chain: null,
      isAlive: true,
      epoch: holder ? null : model.epoch,
      old: headOf(model),
      committedAs: null,
    });
  });

/** Any attempt that ever began tries to commit, as often as it likes. */
const commit = (index: number) =>
  command(`commit(${index})`, async (model) => {
    const begun = model.attempts[model.attempts.length - 1 - (index % (model.attempts.length || 1))];
    if (!begun) return;
    const { attempt, chain } = begun;
    const { sessionId, step } = attempt;
    const committing = commitAttempt(database.pool, attempt, begun.old);
    const mayCommit = begun.isAlive && begun.epoch === model.epoch && begun.old === headOf(model);
    if (!begun.committedAs && !mayCommit) {
      expect(await refusal(committing)).toBe('FENCED');
      return;
    }
    if (!begun.committedAs) {
      model.lineage.push(sessionId);
      begun.committedAs = { seq: model.lineage.length };
      begun.isAlive = false;
      chain?.committed.set(step, sessionId);
    }
    expect(await committing).toMatchObject({ ...begun.committedAs, newSessionId: sessionId });
  });

/** Any run of the chain closes it; only the one whose ticket the chain has changes something. */
const close = (index: number, { former }: { former: boolean }) =>
  command(`close(${index}${former ? ', former run' : ''})`, async (model) => {
    const chain = chainAt(model, index);
    const run = former ? chain.runs[0] : chain.runs.at(-1);
    if (!run || run.ticket === null) return;
    const { outcome, next } = await closeChain(database.pool, chain.key, {
      ticket: run.ticket,
      runId: run.runId,
      result: { status: 'cancelled' } as never,
      versionStatus: noStatus,
    });
    const isIts = chain.ticket === run.ticket;
    expect(outcome).toBe(isIts ? 'closed' : 'fenced');
    if (isIts && chain.status !== 'closed') closeIn(model, chain);
    expectNext(model, next);
  });

const release = (index: number, { former }: { former: boolean }) =>
  command(`release(${index}${former ? ', former run' : ''})`, async (model) => {
    const chain = chainAt(model, index);
    const run = former ? chain.runs[0] : chain.runs.at(-1);
    if (!run) return;
    const workflowId = chainWorkflowId(chain.key);
    const answer = await releaseChain(database.pool, chain.key.projectId, {
      workflowId,
      runId: run.runId,
      home: 'test',
    });
    if (answer.outcome === 'former_agent_alive') throw new Error('No agent is alive here.');
    const isIts = chain.status !== 'closed' && chain.ticket !== null && chain.runId === run.runId;
    expect(answer.outcome).toBe(isIts ? 'released' : 'not_open');
    if (isIts) {
      releaseIn(model, chain);
      expect(await readChain(database.pool, chain.key)).toMatchObject({
        status: 'failed',
        result: { failure: { code: 'CHAIN_TERMINATED' } },
      });
    }
    expectNext(model, answer.next);
  });

/** A chain that leaves learns which one may work now: none while one works. */
function expectNext(model: Model, next: { runId: string } | null): void {
  expect(next?.runId ?? null).toBe(holderOf(model) ? null : (queueOf(model)[0]?.runId ?? null));
}

const chainIndex = fc.nat({ max: 2 });
const seldom = fc.integer({ min: 0, max: 4 }).map((dice) => dice === 0);
const step = fc.constantFrom('build', 'metadata');
const commands = fc.commands(
  [
    fc.tuple(chainIndex, seldom).map(([index, gone]) => open(index, { gone })),
    fc.tuple(chainIndex, fc.boolean()).map(([index, gone]) => openAgain(index, { gone })),
    fc
      .tuple(chainIndex, step, seldom, seldom)
      .map(([index, name, former, late]) => begin(index, name, { former, late })),
    fc.tuple(chainIndex, step).map(([index, name]) => begin(index, name, { former: false, late: false })),
    fc.nat({ max: 3 }).map(commit),
    fc.constant(0).map(commit),
    fc.constant(null).map(beginImport),
    fc.tuple(chainIndex, seldom).map(([index, former]) => close(index, { former })),
    fc.tuple(chainIndex, seldom).map(([index, former]) => release(index, { former })),
  ],
  { maxCommands: 60, size: 'max' },
);

describe('whatever is asked of the storage functions, in whatever order', () => {
  it('is answered as by the model of them, and the lineage is the one of the model', async () => {
    let transitions = 0;
    await fc.assert(
      fc.asyncProperty(commands, async (given) => {
        const { projectId } = newKey();
        const model: Model = {
          chains: [1, 2, 3].map(() => ({
            key: newKey(projectId),
            chainId: null,
            status: 'new',
            runs: [],
            ticket: null,
            runId: null,
            committed: new Map(),
            newestTry: new Map(),
          })),
          attempts: [],
          lineage: [],
          epoch: 0,
          clockMs: 0,
        };
        await fc.asyncModelRun(() => ({ model, real: undefined }), given);
        transitions += model.lineage.length;
        expect(await getSessionChain(database.pool, projectId)).toEqual([...model.lineage].reverse());
      }),
      { numRuns: 100 },
    );
    // Chance decides how many, but none would mean that nothing was tried.
    expect(transitions).toBeGreaterThan(20);
  });
});
