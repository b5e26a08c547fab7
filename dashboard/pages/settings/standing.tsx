import type { Schemas } from '../../api/client.js';
import { Stat, Stats } from '../../ui/card.js';
import { formatCount, formatDuration } from '../../ui/format.js';

/** What an operator must know first, in a row of numbers. */
export function Standing({
  workers,
  definitions,
  findings,
}: {
  workers: Schemas['Workers'] | undefined;
  definitions: Schemas['DefinitionInUse'][] | undefined;
  findings: Schemas['Finding'][] | undefined;
}) {
  const alive = workers?.workers.filter((worker) => worker.alive);
  const gone = workers === undefined || alive === undefined ? 0 : workers.workers.length - alive.length;
  const total = (of: 'agents' | 'chats', what: 'running' | 'max') =>
    (alive ?? []).reduce((sum, worker) => sum + worker[of][what], 0);
  const waiting = workers?.queues?.reduce((sum, { backlog }) => sum + (backlog ?? 0), 0);
  const oldestMs = Math.max(0, ...(workers?.queues ?? []).map(({ oldestAgeMs }) => oldestAgeMs ?? 0));
  const failed = findings?.filter(({ status }) => status === 'fail').length;
  const warned = findings?.filter(({ status }) => status === 'warn').length;
  return (
    <Stats>
      <Stat
        label="Workers"
        value={alive === undefined ? '–' : formatCount(alive.length)}
        hint="Worker processes that were seen within the last minute"
        {...(alive?.length === 0 ? { tone: 'failed' as const } : {})}
        note={gone === 0 ? 'all alive' : `${gone} gone within a day`}
      />
      <Stat
        label="Agents"
        value={alive === undefined ? '–' : `${total('agents', 'running')} of ${total('agents', 'max')}`}
        hint="Agents of steps that run now on all living workers, of those that may"
        note={`answers: ${total('chats', 'running')} of ${total('chats', 'max')}`}
      />
      <Stat
        label="Tasks waiting"
        value={waiting === undefined ? 'not known' : formatCount(waiting)}
        hint="Tasks in Temporal's task queues that no worker has taken yet, about"
        {...(waiting !== undefined && waiting > 0 ? { tone: 'waiting' as const } : {})}
        note={
          waiting === undefined
            ? 'Temporal does not answer'
            : waiting > 0
              ? `the oldest for ${formatDuration(oldestMs)}`
              : 'in no queue'
        }
      />
      <Stat
        label="Definitions"
        value={definitions === undefined ? '–' : formatCount(definitions.length)}
        hint="Different definitions that living workers have; more than one is a rollout"
        {...(definitions !== undefined && definitions.length > 1 ? { tone: 'waiting' as const } : {})}
        note={definitions !== undefined && definitions.length > 1 ? 'a rollout' : 'the same everywhere'}
      />
      {findings !== undefined && (
        <Stat
          label="Doctor"
          value={failed ? `${failed} failed` : warned ? `${warned} to look at` : 'all well'}
          hint="Checks of what the server needs: the database, rights, Temporal, workers"
          {...(failed
            ? { tone: 'failed' as const }
            : warned
              ? { tone: 'waiting' as const }
              : { tone: 'ok' as const })}
          note={`of ${findings.length} findings`}
        />
      )}
    </Stats>
  );
}
