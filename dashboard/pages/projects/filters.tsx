import { useLocation } from 'preact-iso';
import { useEffect, useRef, useState } from 'preact/hooks';
import { links } from '../../links.js';
import { statusText } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { useQueryState } from '../../ui/query-state.js';
import styles from './projects.module.css';

/** As the API has them; an address may hold anything. */
const statuses = [
  'queued',
  'running',
  'waiting',
  'completed',
  'completed_with_warnings',
  'failed',
  'cancelled',
  'budget_exceeded',
] as const;
const orders = { id: 'By id', moved: 'Head moved last' } as const;
const syncs = { true: 'In sync', false: 'Out of sync' } as const;
/** After the last key, before it is searched for. */
const typingMs = 250;

/** What narrows the list, from the page's address; what the API would refuse is left out. */
export function useFilters() {
  const { route, query } = useLocation();
  const status = statuses.find((known) => known === query['status']);
  const inSync = query['inSync'] === 'true' ? true : query['inSync'] === 'false' ? false : undefined;
  const search = query['search']?.trim().slice(0, 255) || undefined;
  return {
    query: {
      ...(status === undefined ? {} : { status: [status] }),
      ...(inSync === undefined ? {} : { inSync }),
      ...(search === undefined ? {} : { search }),
      ...(query['order'] === 'moved' ? { order: 'moved' as const } : {}),
    },
    areSet: (status ?? inSync ?? search) !== undefined,
    clear: () => route(links.projects()),
  };
}

/** The filters; each change begins at the first page. */
export function Filters({ filters: { areSet, query, clear } }: { filters: ReturnType<typeof useFilters> }) {
  const [, setStatus] = useQueryState('status');
  const [, setSync] = useQueryState('inSync');
  const [, setOrder] = useQueryState('order');
  const [, setCursor] = useQueryState('after');
  const select =
    (set: (value: string | null) => void) =>
    ({ currentTarget }: { currentTarget: HTMLSelectElement }) => {
      setCursor(null, { replace: true });
      set(currentTarget.value || null);
    };
  return (
    <form
      class={styles.filters}
      role="search"
      aria-label="Filters"
      onSubmit={(event) => event.preventDefault()}
    >
      <Search />
      <label>
        Newest chain
        <select value={query.status?.[0] ?? ''} onChange={select(setStatus)}>
          <option value="">any</option>
          {statuses.map((one) => (
            <option key={one} value={one}>
              {statusText(one)}
            </option>
          ))}
        </select>
      </label>
      <label>
        Sync
        <select value={query.inSync === undefined ? '' : String(query.inSync)} onChange={select(setSync)}>
          <option value="">any</option>
          {Object.entries(syncs).map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        Order
        <select
          value={query.order ?? 'id'}
          onChange={select((value) => setOrder(value === 'id' ? null : value))}
        >
          {Object.entries(orders).map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {areSet && <Button onClick={clear}>Clear</Button>}
    </form>
  );
}

/** A part of the id, searched for as it is typed. */
function Search() {
  const [search, setSearch] = useQueryState('search');
  const [, setCursor] = useQueryState('after');
  const [typed, setTyped] = useState(search ?? '');
  const timer = useRef<ReturnType<typeof setTimeout>>();
  // Back, a link, or Clear.
  useEffect(() => setTyped((now) => (now.trim() === (search ?? '') ? now : (search ?? ''))), [search]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const find = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      setCursor(null, { replace: true });
      setSearch(text.trim() || null, { replace: true });
    }, typingMs);
  };
  return (
    <label class={styles.search}>
      Search
      <input
        type="search"
        value={typed}
        maxLength={255}
        placeholder="part of a project’s id"
        onInput={({ currentTarget }) => find(currentTarget.value)}
      />
    </label>
  );
}
