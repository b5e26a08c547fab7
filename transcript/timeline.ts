import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { SpanKind, TimeSpan } from '../contracts/timeline.js';

/** What the journal knows of the attempt whose entries are looked at. */
export interface AttemptTimes {
  startedAt: Date;
  /** Null while it runs. */
  endedAt: Date | null;
  isCommitted: boolean;
  /** When its worker last gave a sign of life. */
  seenAt: Date;
  /** When its lease expires without another one. */
  leaseUntil: Date;
}

const blocks = z.array(z.looseObject({ type: z.string() }));
const written = { timestamp: z.iso.datetime().transform(Date.parse), uuid: z.string().nullish() };
const timedEntry = z.union([
  z.object({
    ...written,
    type: z.literal('assistant'),
    isApiErrorMessage: z.boolean().default(false),
    // Claude Code also writes in the model's name, for a turn that was interrupted.
    message: z.object({
      id: z.string(),
      model: z
        .string()
        .nullish()
        .refine((model) => model !== '<synthetic>'),
      content: blocks.default([]),
    }),
  }),
  z.object({
    ...written,
    type: z.literal('user'),
    message: z.object({ content: z.union([z.string(), blocks]) }),
  }),
  z.object({ ...written, type: z.literal('system'), subtype: z.literal('compact_boundary') }),
]);
type TimedEntry = z.infer<typeof timedEntry>;

/** A message of the model; it is stored as an entry per block. */
interface Answer {
  entryId: string | null;
  from: number;
  to: number;
  isError: boolean;
  calls: { name: string; calledAt: number; endedAt: number | null }[];
}

type Span = Omit<TimeSpan, 'startedAt' | 'endedAt'> & { from: number; to: number | null };

/**
 * Where the time of an attempt went, by the timestamps of the entries that it added itself to the main conversation. They are of the
 * worker's clock, the journal's times of the database's: what lies outside the attempt is moved to its edge.
 */
export function attemptSpans(own: readonly SessionStoreEntry[], times: AttemptTimes): TimeSpan[] {
  const begun = times.startedAt.getTime();
  const ended = times.endedAt?.getTime() ?? null;
  const within = (at: number) => Math.min(Math.max(at, begun), ended ?? at);
  const entries = own
    .flatMap((entry): TimedEntry[] => {
      const parsed = timedEntry.safeParse(entry);
      return parsed.success ? [parsed.data] : [];
    })
    .sort((one, other) => one.timestamp - other.timestamp);
  const answers = answersOf(entries, begun);
  const spans: Span[] = [
    ...answers.flatMap(spansOfAnswer),
    ...entries.flatMap((entry, place): Span[] =>
      entry.type === 'system'
        ? [span('compaction', answeredBefore(entries.slice(0, place)) ?? begun, entry.timestamp, entry.uuid)]
        : [],
    ),
  ];
  const [first] = entries;
  if (first) spans.push(span('start', begun, first.type === 'user' ? first.timestamp : begun));
  spans.push(...tail(entries, answers, { ...times, begun, ended }));
  return spans
    .map((one) => ({ ...one, from: within(one.from), to: one.to === null ? null : within(one.to) }))
    .filter(({ kind, from, to }) => to === null || to > from || kind === 'tool' || kind === 'model')
    .sort((one, other) => one.from - other.from)
    .map(({ from, to, ...rest }) => ({
      ...rest,
      startedAt: new Date(from),
      endedAt: to === null ? null : new Date(to),
    }));
}

function span(kind: SpanKind, from: number, to: number | null, entryId?: string | null, label = ''): Span {
  return { kind, label, from, to, entryId: entryId ?? null, count: 1 };
}

/** When the last answer, or what its tools said, was there; before the first answer when the agent was asked. */
function answeredBefore(entries: readonly TimedEntry[]): number | null {
  const last = entries.findLastIndex((entry) => entry.type === 'assistant' || resultsIn(entry).length > 0);
  return (last < 0 ? entries[0] : entries[last])?.timestamp ?? null;
}

function resultsIn(entry: TimedEntry): unknown[] {
  if (entry.type !== 'user' || typeof entry.message.content === 'string') return [];
  return entry.message.content.flatMap(({ type, tool_use_id: id }) => (type === 'tool_result' ? [id] : []));
}

function answersOf(entries: readonly TimedEntry[], begun: number): Answer[] {
  const results = new Map(
    entries.flatMap((entry) => resultsIn(entry).map((id) => [id, entry.timestamp] as const)),
  );
  const answers = new Map<string, Answer>();
  entries.forEach((entry, place) => {
    if (entry.type !== 'assistant') return;
    const { timestamp: at, uuid = null, isApiErrorMessage: isError, message } = entry;
    const calls = message.content
      .filter(({ type }) => type === 'tool_use')
      .map(({ id, name }) => ({ name: String(name), calledAt: at, endedAt: results.get(id) ?? null }));
    const before = answers.get(message.id);
    // The model was asked by what came before its first block.
    const { from, entryId } = before ?? { from: entries[place - 1]?.timestamp ?? begun, entryId: uuid };
    answers.set(message.id, { entryId, from, to: at, isError, calls: [...(before?.calls ?? []), ...calls] });
  });
  return [...answers.values()];
}

function spansOfAnswer({ entryId, from, to, isError, calls }: Answer, place: number, all: Answer[]): Span[] {
  const model = span('model', from, to, entryId, isError ? 'error of the model service' : '');
  const isLast = place === all.length - 1;
  // What was not answered before the conversation went on did not run; of the last answer see `tail`.
  const ends = calls.flatMap(({ endedAt }) => endedAt ?? []);
  if (ends.length === 0 || (isLast && ends.length < calls.length)) return [model];
  const done = Math.max(...ends);
  // Tools may be done before the answer is.
  const began = done < to ? Math.min(...calls.map(({ calledAt }) => calledAt)) : to;
  return [model, span('tool', began, done, entryId, namesOf(calls))];
}

/** What it was doing when it ended, or is doing. */
function tail(
  entries: readonly TimedEntry[],
  answers: readonly Answer[],
  { begun, ended, isCommitted, seenAt, leaseUntil }: AttemptTimes & { begun: number; ended: number | null },
): Span[] {
  const last = entries.at(-1);
  const since = last?.timestamp ?? begun;
  const isLost = ended !== null && !isCommitted && ended >= leaseUntil.getTime();
  const to = isLost ? Math.max(since, seenAt.getTime()) : ended;
  const answer = answers.at(-1);
  const open = answer?.calls.filter(({ endedAt }) => endedAt === null) ?? [];
  const now = () => {
    if (!last) return span('start', begun, to);
    if (isCommitted || !answer) return span(isCommitted ? 'end' : 'model', since, to);
    if (open.length > 0) return span('tool', answer.to, to, answer.entryId, namesOf(answer.calls));
    return span(last.type === 'assistant' ? 'end' : 'model', since, to);
  };
  return [now(), ...(isLost ? [span('lost', to ?? ended, ended)] : [])];
}

/** `Write ×2, Bash` */
function namesOf(calls: readonly { name: string }[]): string {
  const counts = new Map<string, number>();
  for (const { name } of calls) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`)).join(', ');
  return names.length <= 80 ? names : `${names.slice(0, 79)}…`;
}

/** Ms by kind; what lasts counts up to `at`. */
export function totalsOf(spans: readonly TimeSpan[], at: Date): Partial<Record<SpanKind, number>> {
  const totals: Partial<Record<SpanKind, number>> = {};
  for (const one of spans) totals[one.kind] = (totals[one.kind] ?? 0) + durationOf(one, at);
  return totals;
}

/**
 * At most about twice `most` spans, in which short neighbours are merged; what is longer than its share stays as it is, and so
 * does what lasts.
 */
export function mergedSpans(spans: readonly TimeSpan[], most: number, at: Date): TimeSpan[] {
  if (spans.length <= 2 * most) return [...spans];
  const share = spans.reduce((sum, one) => sum + durationOf(one, at), 0) / most;
  const merged: TimeSpan[] = [];
  let group: TimeSpan[] = [];
  const close = () => {
    if (group.length > 0) merged.push(oneOf(group, at));
    group = [];
  };
  for (const one of spans) {
    if (durationOf(one, at) > share || one.endedAt === null) {
      close();
      merged.push(one);
      continue;
    }
    group.push(one);
    if (group.reduce((sum, member) => sum + durationOf(member, at), 0) > share) close();
  }
  close();
  return merged;
}

function oneOf(group: readonly TimeSpan[], at: Date): TimeSpan {
  const [first] = group as [TimeSpan];
  if (group.length === 1) return first;
  const [[kind]] = Object.entries(totalsOf(group, at)).sort(([, one], [, other]) => other - one) as [
    [SpanKind, number],
  ];
  const count = (of: SpanKind) =>
    group.filter((one) => one.kind === of).reduce((sum, one) => sum + one.count, 0);
  return {
    ...first,
    kind,
    label: `${count('model')} answers, ${count('tool')} times tools`,
    endedAt: new Date(Math.max(...group.map(({ endedAt }) => endedAt?.getTime() ?? 0))),
    count: group.reduce((sum, one) => sum + one.count, 0),
  };
}

function durationOf({ startedAt, endedAt }: TimeSpan, at: Date): number {
  return Math.max(0, (endedAt ?? at).getTime() - startedAt.getTime());
}
