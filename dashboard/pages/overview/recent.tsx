import { Status } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, Command, Elapsed, Usd } from '../../ui/values.js';
import { Asked } from './asked.js';
import { useChains } from './reads.js';

/** How the newest chains ended. */
export function Recent() {
  const recent = useChains({
    status: ['completed', 'completed_with_warnings', 'failed', 'cancelled', 'budget_exceeded'],
    limit: 8,
  });
  return (
    <Card title="Ended last" hint="The newest chains that are over, by when they were asked for." flush>
      <Loaded read={recent} rows={4}>
        {({ chains }) =>
          chains.length === 0 ? (
            <Empty title="No chain has ended yet">
              The first one is started by your application, over HTTP, or by
              <br />
              <Command text="session-chain start --project my-app --version v1 --create --workspace ." />
            </Empty>
          ) : (
            <Table
              caption="Chains that ended last"
              rows={chains}
              keyOf={({ workflowId }) => workflowId}
              columns={[
                {
                  label: 'Chain',
                  cell: (chain) => <Asked chain={chain} />,
                },
                {
                  label: 'End',
                  cell: ({ status, failure, step }) => (
                    <>
                      <Status status={status} />
                      {failure && (
                        <div class="muted small">
                          <code>{failure.code}</code>
                          {step && ` in ${step}`}
                        </div>
                      )}
                    </>
                  ),
                },
                {
                  label: 'Took',
                  hint: 'From taking the project to its end.',
                  align: 'right',
                  cell: ({ openedAt, closedAt }) => <Elapsed from={openedAt} to={closedAt} />,
                },
                {
                  label: 'Cost',
                  hint: 'US dollars of all its attempts, failed ones included.',
                  align: 'right',
                  cell: ({ costUsd, attemptsOfUnknownCost }) => (
                    <Usd value={costUsd} unknown={attemptsOfUnknownCost} />
                  ),
                },
                { label: 'Ended', align: 'right', cell: ({ closedAt }) => <Ago at={closedAt} /> },
              ]}
            />
          )
        }
      </Loaded>
    </Card>
  );
}
