import { describe, expect, it } from '@jest/globals';
import type { ChainInput, ChainState, Head } from '../../contracts/chain.js';
import type { Failure, FailureCode } from '../../contracts/failures.js';
import type { AttemptId, SessionId } from '../../contracts/ids.js';
import type { ChainOrigin } from '../../contracts/origin.js';
import { type StepPlan, payloadVersion } from '../../contracts/plan.js';
import { defaultPolicy } from '../../contracts/policy.js';
import { type StepName, isClosed } from '../../contracts/steps.js';
import { checkDefinition } from '../../definition/check.js';
import { resolvePlan } from '../../definition/resolve-plan.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { type ChainEvent, baseOf, initialState, reduce, resultOf } from '../../workflows/reducer.js';
import { newKey } from '../support/chains.js';
import { fc } from '../support/properties.js';

/** What holds for every chain: for the runs that a workflow can make, and where it can, for any events in any order. */

const session = (seq: number) => `s${seq}` as SessionId;
const headAt = (seq: number): Head =>
  seq === 0 ? { sessionId: null, seq: null } : { sessionId: session(seq), seq };

const input: ChainInput = {
  version: payloadVersion,
  ...newKey('project'),
  chainId: '1' as ChainInput['chainId'],
  mode: 'initial',
  policy: { ...defaultPolicy, taskQueues: taskQueuesOf('test').chains },
  overrides: [],
};

/** The shipped steps, and activities of the host between them: one that deploys, and one that the chain cannot do without. */
const { plan } = resolvePlan(
  checkDefinition({
    steps: [
      'build',
      { name: 'deploy', kind: 'activity', role: 'deploy', activity: 'deployVersion', taskQueue: 'host' },
      'metadata',
      { name: 'check', kind: 'activity', activity: 'checkVersion', taskQueue: 'host', critical: true },
      'docs',
      'compact',
    ],
  }).definition,
  [],
);
const stepNames = plan.steps.map(({ name }) => name);

const failure = (code: FailureCode): Failure => ({ code, message: `it was ${code}`, remedy: 'look' });

function committed(step: StepName, seq: number, warnings: string[] = []): ChainEvent {
  return {
    type: 'stepEnded',
    result: {
      outcome: 'committed',
      step,
      attemptId: '1' as AttemptId,
      attempt: 1,
      oldSessionId: headAt(seq - 1).sessionId,
      newSessionId: session(seq),
      seq,
      turns: 1,
      usage: { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
      costUsd: 0.1,
      durationMs: 5,
      warnings,
    },
  };
}

/** What can become of a step, after so many waits; an activity of the host succeeds, fails or is cancelled. */
const fates = ['committed', 'committed before', 'skipped', 'failed', 'over budget', 'cancelled'] as const;
const stepFate = fc.record({
  fate: fc.oneof({ weight: 3, arbitrary: fc.constant('committed' as const) }, fc.constantFrom(...fates)),
  waits: fc.integer({ min: 0, max: 2 }),
  warns: fc.boolean(),
});

/** A chain as the workflow runs it. */
const run = fc.record({
  steps: fc.subarray([...plan.steps], { minLength: 1 }),
  positions: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }),
  /** 0 for a project without a head. */
  headSeq: fc.integer({ min: 0, max: 50 }),
  fromHead: fc.boolean(),
  openWarnings: fc.array(fc.constant('The head had been moved.'), { maxLength: 1 }),
  fates: fc.array(stepFate, { minLength: stepNames.length, maxLength: stepNames.length }),
});

type Run = typeof run extends fc.Arbitrary<infer Value> ? Value : never;

interface Played {
  state: ChainState;
  /** What each step that began forked. */
  forked: (SessionId | null)[];
  expected: {
    seq: number;
    bases: (SessionId | null)[];
    /** Activities of the host that were called, and those that succeeded. */
    calls: StepName[];
    completed: StepName[];
    warnings: number;
    status: ChainState['status'];
  };
}

/** Plays a run event by event, and beside it what must come of it. */
function play({ steps, positions, headSeq, fromHead, openWarnings, fates }: Run): Played {
  let state = initialState(input);
  const apply = (event: ChainEvent) => void (state = reduce(state, event));
  for (const position of positions)
    apply({ type: 'queued', queued: { outcome: 'queued', ticket: 7, position, waitsFor: 'chain/a/b/c' } });
  const baseSessionId = fromHead ? headAt(headSeq).sessionId : null;
  const { sessionId: headSessionId, seq } = headAt(headSeq);
  const origin: ChainOrigin = { kind: fromHead ? 'head' : 'context_reset', headSessionId, headSeq: seq };
  apply({
    type: 'opened',
    opened: {
      outcome: 'opened',
      head: headAt(headSeq),
      baseSessionId,
      ticket: 7,
      warnings: openWarnings,
      origin,
      plan: { ...plan, steps },
    },
  });

  const forked: (SessionId | null)[] = [];
  const expected: Played['expected'] = {
    seq: headSeq,
    bases: [],
    calls: [],
    completed: [],
    warnings: openWarnings.length,
    status: 'completed',
  };
  let hasCommitted = false;
  for (const [index, planned] of steps.entries()) {
    const { name: step, critical } = planned;
    const { fate, waits, warns } = fates[index] ?? { fate: 'committed', waits: 0, warns: false };
    if (planned.kind === 'activity') {
      apply({ type: 'stepStarted', step });
      expected.calls.push(step);
      if (fate === 'cancelled') {
        apply({ type: 'stepCancelled', step });
        apply({ type: 'failed', failure: failure('CANCELLED') });
        expected.status = 'cancelled';
      } else if (fate === 'failed') {
        apply({ type: 'stepFailed', step, failure: failure('ACTIVITY_STEP_FAILED'), attempts: 0, critical });
        if (critical) expected.status = 'failed';
        else expected.warnings++;
      } else {
        apply({ type: 'activityEnded', step });
        expected.completed.push(step);
      }
      if (state.failure) break;
      continue;
    }
    for (let wait = 0; wait < waits; wait++) {
      apply({ type: 'stepStarted', step });
      apply({
        type: 'stepWaits',
        waiting: { outcome: 'waiting', step, attempt: wait + 1, waitMs: 1_500, reason: 'overloaded' },
      });
    }
    apply({ type: 'stepStarted', step });
    forked.push(baseOf(state));
    expected.bases.push(hasCommitted ? headAt(expected.seq).sessionId : baseSessionId);
    switch (fate) {
      case 'committed':
        expected.seq++;
        hasCommitted = true;
        if (warns) expected.warnings++;
        apply(committed(step, expected.seq, warns ? ['odd'] : []));
        break;
      case 'committed before':
        // It lies behind the head, and says nothing of what this run works from.
        if (headSeq > 0) apply(committed(step, Math.ceil(headSeq / 2)));
        break;
      case 'skipped':
        apply({ type: 'stepEnded', result: { outcome: 'skipped', step, reason: 'small' } });
        break;
      case 'failed':
        apply({ type: 'stepFailed', step, failure: failure('AGENT_FAILED'), attempts: 5, critical });
        if (critical) expected.status = 'failed';
        else expected.warnings++;
        break;
      case 'over budget':
        apply({ type: 'stepFailed', step, failure: failure('BUDGET_EXCEEDED'), attempts: 1, critical });
        expected.status = 'budget_exceeded';
        break;
      case 'cancelled':
        apply({ type: 'stepCancelled', step });
        apply({ type: 'failed', failure: failure('CANCELLED') });
        expected.status = 'cancelled';
        break;
    }
    if (state.failure) break;
  }
  if (expected.status === 'completed' && expected.warnings > 0) expected.status = 'completed_with_warnings';
  return { state, forked, expected };
}

/** Any event about any step, whether it makes sense or not. */
const anyStep = fc.constantFrom(...stepNames);
const opened = (steps: StepPlan[]): ChainEvent => ({
  type: 'opened',
  opened: {
    outcome: 'opened',
    head: headAt(0),
    baseSessionId: null,
    ticket: 7,
    warnings: [],
    origin: { kind: 'fresh', headSessionId: null, headSeq: null },
    plan: { ...plan, steps },
  },
});
const anyFailure = fc.constantFrom<FailureCode>('AGENT_FAILED', 'CANCELLED', 'BUDGET_EXCEEDED').map(failure);
const anyEvent: fc.Arbitrary<ChainEvent> = fc.oneof(
  fc.tuple(anyStep, fc.integer({ min: 1, max: 20 })).map(([step, seq]) => committed(step, seq)),
  anyStep.map((step): ChainEvent => ({ type: 'stepStarted', step })),
  anyStep.map((step): ChainEvent => ({ type: 'stepCancelled', step })),
  anyStep.map((step): ChainEvent => ({ type: 'activityEnded', step })),
  anyStep.map((step): ChainEvent => ({
    type: 'stepEnded',
    result: { outcome: 'skipped', step, reason: 'small' },
  })),
  anyStep.map((step): ChainEvent => ({
    type: 'stepWaits',
    waiting: { outcome: 'waiting', step, attempt: 1, waitMs: 1_000, reason: 'overloaded' },
  })),
  fc.tuple(anyStep, anyFailure, fc.boolean()).map(([step, why, critical]): ChainEvent => ({
    type: 'stepFailed',
    step,
    failure: why,
    attempts: 1,
    critical,
  })),
  anyFailure.map((why): ChainEvent => ({ type: 'failed', failure: why })),
  fc.integer({ min: 1, max: 9 }).map((position): ChainEvent => ({
    type: 'queued',
    queued: { outcome: 'queued', ticket: 7, position, waitsFor: 'chain/a/b/c' },
  })),
);

function frozen<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}

describe('every run of a chain', () => {
  it('threads the session id: each step forks what the last committed one made, and the head is the last of them', () => {
    fc.assert(
      fc.property(run, (given) => {
        const { state, forked, expected } = play(given);
        expect(forked).toEqual(expected.bases);
        expect(state.head).toEqual(headAt(expected.seq));
      }),
      { numRuns: 500 },
    );
  });

  it('ends in the status that its steps call for, in no queue, with every warning told once', () => {
    fc.assert(
      fc.property(run, (given) => {
        const { state, expected } = play(given);
        const result = resultOf(state);
        expect(result.status).toBe(expected.status);
        expect(isClosed(result.status)).toBe(true);
        expect(result.queue).toBeUndefined();
        expect(result.warnings).toHaveLength(expected.warnings);
        expect(result.steps.map(({ step }) => step)).toEqual(given.steps.map(({ name }) => name));
        expect(result.head).toEqual(state.head);
      }),
      { numRuns: 500 },
    );
  });

  it('calls its activities without moving the head, and tells which of them succeeded', () => {
    fc.assert(
      fc.property(run, (given) => {
        const { state, expected } = play(given);
        const activities = state.steps.filter(({ kind }) => kind === 'activity');
        const called = activities.filter(({ status }) => status !== 'pending');
        expect(called.map(({ step }) => step)).toEqual(expected.calls);
        expect(activities.filter(({ status }) => status === 'completed').map(({ step }) => step)).toEqual(
          expected.completed,
        );
        expect(activities.filter(({ newSessionId }) => newSessionId !== null)).toEqual([]);
        expect(
          state.steps.filter(({ kind, status }) => kind !== 'activity' && status === 'completed'),
        ).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('leaves the steps after the one that failed it as they were', () => {
    fc.assert(
      fc.property(run, (given) => {
        const { state, forked, expected } = play(given);
        const later = state.steps.slice(forked.length + expected.calls.length);
        expect(later.map(({ status, newSessionId }) => [status, newSessionId])).toEqual(
          later.map(() => ['pending', null]),
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe('any events in any order', () => {
  /** The state of a chain that has just opened, and after each event. */
  const states = (events: ChainEvent[]) => {
    let state = frozen(reduce(frozen(initialState(input)), frozen(opened(plan.steps))));
    return [state, ...events.map((event) => (state = frozen(reduce(state, frozen(event)))))];
  };

  it('change no state that was there, and a replay of them gives the same states', () => {
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        expect(states(events)).toEqual(states(events));
      }),
    );
  });

  it('keep the steps, move the head only forward and only to what a step committed, and survive a payload', () => {
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        const all = states(events);
        all.slice(1).forEach((state, index) => {
          const before = all[index];
          const event = events[index];
          expect(state.steps.map(({ step }) => step)).toEqual(stepNames);
          expect(JSON.parse(JSON.stringify(state))).toEqual(state);
          if (JSON.stringify(state.head) === JSON.stringify(before?.head)) return;
          expect(event).toMatchObject({
            type: 'stepEnded',
            result: { outcome: 'committed', newSessionId: state.head.sessionId, seq: state.head.seq },
          });
          expect(state.head.seq ?? 0).toBeGreaterThan(before?.head.seq ?? 0);
        });
      }),
    );
  });

  it('end a chain as completed only where nothing failed it', () => {
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        const state = states(events).at(-1);
        if (!state) return;
        const { status } = resultOf(state);
        expect(isClosed(status)).toBe(true);
        expect(status === 'completed' || status === 'completed_with_warnings').toBe(
          state.failure === undefined,
        );
      }),
    );
  });
});
