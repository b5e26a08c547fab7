import type { WaitPolicy } from './chain.js';
import type { Failure } from './failures.js';
import type { ProjectId, SessionId } from './ids.js';
import type { OfInstallation } from './installation.js';
import type { payloadVersion } from './plan.js';

/** A chat is a row of `chat_plan_sessions`, a question with its answer a row of `project_chat_log_minimal`. */

/** The sessions that a question can be put to, while a chain works on the project. */
export const sessionMoments = ['now', 'after_step', 'committed'] as const;
/**
 * - `now`: the head at this moment.
 * - `after_step`: the head once the step that runs now has ended.
 * - `committed`: the final head, once the chain is closed.
 */
export type SessionMoment = (typeof sessionMoments)[number];

/** The states of a question. One that failed may be asked again under its message id. */
export type QuestionState = 'asked' | 'running' | 'answered' | 'failed';

/**
 * What an answer did to the project: it moved the head, or it stayed beside the main line, as the answer to a question
 * asked aside always does.
 */
export type AnswerKind = 'transition' | 'side_branch';

/** One question and what became of it. */
export interface Question {
  /** Counts over all chats; identifies the question in histories and in the journal (`chat:<question id>`). */
  questionId: string;
  projectId: ProjectId;
  chatId: string;
  messageId: string;
  question: string;
  reply: string | null;
  state: QuestionState;
  kind: AnswerKind | null;
  when: SessionMoment;
  /** Its answer never moves the head. */
  aside: boolean;
  /** The project's head as the question found it. */
  headSessionId: SessionId | null;
  /** The Claude session that holds question and reply; null until it is answered. */
  sessionId: SessionId | null;
  failure: Failure | null;
  askedAt: Date;
  answeredAt: Date | null;
}

/** The policy of a chat, fixed when its workflow starts, so that a replay sees the same. */
export interface ChatPolicy {
  /** Questions that may wait or run at a time; one more is rejected as CHAT_BUSY. */
  maxPending: number;
  /** The same of all chats of a project together. */
  maxPendingOfProject: number;
  /** The workflow ends after this time without a question; the next question starts it again. */
  idleMs: number;
  /** Questions after which the workflow continues as new. */
  maxQuestionsPerRun: number;
  /** The limits of one answer; `maxTurns` are model turns. */
  limits: { timeoutMs: number; maxTurns: number; maxCostUsd?: number; maxAttempts: number };
  heartbeatTimeoutMs: number;
  killGraceMs: number;
  /** How long a question with `now` waits for the chain's answer before it relies on the database alone. */
  answerWithinMs: number;
  /** The interval at which the other questions read the database while no answer comes; it doubles each time. */
  lookMs: WaitPolicy;
  taskQueues: {
    /** The agents of the chats. */
    chats: string;
    /** The chats' workflows, and the short activities that only touch the database. */
    chains: string;
  };
}

/** A question that waits in the workflow; ids and labels only. */
export interface PendingQuestion {
  questionId: string;
  when: SessionMoment;
  /** What it has been waiting for since it was asked; null for nothing. Absent until it has looked. */
  target?: ReadTarget | null;
}

/** The chain that held the project when a question arrived, and the step that it ran. */
export interface ReadTarget {
  workflowId: string;
  /** The newest attempt of the chain when the question came; null before its first one. */
  attemptId: string | null;
}

export interface ChatInput extends OfInstallation {
  version: typeof payloadVersion;
  projectId: ProjectId;
  chatId: string;
  policy: ChatPolicy;
  /** Questions that an earlier run of this workflow passed on. */
  pending?: PendingQuestion[];
}

/** The argument of the Update `ask`; question and answer travel by the row of the question. */
export interface AskInput extends OfInstallation {
  questionId: string;
  when: SessionMoment;
}

/** `again`: the workflow continues as new and has passed the question on; the caller asks again. */
export interface AskResult {
  questionId: string;
  outcome: 'answered' | 'failed' | 'again';
}

/** The signal `requestSession`, from a chat to a running chain. */
export interface SessionRequest {
  requestId: string;
  chatWorkflowId: string;
  when: SessionMoment;
}

/** The signal `sessionAnswer`, from a chain to the chat that asked. A hint: Postgres decides. */
export interface SessionAnswer {
  requestId: string;
  sessionId: SessionId | null;
}

export interface ReadSessionInput extends OfInstallation {
  version: typeof payloadVersion;
  projectId: ProjectId;
  /** What the caller waits for; null at the first look. */
  target: ReadTarget | null;
  when: SessionMoment;
}

export type SessionRead =
  /** The question may read the head. */
  | { outcome: 'ready' }
  /** A chain holds the project; `target` is what the question waits for. */
  | { outcome: 'wait'; target: ReadTarget };

export interface QuestionInput extends OfInstallation {
  version: typeof payloadVersion;
  projectId: ProjectId;
  chatId: string;
  questionId: string;
  limits: ChatPolicy['limits'];
  killGraceMs: number;
  /** How often it was left to another worker. */
  looks?: number;
}

export interface QuestionFailureInput extends OfInstallation {
  version: typeof payloadVersion;
  projectId: ProjectId;
  questionId: string;
  failure: Failure;
}

export interface AnsweredQuestion {
  kind: AnswerKind;
  /** The task queue of the worker that keeps the answer's process for the next question; absent where none does. */
  parkedOn?: string;
}

/** A question that continues later: the worker that took it does not have the project's folder. */
export interface WaitingQuestion {
  waitMs: number;
  /** Tries of the activity that failed before; they count against the limit of attempts. */
  tries: number;
}

/** The activities of a chat; the names are activity types. */
export interface ChatActivities {
  /** Determines which session a question may read by now. */
  readSession(input: ReadSessionInput): Promise<SessionRead>;
  /** Puts the question to the model and decides what the answer did to the project. */
  answerQuestion(input: QuestionInput): Promise<AnsweredQuestion | WaitingQuestion>;
  /** Records that a question has failed for good. */
  failQuestion(input: QuestionFailureInput): Promise<void>;
}

export const maxQuestionLength = 32_000;

/** The default policy; no cost limit until one is set. */
export const defaultChatPolicy: Omit<ChatPolicy, 'taskQueues'> = {
  maxPending: 8,
  maxPendingOfProject: 100,
  idleMs: 10 * 60_000,
  maxQuestionsPerRun: 200,
  limits: { timeoutMs: 10 * 60_000, maxTurns: 50, maxAttempts: 5 },
  heartbeatTimeoutMs: 30_000,
  killGraceMs: 5_000,
  answerWithinMs: 2_000,
  lookMs: { initial: 5_000, max: 5 * 60_000 },
};

/** The build id under which the journal holds a question's attempts. */
export function questionBuildId(questionId: string): string {
  return `chat:${questionId}`;
}

/** A signal's payload as a request of a chat of this project; null for anything else. */
export function parseSessionRequest(value: unknown, projectId: ProjectId): SessionRequest | null {
  const { requestId, chatWorkflowId, when } = fieldsOf(value);
  if (!isShort(requestId) || !isShort(chatWorkflowId) || !isMoment(when)) return null;
  // A chat of another project may not read this chain's session.
  if (!chatWorkflowId.startsWith(`chat/${projectId}/`)) return null;
  return { requestId, chatWorkflowId, when };
}

/** A signal's payload as the answer of a chain; null for anything else. */
export function parseSessionAnswer(value: unknown): SessionAnswer | null {
  const { requestId, sessionId } = fieldsOf(value);
  if (!isShort(requestId) || !(sessionId === null || isShort(sessionId))) return null;
  return { requestId, sessionId: sessionId as SessionId | null };
}

/** An Update's argument as a question that the database knows; null for anything else. */
export function parseAsk(value: unknown): AskInput | null {
  const { questionId, when, installation } = fieldsOf(value);
  if (!isShort(questionId) || !/^\d+$/.test(questionId) || !isMoment(when)) return null;
  return { questionId, when, ...(isShort(installation) ? { installation } : {}) };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isShort(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= 1_000;
}

function isMoment(value: unknown): value is SessionMoment {
  return (sessionMoments as readonly unknown[]).includes(value);
}
