import { type Schemas, http } from '../../api/client.js';
import { links } from '../../links.js';
import { Act } from '../../ui/act.js';
import { Status } from '../../ui/badge.js';
import { formatDuration } from '../../ui/format.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink } from '../../ui/values.js';
import { Remedy, Section } from './section.js';

/** Open chains that do not move. */
export function StuckChains({
  chains,
  nextCursor,
  mayRepair,
}: Schemas['ChainPage'] & { mayRepair: boolean }) {
  return (
    <Section
      id="stuck"
      title="Chains without progress"
      hint="Open chains of which nothing began, ended or was stored for 30 min. An attempt that only waited for the model service is no progress."
      isMore={nextCursor && 'session-chain list --stuck'}
    >
      <Table
        caption="Open chains without progress for 30 min"
        rows={chains}
        keyOf={({ workflowId }) => workflowId}
        columns={[
          { label: 'Chain', cell: (chain) => <ChainLink chain={chain} /> },
          { label: 'Status', cell: ({ status }) => <Status status={status} /> },
          {
            label: 'Why',
            cell: ({ reason, step }) => reason ?? (step === null ? '–' : `in the step ${step}`),
          },
          { label: 'Last progress', cell: ({ progressAt }) => <Ago at={progressAt} /> },
          {
            label: 'What to do',
            cell: ({ projectId }) => (
              <Remedy command={`session-chain status --project ${projectId} --dry-run`}>
                <Reconcile projectId={projectId} mayRepair={mayRepair} />
              </Remedy>
            ),
          },
        ]}
      />
    </Section>
  );
}

function Reconcile({ projectId, mayRepair }: { projectId: string; mayRepair: boolean }) {
  const params = { path: { projectId } };
  return (
    <Act
      label={`Reconcile ${projectId}`}
      reason={mayRepair ? null : 'this takes a key of the scope admin'}
      what="Closes the chains of the project whose workflows are gone from Temporal, once the leases of their agents have expired, and wakes the chains behind them. A chain whose workflow lives is not touched."
      dryRun={() => http.POST('/v1/projects/{projectId}/reconcile', { params, body: { dryRun: true } })}
      call={() => http.POST('/v1/projects/{projectId}/reconcile', { params, body: {} })}
      show={(reconciled, isDone) => <Reconciled {...reconciled} projectId={projectId} isDone={isDone} />}
    />
  );
}

/** What came of it, in words. */
function Reconciled({
  projectId,
  released,
  endingInMs,
  isDone,
}: Schemas['Reconciled'] & { projectId: string; isDone: boolean }) {
  return (
    <>
      {released.length > 0 && (
        <>
          <p>
            {isDone
              ? 'These chains were closed:'
              : 'The workflows of these chains are gone; they would be closed:'}
          </p>
          <ul>
            {released.map((workflowId) => (
              <li key={workflowId}>
                <code>{workflowId}</code>
              </li>
            ))}
          </ul>
        </>
      )}
      {endingInMs !== null && (
        <p>
          The workflow that holds the project is gone, and the lease of its agent expires in{' '}
          {formatDuration(endingInMs)}: reconcile again after that.
        </p>
      )}
      {released.length === 0 && endingInMs === null && (
        <p>
          Every open chain of the project has its workflow: nothing {isDone ? 'was' : 'would be'} closed. See
          what they wait for on the page of <a href={links.project(projectId)}>{projectId}</a>.
        </p>
      )}
    </>
  );
}
