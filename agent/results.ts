import type {
  SDKAPIRetryMessage,
  SDKAssistantMessageError,
  SDKMessage,
  SDKResultMessage,
  SDKResultSuccess,
  SessionStoreEntry,
} from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError, type FailureCode, failureOfCode } from '../contracts/failures.js';
import {
  type Limit,
  type SandboxLimit,
  limitName,
  limitRemedy,
  sandboxLimitName,
} from '../contracts/limits.js';
import type { SandboxLimits } from '../contracts/sandbox.js';
import { startOf } from '../contracts/text.js';
import { endsWithFullContext } from '../transcript/entries.js';
import type { AgentTask, Verdict } from './kinds/kind.js';
import { kinds } from './kinds/kinds.js';
import { QuotingError, type RunLimits } from './run.js';
import { codeOfError, codeOfStatus } from './service-errors.js';

/** Model services quote requests in their messages; what is stored and sent stays short. */
const messageLength = 1000;

/** Why we ended a run ourselves. */
export type StopReason =
  | 'cancelled'
  | 'timed_out'
  | 'turns_used'
  | 'lease_lost'
  | 'store_refused'
  | 'unauthorized'
  | 'unavailable'
  | SandboxLimit;

/** What a run's messages said and its result does not. */
export interface Observations {
  /** The result of the last message that the agent was sent; null while there is none. */
  result: SDKResultMessage | null;
  /** What Claude Code called the error that it put in the model's place last; null after an answer. */
  error: SDKAssistantMessageError | null;
  /** What the message iterator threw; after an error result it always throws as well. */
  thrown: Error | null;
  compactionError: string | null;
  refused: boolean;
  /** Entries that did not reach the store: a dropped batch, or a full disk under the agent. */
  lostEntries: string | null;
  /** HTTP status of the last model request that the agent repeated; null for a connection that failed. */
  lastRetryStatus: number | null;
  /** How long the agent was going to wait before it repeated that request. */
  lastRetryDelayMs: number | null;
  /** When a rate limit that stopped the run ends, in ms since 1970. */
  rateLimitEndsAtMs: number | null;
  /** Servers of the definition that were not connected when the run began, with their status. */
  serversAway: string[];
  agentVersion: string;
  model: string;
}

export function noObservations(): Observations {
  return {
    result: null,
    error: null,
    thrown: null,
    compactionError: null,
    refused: false,
    lostEntries: null,
    lastRetryStatus: null,
    lastRetryDelayMs: null,
    rateLimitEndsAtMs: null,
    serversAway: [],
    agentVersion: '',
    model: '',
  };
}

/** The model request that Claude Code is about to repeat, its own or that of a subagent; null for any other message. */
export function retryOf(
  message: SDKMessage,
): Pick<SDKAPIRetryMessage, 'attempt' | 'max_retries' | 'retry_delay_ms' | 'error_status'> | null {
  if (message.type === 'tool_progress') return message.subagent_retry ?? null;
  return message.type === 'system' && message.subtype === 'api_retry' ? message : null;
}

/** Records what one message says; pure except for `seen`. */
export function observe(seen: Observations, message: SDKMessage): void {
  if (message.type === 'result') {
    seen.result = message;
    return;
  }
  if (message.type === 'assistant') seen.error = message.error ?? null;
  if (message.type === 'rate_limit_event') {
    const { status, resetsAt } = message.rate_limit_info;
    // Seconds since 1970.
    seen.rateLimitEndsAtMs = status === 'rejected' && resetsAt !== undefined ? resetsAt * 1000 : null;
  }
  const retry = retryOf(message);
  if (retry !== null) {
    seen.lastRetryStatus = retry.error_status;
    seen.lastRetryDelayMs = retry.retry_delay_ms;
  }
  if (message.type !== 'system') return;
  if (message.subtype === 'init') {
    seen.agentVersion = message.claude_code_version;
    seen.model = message.model;
    seen.serversAway = message.mcp_servers
      .filter(({ status }) => status !== 'connected')
      .map(({ name, status }) => `${name} (${status})`);
  } else if (message.subtype === 'status' && message.compact_result === 'failed') {
    seen.compactionError = message.compact_error ?? 'no reason given';
  } else if (message.subtype === 'model_refusal_no_fallback') {
    seen.refused = true;
  } else if (message.subtype === 'mirror_error') {
    seen.lostEntries = message.error;
  } else if (message.subtype === 'session_writes_lost' && message.lost.includes('transcript')) {
    seen.lostEntries = `${message.error_code} on the agent's disk`;
  }
}

export interface JudgedRun {
  task: AgentTask;
  seen: Observations;
  /** Why we stopped the run; null when it ended by itself. */
  stopped: StopReason | null;
  /** Why the base session could not be loaded: `missing` from the store, or the error. */
  baseFailure: 'missing' | Error | null;
  /** Why the store refused an append; null while it has not. */
  refusal: Error | null;
  /** The entries that this run added and the store acknowledged. */
  own: SessionStoreEntry[];
  /** Relative to the workspace. */
  filesTouched: string[];
  /** Stderr and exit of the agent, for messages. */
  exit: { code: number | null; signal: string | null; errorTail: string };
  timeoutMs: number;
  limitsOf?: RunLimits['limitsOf'];
  sandboxLimits: SandboxLimits;
  /** Since 1970. */
  nowMs: number;
}

/**
 * Whether a run did its step. The result message alone is not trusted: it says `success` for API errors, for a failed
 * compaction and for a transcript that was not stored. The stored transcript decides. Throws a SessionChainError that
 * names what happened.
 */
export function judgeRun(run: JudgedRun): Verdict {
  const { seen } = run;
  const refused = run.stopped === 'store_refused' || (run.stopped === null && run.refusal !== null);
  if (refused || seen.lostEntries !== null) {
    // It is then expected that something could not be stored: the database was unavailable, or another attempt has
    // begun.
    throw run.stopped === 'lease_lost' ? failureOf(run) : storeFailure(run);
  }
  if (run.baseFailure === 'missing') {
    throw failure('SESSION_NOT_IN_STORE', 'The session to go on from is not in the store.');
  }
  if (run.baseFailure instanceof SessionChainError) throw run.baseFailure;
  const result = seen.result;
  if (result?.subtype !== 'success' || (result.is_error && !isSubmitted(run))) throw failureOf(run);
  const verdict = verdictOf(run, result);
  return { ...verdict, warnings: [...serverWarnings(seen.serversAway), ...verdict.warnings] };
}

function verdictOf(run: JudgedRun, result: SDKResultSuccess): Verdict {
  const { task, own, filesTouched, stopped } = run;
  const { compactionError } = run.seen;
  try {
    return kinds[task.kind].judge({ task, result, own, filesTouched, compactionError });
  } catch (error) {
    // What a stop left undone is no failure of the step: an interrupted compaction, too, ends as a success without a summary.
    throw stopped === null ? error : failureOf(run);
  }
}

/** Whether a value has been accepted and only the text after it has failed. */
function isSubmitted({ task, own, stopped }: JudgedRun): boolean {
  const evidence = kinds[task.kind].evidence(task, own);
  return stopped === null && evidence.kind === 'finished' && evidence.value !== undefined;
}

/** A sealed session also refuses, and so does an error of ours: in both cases the store is fine. */
function storeFailure({ refusal, seen }: JudgedRun): SessionChainError {
  const cause = refusal?.cause;
  if (cause instanceof SessionChainError && (cause.code === 'FENCED' || cause.code === 'INTERNAL'))
    return cause;
  return failure(
    'STORE_REFUSED',
    `The transcript is not stored to its end: ${seen.lostEntries ?? refusal?.message ?? 'the store refused'}`,
    refusal,
  );
}

function failureOf(run: JudgedRun): SessionChainError {
  const { seen, stopped } = run;
  switch (stopped) {
    case 'cancelled':
      return failure('CANCELLED', `The ${run.task.name} step was cancelled.`);
    case 'timed_out':
      return limitReached(run, 'time', `did not end within ${run.timeoutMs / 1000} s`);
    case 'lease_lost':
      return failure('WORKER_LOST', 'The worker could not renew its lease in time, so its agent was ended.');
    case 'turns_used':
      return limitReached(run, 'turns', 'has no model turn left, nor have its subagents');
    case 'unauthorized':
      return ours('MODEL_UNAUTHORIZED', `The model service answered ${seen.lastRetryStatus ?? 401}.`);
    case 'unavailable':
      return ours(
        'MODEL_UNAVAILABLE',
        `The model service answered ${seen.lastRetryStatus ?? 'nothing'} and asks for a pause.`,
        { retryAfterMs: seen.lastRetryDelayMs ?? 0 },
      );
    case 'processes':
    case 'memoryMb':
    case 'fileMb':
    case 'openFiles':
    case 'cpuSeconds':
    case 'tmpMb':
      return sandboxLimitReached(run, stopped);
    case 'store_refused':
    case null:
  }
  const result = seen.result;
  if (result === null) return withoutResult(run);
  const said = result.subtype === 'success' ? result.result : result.errors.join('; ');
  // Not in the model's own words, which a history must not hold; they are in the transcript.
  if (seen.refused || result.stop_reason === 'refusal') {
    return failure('MODEL_REFUSED', `The model declined to do the ${run.task.name} step.`);
  }
  switch (result.subtype) {
    case 'error_max_turns':
      return limitReached(run, 'turns', 'has no model turn left', said);
    case 'error_max_budget_usd':
      return limitReached(run, 'cost', 'has spent what it may', said);
    case 'success':
      if (isNotLoggedIn(said)) return failure('CREDENTIALS_MISSING', said);
      return modelFailure(run, codeOfErrorResult(run, result), said);
    case 'error_during_execution':
    case 'error_max_structured_output_retries':
      if (isNotLoggedIn(said)) return failure('CREDENTIALS_MISSING', said);
      if (/No conversation found/.test(said)) return failure('SESSION_NOT_IN_STORE', said);
      return failure('AGENT_FAILED', said || result.subtype);
  }
}

function codeOfErrorResult({ seen, own }: JudgedRun, result: SDKResultMessage): FailureCode {
  const status = result.subtype === 'success' ? (result.api_error_status ?? null) : null;
  switch (result.terminal_reason) {
    // Claude Code has tried to compact by then.
    case 'prompt_too_long':
    case 'blocking_limit':
    case 'rapid_refill_breaker':
      return 'CONTEXT_FULL';
    case 'malformed_tool_use_exhausted':
      return 'ANSWER_UNFINISHED';
    default:
  }
  // Without credit the status is the same as for any bad request.
  if (seen.error === 'billing_error') return codeOfError(seen.error);
  if (status !== null) return codeOfStatus(status);
  // One name for both; Claude Code has asked for a continuation three times by then.
  if (seen.error === 'max_output_tokens' && endsWithFullContext(own)) return 'CONTEXT_FULL';
  return codeOfError(seen.error);
}

function modelFailure({ seen, nowMs }: JudgedRun, code: FailureCode, said: string): SessionChainError {
  const { rateLimitEndsAtMs, result, lastRetryStatus } = seen;
  const waits = code === 'MODEL_UNAVAILABLE' && rateLimitEndsAtMs !== null;
  const status = (result?.subtype === 'success' ? result.api_error_status : null) ?? lastRetryStatus;
  return new QuotingError(
    code,
    startOf(said, messageLength),
    status === null ? failureOfCode(code).message : `The model service answered ${status}.`,
    waits ? { retryAfterMs: Math.max(0, rateLimitEndsAtMs - nowMs) } : {},
  );
}

function withoutResult({ seen, exit }: JudgedRun): SessionChainError {
  const how = exit.signal === null ? `with exit code ${exit.code ?? 'unknown'}` : `by ${exit.signal}`;
  const said = [seen.thrown?.message, exit.errorTail.trim()].filter(Boolean).join('; ');
  if (isNotLoggedIn(said)) return failure('CREDENTIALS_MISSING', said);
  const ended = `Claude Code ended ${how} and without a result.`;
  return new QuotingError('AGENT_FAILED', startOf(`${ended} ${said}`.trim(), messageLength), ended, {
    cause: seen.thrown,
  });
}

/** Without a server the list of tools differs: what it offers is missing, and the prompt cache is lost. */
function serverWarnings(serversAway: string[]): string[] {
  return serversAway.map((server) => `The MCP server ${server} was not there; its tools were missing.`);
}

function isNotLoggedIn(said: string): boolean {
  return /not logged in|please run \/login/i.test(said);
}

/** A run that has reached one of its limits; the message says what the limit belongs to. */
function limitReached(
  { task, limitsOf }: JudgedRun,
  limit: Limit,
  what: string,
  said = '',
): SessionChainError {
  const owner = limitsOf?.[limit] ?? 'step';
  const who = owner === 'question' ? 'The answer' : `The ${task.name} step`;
  return new SessionChainError(
    limit === 'time' ? 'STEP_TIMED_OUT' : 'BUDGET_EXCEEDED',
    startOf(`${who} ${what}: the ${limitName(limit, owner)} is reached. ${said}`.trim(), messageLength),
    limitRemedy({ limit, owner }),
    { reached: { limit, owner } },
  );
}

function sandboxLimitReached({ task, sandboxLimits }: JudgedRun, limit: SandboxLimit): SessionChainError {
  const reached = { limit, owner: 'sandbox' } as const;
  return new SessionChainError(
    'SANDBOX_LIMIT',
    `What the ${task.name} step ran reached the ${sandboxLimitName(limit, sandboxLimits)}.`,
    limitRemedy(reached),
    { reached },
  );
}

/** Of a code whose messages else quote somebody: this one is in our own words. */
function ours(code: FailureCode, message: string, options?: { retryAfterMs: number }): SessionChainError {
  return new QuotingError(code, message, message, options);
}

function failure(code: FailureCode, message: string, cause?: unknown): SessionChainError {
  return new SessionChainError(
    code,
    startOf(message, messageLength),
    undefined,
    cause ? { cause } : undefined,
  );
}
