import { formatCompact, formatUsd, shortId } from '../../ui/format.js';
import { At } from '../../ui/values.js';
import styles from './glance.module.css';
import type { Cell, LineageChain } from './layout.js';
import { conditions, isBroken, titleOf } from './words.js';

/** The card beside what is pointed at; what it says is also in the details and in the table. */
export function Glance({
  cell,
  chain,
  x,
  y,
  width,
}: {
  cell: Cell;
  chain: LineageChain | null;
  x: number;
  y: number;
  width: number;
}) {
  const [node] = cell.nodes;
  if (node === undefined) return null;
  const known = cell.nodes.flatMap(({ costUsd }) => costUsd ?? []);
  const cost = known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0);
  const bad = cell.nodes.filter(({ condition }) => isBroken(condition)).length;
  // Beside the cell, on the side where there is room.
  const isLeft = x > width - 300 && x > 300;
  return (
    <div
      class={styles.glance}
      aria-hidden="true"
      data-side={isLeft ? 'left' : 'right'}
      style={{ '--x': `${x}px`, '--y': `${y}px` }}
    >
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
          {chain.versionId}, {chain.status.replaceAll('_', ' ')}
        </span>
      )}
      {cost !== null && <span>{formatUsd(cost)}</span>}
      <span>
        <At at={node.createdAt} />
      </span>
    </div>
  );
}
