import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { shortId } from '../../ui/format.js';
import { Page, Stack } from '../../ui/page.js';
import { useQueryState } from '../../ui/query-state.js';
import { Empty, Failed, Loaded, Skeleton } from '../../ui/states.js';
import { Searched, Text } from '../../ui/text.js';
import { Copy } from '../../ui/values.js';
import { Download } from './download.js';
import { Facts } from './facts.js';
import { FoldsContext } from './folds.js';
import { SessionContext } from './images.js';
import { List, type ListHandle } from './list.js';
import { useEntries } from './load.js';
import { type Filter, type Row, filtered, filters, rowsOf, searchTextOf } from './rows.js';
import { Toolbar } from './toolbar.js';
import styles from './transcript.module.css';

/** What was asked, answered and done in a session, live while it is written. */
export default function Transcript({ projectId, sessionId }: { projectId: string; sessionId: string }) {
  // Another session is another page, with folds of its own.
  return <Session key={`${projectId}/${sessionId}`} projectId={projectId} sessionId={sessionId} />;
}

function Session({ projectId, sessionId }: { projectId: string; sessionId: string }) {
  const session = useRead(['session', projectId, sessionId], (signal) =>
    http.GET('/v1/projects/{projectId}/sessions/{sessionId}', {
      params: { path: { projectId, sessionId } },
      signal,
    }),
  );
  const isRunning = session.data?.attempt?.state === 'running';
  const appendedAt = session.data?.appendedAt ?? null;
  const loaded = useEntries(projectId, sessionId, { appendedAt, isRunning });
  const ids = useMemo(() => ({ projectId, sessionId }), [projectId, sessionId]);
  return (
    <SessionContext.Provider value={ids}>
      <Page
        title={`Session ${shortId(sessionId)}`}
        trail={[
          { label: 'Projects', href: links.projects() },
          { label: projectId, href: links.project(projectId) },
        ]}
        badge={
          <>
            <Copy text={sessionId} what="session id" />
            {session.data?.attempt && <Status status={session.data.attempt.state} />}
            {session.data?.isHead && <Badge tone="accent">head</Badge>}
          </>
        }
        actions={loaded.isComplete && loaded.entries.length > 0 && <Download />}
      >
        <Stack>
          <div>
            <Loaded read={session} rows={2}>
              {(data) => <Facts session={data} />}
            </Loaded>
          </div>
          <Conversation
            loaded={loaded}
            isRunning={isRunning}
            parent={session.data?.parentSessionId ?? null}
            isKnown={session.data !== undefined}
          />
        </Stack>
      </Page>
    </SessionContext.Provider>
  );
}

function Conversation({
  loaded: { entries, isComplete, error, retry, writing },
  isRunning,
  parent,
  isKnown,
}: {
  loaded: ReturnType<typeof useEntries>;
  isRunning: boolean;
  parent: string | null;
  isKnown: boolean;
}) {
  const [q, setSearch] = useQueryState('q');
  const [show, setShow] = useQueryState('show');
  const [entry] = useQueryState('entry');
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [place, setPlace] = useState(-1);
  const [follows, setFollows] = useState<boolean | null>(null);
  const list = useRef<ListHandle | null>(null);
  const search = (q ?? '').toLowerCase();
  const filter = filters.find((one) => one === show) ?? null;

  const all = useMemo(() => rowsOf(entries), [entries]);
  const marked = useMemo(
    () =>
      entry === null
        ? null
        : (all.find((row) => row.entries.some(({ entryId }) => entryId === entry)) ?? null),
    [all, entry],
  );
  const rows = useMemo(
    () => shownRows(all, { filter, open, unfold: search !== '', marked }),
    [all, filter, open, search !== '', marked],
  );
  const texts = useRef(new WeakMap<Row, string>());
  const found = useMemo(() => {
    if (search === '') return [];
    const textOf = (row: Row) => {
      const text = texts.current.get(row) ?? searchTextOf(row);
      texts.current.set(row, text);
      return text;
    };
    return rows.flatMap((row, index) => (textOf(row).includes(search) ? [index] : []));
  }, [rows, search]);
  const foundKeys = useMemo(() => new Set(found.flatMap((index) => rows[index]?.key ?? [])), [found, rows]);

  const folds = useMemo(
    () => ({
      isOpen: (key: string) => open.has(key),
      toggle: (key: string) =>
        setOpen((known) => {
          const next = new Set(known);
          if (!next.delete(key)) next.add(key);
          return next;
        }),
    }),
    [open],
  );

  // The entry of the address is scrolled to once it is there.
  const shown = useRef<string | null>(null);
  useEffect(() => {
    if (!marked || shown.current === entry) return;
    shown.current = entry;
    list.current?.show(rows.findIndex(({ key }) => key === marked.key));
  }, [marked, entry, rows]);

  const step = (by: 1 | -1) => {
    if (found.length === 0) return;
    const next = (Math.max(place, by === 1 ? -1 : 0) + by + found.length) % found.length;
    setPlace(next);
    list.current?.show(found[next] ?? 0, { focus: false });
  };

  if (entries.length === 0) {
    if (error !== null) return isKnown ? <Failed error={error} onRetry={retry} /> : null;
    if (!isComplete) return <Skeleton rows={8} />;
    return (
      <Empty title="Nothing is stored of this session yet">
        {isRunning
          ? 'Entries appear here as Claude Code writes them.'
          : 'Its agent ended before it wrote an entry.'}
      </Empty>
    );
  }
  const isFollowing = follows ?? (isRunning && entry === null && search === '');
  return (
    <section aria-label="Transcript">
      <Toolbar
        search={q ?? ''}
        onSearch={(text) => {
          setPlace(-1);
          setSearch(text, { replace: true });
        }}
        found={found.length}
        place={place}
        onStep={step}
        filter={filter}
        onFilter={(one: Filter | null) => setShow(one)}
        follows={isRunning ? isFollowing : null}
        onFollow={setFollows}
        status={isComplete ? '' : `${entries.length.toLocaleString('en-US')} entries so far`}
      />
      {error !== null && <Failed error={error} onRetry={retry} />}
      {entry !== null && isComplete && !marked && (
        <p class={styles.missing} role="status">
          The entry <code>{entry}</code> of this link is not in this session.
        </p>
      )}
      <FoldsContext.Provider value={folds}>
        <Searched.Provider value={search}>
          {rows.length === 0 ? (
            <Empty title="Nothing of this kind is in the transcript">Choose All to see the rest.</Empty>
          ) : (
            <div class={styles.list}>
              <List
                rows={rows}
                parent={parent}
                marked={marked?.key ?? null}
                found={foundKeys}
                follows={isRunning && isFollowing}
                onScrollBack={() => setFollows(false)}
                isBusy={!isComplete}
                handle={list}
              />
            </div>
          )}
        </Searched.Provider>
      </FoldsContext.Provider>
      {isRunning && (
        <div class={styles.writing} role="status" aria-live="off">
          <Badge tone="running">{writing === '' ? 'working' : 'writing'}</Badge>
          {writing !== '' && (
            <p dir="auto">
              <Text text={writing} />
            </p>
          )}
        </div>
      )}
    </section>
  );
}

/** The rows that are in sight or a scroll away: not what is copied or a subagent's, unless it is unfolded. */
function shownRows(
  all: readonly Row[],
  {
    filter,
    open,
    unfold,
    marked,
  }: { filter: Filter | null; open: ReadonlySet<string>; unfold: boolean; marked: Row | null },
): Row[] {
  const fork = all.findIndex(({ kind }) => kind === 'fork');
  // What is nothing but a copy is shown as what it is.
  const hasOwn = fork >= 0 && all.slice(fork + 1).some(({ kind }) => kind !== 'notes');
  const isCopiedShown = unfold || !hasOwn || open.has('fork') || marked?.isInherited === true;
  return all.flatMap((row, index): Row[] => {
    if (index < fork && !isCopiedShown) return [];
    const agent = row.subagent !== null && row.kind !== 'subagent' ? `agent ${row.subagent}` : null;
    if (agent !== null && filter === null && !unfold && !open.has(agent) && marked?.subagent !== row.subagent)
      return [];
    const left = filtered(row, filter);
    return left ? [left] : [];
  });
}
