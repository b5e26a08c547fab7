import { Mark, type MarkProps } from './mark.js';
import styles from './legend.module.css';

const marks: [string, MarkProps][] = [
  ['the head', { shape: 'step', tone: 'head' }],
  ['a step moved the head', { shape: 'step' }],
  ['a compaction', { shape: 'compaction' }],
  ['an answer moved the head', { shape: 'answer' }],
  ['a rewind: a copy of an earlier head', { shape: 'rewind' }],
  ['from outside: imported, recorded, adopted', { shape: 'outside' }],
  ['recovery: an ancestor of a lost head', { shape: 'recovery' }],
  ['a fresh session with a brief', { shape: 'fresh' }],
  ['forgotten: a rewind went back before it', { shape: 'step', tone: 'forgotten' }],
  ['an answer beside the line', { shape: 'answer', tone: 'beside' }],
  ['an attempt that runs', { shape: 'running', tone: 'beside' }],
  ['an attempt that waits', { shape: 'waiting', tone: 'beside' }],
  ['an attempt that failed', { shape: 'failed', tone: 'beside' }],
  ['an attempt that another took over', { shape: 'attempt', tone: 'beside' }],
  ['an attempt that wrote nothing', { shape: 'empty', tone: 'beside' }],
  ['an outside session that was never the head', { shape: 'outside', tone: 'beside' }],
  ['lost: no transcript', { shape: 'step', condition: 'lost' }],
  ['a hole in its transcript', { shape: 'step', condition: 'hole' }],
  ['quarantined', { shape: 'step', condition: 'quarantined' }],
  ['never in the store', { shape: 'step', condition: 'unknown' }],
  ['several, folded: click to unfold', { shape: 'fold', count: 4 }],
];
const lines = [
  ['line', 'the head moved on'],
  ['forgotten', 'moves that a rewind took back'],
  ['rewind', 'a rewind went back'],
  ['jump', 'a head that comes from an earlier one'],
  ['break', 'the head moved on and does not remember the one before'],
] as const;

/** What the shapes and lines of the picture mean. */
export function Legend() {
  return (
    <ul class={styles.legend} aria-label="Legend">
      {marks.map(([text, mark]) => (
        <li key={text}>
          <Mark {...mark} /> {text}
        </li>
      ))}
      {lines.map(([kind, text]) => (
        <li key={kind}>
          <span class={styles.line} data-kind={kind} aria-hidden="true" /> {text}
        </li>
      ))}
    </ul>
  );
}
