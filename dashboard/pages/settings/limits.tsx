import { http, type Schemas } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { Card } from '../../ui/card.js';
import { formatCount } from '../../ui/format.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Ago } from '../../ui/values.js';
import { Facts, formatLimit } from './facts.js';

/** What bounds the workers, and how long what is kept. */
export function LimitsCard({ read }: { read: Parameters<typeof Loaded<Schemas['Workers']>>[0]['read'] }) {
  const { data: status } = useRead(['retention'], (signal) => http.GET('/v1/retention', { signal }), {
    ...{ everyMs: 60_000, onEvents: false },
  });
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
                ...retentionFacts(living.map(({ retention }) => retention)),
                {
                  label: 'Retention ran last',
                  hint: 'Over all projects; session-chain retention status says what it did',
                  value: status?.lastRun ? (
                    <Ago at={status.lastRun.endedAt} />
                  ) : (
                    'never, as far as Temporal knows'
                  ),
                },
                {
                  label: 'It runs next',
                  hint: 'session-chain retention install lets it run by itself',
                  value: status?.schedule?.nextAt ? (
                    <Ago at={status.schedule.nextAt} />
                  ) : status?.schedule ? (
                    'not while its schedule is paused'
                  ) : (
                    'only when it is asked for: no schedule is installed'
                  ),
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

/** What is kept how long, by the policies of the living workers. */
function retentionFacts(policies: readonly Schemas['RetentionPolicy'][]) {
  const days = (of: (policy: Schemas['RetentionPolicy']) => number) =>
    `${range(policies.map(of), formatCount)} days`;
  const hasArchive = policies.some(({ archive }) => archive !== null);
  return [
    {
      label: 'Transitions leave their table after',
      hint: 'SESSION_CHAIN_KEEP_TRANSITIONS_DAYS: they move to session_transitions_archive',
      value: days(({ transitionsDays }) => transitionsDays),
    },
    {
      label: 'Transcripts that nothing needs',
      hint: 'SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS after the last entry, then SESSION_CHAIN_DROP_TRANSCRIPTS_DAYS',
      value: hasArchive
        ? `go to the archive after ${days(({ transcriptsDays }) => transcriptsDays)}, and from here ${days(({ dropDays }) => dropDays)} later`
        : 'stay: no archive is configured (SESSION_CHAIN_ARCHIVE)',
    },
    {
      label: 'Details of attempts',
      hint: 'SESSION_CHAIN_KEEP_DETAILS_DAYS: failed attempts, briefs, and metrics, whose sums per day stay',
      value: hasArchive ? `go to the archive after ${days(({ detailsDays }) => detailsDays)}` : 'stay',
    },
  ];
}

function range(values: readonly number[], format: (value: number) => string): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? format(least) : `${format(least)} to ${format(most)}`;
}
