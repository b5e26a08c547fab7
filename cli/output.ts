import { InvalidArgumentError, Option } from 'commander';
import { wantedColumns, wantsNoColour, withoutOwnCredentials } from '../config/environment.js';
import { withoutCredentials } from '../contracts/secrets.js';
import { type Look, defaultWidth, wrapped } from './format.js';
import { inWords } from './remedies.js';

export type OutputFormat = 'text' | 'json';

/** Of a command that follows what happens. */
export type StreamFormat = OutputFormat | 'jsonl';

/** `-o, --output`, which every command takes. */
export function outputOption(what = 'text for people, json for one document on stdout'): Option {
  return new Option('-o, --output <format>', `what to print: ${what}`)
    .choices(['text', 'json'])
    .default('text');
}

/** The same, with what happens as it happens. */
export function streamOption(): Option {
  return new Option(
    '-o, --output <format>',
    'what to print: text for people, json for one document on stdout, jsonl for what happens, a line of JSON per item as it happens, and the document last, as an item of the type result',
  )
    .choices(['text', 'json', 'jsonl'])
    .default('text');
}

/** The requested output, for errors that are found before the options are parsed. */
export function outputFormatOf(args: readonly string[]): OutputFormat {
  return args.some(
    (arg, index) =>
      /^(-o=?jsonl?|--output=jsonl?)$/.test(arg) ||
      (/^jsonl?$/.test(arg) && (args[index - 1] === '-o' || args[index - 1] === '--output')),
  )
    ? 'json'
    : 'text';
}

/** One document on stdout: the text, or the value as JSON; without the credentials of the environment. */
export function print(format: StreamFormat, value: object, text: string): void {
  if (format === 'json') console.log(withoutOwnCredentials(jsonText(value, 2)));
  else if (format === 'jsonl') console.log(jsonLine({ type: 'result', ...value }));
  else if (text !== '') console.log(withoutOwnCredentials(printable(text)));
}

/** A value as one line of JSON. */
export function jsonLine(value: unknown): string {
  return withoutOwnCredentials(jsonText(value));
}

/** Writes a line to stdout, and waits for a reader that is slower. False once the reader has gone. */
export async function writeLine(line: string): Promise<boolean> {
  return await new Promise((resolve) => {
    process.stdout.write(`${line}\n`, (error) => resolve(!error));
  });
}

/** A key that was just made: the one credential that is printed, because its owner sees it nowhere else. */
export function printKey(format: OutputFormat, { id, key }: { id: string; key: string }): void {
  console.log(format === 'json' ? jsonText({ id, key }, 2) : key);
}

/** JSON with every control character escaped, those too that JSON would take as they are; failures with our own remedies. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, inWords, indent).replace(
    /[\x7f-\x9f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}

/**
 * A text for a terminal. Texts of models, agents and callers may contain sequences that move the cursor, name the
 * window or hide what follows: control characters but tabs and line ends become U+FFFD. Our own colours stay.
 */
export function printable(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/(\x1b\[3[1-39]m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (_, colour?: string) => colour ?? '\ufffd');
}

/** A remark for the person at the terminal; on stderr, so that stdout stays a document. */
export function note(message: string): void {
  console.error(withoutOwnCredentials(printable(fitting(withoutCredentials(message), process.stderr))));
}

/** A text for a stream: on a terminal wrapped at its width, but for lines with a command, which is to be copied. */
export function fitting(
  text: string,
  { isTTY, columns }: Pick<NodeJS.WriteStream, 'isTTY' | 'columns'>,
): string {
  if (!isTTY || !columns) return text;
  return text
    .split('\n')
    .map((line) => (line.includes('session-chain ') ? line : wrapped(line, columns)))
    .join('\n');
}

/** Whether text on this stream may be coloured. */
export function mayColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !wantsNoColour();
}

/** How text on stdout may look: coloured and as wide as the terminal; in a pipe plain and 80 columns wide, or COLUMNS. */
export function lookOfStdout(): Look & { width: number } {
  const width =
    (process.stdout.isTTY ? process.stdout.columns : undefined) ?? wantedColumns() ?? defaultWidth;
  return { colour: mayColour(process.stdout), width };
}

const unitsMs = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function spanMs(value: string): number | undefined {
  const [, number, unit] = /^([1-9]\d{0,5})(s|min|h|d)$/.exec(value) ?? [];
  return number === undefined ? undefined : Number(number) * unitsMs[unit as keyof typeof unitsMs];
}

/** A time such as `90s`, `10min`, `2h` or `1d`, in ms. */
export function durationMs(value: string): number {
  const span = spanMs(value);
  if (span !== undefined) return span;
  throw new InvalidArgumentError('It must be a time such as 90s, 10min, 2h or 1d.');
}

/** A point in time: ISO 8601, or so long ago as {@link durationMs} takes it. */
export function pointInTime(value: string): Date {
  const span = spanMs(value);
  if (span !== undefined) return new Date(Date.now() - span);
  const time = new Date(/^\d{4}-\d{2}-\d{2}/.test(value) ? value : Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError(
    'It must be a date, as in 2026-11-22 or 2026-11-22T16:00:00Z, or so long ago, such as 10min, 2h or 1d.',
  );
}

/** An amount of US dollars as an option's value; 0 only where something may have cost nothing. */
export function dollars({ mayBeZero = false }: { mayBeZero?: boolean } = {}): (value: string) => number {
  return (value) => {
    const amount = Number(value);
    const isAmount =
      value.trim() !== '' && Number.isFinite(amount) && (amount > 0 || (mayBeZero && amount === 0));
    if (isAmount) return amount;
    throw new InvalidArgumentError(
      `It must be an amount ${mayBeZero ? 'of at least' : 'above'} 0, such as 2.50.`,
    );
  };
}

/** A whole number of at least `min`, as an option's value. */
export function wholeNumber(min: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= min) return number;
    throw new InvalidArgumentError(`It must be a whole number of at least ${min}.`);
  };
}
