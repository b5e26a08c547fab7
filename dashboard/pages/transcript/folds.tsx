import { type ComponentChildren, createContext } from 'preact';
import { useContext } from 'preact/hooks';
import styles from './folds.module.css';

/** What is unfolded, by the keys of the folds: rows that are scrolled out of sight keep what they were. */
export interface Folds {
  isOpen: (key: string) => boolean;
  toggle: (key: string) => void;
}
export const FoldsContext = createContext<Folds>({ isOpen: () => false, toggle: () => undefined });

/** A part of a row that is folded until a reader wants it. */
export function Fold({
  id,
  summary,
  tone,
  children,
}: {
  id: string;
  summary: ComponentChildren;
  tone?: 'failed';
  children: () => ComponentChildren;
}) {
  const { isOpen, toggle } = useContext(FoldsContext);
  const open = isOpen(id);
  return (
    <div class={styles.fold} data-tone={tone}>
      <button type="button" class={styles.summary} aria-expanded={open} data-fold onClick={() => toggle(id)}>
        <span class={styles.arrow} aria-hidden="true" />
        {summary}
      </button>
      {open && <div class={styles.inside}>{children()}</div>}
    </div>
  );
}
