import type { Schemas } from '../../api/client.js';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { driftText } from '../../ui/drift.js';
import { formatCount } from '../../ui/format.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink, Session, Usd } from '../../ui/values.js';
import styles from './projects.module.css';

type Project = Schemas['Project'];

export function ProjectTable({ projects }: { projects: readonly Project[] }) {
  return (
    <Table
      caption="Projects"
      rows={projects}
      keyOf={({ projectId }) => projectId}
      columns={[
        {
          label: 'Project',
          cell: ({ projectId, openChains }) => (
            <>
              <a href={links.project(projectId)}>{projectId}</a>
              {openChains > 0 && (
                <div class="muted small">
                  {formatCount(openChains)} open {openChains === 1 ? 'chain' : 'chains'}
                </div>
              )}
            </>
          ),
        },
        {
          label: 'Newest chain',
          hint: 'The one that was asked for last, and how it stands or ended.',
          cell: ({ lastChain }) => <LastChain chain={lastChain} />,
        },
        {
          label: 'Sync',
          hint: 'Whether the newest version names the head, and why not.',
          cell: (project) => <Sync project={project} />,
        },
        {
          label: 'Head',
          hint: 'The latest session, and the number of the transition that made it the head.',
          cell: ({ projectId, head }) => (
            <>
              <Session projectId={projectId} id={head.sessionId} />
              {head.seq !== null && <span class="muted small"> #{formatCount(head.seq)}</span>}
            </>
          ),
        },
        {
          label: 'Moved',
          hint: 'When the head moved last.',
          cell: ({ headMovedAt }) => <Ago at={headMovedAt} />,
        },
        {
          label: 'Cost',
          hint: 'US dollars of all attempts of all time, failed ones included; ≥ where the cost of some is not known.',
          align: 'right',
          cell: ({ costUsd, attemptsOfUnknownCost }) => (
            <Usd value={costUsd} unknown={attemptsOfUnknownCost} />
          ),
        },
      ]}
    />
  );
}

function LastChain({ chain }: { chain: Project['lastChain'] }) {
  if (chain === null) return <span class="muted">none yet</span>;
  return (
    <div class={styles.chain}>
      <Status status={chain.status} />
      <span>
        <ChainLink chain={chain} withProject={false} />{' '}
        <span class="muted small">
          <Ago at={chain.closedAt ?? chain.createdAt} />
        </span>
        {chain.failureCode && (
          <div class="small">
            <code>{chain.failureCode}</code>
          </div>
        )}
      </span>
    </div>
  );
}

function Sync({ project: { projectId, inSync, reasons, head, versionId } }: { project: Project }) {
  if (inSync === null && reasons.length === 0)
    return (
      <span class="muted small">
        {head.sessionId === null ? 'no head yet' : versionId === null ? 'no version' : 'not known'}
      </span>
    );
  return (
    <>
      {inSync === false ? (
        <Badge tone="waiting">out of sync</Badge>
      ) : (
        <Badge tone={reasons.length > 0 ? 'waiting' : 'ok'}>
          {reasons.length > 0 ? 'in doubt' : 'in sync'}
        </Badge>
      )}
      {reasons.map((reason) => (
        <div key={reason} class="muted small">
          {driftText[reason]} <a href={links.integrity({ project: projectId })}>Why</a>
        </div>
      ))}
    </>
  );
}
