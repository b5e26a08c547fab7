import type { RefObject } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { formatCompact, formatUsd, shortId } from '../../ui/format.js';
import { At } from '../../ui/values.js';
import styles from './glance.module.css';
import type { Cell, LineageChain } from './layout.js';
import { conditions, isBroken, titleOf } from './words.js';
import { statusText } from '../../ui/badge.js';

/** The card beside what is pointed at; what it says is also in the details and in the table. */
export function Glance({
  cell,
  chain,
  x,
  y,
  scroller,
  scale,
}: {
  cell: Cell;
  chain: LineageChain | null;
  x: number;
  y: number;
  scroller: RefObject<HTMLDivElement>;
  /** How many pixels of the page one of the picture is. */
  scale: number;
}) {
  const card = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const [box, own] = [scroller.current, card.current];
    if (!box || !own) return;
    const { left, top } = placeOf({ x, y }, own, {
      scrollLeft: box.scrollLeft / scale,
      scrollTop: box.scrollTop / scale,
      clientWidth: box.clientWidth / scale,
      clientHeight: box.clientHeight / scale,
    });
    own.style.setProperty('--left', `${left}px`);
    own.style.setProperty('--top', `${top}px`);
  }, [cell, x, y, scale]);
  const [node] = cell.nodes;
  if (node === undefined) return null;
  const known = cell.nodes.flatMap(({ costUsd }) => costUsd ?? []);
  const cost = known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0);
  const bad = cell.nodes.filter(({ condition }) => isBroken(condition)).length;
  return (
    <div ref={card} class={styles.glance} aria-hidden="true">
      {cell.fold === null ? (
        <>
          <strong>{titleOf(node)}</strong>
          <span class="mono">{shortId(node.sessionId)}</span>
          {node.failureCode && <span class={styles.bad}>{node.failureCode}</span>}
          {isBroken(node.condition) && <span class={styles.bad}>{conditions[node.condition].word}</span>}
          {node.contextTokens !== null && (
            <span>{formatCompact(node.contextTokens)} tokens in the context</span>
          )}
        </>
      ) : (
        <>
          <strong>
            {cell.nodes.length} {cell.fold.startsWith('attempts-') ? 'attempts that led nowhere' : 'sessions'}
          </strong>
          {bad > 0 && <span class={styles.bad}>{bad} cannot be continued from</span>}
          <span>Click to unfold</span>
        </>
      )}
      {chain && (
        <span>
          {chain.versionId}, {statusText(chain.status)}
        </span>
      )}
      {cost !== null && <span>{formatUsd(cost)}</span>}
      <span>
        <At at={node.createdAt} />
      </span>
    </div>
  );
}

const gap = 46;
const margin = 4;

/** Beside the cell, on the side where the part in sight has room; else below or above it. */
function placeOf(
  { x, y }: { x: number; y: number },
  { offsetWidth: width, offsetHeight: height }: HTMLElement,
  {
    scrollLeft,
    scrollTop,
    clientWidth,
    clientHeight,
  }: Pick<HTMLElement, 'scrollLeft' | 'scrollTop' | 'clientWidth' | 'clientHeight'>,
): { left: number; top: number } {
  const within = (at: number, from: number, to: number) => Math.max(from, Math.min(at, to));
  const left = scrollLeft + margin;
  const right = scrollLeft + clientWidth - margin - width;
  const top = scrollTop + margin;
  const bottom = scrollTop + clientHeight - margin - height;
  if (x + gap <= right) return { left: x + gap, top: within(y - 20, top, bottom) };
  if (x - gap - width >= left) return { left: x - gap - width, top: within(y - 20, top, bottom) };
  const isAbove = y + gap > bottom && y - 24 - height >= top;
  return { left: within(x - width / 2, left, right), top: isAbove ? y - 24 - height : y + gap };
}
