import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { findHole } from '../../transcript/hole.js';

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
