import { useEffect, useState } from 'preact/hooks';
import { Text } from '../../ui/text.js';
import styles from './code.module.css';
import type { Token } from './highlight.js';

/** Longer code stays plain: to colour it would make scrolling stutter. */
const mostCharacters = 20_000;

/** Code in its colours, once they are loaded; the text is there at once. */
export function Code({ text, language }: { text: string; language: string | null }) {
  const [lines, setLines] = useState<Token[][] | null>(null);
  useEffect(() => {
    setLines(null);
    if (language === null || text.length > mostCharacters) return undefined;
    let isWanted = true;
    void import('./highlight.js')
      .then(({ tokensOf }) => tokensOf(text, language))
      // Colours are no more than that: without them the code is as readable.
      .catch(() => null)
      .then((tokens) => isWanted && setLines(tokens));
    return () => {
      isWanted = false;
    };
  }, [text, language]);
  return (
    <pre
      class={styles.code}
      tabIndex={0}
      role="group"
      aria-label={`Code${language === null ? '' : `, ${language}`}`}
    >
      <code>
        {lines === null ? (
          <Text text={text} />
        ) : (
          lines.map((line, index) => (
            <span key={index}>
              {line.map((token, place) => (
                <span key={place} data-token={token.kind}>
                  <Text text={token.text} />
                </span>
              ))}
              {index < lines.length - 1 && '\n'}
            </span>
          ))
        )}
      </code>
    </pre>
  );
}

/** A value as JSON with an indentation. */
export function Json({ value }: { value: unknown }) {
  return <Code text={JSON.stringify(value, null, 2)} language="json" />;
}
