import type { Band, Cell, Layout, Link } from './layout.js';

/** The picture in pixels of its own: where columns and rows are, and the lines between them. */

const columnWidth = 76;
const rowHeight = 68;
/** Where nothing began for long, the columns stand further apart. */
const pauseWidth = 44;
const pauseMs = 3_600_000;
const bandHeight = 30;
const arcStep = 15;
const markRadius = 14;
const edge = 44;

export interface Geometry {
  width: number;
  height: number;
  /** Centre of a column. */
  x: number[];
  y: (row: number) => number;
  /** Pauses: between which columns, and how long. */
  pauses: { x: number; ms: number }[];
  paths: { link: Link; d: string }[];
  axisY: number;
  /** Where a band is, and how much room its name has before the next one. */
  bandOf: (band: Band) => { left: number; width: number; room: number };
}

/** `leastHeight`: the height of the details beside it, where they are; a picture of one row would be a thin strip. */
export function geometryOf({ columns, rows, links, cells, bands }: Layout, leastHeight = 300): Geometry {
  const x: number[] = [];
  const pauses: Geometry['pauses'] = [];
  let at = edge + columnWidth / 2;
  columns.forEach(({ afterMs }, index) => {
    if (index > 0) at += columnWidth;
    if (index > 0 && afterMs >= pauseMs) {
      pauses.push({ x: at + (pauseWidth - columnWidth) / 2, ms: afterMs });
      at += pauseWidth;
    }
    x.push(at);
  });
  const levels = arcLevels(links.filter(isArc));
  const deepest = Math.max(0, ...levels.values());
  const least = bandHeight + 26 + deepest * arcStep + (deepest > 0 ? 14 : 0);
  const rowsHeight = markRadius + rows * rowHeight + (rows > 1 ? 14 : 0);
  const top = least + Math.max(0, leastHeight - least - rowsHeight) * 0.4;
  const y = (row: number) => top + markRadius + row * rowHeight + (row > 0 ? 14 : 0);
  const axisY = Math.max(y(rows - 1) + rowHeight - 8, leastHeight);
  const place = (cell: Cell) => ({ x: x[cell.column] ?? 0, y: y(cell.row) });
  return {
    x,
    y,
    pauses,
    axisY,
    width: (x.at(-1) ?? 0) + columnWidth / 2 + edge,
    height: axisY + 30,
    paths: links.map((link) => ({
      link,
      d: isArc(link)
        ? arcOf(place(link.from), place(link.to), levels.get(link) ?? 1)
        : pathOf(place(link.from), place(link.to), x[link.to.column - 1] ?? 0),
    })),
    bandOf: ({ first, last }) => {
      const left = leftOf(first);
      const next = Math.min(...bands.map((one) => one.first).filter((one) => one > first));
      const end = Number.isFinite(next) ? leftOf(next) : (x.at(-1) ?? 0) + columnWidth / 2 + edge;
      return { left, width: (x[last] ?? 0) - (x[first] ?? 0) + columnWidth - 4, room: end - left - 4 };
    },
  };

  function leftOf(column: number): number {
    return (x[column] ?? 0) - columnWidth / 2 + 2;
  }

  function arcLevels(arcs: readonly Link[]): Map<Link, number> {
    const found = new Map<Link, number>();
    const span = ({ from, to }: Link) => to.column - from.column;
    // Short arcs lie below the long ones that they are inside of.
    for (const arc of [...arcs].sort((one, other) => span(one) - span(other))) {
      const crossing = [...found].filter(
        ([other]) => other.from.column < arc.to.column && arc.from.column < other.to.column,
      );
      const taken = new Set(crossing.map(([, level]) => level));
      let level = 1;
      while (taken.has(level)) level++;
      found.set(arc, level);
    }
    return found;
  }
  function isArc({ kind, from, to }: Link): boolean {
    return (kind === 'rewind' || kind === 'jump') && from.row === 0 && to.row === 0 && cells.length > 0;
  }
}

interface Point {
  x: number;
  y: number;
}

/** Up from a head, along above the line, and down to another. */
function arcOf(from: Point, to: Point, level: number): string {
  const height = from.y - markRadius - 12 - level * arcStep;
  const bend = 10;
  const [left, right] = [from.x, to.x - 6];
  return `M${left} ${from.y - markRadius}V${height + bend}Q${left} ${height} ${left + bend} ${height}H${right - bend}Q${right} ${height} ${right} ${height + bend}V${to.y - markRadius - 5}`;
}

/** Along the row of the parent, down or up between two columns, and along the row of the child. */
function pathOf(from: Point, to: Point, beforeX: number): string {
  const start = from.x + markRadius;
  const end = to.x - markRadius;
  if (from.y === to.y) return `M${start} ${from.y}H${end}`;
  const bend = 10;
  const isDown = to.y > from.y;
  // A fork leaves its parent at once; what goes back up to the line does so just before it.
  const turn = isDown ? from.x + columnWidth / 2 : Math.max(beforeX, from.x) + columnWidth / 2;
  const way = isDown ? bend : -bend;
  return `M${start} ${from.y}H${turn - bend}Q${turn} ${from.y} ${turn} ${from.y + way}V${to.y - way}Q${turn} ${to.y} ${turn + bend} ${to.y}H${end}`;
}
