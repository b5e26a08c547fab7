import type { Schemas } from '../../api/client.js';
import { Card } from '../../ui/card.js';
import { formatCount } from '../../ui/format.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Facts, formatLimit } from './facts.js';

/** What bounds the workers, and how long what is kept. */
export function LimitsCard({ read }: { read: Parameters<typeof Loaded<Schemas['Workers']>>[0]['read'] }) {
  return (
    <Card title="Limits and retention" hint="As the living workers have them; a range where they differ">
      <Loaded read={read} rows={5}>
        {({ workers }) => {
          const living = workers.filter(({ alive }) => alive).map(({ limits }) => limits);
          if (living.length === 0)
            return <Empty title="No worker is alive">They are set where workers run.</Empty>;
          const days = Math.min(...living.map(({ eventsDays }) => eventsDays));
          return (
            <Facts
              facts={[
                {
                  label: 'Events are kept for',
                  hint: 'SESSION_CHAIN_EVENTS_DAYS; of several workers the least counts',
                  value: `${formatCount(days)} days`,
                },
                {
                  label: 'Transcripts, costs, lineage',
                  value: 'are kept for good: nothing deletes them',
                },
                {
                  label: 'Agents of a worker',
                  hint: 'SESSION_CHAIN_MAX_AGENTS: agents of steps at the same time',
                  value: range(
                    living.map(({ maxAgents }) => maxAgents),
                    formatCount,
                  ),
                },
                {
                  label: 'Answers of a worker',
                  hint: 'SESSION_CHAIN_MAX_CHATS: questions that are answered at the same time',
                  value: range(
                    living.map(({ maxChats }) => maxChats),
                    formatCount,
                  ),
                },
                {
                  label: 'A stopping worker waits',
                  hint: 'SESSION_CHAIN_SHUTDOWN_GRACE_MS: what it gives its running steps',
                  value: range(
                    living.map(({ shutdownGraceMs }) => shutdownGraceMs),
                    formatLimit,
                  ),
                },
                {
                  label: 'A folder is waited for',
                  hint: 'SESSION_CHAIN_WORKSPACE_WAIT_MS: after that an operation fails whose folder no worker has',
                  value: range(
                    living.map(({ workspaceWaitMs }) => workspaceWaitMs),
                    formatLimit,
                  ),
                },
              ]}
            />
          );
        }}
      </Loaded>
    </Card>
  );
}

function range(values: readonly number[], format: (value: number) => string): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? format(least) : `${format(least)} to ${format(most)}`;
}
