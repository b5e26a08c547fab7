import { describe, expect, it } from '@jest/globals';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  RetryState,
  TimeoutFailure,
  type TimeoutType,
} from '@temporalio/common';
import { failureOfCode } from '../../contracts/failures.js';
import { failureOf } from '../../workflows/failures.js';

const limits = { timeoutMs: 600_000, startToCloseTimeoutMs: 725_000, heartbeatTimeoutMs: 30_000 };

function failed(cause: Error): ActivityFailure {
  return new ActivityFailure('failed', 'build', '1', RetryState.MAXIMUM_ATTEMPTS_REACHED, 'worker', cause);
}

describe('a time-out of an activity', () => {
  it.each<[TimeoutType, RegExp, RegExp]>([
    ['START_TO_CLOSE', /within 725 s, .* time limit of 600 s/, /did not end: /],
    ['HEARTBEAT', /no heartbeat within 30 s/, /no heartbeat\.$/],
    ['SCHEDULE_TO_START', /No worker took it/, /No worker took it/],
    ['SCHEDULE_TO_CLOSE', /All tries together/, /All tries together/],
  ])('%s is of the worker and no budget, and says which limit passed', (type, known, unknown) => {
    const error = failed(new TimeoutFailure('activity timeout', null, type));
    const { code, remedy } = failureOfCode('WORKER_LOST');
    expect(failureOf(error, limits)).toEqual({ code, message: expect.stringMatching(known), remedy });
    expect(failureOf(error)).toEqual({ code, message: expect.stringMatching(unknown), remedy });
  });
});

describe('what failed in an activity', () => {
  it.each([
    ['one of our codes', ApplicationFailure.create({ type: 'DATABASE_REFUSED' }), 'DATABASE_REFUSED'],
    ['a type that we do not know', ApplicationFailure.create({ type: 'TypeError' }), 'INTERNAL'],
    ['a cancellation', new CancelledFailure('cancelled'), 'CANCELLED'],
  ])('is told by its code: %s', (_what, cause, code) => {
    expect(failureOf(failed(cause), limits)).toEqual(failureOfCode(code as 'INTERNAL'));
  });

  it.each([
    [{ limit: 'cost', owner: 'chain' }, 'Raise the cost limit of the chain (budget.maxCostUsd)'],
    [{ limit: 'time', owner: 'question' }, 'Raise the time limit of the question'],
    [{ limit: 'colour', owner: 'chain' }, 'Raise the limit that was reached'],
    [{ limit: 'cost', owner: 'somebody' }, 'Raise the limit that was reached'],
    [
      { limit: 'tmpMb', owner: 'sandbox' },
      'raise the size limit of /tmp of the sandbox (sandbox.limits.tmpMb',
    ],
    [{ limit: 'tmpMb', owner: 'chain' }, 'Raise the limit that was reached'],
    [{ limit: 'cost', owner: 'sandbox' }, 'Raise the limit that was reached'],
    [null, 'Raise the limit that was reached'],
  ])('says with %j what to raise', (reached, remedy) => {
    const cause = ApplicationFailure.create({ type: 'BUDGET_EXCEEDED', details: [2, reached] });
    expect(failureOf(failed(cause), limits)).toEqual({
      ...failureOfCode('BUDGET_EXCEEDED'),
      remedy: expect.stringContaining(remedy),
    });
  });

  it('is INTERNAL where a workflow threw what it should not', () => {
    expect(failureOf(new TypeError('x'))).toEqual(failureOfCode('INTERNAL'));
  });
});
