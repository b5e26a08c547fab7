import { Button } from './button.js';
import styles from './more.module.css';

/** Below a list that is read page by page: the way to the next page; nothing where there is none. */
export function More({
  read: { more, isReadingMore },
  children = 'Show more',
}: {
  read: { more: (() => void) | null; isReadingMore: boolean };
  children?: string;
}) {
  if (more === null) return null;
  return (
    <div class={styles.more}>
      <Button disabled={isReadingMore} onClick={more}>
        {isReadingMore ? 'Reading …' : children}
      </Button>
    </div>
  );
}
