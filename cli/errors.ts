import { CommanderError } from 'commander';
import { type FailureCode, SessionChainError } from '../contracts/failures.js';
import { type OutputFormat, jsonText, printable } from './output.js';

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
    'an unexpected error; sync: under 95 % of the projects are in sync; import --all: some heads failed',
  badInput: 'wrong usage, malformed input or environment, workspace not allowed',
  notFound: 'no such project, version or chain',
  conflict: 'another chain or process holds the project, the session or the folder',
  endedBadly: 'the chain failed, was cancelled or ran out of budget (start --wait)',
  unavailable: 'Postgres, Temporal or the model service cannot be reached',
  setUp: 'something is not set up: migrations, credentials, the agent; doctor found a problem',
  interrupted: 'interrupted by Ctrl-C',
};

const exitCodeNames: Record<FailureCode, keyof typeof exitCodes> = {
  INTERNAL: 'unexpected',
  INVALID_INPUT: 'badInput',
  INVALID_CONFIG: 'badInput',
  PROMPT_FAILED: 'endedBadly',
  ACTIVITY_STEP_FAILED: 'endedBadly',
  PROJECT_NOT_FOUND: 'notFound',
  VERSION_NOT_FOUND: 'notFound',
  VERSION_OF_ANOTHER_PROJECT: 'badInput',
  CHAIN_NOT_FOUND: 'notFound',
  REQUEST_LOST: 'endedBadly',
  DATABASE_WENT_BACK: 'endedBadly',
  CHAIN_TERMINATED: 'endedBadly',
  CHAT_NOT_FOUND: 'notFound',
  CHAT_BUSY: 'conflict',
  MESSAGE_ID_REUSED: 'conflict',
  KEY_REUSED: 'conflict',
  WORKSPACE_NOT_ALLOWED: 'badInput',
  WORKSPACE_CHANGED: 'conflict',
  WORKSPACE_TAKEN: 'conflict',
  PROJECT_BUSY: 'conflict',
  HOLDER_ENDING: 'conflict',
  SESSION_NOT_IN_STORE: 'conflict',
  SESSION_IN_USE: 'conflict',
  SESSION_ALREADY_KNOWN: 'conflict',
  TRANSCRIPT_NOT_FOUND: 'notFound',
  TRANSCRIPT_UNREADABLE: 'badInput',
  TRANSCRIPT_EXISTS: 'conflict',
  WAIT_TIMED_OUT: 'conflict',
  FENCED: 'conflict',
  AGENT_NOT_FOUND: 'setUp',
  AGENT_FAILED: 'endedBadly',
  CREDENTIALS_MISSING: 'setUp',
  MODEL_REJECTED: 'endedBadly',
  MODEL_UNAUTHORIZED: 'setUp',
  MODEL_REFUSED: 'endedBadly',
  ANSWER_UNFINISHED: 'endedBadly',
  CONTEXT_FULL: 'endedBadly',
  MODEL_UNAVAILABLE: 'unavailable',
  STORE_REFUSED: 'unavailable',
  SUBMISSION_INVALID: 'endedBadly',
  COMPACTION_FAILED: 'endedBadly',
  BUDGET_EXCEEDED: 'endedBadly',
  STEP_TIMED_OUT: 'endedBadly',
  WORKER_LOST: 'endedBadly',
  CANCELLED: 'endedBadly',
  PAYLOAD_UNKNOWN: 'endedBadly',
  DATABASE_UNAVAILABLE: 'unavailable',
  MIGRATIONS_BEHIND: 'setUp',
  MIGRATION_FAILED: 'setUp',
  TEMPORAL_UNAVAILABLE: 'unavailable',
  SEARCH_ATTRIBUTES_NOT_REGISTERED: 'setUp',
  TEMPORAL_CLI_NOT_FOUND: 'setUp',
  POSTGRES_NOT_FOUND: 'setUp',
  SERVER_START_FAILED: 'unavailable',
  STATE_DIR_BUSY: 'conflict',
};

/** The exit code of a failure. */
export function exitCodeOf(code: FailureCode): ExitCode {
  return exitCodes[exitCodeNames[code]];
}

/** Tells of an error on stderr, as text or as one JSON document, and returns the exit code. Stdout stays empty. */
export function reportError(error: unknown, format: OutputFormat, debug: boolean): ExitCode {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
  const described = describe(error);
  const { code, message, remedy } = described;
  console.error(
    format === 'json'
      ? jsonText({ error: { code, message, remedy } })
      : printable(`error ${code}: ${message}\nwhat to do: ${remedy}`),
  );
  if (debug) console.error(error);
  return described.exitCode;
}

function describe(error: unknown): { code: string; message: string; remedy: string; exitCode: ExitCode } {
  if (error instanceof SessionChainError) {
    const { code, message, remedy } = error;
    return { code, message, remedy, exitCode: exitCodeOf(code) };
  }
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
  return {
    code: 'INTERNAL',
    message: error instanceof Error && error.message !== '' ? error.message : String(error),
    remedy: 'Set SESSION_CHAIN_LOG_LEVEL=debug to see where it comes from.',
    exitCode: exitCodes.unexpected,
  };
}

function sentence(text: string): string {
  const line = text.replace(/\s*\n\s*/g, ' ').trim();
  return `${line.charAt(0).toUpperCase()}${line.slice(1)}${/[.!?)]$/.test(line) ? '' : '.'}`;
}
