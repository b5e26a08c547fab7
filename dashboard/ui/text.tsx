import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import styles from './text.module.css';
import { visibleParts } from './visible-text.js';

/** What is searched for on the page, in lower case; every {@link Text} below shows it. */
export const Searched = createContext('');

/** What a model, a tool or a user wrote: text and nothing else, with marks for what cannot be seen. */
export function Text({ text }: { text: string }) {
  const searched = useContext(Searched);
  return (
    <>
      {visibleParts(text).map((part, index) =>
        part.isMark ? (
          <span key={index} class={styles.mark} title="A character that cannot be seen">
            {part.text}
          </span>
        ) : (
          <Found key={index} text={part.text} searched={searched} />
        ),
      )}
    </>
  );
}

function Found({ text, searched }: { text: string; searched: string }) {
  if (searched === '') return <>{text}</>;
  const lower = text.toLowerCase();
  // Lower case may be longer than what it is of; then nothing is marked.
  if (lower.length !== text.length || !lower.includes(searched)) return <>{text}</>;
  const parts = [];
  let end = 0;
  for (let at = lower.indexOf(searched); at >= 0; at = lower.indexOf(searched, end)) {
    parts.push(
      text.slice(end, at),
      <mark key={at} class={styles.found}>
        {text.slice(at, at + searched.length)}
      </mark>,
    );
    end = at + searched.length;
  }
  return <>{[...parts, text.slice(end)]}</>;
}
