import type { ComponentChildren } from 'preact';
import { Hint } from './card.js';
import styles from './table.module.css';

export interface Column<Row> {
  /** The head of the column; also the label in front of the value on narrow screens. */
  label: string;
  /** What its numbers count. */
  hint?: string;
  /** Numbers stand right. */
  align?: 'right';
  cell: (row: Row) => ComponentChildren;
}

/** A table that becomes a list of cards on narrow screens. The first column is the head of its row. */
export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  /** What it lists; for screen readers. */
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
}) {
  return (
    <table class={styles.table}>
      <caption class="said">{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ label, hint, align }) => (
            <th key={label} scope="col" data-align={align}>
              <span>
                {label} {hint && <Hint text={hint} />}
              </span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map(({ label, align, cell }, index) =>
              index === 0 ? (
                <th key={label} scope="row" data-label={label}>
                  <div>{cell(row)}</div>
                </th>
              ) : (
                <td key={label} data-label={label} data-align={align}>
                  <div>{cell(row)}</div>
                </td>
              ),
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
