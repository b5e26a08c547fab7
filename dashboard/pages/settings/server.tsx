import type { Schemas } from '../../api/client.js';
import { links } from '../../links.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { Facts } from './facts.js';

const may = {
  read: 'read everything of its projects',
  start: 'read, start, cancel, ask, record and rewind',
  admin: 'do everything: also recover, reconcile, unbind and list keys',
} as const;

export function ServerCard({ read }: { read: Parameters<typeof Loaded<Schemas['Server']>>[0]['read'] }) {
  return (
    <Card title="This server">
      <Loaded read={read} rows={4}>
        {({ version, namespace, temporalUi, key }) => (
          <Facts
            facts={[
              { label: 'session-chain', value: version },
              { label: 'Namespace in Temporal', value: namespace },
              {
                label: "Temporal's Web UI",
                value: temporalUi ? (
                  <a href={temporalUi} target="_blank" rel="noreferrer">
                    {temporalUi}
                  </a>
                ) : (
                  <span class="muted">not configured: SESSION_CHAIN_TEMPORAL_UI</span>
                ),
              },
              {
                label: 'Your key may',
                value: (
                  <>
                    {may[key.scope]} <span class="muted">({key.scope})</span>
                  </>
                ),
              },
              {
                label: 'Your projects',
                value:
                  key.projects === null
                    ? 'every project'
                    : key.projects.map((id, index) => (
                        <>
                          {index > 0 && ', '}
                          <a href={links.project(id)}>{id}</a>
                        </>
                      )),
              },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}
