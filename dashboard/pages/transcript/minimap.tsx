import { useMemo } from 'preact/hooks';
import styles from './minimap.module.css';
import { type Row, hasError } from './rows.js';

const slots = 160;
/** What is drawn where several kinds share a place: the first of these. */
const kinds = ['error', 'found', 'compaction', 'fork', 'prompt', 'tools', 'text', 'notes'] as const;

/** The whole transcript beside it: where prompts, errors and compactions are. For the pointer; the keyboard has search and keys. */
export function Minimap({
  rows,
  found,
  onJump,
}: {
  rows: readonly Row[];
  found: ReadonlySet<string>;
  onJump: (index: number) => void;
}) {
  const marks = useMemo(() => {
    const count = Math.min(slots, rows.length);
    const best = new Array<number>(count).fill(kinds.length);
    for (const [index, row] of rows.entries()) {
      const slot = Math.floor((index * count) / rows.length);
      best[slot] = Math.min(
        best[slot] ?? kinds.length,
        kinds.indexOf(found.has(row.key) ? 'found' : kindOf(row)),
      );
    }
    return best.map((kind) => kinds[kind]);
  }, [rows, found]);
  if (rows.length < 8) return <span class={styles.none} />;
  return (
    <svg
      class={styles.map}
      viewBox={`0 0 10 ${marks.length * 4}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      onClick={({ currentTarget, clientY }) => {
        const { top, height } = currentTarget.getBoundingClientRect();
        onJump(Math.min(rows.length - 1, Math.floor(((clientY - top) / height) * rows.length)));
      }}
    >
      {marks.map((kind, slot) => (
        <rect key={slot} x="0" y={slot * 4} width="10" height="3" class={styles.mark} data-kind={kind} />
      ))}
    </svg>
  );
}

function kindOf(row: Row): (typeof kinds)[number] {
  if (hasError(row)) return 'error';
  if (row.kind === 'compaction' || row.kind === 'fork' || row.kind === 'prompt') return row.kind;
  if (row.kind === 'request') return row.blocks.some(({ kind }) => kind === 'tool') ? 'tools' : 'text';
  return 'notes';
}
