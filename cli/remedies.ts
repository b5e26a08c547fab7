import { type Failure, type FailureCode, isFailureCode, remedyFor } from '../contracts/failures.js';

/** What to do about a failure in the words of the command line, where commands and options say more than the library can. */
export const cliRemedies: Partial<Record<FailureCode, string>> = {
  INTERNAL: 'Set SESSION_CHAIN_LOG_LEVEL=debug to see where it comes from; report it where it stays.',
  PROJECT_NOT_FOUND:
    'Check the project id, or insert its row first; start --create inserts it where session-chain migrate made the tables.',
  VERSION_NOT_FOUND:
    'Check the version id, or insert its row first; start --create inserts it where session-chain migrate made the tables.',
  VERSION_OF_ANOTHER_PROJECT:
    'Pass the project that the version belongs to, or another version: its id is unique over all projects.',
  CHAIN_NOT_FOUND:
    'Start the chain first, or check its ids: session-chain status --project lists the chains of a project, and names a build that takes --build.',
  CHAIN_TERMINATED:
    'Start the chain again: session-chain start with the same version and build; what is committed is not repeated.',
  WORKSPACE_CHANGED:
    'Bring the folder back, with its file .session-chain/workspace. If this copy is to be the folder from now on: session-chain unbind, and start again.',
  WORKSPACE_TAKEN:
    'Give every project a folder of its own, none inside another. If the other project gives up this folder: session-chain unbind with its id.',
  PROJECT_BUSY: 'Wait for the chain that holds the project, or stop it: session-chain cancel.',
  PROJECT_QUEUE_FULL:
    'Start the chain again once one of them has ended, or take out those that are not needed: session-chain status --project lists them, session-chain cancel.',
  SESSION_NOT_IN_STORE:
    'Start again with --recover, which goes on from the nearest session in the store; or import the transcript: session-chain import.',
  SESSION_ARCHIVED:
    'Restore it: session-chain restore with its project and --session; then run the command again.',
  TRANSCRIPT_NOT_FOUND:
    'Import on the machine where the session was made, or name its folder of Claude Code with --claude-dir.',
  TRANSCRIPT_EXISTS: 'Move that file away or pass another --claude-dir; nothing was overwritten.',
  WAIT_TIMED_OUT:
    'Wait longer (--timeout), or read the head as it is now. session-chain status closes a chain whose workflow is gone.',
  MIGRATIONS_BEHIND: 'Run: session-chain migrate',
  MIGRATION_FAILED: 'Nothing was changed. Correct what the message names, then run: session-chain migrate',
  SEARCH_ATTRIBUTES_NOT_REGISTERED:
    'Register them (session-chain doctor prints the command) or set SESSION_CHAIN_SEARCH_ATTRIBUTES=off.',
};

/** What remedies name in backticks, and limits in brackets, as the command line has it. */
const optionNames: Readonly<Record<string, string>> = {
  cwd: '--cwd',
  force: '--force',
  recover: '--recover',
  workspace: '--workspace',
  reconcile: 'session-chain status --project',
  tree: 'session-chain tree',
  restore: 'session-chain restore --session',
  'budget.maxCostUsd': '--max-cost-usd',
  'budget.maxTurns': '--max-turns',
  'budget.timeoutMs': '--max-time',
};

/**
 * The remedy of a failure for the terminal: the common one of its code in the words of the command line, and one of its own
 * with the options that the command line has.
 */
export function remedyInWords({ code, remedy }: Pick<Failure, 'code' | 'remedy'>): string {
  const own = remedy === remedyFor(code) ? cliRemedies[code] : undefined;
  if (own !== undefined) return own;
  return remedy
    .replace(/`(\w+)`/g, (quoted, name: string) => optionNames[name] ?? quoted)
    .replace(/(?<=\()budget\.\w+(?=\))/g, (name) => optionNames[name] ?? name);
}

/** The same for every failure in a document that is printed. */
export function inWords(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { code, remedy } = value as { code?: unknown; remedy?: unknown };
  if (!isFailureCode(code) || typeof remedy !== 'string') return value;
  return { ...value, remedy: remedyInWords({ code, remedy }) };
}
