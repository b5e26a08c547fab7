import { http } from '../../api/client.js';
import { useLive } from '../../api/live.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { DayBars } from '../../ui/bars.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { Columns, Page, Stack } from '../../ui/page.js';
import { useQueryState } from '../../ui/query-state.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Command } from '../../ui/values.js';
import { visibleText } from '../../ui/visible-text.js';
import styles from './costs.module.css';
import { Filters } from './filters.js';
import { type Group, GroupTable, ModelTable } from './group-table.js';
import { momentsOf, periodOf } from './period.js';
import { Totals } from './totals.js';

/** What was spent in which days, by day, project, step and model. */
export default function Costs() {
  useLive({ all: true });
  const [since] = useQueryState('since');
  const [until] = useQueryState('until');
  const [projectId] = useQueryState('project');
  const [top, setTop] = useQueryState('top');
  const period = periodOf(since, until);
  const asked = { ...momentsOf(period), ...(projectId === null ? {} : { projectId }) };
  const useSpend = (by: Group, limit?: number) =>
    // Sums over many attempts: read again by the clock, not at each event.
    useRead(
      ['spend', `by ${by}`, asked],
      (signal) =>
        http.GET('/v1/spend', {
          params: { query: { by, ...asked, ...(limit === undefined ? {} : { limit }) } },
          signal,
        }),
      { everyMs: 60_000, onEvents: false },
    );
  const most = top === 'all' ? many : few;
  const days = useSpend('day');
  const [steps, models, projects] = [useSpend('step'), useSpend('model'), useSpend('project', most + 1)];
  const csvOf = (by: Group) => `/v1/spend.csv?${new URLSearchParams({ by, ...asked }).toString()}`;
  return (
    <Page
      title="Costs"
      subtitle={
        <>
          {period.since === period.until ? period.since : `${period.since} to ${period.until}`}, UTC
          {projectId !== null && (
            <>
              , of the project <a href={links.project(projectId)}>{visibleText(projectId)}</a>
            </>
          )}
        </>
      }
      actions={<Filters period={period} />}
    >
      <Loaded read={days} rows={8}>
        {({ groups }) =>
          groups.length === 0 ? (
            <Empty title="Nothing was spent in these days.">
              An attempt counts on the day on which it ended. Choose more days, or start a chain:{' '}
              <Command text="session-chain start --help" />
            </Empty>
          ) : (
            <Stack>
              <Totals groups={groups} />
              <Card
                title="By day"
                hint="US dollars of the attempts that ended on each day, UTC. Failed and interrupted attempts are included."
                actions={<Csv href={csvOf('day')} />}
              >
                <DayBars
                  days={groups}
                  {...period}
                  height={12}
                  hrefOf={(day) => links.costs({ since: day, until: day, project: projectId })}
                />
              </Card>
              <Columns min={34}>
                {projectId === null && (
                  <Card
                    title="By project"
                    hint="The projects that cost most in these days; the CSV has all."
                    actions={<Csv href={csvOf('project')} />}
                    flush
                  >
                    <Loaded read={projects} rows={6}>
                      {(read) => (
                        <>
                          <GroupTable
                            label="Project"
                            groups={read.groups.slice(0, most)}
                            all={groups}
                            nameOf={(key) => <a href={links.costs({ ...period, project: key })}>{key}</a>}
                          />
                          {read.groups.length > few && (
                            <div class={styles.more}>
                              <Button onClick={() => setTop(top === 'all' ? null : 'all')}>
                                {top === 'all' ? `Show ${few}` : 'Show more'}
                              </Button>
                            </div>
                          )}
                        </>
                      )}
                    </Loaded>
                  </Card>
                )}
                <Stack>
                  <Card
                    title="By step"
                    hint="Each attempt counts for its step; outside chains the step is what the operation was, as chat_plan for a question."
                    actions={<Csv href={csvOf('step')} />}
                    flush
                  >
                    <Loaded read={steps} rows={5}>
                      {(read) => <GroupTable label="Step" groups={read.groups} all={groups} />}
                    </Loaded>
                  </Card>
                  <Card
                    title="By model"
                    hint="An attempt that used several models counts for each with what it spent there."
                    actions={<Csv href={csvOf('model')} />}
                    flush
                  >
                    <Loaded read={models} rows={3}>
                      {(read) => <ModelTable groups={read.groups} all={groups} />}
                    </Loaded>
                  </Card>
                </Stack>
              </Columns>
            </Stack>
          )
        }
      </Loaded>
    </Page>
  );
}

/** Projects that are shown at first, and with `?top=all`; the CSV has all. */
const [few, many] = [12, 500] as const;

function Csv({ href }: { href: string }) {
  return (
    <a class="small" href={href} download title="Download as CSV, all lines">
      CSV
    </a>
  );
}
