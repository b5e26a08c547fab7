import type { ChainResult } from '../contracts/chain.js';
import { inspect } from 'node:util';
import { CommanderError } from 'commander';
import { withoutOwnCredentials } from '../config/environment.js';
import {
  type FailureCategory,
  type FailureCode,
  categoryOf,
  toSessionChainError,
} from '../contracts/failures.js';
import { withoutCredentials } from '../contracts/secrets.js';
import { type OutputFormat, fitting, jsonText, printable } from './output.js';
import { remedyInWords } from './remedies.js';

/** The exit codes of the command line, as `session-chain --help` lists them. */
export const exitCodes = {
  ok: 0,
  unexpected: 1,
  badInput: 2,
  notFound: 3,
  conflict: 4,
  endedBadly: 5,
  unavailable: 6,
  setUp: 7,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What each exit code tells a script. */
export const exitCodeMeanings: Record<keyof typeof exitCodes, string> = {
  ok: 'done; start --wait: the chain completed, possibly with warnings',
  unexpected:
    'an unexpected error; sync: under 95 % of the projects are in sync; import --all: some heads failed; reconcile: something is left to do',
  badInput: 'wrong usage, malformed input or environment, workspace not allowed',
  notFound: 'no such project, version, chain, chat or transcript',
  conflict: 'another chain or process holds the project, the session or the folder',
  endedBadly: 'the chain failed, was cancelled or ran out of budget (start --wait)',
  unavailable: 'Postgres, Temporal or the model service does not answer',
  setUp:
    'something is not set up: migrations, credentials, rights, the configuration file, the agent; doctor found a problem; migrate --dry-run found what stops it',
  interrupted: 'interrupted by Ctrl-C',
};

const exitCodeNames: Record<FailureCategory, keyof typeof exitCodes> = {
  input: 'badInput',
  not_found: 'notFound',
  conflict: 'conflict',
  setup: 'setUp',
  model: 'endedBadly',
  agent: 'endedBadly',
  budget: 'endedBadly',
  unavailable: 'unavailable',
  ended: 'endedBadly',
  internal: 'unexpected',
};

/** The exit code of a failure, which follows from its category. */
export function exitCodeOf(code: FailureCode): ExitCode {
  return exitCodes[exitCodeNames[categoryOf(code)]];
}

/** Reports an error on stderr, as text or as one JSON document, and returns the exit code. Stdout stays empty. */
export function reportError(error: unknown, format: OutputFormat, debug: boolean): ExitCode {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
  const described = describe(error);
  const { code, message, remedy } = described;
  const safe = (text: string) => withoutOwnCredentials(withoutCredentials(text));
  console.error(
    safe(
      format === 'json'
        ? jsonText({ error: { code, message, remedy } })
        : printable(fitting(`error ${code}: ${message}\nwhat to do: ${remedy}`, process.stderr)),
    ),
  );
  if (debug) console.error(safe(inspect(error)));
  return described.exitCode;
}

function describe(error: unknown): { code: string; message: string; remedy: string; exitCode: ExitCode } {
  if (error instanceof CommanderError) {
    return {
      code: 'INVALID_INPUT',
      message:
        error.code === 'commander.help'
          ? 'A command is missing.'
          : sentence(error.message.replace(/^error: /, '')),
      remedy: 'Call the command with --help to see what it takes.',
      exitCode: exitCodes.badInput,
    };
  }
  const { code, message, remedy } = toSessionChainError(error);
  return { code, message, remedy: remedyInWords({ code, remedy }), exitCode: exitCodeOf(code) };
}

function sentence(text: string): string {
  const line = text.replace(/\s*\n\s*/g, ' ').trim();
  return `${line.charAt(0).toUpperCase()}${line.slice(1)}${/[.!?)]$/.test(line) ? '' : '.'}`;
}

/** The exit code of a command that followed a chain; null where it stopped following. */
export function exitCodeOfResult(result: ChainResult | null): ExitCode {
  switch (result?.status) {
    case undefined:
      return exitCodes.interrupted;
    case 'completed':
    case 'completed_with_warnings':
      return exitCodes.ok;
    case 'failed':
    case 'cancelled':
    case 'budget_exceeded':
      return exitCodes.endedBadly;
  }
}
