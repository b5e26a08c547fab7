import type { LineageNode } from './layout.js';
import styles from './mark.module.css';
import { isBroken } from './words.js';

export type Shape =
  | 'step'
  | 'compaction'
  | 'answer'
  | 'rewind'
  | 'fresh'
  | 'outside'
  | 'recovery'
  | 'failed'
  | 'running'
  | 'waiting'
  | 'attempt'
  | 'empty'
  | 'fold';

export function shapeOf(node: LineageNode): Shape {
  if (node.kind === 'attempt') {
    if (node.state === null) return 'outside';
    if (node.state === 'running' || node.state === 'waiting' || node.state === 'failed') return node.state;
    return node.condition === 'empty' ? 'empty' : 'attempt';
  }
  if (node.source === 'rewind') return 'rewind';
  if (node.source === 'recovery') return 'recovery';
  if (
    node.source === 'import' ||
    node.buildId?.startsWith('record:') ||
    (node.kind !== 'side_branch' && node.state === null)
  )
    return 'outside';
  if (node.source === 'context_reset') return 'fresh';
  if (node.step === 'chat_plan') return 'answer';
  return node.stepKind === 'compaction' ? 'compaction' : 'step';
}

const paths: Record<Shape, string> = {
  step: 'M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z',
  compaction: 'M4 4.5 12 12 4 19.5zM20 4.5 12 12l8 7.5z',
  answer: 'M6 4.5h12a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-5l-4.5 4v-4H6a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2z',
  rewind: 'M12 4 3.5 12 12 20v-5h8V9h-8z',
  fresh: 'M12 3.5 20.5 12 12 20.5 3.5 12z',
  outside: 'M4.5 4.5 20 12 4.5 19.5 8 12z',
  recovery: 'M9 4h6v5h5v6h-5v5H9v-5H4V9h5z',
  failed: 'M6.5 6.5l11 11m0-11l-11 11',
  running: 'M12 5a7 7 0 1 1 0 14 7 7 0 0 1 0-14z',
  waiting: 'M9 6v12M15 6v12',
  attempt: 'M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10z',
  empty: 'M12 10a2 2 0 1 1 0 4 2 2 0 0 1 0-4z',
  fold: 'M4 6.5a1 1 0 0 1 1-1h14a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z',
};
/** What lies on the corner of a session that no step can continue from. */
const flaws = { quarantined: '!', hole: '○', lost: '×', unknown: '?' } as const;

export interface MarkProps {
  shape: Shape;
  condition?: LineageNode['condition'];
  /** How it is drawn: on the line, taken back by a rewind, or beside the line. */
  tone?: 'head' | 'line' | 'forgotten' | 'beside';
  /** Of a fold. */
  count?: number;
}

/** A session as the picture and its legend draw it; each kind has a shape of its own. */
export function Mark({ shape, condition = 'whole', tone = 'line', count }: MarkProps) {
  const flaw = isBroken(condition) ? flaws[condition] : null;
  return (
    <svg
      class={styles.mark}
      viewBox="-4 -4 32 32"
      aria-hidden="true"
      data-shape={shape}
      data-tone={tone}
      data-flaw={flaw === null ? undefined : condition}
    >
      {tone === 'head' && <circle class={styles.halo} cx="12" cy="12" r="14" />}
      {shape === 'fold' && <path class={styles.behind} d="M8 2.5h13.5a1.5 1.5 0 0 1 1.5 1.5v11" />}
      <path class={styles.shape} d={paths[shape]} />
      {shape === 'running' && <circle class={styles.core} cx="12" cy="12" r="3" />}
      {count !== undefined && (
        <text class={styles.count} x="12" y="12.5">
          {count}
        </text>
      )}
      {flaw !== null && (
        <>
          <circle class={styles.flaw} cx="21" cy="3" r="6.5" />
          <text class={styles.flawText} x="21" y="3.4">
            {flaw}
          </text>
        </>
      )}
    </svg>
  );
}
