import {
  type FailureCode,
  type SessionChainError,
  categoryOf,
  failureOfCode,
} from '../contracts/failures.js';
import { withoutCredentials, withoutValues } from '../contracts/secrets.js';
import { shorten, startOf } from '../contracts/text.js';

/**
 * The log of a worker: one line per fact, with a stable name (`event`), the ids of what it is about, and a level. Never
 * in it: credentials, prompts, replies, and the words of models, agents and files.
 */

/** Every event, with what it says; docs/log.md explains each. */
export const logEvents = {
  'worker.ready': 'The worker is ready.',
  'worker.endpoint': 'The worker tells its health and its metrics.',
  'worker.stopping': 'The worker stops: running steps are interrupted and go on elsewhere.',
  'worker.warning': 'Something of the worker is not set up as it seems to be meant.',
  'installation.other':
    'A task of another database is left alone: each database needs a task queue or a namespace of its own.',
  'installation.neighbours':
    'Workers that this database does not know poll the same task queue: of another database, or they cannot write to this one. Each database needs a task queue or a namespace of its own.',
  'worker.row_not_written': 'The row of the worker was not renewed; its work goes on.',
  'chain.queued': 'The chain waits for another one of its project.',
  'chain.opened': 'The chain holds its project and works.',
  'chain.waiting': 'The chain waits, and goes on by itself.',
  'chain.taken_out': 'A chain whose workflow is gone was taken out of the way.',
  'chain.closed': 'The chain is closed.',
  'chain.close_refused': 'The chain was closed before, or has another run: this end changed nothing.',
  'workflow.task_failing': 'The workflow stands still: its workflow task fails on this worker.',
  'step.started': 'An attempt of the step begins.',
  'step.called': 'The activity of the host is called.',
  'step.committed': 'The step is committed: its session is the head.',
  'step.completed': 'The activity of the host has succeeded.',
  'step.skipped': 'The step had nothing to do.',
  'step.retried': 'A try of the step failed; another follows.',
  'step.failed': 'The step has failed.',
  'step.interrupted': 'The attempt was stopped.',
  'question.started': 'An attempt to answer the question begins.',
  'question.answered': 'The question is answered.',
  'question.waiting': 'The question waits, and goes on by itself.',
  'question.retried': 'A try of the question failed; another follows.',
  'question.failed': 'The last try of the question failed.',
  'question.interrupted': 'The attempt was stopped.',
  'question.given_up': 'The question has no answer: it has failed for good.',
  'activity.retried': 'A short activity failed; it is tried again.',
  'activity.failed': 'A short activity failed for good.',
  'failure.not_stored': 'The message of a failure could not be stored.',
  'evidence.found': 'An earlier attempt left something to go on from.',
  'transcript.quarantined': 'A transcript with a hole was quarantined.',
  'transcript.restored': 'A transcript was restored from the archive.',
  'attempt.not_recorded': 'The end of the attempt could not be recorded; the next one does it.',
  'attempt.not_quarantined': 'The session could not be quarantined.',
  'attempt.not_examined': 'What the attempt lacks could not be read.',
  'lease.not_renewed': 'The lease could not be renewed.',
  'live_text.not_stored': 'A piece of live text was not stored.',
  'workspace.marker_not_kept': 'The marker of the folder could not be put back.',
  'ends.delayed': 'The ends of chains are told later.',
  'ends.resumed': 'The ends of chains are told again.',
  'events.not_trimmed': 'Old events were not trimmed.',
  'agent.started': 'The agent begins a task.',
  'agent.parked': 'The process of the agent waits for the next task.',
  'agent.given_up': 'A process that waited, or was to wait, was ended.',
  'agent.ended': 'The task of the agent is over.',
  'agent.failed': 'The agent failed.',
  'agent.sandbox': 'How agents are kept in.',
  'agent.untested': 'This version of Claude Code was not tested.',
  'agent.swept': 'What a dead worker left behind was removed.',
  'agent.scratch_left': 'A folder of the agent could not be removed; the next start does it.',
  'agent.egress_refused': 'An agent was refused a host that is not in sandbox.egress.',
  'model.unavailable': 'The model service does not do what agents ask; chains wait.',
  'model.still_unavailable': 'The model service still does not do what agents ask; chains wait.',
  'model.available': 'The model service answers again.',
  'database.unavailable': 'The database does not answer; chains wait.',
  'database.still_unavailable': 'The database still does not answer: agents are stopped, chains wait.',
  'database.available': 'The database answers again.',
  'database.connection_broke': 'A connection to the database broke; it is made again.',
  'temporal.unavailable': 'Temporal does not answer; no work is taken on.',
  'temporal.still_unavailable': 'Temporal still does not answer; no work is taken on.',
  'temporal.available': 'Temporal answers again.',
  'temporal.sdk': "A message of Temporal's library.",
  'redis.unavailable': 'Redis gives no checkpoints; chains go on without them.',
} as const;

export type LogEvent = keyof typeof logEvents;

/** `error` pages a person, `warn` is looked at by day, `info` is a fact. */
export type LogLevel = 'info' | 'warn' | 'error';

/** Names what a line is about. */
export type LogIds = {
  projectId?: string;
  versionId?: string;
  buildId?: string;
  chatId?: string;
  questionId?: string;
  workflowId?: string;
  step?: string;
  /** The short activity, such as `open`. */
  activity?: string;
  attempt?: number;
  sessionId?: string;
};

/** A log that knows what its lines are about. */
export interface Log {
  readonly ids: LogIds;
  info(event: LogEvent, fields?: LogFields): void;
  warn(event: LogEvent, fields?: LogFields): void;
  error(event: LogEvent, fields?: LogFields): void;
  /** The same log, of which every line also has these ids. */
  with(ids: LogIds): Log;
}

/** A log of one call of an activity: only `forActivity` makes it, so that no line can lack its ids. */
export interface ActivityLog extends Log {
  readonly ids: LogIds & { workflowId: string };
  with(ids: LogIds): ActivityLog;
}

/** `err` becomes type, message and the beginning of the stack. */
export type LogFields = Record<string, unknown> & { err?: unknown };

/** Where lines go: a pino logger, or anything with these methods. */
export interface LogSink {
  info(fields: Record<string, unknown>, message?: string): void;
  warn(fields: Record<string, unknown>, message?: string): void;
  /** Default: `warn`. */
  error?(fields: Record<string, unknown>, message?: string): void;
}

/** A log that writes to `sink`, with `***` in place of the values in `hide`. */
export function createEventLog(sink: LogSink, hide: readonly string[] = []): Log {
  const at = (ids: LogIds): Log => {
    const say =
      (level: LogLevel) =>
      (event: LogEvent, fields: LogFields = {}) => {
        try {
          const line = bounded({ event, ...ids, ...fields }, hide);
          if (level === 'error' && !sink.error) sink.warn(line, logEvents[event]);
          else sink[level]?.(line, logEvents[event]);
        } catch {
          // The work goes on where a host's logger throws.
        }
      };
    return {
      ids,
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
      with: (more) => at({ ...ids, ...more }),
    };
  };
  return at({});
}

export function forActivity(log: Log, ids: ActivityLog['ids']): ActivityLog {
  return log.with(ids) as ActivityLog;
}

/** Bytes of the fields of a line; what a logger adds comes on top. */
const mostBytes = 1_800;
const mostStack = 700;

/** The fields with as much of each text as fits; the ids are whole. */
function bounded(fields: Record<string, unknown>, hide: readonly string[]): Record<string, unknown> {
  const { err, ...given } = fields;
  const all = err === undefined ? given : { ...given, err: errorFields(err) };
  const entries = Object.entries(all);
  const ids = Object.fromEntries(entries.filter(([name]) => whole.has(name)));
  const rest = Object.fromEntries(entries.filter(([name]) => !whole.has(name)));
  for (const longest of [700, 250, 80]) {
    const line = { ...ids, ...(cutTexts(rest, longest, hide) as Record<string, unknown>) };
    if (Buffer.byteLength(JSON.stringify(line)) <= mostBytes) return line;
  }
  return ids;
}

/** An id has 255 characters at most. */
const whole = new Set<string>([
  ...['event', 'projectId', 'versionId', 'buildId', 'chatId', 'questionId', 'workflowId', 'step', 'activity'],
  ...['attempt', 'sessionId', 'code'],
]);

function cutTexts(value: unknown, longest: number, hide: readonly string[]): unknown {
  if (typeof value === 'string') return shorten(withoutValues(withoutCredentials(value), hide), longest);
  if (Array.isArray(value)) return value.map((one) => cutTexts(one, longest, hide));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, cutTexts(one, longest, hide)]));
}

function errorFields(error: unknown): { type: string; message: string; stack?: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { name, message, stack } = error;
  // The stack begins with the message.
  const frames = stack?.slice(Math.max(0, stack.indexOf('\n    at ')));
  return {
    type: name,
    message: message || (error instanceof AggregateError ? error.errors.map(String).join('; ') : ''),
    ...(frames ? { stack: startOf(frames.trim(), mostStack) } : {}),
  };
}

/**
 * How loud it is that something has failed for good with this code: a failure of Session Chain itself or of what was
 * set up pages a person; what was ended from outside, or goes on elsewhere, is a fact; the rest is for the day.
 */
export function levelOf(code: FailureCode): LogLevel {
  if (code === 'FENCED' || code === 'HOLDER_ENDING') return 'info';
  switch (categoryOf(code)) {
    case 'internal':
    case 'setup':
      return 'error';
    case 'ended':
      return 'info';
    case 'input':
    case 'not_found':
    case 'conflict':
    case 'model':
    case 'agent':
    case 'budget':
    case 'unavailable':
      return 'warn';
  }
}

/** From this try of an activity on, which is some minutes after the first, a person has to look. */
const longTried = 8;

/** How loud a failure is that is followed by another try, the `tries`th. An outage has lines of its own. */
export function levelOfTry(code: FailureCode, tries: number): LogLevel {
  const isLong = tries >= longTried;
  switch (levelOf(code)) {
    case 'error':
      return isLong || categoryOf(code) === 'internal' ? 'error' : 'warn';
    case 'warn':
      return isLong ? 'warn' : 'info';
    case 'info':
      return 'info';
  }
}

/** How loud it is that an agent, or the last try of an operation, has failed: what it means for its chain comes after it. */
export function levelOfPart(code: FailureCode): LogLevel {
  // Whatever lasts says so itself, once.
  if (categoryOf(code) === 'unavailable') return 'info';
  return levelOf(code) === 'info' ? 'info' : 'warn';
}

/** Codes whose messages may quote a model, an agent, a file or a caller's text; the whole message is in the database. */
const quoting: ReadonlySet<FailureCode> = new Set([
  ...([
    'MODEL_REJECTED',
    'MODEL_UNAUTHORIZED',
    'MODEL_UNAVAILABLE',
    'MODEL_REFUSED',
    'CONTEXT_FULL',
  ] as const),
  ...(['ANSWER_UNFINISHED', 'AGENT_FAILED', 'CREDENTIALS_MISSING', 'SUBMISSION_INVALID'] as const),
  ...(['COMPACTION_FAILED', 'PROMPT_FAILED'] as const),
]);

/** What a line says of a failure. */
export function failureFields({
  code,
  message,
  logged,
}: Pick<SessionChainError, 'code' | 'message'> & { logged?: string | undefined }): {
  code: FailureCode;
  reason: string;
} {
  return { code, reason: logged ?? (quoting.has(code) ? failureOfCode(code).message : message) };
}

/** What is waited for, and until when. */
export function waitFields(waitsFor: string, waitMs: number): LogFields {
  return { waitsFor, waitMs: Math.round(waitMs), until: new Date(Date.now() + waitMs).toISOString() };
}

/** Whether what happens again and again is worth a line at this count, from 1: at every doubling. */
export function isWorthALine(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}
