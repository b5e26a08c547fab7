import type { AttemptId } from './ids.js';
import type { StepName } from './steps.js';

/** What a chain did with a span of time. */
export const spanKinds = [
  /** It waited until it held its project. */
  'queued',
  /** From holding the project until its first step was scheduled. */
  'opening',
  /** A step was scheduled, until an attempt of it began: for a free worker, or until the attempt before had ended for certain. */
  'worker',
  /** From an attempt that failed until the next one was scheduled. */
  'retry',
  /** For the model service, or for a worker that has what the step needs, by a timer. */
  'waiting',
  /** Of an attempt: earlier work was judged and Claude Code started, until its first message. */
  'start',
  /** The model answered. */
  'model',
  /** Tools ran, those of one answer together; also while they waited for a subagent. */
  'tool',
  /** The conversation was summarised. */
  'compaction',
  /** From the last entry until the attempt was committed, or its failure recorded. */
  'end',
  /** From the last sign of life of a worker until the attempt's lease had expired. */
  'lost',
  /** An activity of the host was called. */
  'call',
  /** From the end of the last step until the chain was closed. */
  'closing',
] as const;
export type SpanKind = (typeof spanKinds)[number];

export interface TimeSpan {
  kind: SpanKind;
  /** The tools that ran, the code that the chain waited for, the activity that was called; empty where the kind says it. */
  label: string;
  startedAt: Date;
  /** Null while it lasts. */
  endedAt: Date | null;
  /** The entry of the transcript with which it began; null where there is none. */
  entryId: string | null;
  /** How many spans it stands for; more than 1 where short ones were merged. Then `kind` is the one that took longest. */
  count: number;
}

/** Where the time of an attempt went. */
export interface AttemptTimeline {
  step: StepName;
  attemptId: AttemptId;
  round: number;
  attempt: number;
  /** In the order in which they began, without overlaps but for tools that ran while the model still wrote. */
  spans: TimeSpan[];
  /** Ms by kind, as exact as before spans were merged; of what lasts, up to `at` of the timeline. */
  totalsMs: Partial<Record<SpanKind, number>>;
}

/** Where the time of a chain went. */
export interface ChainTimeline {
  /** When this was read; spans without an end last at least until then. */
  at: Date;
  /** Each time that the chain was asked for, the oldest first; one only, where older events were trimmed. */
  runs: { queuedAt: Date; openedAt: Date | null; closedAt: Date | null }[];
  /** What is of no attempt. `step` is null where it is of no step. */
  spans: (TimeSpan & { step: StepName | null })[];
  attempts: AttemptTimeline[];
  /** Whether short spans were merged, to keep the answer small. */
  isMerged: boolean;
}
