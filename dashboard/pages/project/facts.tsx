import { http, type Schemas } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { Stat, Stats } from '../../ui/card.js';
import { driftText } from '../../ui/drift.js';
import { formatBytes, shortId } from '../../ui/format.js';
import { Loaded } from '../../ui/states.js';
import { Ago, Copy, Usd } from '../../ui/values.js';
import styles from './facts.module.css';

type Project = Schemas['Project'];

/** What one must know first: the head, whether the project is in sync, its newest chain, and what it cost. */
export function Facts({ projectId }: { projectId: string }) {
  const project = useRead(['project', projectId], (signal) =>
    http.GET('/v1/projects/{projectId}', { params: { path: { projectId } }, signal }),
  );
  const newest = useRead(['chains of', projectId, 1], (signal) =>
    http.GET('/v1/projects/{projectId}/chains', {
      params: { path: { projectId }, query: { limit: 1 } },
      signal,
    }),
  );
  const storage = useRead(
    ['storage of', projectId],
    (signal) => http.GET('/v1/projects/{projectId}/storage', { params: { path: { projectId } }, signal }),
    { everyMs: 60_000, onEvents: false },
  );
  return (
    <Loaded read={project} rows={3}>
      {(data) => (
        <>
          <Drift project={data} />
          <LeftAlone storage={storage.data} />
          <Stats>
            <Head project={data} />
            <Newest chain={newest.data?.chains[0] ?? null} project={data} />
            <Stat
              label="Cost"
              value={<Usd value={data.costUsd} unknown={data.attemptsOfUnknownCost} />}
              hint="US dollars of all attempts since the project began, failed ones included, as far as they are known"
              note={
                data.attemptsOfUnknownCost > 0
                  ? `${data.attemptsOfUnknownCost} ${data.attemptsOfUnknownCost === 1 ? 'attempt' : 'attempts'} of unknown cost`
                  : 'all attempts'
              }
              href={links.costs({ project: projectId })}
            />
            <Stat
              label="Open chains"
              value={data.openChains}
              hint="Chains of the project that have not ended: at most one works, the others are queued"
              note={data.versionId === null ? 'no version yet' : `newest version ${data.versionId}`}
            />
            {storage.data && <Size storage={storage.data} />}
          </Stats>
        </>
      )}
    </Loaded>
  );
}

function Head({ project: { projectId, head, headMovedAt } }: { project: Project }) {
  return (
    <Stat
      label="Head"
      hint="The project's latest session: the next step goes on from it"
      value={
        head.sessionId === null ? (
          'none'
        ) : (
          <span class={styles.head}>
            <a class="mono" href={links.transcript(projectId, head.sessionId)} title={head.sessionId}>
              {shortId(head.sessionId)}
            </a>
            <Copy text={head.sessionId} what="session id" />
          </span>
        )
      }
      note={
        head.sessionId === null ? (
          'no step has committed yet'
        ) : (
          <>
            {head.seq === null ? 'from before session-chain' : `transition ${head.seq}`}, moved{' '}
            <Ago at={headMovedAt} />
          </>
        )
      }
    />
  );
}

function Newest({
  chain,
  project: { lastChain },
}: {
  chain: Schemas['ChainSummary'] | null;
  project: Project;
}) {
  if (lastChain === null)
    return (
      <Stat label="Newest chain" value="none" hint="The chain that was asked for last" note="no chain yet" />
    );
  const { failureCode, createdAt } = lastChain;
  const waits = chain?.waitingFor ? `waits for ${chain.waitingFor.kind}` : null;
  return (
    <Stat
      label="Newest chain"
      hint="The chain that was asked for last, and how it stands"
      value={
        <span class={styles.head}>
          <a href={links.chain(lastChain)}>{lastChain.versionId}</a>
        </span>
      }
      note={
        <span class={styles.status}>
          <Status status={lastChain.status} />
          {failureCode !== null ? <code>{failureCode}</code> : waits}
          <Ago at={createdAt} />
        </span>
      }
    />
  );
}

/** Why the project is out of sync, and what to do. */
function Drift({ project: { projectId, inSync, reasons } }: { project: Project }) {
  if (reasons.length === 0) return null;
  return (
    <div class={styles.drift} role="note" data-sync={inSync === false ? 'out' : 'in'}>
      <strong>{inSync === false ? 'Out of sync' : 'Look at this project'}</strong>
      <ul>
        {reasons.map((reason) => (
          <li key={reason}>{driftText[reason]}</li>
        ))}
      </ul>
      <a href={links.integrity({ project: projectId })}>What to do: the integrity page</a>
    </div>
  );
}

/** What the project takes. */
function Size({ storage: { bytes, archive, growthPerDay } }: { storage: Schemas['ProjectStorage'] }) {
  return (
    <Stat
      label="Size"
      value={formatBytes(bytes)}
      hint="What its rows take in the database, without indexes; transcripts nearly all of it"
      note={
        archive.files > 0
          ? `${formatBytes(archive.bytes)} in the archive`
          : `about ${formatBytes(growthPerDay.last30Days)} more a day`
      }
    />
  );
}

/** Why retention leaves the project alone, where it is more than a short while. */
function LeftAlone({ storage }: { storage: Schemas['ProjectStorage'] | undefined }) {
  if (storage?.leftAlone === 'hold')
    return (
      <div class={styles.drift} role="note">
        <strong>On legal hold</strong>
        <span>Nothing of it is archived away, dropped or erased until the hold is released.</span>
      </div>
    );
  if (storage?.leftAlone === 'being_erased')
    return (
      <div class={styles.drift} role="note" data-sync="out">
        <strong>Being erased</strong>
        <span>Nothing can be begun in it. A certificate is all that stays.</span>
      </div>
    );
  return null;
}

/** In sync or not, beside the title. */
export function Sync({ projectId }: { projectId: string }) {
  const { data } = useRead(['project', projectId], (signal) =>
    http.GET('/v1/projects/{projectId}', { params: { path: { projectId } }, signal }),
  );
  if (data?.inSync === undefined || data.inSync === null) return null;
  return data.inSync ? <Badge tone="ok">in sync</Badge> : <Badge tone="failed">out of sync</Badge>;
}
