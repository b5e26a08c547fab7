import { links } from '../../links.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink } from '../../ui/values.js';
import { More } from './more.js';
import styles from './overview.module.css';
import { type Chain, useChains, useCounts } from './reads.js';

/** What open chains wait for that is not another chain. */
export function Waiting() {
  const waiting = useChains({ waitingFor: ['model', 'worker', 'activity'] });
  const counts = useCounts().data?.waitingFor;
  return (
    <Card
      title="Waiting"
      hint="Open chains without a working agent: for the model service, for a worker, or for an activity of the host."
      flush
    >
      <Loaded read={waiting} rows={3}>
        {({ chains }) =>
          chains.length === 0 ? (
            <p class={styles.idle}>No chain waits for the model, a worker or the host.</p>
          ) : (
            <>
              <Table
                caption="Waiting chains"
                rows={chains}
                keyOf={({ workflowId }) => workflowId}
                columns={[
                  { label: 'Chain', cell: (chain) => <ChainLink chain={chain} /> },
                  {
                    label: 'For',
                    cell: (chain) => (
                      <>
                        {forWhat(chain)}
                        {chain.step && <div class="muted small">{chain.step}</div>}
                      </>
                    ),
                  },
                  {
                    label: 'Since',
                    align: 'right',
                    cell: ({ waitingFor }) => <Ago at={waitingFor?.since ?? null} />,
                  },
                  {
                    label: 'Looks again',
                    hint: 'When it asks anew by itself; – where it goes on as soon as a worker is there.',
                    align: 'right',
                    cell: ({ waitingUntil }) => <Ago at={waitingUntil} />,
                  },
                ]}
              />
              <More
                shown={chains.length}
                of={counts && counts.model + counts.worker + counts.activity}
                href={links.projects({ status: 'waiting' })}
              />
            </>
          )
        }
      </Loaded>
    </Card>
  );
}

function forWhat({ waitingFor }: Chain): string {
  switch (waitingFor?.kind) {
    case 'model':
      return 'the model service';
    case 'worker':
      return waitingFor.lacks ?? `a worker of ${waitingFor.taskQueue}`;
    case 'activity':
      return `activity ${waitingFor.activity} of the host, on ${waitingFor.taskQueue}`;
    default:
      return 'another chain';
  }
}
