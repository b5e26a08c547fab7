import { signal } from '@preact/signals';
import type { WatchItem } from '../../../http/client.js';
import { Text } from '../../ui/text.js';
import styles from './inspector.module.css';

interface Writing {
  message: number;
  text: string;
}

/** What each running attempt is writing just now, by attempt id. */
const writing = signal<Record<string, Writing>>({});
/** Of a long message the end is shown. */
const mostCharacters = 4_000;

export function addLive(item: Extract<WatchItem, { type: 'live.text' | 'live.entry' }>): void {
  const { attemptId } = item;
  if (item.type === 'live.entry') {
    // What was written is an entry by now.
    if (item.role !== 'assistant' || writing.value[attemptId] === undefined) return;
    const { [attemptId]: _, ...rest } = writing.value;
    writing.value = rest;
    return;
  }
  const before = writing.value[attemptId];
  const text = before?.message === item.message ? before.text + item.text : item.text;
  writing.value = {
    ...writing.value,
    [attemptId]: { message: item.message, text: text.slice(-mostCharacters) },
  };
}

export function forgetLive(): void {
  writing.value = {};
}

/** The text of the model as it is being written; nothing while there is none. */
export function LiveText({ attemptId }: { attemptId: string }) {
  const now = writing.value[attemptId];
  if (now === undefined || now.text.trim() === '') return null;
  return (
    <div class={styles.writing}>
      <span class="small muted">Writing now</span>
      <p class={styles.text}>
        <Text text={now.text} />
        <span class={styles.caret} aria-hidden="true" />
      </p>
    </div>
  );
}
