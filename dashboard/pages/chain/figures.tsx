import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Stat, Stats } from '../../ui/card.js';
import { formatCompact, formatCount, formatDuration, formatShare, formatUsd } from '../../ui/format.js';
import { Elapsed, Usd } from '../../ui/values.js';
import { driftText } from '../../ui/drift.js';
import type { ChainDetails } from './chain.js';
import styles from './figures.module.css';

/** The numbers of the chain, with what is left of its budget. */
export function Figures({ chain }: { chain: ChainDetails }) {
  const { projectId, spent, saved, budget, budgetLeft, openedAt, requestedAt, closedAt } = chain;
  const project = useRead(['project', projectId], (signal) =>
    http.GET('/v1/projects/{projectId}', { params: { path: { projectId } }, signal }),
  );
  const { usage } = spent;
  const journal = chain.steps.flatMap((step) => step.journal);
  const runs = journal.some(({ state }) => state === 'running');
  const attempts = journal.length;
  const sent = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
  const share = formatShare(usage.cacheReadTokens, sent);
  const sync = project.data?.inSync;
  return (
    <div class={styles.figures}>
      <Stats>
        <Stat
          label={openedAt === null ? 'Waited' : 'Took'}
          value={<Elapsed from={openedAt ?? requestedAt} to={closedAt} />}
          hint="Wall-clock time since the chain held its project, or, before that, since it was asked for"
          note={
            openedAt !== null && (
              <>
                after <Elapsed from={requestedAt} to={openedAt} /> in the queue
              </>
            )
          }
        />
        <Stat
          label="Cost"
          value={<Usd value={spent.costUsd} unknown={spent.attemptsOfUnknownCost} />}
          hint="US dollars that all attempts of all runs of the chain have cost, by the agent's price list"
          note={
            spent.attemptsOfUnknownCost > 0
              ? `${spent.attemptsOfUnknownCost} of unknown cost`
              : runs
                ? 'without the attempt that runs'
                : Object.keys(spent.byModel).join(', ')
          }
        />
        <Stat
          label="Tokens"
          value={
            <span title={formatCount(sent + usage.outputTokens)}>
              {formatCompact(sent + usage.outputTokens)}
            </span>
          }
          hint="Tokens that were sent to the model and that it wrote, over all attempts"
          note={share === null ? 'none sent' : `${share} of the input from the cache`}
        />
        <Stat
          label="Turns"
          value={formatCount(spent.turns)}
          hint="Answers of the model, over all attempts"
          note={`${formatCount(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}${runs ? ', without the running one' : ''}`}
        />
        {(saved.adopted > 0 || saved.continued > 0) && (
          <Stat
            label="Saved"
            tone="ok"
            value={<Usd value={saved.costUsd} unknown={saved.attemptsOfUnknownCost} />}
            hint="What attempts that ended without a commit had spent on work that a later attempt used, so that it was not paid again: finished work was committed as it was, begun work was continued"
            note={[
              `${formatCount(saved.turns)} ${saved.turns === 1 ? 'turn' : 'turns'}`,
              ...(saved.adopted > 0 ? [`${saved.adopted} adopted`] : []),
              ...(saved.continued > 0 ? [`${saved.continued} continued`] : []),
            ].join(', ')}
          />
        )}
        <Stat
          label="Project"
          value={sync === undefined || sync === null ? '–' : sync ? 'in sync' : 'not in sync'}
          {...(sync === false
            ? { tone: 'failed' as const, href: links.integrity({ project: projectId }) }
            : {})}
          hint="Whether the newest version of the project names its head"
          note={
            project.data && project.data.reasons.length > 0
              ? project.data.reasons.map((reason) => driftText[reason]).join(' ')
              : undefined
          }
        />
      </Stats>
      {budget && budgetLeft && (
        <dl class={styles.budget} aria-label="Budget of the chain">
          <Budget
            label="Cost"
            limit={budget.maxCostUsd}
            left={budgetLeft.costUsd}
            format={(value) => formatUsd(value)}
          />
          <Budget label="Turns" limit={budget.maxTurns} left={budgetLeft.turns} format={formatCount} />
          <Budget label="Time" limit={budget.timeoutMs} left={budgetLeft.timeMs} format={formatDuration} />
        </dl>
      )}
    </div>
  );
}

function Budget({
  label,
  limit,
  left,
  format,
}: {
  label: string;
  limit: number | undefined;
  left: number | null;
  format: (value: number) => string;
}) {
  if (limit === undefined || left === null) return null;
  const used = limit === 0 ? 1 : Math.min(1, (limit - left) / limit);
  return (
    <div class={styles.limit}>
      <dt>{label}</dt>
      <dd title={`${format(limit - left)} of ${format(limit)} used; what all attempts took counts`}>
        <span class={styles.bar} data-low={used > 0.8} aria-hidden="true">
          <span style={{ width: `${100 * used}%` }} />
        </span>
        {format(left)} of {format(limit)} left
      </dd>
    </div>
  );
}
