import type { ComponentChildren } from 'preact';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Text } from '../../ui/text.js';
import { Ago, Command, Elapsed } from '../../ui/values.js';
import type { ChainDetails } from './chain.js';
import styles from './now.module.css';

/** What the chain does or waits for now, or why it ended as it did; nothing for one that ended well. */
export function Now({ chain }: { chain: ChainDetails }) {
  const { projectId, versionId, buildId, status, failure, warnings } = chain;
  const isOpen = chain.closedAt === null;
  const listed = useRead(
    ['chain-now', projectId, versionId, buildId],
    (signal) =>
      http.GET('/v1/projects/{projectId}/chains', {
        params: { path: { projectId }, query: { versionId, buildId, askTemporal: true, limit: 1 } },
        signal,
      }),
    { enabled: isOpen, everyMs: 15_000 },
  );
  if (!isOpen) {
    if (failure)
      return (
        <Notice
          tone={status === 'cancelled' ? 'quiet' : 'failed'}
          title={titleOf(status)}
          code={failure.code}
        >
          <p>
            <Text text={failure.message} />
          </p>
          <p>
            <strong>What to do:</strong> <Text text={failure.remedy} />
          </p>
        </Notice>
      );
    if (warnings.length === 0) return null;
    return (
      <Notice tone="waiting" title={warnings.length === 1 ? 'A warning' : `${warnings.length} warnings`}>
        <ul>
          {warnings.map((warning) => (
            <li key={warning}>
              <Text text={warning} />
            </li>
          ))}
        </ul>
      </Notice>
    );
  }
  const now = listed.data?.chains[0];
  if (now?.failingTask) {
    const { since, tries, cause, message, worker } = now.failingTask;
    return (
      <Notice tone="failed" title="Its workflow task fails" code={cause}>
        <p>
          For <Elapsed from={since} />, in {tries} tries{worker !== '' && <> on {worker}</>}:{' '}
          <Text text={message} />
        </p>
        <p>
          <strong>What to do:</strong>{' '}
          {cause === 'TIMED_OUT'
            ? 'run more workers, or lower the number of agents on each: a worker did not answer in time.'
            : 'run workers of the release before, which goes on with it by itself; or terminate its workflow in Temporal and start the chain again.'}
        </p>
      </Notice>
    );
  }
  const running = chain.steps.find((step) => step.status === 'running');
  if (!now?.waitingFor) {
    return (
      <Notice tone="running" title={running ? `Working on ${running.step}` : 'Working'}>
        {running && <Progress chain={chain} since={running.journal.at(-1)?.startedAt ?? null} />}
      </Notice>
    );
  }
  const { waitingFor, missingWorker, step } = now;
  const since = (
    <>
      for <Elapsed from={waitingFor.since} />
    </>
  );
  const reason = chain.steps.find((one) => one.step === step)?.reason;
  switch (waitingFor.kind) {
    case 'queue':
      return (
        <Notice
          tone="waiting"
          title={`Queued${waitingFor.position === null ? '' : `, position ${waitingFor.position}`}`}
        >
          <p>
            It has waited {since} for its project{' '}
            {waitingFor.behind === null ? (
              'to become free'
            ) : (
              <>behind {<Workflow id={waitingFor.behind} />}</>
            )}
            . One chain works on a project at a time; it starts by itself.
          </p>
        </Notice>
      );
    case 'model':
      return (
        <Notice tone="waiting" title={`Waiting for the model service${step === null ? '' : ` in ${step}`}`}>
          <p>
            {reason && <Text text={`${reason.replace(/\.?$/, '.')} `} />}
            It has waited {since}
            {waitingFor.until !== null && (
              <>
                {' '}
                and asks again <Ago at={waitingFor.until} />
              </>
            )}
            . It goes on by itself.
          </p>
        </Notice>
      );
    case 'activity':
      return (
        <Notice
          tone={missingWorker ? 'failed' : 'running'}
          title={`${missingWorker ? 'No worker for' : 'Waiting for'} ${waitingFor.activity}`}
        >
          <p>
            The host's activity <code>{waitingFor.activity}</code> was called <Ago at={waitingFor.since} />,
            on the task queue <code>{waitingFor.taskQueue}</code>.
          </p>
          {missingWorker && <Missing taskQueue={missingWorker.taskQueue} own={false} />}
        </Notice>
      );
    case 'worker':
      return (
        <Notice
          tone={missingWorker ? 'failed' : 'waiting'}
          title={missingWorker ? 'No worker' : `Waiting for a worker${step === null ? '' : ` in ${step}`}`}
        >
          <p>
            It has waited {since} for a worker of the task queue <code>{waitingFor.taskQueue}</code>
            {waitingFor.lacks !== null && (
              <>
                {' '}
                that has what the step needs: <Text text={waitingFor.lacks} />
              </>
            )}
            {waitingFor.until !== null && (
              <>
                ; it looks again <Ago at={waitingFor.until} />
              </>
            )}
            .
          </p>
          {missingWorker && <Missing taskQueue={missingWorker.taskQueue} own />}
        </Notice>
      );
  }
}

function Missing({ taskQueue, own }: { taskQueue: string; own: boolean }) {
  return (
    <p>
      <strong>What to do:</strong> no worker polls <code>{taskQueue}</code>. Start{' '}
      {own ? (
        <>
          one: <Command text="npx session-chain worker" />
        </>
      ) : (
        'the worker of the host that has this activity.'
      )}{' '}
      The workers are listed on <a href={links.settings()}>Settings</a>.
    </p>
  );
}

/** What the running step does, as Temporal knows it by its last heartbeat. */
function Progress({ chain, since }: { chain: ChainDetails; since: string | null }) {
  const { projectId, versionId, buildId } = chain;
  const read = useRead(
    ['progress', projectId, versionId, buildId],
    (signal) =>
      http.GET('/v1/projects/{projectId}/chains/{versionId}/{buildId}/progress', {
        params: { path: { projectId, versionId, buildId } },
        signal,
      }),
    { everyMs: 3_000 },
  );
  const progress = read.data?.progress;
  return (
    <p>
      For <Elapsed from={since} />
      {progress?.turns !== undefined && `, ${progress.turns} ${progress.turns === 1 ? 'turn' : 'turns'}`}
      {progress?.activity && (
        <>
          , last: <Text text={progress.activity} />
        </>
      )}
      {progress?.lastFailure && (
        <>
          . The try before failed: <Text text={progress.lastFailure} />
        </>
      )}
    </p>
  );
}

function Workflow({ id }: { id: string }) {
  const [, projectId, versionId, buildId] = /^chain\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(id) ?? [];
  if (projectId === undefined || versionId === undefined || buildId === undefined) return <code>{id}</code>;
  return <a href={links.chain({ projectId, versionId, buildId })}>{buildId}</a>;
}

function titleOf(status: ChainDetails['status']): string {
  if (status === 'cancelled') return 'Cancelled';
  return status === 'budget_exceeded' ? 'Budget used up' : 'Failed';
}

function Notice({
  tone,
  title,
  code,
  children,
}: {
  tone: 'running' | 'waiting' | 'failed' | 'quiet';
  title: string;
  code?: string;
  children?: ComponentChildren;
}) {
  return (
    <section class={styles.notice} data-tone={tone} aria-label="Now">
      <h2>
        {title} {code !== undefined && <code class={styles.code}>{code}</code>}
      </h2>
      {children}
    </section>
  );
}
