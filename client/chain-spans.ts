import type { ProjectEvent } from '../contracts/events.js';
import type { StepName } from '../contracts/steps.js';
import type { ChainTimeline, SpanKind } from '../contracts/timeline.js';
import type { ActivityDetails, AttemptDetails } from '../storage/chains/chain-journal.js';
import type { ChainRow } from '../storage/chains/chains.js';

type Run = ChainTimeline['runs'][number];
type Span = ChainTimeline['spans'][number];
type Attempt = { step: StepName } & Pick<
  AttemptDetails,
  'attemptId' | 'round' | 'state' | 'scheduledAt' | 'startedAt' | 'endedAt' | 'seenAt'
>;
type Call = { step: StepName } & Pick<ActivityDetails, 'activity' | 'taskQueue' | 'startedAt' | 'endedAt'>;

/** A chain as its row, its journal and what is kept of its events tell it. */
export interface ChainTimes {
  chain: Pick<ChainRow, 'status' | 'plan' | 'requestedAt' | 'openedAt' | 'closedAt' | 'waitsFor'>;
  events: readonly Pick<ProjectEvent, 'type' | 'at' | 'data'>[];
  attempts: readonly Attempt[];
  calls: readonly Call[];
}

/** Each time that a chain was asked for, and what it did outside attempts. */
export function chainSpans(times: ChainTimes): Pick<ChainTimeline, 'runs' | 'spans'> {
  const runs = runsOf(times);
  const spans = [
    ...runs.flatMap((run) => edgesOf(run, times)),
    ...waitsOf(times),
    ...betweenAttempts(times),
    ...times.calls.map(({ step, activity, taskQueue, startedAt, endedAt }) =>
      span('call', startedAt, endedAt, { step, label: `${activity} on ${taskQueue}` }),
    ),
  ];
  return { runs, spans: spans.sort((one, other) => one.startedAt.getTime() - other.startedAt.getTime()) };
}

/**
 * When an attempt stopped to work; null while it does. One that waits for the next has no end of its own: the event that says so
 * has the time, or else its worker's last sign of life.
 */
export function workEnd(
  { attemptId, state, endedAt, seenAt, startedAt }: Attempt,
  events: ChainTimes['events'],
): Date | null {
  const told = events.find(
    (event) =>
      event.type === 'step.failed' && 'attemptId' in event.data && event.data.attemptId === attemptId,
  );
  // It told its end when it began to wait, and is ended by the attempt after it.
  if (told && (endedAt === null || Date.parse(told.at) < endedAt.getTime())) return new Date(told.at);
  if (state === 'waiting') return new Date(Math.max(seenAt.getTime(), startedAt.getTime()));
  return endedAt;
}

function runsOf({ chain, events }: ChainTimes): Run[] {
  const runs: Run[] = [];
  for (const { type, at } of events) {
    const last = runs.at(-1);
    if (type === 'chain.queued' && (!last || last.closedAt))
      runs.push({ queuedAt: new Date(at), openedAt: null, closedAt: null });
    if (type === 'chain.opened' && last) last.openedAt ??= new Date(at);
    if (type === 'chain.closed' && last) last.closedAt = new Date(at);
  }
  const { requestedAt: queuedAt, openedAt, closedAt } = chain;
  return runs.length > 0 ? runs : [{ queuedAt, openedAt, closedAt }];
}

/** What comes before the first step of a run, and after its last. */
function edgesOf(
  { queuedAt, openedAt, closedAt }: Run,
  { chain, attempts, calls, events }: ChainTimes,
): Span[] {
  const isOfRun = ({ startedAt }: { startedAt: Date }) =>
    startedAt >= queuedAt && (closedAt === null || startedAt <= closedAt);
  const queued = span('queued', queuedAt, openedAt ?? closedAt, {
    label: chain.waitsFor !== null && openedAt === null && closedAt === null ? chain.waitsFor : '',
  });
  if (openedAt === null) return [queued];
  const work = [...attempts, ...calls].filter(isOfRun);
  const begins = [
    ...work.map((one) => ('scheduledAt' in one ? scheduled(one, openedAt) : one.startedAt)),
    ...events.flatMap(({ type, at }) => (type === 'chain.waiting' ? [new Date(at)] : [])),
  ].filter((at) => at >= openedAt && (closedAt === null || at <= closedAt));
  const ends = work.map((one) => ('attemptId' in one ? workEnd(one, events) : one.endedAt));
  const opening = span('opening', openedAt, earliest(begins) ?? closedAt);
  const done = ends.every((end) => end !== null) ? latest(ends) : null;
  return [queued, opening, ...(closedAt && done && done < closedAt ? [span('closing', done, closedAt)] : [])];
}

/** From `chain.waiting` until the next attempt was scheduled, or the chain closed. */
function waitsOf({ chain, events, attempts }: ChainTimes): Span[] {
  return events.flatMap((event, place): Span[] => {
    if (event.type !== 'chain.waiting') return [];
    const began = new Date(event.at);
    const next = events
      .slice(place + 1)
      .find(({ type }) => ['chain.waiting', 'step.started', 'chain.closed', 'chain.opened'].includes(type));
    const failed = events
      .slice(0, place + 1)
      .findLast(({ type, at }) => type === 'step.failed' && Date.parse(at) <= began.getTime() + 1_000);
    const attempt =
      next?.type === 'step.started' && attempts.find(({ attemptId }) => attemptId === idOf(next));
    const end = attempt ? scheduled(attempt, began) : next ? new Date(next.at) : null;
    const step = stepOf(next) ?? stepOf(failed) ?? null;
    const label = 'for' in event.data ? event.data.for : '';
    return [
      span('waiting', began, end ?? (chain.status === 'waiting' ? null : chain.closedAt), { step, label }),
    ];
  });
}

/** Between two attempts of a step, and what a step waits for that no attempt has begun. */
function betweenAttempts({ chain, attempts, calls, events }: ChainTimes): Span[] {
  const between = attempts.flatMap((attempt, place): Span[] => {
    const former = attempts
      .slice(0, place)
      .findLast(({ step, round }) => step === attempt.step && round === attempt.round);
    const end = former && workEnd(former, events);
    const { step } = attempt;
    const began = scheduled(attempt, end ?? attempt.scheduledAt);
    const waited = events.some(
      ({ type, at }) =>
        type === 'chain.waiting' &&
        end &&
        Date.parse(at) >= end.getTime() &&
        Date.parse(at) <= began.getTime(),
    );
    // Started again: the time between the runs is none of the step.
    const isOfRun = !events.some(
      ({ type, at }) =>
        type === 'chain.queued' &&
        end &&
        Date.parse(at) >= end.getTime() &&
        Date.parse(at) <= began.getTime(),
    );
    return [
      ...(end && end < began && !waited && isOfRun ? [span('retry', end, began, { step })] : []),
      ...(began < attempt.startedAt ? [span('worker', began, attempt.startedAt, { step })] : []),
    ];
  });
  const last = latest([...attempts, ...calls].flatMap(({ endedAt }) => endedAt ?? []));
  const works = [...attempts, ...calls].some(({ endedAt }) => endedAt === null);
  const begun = new Set([...attempts, ...calls].map(({ step }) => step));
  const next = chain.plan?.find(({ name }) => !begun.has(name))?.name ?? null;
  return chain.status === 'running' && !works && last && next !== null
    ? [...between, span('worker', last, null, { step: next })]
    : between;
}

/** Temporal's clock is not the database's. */
function scheduled(
  { scheduledAt, startedAt }: Pick<Attempt, 'scheduledAt' | 'startedAt'>,
  notBefore: Date,
): Date {
  return new Date(Math.min(Math.max(scheduledAt.getTime(), notBefore.getTime()), startedAt.getTime()));
}

function span(
  kind: SpanKind,
  startedAt: Date,
  endedAt: Date | null,
  { step = null, label = '' }: { step?: StepName | null; label?: string } = {},
): Span {
  return { kind, label, step, startedAt, endedAt, entryId: null, count: 1 };
}

function idOf({ data }: Pick<ProjectEvent, 'data'>): string | null {
  return 'attemptId' in data ? data.attemptId : null;
}

function stepOf(event: Pick<ProjectEvent, 'data'> | undefined): StepName | null {
  return event && 'step' in event.data ? event.data.step : null;
}

function earliest(dates: readonly Date[]): Date | null {
  return dates.length === 0 ? null : new Date(Math.min(...dates.map(Number)));
}

function latest(dates: readonly Date[]): Date | null {
  return dates.length === 0 ? null : new Date(Math.max(...dates.map(Number)));
}
