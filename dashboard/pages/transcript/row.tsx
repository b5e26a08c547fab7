import { Component, type ComponentChildren } from 'preact';
import { useContext } from 'preact/hooks';
import { links } from '../../links.js';
import { formatCompact, formatCount, formatShare, shortId } from '../../ui/format.js';
import { Text } from '../../ui/text.js';
import { visibleText } from '../../ui/visible-text.js';
import { At, Copy } from '../../ui/values.js';
import { BlockView } from './blocks.js';
import { Fold, FoldsContext } from './folds.js';
import { Images, SessionContext } from './images.js';
import { Markdown } from './markdown.js';
import { Raw } from './raw.js';
import styles from './row.module.css';
import type { Row } from './rows.js';

interface RowProps {
  row: Row;
  parent: string | null;
}

/** A row of the transcript: what was asked, answered, noted, compacted or copied. Scrolling leaves one that is there as it is. */
export class RowView extends Component<RowProps> {
  override shouldComponentUpdate({ row, parent }: RowProps): boolean {
    return row !== this.props.row || parent !== this.props.parent;
  }
  render() {
    return <RowOfKind {...this.props} />;
  }
}

function RowOfKind({ row, parent }: RowProps) {
  switch (row.kind) {
    case 'request':
      return <Answer row={row} />;
    case 'prompt':
      return (
        <Frame row={row} label="Prompt">
          <Blocks row={row} />
        </Frame>
      );
    case 'error':
      return (
        <Frame row={row} label="The request failed" tone="failed">
          <Blocks row={row} />
        </Frame>
      );
    case 'compaction':
      return <Compacted row={row} />;
    case 'notes':
      return <Notes row={row} />;
    case 'subagent':
      return <Subagent row={row} />;
    case 'fork':
      return <Fork row={row} parent={parent} />;
  }
}

/** What a screen reader says of a row first. */
export function labelOf(row: Row): string {
  const whose = row.subagent !== null && row.kind !== 'subagent' ? `Subagent ${row.subagent}: ` : '';
  const what = {
    request: 'Answer of the model',
    prompt: 'Prompt',
    error: 'Failed request',
    compaction: 'Compaction',
    notes: 'Notes of Claude Code',
    subagent: `Subagent ${row.kind === 'subagent' ? row.name : ''}`,
    fork: 'End of what was copied',
  }[row.kind];
  return visibleText(whose + what);
}

type RowOf<Kind extends Row['kind']> = Extract<Row, { kind: Kind }>;

function Frame({
  row,
  label,
  facts,
  tone,
  children,
}: {
  row: Row;
  label: string;
  facts?: ComponentChildren;
  tone?: 'failed' | 'accent';
  children: ComponentChildren;
}) {
  const { isOpen } = useContext(FoldsContext);
  const rawId = `raw ${row.key}`;
  return (
    <div class={styles.frame} data-kind={row.kind} data-tone={tone} data-copied={row.isInherited}>
      <header class={styles.head}>
        <strong class={styles.label}>{label}</strong>
        {facts}
        <span class={styles.end}>
          {row.at !== null && <At at={row.at} />}
          <Actions row={row} rawId={rawId} />
        </span>
      </header>
      {children}
      {isOpen(rawId) && <Raw entries={row.entries} />}
    </div>
  );
}

function Actions({ row, rawId }: { row: Row; rawId: string }) {
  const { projectId, sessionId } = useContext(SessionContext);
  const { isOpen, toggle } = useContext(FoldsContext);
  const entry = row.entries.find(({ entryId }) => entryId !== null)?.entryId;
  return (
    <>
      {entry && (
        <Copy
          text={location.origin + links.transcript(projectId, sessionId, { entry })}
          what="link to this entry"
        />
      )}
      <button type="button" class={styles.raw} aria-expanded={isOpen(rawId)} onClick={() => toggle(rawId)}>
        JSON
      </button>
    </>
  );
}

function Answer({ row }: { row: RowOf<'request'> }) {
  const { request } = row;
  const usage = request?.usage;
  const input = usage ? usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens : 0;
  const share = usage ? formatShare(usage.cacheReadTokens, input) : null;
  const odd = request?.stopReason && !['end_turn', 'tool_use', 'stop_sequence'].includes(request.stopReason);
  return (
    <Frame
      row={row}
      label="Answer"
      facts={
        <span class={styles.facts}>
          {request && (
            <span title="The model that answered">
              <Text text={request.model} />
            </span>
          )}
          {usage && input > 0 && (
            <span
              title={`Tokens of the request: ${formatCount(usage.cacheReadTokens)} read from the prompt cache, ${formatCount(usage.cacheWriteTokens)} written to it, ${formatCount(usage.inputTokens)} neither`}
            >
              {formatCompact(input)} tokens in{share !== null && `, ${share} cached`}
            </span>
          )}
          {usage && usage.outputTokens > 0 && (
            <span title="Tokens that the model wrote">{formatCompact(usage.outputTokens)} out</span>
          )}
          {odd && (
            <span class={styles.odd} title="Why the model stopped">
              stopped: <Text text={request.stopReason ?? ''} />
            </span>
          )}
        </span>
      }
    >
      <Blocks row={row} />
    </Frame>
  );
}

function Blocks({ row }: { row: RowOf<'request' | 'prompt' | 'error'> }) {
  const images = row.kind === 'prompt' ? row.entries.filter((entry) => entry.images > 0) : [];
  return (
    <div class={styles.blocks}>
      {row.blocks.map((block) => (
        <BlockView key={block.key} block={block} />
      ))}
      {images.map(({ cursor }) => (
        <Images key={cursor} cursor={cursor} />
      ))}
    </div>
  );
}

function Compacted({ row }: { row: RowOf<'compaction'> }) {
  const { before, after, dropped, summary } = row;
  return (
    <Frame row={row} label="Context compacted" tone="accent">
      <div class={styles.compaction}>
        <span title="Tokens in the context before and after">
          <b>{formatCount(before)}</b> tokens before
          {after !== null && (
            <>
              {' → '}
              <b>{formatCount(after)}</b> after ({formatShare(Math.max(0, before - after), before)} dropped)
            </>
          )}
        </span>
        <span
          class={styles.bar}
          aria-hidden="true"
          style={{ '--kept': String((after ?? before) / Math.max(before, 1)) }}
        />
        {dropped > 0 && (
          <span class="muted">
            {dropped === 1 ? 'The answer' : `The ${formatCount(dropped)} answers`} above{' '}
            {dropped === 1 ? 'is' : 'are'} no longer in the context; the summary stands for them.
          </span>
        )}
      </div>
      {summary === null ? (
        <span class="muted">Its summary is not in the transcript yet.</span>
      ) : (
        <Fold id={`summary ${row.key}`} summary={<span>Summary that the model goes on with</span>}>
          {() => <Markdown text={summary} />}
        </Fold>
      )}
    </Frame>
  );
}

function Notes({ row }: { row: RowOf<'notes'> }) {
  const kinds = new Map<string, number>();
  for (const { type } of row.entries) kinds.set(type, (kinds.get(type) ?? 0) + 1);
  const said = [...kinds].map(([type, count]) => (count === 1 ? type : `${count} × ${type}`)).join(', ');
  return (
    <div class={styles.notes}>
      <Fold
        id={`notes ${row.key}`}
        summary={
          <span class={styles.note}>
            {formatCount(row.entries.length)} {row.entries.length === 1 ? 'note' : 'notes'} of Claude Code:{' '}
            <Text text={said} />
          </span>
        }
      >
        {() => <Raw entries={row.entries} />}
      </Fold>
    </div>
  );
}

function Subagent({ row }: { row: RowOf<'subagent'> }) {
  return (
    <Fold
      id={row.key}
      summary={
        <span>
          <strong>Subagent</strong> <Text text={row.name} />{' '}
          <span class="muted">
            {formatCount(row.requests)} {row.requests === 1 ? 'answer' : 'answers'}
          </span>
        </span>
      }
    >
      {() => <span class="muted small">Its conversation follows, indented.</span>}
    </Fold>
  );
}

function Fork({ row, parent }: { row: RowOf<'fork'>; parent: string | null }) {
  const { projectId } = useContext(SessionContext);
  const { isOpen, toggle } = useContext(FoldsContext);
  return (
    <div class={styles.fork}>
      <span>
        {formatCount(row.copied)} {row.copied === 1 ? 'entry' : 'entries'} up to here{' '}
        {row.copied === 1 ? 'is' : 'are'} copied from{' '}
        {parent === null ? (
          'the session that it forked'
        ) : (
          <a href={links.transcript(projectId, parent)}>{shortId(parent)}</a>
        )}
        . This session begins here.
      </span>
      <button
        type="button"
        class={styles.raw}
        aria-expanded={isOpen('fork')}
        data-fold
        onClick={() => toggle('fork')}
      >
        {isOpen('fork') ? 'Hide the copied part' : 'Show the copied part'}
      </button>
    </div>
  );
}
