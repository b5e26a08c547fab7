import type { Schemas } from '../../api/client.js';
import { type SpanKind, kindOrder } from './kinds.js';

export type Timeline = Schemas['Timeline'];
export type Step = Schemas['Chain']['steps'][number];
type Attempt = Timeline['attempts'][number];

export interface LaneSpan {
  kind: SpanKind;
  label: string;
  from: number;
  /** Null while it lasts. */
  to: number | null;
  count: number;
  /** What a click selects; null where it is of no step. */
  step: string | null;
  attemptId: string | null;
  /** Of an attempt: its number, with its round from the second on. */
  attempt: string | null;
}

export interface Lane {
  key: string;
  label: string;
  kind: 'chain' | 'step' | 'attempt';
  step: string | null;
  attemptId: string | null;
  status: string | null;
  spans: LaneSpan[];
  /** Of a step: how many attempts it has. */
  attempts: number;
}

/** So many attempts of a step are shown as lanes of their own by themselves. */
const mostLanes = 12;

/** A lane for the chain, one per step with all its attempts, and below it one per attempt where there are several. */
export function lanesOf(
  timeline: Timeline,
  steps: readonly Step[],
  isOpen: (step: string, byDefault: boolean) => boolean,
): Lane[] {
  const several = steps.reduce((sum, { journal }) => sum + (journal.length > 1 ? journal.length : 0), 0);
  const lanes = steps.flatMap((step): Lane[] => {
    const attempts = timeline.attempts.filter((one) => one.step === step.step);
    const around = timeline.spans
      .filter((one) => one.step === step.step)
      .map((one) => spanOf(one, step.step, null));
    const own = attempts.map((attempt) => ({
      attempt,
      spans: attempt.spans.map((one) => spanOf(one, step.step, attempt)),
    }));
    const lane: Lane = {
      ...{
        key: step.step,
        label: step.step,
        kind: 'step',
        step: step.step,
        attemptId: null,
        status: step.status,
      },
      spans: [...around, ...own.flatMap(({ spans }) => spans)].sort((one, other) => one.from - other.from),
      attempts: attempts.length,
    };
    if (attempts.length < 2 || !isOpen(step.step, several <= mostLanes)) return [lane];
    return [
      lane,
      ...own.map(({ attempt, spans }): Lane => ({
        key: attempt.attemptId,
        label: `attempt ${nameOf(attempt)}`,
        kind: 'attempt',
        ...{ step: step.step, attemptId: attempt.attemptId, attempts: 1, spans },
        status: step.journal.find(({ attemptId }) => attemptId === attempt.attemptId)?.state ?? null,
      })),
    ];
  });
  const ofChain = timeline.spans.filter(({ step }) => step === null).map((one) => spanOf(one, null, null));
  return [
    {
      ...{ key: '', label: 'chain', kind: 'chain', step: null, attemptId: null, status: null, attempts: 0 },
      spans: ofChain,
    },
    ...lanes,
  ];
}

export function nameOf({ round, attempt }: Pick<Attempt, 'round' | 'attempt'>): string {
  return round === 1 ? String(attempt) : `${round}.${attempt}`;
}

function spanOf(
  { kind, label, startedAt, endedAt, count }: Attempt['spans'][number],
  step: string | null,
  attempt: Attempt | null,
): LaneSpan {
  return {
    ...{ kind, label, count, step },
    from: Date.parse(startedAt),
    to: endedAt === null ? null : Date.parse(endedAt),
    attemptId: attempt?.attemptId ?? null,
    attempt: attempt && nameOf(attempt),
  };
}

/** Ms by kind over the whole chain, or of one step. */
export function totalsOf(timeline: Timeline, now: number, step?: string): Partial<Record<SpanKind, number>> {
  const totals: Partial<Record<SpanKind, number>> = {};
  const add = (kind: SpanKind, ms: number) => (totals[kind] = (totals[kind] ?? 0) + ms);
  for (const span of timeline.spans)
    if (step === undefined || span.step === step)
      add(span.kind, (span.endedAt === null ? now : Date.parse(span.endedAt)) - Date.parse(span.startedAt));
  for (const attempt of timeline.attempts)
    if (step === undefined || attempt.step === step)
      for (const kind of kindOrder) add(kind, attempt.totalsMs[kind] ?? 0);
  return Object.fromEntries(kindOrder.flatMap((kind) => (totals[kind] ? [[kind, totals[kind]]] : [])));
}

/** The stretches that the axis shows: each run of the chain, and what is open until now. */
export function sectionsOf({ runs }: Timeline, now: number): { from: number; to: number }[] {
  return runs.map(({ queuedAt, closedAt }) => {
    const from = Date.parse(queuedAt);
    return { from, to: Math.max(from + 1, closedAt === null ? now : Date.parse(closedAt)) };
  });
}
