import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { bridgeHoles, findHole } from '../../transcript/hole.js';

describe('findHole', () => {
  const chained = (...ids: string[]): SessionStoreEntry[] =>
    ids.map((uuid, index) => ({ type: 'user', uuid, parentUuid: ids[index - 1] ?? null }));
  const without: SessionStoreEntry[] = [{ type: 'queue-operation' }, { type: 'mode' }];

  it('finds nothing in a transcript that hangs together, whatever stands between and in whatever order', () => {
    expect(findHole([])).toBeNull();
    expect(findHole([...without, ...chained('a', 'b', 'c'), { type: 'cost-state' }])).toBeNull();
    expect(findHole(chained('a', 'b', 'c').reverse())).toBeNull();
    // After a compaction a new line begins.
    const boundary = { type: 'system', subtype: 'compact_boundary', uuid: 'boundary', parentUuid: null };
    const summary = { type: 'user', uuid: 'summary', isCompactSummary: true, parentUuid: 'boundary' };
    expect(findHole([...chained('a', 'b'), boundary, summary])).toBeNull();
  });

  it('names the entry before which one is missing', () => {
    expect(findHole(chained('a', 'b', 'c', 'd').filter(({ uuid }) => uuid !== 'b'))).toBe('c');
    expect(findHole(chained('a', 'b').slice(1))).toBe('b');
  });
});

describe('bridgeHoles', () => {
  const at = (uuid: string, parentUuid: string | null, second: number): SessionStoreEntry => ({
    ...{ type: 'user', uuid, parentUuid, isSidechain: false },
    timestamp: new Date(second * 1_000).toISOString(),
  });
  const bridge = (...entries: SessionStoreEntry[]) => {
    const { entries: mended, ...outcome } = bridgeHoles(entries);
    expect(findHole(mended)).toBeNull();
    return { ...outcome, parents: mended.map(({ parentUuid }) => parentUuid) };
  };

  it('leaves a whole transcript as it is', () => {
    const whole = [at('a', null, 1), at('b', 'a', 2)];
    expect(bridgeHoles(whole)).toEqual({ entries: whole, bridged: [], begun: [] });
  });

  it('never ties an entry to one that follows it', () => {
    // All at the same time, so that only the links tell what comes first.
    expect(bridge(at('c', 'b', 1), at('b', 'lost', 1), at('a', null, 1))).toEqual({
      bridged: [1],
      begun: [],
      parents: ['b', 'a', null],
    });
    expect(bridge(at('a', 'lost', 1), at('b', 'gone', 1))).toEqual({
      bridged: [0],
      begun: [1],
      parents: ['b', null],
    });
  });

  it('looks back 5 s and no further, and not without a time', () => {
    expect(bridge(at('a', null, 1), at('b', 'lost', 6)).bridged).toEqual([1]);
    expect(bridge(at('a', null, 1), at('b', 'lost', 6.001)).begun).toEqual([1]);
    expect(bridge(at('a', null, 1), { type: 'user', uuid: 'b', parentUuid: 'lost' }).begun).toEqual([1]);
  });
});
