import { http, type Schemas } from '../../api/client.js';
import { usePages } from '../../api/query.js';
import { links } from '../../links.js';
import { Status } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { More } from '../../ui/more.js';
import { Empty, Loaded } from '../../ui/states.js';
import { type Column, Table } from '../../ui/table.js';
import { Ago, Command, Elapsed, Usd } from '../../ui/values.js';
import { Text } from '../../ui/text.js';
import { visibleText } from '../../ui/visible-text.js';

type Chain = Schemas['ChainSummary'];

const columns: Column<Chain>[] = [
  {
    label: 'Chain',
    cell: (chain) => (
      <>
        <a href={links.chain(chain)}>{chain.versionId}</a>
        {chain.buildId !== chain.versionId && <span class="muted"> {chain.buildId}</span>}
        {chain.firstLine !== null && (
          <div class="muted small">
            <Text text={chain.firstLine} />
          </div>
        )}
      </>
    ),
  },
  {
    label: 'Status',
    cell: ({ status, failure, waitingFor, queue, step }) => (
      <>
        <Status status={status} />
        <div class="muted small">
          {failure ? (
            <span title={visibleText(`${failure.message} ${failure.remedy}`)}>
              <code>{failure.code}</code>
              {step !== null && ` in ${step}`}
            </span>
          ) : queue ? (
            `queue position ${queue.position}`
          ) : waitingFor ? (
            `waits for ${waitingFor.kind === 'model' ? 'the model service' : waitingFor.kind === 'activity' ? 'an activity of the host' : `a ${waitingFor.kind}`}`
          ) : (
            status === 'running' && step
          )}
        </div>
      </>
    ),
  },
  {
    label: 'Cost',
    hint: 'US dollars of all its attempts, failed ones included',
    align: 'right',
    cell: ({ costUsd, attemptsOfUnknownCost }) => <Usd value={costUsd} unknown={attemptsOfUnknownCost} />,
  },
  {
    label: 'Duration',
    hint: 'From when it took the project to when it ended, or to now',
    align: 'right',
    cell: ({ openedAt, closedAt }) => <Elapsed from={openedAt} to={closedAt} />,
  },
  { label: 'Asked for', align: 'right', cell: ({ createdAt }) => <Ago at={createdAt} /> },
];

/** The chains of a project, the newest first. */
export function Chains({ projectId }: { projectId: string }) {
  const read = usePages(['chains', projectId], (cursor, signal) =>
    http.GET('/v1/projects/{projectId}/chains', {
      params: { path: { projectId }, query: { limit: 8, ...cursor } },
      signal,
    }),
  );
  return (
    <Card
      title="Chains"
      hint="The newest first. A chain is the work for one build: its steps one after the other."
      flush
    >
      <Loaded read={read} rows={5}>
        {(pages) => {
          const rows = pages.flatMap(({ chains }) => chains);
          return rows.length === 0 ? (
            <Empty title="No chain has worked on this project.">
              <Command
                text={`session-chain start --project ${projectId} --version v1 --workspace … --prompt "…"`}
              />
            </Empty>
          ) : (
            <>
              <Table
                caption="Chains of the project"
                columns={columns}
                rows={rows}
                keyOf={({ workflowId }) => workflowId}
              />
              <More read={read}>Show older chains</More>
            </>
          );
        }}
      </Loaded>
    </Card>
  );
}
