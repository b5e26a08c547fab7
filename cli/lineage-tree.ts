import type { Lineage, LineageNode } from '../client/main.js';
import { startOf } from '../contracts/text.js';
import { defaultWidth, fittingId, formatMinute, shortId } from './format.js';

/**
 * The sessions of a project as a tree, oldest first: the line of heads goes down the left edge, under the version that
 * each belongs to. On a session hangs what was forked from it and never became head, and what came after it until a rewind
 * went back to it.
 */
export function lineageTree({ nodes, headSessionId, isCut }: Lineage, width = defaultWidth): string {
  const line = nodes.filter(({ kind }) => kind === 'head').sort(bySeq);
  const known = new Set<string | null>(nodes.map(({ sessionId }) => sessionId));
  const beside = nodes.filter(({ kind }) => kind !== 'head');
  const look: Look = {
    childrenOf: (sessionId) => beside.filter((node) => anchorOf(node) === sessionId),
    seqWidth: Math.max(1, ...nodes.map(({ seq }) => String(seq ?? '').length)),
    sourceWidth: Math.max(1, ...nodes.filter(({ seq }) => seq !== null).map((node) => sourceOf(node).length)),
    headSessionId,
  };
  const rootless = beside.filter((node) => !known.has(anchorOf(node)));
  return [
    ...(isCut ? ['⋮ older ones are left out'] : []),
    ...branches(rootless, '', look),
    ...line.flatMap((node, index) => [
      ...(node.versionId === null || node.versionId === line[index - 1]?.versionId
        ? []
        : [fittingId(node.versionId, width)]),
      `● ${headLine(node, line[index - 1]?.sessionId ?? null, look)}`,
      ...branches(look.childrenOf(node.sessionId), '', look),
    ]),
  ].join('\n');
}

interface Look {
  /** The children of a session. */
  childrenOf(sessionId: string): LineageNode[];
  seqWidth: number;
  sourceWidth: number;
  headSessionId: string | null;
}

function bySeq(one: LineageNode, other: LineageNode): number {
  return Number(one.seq) - Number(other.seq);
}

/** What a session beside the line hangs on: what it forked; of a former head what it replaced, except for a rewind. */
function anchorOf({ kind, rewoundTo, oldSessionId, parentSessionId }: LineageNode): string | null {
  return kind === 'rewound' && rewoundTo === null ? oldSessionId : parentSessionId;
}

function branches(nodes: readonly LineageNode[], indent: string, look: Look): string[] {
  return nodes.flatMap((node, index) => {
    const isLast = index === nodes.length - 1;
    // On the left edge the line goes on below.
    const [branch, below] = isLast && indent !== '' ? ['└─', '   '] : ['├─', '│  '];
    return oneBranch(node, null, `${indent}${branch} `, `${indent}${below}`, look);
  });
}

/** A session and its children; a former head is followed by the one that replaced it, at the same indent. */
function oneBranch(
  node: LineageNode,
  beforeSessionId: string | null,
  first: string,
  below: string,
  look: Look,
): string[] {
  const children = look.childrenOf(node.sessionId);
  const next = node.kind === 'rewound' ? children.find(followsAsHead) : undefined;
  const text =
    node.kind === 'rewound' ? headLine(node, beforeSessionId ?? anchorOf(node), look) : besideLine(node);
  return [
    `${first}○ ${text}`,
    ...branches(
      children.filter((child) => child !== next),
      below,
      look,
    ),
    ...(next ? oneBranch(next, node.sessionId, below, below, look) : []),
  ];
}

function followsAsHead({ kind, rewoundTo }: LineageNode): boolean {
  return kind === 'rewound' && rewoundTo === null;
}

/** So that a line fits into 80 columns. */
const longestSource = 16;

/** `build`, `recovery (docs)` or `rewind to 12`. */
function sourceOf({ source, step, rewoundTo }: LineageNode): string {
  const moved = rewoundTo === null ? (source ?? '') : `rewind to ${rewoundTo}`;
  // A context is reset by the build and no other step.
  const by = step !== null && step !== source && source !== 'context_reset' ? ` (${step})` : '';
  const text = `${moved}${by}`;
  return text.length <= longestSource ? text : `${startOf(text, longestSource - 1)}…`;
}

function headLine(node: LineageNode, beforeSessionId: string | null, look: Look): string {
  const { seq, source, rewoundTo, sessionId, parentSessionId, oldSessionId, createdAt } = node;
  return [
    String(seq).padStart(look.seqWidth),
    sourceOf(node).padEnd(look.sourceWidth),
    shortId(sessionId),
    formatMinute(createdAt),
    ...(parentSessionId === null
      ? [source === 'import' ? 'outside' : oldSessionId === null ? 'first' : 'fresh']
      : parentSessionId === beforeSessionId || rewoundTo !== null
        ? []
        : [`forked ${shortId(parentSessionId)}`]),
    ...(node.condition === 'whole' ? [] : [node.condition === 'archived' ? 'in the archive' : 'not stored']),
    ...(sessionId === look.headSessionId ? ['← head'] : []),
  ].join('  ');
}

function besideLine({ kind, step, state, buildId, sessionId, condition, createdAt }: LineageNode): string {
  const what =
    kind === 'side_branch'
      ? `side branch ${buildId ?? 'chat'}`
      : step === null
        ? // The attempt of an old one is in the archive as well.
          condition === 'archived'
          ? 'in the archive'
          : 'session from outside'
        : `${step}, ${state === 'committed' ? 'gone on from' : (state ?? '')}${buildId === null ? '' : ` (build ${startOf(buildId, 20)})`}`;
  return `${shortId(sessionId)}  ${what}  ${formatMinute(createdAt)}`;
}
