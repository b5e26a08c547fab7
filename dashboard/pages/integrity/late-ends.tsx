import type { Schemas } from '../../api/client.js';
import { Status } from '../../ui/badge.js';
import { formatCount } from '../../ui/format.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink } from '../../ui/values.js';
import { Remedy, Section } from './section.js';

/** Ends of chains that the host does not know of. */
export function LateEnds({ ends, nextCursor }: Schemas['LateEnds']) {
  return (
    <Section
      id="ends"
      title="Ends that the host was not told"
      hint="Chains that ended more than a minute ago, and of which the activity of the host (onEnd of the workers) has not been told."
      isMore={nextCursor && 'session-chain doctor --only ends'}
    >
      <Table
        caption="Ends of chains that the host was not told of"
        rows={ends}
        keyOf={({ key }) => key}
        columns={[
          { label: 'Chain', cell: (end) => <ChainLink chain={end} /> },
          { label: 'Ended as', cell: ({ status }) => <Status status={status} /> },
          { label: 'Ended', cell: ({ endedAt }) => <Ago at={endedAt} /> },
          {
            label: 'Rounds',
            align: 'right',
            hint: 'How often calls of the activity began; each round has tries of its own.',
            cell: ({ rounds }) => formatCount(rounds),
          },
          {
            label: 'Why not',
            cell: ({ failure }) => failure ?? 'No round has failed: no worker has taken it.',
          },
          { label: 'Next round', cell: ({ dueAt }) => <Ago at={dueAt} /> },
          {
            label: 'What to do',
            cell: () => (
              <Remedy
                command="session-chain doctor --only ends"
                text="Start a worker with onEnd, and one that polls the queue of its activity."
              />
            ),
          },
        ]}
      />
    </Section>
  );
}
