import type { Lineage, LineageNode } from '../storage/heads/lineage.js';
import { formatTime, shortId } from './format.js';

/**
 * The sessions of a project as a tree, the oldest first: the line of heads goes down the left edge, and what was forked
 * and never became head hangs on the session that it forked.
 */
export function lineageTree({ nodes, headSessionId, isCut }: Lineage): string {
  const beside = nodes.filter(({ kind }) => kind !== 'head');
  const line = nodes
    .filter(({ kind }) => kind === 'head')
    .sort((one, other) => Number(one.seq) - Number(other.seq));
  const known = new Set(nodes.map(({ sessionId }) => sessionId));
  const childrenOf = (sessionId: string) =>
    beside.filter(({ parentSessionId }) => parentSessionId === sessionId);
  const rootless = beside.filter(
    ({ parentSessionId }) => parentSessionId === null || !known.has(parentSessionId),
  );
  return [
    ...(isCut ? ['⋮ older ones are left out'] : []),
    ...branches(rootless, '', childrenOf),
    ...line.flatMap((node, index) => [
      `● ${headLine(node, line[index - 1])}${node.sessionId === headSessionId ? '  ← head' : ''}`,
      ...branches(childrenOf(node.sessionId), '', childrenOf),
    ]),
  ].join('\n');
}

function branches(
  nodes: readonly LineageNode[],
  indent: string,
  childrenOf: (sessionId: string) => LineageNode[],
): string[] {
  return nodes.flatMap((node, index) => {
    const isLast = index === nodes.length - 1;
    // On the left edge the line goes on below.
    const [branch, below] = isLast && indent !== '' ? ['└─', '  '] : ['├─', '│ '];
    return [
      `${indent}${branch} ${besideLine(node)}`,
      ...branches(childrenOf(node.sessionId), `${indent}${below} `, childrenOf),
    ];
  });
}

function headLine(node: LineageNode, before: LineageNode | undefined): string {
  const { seq, source, step, sessionId, parentSessionId, oldSessionId, versionId, createdAt } = node;
  const did = step !== null && step !== source ? `${source ?? ''} (${step})` : (source ?? '');
  return [
    String(seq).padStart(4),
    did.padEnd(21),
    shortId(sessionId),
    formatTime(createdAt),
    ...(versionId === null ? [] : [versionId]),
    ...(parentSessionId === null
      ? [source === 'import' ? 'moved outside' : oldSessionId === null ? 'first' : 'fresh session']
      : parentSessionId === before?.sessionId
        ? []
        : [`forked ${shortId(parentSessionId)}`]),
    ...(node.isWhole ? [] : ['transcript not in the store']),
  ].join('  ');
}

function besideLine({ kind, step, state, buildId, sessionId, createdAt }: LineageNode): string {
  const what =
    kind === 'side_branch'
      ? `side branch ${buildId ?? 'chat'}`
      : step === null
        ? 'session from outside'
        : `${step}, ${state === 'committed' ? 'gone on from' : (state ?? '')}${buildId === null ? '' : ` (build ${buildId})`}`;
  return `○ ${shortId(sessionId)}  ${what}  ${formatTime(createdAt)}`;
}
