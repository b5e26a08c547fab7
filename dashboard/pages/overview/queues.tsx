import { links } from '../../links.js';
import { Card } from '../../ui/card.js';
import { formatCount } from '../../ui/format.js';
import { Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink } from '../../ui/values.js';
import styles from './overview.module.css';
import { type Chain, useChains } from './reads.js';

/** The projects for which chains queue: what holds each, and what is behind. */
export function Queues() {
  const queued = useChains({ waitingFor: ['queue'], limit: 100 });
  return (
    <Card
      title="Queues of projects"
      hint="One chain at a time holds a project; the others wait in the order in which they asked."
      flush
    >
      <Loaded read={queued} rows={3}>
        {({ chains, nextCursor }) =>
          chains.length === 0 ? (
            <p class={styles.idle}>No chain waits behind another.</p>
          ) : (
            <>
              <Table
                caption="Queues of projects"
                rows={byProject(chains)}
                keyOf={({ projectId }) => projectId}
                columns={[
                  {
                    label: 'Project',
                    cell: ({ projectId }) => <a href={links.project(projectId)}>{projectId}</a>,
                  },
                  { label: 'Held by', cell: ({ behind }) => <Holder workflowId={behind} /> },
                  {
                    label: 'Behind it',
                    cell: ({ queue }) => (
                      <ol class={styles.behind}>
                        {queue.slice(0, 3).map((chain) => (
                          <li key={chain.workflowId}>
                            <span class="muted">{chain.queue?.position ?? '–'}.</span>{' '}
                            <ChainLink chain={chain} withProject={false} />
                          </li>
                        ))}
                        {queue.length > 3 && (
                          <li class="muted small">and {formatCount(queue.length - 3)} more</li>
                        )}
                      </ol>
                    ),
                  },
                  {
                    label: 'Oldest',
                    hint: 'How long the one that waits longest has waited.',
                    align: 'right',
                    cell: ({ since }) => <Ago at={since} />,
                  },
                ]}
              />
              {nextCursor !== null && <p class={styles.more}>More chains are queued than the newest 100.</p>}
            </>
          )
        }
      </Loaded>
    </Card>
  );
}

/** A chain by its workflow id, `chain/<project>/<version>/<build>`. */
function Holder({ workflowId }: { workflowId: string | null }) {
  const [, projectId, versionId, buildId] = workflowId?.split('/') ?? [];
  if (projectId === undefined || versionId === undefined || buildId === undefined)
    return <span class="muted">being handed over</span>;
  return <ChainLink chain={{ projectId, versionId, buildId }} withProject={false} />;
}

function byProject(chains: readonly Chain[]) {
  const projects = [...new Set(chains.map(({ projectId }) => projectId))];
  return projects.map((projectId) => {
    const queue = chains
      .filter((chain) => chain.projectId === projectId)
      .toSorted((one, other) => (one.queue?.position ?? 0) - (other.queue?.position ?? 0));
    return {
      projectId,
      queue,
      behind: queue[0]?.queue?.waitsFor ?? null,
      since: queue.map(({ createdAt }) => createdAt).toSorted()[0] ?? null,
    };
  });
}
