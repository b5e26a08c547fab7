import type { ComponentChildren } from 'preact';
import { links } from '../../links.js';
import { Stat, Stats } from '../../ui/card.js';
import { formatCount, formatShare, formatUsd } from '../../ui/format.js';
import styles from './overview.module.css';
import { dayOf, useCounts, useSpendByDay, useSync } from './reads.js';

/** The row of numbers on top. */
export function Numbers() {
  const counts = useCounts();
  const { status, waitingFor } = counts.data ?? {};
  const failed = status && status.failed + status.budget_exceeded;
  const number = (value: number | undefined) =>
    shown(counts, value === undefined ? undefined : formatCount(value));
  const note = (count: number | undefined, what: string) => (count ? `${formatCount(count)} ${what}` : ' ');
  return (
    <Stats>
      <Stat
        label="Running"
        value={number(status?.running)}
        hint="Chains that hold their project and work on it now."
        note={note(waitingFor?.activity, 'in an activity of the host')}
        href={links.projects({ status: 'running' })}
        {...(status?.running ? { tone: 'running' as const } : {})}
      />
      <Stat
        label="Waiting"
        value={number(status?.waiting)}
        hint="Chains that hold their project and wait: for the model service, or for a worker that has what their step needs."
        note={note(waitingFor?.model, 'for the model')}
        href={links.projects({ status: 'waiting' })}
        {...(status?.waiting ? { tone: 'waiting' as const } : {})}
      />
      <Stat
        label="Queued"
        value={number(status?.queued)}
        hint="Chains that have been asked for and have not opened: another chain holds their project, or no worker has taken them up."
        note={note(waitingFor?.queue, 'behind another chain')}
        href={links.projects({ status: 'queued' })}
      />
      <Stat
        label="Failed, 24 h"
        value={number(failed)}
        hint="Chains that ended within the last 24 hours as failed, or because their budget was used up."
        note={status && `${formatCount(status.completed + status.completed_with_warnings)} completed`}
        href={links.projects({ status: 'failed' })}
        {...(failed ? { tone: 'failed' as const } : {})}
      />
      <SyncStat />
      <SpendStat />
    </Stats>
  );
}

function SyncStat() {
  const sync = useSync();
  const { projects = 0, inSync = 0 } = sync.data ?? {};
  const hint =
    'Share of the projects with a head and a version whose newest version names the head. A version whose chain has not opened yet is not in sync.';
  if (!sync.mayRead)
    return <Stat label="In sync" value="–" hint={hint} note="this key is not for every project" />;
  return (
    <Stat
      label="In sync"
      value={shown(sync, sync.data && (formatShare(inSync, projects) ?? '–'))}
      hint={hint}
      note={
        sync.data &&
        (projects === 0
          ? 'no project has a head'
          : `${formatCount(inSync)} of ${formatCount(projects)} projects`)
      }
      href={links.integrity()}
      {...(projects > inSync ? { tone: 'waiting' as const } : {})}
    />
  );
}

function SpendStat() {
  const spend = useSpendByDay();
  const today = dayOf(Date.now());
  const groups = spend.data?.groups ?? [];
  const now = groups.find(({ key }) => key === today);
  const mean = groups.filter(({ key }) => key < today).reduce((sum, { costUsd }) => sum + costUsd, 0) / 7;
  return (
    <Stat
      label="Spent today"
      value={shown(
        spend,
        spend.data && formatUsd(now?.costUsd ?? 0, { unknown: now?.attemptsOfUnknownCost ?? 0 }),
      )}
      hint="US dollars of all attempts that ended today, UTC, failed ones included; ≥ where the cost of some is not known. The mean is that of the seven days before, a whole day each."
      note={spend.data && `${formatUsd(mean)} a day before`}
      href={links.costs({ since: today })}
    />
  );
}

/** A number, grey while it is read for the first time, a dash where it cannot be read. */
function shown(read: { isPending: boolean; error: unknown }, value: string | undefined): ComponentChildren {
  if (value !== undefined) return value;
  if (read.isPending) return <span class={styles.pending} role="status" aria-label="Loading" />;
  return <span title="It could not be read; the page tries again by itself">–</span>;
}
