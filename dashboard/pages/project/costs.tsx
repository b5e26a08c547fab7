import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { DayBars } from '../../ui/bars.js';
import { Card } from '../../ui/card.js';
import { Empty, Loaded } from '../../ui/states.js';

/** What the project cost on each of the last 30 days. */
export function Costs({ projectId }: { projectId: string }) {
  const read = useRead(['spend by day', projectId], (signal) =>
    http.GET('/v1/projects/{projectId}/spend', {
      params: { path: { projectId }, query: { by: 'day' } },
      signal,
    }),
  );
  return (
    <Card
      title="Costs, 30 days"
      hint="US dollars by day (UTC) over the last 30 days, all attempts, also those that failed."
      actions={
        <a class="small" href={links.costs({ project: projectId })}>
          More about costs
        </a>
      }
    >
      <Loaded read={read} rows={5}>
        {({ groups = [] }) =>
          groups.length === 0 ? (
            <Empty title="Nothing was spent in the last 30 days." />
          ) : (
            <DayBars days={groups} />
          )
        }
      </Loaded>
    </Card>
  );
}
