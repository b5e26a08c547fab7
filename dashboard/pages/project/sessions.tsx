import { useState } from 'preact/hooks';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { formatCompact, formatCount, shortId } from '../../ui/format.js';
import { type Column, Table } from '../../ui/table.js';
import { Ago, Session, Usd } from '../../ui/values.js';
import type { LineageChain, LineageNode, Tree } from './layout.js';
import styles from './sessions.module.css';
import { conditions, isBroken, titleOf } from './words.js';

const shownAtFirst = 10;

/** The sessions of the picture as a table, the newest first. */
export function Sessions({
  tree,
  chains,
  selected,
  onSelect,
}: {
  tree: Tree;
  chains: ReadonlyMap<string, LineageChain>;
  selected: string | null;
  onSelect: (sessionId: string) => void;
}) {
  const [shown, setShown] = useState(shownAtFirst);
  const { projectId, headSessionId, nodes } = tree;
  const newestFirst = [...nodes].reverse();
  const columns: Column<LineageNode>[] = [
    {
      label: 'Session',
      cell: ({ sessionId }) => <Session projectId={projectId} id={sessionId} />,
    },
    {
      label: 'What',
      cell: (node) => (
        <span class={styles.what}>
          <button
            type="button"
            class={styles.pick}
            aria-pressed={node.sessionId === selected}
            onClick={() => onSelect(node.sessionId)}
          >
            {node.seq === null ? '' : `${node.seq} `}
            {titleOf(node)}
          </button>
          {node.sessionId === headSessionId && <Badge tone="accent">head</Badge>}
        </span>
      ),
    },
    {
      label: 'State',
      cell: ({ kind, state, failureCode, condition, sessionId }) => (
        <span class={styles.what}>
          {kind === 'attempt' && state !== null ? (
            <Status status={state} />
          ) : (
            <span class="muted">
              {kind === 'head'
                ? sessionId === headSessionId
                  ? ''
                  : 'on the line'
                : kind === 'rewound'
                  ? 'forgotten'
                  : 'beside the line'}
            </span>
          )}
          {failureCode && kind === 'attempt' && <code>{failureCode}</code>}
          {isBroken(condition) && <Badge tone="failed">{conditions[condition].word}</Badge>}
        </span>
      ),
    },
    {
      label: 'Chain',
      cell: ({ chainId, question, versionId, step }) => {
        const chain = chains.get(chainId ?? '');
        return chain ? (
          <a href={links.chain({ projectId, ...chain }, { step })}>{chain.versionId}</a>
        ) : question ? (
          <a href={links.project(projectId, { chat: question.chatId })}>chat {question.chatId}</a>
        ) : (
          <span class="muted">{versionId === null ? 'none' : `none (${versionId})`}</span>
        );
      },
    },
    {
      label: 'Forked from',
      cell: ({ parentSessionId }) =>
        parentSessionId === null ? (
          <span class="muted">none</span>
        ) : (
          <a class="mono" href={links.project(projectId, { session: parentSessionId })}>
            {shortId(parentSessionId)}
          </a>
        ),
    },
    {
      label: 'Context',
      hint: 'Tokens in the context after the last entry of the session',
      align: 'right',
      cell: ({ contextTokens }) => (contextTokens === null ? '–' : formatCompact(contextTokens)),
    },
    {
      label: 'Cost',
      hint: 'US dollars that the attempt cost itself',
      align: 'right',
      cell: ({ state, endedAt, costUsd }) =>
        state === null || endedAt === null ? '–' : <Usd value={costUsd} />,
    },
    { label: 'Began', align: 'right', cell: ({ createdAt }) => <Ago at={createdAt} /> },
  ];
  return (
    <Card
      title="Sessions"
      hint="The sessions of the picture, the newest first: heads, answers beside the line, attempts."
      flush
      actions={<span class="muted small">{formatCount(nodes.length)} sessions</span>}
    >
      <Table
        caption="Sessions of the project, the newest first"
        columns={columns}
        rows={newestFirst.slice(0, shown)}
        keyOf={({ sessionId }) => sessionId}
      />
      {shown < nodes.length && (
        <div class={styles.more}>
          <Button onClick={() => setShown(shown * 4)}>
            Show {formatCount(Math.min(shown * 3, nodes.length - shown))} more
          </Button>
        </div>
      )}
    </Card>
  );
}
