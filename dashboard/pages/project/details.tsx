import type { ComponentChildren } from 'preact';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Act } from '../../ui/act.js';
import { Badge, Status } from '../../ui/badge.js';
import { ButtonLink } from '../../ui/button.js';
import { formatCount, shortId } from '../../ui/format.js';
import { At, Elapsed, Session, Usd } from '../../ui/values.js';
import { Text } from '../../ui/text.js';
import styles from './details.module.css';
import type { LineageChain, LineageNode, Tree } from './layout.js';
import { Mark, shapeOf } from './mark.js';
import { conditions, isOrphan, titleOf, whyOf } from './words.js';

/** What is known of one session, and what can be done with it. */
export function Details({
  projectId,
  node,
  tree,
  chain,
}: {
  projectId: string;
  node: LineageNode;
  tree: Tree;
  chain: LineageChain | null;
}) {
  const { sessionId, seq, condition } = node;
  const isHead = sessionId === tree.headSessionId;
  const tone = isHead
    ? 'head'
    : node.kind === 'head'
      ? 'line'
      : node.kind === 'rewound'
        ? 'forgotten'
        : 'beside';
  const orphan = isOrphan(node, new Set(tree.nodes.map((one) => one.sessionId)));
  return (
    <aside class={styles.details} aria-label={`Session ${shortId(sessionId)}`}>
      <div class={styles.title}>
        <Mark shape={shapeOf(node)} {...{ condition, tone }} />
        <h3>{titleOf(node)}</h3>
        {isHead ? (
          <Badge tone="accent">head</Badge>
        ) : (
          node.kind === 'rewound' && <Badge tone="quiet">forgotten</Badge>
        )}
      </div>
      <p class="small muted">{whyOf(node)}</p>
      {condition !== 'whole' && !(condition === 'empty' && node.kind === 'attempt') && (
        <p class={styles.flaw}>
          <strong>{conditions[condition].word}</strong> {conditions[condition].meaning}
        </p>
      )}
      <dl class={styles.facts}>
        <Fact label="Session">
          <Session projectId={projectId} id={sessionId} />
        </Fact>
        <Fact label="Forked from">
          {node.parentSessionId === null ? (
            <span class="muted">
              {node.source === 'import' || node.state === null ? 'not known' : 'nothing: it started fresh'}
            </span>
          ) : (
            <>
              <a
                class="mono"
                href={links.project(projectId, { session: node.parentSessionId })}
                title={node.parentSessionId}
              >
                {shortId(node.parentSessionId)}
              </a>
              {orphan && (
                <span class="muted"> {tree.isCut ? 'older than what is shown' : 'not in the store'}</span>
              )}
            </>
          )}
        </Fact>
        {chain && (
          <Fact label="Chain">
            <a href={links.chain({ projectId, ...chain }, { step: node.step })}>{chain.versionId}</a>{' '}
            <Status status={chain.status} />
          </Fact>
        )}
        {chain === null && node.versionId !== null && <Fact label="Version">{node.versionId}</Fact>}
        {node.question && (
          <Fact label="Question">
            <a href={links.project(projectId, { chat: node.question.chatId })}>chat {node.question.chatId}</a>
          </Fact>
        )}
        {node.state !== null && (
          <Fact label="Attempt">
            {node.attempt} <Status status={node.state} />
          </Fact>
        )}
        {node.failureCode && (
          <Fact label="Failure">
            <code>{node.failureCode}</code>
          </Fact>
        )}
        {node.adopts && (
          <Fact label="Adopted">
            <Session projectId={projectId} id={node.adopts} />
          </Fact>
        )}
        <Fact label="Began">
          <At at={node.createdAt} />
        </Fact>
        {node.state !== null && (
          <Fact label={node.endedAt === null ? 'Running for' : 'Took'}>
            <Elapsed from={node.createdAt} to={node.endedAt} />
          </Fact>
        )}
        <Fact
          label="Entries"
          title="Entries of its main transcript, those of the session that it forked included"
        >
          {formatCount(node.entries)}
        </Fact>
        <Fact label="Context" title="Tokens in its context after its last entry">
          {node.contextTokens === null ? (
            <span class="muted">not stated</span>
          ) : (
            `${formatCount(node.contextTokens)} tokens`
          )}
        </Fact>
        <Fact label="Cost" title="What this attempt cost itself, in US dollars">
          {node.state === null ? (
            <span class="muted">not known</span>
          ) : node.endedAt === null ? (
            <span class="muted">when it ends</span>
          ) : (
            <Usd value={node.costUsd} />
          )}
        </Fact>
      </dl>
      <div class={styles.actions}>
        {condition !== 'empty' && (
          <ButtonLink href={links.transcript(projectId, sessionId)}>Transcript</ButtonLink>
        )}
        {seq !== null && !isHead && <RewindTo {...{ projectId, node, seq }} />}
      </div>
    </aside>
  );
}

function Fact({ label, title, children }: { label: string; title?: string; children: ComponentChildren }) {
  return (
    <div title={title}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Takes the conversation back to the session of a transition, after a dry run. */
function RewindTo({ projectId, node, seq }: { projectId: string; node: LineageNode; seq: number }) {
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  const rewind = (dryRun: boolean) => () =>
    http.POST('/v1/projects/{projectId}/rewind', {
      params: { path: { projectId } },
      body: { to: seq, dryRun },
    });
  const reason =
    node.condition !== 'whole'
      ? `Its transcript is ${conditions[node.condition].word === 'whole' ? '' : conditions[node.condition].word}: there is nothing whole to copy.`
      : server.data?.key.scope === 'read'
        ? 'Your key may only read; a rewind needs the scope start.'
        : null;
  return (
    <>
      <Act
        label="Rewind to here"
        kind="danger"
        disabled={reason !== null}
        what={
          <>
            A copy of the session of transition {seq} ({titleOf(node)}) becomes the head. The files of the
            workspace stay as they are, and nothing is deleted: what is forgotten stays in the lineage.
          </>
        }
        dryRun={rewind(true)}
        call={rewind(false)}
        show={(rewound, isDone) => (
          <>
            {isDone ? (
              <p>
                The head is now {rewound.sessionId === null ? '' : shortId(rewound.sessionId)}, by transition{' '}
                {rewound.transitionSeq}.
              </p>
            ) : (
              <p>
                {rewound.forgotten.length === 0
                  ? 'The head would forget no operation.'
                  : `The head would forget ${rewound.forgotten.length} ${rewound.forgotten.length === 1 ? 'operation' : 'operations'}:`}
              </p>
            )}
            {!isDone && (
              <ul class={styles.forgotten}>
                {rewound.forgotten.slice(-8).map((one) => (
                  <li key={one.seq}>
                    {one.seq} {one.source} {one.versionId} <At at={one.createdAt} />
                  </li>
                ))}
              </ul>
            )}
            {rewound.warnings.map((warning) => (
              <p key={warning}>
                <Text text={warning} />
              </p>
            ))}
          </>
        )}
      />
      {reason !== null && (
        <p class="small muted">
          <Text text={reason} />
        </p>
      )}
    </>
  );
}
