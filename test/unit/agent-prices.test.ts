import { describe, expect, it } from '@jest/globals';
import { deriveCost, type PricedUsage, undatedModel } from '../../transcript/prices.js';

/** Prices in US dollars per million tokens. */
const list = (input: number, output: number, read: number, write: number) => {
  const costOf = (usage: Omit<PricedUsage, 'costUsd'>) =>
    (usage.inputTokens * input +
      usage.outputTokens * output +
      usage.cacheReadTokens * read +
      usage.cacheWriteTokens * write) /
    1e6;
  return {
    costOf,
    run: (inputTokens: number, outputTokens: number, cacheReadTokens: number, cacheWriteTokens: number) => {
      const usage = { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens };
      return { ...usage, costUsd: Math.round(costOf(usage) * 1e9) / 1e9 };
    },
  };
};
const killed = { inputTokens: 12, outputTokens: 258, cacheReadTokens: 7206, cacheWriteTokens: 94 };

describe('deriveCost', () => {
  it.each([
    ['$3', list(3, 15, 0.3, 6)],
    ['$3, five-minute cache', list(3, 15, 0.3, 3.75)],
    ['$0.80', list(0.8, 4, 0.08, 1.6)],
    ['$4, cheap reads', list(4, 20, 0.2, 8)],
    ['$15', list(15, 75, 1.5, 30)],
  ])('finds the price of a list of %s from one other run', (_list, prices) => {
    expect(deriveCost(killed, [prices.run(3, 1502, 17462, 6943)])).toBeCloseTo(prices.costOf(killed), 9);
  });

  it('costs nothing where nothing was asked', () => {
    const none = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
    expect(deriveCost(none, [])).toBe(0);
  });

  it('does not guess: without another run, on a list of another form, on runs at different prices', () => {
    const cheap = list(3, 15, 0.3, 6).run(3, 1502, 17462, 6943);
    const dear = list(6, 22.5, 0.6, 12).run(3, 1502, 17462, 6943);
    expect(deriveCost(killed, [])).toBeNull();
    expect(deriveCost(killed, [dear])).toBeNull();
    expect(deriveCost(killed, [cheap, list(5, 25, 0.5, 10).run(3, 150, 1462, 643)])).toBeNull();
  });

  it('does not guess where the other runs leave open which form it is', () => {
    // No cache in sight: what reads and writes cost is not known, and the killed run had some.
    expect(deriveCost(killed, [list(3, 15, 0.3, 6).run(1000, 500, 0, 0)])).toBeNull();
    const uncached = { ...killed, cacheReadTokens: 0, cacheWriteTokens: 0 };
    expect(deriveCost(uncached, [list(3, 15, 0.3, 6).run(1000, 500, 0, 0)])).toBeCloseTo(0.003906, 9);
  });
});

it('a model is the same with and without the date of its release', () => {
  expect(undatedModel('claude-opus-4-5-20251101')).toBe('claude-opus-4-5');
  expect(undatedModel('claude-opus-5-5')).toBe('claude-opus-5-5');
});
