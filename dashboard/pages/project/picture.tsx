import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { links } from '../../links.js';
import { formatDuration } from '../../ui/format.js';
import { type Geometry, geometryOf } from './geometry.js';
import type { Cell, Layout, LineageChain } from './layout.js';
import { Mark, shapeOf } from './mark.js';
import { MiniMap } from './minimap.js';
import styles from './picture.module.css';
import { Glance } from './glance.js';
import { labelOf, noteOf, restOf } from './words.js';
import { statusText } from '../../ui/badge.js';

/** Where the details of the selected session are beside the picture, as lineage.module.css has it. */
const beside = '(min-width: 1100px)';

export interface PictureProps {
  projectId: string;
  layout: Layout;
  chains: ReadonlyMap<string, LineageChain>;
  headSessionId: string | null;
  selected: string | null;
  onSelect: (sessionId: string) => void;
  onUnfold: (fold: string) => void;
}

/** The line of heads from left to right, what was forked beside it below, and behind it the chains that did it. */
export function Picture({
  projectId,
  layout,
  chains,
  headSessionId,
  selected,
  onSelect,
  onUnfold,
}: PictureProps) {
  const geometry = useMemo(() => geometryOf(layout, matchMedia(beside).matches ? 360 : 240), [layout]);
  const scale = scaleOfText();
  const width = geometry.width * scale;
  const scroller = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<Cell | null>(null);
  const { cells } = layout;
  const isCurrent = (cell: Cell) => cell.nodes.some(({ sessionId }) => sessionId === selected);
  const head = cells.find(({ nodes }) => nodes.some(({ sessionId }) => sessionId === headSessionId));
  const stop = cells.find(isCurrent) ?? head ?? cells.at(-1);
  const chainOf = (cell: Cell) => chains.get(cell.nodes[0]?.chainId ?? '') ?? null;

  // The newest is shown first, and what the address selects wherever it is.
  const isPlaced = useRef(false);
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box || isPlaced.current || cells.length === 0) return;
    isPlaced.current = true;
    const chosen = cells.find(isCurrent);
    box.scrollLeft = chosen
      ? (geometry.x[chosen.column] ?? 0) * scale - box.clientWidth / 2
      : box.scrollWidth;
  }, [layout]);
  // Who looks at the newest goes on seeing it.
  const before = useRef(width);
  useEffect(() => {
    const box = scroller.current;
    if (box && box.scrollLeft + box.clientWidth >= before.current - 60) box.scrollLeft = box.scrollWidth;
    before.current = width;
  }, [width]);

  const focusOn = (cell: Cell | undefined) => {
    if (!cell) return;
    const button = scroller.current?.querySelector<HTMLElement>(`[data-cell="${CSS.escape(cell.id)}"]`);
    button?.scrollIntoView({ block: 'nearest', inline: 'center' });
    button?.focus({ preventScroll: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const id = (event.target as HTMLElement).dataset['cell'];
    const cell = cells.find((one) => one.id === id);
    const next = cell && neighbour(cells, cell, event.key);
    if (next === undefined) return;
    event.preventDefault();
    focusOn(next);
  };
  return (
    <div class={styles.picture}>
      <div
        class={styles.scroller}
        ref={scroller}
        role="group"
        aria-label="Lineage: arrow keys go from session to session, Enter selects"
        onKeyDown={onKeyDown}
        onPointerLeave={() => setPointed(null)}
      >
        <div
          class={styles.canvas}
          style={{
            '--width': `${geometry.width}px`,
            '--height': `${geometry.height}px`,
            '--scale': scale,
          }}
        >
          <Bands projectId={projectId} layout={layout} geometry={geometry} />
          <Lines layout={layout} geometry={geometry} />
          {cells.map((cell) => (
            <CellButton
              key={cell.id}
              cell={cell}
              chain={chainOf(cell)}
              {...{ geometry, headSessionId }}
              isCurrent={isCurrent(cell)}
              isStop={cell === stop}
              onPoint={setPointed}
              onClick={() =>
                cell.fold === null ? onSelect(cell.nodes[0]?.sessionId ?? '') : onUnfold(cell.fold)
              }
            />
          ))}
          {pointed && (
            <Glance
              cell={pointed}
              chain={chainOf(pointed)}
              x={geometry.x[pointed.column] ?? 0}
              y={geometry.y(pointed.row)}
              {...{ scroller, scale }}
            />
          )}
        </div>
      </div>
      <MiniMap {...{ layout, geometry, scale, scroller, headSessionId }} />
    </div>
  );
}

/** The picture is made for text of 14 pixels, and grows with the text of the page on a wide screen. */
function scaleOfText(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
}

/** Left and right along a row, then along the line; up and down between the rows. */
export function neighbour(cells: readonly Cell[], from: Cell, key: string): Cell | undefined {
  const nearest = (candidates: readonly Cell[]) =>
    candidates.reduce<Cell | undefined>(
      (best, one) =>
        best && Math.abs(best.column - from.column) <= Math.abs(one.column - from.column) ? best : one,
      undefined,
    );
  const inRow = (row: number, side: number) =>
    cells.filter((one) => one.row === row && Math.sign(one.column - from.column) === side);
  switch (key) {
    case 'ArrowLeft':
      return nearest(inRow(from.row, -1)) ?? nearest(inRow(0, -1));
    case 'ArrowRight':
      return nearest(inRow(from.row, 1)) ?? nearest(inRow(0, 1));
    case 'ArrowUp': {
      const above = Math.max(...cells.filter(({ row }) => row < from.row).map(({ row }) => row));
      return nearest(cells.filter(({ row }) => row === above));
    }
    case 'ArrowDown': {
      const below = cells.filter(({ row, column }) => row > from.row && Math.abs(column - from.column) <= 1);
      const row = Math.min(...below.map((one) => one.row));
      return nearest(below.filter((one) => one.row === row));
    }
    case 'Home':
      return cells.find(({ row }) => row === 0) ?? cells[0];
    case 'End':
      return cells.filter(({ row }) => row === 0).at(-1) ?? cells.at(-1);
    default:
      return undefined;
  }
}

interface CellButtonProps {
  cell: Cell;
  chain: LineageChain | null;
  geometry: Geometry;
  headSessionId: string | null;
  isCurrent: boolean;
  isStop: boolean;
  onPoint: (cell: Cell | null) => void;
  onClick: () => void;
}

function CellButton({
  cell,
  chain,
  geometry,
  headSessionId,
  isCurrent,
  isStop,
  onPoint,
  onClick,
}: CellButtonProps) {
  const [node] = cell.nodes;
  if (node === undefined) return null;
  const isFold = cell.fold !== null;
  const isHead = cell.nodes.some(({ sessionId }) => sessionId === headSessionId);
  const tone = isHead
    ? 'head'
    : cell.row > 0 || node.kind === 'attempt' || node.kind === 'side_branch'
      ? 'beside'
      : cell.nodes.every(({ kind }) => kind !== 'head')
        ? 'forgotten'
        : 'line';
  const worst = isFold
    ? (['lost', 'quarantined', 'hole', 'unknown'] as const).find((condition) =>
        cell.nodes.some((one) => one.seq !== null && one.condition === condition),
      )
    : node.condition;
  return (
    <button
      type="button"
      class={styles.cell}
      data-cell={cell.id}
      data-tone={tone}
      {...(isFold ? { 'aria-expanded': false } : { 'aria-pressed': isCurrent })}
      tabIndex={isStop ? 0 : -1}
      style={{ '--x': `${geometry.x[cell.column] ?? 0}px`, '--y': `${geometry.y(cell.row)}px` }}
      onPointerEnter={() => onPoint(cell)}
      onFocus={() => onPoint(cell)}
      onBlur={() => onPoint(null)}
      onClick={onClick}
    >
      {isHead && <span class={styles.flag}>Head</span>}
      <Mark
        shape={isFold ? 'fold' : shapeOf(node)}
        tone={tone}
        {...(worst === undefined ? {} : { condition: worst })}
        {...(isFold ? { count: cell.nodes.length } : {})}
      />
      <span class={styles.label}>{labelOf(cell, chain)}</span>
      {!isFold && <span class={styles.id}>{noteOf(node)}</span>}
      <span class="said">{restOf(cell, chain)}</span>
    </button>
  );
}

/** Where each chain began and ended: its version above the line leads to its page. */
function Bands({ projectId, layout, geometry }: { projectId: string; layout: Layout; geometry: Geometry }) {
  return (
    <>
      {layout.bands.map((band) => {
        const { chain } = band;
        const { left, width, room } = geometry.bandOf(band);
        const name =
          chain.versionId === chain.buildId ? chain.versionId : `${chain.versionId} · ${chain.buildId}`;
        const said = `Chain ${name}, ${statusText(chain.status)}${chain.failureCode === null ? '' : `, ${chain.failureCode}`}`;
        return (
          <div
            key={`${chain.chainId} ${band.first}`}
            class={styles.band}
            data-status={chain.status}
            style={{ '--left': `${left}px`, '--width': `${width}px`, '--room': `${room}px` }}
          >
            <a href={links.chain({ projectId, ...chain })} title={said} aria-label={said} tabIndex={-1}>
              <span class={styles.dot} aria-hidden="true" />
              <span>{shortName(name, projectId)}</span>
            </a>
          </div>
        );
      })}
    </>
  );
}

/** Versions are often named after their project, whose page this is. */
function shortName(name: string, projectId: string): string {
  return name.startsWith(`${projectId}-`) ? name.slice(projectId.length + 1) : name;
}

/** The lines between the sessions, the pauses, and the days below them. */
function Lines({ layout, geometry }: { layout: Layout; geometry: Geometry }) {
  const { width, height, axisY, x } = geometry;
  return (
    <svg class={styles.lines} width={width} height={height} aria-hidden="true">
      <defs>
        <marker
          id="lineage-arrow"
          viewBox="0 0 8 8"
          refX="6"
          refY="4"
          markerWidth="8"
          markerHeight="8"
          markerUnits="userSpaceOnUse"
          orient="auto"
        >
          <path d="M0 0 8 4 0 8z" class={styles.arrow} />
        </marker>
      </defs>
      <line class={styles.axis} x1="0" x2={width} y1={axisY} y2={axisY} />
      {geometry.pauses.map(({ x: at, ms }) => (
        <g key={at}>
          <line class={styles.pause} x1={at} x2={at} y1={30} y2={axisY} />
          <text class={styles.pauseText} x={at} y={axisY - 6}>
            {formatDuration(ms).replace(/ \d+ (min|s|h)$/, '')}
          </text>
        </g>
      ))}
      {geometry.paths.map(({ link, d }) => (
        <path
          key={`${link.from.id} ${link.to.id} ${link.kind}`}
          class={styles.link}
          data-kind={link.kind}
          d={d}
          {...(link.kind === 'rewind' || link.kind === 'jump' ? { 'marker-end': 'url(#lineage-arrow)' } : {})}
        />
      ))}
      {ticksOf(layout).map(({ column, day, time }) => (
        <g key={column}>
          <line class={styles.axis} x1={x[column]} x2={x[column]} y1={axisY} y2={axisY + (day ? 7 : 4)} />
          <text class={day ? styles.day : styles.time} x={x[column]} y={axisY + 20}>
            {day ?? time}
          </text>
        </g>
      ))}
    </svg>
  );
}

/** Each day where it begins, and the time of what is between. */
function ticksOf({ columns }: Layout): { column: number; day: string | null; time: string }[] {
  let before = '';
  let last = -2;
  return columns.flatMap(({ at }, column) => {
    const date = new Date(at);
    const day = date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
    const time = date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
    const isNew = day !== before;
    if (!isNew && column - last < 2) return [];
    before = day;
    last = column;
    return [{ column, day: isNew ? day : null, time }];
  });
}
