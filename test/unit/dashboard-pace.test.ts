import { describe, expect, it } from '@jest/globals';
import { pauseBefore } from '../../dashboard/api/pace.js';

describe('the pace at which events refresh a page', () => {
  /** The pauses of a page whose events do not end and whose reads take so long each time. */
  const pauses = (tookMs: number, times: number) => {
    const all = [pauseBefore(null)];
    while (all.length < times) all.push(pauseBefore({ pauseMs: all.at(-1) ?? 0, tookMs }));
    return all;
  };

  it('is quick after a quiet time, and slows down while events do not end', () => {
    expect(pauses(20, 5)).toEqual([500, 1_000, 2_000, 2_000, 2_000]);
  });

  it('leaves a server that answers slowly four fifths of the time, and asks again within half a minute', () => {
    expect(pauses(3_000, 3)).toEqual([500, 12_000, 12_000]);
    expect(pauses(60_000, 2)).toEqual([500, 30_000]);
  });

  it('is quick again once the server is', () => {
    expect(pauseBefore({ pauseMs: 30_000, tookMs: 10 })).toBe(2_000);
  });
});
