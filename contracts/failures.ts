import type { ReachedLimit } from './limits.js';
import { withoutCredentials } from './secrets.js';

/** What kind of thing went wrong, each with what it means for the caller. */
export const failureCategories = {
  input: 'What was passed is not valid: correct the call.',
  not_found: 'What the call names does not exist.',
  conflict: 'It is in use, held or taken at the moment, or has been superseded.',
  setup: 'Something is not set up: credentials, rights, migrations, the configuration file, an installation.',
  model: 'The model did not do what was asked, or its service rejected the request.',
  agent: "The step's work failed where it ran: the agent, the host's activity, or their worker.",
  budget: 'A limit is used up: cost, turns, time, or what a sandbox allows.',
  unavailable:
    'Postgres, Temporal or the model service does not answer at the moment, or the client is closed.',
  ended: 'The chain was ended from outside: cancelled, terminated, or its rows are gone.',
  internal: 'An unexpected error of Session Chain itself.',
} as const;

export type FailureCategory = keyof typeof failureCategories;

/**
 * Everything that can go wrong, as a closed list. Each code says what it means (`summary`, which is all that Temporal's
 * histories hold of a failure), which kind it is of (`category`), whether the same call may succeed when it is simply
 * made again (`retryable`), and what a person can do about it (`remedy`). Remedies are read by callers of the library,
 * in the Web UI and in the database: they name no command; the command line has its own where it has more to say.
 */
const failures = {
  INTERNAL: {
    summary: 'An unexpected error.',
    category: 'internal',
    retryable: true,
    remedy: 'Report it, with the message and the log of the process; if it may be temporary, call again.',
  },
  INVALID_INPUT: {
    summary: 'The input is not valid.',
    category: 'input',
    retryable: false,
    remedy: 'Correct the input and call again.',
  },
  INVALID_CONFIG: {
    summary: 'The definition of the chain is not valid.',
    category: 'setup',
    retryable: false,
    remedy: 'Correct the configuration file that the message names, then start the worker again.',
  },
  PROMPT_FAILED: {
    summary: 'The prompt of the step could not be made.',
    category: 'setup',
    retryable: false,
    remedy:
      'Correct the prompt in the configuration file, restart the workers, and start the chain again; nothing was spent.',
  },
  ACTIVITY_STEP_FAILED: {
    summary: "The host's activity failed.",
    category: 'agent',
    retryable: false,
    remedy:
      'Look at the activity and its worker in the Temporal UI, then start the chain again; committed steps are not repeated.',
  },
  PROJECT_NOT_FOUND: {
    summary: 'The project is not in the table projects.',
    category: 'not_found',
    retryable: false,
    remedy: 'Insert the row in projects first, or check the project id.',
  },
  VERSION_NOT_FOUND: {
    summary: 'The version is not in the table project_versions.',
    category: 'not_found',
    retryable: false,
    remedy: 'Insert the row in project_versions first, or check the version id.',
  },
  VERSION_OF_ANOTHER_PROJECT: {
    summary: 'The version belongs to another project.',
    category: 'input',
    retryable: false,
    remedy: 'Pass the project that the version belongs to.',
  },
  CHAIN_NOT_FOUND: {
    summary: 'No such chain was ever started.',
    category: 'not_found',
    retryable: false,
    remedy: 'Start the chain first, or check project, version and build id.',
  },
  REQUEST_LOST: {
    summary:
      'What was asked for is no longer in the database: its row was deleted, or the database went back to before it.',
    category: 'ended',
    retryable: false,
    remedy:
      'Ask again, with the same build id or message id; what the database knows to be done is not repeated.',
  },
  DATABASE_WENT_BACK: {
    summary: 'The database went back to an earlier state: it lacks what it had confirmed.',
    category: 'ended',
    retryable: false,
    remedy:
      'No action needed: the work goes on from what the database knows, and what it lost is done again.',
  },
  CHAIN_TERMINATED: {
    summary: 'The workflow is over and its chain was not closed.',
    category: 'ended',
    retryable: false,
    remedy: 'Start the chain again; what the database knows to be committed is not repeated.',
  },
  CHAT_NOT_FOUND: {
    summary: 'Nothing was asked in this chat.',
    category: 'not_found',
    retryable: false,
    remedy: 'Ask something in the chat first, or check its id.',
  },
  CHAT_BUSY: {
    summary: 'Too many questions of this chat, or of its project, are pending.',
    category: 'conflict',
    retryable: false,
    remedy: 'Wait for a reply, then ask again with the same message id.',
  },
  MESSAGE_ID_REUSED: {
    summary: 'The message id was used for another question.',
    category: 'conflict',
    retryable: false,
    remedy: 'Give every question a message id of its own; repeat one only to get its reply again.',
  },
  KEY_REUSED: {
    summary: 'The key was used for another rewind.',
    category: 'conflict',
    retryable: false,
    remedy: 'Give every rewind a key of its own; repeat one only to get its result again.',
  },
  KEY_NOT_FOUND: {
    summary: 'There is no such key of the HTTP server.',
    category: 'not_found',
    retryable: false,
    remedy: 'Look at the list of keys for their ids.',
  },
  WORKSPACE_NOT_ALLOWED: {
    summary: 'The workspace is not allowed on this worker.',
    category: 'input',
    retryable: false,
    remedy: 'Pass an existing folder under one of SESSION_CHAIN_WORKSPACE_ROOTS.',
  },
  WORKSPACE_CHANGED: {
    summary: "The workspace is not the project's folder but another copy.",
    category: 'conflict',
    retryable: false,
    remedy:
      'Bring the folder back, with its file .session-chain/workspace. If this copy is to be the folder from now on: unbind the project from the old one (unbindWorkspace), and start again.',
  },
  WORKSPACE_TAKEN: {
    summary: 'The workspace is the folder of another project.',
    category: 'conflict',
    retryable: false,
    remedy:
      'Give every project a folder of its own, none inside another. If the other project gives up this folder: unbind that project from it (unbindWorkspace).',
  },
  PROJECT_BUSY: {
    summary: 'A chain holds the project.',
    category: 'conflict',
    retryable: false,
    remedy: 'Wait for the chain that holds the project, or cancel it.',
  },
  PROJECT_QUEUE_FULL: {
    summary: 'As many chains of the project wait already as may wait.',
    category: 'conflict',
    retryable: true,
    remedy: 'Start the chain again once one of them has ended, or cancel those that are not needed.',
  },
  HOLDER_ENDING: {
    summary: 'The chain that held the project is gone; the lease of its agent has not expired yet.',
    category: 'conflict',
    retryable: true,
    remedy: 'No action needed: the project is taken over once the lease has expired.',
  },
  SESSION_NOT_IN_STORE: {
    summary: 'The transcript of the session to go on from is not in the store.',
    category: 'not_found',
    retryable: false,
    remedy:
      'Start the chain again with `recover`, which goes on from the nearest session in the store; or import the transcript.',
  },
  SESSION_ARCHIVED: {
    summary: 'The transcript of the session is in the archive.',
    category: 'not_found',
    retryable: false,
    remedy: 'Restore the session from the archive, then call again.',
  },
  ARCHIVE_NOT_CONFIGURED: {
    summary: 'No archive is configured.',
    category: 'setup',
    retryable: false,
    remedy: 'Set SESSION_CHAIN_ARCHIVE for the workers, to a folder or to s3://bucket/prefix.',
  },
  ARCHIVE_UNAVAILABLE: {
    summary: 'The archive does not take or give what it is asked for.',
    category: 'unavailable',
    retryable: true,
    remedy:
      'Look at the archive: its address, rights and free space. Nothing was deleted; the next run goes on.',
  },
  ARCHIVE_DAMAGED: {
    summary: 'A file of the archive is not what was written.',
    category: 'internal',
    retryable: false,
    remedy:
      'Bring the file that the message names back from a copy of the archive; nothing of it was restored or dropped.',
  },
  RUN_NOT_FOUND: {
    summary: 'There is no such run of retention.',
    category: 'not_found',
    retryable: false,
    remedy: 'Look at the status of retention for the last run; Temporal forgets old ones.',
  },
  NOT_IN_ARCHIVE: {
    summary: 'The archive holds nothing of what is to be restored.',
    category: 'not_found',
    retryable: false,
    remedy: 'Check the ids and the month; what was never archived is still where it was.',
  },
  SESSION_DIFFERS: {
    summary: 'The session in the store is not the one in the archive.',
    category: 'conflict',
    retryable: false,
    remedy: 'Nothing was restored. Keep the one in the store, or restore into another database.',
  },
  PROJECT_ON_HOLD: {
    summary: 'The project is on legal hold.',
    category: 'conflict',
    retryable: false,
    remedy: 'Release the hold first, if that is allowed.',
  },
  PROJECT_BEING_ERASED: {
    summary: 'The project is being erased.',
    category: 'conflict',
    retryable: false,
    remedy: 'Nothing can be begun in this project until its erasure is finished.',
  },
  ERASURE_NOT_FOUND: {
    summary: 'No erasure of the project was requested.',
    category: 'not_found',
    retryable: false,
    remedy: 'Check the project id. An erasure is known to the database in which it was requested.',
  },
  SESSION_IN_USE: {
    summary: 'The transcript is still needed.',
    category: 'conflict',
    retryable: false,
    remedy: 'No action needed: a head, a version or an attempt needs this transcript.',
  },
  SESSION_ALREADY_KNOWN: {
    summary: 'The session belongs to another operation.',
    category: 'conflict',
    retryable: false,
    remedy: 'Record every Claude operation once, under the session id on which it ended.',
  },
  TRANSCRIPT_NOT_FOUND: {
    summary: 'There is no such local transcript.',
    category: 'not_found',
    retryable: false,
    remedy: 'Import on the machine where the session was made, or name its folder of Claude Code.',
  },
  TRANSCRIPT_UNREADABLE: {
    summary: 'The local transcript cannot be read.',
    category: 'input',
    retryable: false,
    remedy: 'Repair or restore the file that the message names; nothing was imported.',
  },
  TRANSCRIPT_EXISTS: {
    summary: 'Another local transcript of this session exists.',
    category: 'conflict',
    retryable: false,
    remedy: 'Move that file away, or export to another folder of Claude Code; nothing was overwritten.',
  },
  WAIT_TIMED_OUT: {
    summary: 'The wait timed out.',
    category: 'conflict',
    retryable: true,
    remedy:
      'Wait longer, or read the head as it is now. If the workflow of the chain is gone, reconcile the project, which closes the chain.',
  },
  FENCED: {
    summary: 'Its right to go on has ended, so it changed nothing.',
    category: 'conflict',
    retryable: false,
    remedy:
      'No action needed where the message says that the work goes on or is over; else start the chain again, which repeats nothing that is committed.',
  },
  AGENT_NOT_FOUND: {
    summary: 'Claude Code is not installed on the worker.',
    category: 'setup',
    retryable: false,
    remedy:
      'Reinstall the dependencies with optional packages, or set SESSION_CHAIN_AGENT_PATH to a claude binary.',
  },
  SANDBOX_UNAVAILABLE: {
    summary: 'The sandbox of the agents does not work on this worker.',
    category: 'setup',
    retryable: false,
    remedy:
      'Install or set what the message names. SESSION_CHAIN_SANDBOX=none runs agents without a wall: they can do what the user of the worker can.',
  },
  AGENT_FAILED: {
    summary: 'The agent failed.',
    category: 'agent',
    retryable: true,
    remedy: "Look at the attempt's error and at the worker's log.",
  },
  CREDENTIALS_MISSING: {
    summary: 'No model credential is configured.',
    category: 'setup',
    retryable: false,
    remedy:
      'Set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, or the Bedrock, Vertex or Foundry switches for the worker.',
  },
  MODEL_REJECTED: {
    summary: 'The model service rejected the request.',
    category: 'model',
    retryable: false,
    remedy: 'Correct what the model service names in its message, then start again.',
  },
  MODEL_UNAUTHORIZED: {
    summary: 'The model service did not accept the credential, or its account cannot pay.',
    category: 'setup',
    retryable: false,
    remedy: "Check the model credential in the worker's environment, and the billing of its account.",
  },
  MODEL_REFUSED: {
    summary: 'The model declined to do the step.',
    category: 'model',
    retryable: false,
    remedy: 'Change the instruction; the model declined to work on this one.',
  },
  ANSWER_UNFINISHED: {
    summary: 'The model does not finish its answer.',
    category: 'model',
    retryable: false,
    remedy:
      'Ask for less, or rephrase; if the output limit cut the answer, raise CLAUDE_CODE_MAX_OUTPUT_TOKENS. A step goes on when started again.',
  },
  CONTEXT_FULL: {
    summary: 'The context of the model is full, and compacting it did not help.',
    category: 'model',
    retryable: false,
    remedy:
      'Ask for less in a new chain: it goes on from the head, or with a lower reset.contextTokens from a fresh session.',
  },
  MODEL_UNAVAILABLE: {
    summary: 'The model service is overloaded or limits the rate.',
    category: 'unavailable',
    retryable: true,
    remedy:
      'No action needed: a step waits and is tried again. If it persists, check the limits of the account.',
  },
  STORE_REFUSED: {
    summary: 'The transcript could not be stored to its end.',
    category: 'unavailable',
    retryable: true,
    remedy: 'Check that the database answers and has room; the attempt is tried again.',
  },
  SUBMISSION_INVALID: {
    summary: 'The model submitted no value that fits the schema.',
    category: 'model',
    retryable: false,
    remedy: "Look at the attempt's transcript and at the schema of the step.",
  },
  COMPACTION_FAILED: {
    summary: 'The compaction failed.',
    category: 'agent',
    retryable: false,
    remedy: 'No action needed: the uncompacted session stays the head.',
  },
  BUDGET_EXCEEDED: {
    summary: 'A budget is used up.',
    category: 'budget',
    retryable: false,
    remedy: 'Raise the limit that was reached, and start the chain again.',
  },
  STEP_TIMED_OUT: {
    summary: 'The step took longer than its time limit.',
    category: 'budget',
    retryable: false,
    remedy: "Raise the step's time limit and start the chain again.",
  },
  SANDBOX_LIMIT: {
    summary: 'It used more than its sandbox allows.',
    category: 'budget',
    retryable: false,
    remedy:
      'If the work needs more: raise the limit that was reached (sandbox.limits), restart the workers, and start again.',
  },
  WORKER_LOST: {
    summary: 'The worker was stopped or lost in the middle of the step.',
    category: 'agent',
    retryable: true,
    remedy: 'Check that a worker runs and has room, and that none hangs, then start the chain again.',
  },
  CANCELLED: {
    summary: 'The chain was cancelled.',
    category: 'ended',
    retryable: false,
    remedy: 'Start the chain again to go on from its last committed step.',
  },
  PAYLOAD_UNKNOWN: {
    summary: 'The payload has a version that this worker does not know.',
    category: 'setup',
    retryable: false,
    remedy: 'Start the chain again from a client of the same release as the workers.',
  },
  OTHER_INSTALLATION: {
    summary: 'It belongs to another installation: another database.',
    category: 'setup',
    retryable: true,
    remedy:
      'Give each database a task queue or a namespace of its own, and start a worker with the right database (DATABASE_URL).',
  },
  INSTALLATION_IN_USE: {
    summary: 'Workers use the database.',
    category: 'conflict',
    retryable: false,
    remedy:
      'Stop the workers, wait a minute, and call again; `force` does it all the same, where none of them runs any more.',
  },
  DATABASE_UNAVAILABLE: {
    summary: 'The database cannot be reached, or does not answer in time.',
    category: 'unavailable',
    retryable: true,
    remedy: 'Check the address of the database (DATABASE_URL) and that Postgres accepts connections.',
  },
  DATABASE_REFUSED: {
    summary: 'The database refuses what is asked of it.',
    category: 'setup',
    retryable: true,
    remedy:
      "Correct what the message names: the credentials and rights of the service's role, or a rule of your own tables.",
  },
  MIGRATIONS_BEHIND: {
    summary: 'The database lacks migrations of this version.',
    category: 'setup',
    retryable: false,
    remedy: 'Run the migrations of this version.',
  },
  MIGRATION_FAILED: {
    summary: 'The migration failed.',
    category: 'setup',
    retryable: false,
    remedy: 'Nothing was changed. Correct what the message names, then migrate again.',
  },
  TEMPORAL_UNAVAILABLE: {
    summary: 'Temporal cannot be reached, or does not answer in time.',
    category: 'unavailable',
    retryable: true,
    remedy: 'Check the address of Temporal (TEMPORAL_ADDRESS) and that the server is up.',
  },
  CLIENT_CLOSED: {
    summary: 'The client is closed.',
    category: 'unavailable',
    retryable: false,
    remedy:
      'Make another client and call it. What the call had begun goes on: the same call, with the same ids, finds it.',
  },
  TEMPORAL_REFUSED: {
    summary: 'Temporal refuses the call.',
    category: 'setup',
    retryable: false,
    remedy:
      'Correct what the message names: the API key, the namespace, or the version of the Temporal server.',
  },
  SEARCH_ATTRIBUTES_NOT_REGISTERED: {
    summary: 'The namespace lacks the search attributes.',
    category: 'setup',
    retryable: false,
    remedy:
      'Register them in the namespace, or go without them: searchAttributes `auto` or `off` (SESSION_CHAIN_SEARCH_ATTRIBUTES).',
  },
  TEMPORAL_CLI_NOT_FOUND: {
    summary: 'The Temporal CLI was not found.',
    category: 'setup',
    retryable: false,
    remedy:
      'Install the Temporal CLI (https://docs.temporal.io/cli), or set TEMPORAL_CLI_PATH or TEMPORAL_ADDRESS.',
  },
  POSTGRES_NOT_FOUND: {
    summary: 'No Postgres was found.',
    category: 'setup',
    retryable: false,
    remedy:
      'Install Postgres 15 or newer, or set PG_BIN_DIR to its bin folder or DATABASE_URL to a running database.',
  },
  SERVER_START_FAILED: {
    summary: 'A server did not start.',
    category: 'unavailable',
    retryable: false,
    remedy: "Look at the end of the server's log that the message names.",
  },
  STATE_DIR_BUSY: {
    summary: 'Another launcher uses the state folder.',
    category: 'conflict',
    retryable: false,
    remedy: 'Stop the launcher that uses the state folder, or use another folder.',
  },
} as const satisfies Record<
  string,
  { summary: string; category: FailureCategory; retryable: boolean; remedy: string }
>;

export type FailureCode = keyof typeof failures;

/** A failure as it is stored and sent: ids and short text only. */
export interface Failure {
  code: FailureCode;
  message: string;
  remedy: string;
  /** Where a limit was reached: which one. */
  reached?: ReachedLimit;
}

/**
 * An error that says what happened (message), which case it is (code), of which kind (category), and what to do (remedy).
 *
 * @example
 * try {
 *   await sessionChain.start(request);
 * } catch (error) {
 *   if (!(error instanceof SessionChainError) || error.category !== 'unavailable') throw error;
 *   await tryAgainLater(request);
 * }
 */
export class SessionChainError extends Error {
  override readonly name = 'SessionChainError';
  readonly code: FailureCode;
  readonly category: FailureCategory;
  readonly remedy: string;
  /** When trying again makes sense, where the error knows it. */
  readonly retryAfterMs: number | undefined;
  /** Where a limit was reached: which one. */
  readonly reached: ReachedLimit | undefined;

  constructor(
    code: FailureCode,
    message: string,
    remedy?: string,
    options?: { cause?: unknown; retryAfterMs?: number | undefined; reached?: ReachedLimit | undefined },
  ) {
    // A message is shown, logged and stored, and may quote a library that quotes an address.
    super(withoutCredentials(message), options);
    this.code = code;
    this.category = failures[code].category;
    this.remedy = remedy === undefined ? failures[code].remedy : withoutCredentials(remedy);
    this.retryAfterMs = options?.retryAfterMs;
    this.reached = options?.reached;
  }
}

/** Every failure code. */
export const failureCodes = Object.keys(failures) as FailureCode[];

/** Whether a value, such as the type of a Temporal failure, is one of the codes. */
export function isFailureCode(value: unknown): value is FailureCode {
  return typeof value === 'string' && Object.hasOwn(failures, value);
}

/**
 * The category of a code, for where only the code travelled.
 *
 * @example
 * const { failure } = await sessionChain.wait(key);
 * if (failure && categoryOf(failure.code) === 'setup') await callTheOperator(failure);
 */
export function categoryOf(code: FailureCode): FailureCategory {
  return failures[code].category;
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

/** Any error as one of ours; an unknown one is INTERNAL. */
export function toSessionChainError(error: unknown): SessionChainError {
  if (error instanceof SessionChainError) return error;
  return new SessionChainError('INTERNAL', unexpected(error), undefined, { cause: error });
}

function unexpected(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // The error that holds several others has no message of its own.
  const said = error instanceof AggregateError ? error.errors.map(unexpected).join('; ') : error.message;
  return error.name === 'Error' && said !== '' ? said : `${error.name}: ${said || 'no message'}`;
}

export function toFailure({ code, message, remedy, reached }: SessionChainError): Failure {
  return { code, message, remedy, ...(reached ? { reached } : {}) };
}
