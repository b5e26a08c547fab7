import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../api/client.js';
import { Badge } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, Command } from '../../ui/values.js';
import { Load, TaskQueueTable } from '../../ui/work.js';
import { NotForKey } from './facts.js';

type Worker = Schemas['Worker'];
type WorkersRead = Parameters<typeof Loaded<Schemas['Workers']>>[0]['read'];
export type Caller = Schemas['Server']['key'] | undefined;

export function WorkersCard({ read, caller }: { read: WorkersRead; caller: Caller }) {
  return (
    <Card
      title="Workers"
      hint="Each worker says every 15 s that it is there. One that was not seen for a minute has died, or does not reach the database; one that stopped in order is not in the list."
      flush
    >
      {caller?.projects ? (
        <NotForKey needs="a key for every project">
          What workers run and what waits for them tells of other projects.
        </NotForKey>
      ) : (
        <Loaded read={read}>
          {({ workers }) =>
            workers.length === 0 ? (
              <Empty title="No worker was seen within a day: chains wait">
                Start one: <Command text="session-chain worker" />
              </Empty>
            ) : (
              <WorkerTable workers={workers} />
            )
          }
        </Loaded>
      )}
    </Card>
  );
}

function WorkerTable({ workers }: { workers: Worker[] }) {
  const living = workers.filter(({ alive }) => alive);
  const differing = (valueOf: (worker: Worker) => string) => {
    const usual = mostFrequent(living.map(valueOf));
    return (worker: Worker) => worker.alive && usual !== null && valueOf(worker) !== usual;
  };
  const byVersion = differing(({ version }) => version);
  const byAgent = differing(({ agentVersion }) => agentVersion ?? '');
  const byDefinition = differing(({ definition }) => definition.digest);
  return (
    <Table
      caption="Workers that were seen within a day"
      rows={workers}
      keyOf={({ id }) => id}
      columns={[
        {
          label: 'Worker',
          cell: ({ identity }) => <span class="mono">{identity}</span>,
        },
        {
          label: 'State',
          cell: ({ alive }) => (alive ? <Badge tone="ok">alive</Badge> : <Badge tone="failed">gone</Badge>),
        },
        { label: 'Seen', cell: ({ seenAt }) => <Ago at={seenAt} /> },
        {
          label: 'Agents',
          hint: 'Agents of steps that run on it, of those that may',
          cell: ({ alive, agents }) => <Load alive={alive} {...agents} />,
        },
        {
          label: 'Answers',
          hint: 'Questions that it answers now, of those that it may at a time',
          cell: ({ alive, chats }) => <Load alive={alive} {...chats} />,
        },
        {
          label: 'Parked',
          hint: 'Claude Code processes that wait for the next task of their chain or chat',
          cell: ({ alive, parked }) => (alive ? parked : ''),
        },
        {
          label: 'Version',
          hint: 'Of session-chain, and of Claude Code at the start of the worker',
          cell: (worker) => (
            <>
              <Differs isOther={byVersion(worker)}>{worker.version}</Differs>
              <div class="muted small">
                <Differs isOther={byAgent(worker)}>Claude Code {worker.agentVersion ?? 'unknown'}</Differs>
              </div>
            </>
          ),
        },
        {
          label: 'Definition',
          hint: 'Workers with the same digest run the same chain, prompts included',
          cell: (worker) => (
            <Differs isOther={byDefinition(worker)}>
              <code title={`${worker.definition.digest}, ${worker.definition.file ?? 'the shipped one'}`}>
                {worker.definition.digest.slice(0, 8)}
              </code>
            </Differs>
          ),
        },
        {
          label: 'Sandbox',
          hint: 'How its agents are kept in: bwrap (bubblewrap), command (a program of the host) or none',
          cell: ({ sandbox }) => (sandbox === 'none' ? <Badge tone="waiting">none</Badge> : sandbox),
        },
        { label: 'Started', cell: ({ startedAt }) => <Ago at={startedAt} /> },
      ]}
    />
  );
}

/** Marks what the other workers have differently. */
function Differs({ isOther, children }: { isOther: boolean; children: ComponentChildren }) {
  return (
    <>
      {children} {isOther && <Badge tone="waiting">differs</Badge>}
    </>
  );
}

function mostFrequent(values: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, one], [, other]) => other - one)[0]?.[0] ?? null;
}

export function QueuesCard({ read }: { read: WorkersRead }) {
  return (
    <Card
      title="Task queues"
      hint="The queues in Temporal that the workers poll, and those on which the definition calls activities of the host"
      flush
    >
      <Loaded read={read} rows={4}>
        {({ queues }) =>
          queues === null ? (
            <Empty title="Temporal does not answer">
              Its queues are shown as soon as it does. Doctor, above, says what it found.
            </Empty>
          ) : (
            <TaskQueueTable queues={queues} />
          )
        }
      </Loaded>
    </Card>
  );
}
