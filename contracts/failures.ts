/**
 * Everything that can go wrong, as a closed list. Each code says what it means (`summary`, which is all that Temporal's
 * histories hold of a failure), whether the same call may succeed when it is simply made again (`retryable`), and what a
 * person does about it (`remedy`).
 */
const failures = {
  INTERNAL: {
    summary: 'An unexpected error.',
    retryable: true,
    remedy: "Look at the worker's log; if the error stays, report it with its stack.",
  },
  INVALID_INPUT: {
    summary: 'The input is not valid.',
    retryable: false,
    remedy: 'Correct the input and call again.',
  },
  INVALID_CONFIG: {
    summary: 'The definition of the chain is not valid.',
    retryable: false,
    remedy: 'Correct the configuration file that the message names, then start the worker again.',
  },
  PROMPT_FAILED: {
    summary: 'The prompt of the step could not be made.',
    retryable: false,
    remedy:
      'Correct the prompt in the configuration file, restart the workers, and start the chain again; nothing was spent.',
  },
  ACTIVITY_STEP_FAILED: {
    summary: "The host's activity failed.",
    retryable: false,
    remedy:
      'Look at the activity and its worker in the Temporal UI, then start the chain again; committed steps are not repeated.',
  },
  PROJECT_NOT_FOUND: {
    summary: 'The project is not in the table projects.',
    retryable: false,
    remedy: 'Insert the row in projects first, or check the project id.',
  },
  VERSION_NOT_FOUND: {
    summary: 'The version is not in the table project_versions.',
    retryable: false,
    remedy: 'Insert the row in project_versions first, or check the version id.',
  },
  VERSION_OF_ANOTHER_PROJECT: {
    summary: 'The version belongs to another project.',
    retryable: false,
    remedy: 'Pass the project that the version belongs to.',
  },
  CHAIN_NOT_FOUND: {
    summary: 'No such chain was ever started.',
    retryable: false,
    remedy: 'Start the chain first, or check project, version and build id.',
  },
  REQUEST_LOST: {
    summary:
      'What was asked for is no longer in the database: its row was deleted, or the database went back to before it.',
    retryable: false,
    remedy:
      'Ask again, with the same build id or message id; what the database knows to be done is not repeated.',
  },
  DATABASE_WENT_BACK: {
    summary: 'The database went back to an earlier state: it lacks what it had confirmed.',
    retryable: false,
    remedy:
      'No action needed: the work goes on from what the database knows, and what it lost is done again.',
  },
  CHAIN_TERMINATED: {
    summary: 'The workflow is over and its chain was not closed.',
    retryable: false,
    remedy: 'Start the chain again; what the database knows to be committed is not repeated.',
  },
  CHAT_NOT_FOUND: {
    summary: 'Nothing was asked in this chat.',
    retryable: false,
    remedy: 'Ask something in the chat first, or check its id.',
  },
  CHAT_BUSY: {
    summary: 'Too many questions of this chat are pending.',
    retryable: false,
    remedy: 'Wait for a reply, then ask again with the same message id.',
  },
  MESSAGE_ID_REUSED: {
    summary: 'The message id was used for another question.',
    retryable: false,
    remedy: 'Give every question a message id of its own; repeat one only to get its reply again.',
  },
  KEY_REUSED: {
    summary: 'The key was used for another rewind.',
    retryable: false,
    remedy: 'Give every rewind a key of its own; repeat one only to get its result again.',
  },
  WORKSPACE_NOT_ALLOWED: {
    summary: 'The workspace is not allowed on this worker.',
    retryable: false,
    remedy: 'Pass an existing folder under one of SESSION_CHAIN_WORKSPACE_ROOTS.',
  },
  WORKSPACE_CHANGED: {
    summary: "The workspace is not the project's folder but another copy.",
    retryable: false,
    remedy:
      'Bring the folder back, with its file .session-chain/workspace. Or is this one right? Then run session-chain unbind, and start again.',
  },
  WORKSPACE_TAKEN: {
    summary: 'The workspace is the folder of another project.',
    retryable: false,
    remedy:
      'Give every project a folder of its own, none inside of another. Where the other project gives this one up: session-chain unbind.',
  },
  PROJECT_BUSY: {
    summary: 'A chain holds the project.',
    retryable: false,
    remedy: 'Wait for the chain that holds the project, or cancel it.',
  },
  HOLDER_ENDING: {
    summary: 'The chain that held the project is gone; the lease of its agent has not expired yet.',
    retryable: true,
    remedy: 'No action needed: the project is taken over once the lease has expired.',
  },
  SESSION_NOT_IN_STORE: {
    summary: 'The transcript of the session to go on from is not in the store.',
    retryable: false,
    remedy:
      'Start again with --recover, which goes on from the nearest session in the store; or import the transcript.',
  },
  SESSION_IN_USE: {
    summary: 'The transcript is still needed.',
    retryable: false,
    remedy: 'No action needed: a head, a version or an attempt needs this transcript.',
  },
  SESSION_ALREADY_KNOWN: {
    summary: 'The session belongs to another operation.',
    retryable: false,
    remedy: 'Record every Claude operation once, under the session id on which it ended.',
  },
  TRANSCRIPT_NOT_FOUND: {
    summary: 'There is no such local transcript.',
    retryable: false,
    remedy: 'Import where the session was made, or name its folder of Claude Code with --claude-dir.',
  },
  TRANSCRIPT_UNREADABLE: {
    summary: 'The local transcript cannot be read.',
    retryable: false,
    remedy: 'Mend or restore the file that the message names; nothing was imported.',
  },
  TRANSCRIPT_EXISTS: {
    summary: 'Another local transcript of this session exists.',
    retryable: false,
    remedy: 'Move that file away or pass another --claude-dir; nothing was overwritten.',
  },
  WAIT_TIMED_OUT: {
    summary: 'The wait timed out.',
    retryable: true,
    remedy:
      'Wait longer, or read the head as it is now. session-chain status closes a chain whose workflow is gone.',
  },
  FENCED: {
    summary: 'A newer attempt or another chain has taken over.',
    retryable: false,
    remedy: 'No action needed: this attempt changed nothing.',
  },
  AGENT_NOT_FOUND: {
    summary: 'Claude Code is not installed on the worker.',
    retryable: false,
    remedy:
      'Reinstall the dependencies with optional packages, or set SESSION_CHAIN_AGENT_PATH to a claude binary.',
  },
  AGENT_FAILED: {
    summary: 'The agent failed.',
    retryable: true,
    remedy: "Look at the attempt's error and at the worker's log.",
  },
  CREDENTIALS_MISSING: {
    summary: 'No model credential is configured.',
    retryable: false,
    remedy:
      'Set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, or the Bedrock, Vertex or Foundry switches for the worker.',
  },
  MODEL_REJECTED: {
    summary: 'The model service rejected the request.',
    retryable: false,
    remedy: 'Correct what the model service names in its message, then start again.',
  },
  MODEL_UNAUTHORIZED: {
    summary: 'The model service did not accept the credential, or its account cannot pay.',
    retryable: false,
    remedy: "Check the model credential in the worker's environment, and the billing of its account.",
  },
  MODEL_REFUSED: {
    summary: 'The model declined to do the step.',
    retryable: false,
    remedy: 'Change the instruction; the model declined to work on this one.',
  },
  ANSWER_UNFINISHED: {
    summary: 'The model does not finish its answer.',
    retryable: false,
    remedy:
      'Ask for less, or in other words; where the output limit cut the answer, raise CLAUDE_CODE_MAX_OUTPUT_TOKENS. A step goes on when started again.',
  },
  CONTEXT_FULL: {
    summary: 'The context of the model is full, and compacting it did not help.',
    retryable: false,
    remedy:
      'Ask for less in a new chain: it goes on from the head, or with a lower reset.contextTokens from a fresh session.',
  },
  MODEL_UNAVAILABLE: {
    summary: 'The model service is overloaded or limits the rate.',
    retryable: true,
    remedy: 'Wait; the model service is overloaded or limits the rate.',
  },
  STORE_REFUSED: {
    summary: 'The transcript could not be stored to its end.',
    retryable: true,
    remedy: 'Check the database; the transcript could not be stored to its end.',
  },
  SUBMISSION_INVALID: {
    summary: 'The model submitted no value that fits the schema.',
    retryable: false,
    remedy: "Look at the attempt's transcript and at the schema of the step.",
  },
  COMPACTION_FAILED: {
    summary: 'The compaction failed.',
    retryable: false,
    remedy: 'No action needed: the uncompacted session stays the head.',
  },
  BUDGET_EXCEEDED: {
    summary: 'A budget is used up.',
    retryable: false,
    remedy: 'Raise the limit that the message names, and start the chain again.',
  },
  STEP_TIMED_OUT: {
    summary: 'The step took longer than its time limit.',
    retryable: false,
    remedy: "Raise the step's time limit and start the chain again.",
  },
  WORKER_LOST: {
    summary: 'The worker was stopped or lost in the middle of the step.',
    retryable: true,
    remedy: 'Check that a worker runs and has room, and that none hangs, then start the chain again.',
  },
  CANCELLED: {
    summary: 'The chain was cancelled.',
    retryable: false,
    remedy: 'Start the chain again to go on from its last committed step.',
  },
  PAYLOAD_UNKNOWN: {
    summary: 'The payload has a version that this worker does not know.',
    retryable: false,
    remedy: 'Start the chain again from a client of the same release as the workers.',
  },
  DATABASE_UNAVAILABLE: {
    summary: 'The database cannot be reached.',
    retryable: true,
    remedy: 'Check DATABASE_URL and that Postgres accepts connections.',
  },
  MIGRATIONS_BEHIND: {
    summary: 'The database lacks migrations of this version.',
    retryable: false,
    remedy: 'Run: session-chain migrate',
  },
  MIGRATION_FAILED: {
    summary: 'The migration failed.',
    retryable: false,
    remedy: 'Nothing was changed. Mend what the message names, then run: session-chain migrate',
  },
  TEMPORAL_UNAVAILABLE: {
    summary: 'Temporal cannot be reached.',
    retryable: true,
    remedy: 'Check TEMPORAL_ADDRESS and that the Temporal server is up.',
  },
  SEARCH_ATTRIBUTES_NOT_REGISTERED: {
    summary: 'The namespace lacks the search attributes.',
    retryable: false,
    remedy:
      'Register them (session-chain doctor prints the command) or set SESSION_CHAIN_SEARCH_ATTRIBUTES=off.',
  },
  TEMPORAL_CLI_NOT_FOUND: {
    summary: 'The Temporal CLI was not found.',
    retryable: false,
    remedy:
      'Install the Temporal CLI (https://docs.temporal.io/cli), or set TEMPORAL_CLI_PATH or TEMPORAL_ADDRESS.',
  },
  POSTGRES_NOT_FOUND: {
    summary: 'No Postgres was found.',
    retryable: false,
    remedy:
      'Install Postgres 15 or newer, or set PG_BIN_DIR to its bin folder or DATABASE_URL to a running database.',
  },
  SERVER_START_FAILED: {
    summary: 'A server did not start.',
    retryable: false,
    remedy: "Look at the end of the server's log that the message names.",
  },
  STATE_DIR_BUSY: {
    summary: 'Another launcher uses the state folder.',
    retryable: false,
    remedy: 'Stop the launcher that uses the state folder, or use another folder.',
  },
} as const satisfies Record<string, { summary: string; retryable: boolean; remedy: string }>;

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

/** A failure of which only the code is known. */
export function failureOfCode(code: FailureCode): Failure {
  const { summary, remedy } = failures[code];
  return { code, message: summary, remedy };
}

/** The remedy of a code, for where only the code travelled. */
export function remedyFor(code: FailureCode): string {
  return failures[code].remedy;
}

/** Any error as one of ours; what is not known is INTERNAL. */
export function toSessionChainError(error: unknown): SessionChainError {
  if (error instanceof SessionChainError) return error;
  return new SessionChainError(
    'INTERNAL',
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
