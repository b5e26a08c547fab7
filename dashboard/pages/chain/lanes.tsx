import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { elapsedLabel, ticksOf, timeScale } from '../../ui/axis.js';
import { toneOf } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { formatCount, formatDuration, formatTime } from '../../ui/format.js';
import { useQueryState } from '../../ui/query-state.js';
import { now as clock } from '../../ui/values.js';
import { kindOrder, kinds } from './kinds.js';
import styles from './lanes.module.css';
import { LaneTable } from './lane-table.js';
import { type Lane, type LaneSpan, type Step, type Timeline, lanesOf, sectionsOf, totalsOf } from './rows.js';

const zooms = [1, 2, 4, 8, 16, 32];

export interface Selection {
  step: string | null;
  attempt: string | null;
}

export interface LanesProps {
  timeline: Timeline;
  steps: readonly Step[];
  selected: Selection;
  /** The address of a selection. */
  hrefOf: (selection: Selection) => string;
  onSelect: (selection: Selection) => void;
}

/** Steps and attempts on an axis of time. The arrow keys go from span to span; a table has the same. */
export function Lanes({ timeline, steps, selected, hrefOf, onSelect }: LanesProps) {
  const [zoomed, setZoom] = useQueryState('zoom');
  const zoom = Math.max(0, zooms.indexOf(Number(zoomed ?? 1)));
  const [opened, setOpened] = useState<Record<string, boolean>>({});
  const [shown, setShown] = useState<{ lane: number; span: number } | null>(null);
  const picture = useRef<HTMLDivElement>(null);

  // Only what is open grows with the clock.
  const isOpen = timeline.runs.at(-1)?.closedAt === null;
  const at = isOpen ? Math.max(clock.value, Date.parse(timeline.at)) : Date.parse(timeline.at);
  const lanes = lanesOf(timeline, steps, (step, byDefault) => opened[step] ?? byDefault);
  const sections = sectionsOf(timeline, at);
  const scale = timeScale(sections);
  const origin = sections[0]?.from ?? at;
  const lane = shown && lanes[shown.lane];
  const span = lane && lane.spans[shown.span];

  const move = (event: JSX.TargetedKeyboardEvent<HTMLDivElement>) => {
    const { key } = event;
    if (key === 'Enter' && span && span.step !== null) onSelect({ step: span.step, attempt: span.attemptId });
    else {
      const next = moved(lanes, shown, key);
      if (!next) return;
      setShown(next);
      picture.current
        ?.querySelector(`[data-place="${next.lane} ${next.span}"]`)
        ?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }
    event.preventDefault();
  };
  const under = ({ target }: Event): { lane: number; span: number } | null => {
    const place = target instanceof HTMLElement ? target.dataset['place'] : undefined;
    if (place === undefined) return null;
    const [laneAt = 0, spanAt = 0] = place.split(' ').map(Number);
    return { lane: laneAt, span: spanAt };
  };
  const choose = (event: Event) => {
    const place = under(event);
    const hit = place && lanes[place.lane]?.spans[place.span];
    if (hit && hit.step !== null) onSelect({ step: hit.step, attempt: hit.attemptId });
  };

  return (
    <Card
      title="Where the time went"
      hint="One lane per step, and one per attempt where a step has several. Times are those of the database and of the transcript; where the chain was asked for again, the time between is cut out."
      flush
      actions={
        <span class={styles.zoom} role="group" aria-label="Zoom">
          <Button
            label="Zoom out"
            disabled={zoom === 0}
            onClick={() => setZoom(zoomText(zoom - 1), { replace: true })}
          >
            −
          </Button>
          <span class="small muted">{zooms[zoom]}×</span>
          <Button
            label="Zoom in"
            disabled={zoom === zooms.length - 1}
            onClick={() => setZoom(zoomText(zoom + 1), { replace: true })}
          >
            +
          </Button>
        </span>
      }
    >
      <div
        ref={picture}
        class={styles.picture}
        role="group"
        aria-label="Lanes. The arrow keys go from span to span, Enter selects the step."
        tabIndex={0}
        onKeyDown={move}
        onBlur={() => setShown(null)}
        onMouseOver={(event) => setShown(under(event))}
        onMouseLeave={() => setShown(null)}
        onClick={choose}
      >
        <div class={styles.inside} style={{ '--zoom': String(zooms[zoom]) }}>
          <div class={styles.corner} />
          <Axis sections={scale.sections} origin={origin} zoom={zooms[zoom] ?? 1} />
          {lanes.map((one, index) => (
            <LaneRow
              key={one.key}
              lane={one}
              index={index}
              at={at}
              share={scale.share}
              cuts={scale.sections.slice(1).map(({ start }) => start)}
              isSelected={isOfLane(one, selected)}
              href={hrefOf({ step: one.step, attempt: one.attemptId })}
              shown={shown?.lane === index ? shown.span : null}
              expanded={lanes[index + 1]?.kind === 'attempt'}
              onToggle={(open) => one.step !== null && setOpened({ ...opened, [one.step]: open })}
            />
          ))}
        </div>
      </div>
      <p class={styles.said} role="status" aria-live="polite">
        {span && lane ? <Said span={span} at={at} origin={origin} /> : <Legend timeline={timeline} at={at} />}
      </p>
      <LaneTable timeline={timeline} steps={steps} at={at} origin={origin} hrefOf={hrefOf} />
    </Card>
  );
}

function zoomText(place: number): string | null {
  return place === 0 ? null : String(zooms[place]);
}

function isOfLane(lane: Lane, { step, attempt }: Selection): boolean {
  if (lane.step === null || lane.step !== step) return false;
  return lane.kind === 'step' ? attempt === null : lane.attemptId === attempt;
}

/** The span to which a key leads; null for another key. */
function moved(
  lanes: readonly Lane[],
  from: { lane: number; span: number } | null,
  key: string,
): { lane: number; span: number } | null {
  if (!['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'].includes(key)) return null;
  const filled = lanes.flatMap((lane, index) => (lane.spans.length > 0 ? [index] : []));
  const first = filled[0];
  if (first === undefined) return null;
  if (!from) return { lane: first, span: 0 };
  const count = lanes[from.lane]?.spans.length ?? 1;
  const within = (span: number) => ({ lane: from.lane, span: Math.min(count - 1, Math.max(0, span)) });
  if (key === 'Home') return within(0);
  if (key === 'End') return within(count - 1);
  if (key === 'ArrowLeft') return within(from.span - 1);
  if (key === 'ArrowRight') return within(from.span + 1);
  const place = filled.indexOf(from.lane) + (key === 'ArrowUp' ? -1 : 1);
  const lane = filled[Math.min(filled.length - 1, Math.max(0, place))] ?? first;
  return { lane, span: 0 };
}

function Axis({
  sections,
  origin,
  zoom,
}: {
  sections: readonly { from: number; to: number; start: number; end: number }[];
  origin: number;
  zoom: number;
}) {
  const ticks = sections.flatMap(({ from, to, start, end }, section) =>
    ticksOf({ from, to }, Math.max(1, Math.round(6 * zoom * (end - start)))).map(({ at, step }, place) => ({
      left: start + ((end - start) * (at - from)) / Math.max(1, to - from),
      // Each run counts from its own begin; the first tick of a later one says when that was.
      label: section > 0 && place === 0 ? formatTime(new Date(from)) : elapsedLabel(at - from, step),
      title: formatTime(new Date(at)),
      isOdd: place % 2 === 1,
    })),
  );
  return (
    <div class={styles.axis} aria-hidden="true" title={`From ${formatTime(new Date(origin))}`}>
      {ticks.map(({ left, label, title, isOdd }) => (
        <span
          key={left}
          class={styles.tick}
          data-odd={isOdd}
          data-last={left > 0.94}
          title={title}
          style={{ left: `${100 * left}%` }}
        >
          {label}
        </span>
      ))}
    </div>
  );
}

interface RowProps {
  lane: Lane;
  index: number;
  at: number;
  share: (at: number) => number;
  cuts: readonly number[];
  isSelected: boolean;
  href: string;
  /** The span that is shown. */
  shown: number | null;
  expanded: boolean;
  onToggle: (open: boolean) => void;
}

function LaneRow({ lane, index, at, share, cuts, isSelected, href, shown, expanded, onToggle }: RowProps) {
  return (
    <>
      <div class={styles.label} data-kind={lane.kind} data-selected={isSelected}>
        {lane.kind === 'step' && lane.attempts > 1 && (
          <button
            type="button"
            class={styles.toggle}
            aria-expanded={expanded}
            aria-label={`Attempts of ${lane.label}`}
            onClick={(event) => {
              event.stopPropagation();
              onToggle(!expanded);
            }}
          >
            <svg viewBox="0 0 10 10" aria-hidden="true">
              <path d={expanded ? 'M1 3l4 4 4-4' : 'M3 1l4 4-4 4'} />
            </svg>
          </button>
        )}
        {lane.step === null ? (
          <span class="muted">{lane.label}</span>
        ) : (
          <a href={href} aria-current={isSelected ? 'true' : undefined} title={lane.status ?? undefined}>
            <span class={styles.dot} data-tone={toneOf(lane.status ?? '')} aria-hidden="true" />
            <span class={styles.name}>{lane.label}</span>
            <span class="said">, {lane.status}</span>
            {lane.kind === 'step' && lane.attempts > 1 && (
              <span class={styles.attempts} title={`${lane.attempts} attempts`}>
                ×{formatCount(lane.attempts)}
              </span>
            )}
          </a>
        )}
      </div>
      <div class={styles.lane} data-kind={lane.kind} data-selected={isSelected} aria-hidden="true">
        {lane.spans.map((span, place) => {
          const left = share(span.from);
          const right = share(span.to ?? at);
          return (
            <span
              key={place}
              class={styles.span}
              data-kind={span.kind}
              data-open={span.to === null}
              data-shown={shown === place}
              data-place={`${index} ${place}`}
              style={{ left: `${100 * left}%`, width: `${100 * Math.max(0, right - left)}%` }}
            />
          );
        })}
        {cuts.map((cut) => (
          <span key={cut} class={styles.cut} style={{ left: `${100 * cut}%` }} />
        ))}
      </div>
    </>
  );
}

/** What a span was and how long it took. */
function Said({ span, at, origin }: { span: LaneSpan; at: number; origin: number }) {
  const { name, meaning } = kinds[span.kind];
  const place = [span.step, span.attempt && `attempt ${span.attempt}`].filter(Boolean).join(', ');
  return (
    <>
      <span class={styles.swatch} data-kind={span.kind} aria-hidden="true" />
      <strong>
        {name} {formatDuration((span.to ?? at) - span.from)}
        {span.to === null ? ' so far' : ''}
      </strong>
      {span.label && <span class="mono">{span.label}</span>}
      <span class="muted">
        {place && `${place} · `}at {formatDuration(span.from - origin)}, {formatTime(new Date(span.from))}
        {span.count > 1 ? ` · ${span.count} spans, merged` : ` · ${meaning}`}
      </span>
    </>
  );
}

/** What each kind looks like, and how long it took over all. */
function Legend({ timeline, at }: { timeline: Timeline; at: number }) {
  const totals = totalsOf(timeline, at);
  return (
    <>
      {kindOrder.flatMap((kind) => {
        const ms = totals[kind];
        return ms === undefined
          ? []
          : [
              <span key={kind} class={styles.key} title={kinds[kind].meaning}>
                <span class={styles.swatch} data-kind={kind} aria-hidden="true" />
                {kinds[kind].name} <span class="muted">{formatDuration(ms)}</span>
              </span>,
            ];
      })}
      {timeline.isMerged && <span class="muted">Short spans are merged.</span>}
    </>
  );
}
