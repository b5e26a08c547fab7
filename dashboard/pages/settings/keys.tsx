import { type Schemas, http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Badge } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, Command } from '../../ui/values.js';
import { NotForKey } from './facts.js';
import styles from './settings.module.css';
import type { Caller } from './workers.js';

type Key = Schemas['ApiKey'];

export function KeysCard({ caller }: { caller: Caller }) {
  const isAdmin = caller?.scope === 'admin' && caller.projects === null;
  const keys = useRead(['keys'], (signal) => http.GET('/v1/keys', { signal }), { enabled: isAdmin });
  return (
    <Card
      title="Keys"
      hint="What callers of the HTTP server show. The database has the SHA-256 of a key's secret alone."
      flush
    >
      {caller !== undefined && !isAdmin ? (
        <NotForKey needs="a key of the scope admin for every project">
          {caller.projects === null ? `Yours has the scope ${caller.scope}.` : 'Yours is for some projects.'}
        </NotForKey>
      ) : (
        <Loaded read={keys}>
          {({ keys }) =>
            keys.length === 0 ? (
              <Empty title="There is no key" />
            ) : (
              <Table
                caption="Keys, the newest first"
                rows={keys}
                keyOf={({ id }) => id}
                columns={[
                  {
                    label: 'Name',
                    cell: ({ name, id }) => (
                      <>
                        {name}
                        <div class="muted small mono">{id}</div>
                      </>
                    ),
                  },
                  { label: 'State', cell: ({ state }) => <State state={state} /> },
                  {
                    label: 'Scope',
                    hint: 'read: everything of its projects. start: also start, cancel, ask, record, rewind. admin: everything.',
                    cell: ({ scope }) => scope,
                  },
                  { label: 'Projects', cell: (key) => <Projects of={key} /> },
                  {
                    label: 'Last used',
                    hint: 'To the minute',
                    cell: ({ lastUsedAt }) => (lastUsedAt === null ? 'never' : <Ago at={lastUsedAt} />),
                  },
                  {
                    label: 'Expires',
                    cell: ({ expiresAt, revokedAt }) =>
                      revokedAt !== null ? (
                        <>
                          revoked <Ago at={revokedAt} />
                        </>
                      ) : expiresAt === null ? (
                        'never'
                      ) : (
                        <Ago at={expiresAt} />
                      ),
                  },
                  { label: 'Made', cell: ({ createdAt }) => <Ago at={createdAt} /> },
                  {
                    label: 'Revoke',
                    cell: ({ id, state }) =>
                      state === 'valid' ? <Command text={`session-chain keys revoke ${id}`} /> : null,
                  },
                ]}
              />
            )
          }
        </Loaded>
      )}
      <div class={styles.below}>
        <p class="muted">
          Keys are made and revoked on the command line: the role of the server in the database may do
          neither, so that an attacker who takes over the server cannot make a key that outlives it.
        </p>
        <div class={styles.commands}>
          <Command text="session-chain keys create --name web --scope read --expires 90d" />
          <Command text="session-chain keys create --name shop --scope start --project shop" />
        </div>
      </div>
    </Card>
  );
}

function State({ state }: { state: Key['state'] }) {
  return <Badge tone={state === 'valid' ? 'ok' : 'quiet'}>{state}</Badge>;
}

function Projects({ of: { projects } }: { of: Key }) {
  if (projects === null) return <>every project</>;
  const shown = projects.slice(0, 5);
  return (
    <span title={projects.join(', ')}>
      {shown.map((id, index) => (
        <>
          {index > 0 && ', '}
          <a href={links.project(id)}>{id}</a>
        </>
      ))}
      {projects.length > shown.length && ` and ${projects.length - shown.length} more`}
    </span>
  );
}
