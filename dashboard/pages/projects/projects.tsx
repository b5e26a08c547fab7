import { useLive } from '../../api/live.js';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { Page } from '../../ui/page.js';
import { useQueryState } from '../../ui/query-state.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Command } from '../../ui/values.js';
import { Filters, useFilters } from './filters.js';
import { ProjectTable } from './project-table.js';
import styles from './projects.module.css';

const perPage = 50;

/** Of a page that was come to from another: that other's cursor; null for the first page. */
const pageBefore = new Map<string, string | null>();

/** All projects: their heads, their newest chains, whether they are in sync or why not, and what they cost. */
export default function Projects() {
  useLive({ all: true });
  const filters = useFilters();
  const [cursor, setCursor] = useQueryState('after');
  const query = { ...filters.query, limit: perPage, ...(cursor === null ? {} : { cursor }) };
  const projects = useRead(['projects', query], (signal) =>
    http.GET('/v1/projects', { params: { query }, signal }),
  );
  const { nextCursor = null } = projects.data ?? {};
  const before = cursor === null ? undefined : pageBefore.get(cursor);
  const next = () => {
    if (nextCursor === null) return;
    pageBefore.set(nextCursor, cursor);
    setCursor(nextCursor);
    scrollTo({ top: 0 });
  };
  return (
    <Page
      title="Projects"
      subtitle="Each with its head, its newest chain, whether it is in sync, and what it cost."
    >
      <div class={styles.page}>
        <Filters filters={filters} />
        <Card title={titleOf(filters)} flush>
          <Loaded read={projects} rows={10}>
            {({ projects: rows }) =>
              rows.length > 0 ? (
                <ProjectTable projects={rows} />
              ) : filters.areSet || cursor !== null ? (
                <Empty title="No project is like this">
                  <Button onClick={filters.clear}>Show all projects</Button>
                </Empty>
              ) : (
                <Empty title="There are no projects yet">
                  A project is a row of your table <code>projects</code>; a first one with a first chain is
                  made by
                  <br />
                  <Command text="session-chain start --project my-app --version v1 --create --workspace ." />
                </Empty>
              )
            }
          </Loaded>
          {(cursor !== null || nextCursor !== null) && (
            <nav class={styles.pages} aria-label="Pages of the list">
              <Button disabled={cursor === null} onClick={() => setCursor(null)}>
                First
              </Button>
              <Button
                disabled={before === undefined}
                onClick={() => before !== undefined && setCursor(before)}
              >
                Previous
              </Button>
              <Button disabled={nextCursor === null || projects.isPlaceholderData} onClick={next}>
                Next
              </Button>
            </nav>
          )}
        </Card>
      </div>
    </Page>
  );
}

function titleOf({ areSet, query: { order } }: ReturnType<typeof useFilters>): string {
  return `${areSet ? 'Projects that match' : 'All projects'}, ${order === 'moved' ? 'the head that moved last first' : 'by id'}`;
}
