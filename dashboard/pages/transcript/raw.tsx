import { Text } from '../../ui/text.js';
import { Loaded } from '../../ui/states.js';
import { Copy } from '../../ui/values.js';
import { Json } from './code.js';
import { Fold } from './folds.js';
import { useEntry } from './images.js';
import styles from './row.module.css';
import type { Entry } from './rows.js';

/** The entries of a row as Claude Code wrote them. */
export function Raw({ entries }: { entries: readonly Entry[] }) {
  const [only] = entries;
  if (only && entries.length === 1) return <RawEntry entry={only} />;
  return (
    <>
      {entries.map((entry) => (
        <Fold
          key={entry.cursor}
          id={`raw entry ${entry.cursor}`}
          summary={
            <span class="mono small">
              <Text text={`${entry.type}  ${entry.entryId ?? ''}`} />
            </span>
          }
        >
          {() => <RawEntry entry={entry} />}
        </Fold>
      ))}
    </>
  );
}

function RawEntry({ entry }: { entry: Entry }) {
  const read = useEntry(entry.cursor);
  return (
    <Loaded read={read} rows={6}>
      {({ raw }) => (
        <div class={styles.rawEntry}>
          <span class={styles.copy}>
            <Copy text={JSON.stringify(raw)} what="entry as JSON" />
          </span>
          <Json value={raw} />
        </div>
      )}
    </Loaded>
  );
}
