import { links } from '../../links.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { StepDots } from '../../ui/step-dots.js';
import { Table } from '../../ui/table.js';
import { Ago, Command, Elapsed, Usd } from '../../ui/values.js';
import styles from './overview.module.css';
import { Asked } from './asked.js';
import { More } from './more.js';
import { useChains, useCounts } from './reads.js';

/** The chains that work now, the newest first. */
export function Running() {
  const running = useChains({ status: ['running'] });
  const total = useCounts().data?.status.running;
  return (
    <Card title="Running" hint="Chains that hold their project and work on it, the newest first." flush>
      <Loaded read={running} rows={3}>
        {({ chains }) =>
          chains.length === 0 ? (
            <p class={styles.idle}>
              Nothing runs. A chain is started by your application, over HTTP, or by{' '}
              <Command text="session-chain start --project my-app --version v1 --create --workspace ." />
            </p>
          ) : (
            <>
              <Table
                caption="Running chains"
                rows={chains}
                keyOf={({ workflowId }) => workflowId}
                columns={[
                  {
                    label: 'Chain',
                    cell: (chain) => <Asked chain={chain} />,
                  },
                  {
                    label: 'Step',
                    cell: ({ step, waitingFor }) => (
                      <>
                        {step ?? <span class="muted">between steps</span>}
                        {waitingFor?.kind === 'activity' && (
                          <div class="muted small">{waitingFor.activity}</div>
                        )}
                        {waitingFor?.kind === 'worker' && <div class="muted small">waits for a worker</div>}
                      </>
                    ),
                  },
                  { label: 'Progress', cell: ({ steps }) => <StepDots steps={steps} /> },
                  {
                    label: 'Works for',
                    hint: 'Time since it took the project, all its steps together.',
                    align: 'right',
                    cell: ({ openedAt }) => <Elapsed from={openedAt} />,
                  },
                  {
                    label: 'Last progress',
                    hint: 'When a step began or ended, or an entry of a transcript was stored.',
                    align: 'right',
                    cell: ({ progressAt }) => <Ago at={progressAt} />,
                  },
                  {
                    label: 'Spent',
                    hint: 'US dollars of its attempts that have ended; what runs now is not in it yet.',
                    align: 'right',
                    cell: ({ costUsd, attemptsOfUnknownCost }) => (
                      <Usd value={costUsd} unknown={attemptsOfUnknownCost} />
                    ),
                  },
                ]}
              />
              <More shown={chains.length} of={total} href={links.projects({ status: 'running' })} />
            </>
          )
        }
      </Loaded>
    </Card>
  );
}
