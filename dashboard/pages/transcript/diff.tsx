import { structuredPatch } from 'diff';
import { useMemo } from 'preact/hooks';
import { Text } from '../../ui/text.js';
import styles from './code.module.css';

/** What an edit takes away and adds, line by line, with three lines around it. */
export function Diff({ before, after }: { before: string; after: string }) {
  const hunks = useMemo(() => hunksOf(before, after), [before, after]);
  const [added, removed] = ['+', '-'].map(
    (sign) => hunks.flat().filter((line) => line.startsWith(sign)).length,
  );
  return (
    <pre
      class={styles.diff}
      tabIndex={0}
      role="group"
      aria-label={`Change: ${added} lines added, ${removed} removed`}
    >
      <code>
        {hunks.map((lines, index) => (
          <span key={index}>
            {index > 0 && <span class={styles.skipped}>…</span>}
            {lines.map((line, place) => (
              <span key={place} class={styles.line} data-sign={line.slice(0, 1)}>
                <Text text={line.slice(1)} />
                {/* An empty line has a height, and what is copied has its ends of lines. */}
                {'\n'}
              </span>
            ))}
          </span>
        ))}
      </code>
    </pre>
  );
}

function hunksOf(before: string, after: string): string[][] {
  const signed = (sign: string, text: string) =>
    text
      .replace(/\n$/, '')
      .split('\n')
      .map((line) => sign + line);
  if (before === '') return [signed('+', after)];
  const patch = structuredPatch('', '', before, after, undefined, undefined, { context: 3, timeout: 200 });
  const lines = patch?.hunks.map((hunk) => hunk.lines.filter((line) => !line.startsWith('\\')));
  // Too different to compare in the time that scrolling leaves.
  return lines ?? [[...signed('-', before), ...signed('+', after)]];
}
