import type { ComponentChildren } from 'preact';
import { links } from '../../links.js';
import { Badge, type Tone } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { formatCount } from '../../ui/format.js';
import { Failed, Skeleton } from '../../ui/states.js';
import { Ago, ChainLink } from '../../ui/values.js';
import { Text } from '../../ui/text.js';
import styles from './overview.module.css';
import { type Chain, stuckAfterMs, useChains, useCounts, useSync, useWorkers } from './reads.js';

/** Codes of failures that are shown; the others are counted. */
const codesShown = 6;
/** Asking Temporal takes longer than Postgres, so it is asked less often. */
const temporalMs = 15_000;

/** What is stuck or fails, why, and what to do; the worst first. */
export function Attention() {
  const counts = useCounts();
  const stuck = useChains({ stuckForMs: stuckAfterMs, limit: 50 }, { everyMs: 30_000 });
  const waits = useChains(
    { waitingFor: ['worker', 'activity'], askTemporal: true, limit: 50 },
    { everyMs: temporalMs },
  );
  const model = useChains({ waitingFor: ['model'], limit: 50 });
  const workers = useWorkers();
  const sync = useSync();
  if (counts.data === undefined || stuck.data === undefined) {
    const error = counts.error ?? stuck.error;
    return (
      <Card title="Needs attention" flush>
        {error && !counts.isPending && !stuck.isPending ? (
          <Failed error={error} onRetry={() => void Promise.all([counts.refetch(), stuck.refetch()])} />
        ) : (
          <Skeleton rows={2} />
        )}
      </Card>
    );
  }
  const missing = byQueue(waits.data?.chains ?? []);
  const failing = (waits.data?.chains ?? []).filter(({ failingTask }) => failingTask !== null);
  const forModel = model.data?.chains ?? [];
  const modelCount = counts.data.waitingFor.model;
  const { since } = counts.data;
  // One that was cancelled was meant to end.
  const failed = Object.entries(counts.data.failed)
    .filter(([code]) => code !== 'CANCELLED')
    .sort(([, one], [, other]) => other - one);
  const dead = workers.data?.workers.filter(({ alive }) => !alive) ?? [];
  const drifted = sync.data ? sync.data.projects - sync.data.inSync : 0;
  const items = [
    ...(failing.length > 0
      ? [
          <Item
            key="tasks"
            tone="failed"
            label="Stands still"
            what={
              <>
                The workflow task of{' '}
                {failing.length === 1 ? '1 chain' : `${formatCount(failing.length)} chains`} fails since{' '}
                <Ago at={oldest(failing.map(({ failingTask }) => failingTask?.since ?? ''))} />:{' '}
                <code>{failing[0]?.failingTask?.cause}</code>
              </>
            }
            todo={
              failing.every(({ failingTask }) => failingTask?.cause === 'TIMED_OUT')
                ? 'Run more workers.'
                : 'Run workers of the release before.'
            }
            chains={failing}
          />,
        ]
      : []),
    ...missing.map(([taskQueue, chains]) => (
      <Item
        key={`queue ${taskQueue}`}
        tone="failed"
        label="No worker"
        what={
          <>
            No worker polls the task queue <code>{taskQueue}</code>: {chainsWait(chains.length)} since{' '}
            <Ago at={oldest(chains.map(({ missingWorker }) => missingWorker?.since ?? ''))} />
          </>
        }
        todo={
          <>
            Start a worker, or the host’s worker of this queue. <a href={links.settings()}>Workers</a>
          </>
        }
        chains={chains}
      />
    )),
    ...(workers.data && dead.length > 0 && dead.length === workers.data.workers.length
      ? [
          <Item
            key="workers"
            tone="failed"
            label="No worker"
            what={`No worker is alive; ${dead.length === 1 ? 'the last one was' : `${dead.length} were`} seen before`}
            todo={
              <>
                Start a worker: <code>session-chain worker</code>. Chains go on where they are.{' '}
                <a href={links.settings()}>Workers</a>
              </>
            }
          />,
        ]
      : []),
    ...(stuck.data.chains.length > 0
      ? [
          <Item
            key="stuck"
            tone="failed"
            label="Stuck"
            what={
              <>
                {atLeast(stuck.data.chains.length, stuck.data.nextCursor)} open and without progress for more
                than 30 min
              </>
            }
            todo="Look at what each waits for; a chain whose workflow is gone is closed by reconcile on the Integrity page."
            chains={stuck.data.chains}
          />,
        ]
      : []),
    ...(modelCount > 0
      ? [
          <Item
            key="model"
            tone="waiting"
            label="Model"
            what={
              <>
                {chainsWait(modelCount)} for the model service
                {forModel.length > 0 && (
                  <>
                    , since <Ago at={oldest(forModel.map(({ progressAt }) => progressAt))} />
                    {next(forModel) && (
                      <>
                        ; it is asked again <Ago at={next(forModel)} />
                      </>
                    )}
                  </>
                )}
              </>
            }
            todo="No action needed while it is overloaded; a limit that stays is the credential’s or the account’s."
            chains={forModel}
          />,
        ]
      : []),
    ...failed
      .slice(0, codesShown)
      .map(([code, count]) => <FailedCode key={code} code={code as Code} count={count} since={since} />),
    ...(failed.length > codesShown
      ? [
          <Item
            key="more codes"
            tone="failed"
            label="Failed"
            what={`${failed.length - codesShown} more codes: ${failed
              .slice(codesShown)
              .map(([code, count]) => `${code} ${count}`)
              .join(', ')}`}
            todo={<a href={links.projects({ status: 'failed' })}>Projects whose newest chain failed</a>}
          />,
        ]
      : []),
    ...(drifted > 0
      ? [
          <Item
            key="sync"
            tone="waiting"
            label="Out of sync"
            what={`${formatCount(drifted)} ${drifted === 1 ? 'project has' : 'projects have'} a newest version that does not name the head`}
            todo={
              <>
                <a href={links.integrity()}>Integrity</a> says why, with the remedy of each.
              </>
            }
          />,
        ]
      : []),
  ];
  return (
    <Card
      title="Needs attention"
      hint="What does not go on by itself, or ended badly within the last 24 hours: the worst first."
      flush
    >
      {items.length === 0 ? (
        <p class={styles.quiet}>
          <Badge tone="ok">All well</Badge>
          <span>
            Nothing is stuck, nothing failed within 24 h, no worker is missing
            {sync.data && sync.data.projects > 0 ? ', all projects are in sync' : ''}.
          </span>
        </p>
      ) : (
        <ul class={styles.items}>{items}</ul>
      )}
    </Card>
  );
}

type Code = NonNullable<Chain['failure']>['code'];

/** What failed with one code within the last 24 hours: the newest chains, and the remedy that they were told. */
function FailedCode({ code, count, since }: { code: Code; count: number; since: string }) {
  const newest = useChains({ failureCode: code, limit: 3 });
  const chains = newest.data?.chains ?? [];
  const failure = chains[0]?.failure;
  return (
    <Item
      tone="failed"
      label="Failed"
      what={
        <>
          <code>{code}</code> · {formatCount(count)} {count === 1 ? 'chain' : 'chains'}
          {failure && (
            <span class="muted">
              {' '}
              · <Text text={failure.message} />
            </span>
          )}
        </>
      }
      todo={failure?.remedy ?? ' '}
      chains={chains.filter(({ closedAt }) => closedAt !== null && closedAt >= since)}
      when={(chain) => chain.closedAt}
    />
  );
}

/** One line: what is wrong, what to do, and the chains that it concerns. */
function Item({
  tone,
  label,
  what,
  todo,
  chains = [],
  when = ({ progressAt }) => progressAt,
}: {
  tone: Tone;
  label: string;
  what: ComponentChildren;
  todo: ComponentChildren;
  chains?: readonly Chain[];
  when?: (chain: Chain) => string | null;
}) {
  return (
    <li class={styles.item}>
      <Badge tone={tone}>{label}</Badge>
      <div class={styles.said}>
        <div>{what}</div>
        <div class="muted small">{todo}</div>
      </div>
      <ul class={styles.which}>
        {chains.slice(0, 3).map((chain) => (
          <li key={chain.workflowId}>
            <ChainLink chain={chain} />{' '}
            <span class="muted small">
              {chain.step && `${chain.step} · `}
              <Ago at={when(chain)} />
            </span>
          </li>
        ))}
        {chains.length > 3 && <li class="muted small">and {formatCount(chains.length - 3)} more</li>}
      </ul>
    </li>
  );
}

function byQueue(chains: readonly Chain[]): [string, Chain[]][] {
  const queues = new Map<string, Chain[]>();
  for (const chain of chains) {
    const queue = chain.missingWorker?.taskQueue;
    if (queue !== undefined) queues.set(queue, [...(queues.get(queue) ?? []), chain]);
  }
  return [...queues];
}

const oldest = (moments: readonly string[]) => moments.toSorted()[0] ?? null;
const next = (chains: readonly Chain[]) => oldest(chains.flatMap(({ waitingUntil }) => waitingUntil ?? []));
const chainsWait = (count: number) => (count === 1 ? '1 chain waits' : `${formatCount(count)} chains wait`);
const atLeast = (count: number, more: string | null) =>
  `${formatCount(count)}${more === null ? '' : ' or more'} ${count === 1 && more === null ? 'chain is' : 'chains are'}`;
