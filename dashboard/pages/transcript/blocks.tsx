import { Text } from '../../ui/text.js';
import { formatCount } from '../../ui/format.js';
import styles from './blocks.module.css';
import { Code, Json } from './code.js';
import { Diff } from './diff.js';
import { Fold } from './folds.js';
import { Images } from './images.js';
import { Markdown } from './markdown.js';
import type { Block } from './rows.js';
import { editsOf, field, languageOf, toolName, toolSummary } from './tools.js';

/** A part of a row: text, thinking, or a call of a tool with its result. */
export function BlockView({ block }: { block: Block }) {
  if (block.kind === 'tool') return <Tool block={block} />;
  if (block.kind === 'thinking') {
    return (
      <Fold id={block.key} summary={<Thought text={block.text} />}>
        {() => (
          <div class={styles.thinking}>
            <Markdown text={block.text} />
          </div>
        )}
      </Fold>
    );
  }
  return <Markdown text={block.text} />;
}

function Thought({ text }: { text: string }) {
  return (
    <span class={styles.line}>
      <span class={styles.name}>Thinking</span>{' '}
      <span class={styles.said}>
        <Text text={text.slice(0, 200)} />
      </span>
    </span>
  );
}

function Tool({
  block: { key, call, result, entry, resultEntry },
}: {
  block: Extract<Block, { kind: 'tool' }>;
}) {
  const failed = result?.isError === true;
  return (
    <Fold
      id={key}
      {...(failed ? { tone: 'failed' as const } : {})}
      summary={
        <>
          <span class={styles.line}>
            <span class={styles.name}>
              <Text text={toolName(call.name)} />
            </span>{' '}
            <span class={`${styles.said} mono`}>
              <Text text={toolSummary(call.name, call.input)} />
            </span>
          </span>
          <span class={styles.outcome} data-failed={failed}>
            {result === null ? 'no result' : failed ? 'failed' : sizeOf(result.text)}
          </span>
        </>
      }
    >
      {() => (
        <>
          <Input name={call.name} input={call.input} />
          {result && <span class={styles.label}>{failed ? 'Error' : 'Result'}</span>}
          {result && result.text !== '' && !isPictures(result.text) && (
            <pre
              class={styles.result}
              data-failed={failed}
              tabIndex={0}
              role="group"
              aria-label="Result of the tool"
            >
              <Text text={result.text} />
            </pre>
          )}
          {result?.text === '' && <span class="muted">The tool returned nothing.</span>}
          {resultEntry && resultEntry.images > 0 && <Images cursor={resultEntry.cursor} />}
          {(entry.isCut || resultEntry?.isCut) && (
            <span class="muted small">
              Texts of more than {formatCount(20_000)} characters are cut here; the raw entry below has all of
              it.
            </span>
          )}
        </>
      )}
    </Fold>
  );
}

/** Whether a result says no more than that it is pictures, which stand below. */
function isPictures(text: string): boolean {
  return /^(\[image\]\n?)+$/.test(text);
}

function sizeOf(text: string): string {
  const lines = text === '' ? 0 : text.replace(/\n$/, '').split('\n').length;
  return `${formatCount(lines)} ${lines === 1 ? 'line' : 'lines'}`;
}

function Input({ name, input }: { name: string; input: unknown }) {
  const edits = editsOf(name, input);
  if (edits.length > 0) {
    return (
      <>
        {edits.map(({ before, after }, index) => (
          <Diff key={index} before={before} after={after} />
        ))}
      </>
    );
  }
  const command = name === 'Bash' ? field(input, 'command') : null;
  if (command !== null) return <Code text={command} language={languageOf('bash')} />;
  return input === null ? null : <Json value={input} />;
}
