import type { GroupedSpend, SpendGroup } from '../client/main.js';

/** What was spent as a table of RFC 4180, a line per group. */
export function spendCsv(group: SpendGroup, groups: readonly GroupedSpend[]): string {
  const head = [
    group,
    ...['cost_usd', 'attempts', 'attempts_of_unknown_cost', 'turns'],
    ...['input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_write_tokens'],
  ];
  const lines = groups.map(({ key, costUsd, attempts, attemptsOfUnknownCost, turns, usage }) => [
    cell(key),
    // Never as 1e-7.
    costUsd.toFixed(9).replace(/\.?0+$/, ''),
    attempts,
    attemptsOfUnknownCost,
    turns ?? '',
    ...[usage.inputTokens, usage.outputTokens, usage.cacheReadTokens, usage.cacheWriteTokens],
  ]);
  return [head, ...lines].map((line) => `${line.join(',')}\r\n`).join('');
}

/** A text in quotes; a spreadsheet takes one that begins like a formula as text, for the apostrophe. */
function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}
