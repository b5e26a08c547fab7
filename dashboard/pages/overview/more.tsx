import { formatCount } from '../../ui/format.js';
import styles from './overview.module.css';

/** Says that a card shows a part, and leads to all; nothing where it shows all. */
export function More({ shown, of, href }: { shown: number; of: number | undefined; href: string }) {
  if (of === undefined || of <= shown) return null;
  return (
    <p class={styles.more}>
      The newest {formatCount(shown)} of {formatCount(of)}. <a href={href}>All</a>
    </p>
  );
}
