import { styleText } from 'node:util';
import Table from 'cli-table3';
import type { QueuePosition, StepState, Usage } from '../contracts/chain.js';
import { cacheShare, inputTokensOf } from '../contracts/usage.js';

/** What a person reads: durations, money, tokens, ids and tables. Pure; colours only where they are asked for. */

export interface Look {
  /** Whether states are coloured; default no. */
  colour?: boolean;
}

/** `420 ms`, `8.2 s`, `1 min 05 s`, `2 h 03 min`, `3 d 04 h`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${twoDigits(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${twoDigits(hours % 24)} h`;
}

/** US dollars; small amounts keep what tells them from nothing. */
export function formatCost(costUsd: number): string {
  return costUsd === 0 || costUsd >= 1 ? `$${costUsd.toFixed(2)}` : `$${costUsd.toFixed(4)}`;
}

/** `950`, `12.3k`, `4.56M`. */
export function formatTokens(tokens: number): string {
  if (tokens < 1_000) return String(tokens);
  if (tokens < 999_950) return `${(tokens / 1_000).toFixed(1)}k`;
  return `${(tokens / 1_000_000).toFixed(2)}M`;
}

/** The first eight characters of an id, which tell sessions of one project apart. */
export function shortId(id: string | null): string {
  return id === null ? '-' : id.slice(0, 8);
}

/** A point in time to the second, in UTC. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** A point in time to the minute, in UTC, for where there is little room. */
export function formatMinute(time: Date): string {
  return time.toISOString().slice(0, 16).replace('T', ' ');
}

/** The steps of a chain and their sum: old id -> new id, turns, tokens, cost, time. Ids are shortened. */
export function stepTable(steps: readonly StepState[], { colour = false }: Look = {}): string {
  const sum = (of: (step: StepState) => number) => steps.reduce((total, step) => total + of(step), 0);
  return table(
    ['step', 'status', 'session', 'attempts', 'turns', 'tokens in', 'cached', 'out', 'cost', 'time'],
    [
      ...steps.map((step) => [
        step.step,
        formatStatus(step.status, { colour }),
        step.newSessionId === null ? '-' : sessionMove(step, shortId),
        ...(isCounted(step)
          ? [String(step.attempts), ...figures(step.turns, step.usage, step.costUsd, step.durationMs)]
          : [step.attempts > 0 ? String(step.attempts) : '-', '-', '-', '-', '-', '-', '-']),
      ]),
      [
        'total',
        '',
        '',
        String(sum((step) => step.attempts)),
        ...figures(
          sum((step) => step.turns),
          {
            inputTokens: sum((step) => step.usage.inputTokens),
            outputTokens: sum((step) => step.usage.outputTokens),
            cacheReadTokens: sum((step) => step.usage.cacheReadTokens),
            cacheWriteTokens: sum((step) => step.usage.cacheWriteTokens),
          },
          sum((step) => step.costUsd),
          sum((step) => step.durationMs),
        ),
      ],
    ],
    { rightAligned: ['attempts', 'turns', 'tokens in', 'cached', 'out', 'cost', 'time'] },
  );
}

/** Whether anything is known of what the step took. */
function isCounted({ newSessionId, costUsd, turns }: StepState): boolean {
  return newSessionId !== null || costUsd > 0 || turns > 0;
}

function figures(turns: number, usage: Usage, costUsd: number, durationMs: number): string[] {
  return [
    String(turns),
    formatTokens(inputTokensOf(usage)),
    [formatTokens(usage.cacheReadTokens), cacheShare(usage)].filter(Boolean).join(', '),
    formatTokens(usage.outputTokens),
    formatCost(costUsd),
    formatDuration(durationMs),
  ];
}

/** `old -> new` of a committed step. */
export function sessionMove(
  { oldSessionId, newSessionId }: Pick<StepState, 'oldSessionId' | 'newSessionId'>,
  write: (id: string | null) => string = (id) => id ?? '-',
): string {
  return `${oldSessionId === null ? '(new)' : write(oldSessionId)} -> ${write(newSessionId)}`;
}

/** `position 2, behind chain/shop/v1/v1`. */
export function queuePosition({ position, waitsFor }: QueuePosition): string {
  return `position ${position}, behind ${waitsFor}`;
}

/** The column of step names of a chain: as wide as the longest. */
export function stepWidth(steps: readonly Pick<StepState, 'step'>[]): number {
  return Math.max(8, ...steps.map(({ step }) => step.length));
}

/** One line of a step that has come to its end. */
export function stepLine(step: StepState, width = 8): string {
  const name = step.step.padEnd(width);
  switch (step.status) {
    case 'committed':
      return [
        `${name}  ${sessionMove(step, shortId).padStart(20)}`,
        `${step.turns} ${step.turns === 1 ? 'turn' : 'turns'}`,
        `${formatTokens(inputTokensOf(step.usage))} tokens in (${formatTokens(step.usage.cacheReadTokens)} cached), ${formatTokens(step.usage.outputTokens)} out`,
        formatCost(step.costUsd),
        formatDuration(step.durationMs),
      ].join('  ');
    case 'failed':
      return `${name}  failed${step.failure ? `  ${step.failure.code}: ${step.failure.message}` : ''}`;
    case 'skipped':
    case 'waiting':
      return `${name}  ${step.status}${step.reason === undefined ? '' : `  ${step.reason}`}`;
    case 'completed':
    case 'cancelled':
    case 'pending':
    case 'running':
      return `${name}  ${step.status}`;
  }
}

/** A state of a chain, a step or a check, coloured by what it means. */
export function formatStatus(status: string, { colour = false }: Look = {}): string {
  if (!colour) return status;
  if (/^(committed|completed|ok)$/.test(status)) return paint('green', status);
  if (/^(failed|fail|cancelled|budget_exceeded)$/.test(status)) return paint('red', status);
  if (/^(running|waiting|queued|warn|completed_with_warnings)$/.test(status)) return paint('yellow', status);
  return status;
}

// Whether colours are wanted was decided by the caller; no look at this process's own streams.
function paint(name: 'green' | 'red' | 'yellow', text: string): string {
  return styleText(name, text, { validateStream: false });
}

const noLines = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};

/** Columns without lines, two spaces apart; no trailing spaces, so that tests and pipes see what eyes see. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { rightAligned = [] }: { rightAligned?: readonly string[] } = {},
): string {
  const columns = new Table({
    head: [...head],
    chars: noLines,
    colAligns: head.map((name) => (rightAligned.includes(name) ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2, compact: true },
  });
  columns.push(...rows.map((row) => [...row]));
  return columns.toString().replace(/ +$/gm, '');
}

/** `name  value` lines; entries without a value are left out. */
export function facts(
  entries: readonly (readonly [name: string, value: string | null | undefined])[],
): string {
  const given = entries.filter((entry): entry is readonly [string, string] => Boolean(entry[1]));
  const width = Math.max(...given.map(([name]) => name.length));
  return given.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
