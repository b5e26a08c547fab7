import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { contextTokensOf } from '../../transcript/context-size.js';
import { ownSpend } from '../../transcript/counters.js';
import { type Counters, lastCounters, noUsage, ownEntries, usageOfTurns } from '../../transcript/entries.js';

const counters = (costUsd: number, inputTokens: number, apiDurationMs = 0): Counters => ({
  costUsd,
  apiDurationMs,
  usage: { ...noUsage, inputTokens },
  byModel: { model: { ...noUsage, inputTokens, costUsd } },
});
const turns = (inputTokens: number) => ({ ...noUsage, inputTokens });

describe('ownSpend', () => {
  it('takes off the totals that the fork carried on', () => {
    expect(ownSpend(counters(0.044, 3000, 90), counters(0.034, 1000, 40), turns(2000))).toEqual(
      counters(0.01, 2000, 50),
    );
  });

  it('takes off nothing where the totals started again', () => {
    expect(ownSpend(counters(0.01, 2000), counters(0.034, 1000), turns(2000))).toEqual(counters(0.01, 2000));
    // Larger than the base's by itself: only the run's own turns give it away.
    expect(ownSpend(counters(0.05, 5000), counters(0.034, 1000), turns(5000))).toEqual(counters(0.05, 5000));
  });

  it('takes off nothing where the base left no totals', () => {
    expect(ownSpend(counters(0.01, 2000), null, turns(2000))).toEqual(counters(0.01, 2000));
  });

  it('takes off the base though the last turn was cut off and is in no total', () => {
    expect(ownSpend(counters(0.039, 2000), counters(0.034, 1000), turns(1400))).toEqual(
      counters(0.005, 1000),
    );
  });

  it('tells the models apart, also one that the base never asked', () => {
    const base = counters(0.034, 1000);
    const total: Counters = {
      costUsd: 0.044,
      apiDurationMs: 0,
      usage: { ...noUsage, inputTokens: 3000 },
      byModel: {
        model: { ...noUsage, inputTokens: 1000, costUsd: 0.034 },
        small: { ...noUsage, inputTokens: 2000, costUsd: 0.01 },
      },
    };
    expect(ownSpend(total, base, turns(2000)).byModel).toEqual({
      small: { ...noUsage, inputTokens: 2000, costUsd: 0.01 },
    });
  });

  it('counts what no stored turn shows, as in a compaction', () => {
    expect(ownSpend(counters(0.039, 2000), counters(0.034, 1000), noUsage)).toEqual(counters(0.005, 1000));
  });
});

describe('contextTokensOf', () => {
  const answer = (tokens: number, more = {}): SessionStoreEntry => ({
    type: 'assistant',
    message: { id: 'm', model: 'claude', usage: { input_tokens: tokens, cache_read_input_tokens: 1 } },
    ...more,
  });
  const boundary = (postTokens: unknown): SessionStoreEntry => ({
    type: 'system',
    subtype: 'compact_boundary',
    compactMetadata: { postTokens },
  });

  it('takes the last entry that tells it', () => {
    expect(contextTokensOf([answer(5), answer(10), { type: 'user' }])).toBe(11);
    expect(contextTokensOf([answer(10), boundary(3), { type: 'user' }])).toBe(3);
    expect(contextTokensOf([answer(10), boundary(3), answer(4)])).toBe(5);
  });

  it('passes over what tells nothing', () => {
    const silent: SessionStoreEntry[] = [
      answer(50, { isApiErrorMessage: true }),
      { type: 'assistant', message: { model: '<synthetic>', usage: { input_tokens: 50 } } },
      { type: 'assistant', message: 'odd' },
      boundary('many'),
      boundary(1.5),
    ];
    expect(contextTokensOf([answer(10), ...silent])).toBe(11);
    expect(contextTokensOf(silent)).toBeNull();
    expect(contextTokensOf([])).toBeNull();
  });
});

describe('the readers of a transcript', () => {
  const turn = (id: string, outputTokens: number, model = 'claude'): SessionStoreEntry => ({
    type: 'assistant',
    uuid: `${id}-${outputTokens}`,
    message: { id, model, content: [], usage: { input_tokens: 10, output_tokens: outputTokens } },
  });

  it('count a message once though it is stored once per content block', () => {
    const entries = [
      turn('a', 5),
      { ...turn('a', 5), uuid: 'second block' },
      turn('b', 7),
      turn('c', 9, '<synthetic>'),
    ];
    expect(usageOfTurns(entries)).toEqual({
      turns: 2,
      usage: { ...noUsage, inputTokens: 20, outputTokens: 12 },
      byModel: { claude: { ...noUsage, inputTokens: 20, outputTokens: 12 } },
    });
    expect(contextTokensOf(entries)).toBe(17);
  });

  it('tell a session’s own entries from those of its parent', () => {
    const base = [turn('a', 5), { type: 'mode' }];
    const fork = [{ type: 'mode' }, { ...turn('a', 5), sessionId: 'fork' }, turn('b', 7)];
    expect(ownEntries(fork, base).map((entry) => entry.uuid)).toEqual([undefined, 'b-7']);
  });

  it('find the last totals and pass over entries of another shape', () => {
    const state = (totalCostUSD: number): SessionStoreEntry => ({
      type: 'cost-state',
      totalCostUSD,
      totalAPIDuration: 20,
      modelUsage: { one: { inputTokens: 1 }, two: { inputTokens: 2, outputTokens: 3 } },
    });
    const entries = [state(0.1), state(0.2), { type: 'cost-state' }, { type: 'assistant', message: 'odd' }];
    expect(lastCounters(entries)).toEqual({
      costUsd: 0.2,
      apiDurationMs: 20,
      usage: { ...noUsage, inputTokens: 3, outputTokens: 3 },
      byModel: {
        one: { ...noUsage, inputTokens: 1, costUsd: 0 },
        two: { ...noUsage, inputTokens: 2, outputTokens: 3, costUsd: 0 },
      },
    });
    expect(lastCounters([])).toBeNull();
  });
});
