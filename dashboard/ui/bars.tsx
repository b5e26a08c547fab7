import { useLocation } from 'preact-iso';
import { useState } from 'preact/hooks';
import styles from './bars.module.css';
import { formatCount, formatUsd } from './format.js';
import { Table } from './table.js';

/** What one day cost, as `GET /v1/spend?by=day` groups it: `key` is the day, as 2026-11-26, UTC. */
export interface DayCost {
  key: string;
  attempts: number;
  costUsd: number;
  attemptsOfUnknownCost: number;
}

/**
 * Costs by day as bars, with the same as a table to open below. Days on which nothing was spent may be left out of `days`.
 * @example
 * <DayBars days={spend.groups} since="2026-11-01" until="2026-11-26" hrefOf={(day) => links.costs({ since: day })} />
 */
export function DayBars({
  days,
  since,
  until,
  height = 9,
  hrefOf,
}: {
  days: readonly DayCost[];
  /** The first day that is shown; default: the first of `days`. */
  since?: string;
  /** The last day that is shown; default: today. */
  until?: string;
  /** Of the bars, in rem. */
  height?: number;
  /** Where a day leads. */
  hrefOf?: (day: string) => string;
}) {
  const { route } = useLocation();
  const [pointed, setPointed] = useState<DayCost | null>(null);
  const shown = everyDay(days, since ?? days[0]?.key ?? today(), until ?? today());
  const dearest = shown.reduce((one, other) => (other.costUsd > one.costUsd ? other : one));
  const sum = shown.reduce((total, { costUsd }) => total + costUsd, 0);
  const top = roundUp(dearest.costUsd);
  const unknown = shown.reduce((total, { attemptsOfUnknownCost: more }) => total + more, 0);
  const slot = 100 / shown.length;
  const summary = `${formatUsd(sum, { unknown })} in ${daysOf(shown.length)}; most on ${nameOf(dearest.key)}: ${formatUsd(dearest.costUsd)}`;
  return (
    <figure class={styles.figure}>
      <figcaption class={styles.said}>{pointed ? said(pointed) : summary}</figcaption>
      <div class={styles.plot} style={{ '--height': `${height}rem` }}>
        <div class={styles.scale} aria-hidden="true">
          <span>{formatUsd(top)}</span>
          <span>{formatUsd(top / 2)}</span>
          <span>$0</span>
        </div>
        <svg
          class={styles.bars}
          role="img"
          aria-label={`Cost by day. ${summary}. The table below has every day.`}
          onPointerLeave={() => setPointed(null)}
        >
          {[0, 50, 100].map((y) => (
            <line key={y} class={styles.line} x1="0" x2="100%" y1={`${y}%`} y2={`${y}%`} />
          ))}
          {shown.map((day, index) => {
            // What costs little is seen as well.
            const size = day.costUsd === 0 ? 0 : Math.max(1, (100 * day.costUsd) / top);
            return (
              // For the pointer; the table has the links.
              <g
                key={day.key}
                class={styles.day}
                data-leads={hrefOf !== undefined}
                onPointerEnter={() => setPointed(day)}
                onClick={() => hrefOf && route(hrefOf(day.key))}
              >
                <rect class={styles.slot} x={`${index * slot}%`} width={`${slot}%`} height="100%" />
                <rect
                  class={styles.bar}
                  x={`${(index + 0.12) * slot}%`}
                  width={`${slot * 0.76}%`}
                  y={`${100 - size}%`}
                  height={`${size}%`}
                  rx="1.5"
                />
              </g>
            );
          })}
        </svg>
        <div class={styles.dates} aria-hidden="true">
          {marked(shown.length).map((index) => (
            <span key={index} style={{ left: `${(index + 0.5) * slot}%` }}>
              {nameOf(shown[index]?.key ?? '')}
            </span>
          ))}
        </div>
      </div>
      <details class={styles.table}>
        <summary>As a table</summary>
        <Table
          caption="Cost by day, UTC, the newest first"
          rows={shown.toReversed()}
          keyOf={({ key }) => key}
          columns={[
            {
              label: 'Day, UTC',
              cell: ({ key }) => (hrefOf ? <a href={hrefOf(key)}>{key}</a> : key),
            },
            {
              label: 'Cost',
              align: 'right',
              cell: (day) => formatUsd(day.costUsd, { unknown: day.attemptsOfUnknownCost }),
            },
            { label: 'Attempts', align: 'right', cell: ({ attempts }) => formatCount(attempts) },
          ]}
        />
      </details>
    </figure>
  );
}

const dayMs = 86_400_000;
/** More bars than this cannot be told apart. */
const mostDays = 400;

/** A day as the API writes it, UTC. */
export function dayOf(at: Date): string {
  return at.toISOString().slice(0, 10);
}
function today() {
  return dayOf(new Date());
}

/** Every day from one to another, those without costs as 0. */
function everyDay(days: readonly DayCost[], since: string, until: string): DayCost[] {
  const last = Date.parse(until);
  const first = Math.max(Math.min(Date.parse(since), last), last - (mostDays - 1) * dayMs);
  const known = new Map(days.map((day) => [day.key, day]));
  return Array.from({ length: Math.round((last - first) / dayMs) + 1 }, (_, index) => {
    const key = dayOf(new Date(first + index * dayMs));
    return known.get(key) ?? { key, attempts: 0, costUsd: 0, attemptsOfUnknownCost: 0 };
  });
}

/** The next round number above, at which a scale ends. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((factor) => factor * power).find((one) => one >= value * 0.999) ?? value;
}

/** Which days have their date below: five at most, evenly. */
function marked(length: number): number[] {
  const step = Math.ceil(length / 5);
  return Array.from(
    { length: Math.ceil(length / step) },
    (_, index) => length - 1 - index * step,
  ).toReversed();
}

function nameOf(day: string): string {
  const at = new Date(day);
  return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
}

function said({ key, costUsd, attempts, attemptsOfUnknownCost: unknown }: DayCost): string {
  const cost = formatUsd(costUsd, { unknown });
  return `${nameOf(key)}: ${cost}, ${formatCount(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}`;
}

function daysOf(count: number): string {
  return count === 1 ? '1 day' : `${count} days`;
}
