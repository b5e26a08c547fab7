import { useState } from 'preact/hooks';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { Badge, statusText } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Text } from '../../ui/text.js';
import { Ago, At, Command, Copy, Session } from '../../ui/values.js';
import type { ChainDetails } from './chain.js';
import { Folded } from './inspector.js';
import styles from './request.module.css';

/** What the user asked for, in the user's words. */
export function Instruction({ chain: { instruction, mode } }: { chain: ChainDetails }) {
  return (
    <section class={styles.instruction} aria-label="Instruction">
      {instruction === null ? (
        <p class="muted">The standard instruction of the mode {mode}.</p>
      ) : (
        <Folded lines={6}>
          <p class={styles.text}>
            <Text text={instruction} />
          </p>
        </Folded>
      )}
    </section>
  );
}

/** Where the chain worked and what it started from, how its ends were told, and the raw data. */
export function Request({ chain }: { chain: ChainDetails }) {
  const { projectId, versionId, buildId, ends } = chain;
  const api = `/v1/projects/${[projectId, 'chains', versionId, buildId].map(encodeURIComponent).join('/')}`;
  return (
    <>
      <Card title="About the chain">
        <dl class={styles.facts}>
          <div>
            <dt>Folder</dt>
            <dd class={styles.path}>
              <code>{chain.workspace}</code> <Copy text={chain.workspace} what="path" />
            </dd>
          </div>
          <div>
            <dt>Steps</dt>
            <dd>
              {chain.requestedSteps === null ? 'all of the definition' : chain.requestedSteps.join(', ')}
            </dd>
          </div>
          <div>
            <dt>Started from</dt>
            <dd>
              {chain.resumedFrom ?? 'It has not opened yet.'}{' '}
              {chain.baseSessionId !== null && <Session projectId={projectId} id={chain.baseSessionId} />}
            </dd>
          </div>
          <div>
            <dt>Head</dt>
            <dd>
              <Session projectId={projectId} id={chain.head.sessionId} />
            </dd>
          </div>
          <div>
            <dt>Times</dt>
            <dd>
              asked for <At at={chain.requestedAt} />, opened <At at={chain.openedAt} />, closed{' '}
              <At at={chain.closedAt} />
            </dd>
          </div>
          <div>
            <dt>Raw data</dt>
            <dd class={styles.raw}>
              <a href={`${api}/events?after=0&limit=1000`}>events</a>
              <a href={api}>chain</a>
              <a href={`${api}/timeline`}>timeline</a>
              <a href={`${api}/changes`}>changes</a>
              <a href={`${api}/spend`}>spend</a>
            </dd>
          </div>
          <div>
            <dt>In a terminal</dt>
            <dd>
              <Command
                text={`npx session-chain status --project ${projectId} --version ${versionId}${buildId === versionId ? '' : ` --build ${buildId}`}`}
              />
            </dd>
          </div>
        </dl>
        {chain.brief && <Brief chain={chain} />}
      </Card>
      {ends.length > 0 && (
        <Card
          title="Told to the host"
          hint="Each end of the chain, of which the host's activity (onEnd) is told until it succeeds; what was delivered more than 30 days ago is forgotten"
          flush
        >
          <Table
            caption="Ends of the chain that the host is told of"
            rows={ends}
            keyOf={({ key }) => key}
            columns={[
              { label: 'Ended', cell: ({ endedAt }) => <At at={endedAt} /> },
              { label: 'As', cell: ({ status }) => statusText(status) },
              {
                label: 'Told',
                cell: ({ deliveredAt, dueAt }) =>
                  deliveredAt === null ? (
                    <>
                      <Badge tone="waiting">not yet</Badge> next <Ago at={dueAt} />
                    </>
                  ) : (
                    <Ago at={deliveredAt} />
                  ),
              },
              {
                label: 'Rounds',
                hint: 'How often calls for it began',
                align: 'right',
                cell: ({ rounds }) => rounds,
              },
              {
                label: 'Last failure',
                cell: ({ failure }) => (failure === null ? '–' : <Text text={failure} />),
              },
            ]}
          />
        </Card>
      )}
    </>
  );
}

/** What the fresh session was told of the project's state, read when it is asked for. */
function Brief({ chain: { projectId, versionId, buildId } }: { chain: ChainDetails }) {
  const [isOpen, setOpen] = useState(false);
  const read = useRead(
    ['brief', projectId, versionId, buildId],
    (signal) =>
      http.GET('/v1/projects/{projectId}/chains/{versionId}/{buildId}/brief', {
        params: { path: { projectId, versionId, buildId } },
        signal,
      }),
    { enabled: isOpen },
  );
  return (
    <details class={styles.brief} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>What the fresh session was told of the project</summary>
      {isOpen && (
        <Loaded read={read}>
          {({ brief }) => (
            <p class={styles.text}>
              {brief ? <Text text={brief.content} /> : 'Nothing: it continued from the head.'}
            </p>
          )}
        </Loaded>
      )}
    </details>
  );
}
