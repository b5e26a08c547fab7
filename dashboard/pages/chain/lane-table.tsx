import { Status } from '../../ui/badge.js';
import { type Column, Table } from '../../ui/table.js';
import { formatDuration } from '../../ui/format.js';
import { type SpanKind, kinds } from './kinds.js';
import styles from './lanes.module.css';
import type { Selection } from './lanes.js';
import { type Step, type Timeline, nameOf } from './rows.js';

interface Row {
  key: string;
  step: string;
  attempt: string;
  attemptId: string | null;
  state: string;
  from: number;
  ms: Partial<Record<SpanKind, number>>;
}

/** The lanes in words and numbers. */
export function LaneTable({
  timeline,
  steps,
  at,
  origin,
  hrefOf,
}: {
  timeline: Timeline;
  steps: readonly Step[];
  at: number;
  origin: number;
  hrefOf: (selection: Selection) => string;
}) {
  const rows = rowsOf(timeline, steps, at);
  const time = (label: string, ...of: SpanKind[]): Column<Row> => ({
    label,
    hint: of.map((kind) => kinds[kind].meaning).join('. '),
    align: 'right',
    cell: ({ ms }) => {
      const sum = of.reduce((total, kind) => total + (ms[kind] ?? 0), 0);
      return sum === 0 ? <span class="muted">–</span> : formatDuration(sum);
    },
  });
  return (
    <details class={styles.table}>
      <summary>As a table</summary>
      <div class={styles.scroll} tabIndex={0} role="region" aria-label="Where the time went, as a table">
        <Table
          caption="Where the time of each attempt went"
          rows={rows}
          keyOf={({ key }) => key}
          columns={[
            {
              label: 'Step',
              cell: ({ step, attemptId, attempt }) => (
                <a href={hrefOf({ step, attempt: attemptId })}>
                  {step} {attempt}
                </a>
              ),
            },
            { label: 'State', cell: ({ state }) => <Status status={state} /> },
            {
              label: 'Began at',
              hint: 'Time since the chain was first asked for',
              align: 'right',
              cell: ({ from }) => formatDuration(from - origin),
            },
            time('Waited', 'worker', 'retry', 'waiting'),
            time('Start', 'start'),
            time('Model', 'model', 'compaction'),
            time('Tools', 'tool', 'call'),
            time('Commit', 'end'),
            time('Lost', 'lost'),
          ]}
        />
      </div>
    </details>
  );
}

function rowsOf(timeline: Timeline, steps: readonly Step[], at: number): Row[] {
  return steps.flatMap((step): Row[] => {
    const around = timeline.spans.filter((span) => span.step === step.step);
    const attempts = timeline.attempts
      .filter((one) => one.step === step.step)
      .map((attempt): Row => {
        const from = Date.parse(attempt.spans[0]?.startedAt ?? timeline.at);
        return {
          key: attempt.attemptId,
          step: step.step,
          attempt: nameOf(attempt),
          attemptId: attempt.attemptId,
          state: step.journal.find(({ attemptId }) => attemptId === attempt.attemptId)?.state ?? '',
          from,
          ms: attempt.totalsMs,
        };
      });
    // What was waited for is told of the attempt that came next, else of the step.
    const outside: Row = { ...emptyRow(step), from: Date.parse(around[0]?.startedAt ?? timeline.at), ms: {} };
    for (const span of around) {
      const ended = span.endedAt === null ? at : Date.parse(span.endedAt);
      const row = attempts.find(({ from }) => from >= ended - 1) ?? outside;
      row.ms = { ...row.ms, [span.kind]: (row.ms[span.kind] ?? 0) + ended - Date.parse(span.startedAt) };
    }
    return Object.keys(outside.ms).length > 0 ? [...attempts, outside] : attempts;
  });
}

function emptyRow({ step, status }: Step) {
  return { key: `${step} `, step, attempt: '', attemptId: null, state: status };
}
