import { useId, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { http } from '../api/client.js';
import { useRead } from '../api/query.js';
import { links } from '../links.js';
import styles from './shell.module.css';

const suggestions = 8;

/** A field that leads to a project: one of those it suggests, or the list of all that have the text in their id. */
export function GoToProject() {
  const { route } = useLocation();
  const list = useId();
  const [text, setText] = useState('');
  const search = text.trim();
  const query = { limit: suggestions, search };
  const found = useRead(
    ['go-to', { search }],
    (signal) => http.GET('/v1/projects', { params: { query }, signal }),
    { enabled: search !== '' },
  );
  const ids = search === '' ? [] : (found.data?.projects.map(({ projectId }) => projectId) ?? []);
  const go = (to: string) => {
    setText('');
    route(to);
  };
  return (
    <form
      role="search"
      aria-label="Of the projects"
      class={styles.search}
      onSubmit={(event) => {
        event.preventDefault();
        if (search === '') return;
        go(ids.includes(search) ? links.project(search) : links.projects({ search }));
      }}
    >
      <input
        type="search"
        aria-label="Go to a project"
        placeholder="Go to a project"
        autocomplete="off"
        spellcheck={false}
        maxLength={255}
        list={list}
        value={text}
        onInput={(event) => {
          const { value } = event.currentTarget;
          // A suggestion that is chosen replaces the text at once; what is typed comes letter by letter.
          const isChosen =
            !('inputType' in event) || (event as InputEvent).inputType === 'insertReplacementText';
          if (isChosen && ids.includes(value)) go(links.project(value));
          else setText(value);
        }}
      />
      <datalist id={list}>
        {ids.map((id) => (
          <option key={id} value={id} />
        ))}
      </datalist>
    </form>
  );
}
