import { describe, expect, it } from '@jest/globals';
import type { ChainInput, CommittedStep, OpenedChain } from '../../contracts/chain.js';
import type { Failure } from '../../contracts/failures.js';
import type { AttemptId, SessionId } from '../../contracts/ids.js';
import { payloadVersion } from '../../contracts/plan.js';
import { defaultPolicy } from '../../contracts/policy.js';
import type { StepName } from '../../contracts/steps.js';
import { checkDefinition } from '../../definition/check.js';
import { resolvePlan } from '../../definition/resolve-plan.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { type ChainEvent, baseOf, initialState, reduce, resultOf } from '../../workflows/reducer.js';
import { newKey } from '../support/chains.js';
import { fc } from '../support/properties.js';

const input: ChainInput = {
  version: payloadVersion,
  ...newKey('project'),
  chainId: '1' as ChainInput['chainId'],
  mode: 'initial',
  policy: { ...defaultPolicy, taskQueues: taskQueuesOf('test').chains },
  overrides: [],
};

/** The shipped chain with two activities of the host, the one that deploys and another. */
const { plan } = resolvePlan(
  checkDefinition({
    steps: [
      'build',
      { name: 'deploy', kind: 'activity', role: 'deploy', activity: 'deployVersion', taskQueue: 'host' },
      { name: 'notify', kind: 'activity', activity: 'sendMail', taskQueue: 'host' },
      'metadata',
      'docs',
      'compact',
    ],
  }).definition,
  [],
);
const shippedSteps = ['build', 'metadata', 'docs', 'compact'];
const planOf = (steps: StepName[]) => ({
  ...plan,
  steps: plan.steps.filter(({ name }) => steps.includes(name)),
});

const session = (name: string) => name as SessionId;
const failure: Failure = { code: 'AGENT_FAILED', message: 'it broke', remedy: 'look' };

function opened(change: Partial<OpenedChain> = {}, steps = shippedSteps): ChainEvent {
  const head = change.head ?? { sessionId: null, seq: null };
  return {
    type: 'opened',
    opened: {
      outcome: 'opened',
      head,
      baseSessionId: null,
      ticket: 1,
      warnings: [],
      origin: { kind: 'head', headSessionId: head.sessionId, headSeq: head.seq },
      plan: planOf(steps),
      ...change,
    },
  };
}

function committed(
  step: StepName,
  seq: number,
  old: string | null,
  change: Partial<CommittedStep> = {},
): ChainEvent {
  return {
    type: 'stepEnded',
    result: {
      outcome: 'committed',
      step,
      attemptId: '1' as AttemptId,
      attempt: 1,
      oldSessionId: old === null ? null : session(old),
      newSessionId: session(`s${seq}`),
      seq,
      turns: 1,
      usage: { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
      costUsd: 0.1,
      durationMs: 5,
      warnings: [],
      ...change,
    },
  };
}

const run = (events: ChainEvent[]) => events.reduce(reduce, initialState(input));

describe('the reducer', () => {
  it('knows the steps, with kind and role, once the chain has opened', () => {
    expect(initialState(input).steps).toEqual([]);
    const { steps } = run([opened({}, ['build', 'deploy', 'metadata', 'compact'])]);
    expect(steps.map(({ step, kind, role, status }) => [step, kind, role, status])).toEqual([
      ['build', 'work', 'build', 'pending'],
      ['deploy', 'activity', 'deploy', 'pending'],
      ['metadata', 'submission', undefined, 'pending'],
      ['compact', 'compaction', undefined, 'pending'],
    ]);
  });

  it('tells where a queued chain stands, until it has opened', () => {
    const queued: ChainEvent = {
      type: 'queued',
      queued: { outcome: 'queued', ticket: 7, position: 2, waitsFor: 'chain/a/b/c' },
    };
    expect(run([queued])).toMatchObject({
      status: 'queued',
      queue: { position: 2, waitsFor: 'chain/a/b/c' },
    });
    expect(run([queued, opened()])).not.toHaveProperty('queue');
    expect(resultOf(run([queued]))).not.toHaveProperty('queue');
  });

  it('threads the session id from step to step', () => {
    const state = run([
      opened(),
      committed('build', 1, null),
      committed('metadata', 2, 's1'),
      committed('docs', 3, 's2'),
      committed('compact', 4, 's3'),
    ]);
    expect(state.head).toEqual({ sessionId: 's4', seq: 4 });
    expect(resultOf(state).status).toBe('completed');
  });

  it('starts from nothing where the chain opened with no base, and from the head once a step is committed', () => {
    const fresh = run([opened({ head: { sessionId: session('s1'), seq: 1 }, baseSessionId: null })]);
    expect(baseOf(fresh)).toBeNull();
    expect(baseOf(reduce(fresh, committed('build', 2, 's1')))).toBe('s2');
  });

  it('rolls on from the last good step when an optional one fails or is skipped, and says so', () => {
    const state = run([
      opened(),
      committed('build', 1, null),
      { type: 'stepFailed', step: 'metadata', failure, attempts: 5, critical: false },
      committed('docs', 2, 's1'),
      { type: 'stepEnded', result: { outcome: 'skipped', step: 'compact', reason: 'small' } },
    ]);
    expect(state.head.sessionId).toBe('s2');
    expect(resultOf(state)).toMatchObject({
      status: 'completed_with_warnings',
      warnings: ['metadata: it broke'],
    });
    expect(state.steps.map((step) => step.status)).toEqual(['committed', 'failed', 'committed', 'skipped']);
  });

  it('fails the chain when the build fails, and keeps the head', () => {
    const state = run([
      opened({ head: { sessionId: session('s1'), seq: 1 }, baseSessionId: session('s1') }),
      { type: 'stepFailed', step: 'build', failure, attempts: 1, critical: true },
    ]);
    expect(resultOf(state)).toMatchObject({ status: 'failed', failure, head: { sessionId: 's1' } });
  });

  it('does not go back to a step that a former run committed', () => {
    const state = run([
      opened({ head: { sessionId: session('s7'), seq: 7 }, baseSessionId: session('s7') }),
      committed('build', 3, 's2'),
    ]);
    expect(state.head).toEqual({ sessionId: 's7', seq: 7 });
    expect(baseOf(state)).toBe('s7');
  });

  it.each([
    ['CANCELLED', 'cancelled'],
    ['BUDGET_EXCEEDED', 'budget_exceeded'],
    ['SESSION_NOT_IN_STORE', 'failed'],
  ] as const)('ends %s as %s', (code, status) => {
    expect(resultOf(run([{ type: 'failed', failure: { ...failure, code } }])).status).toBe(status);
    // No step of a chain that is over is still under way.
    const under = run([
      opened(),
      { type: 'stepStarted', step: 'build' },
      { type: 'failed', failure: { ...failure, code } },
    ]);
    expect(resultOf(under).steps[0]?.status).toBe(code === 'CANCELLED' ? 'cancelled' : 'failed');
  });

  it('knows no step any more once the database went back, and is told of them again', () => {
    const before = [
      opened({ warnings: ['of the opening'] }),
      committed('build', 1, null, { warnings: ['odd'] }),
    ];
    const back = run([...before, { type: 'wentBack' }]);
    const warnings = ['of the opening', expect.stringContaining('went back to an earlier state')];
    expect(back).toMatchObject({ status: 'queued', steps: [], warnings });
    const again = run([
      ...before,
      { type: 'wentBack' },
      opened(),
      committed('build', 1, null, { newSessionId: session('other'), warnings: ['odd'] }),
    ]);
    expect(again).toMatchObject({
      status: 'running',
      head: { sessionId: 'other', seq: 1 },
      warnings: [...warnings, 'build: odd'],
    });
  });

  it('never moves the head back, whatever happens in whatever order', () => {
    const anyStep = fc.constantFrom(...shippedSteps);
    const anyEvent = fc.oneof(
      fc
        .record({ step: anyStep, seq: fc.integer({ min: 1, max: 20 }) })
        .map(({ step, seq }) => committed(step, seq, null)),
      anyStep.map((step): ChainEvent => ({
        type: 'stepFailed',
        step,
        failure,
        attempts: 1,
        critical: step === 'build',
      })),
      anyStep.map((step): ChainEvent => ({ type: 'stepStarted', step })),
    );
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        let state = run([opened()]);
        for (const event of events) {
          const before = state.head.seq ?? 0;
          state = reduce(state, event);
          expect(state.head.seq ?? 0).toBeGreaterThanOrEqual(before);
          expect(state.steps.map(({ step }) => step)).toEqual(shippedSteps);
        }
      }),
    );
  });
});

describe('an activity of the host', () => {
  const before = [opened({}, ['build', 'deploy', 'notify', 'docs']), committed('build', 1, null)];
  const failed = (critical: boolean): ChainEvent => ({
    type: 'stepFailed',
    step: 'deploy',
    failure: { code: 'ACTIVITY_STEP_FAILED', message: 'the disk is full', remedy: 'look' },
    attempts: 0,
    critical,
  });

  it('is seen while it runs, is completed, and moves no head', () => {
    const running = run([...before, { type: 'stepStarted', step: 'deploy' }]);
    expect(running.steps[1]).toMatchObject({ step: 'deploy', kind: 'activity', status: 'running' });
    const state = reduce(running, { type: 'activityEnded', step: 'deploy' });
    expect(state.steps[1]).toMatchObject({ status: 'completed', newSessionId: null, attempts: 0 });
    expect(state.head).toEqual({ sessionId: 's1', seq: 1 });
    expect(baseOf(state)).toBe('s1');
    expect(resultOf(state).status).toBe('completed');
  });

  it('that fails is a warning, unless it is critical; the session of the build stays', () => {
    const warned = run([...before, failed(false), committed('docs', 2, 's1')]);
    expect(resultOf(warned)).toMatchObject({
      status: 'completed_with_warnings',
      warnings: ['deploy: the disk is full'],
      head: { sessionId: 's2' },
    });
    const ended = resultOf(run([...before, failed(true)]));
    expect(ended).toMatchObject({
      status: 'failed',
      failure: { code: 'ACTIVITY_STEP_FAILED' },
      head: { sessionId: 's1' },
    });
    expect(ended.steps.map(({ status }) => status)).toEqual(['committed', 'failed', 'pending', 'pending']);
  });
});
