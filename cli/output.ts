import { InvalidArgumentError, Option } from 'commander';
import { wantsNoColour } from '../config/environment.js';

export type OutputFormat = 'text' | 'json';

/** `-o, --output`, which every command takes. */
export function outputOption(): Option {
  return new Option(
    '-o, --output <format>',
    'what to print: text for people, json for one document on stdout',
  )
    .choices(['text', 'json'])
    .default('text');
}

/** What the caller asked for, for errors that are found before the options are parsed. */
export function outputFormatOf(args: readonly string[]): OutputFormat {
  return args.some(
    (arg, index) =>
      /^(-o=?json|--output=json)$/.test(arg) ||
      (arg === 'json' && (args[index - 1] === '-o' || args[index - 1] === '--output')),
  )
    ? 'json'
    : 'text';
}

/** One document on stdout: the text as it is, or the value as JSON. */
export function print(format: OutputFormat, value: unknown, text: string): void {
  if (format === 'json') console.log(JSON.stringify(value, null, 2));
  else if (text !== '') console.log(text);
}

/** A remark for the person at the terminal; on stderr, so that stdout stays a document. */
export function note(message: string): void {
  console.error(message);
}

/** Whether text on this stream may be coloured. */
export function mayColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !wantsNoColour();
}

/** A whole number of at least `min`, as an option's value. */
export function wholeNumber(min: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= min) return number;
    throw new InvalidArgumentError(`It must be a whole number of at least ${min}.`);
  };
}
