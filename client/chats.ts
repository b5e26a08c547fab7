import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { z } from 'zod';
import {
  type AskInput,
  type AskResult,
  type ChatInput,
  type ChatPolicy,
  type AnswerKind,
  type Question,
  type SessionMoment,
  maxQuestionLength,
  sessionMoments,
} from '../contracts/question.js';
import { SessionChainError, isFailureCode } from '../contracts/failures.js';
import { installationMemo } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import {
  type ProjectId,
  type SessionId,
  parseChatId,
  parseMessageId,
  parseProjectId,
} from '../contracts/ids.js';
import {
  type ChatSummary,
  type NewQuestion,
  failQuestion,
  findQuestion,
  listChats,
  listQuestions,
  readQuestion,
  recordQuestion,
} from '../storage/questions/questions.js';
import { readHead } from '../storage/heads/heads.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { callerText } from './caller-text.js';
import { checked, checkedOptions, limit as rows } from './input.js';
import { noOwnWorker, takenByOthers } from './installation.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import { temporalError } from '../temporal/errors.js';
import type { WatchHub } from './watch-hub.js';
import type { WatchItem } from '../contracts/events.js';
import { type ReplyChunk, followQuestion } from './watch.js';
import { ofCaller, onAbort, withSignal } from '../temporal/signal.js';
import { workspacePath } from './start-request.js';
import { chatWorkflowId, updates, workflowTypes } from '../temporal/names.js';

export interface AskRequest {
  projectId: string;
  /** `chat_plan_sessions.session_id`; the row is made where it is missing. Default: the project id. */
  chatId?: string;
  /** The caller's key of this question; asked again, it returns the first reply. Default: a new one. */
  messageId?: string;
  text: string;
  /** Which session to read while a chain works on the project. Default: `now`. */
  when?: SessionMoment;
  /**
   * The answer never becomes the head: it is a `side_branch`, from which the chat goes on while the head stays, and of
   * which the next build is told. Default: false. The same message asked with another `aside` is MESSAGE_ID_REUSED.
   */
  aside?: boolean;
  /** Absolute path of the project's files, as the worker sees it. Default: that of the chat, or of the newest chain. */
  workspace?: string;
}

export interface AskOptions {
  /** Gets the reply piece by piece while it is being written; best effort, what `ask` returns is the reply. */
  onChunk?: (chunk: ReplyChunk) => void;
  /** Gets what happens to the question and its answer, as {@link Watches.watch} shows it: events, entries, and text as it is written. */
  onItem?: (item: WatchItem) => void;
  /** Gives up waiting; the question stays asked, and asking again under its message id goes on waiting. */
  signal?: AbortSignal;
}

/** An answered question. */
export interface Answer {
  projectId: ProjectId;
  chatId: string;
  messageId: string;
  questionId: string;
  reply: string;
  /** `transition`: its session is the project's head now, or was. `side_branch`: the head had moved, a chain worked, or it was asked aside. */
  kind: AnswerKind;
  /** The Claude session that holds question and reply. */
  sessionId: SessionId;
  /** The project's head as the question found it. */
  headSessionId: SessionId | null;
  /** True when the message was answered before: nothing was asked now. */
  repeated: boolean;
}

/** Questions of a chat, oldest first. */
export interface QuestionPage {
  questions: Question[];
  /** For the page with the questions before these; null on the last one. */
  nextCursor: string | null;
}

/** A page of a list, the chat with the newest question first. */
export interface ChatPage {
  chats: ChatSummary[];
  /** For the next page; null on the last one. */
  nextCursor: string | null;
}

/** Chats about a project: questions that are answered on read-only forks of its session. */
export interface Chats {
  /**
   * Asks a question and returns its reply; the project's files are not changed. The answer's session becomes the head where
   * the head is still what the question found and no chain works, and never with `aside`. Idempotent by message id. Throws INVALID_INPUT, PROJECT_NOT_FOUND,
   * WORKSPACE_NOT_ALLOWED, MESSAGE_ID_REUSED, CHAT_BUSY, the failure of the question, DATABASE_UNAVAILABLE,
   * TEMPORAL_UNAVAILABLE.
   * @example
   * const { reply } = await sessionChain.ask({ projectId: 'shop', text: 'Which files hold the search?', aside: true });
   */
  ask(request: AskRequest, options?: AskOptions): Promise<Answer>;
  /**
   * The newest `limit` (100) questions of a chat, oldest first. `chatId` is the project's id by default, as in `ask`.
   * Throws INVALID_INPUT, PROJECT_NOT_FOUND, CHAT_NOT_FOUND.
   * @example
   * for (const { question, reply } of await sessionChain.questions('shop', { limit: 10 })) console.log(question, reply);
   */
  questions(projectId: string, options?: { chatId?: string; limit?: number }): Promise<Question[]>;
  /**
   * A page of {@link Chats.questions}, the newest first: `cursor` is `nextCursor` of the page before. Questions that are asked
   * meanwhile do not shift the pages. Throws INVALID_INPUT, PROJECT_NOT_FOUND, CHAT_NOT_FOUND.
   * @example
   * const { questions, nextCursor } = await sessionChain.questionPage('shop', { limit: 10 });
   */
  questionPage(
    projectId: string,
    options?: { chatId?: string; limit?: number; cursor?: string },
  ): Promise<QuestionPage>;
  /**
   * The chats of a project, the one with the newest question first; `limit` is 50 by default. Throws INVALID_INPUT,
   * PROJECT_NOT_FOUND.
   * @example
   * const { chats } = await sessionChain.chats('shop');
   * for (const { chatId, questions, newest } of chats) console.log(chatId, questions, newest.state);
   */
  chats(projectId: string, options?: { limit?: number; cursor?: string }): Promise<ChatPage>;
  /**
   * Asks a question as {@link Chats.ask} does, and returns as soon as the chat's workflow has it, without the reply: the
   * question is answered without its caller. {@link Chats.question} and the event `question.answered` tell of the reply. Throws
   * what `ask` throws but the failure of the question, and TEMPORAL_UNAVAILABLE where no worker takes it within 10 seconds; then
   * it is asked again, with the same message id.
   * @example
   * const { messageId } = await sessionChain.postQuestion({ projectId: 'shop', text: 'Which files hold the search?' });
   */
  postQuestion(request: AskRequest): Promise<Question>;
  /**
   * A question as it stands, or with `waitMs` once it is answered or has failed, for so long at most. `chatId` is the project's
   * id by default, as in `ask`. Throws INVALID_INPUT, PROJECT_NOT_FOUND,
   * and CHAT_NOT_FOUND where nothing was asked under this message id.
   * @example
   * const { state, reply } = await sessionChain.question('shop', messageId, { waitMs: 60_000 });
   */
  question(
    projectId: string,
    messageId: string,
    options?: { chatId?: string; waitMs?: number },
  ): Promise<Question>;
}

export interface ChatsOptions {
  pool: Pool;
  /** A client of the namespace in which the chats run. */
  temporal: Client;
  policy: ChatPolicy;
  hub: WatchHub;
  /** If given, a workspace outside these folders is rejected before anything is started. */
  workspaceRoots?: readonly string[];
}

export function createChats(options: ChatsOptions): Chats {
  const { pool } = options;
  return {
    ask: async (request, asking = {}) => await ask(options, request, asking),
    async questions(projectId, options) {
      const id = parseProjectId(projectId);
      const { chatId = id, limit = 100 } = checkedOptions(questionsShape, options);
      const chat = parseChatId(chatId);
      await readHead(pool, id);
      return await listQuestions(pool, id, chat, { limit });
    },
    async questionPage(projectId, options) {
      const id = parseProjectId(projectId);
      const { chatId = id, limit = 100, cursor } = checkedOptions(questionPageShape, options);
      const chat = parseChatId(chatId);
      const before = cursor === undefined ? null : questionOf(cursor);
      await readHead(pool, id);
      const found = await listQuestions(pool, id, chat, { limit: limit + 1, before });
      const questions = found.slice(-limit);
      const oldest = questions[0]?.questionId ?? null;
      return { questions, nextCursor: found.length > limit ? oldest : null };
    },
    async chats(projectId, options) {
      const id = parseProjectId(projectId);
      const { limit = 50, cursor } = checkedOptions(chatsShape, options);
      const before = cursor === undefined ? null : questionOf(cursor);
      await readHead(pool, id);
      const found = await listChats(pool, id, { limit: limit + 1, before });
      const chats = found.slice(0, limit);
      const last = chats.at(-1)?.newest.questionId ?? null;
      return { chats, nextCursor: found.length > limit ? last : null };
    },
    postQuestion: async (request) => await post(options, request),
    async question(projectId, messageId, options) {
      const id = parseProjectId(projectId);
      const { chatId = id, waitMs = 0 } = checkedOptions(questionShape, options);
      const key = { projectId: id, chatId: parseChatId(chatId), messageId: parseMessageId(messageId) };
      await readHead(pool, id);
      const deadlineMs = Date.now() + waitMs;
      for (let pauseMs = firstLookMs; ; pauseMs = Math.min(2 * pauseMs, slowestLookMs)) {
        const question = await findQuestion(pool, key);
        const leftMs = deadlineMs - Date.now();
        if (question.state === 'answered' || question.state === 'failed' || leftMs <= 0) return question;
        await delay(Math.min(pauseMs, leftMs));
      }
    },
  };
}

const firstLookMs = 100;
const slowestLookMs = 1_000;

const questionShape = { chatId: z.string().optional(), waitMs: z.number().min(0).optional() };
const questionsShape = { chatId: z.string().optional(), limit: rows.optional() };
const chatsShape = { limit: rows.optional(), cursor: z.string().optional() };
const questionPageShape = { ...questionsShape, cursor: z.string().optional() };

/** A cursor of chats or of questions is the id of a question. */
function questionOf(cursor: string): string {
  if (/^[1-9]\d{0,17}$/.test(cursor)) return cursor;
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a page of chats or of questions returned.',
    'Pass nextCursor of the page before, unchanged, or none for the first page.',
  );
}

export const askRequestSchema = z.strictObject({
  projectId: z.string(),
  chatId: z.string().optional(),
  messageId: z.string().optional(),
  text: callerText
    .trim()
    .min(1, 'must not be empty')
    .max(maxQuestionLength, `must not be longer than ${maxQuestionLength} characters`),
  when: z.enum(sessionMoments).optional(),
  aside: z.boolean().optional(),
  workspace: workspacePath.optional(),
});

/** Stores a question before anything is started for it. */
async function record(
  { pool, policy, workspaceRoots }: ChatsOptions,
  unchecked: AskRequest,
): Promise<{ asked: NewQuestion; question: Question }> {
  const request = checked(askRequestSchema, unchecked, 'The question cannot be asked so', 'request');
  const { workspace } = request;
  if (workspace !== undefined && workspaceRoots) await resolveWorkspace(workspace, workspaceRoots);
  const asked: NewQuestion = {
    projectId: parseProjectId(request.projectId),
    chatId: parseChatId(request.chatId ?? request.projectId),
    messageId: parseMessageId(request.messageId ?? randomUUID()),
    question: request.text,
    when: request.when ?? 'now',
    aside: request.aside ?? false,
    maxOpen: policy.maxPendingOfProject,
    ...(workspace === undefined ? {} : { workspace }),
  };
  return { asked, question: await recordQuestion(pool, asked) };
}

async function ask(options: ChatsOptions, request: AskRequest, asking: AskOptions): Promise<Answer> {
  const { onChunk, onItem } = callbacksOf(asking);
  const { asked, question } = await record(options, request);
  if (question.state === 'answered') return replyOf(question, true);
  const watching = new AbortController();
  const watched =
    (onChunk || onItem) &&
    // A caller that cannot watch the reply being written still gets it.
    followQuestion(options.hub, question, { onChunk, onItem }, watching.signal).catch(() => undefined);
  try {
    return replyOf(await untilEnded(options, asked, question, asking.signal), false);
  } finally {
    watching.abort();
    await watched;
  }
}

function callbacksOf({ onChunk, onItem }: AskOptions): Pick<AskOptions, 'onChunk' | 'onItem'> {
  return {
    ...(onChunk ? { onChunk: ofCaller(onChunk) } : {}),
    ...(onItem ? { onItem: ofCaller(onItem) } : {}),
  };
}

/** How long a worker may take to take up a question whose caller does not wait for the reply. */
const takenWithinMs = 10_000;

async function post(options: ChatsOptions, request: AskRequest): Promise<Question> {
  const { asked, question } = await record(options, request);
  if (question.state === 'answered') return question;
  const limit = AbortSignal.timeout(takenWithinMs);
  try {
    return await untilEnded(options, asked, question, limit, false);
  } catch (error) {
    if (!limit.aborted) throw error;
    throw new SessionChainError(
      'TEMPORAL_UNAVAILABLE',
      `No worker took up the question ${asked.messageId} of the chat ${asked.chatId} within ${takenWithinMs / 1_000} s.`,
      'Check that a worker is up and that Temporal answers, then ask again, with the same message id.',
      { cause: error },
    );
  }
}

/** A chat workflow that ends, continues as new or dies between two looks is asked again, so often. */
const maxRefusals = 20;

/**
 * Asks the chat's workflow, which starts where it does not run, until the question is answered or has failed; its row says how.
 * Without `waits` until the workflow has it.
 */
async function untilEnded(
  options: ChatsOptions,
  asked: NewQuestion,
  question: Question,
  signal: AbortSignal | undefined,
  waits = true,
): Promise<Question> {
  let refusals = 0;
  for (;;) {
    const answer = await whileOurs(options, question, signal, async (own) => {
      return await updateWithStart(options, question, own, waits);
    });
    if (answer !== 'again') refusals += 1;
    // Its row may be gone: deleted, or lost by a database that went back to an earlier state. Then it is asked again.
    const now =
      (await readQuestion(options.pool, question.questionId)) ?? (await recordQuestion(options.pool, asked));
    question = now;
    if (now.state === 'answered' || answer === 'taken') return now;
    if (now.state === 'failed' && now.failure && answer === 'failed') {
      throw new SessionChainError(now.failure.code, now.failure.message, now.failure.remedy);
    }
    if (refusals > maxRefusals) {
      throw new SessionChainError(
        'TEMPORAL_UNAVAILABLE',
        `The workflow of the chat ${question.chatId} has ended ${refusals} times before it answered: ${answer instanceof Error ? answer.message : answer}`,
        'Ask again, with the same message id.',
        { cause: answer },
      );
    }
    if (answer !== 'again') await delay(250);
  }
}

/** How often a caller that waits looks whether only workers of another database take its question. */
const lookForOthersMs = 5_000;

/** Ends a wait, as OTHER_INSTALLATION, where workers of another database alone poll for the chat. */
async function whileOurs<Result>(
  { pool, temporal, policy }: ChatsOptions,
  question: Question,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const ended = new AbortController();
  const forget = onAbort(signal, () => ended.abort(signal?.reason));
  const workflowId = chatWorkflowId(question);
  const timer = setInterval(() => {
    const taskQueue = policy.taskQueues.chains;
    takenByOthers(pool, temporal, workflowId, taskQueue).then(
      (refusal) => refusal !== null && ended.abort(noOwnWorker(temporal, taskQueue, refusal)),
      // What does not answer now is noticed by the work itself.
      () => undefined,
    );
  }, lookForOthersMs);
  timer.unref();
  try {
    return await work(ended.signal);
  } finally {
    clearInterval(timer);
    forget();
  }
}

/** How the question ended, that the workflow has it, or the error of a workflow that closed under it. */
async function updateWithStart(
  { pool, temporal, policy }: ChatsOptions,
  { projectId, chatId, questionId, when }: Question,
  signal: AbortSignal,
  waits: boolean,
): Promise<AskResult['outcome'] | 'taken' | Error> {
  signal.throwIfAborted();
  const installation = await readInstallation(pool);
  const input: ChatInput = {
    ...{ version: payloadVersion, installation: installation.id },
    ...{ projectId, chatId, policy },
  };
  type Chat = (input: ChatInput) => Promise<void>;
  const update = {
    args: [{ questionId, when, installation: installation.id }] as [AskInput],
    startWorkflowOperation: new WithStartWorkflowOperation<Chat>(workflowTypes.chat, {
      workflowId: chatWorkflowId(input),
      taskQueue: policy.taskQueues.chains,
      args: [input],
      // One running workflow per chat: a question goes to it, or starts the next one after an idle end.
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      memo: installationMemo(installation),
      staticSummary: `chat ${chatId}`,
    }),
  };
  const outcome = async () =>
    await temporal.workflow.executeUpdateWithStart<Chat, AskResult, [AskInput]>(updates.ask, update);
  const acceptance = async () => {
    const taken = await temporal.workflow.startUpdateWithStart<Chat, AskResult, [AskInput]>(updates.ask, {
      ...update,
      waitForStage: 'ACCEPTED',
    });
    // A call whose time is over asks nothing: this is what came with the acceptance, such as a refusal.
    return await temporal
      .withDeadline(0, async () => await taken.result())
      .catch((error: unknown) => {
        if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return { outcome: 'taken' as const };
        throw error;
      });
  };
  try {
    return (
      await withSignal<{ outcome: AskResult['outcome'] | 'taken' }>(
        temporal,
        signal,
        waits ? outcome : acceptance,
      )
    ).outcome;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
      const { type, message } = error.cause;
      if (isFailureCode(type)) {
        const failure = new SessionChainError(type, message);
        await failQuestion(pool, { projectId, questionId }, { code: type, message, remedy: failure.remedy });
        throw failure;
      }
    }
    const isOver =
      error instanceof WorkflowUpdateFailedError ||
      error instanceof WorkflowNotFoundError ||
      error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
      isAborted(error);
    if (isOver && error instanceof Error) return error;
    throw temporalError(error);
  }
}

/** An update that was on its way when its workflow closed. */
function isAborted(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return cause?.code === grpcAborted;
}

const grpcAborted = 10;

function replyOf(question: Question, repeated: boolean): Answer {
  const { projectId, chatId, messageId, questionId, reply, kind, sessionId, headSessionId } = question;
  if (reply === null || kind === null || sessionId === null) {
    throw new Error(`The question ${questionId} is answered without a reply.`);
  }
  return { projectId, chatId, messageId, questionId, reply, kind, sessionId, headSessionId, repeated };
}
