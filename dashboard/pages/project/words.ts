import { shortId } from '../../ui/format.js';
import type { Cell, LineageChain, LineageNode } from './layout.js';
import { statusText } from '../../ui/badge.js';

/** What the lineage says of a session, in the words of the documents. */

/** Who moved the head, or what wrote the session: `build`, `rewind to 4`, `answer`, `docs, attempt 2`. */
export function titleOf(node: LineageNode): string {
  const { kind, source, step, attempt, rewoundTo, state } = node;
  if (kind === 'side_branch') return 'answer';
  if (kind === 'attempt') {
    if (state === null) return 'outside';
    return `${stepWord(step)}, attempt ${attempt ?? 1}`;
  }
  if (rewoundTo !== null) return `rewind to ${rewoundTo}`;
  return source === 'recovery' && step !== null ? `recovery (${step})` : stepWord(source);
}

function stepWord(step: string | null): string {
  return step === 'chat_plan' ? 'answer' : step === 'context_reset' ? 'context reset' : (step ?? 'session');
}

/** Below a cell of the picture, as short as it goes. */
export function labelOf({ fold, nodes }: Cell, chain: LineageChain | null): string {
  const [node] = nodes;
  if (node === undefined) return '';
  if (fold === null)
    return node.kind === 'attempt' && node.state !== null ? `attempt ${node.attempt ?? 1}` : titleOf(node);
  if (fold.startsWith('attempts-')) return `${nodes.length} attempts`;
  return chain?.versionId ?? `${nodes.length} sessions`;
}

/** Below the label: the number of the transition, why an attempt failed, or what it is of. */
export function noteOf({ seq, kind, state, failureCode, question, step, sessionId }: LineageNode): string {
  if (seq !== null) return String(seq);
  if (failureCode !== null) return failureCode.toLowerCase().replaceAll('_', ' ');
  if (kind === 'side_branch') return question?.chatId ?? '';
  return state === null ? shortId(sessionId) : stepWord(step);
}

/** Why the head is there, in a sentence. */
export function whyOf({
  kind,
  source,
  step,
  rewoundTo,
  seq,
  parentSessionId,
  state,
  question,
  adopts,
}: LineageNode): string {
  if (kind === 'side_branch')
    return `The answer to a question in the chat ${question?.chatId ?? ''}; it stays beside the line and never moved the head.`;
  if (kind === 'attempt') {
    if (state === null)
      return 'A session that is in the store and in no journal: it was imported, or written outside session-chain, and was never the head.';
    if (state === 'running')
      return `An attempt of ${stepWord(step)} that runs now; it becomes the head if it commits.`;
    if (state === 'waiting') return `An attempt of ${stepWord(step)} that waited for the model service.`;
    if (adopts !== null)
      return `An attempt of ${stepWord(step)} that wrote nothing itself: it committed the finished session ${shortId(adopts)} of an earlier attempt.`;
    return state === 'committed'
      ? `An attempt of ${stepWord(step)} whose work another session took over.`
      : `An attempt of ${stepWord(step)} that failed and never became the head.`;
  }
  const forgotten = kind === 'rewound' ? ' A rewind went back before it: the head does not remember it.' : '';
  const moved = `Transition ${seq ?? ''}: `;
  switch (source) {
    case 'chat_plan':
      return `${moved}the answer to a question in the chat ${question?.chatId ?? ''} moved the head.${forgotten}`;
    case 'rewind':
      return `${moved}a rewind took the conversation back to transition ${rewoundTo ?? ''}; this is a copy of its session.${forgotten}`;
    case 'recovery':
      return `${moved}the head before it was lost; ${step ?? 'the chain'} went on from an ancestor that is in the store.${forgotten}`;
    case 'context_reset':
      return `${moved}the memory had grown long; the build started a fresh session with a brief.${forgotten}`;
    case 'import':
      return `${moved}the head was moved or imported from outside session-chain, and was adopted.${forgotten}`;
    default:
      return parentSessionId === null
        ? `${moved}${source ?? 'a step'} started a fresh session.${forgotten}`
        : `${moved}${source ?? 'a step'} ${state === null ? 'was recorded' : 'committed'} and moved the head.${forgotten}`;
  }
}

export type Condition = LineageNode['condition'];

/** The word for a condition, what it means and what to do. */
export const conditions: Record<Condition, { word: string; meaning: string }> = {
  whole: { word: 'whole', meaning: 'Every entry is in the store: a step can continue from it.' },
  quarantined: {
    word: 'quarantined',
    meaning:
      'No step continues from it: a step could not load it, or entries were missing. Recover the project if it is the head.',
  },
  archived: {
    word: 'archived',
    meaning:
      'Its transcript is in the archive alone. A step that needs it restores it; so does session-chain restore --project … --session ….',
  },
  hole: {
    word: 'has a hole',
    meaning:
      'Entries of it are no longer in the store, so no step continues from it. Restore them from a backup, or recover the project.',
  },
  lost: {
    word: 'lost',
    meaning:
      'Nothing of its transcript is in the store any more. Import it again if a copy exists, or recover the project.',
  },
  unknown: {
    word: 'not in the store',
    meaning:
      'It ran elsewhere and its transcript never was here. Import it so that a chain can continue from it.',
  },
  empty: { word: 'empty', meaning: 'Nothing was written to it.' },
};

export const isBroken = (condition: Condition) =>
  condition === 'quarantined' || condition === 'hole' || condition === 'lost' || condition === 'unknown';

/** Whether it comes from a session that is not in the store. */
export function isOrphan(node: LineageNode, known: ReadonlySet<string>): boolean {
  return node.parentSessionId !== null && !known.has(node.parentSessionId);
}

/** What a screen reader says of a cell after what is written below it. */
export function restOf({ fold, nodes }: Cell, chain: LineageChain | null): string {
  const [node] = nodes;
  if (node === undefined) return '';
  const bad = nodes.filter(({ condition }) => isBroken(condition)).length;
  const said =
    fold === null
      ? [
          node.kind === 'attempt' && node.state !== null ? `of ${stepWord(node.step)}` : null,
          shortId(node.sessionId),
          node.kind === 'rewound' ? 'forgotten by a rewind' : null,
          node.kind === 'side_branch' ? 'beside the line' : null,
          node.kind === 'attempt' ? node.state : null,
          node.condition === 'whole' ? null : conditions[node.condition].word,
        ]
      : [
          `${nodes.length} sessions`,
          chain && `of ${chain.versionId}, ${statusText(chain.status)}`,
          bad > 0 ? `${bad} cannot be continued from` : null,
          'folded',
        ];
  return said.filter((part) => part !== null).join(', ');
}
