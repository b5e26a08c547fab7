import { http } from '../../api/client.js';
import { useLive } from '../../api/live.js';
import { useRead } from '../../api/query.js';
import { Page, Stack } from '../../ui/page.js';
import { Loaded } from '../../ui/states.js';
import { BrokenSessions } from './broken-sessions.js';
import { Checks, type Findings } from './checks.js';
import { DriftedProjects } from './drifted-projects.js';
import { FencedAttempts } from './fenced-attempts.js';
import { LateEnds } from './late-ends.js';
import { StuckChains } from './stuck-chains.js';

/** Whether heads, sessions and chains are as they should be; where not, why, and the ready remedy. */
export default function Integrity() {
  useLive({ all: true });
  // They look over all projects: read again by the clock, and after each action.
  const often = { everyMs: 30_000, onEvents: false };
  const query = { limit: most };
  const sync = useRead(
    ['integrity', 'sync'],
    (signal) => http.GET('/v1/sync', { params: { query }, signal }),
    often,
  );
  const sessions = useRead(
    ['integrity', 'sessions'],
    (signal) => http.GET('/v1/integrity/sessions', { params: { query }, signal }),
    often,
  );
  const stuck = useRead(
    ['integrity', 'stuck'],
    (signal) => http.GET('/v1/chains', { params: { query: { ...query, stuckForMs } }, signal }),
    often,
  );
  const ends = useRead(
    ['integrity', 'ends'],
    (signal) => http.GET('/v1/integrity/ends', { params: { query }, signal }),
    often,
  );
  const fenced = useRead(
    ['integrity', 'attempts'],
    (signal) => http.GET('/v1/integrity/attempts', { params: { query }, signal }),
    often,
  );
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  const mayRepair = server.data?.key.scope === 'admin';
  const reads = [sync, sessions, stuck, ends, fenced];
  const all = {
    data: findingsOf(sync.data, sessions.data, stuck.data, ends.data, fenced.data),
    error: reads.find(({ error }) => error !== null)?.error,
    isPending: reads.some(({ isPending }) => isPending),
    refetch: () => reads.map((read) => read.refetch()),
  };
  return (
    <Page title="Integrity" subtitle="What is not as it should be, why, and what to do. Checked every 30 s.">
      <Loaded read={all} rows={8}>
        {(found) => (
          <Stack>
            <Checks {...found} />
            {server.data && !mayRepair && (
              <p class="muted">
                Your key may read. Recover and Reconcile take a key of the scope <code>admin</code>; the
                commands beside them say the same in a terminal.
              </p>
            )}
            {found.sessions.sessions.length > 0 && (
              <BrokenSessions {...found.sessions} mayRepair={mayRepair} />
            )}
            {found.stuck.chains.length > 0 && <StuckChains {...found.stuck} mayRepair={mayRepair} />}
            {found.sync.drifted.length > 0 && <DriftedProjects {...found.sync} />}
            {found.ends.ends.length > 0 && <LateEnds {...found.ends} />}
            {found.fenced.attempts.length > 0 && <FencedAttempts {...found.fenced} />}
          </Stack>
        )}
      </Loaded>
    </Page>
  );
}

/** Entries of each list that are shown; `more` leads to the rest. */
const most = 50;
/** As `session-chain list --stuck` counts. */
const stuckForMs = 1_800_000;

function findingsOf(
  sync: Findings['sync'] | undefined,
  sessions: Findings['sessions'] | undefined,
  stuck: Findings['stuck'] | undefined,
  ends: Findings['ends'] | undefined,
  fenced: Findings['fenced'] | undefined,
): Findings | undefined {
  return sync && sessions && stuck && ends && fenced ? { sync, sessions, stuck, ends, fenced } : undefined;
}
