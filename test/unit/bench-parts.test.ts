import { describe, expect, it } from '@jest/globals';
import { type Part, measureParts } from '../../bench/parts.js';
import { reportTable, row } from '../../bench/report.js';

const figure = (part: string) => row({ part, name: 'a figure', unit: 'ms', values: [1] });
const fails = async () => {
  throw new Error('The worker is gone.');
};

/** What is told of a run, in order. */
async function told(parts: Part<Stack>[], start?: () => Promise<Stack>): Promise<string[]> {
  const lines: string[] = [];
  const stack = { stop: async () => void lines.push('stopped') };
  await measureParts<Stack>(parts, start ?? (async () => stack), {
    begin: (part) => lines.push(`${part} begins`),
    measured: (part, rows) => lines.push(`${part} has ${rows.length}`),
    failed: (part, error) => lines.push(`${part} failed: ${(error as Error).message}`),
  });
  return lines;
}

interface Stack {
  stop(): Promise<void>;
}

const shared = { name: 'shared', title: '', measureOn: async () => [figure('shared')] };
const alone = { name: 'alone', title: '', measure: async () => [figure('alone')] };

describe('the parts of a bench', () => {
  it('are told of as each ends; what some share is stopped before the others', async () => {
    expect(await told([shared, alone])).toEqual([
      'shared begins',
      'shared has 1',
      'stopped',
      'alone begins',
      'alone has 1',
    ]);
  });

  it('go on after one that fails', async () => {
    const broken = { name: 'broken', title: '', measureOn: fails };
    expect(await told([broken, shared, { name: 'torn', title: '', measure: fails }, alone])).toEqual([
      'broken begins',
      'broken failed: The worker is gone.',
      'shared begins',
      'shared has 1',
      'stopped',
      'torn begins',
      'torn failed: The worker is gone.',
      'alone begins',
      'alone has 1',
    ]);
  });

  it('go on without what some share, where that does not start', async () => {
    expect(await told([shared, alone], fails)).toEqual([
      'shared failed: The worker is gone.',
      'alone begins',
      'alone has 1',
    ]);
  });

  it('start nothing to share where none needs it', async () => {
    expect(await told([alone], fails)).toEqual(['alone begins', 'alone has 1']);
  });
});

describe('a row that was measured in rounds', () => {
  const measured = { part: 'p', name: 'n', unit: 'ms' as const, values: [10, 40, 90] };
  const peer = { name: 'peer', values: [10, 20, 100] };

  it('has the median of the ratios, not the ratio of the medians, and says how far they are apart', () => {
    const inRounds = row({ ...measured, peer, inRounds: true });
    expect(inRounds).toMatchObject({ ratio: 1, ratioRange: { min: 0.9, max: 2 } });
    expect(row({ ...measured, peer })).toMatchObject({ ratio: 2, ratioRange: null });
    expect(reportTable([inRounds])).toContain('1.00 (0.90–2.00)');
  });

  it('divides the other way where it is asked to', () => {
    expect(row({ ...measured, peer, inRounds: true, ratioOf: 'peer/figure' }).ratio).toBe(1);
    expect(row({ ...measured, peer, ratioOf: 'peer/figure' }).ratio).toBe(0.5);
  });

  it('has no ratio to a peer of 0', () => {
    const nothing = row({ ...measured, peer: { name: 'peer', values: [0, 0, 0] } });
    expect(nothing.ratio).toBeNull();
    expect(reportTable([nothing])).not.toContain('Infinity');
  });

  it('looks at the figure, not at the ratio, where its goal says so', () => {
    const goal = { text: '<= 50 ms', met: (value: number) => value <= 50, of: 'figure' as const };
    expect(row({ ...measured, peer, goal }).goal).toEqual({ text: '<= 50 ms', met: true });
  });
});
