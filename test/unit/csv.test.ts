import { expect, it } from '@jest/globals';
import { spendCsv } from '../../server/csv.js';

const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };
const one = { attempts: 1, turns: null, usage, costUsd: 1e-9, attemptsOfUnknownCost: 0 };

it('a table of costs is RFC 4180, and no cell of it a formula', () => {
  const keys = ['claude', '=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', 'a "b", c'];
  const [head, ...lines] = spendCsv(
    'model',
    keys.map((key) => ({ key, ...one })),
  ).split('\r\n');
  expect(head).toMatch(/^model,cost_usd,/);
  expect(lines.at(-1)).toBe('');
  expect(lines.slice(0, -1).map((line) => line.slice(0, line.lastIndexOf('"') + 1))).toEqual([
    ...['"claude"', `"'=1+1"`, `"'+1"`, `"'-1"`, `"'@SUM(A1)"`, `"'\t=1"`, `"'\r=1"`],
    '"a ""b"", c"',
  ]);
  expect(lines[0]).toBe('"claude",0.000000001,1,0,,1,2,3,4');
  expect(spendCsv('day', [{ key: '2026-11-26', ...one, costUsd: 20 }])).toContain(',20,');
});
