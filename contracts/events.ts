import type { Usage } from './chain.js';
import type { FailureCode } from './failures.js';
import type { AttemptId, BuildId, ChainId, ProjectId, SessionId, VersionId } from './ids.js';
import type { ReachedLimit } from './limits.js';
import type { AnswerKind, SessionMoment } from './question.js';
import type { ChainMode, ClosedChainStatus, StepName, TransitionSource } from './steps.js';

/** What happened to a project, as the triggers of migrations/ write it with the change itself: ids, numbers, short labels; no text. */

/** What each type of event carries beside what all have. */
export interface EventData {
  /** `again`: it was queued before; it was started once more, or a new run has taken it over. */
  'chain.queued': { mode: ChainMode; again: boolean };
  /** The chain holds the project. `origin` says what it starts from, `steps` are those of its plan. */
  'chain.opened': { origin: string; baseSessionId: SessionId | null; steps: StepName[] };
  /** `for` is a failure code, `until` ISO 8601; told again when either changes. */
  'chain.waiting': { for: FailureCode; until: string };
  /** How the chain ended, and the head as it left it. */
  'chain.closed': {
    status: ClosedChainStatus;
    failureCode: FailureCode | null;
    headSessionId: SessionId | null;
    headSeq: number | null;
  };
  /** An attempt of a step began; `attemptId` and `sessionId` are null for an activity of the host. */
  'step.started': StepEvent & {
    attempt: number;
    sessionId: SessionId | null;
    baseSessionId: SessionId | null;
  };
  /** The attempt is committed. Turns, usage, cost and duration are those of all attempts of the step. */
  'step.committed': StepEvent & {
    attempt: number;
    oldSessionId: SessionId | null;
    newSessionId: SessionId;
    seq: number;
    turns: number;
    usage: Usage;
    costUsd: number;
    durationMs: number;
  };
  /** An activity of the host has ended well; it moves no head. */
  'step.completed': StepEvent;
  /** The attempt has ended without a commit. `waits`: the next one begins later, without the step having failed. */
  'step.failed': StepEvent & { attempt: number; code: FailureCode; waits: boolean };
  'step.skipped': { step: StepName; reason: string };
  'head.moved': {
    seq: number;
    oldSessionId: SessionId | null;
    newSessionId: SessionId;
    source: TransitionSource;
    /** Of a rewind: the seq that it went back to. */
    rewoundTo: number | null;
  };
  /** `again`: it had failed before. */
  'question.asked': QuestionEvent & { when: SessionMoment; aside: boolean; again: boolean };
  /** An attempt to answer began. */
  'question.started': { questionId: string; attemptId: AttemptId; attempt: number; sessionId: SessionId };
  'question.answered': QuestionEvent & { kind: AnswerKind; sessionId: SessionId };
  'question.failed': QuestionEvent & { code: FailureCode };
  /** A limit is used up, which has closed the chain. */
  'budget.reached': { limit: ReachedLimit | null };
}

export interface StepEvent {
  step: StepName;
  /** Counts the times that the chain decided to run the step. */
  round: number;
  attemptId: AttemptId | null;
}

export interface QuestionEvent {
  chatId: string;
  messageId: string;
  questionId: string;
}

export type EventType = keyof EventData;

/** One event. A consumer ignores types and fields that it does not know. */
export type ProjectEvent = {
  [Type in EventType]: {
    type: Type;
    /** Where to go on after it; opaque, and good for any watch that shows this event. */
    cursor: string;
    /** Rises within a project, in the order in which the changes were committed; not by one. */
    id: number;
    /** ISO 8601. */
    at: string;
    projectId: ProjectId;
    versionId: VersionId | null;
    buildId: BuildId | null;
    /** Null outside a chain. */
    chainId: ChainId | null;
    data: EventData[Type];
  };
}[EventType];

/** Part of an entry of a transcript. */
export type EntryPart =
  | { kind: 'text'; text: string }
  | { kind: 'thinking'; text: string }
  | { kind: 'tool_call'; id: string; name: string; input: unknown }
  | { kind: 'tool_result'; id: string; isError: boolean; text: string };

export interface LiveItem {
  cursor: string;
  projectId: ProjectId;
  /** Null for an answer; then `questionId` names its question. */
  step: StepName | null;
  questionId: string | null;
  attemptId: AttemptId;
  sessionId: SessionId;
}

/** A stored entry of a running attempt, without those that it has from the session that it forks. */
export interface LiveEntry extends LiveItem {
  type: 'live.entry';
  /** The entry's uuid. */
  entryId: string;
  role: 'user' | 'assistant' | 'system';
  /** Of a subagent; null in the main conversation. */
  subagent: string | null;
  parts: EntryPart[];
}

/** Text that the model is writing just now; best effort: what it comes to is a `live.entry` later. */
export interface LiveText extends LiveItem {
  type: 'live.text';
  /** Counts the messages of the attempt. */
  message: number;
  text: string;
}

/** The events between `after` and this are gone: read the present state anew, and go on from here. */
export interface WatchGap {
  type: 'gap';
  cursor: string;
  /** `trimmed`: they were older than events are kept. `ahead`: the database went back to before them. */
  reason: 'trimmed' | 'ahead';
}

export type WatchItem = ProjectEvent | LiveEntry | LiveText | WatchGap;
