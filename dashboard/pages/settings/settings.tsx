import { http } from '../../api/client.js';
import { useLive } from '../../api/live.js';
import { useRead } from '../../api/query.js';
import { Columns, Page, Stack } from '../../ui/page.js';
import { DefinitionCards } from './definitions.js';
import { DoctorCard } from './doctor.js';
import { KeysCard } from './keys.js';
import { LimitsCard } from './limits.js';
import { ServerCard } from './server.js';
import { Standing } from './standing.js';
import { QueuesCard, WorkersCard } from './workers.js';

/** Who does the work and by which definition, what is in force, and whether all that the server needs is there. */
export default function Settings() {
  useLive({ all: true });
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  const key = server.data?.key;
  const seesAll = key?.projects === null;
  const isAdmin = seesAll && key.scope === 'admin';
  const workers = useRead(['workers'], (signal) => http.GET('/v1/workers', { signal }), {
    everyMs: 5_000,
    enabled: seesAll,
  });
  const definitions = useRead(['definitions'], (signal) => http.GET('/v1/definitions', { signal }), {
    everyMs: 15_000,
    enabled: seesAll,
  });
  // Checks open connections of their own: no event makes them again, as it would without a second part.
  const doctor = useRead(['doctor', 'of the server'], (signal) => http.GET('/v1/doctor', { signal }), {
    enabled: isAdmin,
  });
  return (
    <Page title="Settings" subtitle="Workers, the definition that they run, keys, and what the server needs">
      <Stack>
        {seesAll && (
          <Standing
            workers={workers.data}
            definitions={definitions.data?.definitions}
            findings={doctor.data?.findings}
          />
        )}
        <DoctorCard read={doctor} caller={key} />
        <Columns min={60}>
          <WorkersCard read={workers} caller={key} />
          {seesAll && <QueuesCard read={workers} />}
        </Columns>
        {seesAll && <DefinitionCards read={definitions} />}
        <KeysCard caller={key} />
        <Columns min={26}>
          <ServerCard read={server} />
          {seesAll && <LimitsCard read={workers} />}
        </Columns>
      </Stack>
    </Page>
  );
}
