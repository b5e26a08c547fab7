import type { Schemas } from '../../api/client.js';
import { Badge } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Ago, now } from '../../ui/values.js';
import { NotForKey } from './facts.js';
import { Text } from '../../ui/text.js';
import styles from './settings.module.css';
import type { Caller } from './workers.js';

type Finding = Schemas['Finding'];
type Read = Parameters<typeof Loaded<Schemas['Doctor']>>[0]['read'] & { isFetching: boolean };

/** The server keeps a result for so long. */
const keptMs = 30_000;
const order: Finding['status'][] = ['fail', 'warn', 'ok'];
const tones = { fail: 'failed', warn: 'waiting', ok: 'ok' } as const;

/** What the server needs, checked by itself; what is wrong stands first. */
export function DoctorCard({ read, caller }: { read: Read; caller: Caller }) {
  const isAdmin = caller?.scope === 'admin' && caller.projects === null;
  const checkedAt = read.data?.checkedAt;
  const isNew = checkedAt !== undefined && now.value - Date.parse(checkedAt) < keptMs;
  return (
    <Card
      title="Doctor"
      hint="The checks of session-chain doctor that concern the server and what it reaches, made by the server now"
      flush
      actions={
        isAdmin && (
          <>
            {checkedAt && (
              <span class="muted small">
                checked <Ago at={checkedAt} />
              </span>
            )}
            <span title={isNew ? 'A result is kept for 30 s' : undefined}>
              <Button disabled={isNew || read.isFetching} onClick={() => void read.refetch()}>
                {read.isFetching ? 'Checking …' : 'Run again'}
              </Button>
            </span>
          </>
        )
      }
    >
      {caller !== undefined && !isAdmin ? (
        <NotForKey needs="a key of the scope admin for every project">
          What the checks find names addresses and roles of the database.
        </NotForKey>
      ) : (
        <Loaded read={read} rows={6}>
          {({ findings }) => (
            <Table
              caption="What the checks found, the worst first"
              rows={[...findings.entries()]
                .map(([index, finding]) => ({ ...finding, index }))
                .sort((one, other) => order.indexOf(one.status) - order.indexOf(other.status))}
              keyOf={({ check, index }) => `${check} ${index}`}
              columns={[
                { label: 'Check', cell: ({ check }) => check },
                {
                  label: 'Result',
                  cell: ({ status }) => (
                    <Badge tone={tones[status]}>
                      {{ fail: 'failed', warn: 'look at it', ok: 'ok' }[status]}
                    </Badge>
                  ),
                },
                {
                  label: 'What it found',
                  cell: ({ message, remedy }) => (
                    <>
                      <div class={styles.message}>
                        <Text text={message} />
                      </div>
                      {remedy && (
                        <div class={styles.remedy}>
                          <Text text={remedy} />
                        </div>
                      )}
                    </>
                  ),
                },
              ]}
            />
          )}
        </Loaded>
      )}
    </Card>
  );
}
