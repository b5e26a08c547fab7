import type { Schemas } from '../api/client.js';
import { Badge } from './badge.js';
import { formatCount, formatDuration } from './format.js';
import { Table } from './table.js';
import styles from './work.module.css';

/** How many agents or answers a worker runs, of those that it may; nothing is known of one that is gone. */
export function Load({ alive, running, max }: { alive: boolean; running: number; max: number }) {
  if (!alive) return <span class="muted">–</span>;
  return (
    <span class={styles.load}>
      <span
        class={styles.bar}
        style={{ '--share': max === 0 ? 0 : Math.min(1, running / max) }}
        aria-hidden="true"
      />
      {running} of {max}
    </span>
  );
}

type TaskQueue = NonNullable<Schemas['Workers']['queues']>[number];

/** The task queues in Temporal: whether a worker polls them, and what waits in them. */
export function TaskQueueTable({ queues }: { queues: readonly TaskQueue[] }) {
  return (
    <Table
      caption="Task queues"
      rows={queues}
      keyOf={({ taskQueue, kind }) => `${kind} ${taskQueue}`}
      columns={[
        {
          label: 'Task queue',
          cell: ({ taskQueue, kind }) => (
            <>
              <span class="mono">{taskQueue}</span>{' '}
              <span class="muted small">{kind === 'workflow' ? 'workflows' : 'activities'}</span>
            </>
          ),
        },
        {
          label: 'Pollers',
          hint: 'Workers that poll the queue now; one with all its slots taken does not poll.',
          align: 'right',
          cell: ({ pollers, backlog }) =>
            pollers > 0 ? formatCount(pollers) : <Badge tone={backlog ? 'failed' : 'waiting'}>none</Badge>,
        },
        {
          label: 'Waiting',
          hint: 'Tasks that no worker has taken yet, about.',
          align: 'right',
          cell: ({ backlog }) => (backlog === null ? 'not known' : formatCount(backlog)),
        },
        {
          label: 'Oldest',
          hint: 'How long the oldest of these tasks has waited.',
          align: 'right',
          cell: ({ backlog, oldestAgeMs }) =>
            backlog && oldestAgeMs !== null ? formatDuration(oldestAgeMs) : <span class="muted">–</span>,
        },
      ]}
    />
  );
}
