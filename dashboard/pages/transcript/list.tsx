import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import styles from './list.module.css';
import { Minimap } from './minimap.js';
import { RowView, labelOf } from './row.js';
import type { Row } from './rows.js';
import { useWindowVirtualizer } from './virtual.js';

/** What a page does with the list. */
export interface ListHandle {
  /** Scrolls to a row and gives it the focus. */
  show: (index: number, options?: { focus?: boolean }) => void;
}

export interface ListProps {
  rows: readonly Row[];
  parent: string | null;
  /** The key of the row that the address names. */
  marked: string | null;
  /** Keys of the rows that hold what is searched for. */
  found: ReadonlySet<string>;
  /** Whether the end is kept in sight while rows are added. */
  follows: boolean;
  onScrollBack: () => void;
  isBusy: boolean;
  handle: { current: ListHandle | null };
}

const estimates: Record<Row['kind'], number> = {
  ...{ request: 140, prompt: 110, error: 90, compaction: 150, notes: 40, subagent: 44, fork: 50 },
};

/**
 * The rows as a feed, of which only those in sight exist. Arrow keys, `j` and `k` go from row to row, Enter unfolds one.
 */
export function List({ rows, parent, marked, found, follows, onScrollBack, isBusy, handle }: ListProps) {
  const feed = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [active, setActive] = useState<string | null>(null);
  const wanted = useRef<string | null>(null);
  const activeIndex = active === null ? -1 : rows.findIndex(({ key }) => key === active);

  useLayoutEffect(() => {
    const measure = () => setTop((feed.current?.getBoundingClientRect().top ?? 0) + window.scrollY);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);

  const virtualizer = useWindowVirtualizer({
    count: rows.length,
    estimateSize: (index) => estimates[rows[index]?.kind ?? 'request'],
    getItemKey: (index) => rows[index]?.key ?? index,
    overscan: 4,
    gap: 8,
    scrollMargin: top,
    // The bar above stays in sight.
    scrollPaddingStart: 72,
    // The row that has the focus stays, wherever one scrolls.
    rangeExtractor: ({ startIndex, endIndex, overscan, count }) => {
      const [from, to] = [Math.max(0, startIndex - overscan), Math.min(count - 1, endIndex + overscan)];
      const range = Array.from({ length: to - from + 1 }, (_, index) => from + index);
      if (activeIndex < 0 || activeIndex >= count || (activeIndex >= from && activeIndex <= to)) return range;
      return activeIndex < from ? [activeIndex, ...range] : [...range, activeIndex];
    },
  });

  const show: ListHandle['show'] = (index, { focus = true } = {}) => {
    const row = rows[index];
    if (!row) return;
    setActive(row.key);
    if (focus) wanted.current = row.key;
    virtualizer.scrollToIndex(index, { align: focus ? 'auto' : 'start' });
  };
  handle.current = { show };

  // A row gets the focus once it is there.
  useEffect(() => {
    if (wanted.current === null || wanted.current !== active) return;
    const element = feed.current?.querySelector<HTMLElement>(`[data-index="${activeIndex}"]`);
    if (!element) return;
    wanted.current = null;
    element.focus({ preventScroll: true });
  });

  useEffect(() => {
    if (!follows || rows.length === 0) return;
    virtualizer.scrollToIndex(rows.length - 1, { align: 'end' });
  }, [follows, rows.length]);

  const onKeyDown = (event: KeyboardEvent) => {
    const { target } = event;
    if (!(target instanceof HTMLElement) || target.getAttribute('role') !== 'article') return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A key that comes before the focus has moved goes on from where it moves to.
    const coming = wanted.current === null ? -1 : rows.findIndex(({ key }) => key === wanted.current);
    const index = coming >= 0 ? coming : Number(target.dataset['index']);
    const to = {
      j: index + 1,
      ArrowDown: index + 1,
      k: index - 1,
      ArrowUp: index - 1,
      Home: 0,
      End: rows.length - 1,
    };
    const next = (to as Record<string, number | undefined>)[event.key];
    if (event.key === 'Enter') toggleFolds(target);
    else if (next !== undefined && rows[next]) show(next);
    else return;
    event.preventDefault();
  };

  return (
    <div class={styles.layout}>
      <div
        ref={feed}
        role="feed"
        aria-label="Transcript"
        aria-busy={isBusy}
        class={styles.feed}
        style={{ height: `${virtualizer.getTotalSize()}px` }}
        onKeyDown={onKeyDown}
        onWheel={({ deltaY }) => deltaY < 0 && follows && onScrollBack()}
      >
        {virtualizer.getVirtualItems().map(({ index, start, key }) => {
          const row = rows[index];
          if (!row) return null;
          return (
            <article
              key={key}
              ref={virtualizer.measureElement}
              role="article"
              class={styles.row}
              data-index={index}
              data-marked={marked === row.key}
              data-found={found.has(row.key)}
              data-inner={row.subagent !== null && row.kind !== 'subagent'}
              tabIndex={index === (activeIndex < 0 ? 0 : activeIndex) ? 0 : -1}
              aria-label={labelOf(row)}
              aria-posinset={index + 1}
              aria-setsize={isBusy ? -1 : rows.length}
              aria-current={marked === row.key ? 'true' : undefined}
              style={{ transform: `translateY(${start - top}px)` }}
              onFocus={() => setActive(row.key)}
            >
              <RowView row={row} parent={parent} />
            </article>
          );
        })}
      </div>
      <Minimap rows={rows} found={found} onJump={(index) => show(index, { focus: false })} />
    </div>
  );
}

/** Unfolds what is folded in a row; where nothing is, folds all of it. */
function toggleFolds(row: HTMLElement): void {
  const folds = [...row.querySelectorAll<HTMLElement>('[data-fold]')];
  const folded = folds.filter((fold) => fold.getAttribute('aria-expanded') === 'false');
  for (const fold of folded.length > 0 ? folded : folds) fold.click();
}
