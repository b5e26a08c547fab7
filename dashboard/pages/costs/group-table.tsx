import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../api/client.js';
import { formatCount, formatShare } from '../../ui/format.js';
import { Empty } from '../../ui/states.js';
import { type Column, Table } from '../../ui/table.js';
import { Usd } from '../../ui/values.js';
import styles from './costs.module.css';
import { sumOf } from './totals.js';

export type Group = 'day' | 'step' | 'model' | 'project';
type Row = Schemas['GroupedSpend'];

interface Props {
  label: string;
  groups: Row[];
  /** What the shares are of. */
  all: Row[];
  nameOf?: (key: string) => ComponentChildren;
}

/** Groups by what they cost, each with its share of all. */
export function GroupTable({ label, groups, all, nameOf = (key) => key }: Props) {
  const whole = sumOf(all).costUsd;
  const columns: Column<Row>[] = [
    { label, cell: ({ key }) => nameOf(key) },
    {
      label: 'Cost',
      align: 'right',
      hint: 'US dollars, as far as they are known.',
      cell: ({ costUsd, attemptsOfUnknownCost }) => <Usd value={costUsd} unknown={attemptsOfUnknownCost} />,
    },
    {
      label: 'Share',
      align: 'right',
      hint: 'Of what all attempts of these days cost.',
      cell: ({ costUsd }) => <Share part={costUsd} whole={whole} />,
    },
    { label: 'Attempts', align: 'right', cell: ({ attempts }) => formatCount(attempts) },
    {
      label: 'Cached',
      align: 'right',
      hint: 'The share of the tokens sent to the model that were read from the prompt cache.',
      cell: ({ usage: { inputTokens, cacheReadTokens, cacheWriteTokens } }) =>
        formatShare(cacheReadTokens, inputTokens + cacheReadTokens + cacheWriteTokens) ?? '–',
    },
  ];
  if (groups.length === 0) return <Empty title="No model was asked in these days." />;
  return (
    <Table
      caption={`Cost by ${label.toLowerCase()}, what costs most first`}
      rows={groups}
      keyOf={({ key }) => key}
      columns={columns}
    />
  );
}

export function ModelTable(props: Omit<Props, 'label' | 'nameOf'>) {
  return <GroupTable label="Model" nameOf={(key) => <code>{key}</code>} {...props} />;
}

/** A share as a number with a bar, which says the same. */
function Share({ part, whole }: { part: number; whole: number }) {
  const percent = whole === 0 ? 0 : (100 * part) / whole;
  return (
    <span class={styles.share}>
      <span class={styles.track} aria-hidden="true">
        <span class={styles.fill} style={{ width: `${percent}%` }} />
      </span>
      <span class={styles.percent}>{formatShare(part, whole) ?? '–'}</span>
    </span>
  );
}
