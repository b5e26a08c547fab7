/**
 * Everything that can go wrong, as a closed list. Each code says whether the same call may succeed when it is simply
 * made again (`retryable`), and what a person does about it (`remedy`).
 */
const failures = {
  INVALID_INPUT: { retryable: false, remedy: 'Correct the input and call again.' },
  INVALID_CONFIG: {
    retryable: false,
    remedy: 'Correct the configuration file that the message names, then start the worker again.',
  },
  PROMPT_FAILED: {
    retryable: false,
    remedy:
      'Correct the prompt in the configuration file, restart the workers, and start the chain again; nothing was spent.',
  },
  AFTER_ACTIVITY_FAILED: {
    retryable: false,
    remedy:
      'Look at the activity and its worker in the Temporal UI, then start the chain again; its steps are not repeated.',
  },
  PROJECT_NOT_FOUND: {
    retryable: false,
    remedy: 'Insert the row in projects first, or check the project id.',
  },
  VERSION_NOT_FOUND: {
    retryable: false,
    remedy: 'Insert the row in project_versions first, or check the version id.',
  },
  VERSION_OF_ANOTHER_PROJECT: { retryable: false, remedy: 'Pass the project that the version belongs to.' },
  CHAIN_NOT_FOUND: {
    retryable: false,
    remedy: 'Start the chain first, or check project, version and build id.',
  },
  CHAIN_TERMINATED: {
    retryable: false,
    remedy: 'Start the chain again; its committed steps are not repeated.',
  },
  CHAT_NOT_FOUND: { retryable: false, remedy: 'Ask something in the chat first, or check its id.' },
  CHAT_BUSY: { retryable: false, remedy: 'Wait for a reply, then ask again with the same message id.' },
  MESSAGE_ID_REUSED: {
    retryable: false,
    remedy: 'Give every question a message id of its own; repeat one only to get its reply again.',
  },
  WORKSPACE_NOT_ALLOWED: {
    retryable: false,
    remedy: 'Pass an existing folder under one of SESSION_CHAIN_WORKSPACE_ROOTS.',
  },
  PROJECT_BUSY: { retryable: false, remedy: 'Wait for the chain that holds the project, or cancel it.' },
  HOLDER_ENDING: {
    retryable: true,
    remedy: 'Nothing: the turn is taken over as soon as the former agent is surely dead.',
  },
  SESSION_NOT_IN_STORE: {
    retryable: false,
    remedy:
      'Start again with --recover, which goes on from the nearest session in the store; or import the transcript.',
  },
  SESSION_IN_USE: {
    retryable: false,
    remedy: 'Nothing: a head, a version or an attempt needs this transcript.',
  },
  SESSION_ALREADY_KNOWN: {
    retryable: false,
    remedy: 'Record every Claude operation once, under the session id on which it ended.',
  },
  TRANSCRIPT_NOT_FOUND: {
    retryable: false,
    remedy: 'Import where the session was made, or name its folder of Claude Code with --claude-dir.',
  },
  TRANSCRIPT_UNREADABLE: {
    retryable: false,
    remedy: 'Mend or restore the file that the message names; nothing was imported.',
  },
  TRANSCRIPT_EXISTS: {
    retryable: false,
    remedy: 'Move that file away or pass another --claude-dir; nothing was overwritten.',
  },
  WAIT_TIMED_OUT: {
    retryable: true,
    remedy:
      'Wait longer, or read the head as it is now. session-chain status closes a chain whose workflow is gone.',
  },
  FENCED: {
    retryable: false,
    remedy: 'Nothing: a newer attempt or chain has taken over and this one changed nothing.',
  },
  AGENT_NOT_FOUND: {
    retryable: false,
    remedy:
      'Reinstall the dependencies with optional packages, or set SESSION_CHAIN_AGENT_PATH to a claude binary.',
  },
  AGENT_FAILED: { retryable: true, remedy: "Look at the attempt's error and at the worker's log." },
  CREDENTIALS_MISSING: {
    retryable: false,
    remedy:
      'Set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, or the Bedrock, Vertex or Foundry switches for the worker.',
  },
  MODEL_REJECTED: {
    retryable: false,
    remedy: 'Correct what the model service names in its message, then start again.',
  },
  MODEL_UNAUTHORIZED: { retryable: false, remedy: "Check the model credential in the worker's environment." },
  MODEL_REFUSED: {
    retryable: false,
    remedy: 'Change the instruction; the model declined to work on this one.',
  },
  MODEL_UNAVAILABLE: { retryable: true, remedy: 'Wait; the model service is overloaded or limits the rate.' },
  STORE_REFUSED: {
    retryable: true,
    remedy: 'Check the database; the transcript could not be stored to its end.',
  },
  METADATA_INVALID: {
    retryable: true,
    remedy: "Look at the attempt's transcript; the model gave no valid metadata.",
  },
  COMPACTION_FAILED: { retryable: true, remedy: 'Nothing needed; the uncompacted session stays the head.' },
  BUDGET_EXCEEDED: { retryable: false, remedy: 'Raise the budget of the step and start the chain again.' },
  STEP_TIMED_OUT: { retryable: false, remedy: "Raise the step's time limit and start the chain again." },
  WORKER_LOST: {
    retryable: true,
    remedy: 'Check that a worker runs and has room, then start the chain again.',
  },
  CANCELLED: { retryable: false, remedy: 'Start the chain again to go on from its last committed step.' },
  DATABASE_UNAVAILABLE: {
    retryable: true,
    remedy: 'Check DATABASE_URL and that Postgres accepts connections.',
  },
  MIGRATIONS_BEHIND: { retryable: false, remedy: 'Run: session-chain migrate' },
  MIGRATION_FAILED: {
    retryable: false,
    remedy: 'Nothing was changed. Mend what the message names, then run: session-chain migrate',
  },
  TEMPORAL_UNAVAILABLE: {
    retryable: true,
    remedy: 'Check TEMPORAL_ADDRESS and that the Temporal server is up.',
  },
  SEARCH_ATTRIBUTES_NOT_REGISTERED: {
    retryable: false,
    remedy:
      'Register them (session-chain doctor prints the command) or set SESSION_CHAIN_SEARCH_ATTRIBUTES=off.',
  },
  TEMPORAL_CLI_NOT_FOUND: {
    retryable: false,
    remedy:
      'Install the Temporal CLI (https://docs.temporal.io/cli), or set TEMPORAL_CLI_PATH or TEMPORAL_ADDRESS.',
  },
  POSTGRES_NOT_FOUND: {
    retryable: false,
    remedy:
      'Install Postgres 15 or newer, or set PG_BIN_DIR to its bin folder or DATABASE_URL to a running database.',
  },
  SERVER_START_FAILED: {
    retryable: false,
    remedy: "Look at the end of the server's log that the message names.",
  },
  STATE_DIR_BUSY: {
    retryable: false,
    remedy: 'Stop the launcher that uses the state folder, or use another folder.',
  },
} as const satisfies Record<string, { retryable: boolean; remedy: string }>;

export type FailureCode = keyof typeof failures;

/** A failure as it is stored and sent: ids and short text only. */
export interface Failure {
  code: FailureCode;
  message: string;
  remedy: string;
}

/** An error that says what happened (message), which case it is (code) and what to do (remedy). */
export class SessionChainError extends Error {
  override readonly name = 'SessionChainError';
  readonly code: FailureCode;
  readonly remedy: string;
  /** Where the error knows when trying again makes sense. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: FailureCode,
    message: string,
    remedy?: string,
    options?: { cause?: unknown; retryAfterMs?: number },
  ) {
    super(message, options);
    this.code = code;
    this.remedy = remedy ?? failures[code].remedy;
    this.retryAfterMs = options?.retryAfterMs;
  }
}

/** Every code that there is. */
export const failureCodes = Object.keys(failures) as FailureCode[];

/** Whether a value, such as the type of a Temporal failure, is one of the codes. */
export function isFailureCode(value: unknown): value is FailureCode {
  return typeof value === 'string' && Object.hasOwn(failures, value);
}

/** Whether the same operation may succeed when it is tried again without a change. */
export function isRetryable(code: FailureCode): boolean {
  return failures[code].retryable;
}

/** The remedy of a code, for where only the code travelled. */
export function remedyFor(code: FailureCode): string {
  return failures[code].remedy;
}

/** Any error as one of ours; what is unknown counts as a failure of the agent. */
export function toSessionChainError(error: unknown): SessionChainError {
  if (error instanceof SessionChainError) return error;
  return new SessionChainError(
    'AGENT_FAILED',
    error instanceof Error ? error.message : String(error),
    undefined,
    {
      cause: error,
    },
  );
}

export function toFailure({ code, message, remedy }: SessionChainError): Failure {
  return { code, message, remedy };
}
