import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChainResult, StepState } from '../../contracts/chain.js';
import { failureOfCode } from '../../contracts/failures.js';
import type { SessionId } from '../../contracts/ids.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import {
  type PlannedStep,
  closeChain,
  noteSkipped,
  openChain,
  readChain,
} from '../../storage/chains/chains.js';
import type { Pool } from '../../storage/db/pool.js';
import { readHead } from '../../storage/heads/heads.js';
import { beginActivityStep, endActivityStep } from '../../storage/operations/activity-steps.js';
import {
  type OpenedChain,
  begin,
  newKey,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  shippedStatus,
  someMetrics,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Whoever reaches Temporal may send any result; what is written when a chain closes is what the tables bear out. */

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
});
afterAll(async () => {
  await database.drop();
});

const deploy: PlannedStep = { name: 'deploy', kind: 'activity', role: 'deploy' };

async function open(steps: PlannedStep[], deploys = false): Promise<OpenedChain> {
  const key = newKey();
  const { chainId } = await register(pool, key);
  const runId = randomUUID();
  const opened = await openChain(pool, { ...key, chainId }, openerOf(runId), null, { plan: steps, deploys });
  if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
  return { ...key, chainId, runId, ticket: opened.ticket, head: opened.head.sessionId };
}

/** Closes a chain by any words; how the client sees it then. */
async function close(chain: OpenedChain, said: unknown) {
  const { ticket, runId } = chain;
  const result = said as ChainResult;
  await closeChain(pool, chain, { ticket, runId, result, versionStatus: shippedStatus });
  const { rows } = await pool.query<{ status: string | null; ai_session_id: string | null }>(
    'SELECT status, ai_session_id FROM project_versions WHERE version_id = $1',
    [chain.versionId],
  );
  return { state: await readChainState(pool, chain), version: rows[0] };
}

const done = (step: string, status: StepState['status'] = 'committed') => ({
  ...{ step, status, attempts: 9, turns: 900, costUsd: 900, durationMs: 900 },
  ...{ oldSessionId: 'forged-old', newSessionId: 'forged-new', usage: someMetrics.usage },
});
const complete = (...steps: object[]) => ({
  ...{ status: 'completed', warnings: [], steps, head: { sessionId: null, seq: 99 } },
  ...{ projectId: 'forged', mode: 'initial', baseSessionId: 'forged', origin: { kind: 'forged' } },
});
const statusesOf = ({ steps }: { steps: StepState[] }) => steps.map(({ step, status }) => [step, status]);

async function called(chain: OpenedChain, step: string, failure: ReturnType<typeof failureOfCode> | null) {
  const call = { ...chain, step, round: 1 };
  await beginActivityStep(pool, {
    ...{ ...call, role: null, activity: 'any', taskQueue: 'any', sessionId: null, seq: null },
    scheduledAtMs: Date.now(),
  });
  await endActivityStep(pool, { ...call, failure, cancelled: false });
}

describe('a chain that is closed', () => {
  it('is complete with the steps, numbers and head of the journal, whatever else is said', async () => {
    const chain = await openNew(pool);
    for (const { name } of plan) await runStep(pool, chain, name);
    const before = await readChainState(pool, chain);
    const { state, version } = await close(
      chain,
      complete(...plan.map(({ name }) => done(name)), done('more')),
    );
    expect(state).toEqual({ ...before, status: 'completed' });
    expect(version).toEqual({ status: 'deployed', ai_session_id: chain.head });
    expect(state.head).toEqual(await readHead(pool, chain.projectId));
    expect(state.head.sessionId).toBe(chain.head);
  });

  it('is not complete without a commit of its critical steps: nothing begun, begun, committed in another chain', async () => {
    const begun = await openNew(pool);
    await begin(pool, begun, 'build');
    const former = await openNew(pool);
    await runStep(pool, former, 'build');
    await close(former, complete(done('build')));
    for (const chain of [await openNew(pool), begun, await openNew(pool, newKey(former.projectId))]) {
      const { state, version } = await close(chain, complete(...plan.map(({ name }) => done(name))));
      expect(state).toMatchObject({
        status: 'failed',
        failure: { code: 'INTERNAL', message: expect.stringContaining('build'), remedy: expect.any(String) },
        head: await readHead(pool, chain.projectId),
      });
      expect(statusesOf(state)).toEqual(plan.map(({ name }) => [name, 'pending']));
      expect(state.steps.map(({ newSessionId }) => newSessionId)).toEqual([null, null, null, null]);
      expect(version?.status).toBe('failed');
      // It may be run again.
      expect(await register(pool, chain)).toMatchObject({ isNew: true });
    }
  });

  it('is not complete when it never opened', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const chain = { ...key, chainId, ticket: null as never, runId: 'r', head: null as SessionId | null };
    // As if the database had gone back to before it opened.
    await expect(close(chain, complete(done('build')))).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    expect(await readChainState(pool, chain)).toMatchObject({ status: 'queued', steps: [] });
  });

  it('has a warning more where another step is not borne out, and says of it what was said of its failure', async () => {
    const chain = await openNew(pool);
    await runStep(pool, chain, 'build');
    const failed = { ...done('docs', 'failed'), failure: failureOfCode('AGENT_FAILED') };
    const { state, version } = await close(
      chain,
      complete(done('build'), done('metadata'), failed, { ...done('compact', 'skipped'), reason: 'So.' }),
    );
    expect(state.status).toBe('completed_with_warnings');
    expect(statusesOf(state)).toEqual([
      ['build', 'committed'],
      ['metadata', 'pending'],
      ['docs', 'failed'],
      ['compact', 'pending'],
    ]);
    expect(state.steps[2]).toMatchObject({ newSessionId: null, failure: failureOfCode('AGENT_FAILED') });
    expect(version?.status).toBe('deployed');
  });

  it('has skipped what a worker wrote down as skipped, in this run of the chain', async () => {
    const steps: PlannedStep[] = [{ ...plan[0], critical: true } as PlannedStep, ...plan.slice(3)];
    const chain = await open(steps);
    await runStep(pool, chain, 'build');
    await noteSkipped(pool, { ...chain, step: 'compact' }, 'The context is small.');
    await noteSkipped(pool, { ...chain, ticket: chain.ticket + 1, step: 'build' }, 'Not the holder.');
    const said = complete(done('build'), { ...done('compact', 'skipped'), reason: 'Forged.' });
    const { state } = await close(chain, said);
    expect(state).toMatchObject({ status: 'completed', warnings: [] });
    expect(state.steps[1]).toMatchObject({
      status: 'skipped',
      reason: 'The context is small.',
      newSessionId: null,
    });

    const again = await open(steps);
    await noteSkipped(pool, { ...again, step: 'compact' }, 'The context is small.');
    await close(again, { status: 'failed' });
    await register(pool, again);
    const { rows } = await pool.query('SELECT skipped FROM session_chain.chains WHERE id = $1', [
      again.chainId,
    ]);
    expect(rows).toEqual([{ skipped: {} }]);
  });

  it('has no step skipped that is no compaction, whoever wrote that down', async () => {
    const steps: PlannedStep[] = [{ ...plan[0], critical: true } as PlannedStep, ...plan.slice(2), deploy];
    const chain = await open(steps, true);
    for (const { name } of steps) await noteSkipped(pool, { ...chain, step: name }, 'Nothing to do.');
    await noteSkipped(pool, { ...chain, step: 'absent' }, 'Nothing to do.');
    const { rows } = await pool.query<{ skipped: object }>(
      'SELECT skipped FROM session_chain.chains WHERE id = $1',
      [chain.chainId],
    );
    expect(rows).toEqual([{ skipped: { compact: 'Nothing to do.' } }]);
    await pool.query(
      `UPDATE session_chain.chains SET skipped = skipped || '{"build": "Forged."}' WHERE id = $1`,
      [chain.chainId],
    );
    const { state, version } = await close(
      chain,
      complete(...steps.map(({ name }) => done(name, 'skipped'))),
    );
    expect(state).toMatchObject({ status: 'failed' });
    expect(statusesOf(state)).toEqual([
      ['build', 'pending'],
      ['docs', 'pending'],
      ['compact', 'skipped'],
      ['deploy', 'pending'],
    ]);
    expect(version?.status).toBe('failed');
  });

  it('has deployed where the call of the host is journalled as completed, and an agent’s step by no call', async () => {
    const steps = [plan[0] as PlannedStep, deploy];
    const said = complete(done('build'), done('deploy', 'completed'));
    const neverCalled = await open(steps);
    await runStep(pool, neverCalled, 'build');
    const failed = await open(steps);
    await runStep(pool, failed, 'build');
    await called(failed, 'deploy', failureOfCode('ACTIVITY_STEP_FAILED'));
    for (const chain of [neverCalled, failed]) {
      const { state, version } = await close(chain, said);
      expect(state).toMatchObject({ status: 'completed_with_warnings' });
      expect(statusesOf(state)[1]).toEqual(['deploy', 'pending']);
      expect(version?.status).toBe('failed');
    }
    const fake = await open(steps);
    await called(fake, 'build', null);
    await called(fake, 'deploy', null);
    expect(
      await close(fake, complete(done('build', 'completed'), done('deploy', 'completed'))),
    ).toMatchObject({
      state: { status: 'failed' },
      version: { status: 'failed' },
    });
    const good = await open(steps);
    await runStep(pool, good, 'build');
    await called(good, 'deploy', null);
    expect(await close(good, said)).toMatchObject({
      state: { status: 'completed', warnings: [] },
      version: { status: 'deployed' },
    });
  });

  it.each([
    ['nothing', null],
    ['a word', 'completed'],
    ['no list of steps', { status: 'completed', steps: 'build', warnings: 3, failure: [] }],
    [
      'steps that are none',
      { status: 'completed', steps: [null, 1, 'build', { step: 1 }, []], warnings: [{}] },
    ],
    [
      'a status that there is not',
      { status: 'deployed', steps: [{ ...done('build', 'deployed' as never) }] },
    ],
  ])('by %s is closed as its journal bears out', async (_what, said) => {
    const chain = await openNew(pool);
    await runStep(pool, chain, 'build');
    const { state, version } = await close(chain, said);
    expect(state).toMatchObject({ status: 'completed_with_warnings', warnings: [] });
    expect(statusesOf(state)[0]).toEqual(['build', 'committed']);
    expect(version?.status).toBe('deployed');
    expect(await readChain(pool, chain)).toMatchObject({ closedAt: expect.any(Date) });
  });

  it.each(['failed', 'cancelled', 'budget_exceeded'])(
    'as %s is so, with what it committed',
    async (status) => {
      const chain = await openNew(pool);
      await runStep(pool, chain, 'build');
      const failure = failureOfCode('CANCELLED');
      const said = { ...complete(done('build'), done('docs', 'cancelled')), status, failure };
      const { state, version } = await close(chain, said);
      expect(state).toMatchObject({ status, failure });
      expect(statusesOf(state)).toEqual([
        ['build', 'committed'],
        ['metadata', 'pending'],
        ['docs', 'cancelled'],
        ['compact', 'pending'],
      ]);
      expect(version?.status).toBe('deployed');
    },
  );

  it.each(['failed', 'cancelled'] as const)(
    'as %s has the committed steps of its journal, and none that is still under way',
    async (status) => {
      const chain = await openNew(pool);
      for (const step of ['build', 'metadata']) await runStep(pool, chain, step);
      const failure = failureOfCode(status === 'cancelled' ? 'CANCELLED' : 'WORKER_LOST');
      const steps = [
        { ...done('build', 'failed'), failure },
        done('docs', 'running'),
        done('compact', 'waiting'),
      ];
      const { state, version } = await close(chain, { ...complete(...steps), status, failure });
      expect(state).toMatchObject({ status, failure });
      expect(statusesOf(state)).toEqual([
        ['build', 'committed'],
        ['metadata', 'committed'],
        ['docs', status],
        ['compact', status],
      ]);
      expect(state.steps[0]).not.toHaveProperty('failure');
      expect(version).toEqual({ status: 'deployed', ai_session_id: chain.head });
    },
  );
});

describe('the status of the version', () => {
  it.each([
    ['before its build began', 'cancelled', 'pending', 'deployed'],
    ['while it built', 'cancelled', 'running', 'deployed'],
    ['while it built', 'budget_exceeded', 'running', 'failed'],
    ['while it built', 'failed', 'running', 'failed'],
    ['once its build had failed', 'cancelled', 'failed', 'failed'],
  ] as const)(
    'that is deployed, after another build of it that ended %s as %s',
    async (_when, ended, build, status) => {
      const former = await openNew(pool);
      await runStep(pool, former, 'build');
      expect((await close(former, complete(done('build')))).version?.status).toBe('deployed');
      const key = { ...newKey(former.projectId), versionId: former.versionId };
      const again = await openNew(pool, key);
      if (build !== 'pending') await begin(pool, again, 'build');
      const failure = failureOfCode(ended === 'cancelled' ? 'CANCELLED' : 'AGENT_FAILED');
      const { state, version } = await close(again, {
        ...complete(done('build', build)),
        status: ended,
        failure,
      });
      expect(state.status).toBe(ended);
      expect(version?.status).toBe(status);
      // One that was not deployed has no good build.
      const fresh = await openNew(pool, newKey(former.projectId));
      expect(
        await close(fresh, { ...complete(done('build', 'running')), status: ended, failure }),
      ).toMatchObject({
        version: { status: 'failed' },
      });
    },
  );

  const build = (status: string) => ({ step: 'build', role: 'build', status });
  const host = (status: string) => ({ step: 'deploy', role: 'deploy', status });
  const other = (status: string) => ({ step: 'docs', status });

  it.each<[string | null, object[], boolean]>([
    ['deployed', [build('committed'), other('failed')], false],
    ['failed', [build('failed')], false],
    ['failed', [build('completed')], false],
    // With the role deploy a step decides whether the version is deployed.
    ['deployed', [build('committed'), host('completed')], true],
    ['failed', [build('committed'), host('failed')], true],
    ['failed', [build('committed'), host('cancelled')], true],
    ['failed', [build('committed'), host('pending')], true],
    ['failed', [build('committed'), host('committed')], true],
    ['failed', [build('failed'), host('completed')], true],
    // A start that leaves it out leaves open whether the version is deployed.
    [null, [build('committed')], true],
    ['failed', [build('pending')], true],
    ['deployed', [host('completed')], true],
    ['failed', [host('failed')], true],
    // What neither builds nor deploys changes nothing.
    [null, [other('committed')], true],
    [null, [other('failed')], false],
    [null, [], false],
  ])('is %s after %j, where the definition deploys: %s', async (status, steps, deploys) => {
    const { rows } = await pool.query<{ status: string | null }>(
      `SELECT session_chain.version_status($1, $2, $3, $4, 'deployed', 'failed') AS status`,
      [JSON.stringify(steps), deploys, false, 'deployed'],
    );
    expect(rows).toEqual([{ status }]);
  });

  it.each<[string | null, string, object[], boolean]>([
    // A cancelled chain says nothing of a version that is deployed, as long as it has neither failed to build nor begun to deploy.
    [null, 'deployed', [build('pending')], false],
    [null, 'deployed', [build('cancelled'), host('pending')], true],
    [null, 'deployed', [build('committed'), host('pending')], true],
    [null, 'deployed', [host('pending')], true],
    ['failed', 'deployed', [build('committed'), host('cancelled')], true],
    ['failed', 'deployed', [host('failed')], true],
    ['failed', 'deployed', [build('failed'), host('pending')], true],
    [null, 'deployed', [build('committed'), other('cancelled')], false],
    ['failed', 'building', [build('cancelled')], false],
    ['failed', 'building', [build('committed'), host('pending')], true],
    ['deployed', 'building', [build('committed'), other('cancelled')], false],
  ])('is %s for one that was %s, after a cancelled chain with %j', async (status, before, steps, deploys) => {
    const { rows } = await pool.query<{ status: string | null }>(
      `SELECT session_chain.version_status($1, $2, $3, $4, 'deployed', 'failed') AS status`,
      [JSON.stringify(steps), deploys, true, before],
    );
    expect(rows).toEqual([{ status }]);
  });
});
