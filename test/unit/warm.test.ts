import { describe, expect, it } from '@jest/globals';
import type { AgentRequest } from '../../agent/run.js';
import { canBeFenced, fits } from '../../agent/warm.js';

type FittingLine = Parameters<typeof fits>[0];
type FittingRequest = Parameters<typeof fits>[2];

const line: FittingLine = { key: 'a', maxTurns: 50, costLeftUsd: undefined };
const request: FittingRequest = {
  maxTurns: 50,
  store: { appendToCopy: async () => undefined } as unknown as AgentRequest['store'],
};

describe('a process that waits fits a task', () => {
  it('that has all in common with the first', () => {
    expect(fits(line, 'a', request)).toBe(true);
    expect(fits(line, 'b', request)).toBe(false);
  });

  it('that may take as many turns, or fewer', () => {
    expect(fits(line, 'a', { ...request, maxTurns: 3 })).toBe(true);
    expect(fits(line, 'a', { ...request, maxTurns: 51 })).toBe(false);
  });

  it('that may spend what the process has left, and neither more nor less', () => {
    const left = { ...line, costLeftUsd: 0.7 - 0.1 };
    expect(fits(left, 'a', { ...request, maxCostUsd: 0.6 })).toBe(true);
    expect(fits(left, 'a', { ...request, maxCostUsd: 0.59 })).toBe(false);
    expect(fits(left, 'a', { ...request, maxCostUsd: 0.61 })).toBe(false);
    expect(fits(left, 'a', request)).toBe(false);
    expect(fits(line, 'a', { ...request, maxCostUsd: 0.6 })).toBe(false);
  });

  it('that continues from no earlier attempt', () => {
    expect(fits(line, 'a', { ...request, earlierEntries: [] })).toBe(false);
  });

  it('whose store copies sessions', () => {
    const store = {} as AgentRequest['store'];
    expect(fits(line, 'a', { ...request, store })).toBe(false);
  });
});

describe('what a task has started can be kept from the next', () => {
  const bwrap = { hold: 'namespace', kind: 'bwrap', hasFilter: true } as const;
  const [started, none] = [{ hasStartedProcesses: true }, { hasStartedProcesses: false }];

  it('in a sandbox with a filter of system calls', () => {
    expect(canBeFenced(started, { mcpServers: {} }, bwrap)).toBe(true);
    expect(canBeFenced(started, { mcpServers: {} }, { ...bwrap, hasFilter: false })).toBe(false);
  });

  it('elsewhere where it has started nothing, and the kernel holds its processes together', () => {
    const without = { ...bwrap, kind: 'none', hasFilter: false } as const;
    expect(canBeFenced(none, { mcpServers: {} }, without)).toBe(true);
    expect(canBeFenced(started, { mcpServers: {} }, without)).toBe(false);
    expect(canBeFenced(none, { mcpServers: {} }, { ...without, hold: 'marker' })).toBe(false);
  });

  it('where Claude Code has no servers of its own to lose', () => {
    expect(canBeFenced(none, { mcpServers: { search: { command: 'search' } } }, bwrap)).toBe(false);
    const remote = { type: 'http', url: 'https://search.example' } as const;
    expect(canBeFenced(none, { mcpServers: { search: remote } }, bwrap)).toBe(true);
  });
});
