import { styleText } from 'node:util';
import Table from 'cli-table3';
import type { QueuePosition, StepState, Usage } from '../contracts/chain.js';
import type { ChainKey } from '../contracts/ids.js';
import { startOf } from '../contracts/text.js';
import { cacheShare, inputTokensOf } from '../contracts/usage.js';
import { chainKeyOf } from '../temporal/names.js';

/** Text for people: durations, money, tokens, ids and tables. Pure; colours only if requested. */

export interface Look {
  /** Whether states are coloured; default no. */
  colour?: boolean;
  /** Columns of the screen; default {@link defaultWidth}. */
  width?: number;
}

export const defaultWidth = 80;

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

/** The same in one unit: `8 s`, `12 min`, `3 h`, `4 d`. */
export function formatAge(durationMs: number): string {
  const seconds = Math.max(0, durationMs) / 1_000;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** US dollars; small amounts keep enough digits to differ from 0. */
export function formatCost(costUsd: number): string {
  return costUsd === 0 || costUsd >= 1 ? `$${costUsd.toFixed(2)}` : `$${costUsd.toFixed(4)}`;
}

/** `950`, `12.3k`, `4.56M`. */
export function formatTokens(tokens: number): string {
  if (tokens < 1_000) return String(tokens);
  if (tokens < 999_950) return `${(tokens / 1_000).toFixed(1)}k`;
  return `${(tokens / 1_000_000).toFixed(2)}M`;
}

/** `950 B`, `12.3 kB`, `4.56 GB`; of 1,000 bytes a kB. */
export function formatBytes(bytes: number): string {
  const place = bytes < 1_000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3 + 1e-9));
  const unit = ['B', 'kB', 'MB', 'GB', 'TB'][place] ?? 'B';
  return place === 0 ? `${bytes} B` : `${(bytes / 1_000 ** place).toPrecision(3)} ${unit}`;
}

/** The first eight characters of an id, which tell sessions of one project apart. */
export function shortId(id: string | null): string {
  return id === null ? '-' : id.slice(0, 8);
}

/**
 * An id within a number of columns: whole if it fits, a uuid by its first eight characters, any other without its
 * middle.
 */
export function fittingId(id: string, width: number): string {
  if (id.length <= width) return id;
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-/i.test(id) && width < 36) return id.slice(0, Math.min(8, width));
  const end = Math.floor((width - 1) / 2);
  return `${id.slice(0, width - 1 - end)}…${id.slice(id.length - end)}`;
}

/** Text in lines of at most `width` columns. A word, such as an id or a link, is never cut: a longer one has a line of its own. */
export function wrapped(text: string, width: number): string {
  return text
    .split('\n')
    .map((line) =>
      line.split(' ').reduce((lines, word) => {
        const last = lines.slice(lines.lastIndexOf('\n') + 1);
        return last.length + 1 + word.length <= width ? `${lines} ${word}` : `${lines}\n${word}`;
      }),
    )
    .join('\n');
}

/** The beginning of a text that fits one line of `width` columns, cut between words, with a sign that something is missing. */
export function oneLine(text: string, width: number): string {
  const [line = ''] = text.trim().split('\n');
  const [first = ''] = wrapped(line, width).split('\n');
  if (first === text.trim() && first.length <= width) return first;
  const [fits = ''] = wrapped(line, width - 2).split('\n');
  // A word that is longer than the line.
  return `${startOf(fits, width - 2)} …`;
}

/** A point in time to the second, in UTC. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** A point in time to the minute, in UTC, for where there is little room. */
export function formatMinute(time: Date): string {
  return time.toISOString().slice(0, 16).replace('T', ' ');
}

/** The steps of a chain and their sum: the new session, turns, tokens, cost, time. Ids are shortened. */
export function stepTable(steps: readonly StepState[], { colour = false, width }: Look = {}): string {
  const sum = (of: (step: StepState) => number) => steps.reduce((total, step) => total + of(step), 0);
  return table(
    ['step', 'status', 'session', ...figureColumns],
    [
      ...steps.map((step) => [
        step.step,
        formatStatus(step.status, { colour }),
        shortId(step.newSessionId),
        ...(isCounted(step)
          ? figures(step.turns, step.usage, step.costUsd, step.durationMs)
          : figureColumns.map(() => '-')),
      ]),
      [
        'total',
        '',
        '',
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
    { rightAligned: figureColumns, elastic: ['step'], width },
  );
}

const figureColumns = ['turns', 'in', 'cached', 'out', 'cost', 'time'];

/** Whether anything is known of what the step took. */
function isCounted({ newSessionId, costUsd, turns }: StepState): boolean {
  return newSessionId !== null || costUsd > 0 || turns > 0;
}

function figures(turns: number, usage: Usage, costUsd: number, durationMs: number): string[] {
  return [
    String(turns),
    formatTokens(inputTokensOf(usage)),
    cacheShare(usage),
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

/** `position 2, behind v1`: by its version, and by its build where that has another name. */
export function queuePosition({ position, waitsFor }: QueuePosition, idWidth = Infinity): string {
  const key = chainKeyOf(waitsFor);
  return `position ${position}, behind ${key ? chainName(key, idWidth) : waitsFor}`;
}

/** A chain of a known project by its version, and by its build where that has another name. */
export function chainName(
  { versionId, buildId }: Pick<ChainKey, 'versionId' | 'buildId'>,
  idWidth: number,
): string {
  const version = fittingId(versionId, idWidth);
  return buildId === (versionId as string) ? version : `${version}, build ${fittingId(buildId, idWidth)}`;
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

/** The same on a screen of so many columns: what goes on in a further line stands below the state. */
export function wrappedStepLine(step: StepState, screen = defaultWidth, width = 8): string {
  const indent = ' '.repeat(width + 2);
  return wrapped(stepLine(step, width), screen - indent.length).replaceAll('\n', `\n${indent}`);
}

/** A word of a command that is to be copied, quoted where the shell would read more into it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A state of a chain, a step or a check, coloured by what it means. */
export function formatStatus(status: string, { colour = false }: Look = {}): string {
  if (!colour) return status;
  if (/^(committed|completed|ok)$/.test(status)) return paint('green', status);
  if (/^(failed|fail|cancelled|budget_exceeded)$/.test(status)) return paint('red', status);
  if (/^(running|waiting|queued|warn|completed_with_warnings)$/.test(status)) return paint('yellow', status);
  return status;
}

// The caller has decided about colours; this process's own streams are not checked.
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

const smallestId = 8;

/**
 * Columns without lines, two spaces apart; no trailing spaces, so that tests and pipes see what eyes see. Where they do not fit the
 * screen, the ids in `elastic` columns are shortened, the widest first, and then the columns move together.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  {
    rightAligned = [],
    elastic = [],
    width = defaultWidth,
  }: { rightAligned?: readonly string[]; elastic?: readonly string[]; width?: number | undefined } = {},
): string {
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => visible(row[column] ?? '').length)),
  );
  const total = (gap: number) => widths.reduce((sum, one) => sum + one, gap * (widths.length - 1));
  for (let over = total(2) - width; over > 0; over--) {
    const shrinkable = widths.map((one, column) =>
      elastic.includes(head[column] ?? '') && one > Math.max(smallestId, head[column]?.length ?? 0) ? one : 0,
    );
    const widest = shrinkable.indexOf(Math.max(...shrinkable));
    if (!shrinkable[widest]) break;
    widths[widest] = shrinkable[widest] - 1;
  }
  const columns = new Table({
    head: [...head],
    chars: noLines,
    colAligns: head.map((name) => (rightAligned.includes(name) ? 'right' : 'left')),
    style: {
      ...{ head: [], border: [], compact: true },
      ...{ 'padding-left': 0, 'padding-right': total(2) > width ? 1 : 2 },
    },
  });
  columns.push(
    ...rows.map((row) =>
      row.map((cell, column) =>
        elastic.includes(head[column] ?? '') ? fittingId(cell, widths[column] ?? cell.length) : cell,
      ),
    ),
  );
  return columns.toString().replace(/ +$/gm, '');
}

/** {@link table} with lines of text below its rows. */
export function tableWithNotes(
  head: readonly string[],
  rows: readonly { cells: readonly string[]; notes: readonly string[] }[],
  options: { rightAligned?: readonly string[]; elastic?: readonly string[]; width: number },
): string {
  const [first = '', ...lines] = table(
    head,
    rows.map(({ cells }) => cells),
    options,
  ).split('\n');
  const notesOf = (index: number) =>
    rows[index]?.notes.map((text) => `  ${oneLine(text, options.width - 2)}`) ?? [];
  return [first, ...lines.flatMap((line, index) => [line, ...notesOf(index)])].join('\n');
}

/** A text as it appears on the screen. */
function visible(text: string): string {
  return text.replace(/\x1b\[\d+m/g, '');
}

/** `name  value` lines; entries without a value are left out. Prose, marked so, is wrapped at the width of the screen. */
export function facts(
  entries: readonly (readonly [name: string, value: string | null | undefined, kind?: 'prose'])[],
  { width: screen = defaultWidth }: Look = {},
): string {
  const given = entries.flatMap(([name, value, kind]) => (value ? [{ name, value, kind }] : []));
  const width = Math.max(...given.map(({ name }) => name.length));
  const indent = ' '.repeat(width + 2);
  return given
    .map(({ name, value, kind }) => {
      const text = kind === 'prose' ? wrapped(value, screen - indent.length) : value;
      return `${name.padEnd(width)}  ${text.replaceAll('\n', `\n${indent}`)}`;
    })
    .join('\n');
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
