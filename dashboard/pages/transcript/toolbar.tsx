import { useRef } from 'preact/hooks';
import { Button } from '../../ui/button.js';
import { formatCount } from '../../ui/format.js';
import { type Filter, filters } from './rows.js';
import styles from './toolbar.module.css';

const labels: Record<Filter, string> = {
  text: 'Text',
  tools: 'Tools',
  errors: 'Errors',
  thinking: 'Thinking',
};

export interface ToolbarProps {
  search: string;
  onSearch: (text: string) => void;
  /** How many rows hold it, and the place of the one that is shown, from 0; -1 for none. */
  found: number;
  place: number;
  onStep: (step: 1 | -1) => void;
  filter: Filter | null;
  onFilter: (filter: Filter | null) => void;
  /** Null where nothing is added any more. */
  follows: boolean | null;
  onFollow: (follows: boolean) => void;
  status: string;
}

/** What stays in sight above the transcript. */
export function Toolbar(props: ToolbarProps) {
  const { search, onSearch, found, place, onStep, filter, onFilter, follows, onFollow, status } = props;
  const field = useRef<HTMLInputElement>(null);
  return (
    <div class={styles.bar} role="toolbar" aria-label="Transcript">
      <form
        role="search"
        aria-label="In the transcript"
        class={styles.search}
        onSubmit={(event) => {
          event.preventDefault();
          onStep(1);
        }}
      >
        <input
          ref={field}
          type="search"
          aria-label="Search in the transcript"
          placeholder="Search"
          value={search}
          onInput={({ currentTarget }) => onSearch(currentTarget.value)}
        />
        <span class={styles.count} role="status">
          {search !== '' &&
            (found === 0
              ? 'nothing found'
              : `${place < 0 ? '' : `${formatCount(place + 1)} of `}${formatCount(found)}`)}
        </span>
        <Button label="Previous match" disabled={found === 0} onClick={() => onStep(-1)}>
          ↑
        </Button>
        <Button label="Next match" disabled={found === 0} onClick={() => onStep(1)}>
          ↓
        </Button>
      </form>
      <div role="group" aria-label="Show" class={styles.group}>
        <Button pressed={filter === null} onClick={() => onFilter(null)}>
          All
        </Button>
        {filters.map((one) => (
          <Button key={one} pressed={filter === one} onClick={() => onFilter(filter === one ? null : one)}>
            {labels[one]}
          </Button>
        ))}
      </div>
      {follows !== null && (
        <Button pressed={follows} onClick={() => onFollow(!follows)}>
          Follow the end
        </Button>
      )}
      <span class={styles.status} role="status">
        {status}
      </span>
    </div>
  );
}
