import { links } from '../../links.js';
import { ProblemError } from '../../api/client.js';
import { Badge } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, Command } from '../../ui/values.js';
import { Load, TaskQueueTable } from '../../ui/work.js';
import styles from './overview.module.css';
import { type TaskQueue, type Worker, useWorkers } from './reads.js';

/** Which workers are there and how much they do, and what waits in their task queues. */
export function Workers() {
  const workers = useWorkers();
  const isUnknown = workers.error instanceof ProblemError && workers.error.problem.status === 403;
  return (
    <Card
      title="Workers"
      hint="Processes that run chains and agents. A worker that has not told of itself for a while is not alive."
      actions={<a href={links.settings()}>Settings</a>}
      flush
    >
      {isUnknown ? (
        <Empty title="Workers are shown to keys for every project">This key is for some.</Empty>
      ) : (
        <Loaded read={workers} rows={3}>
          {({ workers, queues }) => (
            <>
              {workers.length === 0 ? (
                <Empty title="No worker has told of itself">
                  <Command text="session-chain worker" />
                </Empty>
              ) : (
                <WorkerTable workers={workers} />
              )}
              {queues === null ? (
                <p class={styles.more}>
                  Temporal does not answer: what waits in the task queues is not known.
                </p>
              ) : (
                <TaskQueues queues={queues} />
              )}
            </>
          )}
        </Loaded>
      )}
    </Card>
  );
}

function WorkerTable({ workers }: { workers: readonly Worker[] }) {
  return (
    <Table
      caption="Workers"
      rows={workers.toSorted((one, other) => Number(other.alive) - Number(one.alive))}
      keyOf={({ id }) => id}
      columns={[
        {
          label: 'Worker',
          cell: ({ identity, version }) => (
            <>
              <span class="mono">{identity}</span>
              <div class="muted small">{version}</div>
            </>
          ),
        },
        {
          label: 'State',
          cell: ({ alive, seenAt }) =>
            alive ? (
              <Badge tone="ok">alive</Badge>
            ) : (
              <>
                <Badge tone="failed">gone</Badge>
                <div class="muted small">
                  seen <Ago at={seenAt} />
                </div>
              </>
            ),
        },
        {
          label: 'Agents',
          hint: 'Claude Code processes of steps that it runs now, of those that it may run at once.',
          cell: ({ alive, agents }) => <Load alive={alive} {...agents} />,
        },
        {
          label: 'Answers',
          hint: 'Answers to questions that it runs now, of those that it may run at once.',
          cell: ({ alive, chats }) => <Load alive={alive} {...chats} />,
        },
      ]}
    />
  );
}

function TaskQueues({ queues }: { queues: readonly TaskQueue[] }) {
  if (queues.length === 0) return null;
  return (
    <div class={styles.below}>
      <TaskQueueTable queues={queues} />
    </div>
  );
}
