import type { SessionId } from './ids.js';

/** When a build starts a fresh session with a brief of the project's state, instead of continuing from the head. */
export interface ResetPolicy {
  /** After this many operations that continued from one another; 0 for never. */
  operations: number;
  /** Above this many tokens of context; 0 for never. */
  contextTokens: number;
}

/**
 * What a chain starts from, decided when it opens:
 * - `head`: it continues from the project's head.
 * - `fresh`: the project has no session, or its head was cleared.
 * - `recovery`: the head's transcript is lost; it continues from the nearest ancestor that is whole, or from none.
 * - `context_reset`: the context has grown large; its build starts a fresh session that is given a brief.
 */
export interface ChainOrigin {
  kind: 'head' | 'fresh' | 'recovery' | 'context_reset';
  /** The head when the chain opened. */
  headSessionId: SessionId | null;
  headSeq: number | null;
  /**
   * Moves of the head since a fresh session was started, that one included; known if the chain checked whether to
   * reset.
   */
  operations?: number;
  /** Tokens in the head's context; known if the chain checked whether to reset. */
  contextTokens?: number;
}

/** What a chain starts from, in a sentence. */
export function describeOrigin(origin: ChainOrigin, baseSessionId: SessionId | null): string {
  const { kind, headSessionId, operations, contextTokens } = origin;
  switch (kind) {
    case 'head':
      return `It goes on from the project's head ${headSessionId ?? 'none'}.`;
    case 'fresh':
      return headSessionId === null
        ? 'It starts the first session of the project.'
        : 'It starts a fresh session, because the head had been cleared.';
    case 'recovery':
      return baseSessionId === null
        ? `The transcript of the head ${headSessionId ?? ''} is lost, and none of its ancestors is whole: it starts a fresh session.`
        : `The transcript of the head ${headSessionId ?? ''} is lost: it goes on from ${baseSessionId}, the nearest ancestor that is whole.`;
    case 'context_reset':
      return (
        `It starts a fresh session with a brief of the project's state, in place of the head ${headSessionId ?? ''}: ` +
        `${operations ?? 0} operations went on from one another, ${contextTokens ?? 0} tokens of context.`
      );
  }
}

/**
 * What the transition of a step says moved the head: the step, except for the first move of a chain that did not start
 * from the head. `head` is the one that the step replaces.
 */
export function firstMoveOf(
  origin: ChainOrigin | null | undefined,
  head: { sessionId: SessionId | null; seq: number | null },
): 'recovery' | 'context_reset' | null {
  if (origin?.kind !== 'recovery' && origin?.kind !== 'context_reset') return null;
  return isAtOrigin(origin, head) ? origin.kind : null;
}

/** What the next step of a chain forks: the head or, until this run has moved it, what the chain started from. */
export function nextBase(
  { origin, baseSessionId }: { origin?: ChainOrigin | null; baseSessionId: SessionId | null },
  head: { sessionId: SessionId | null; seq: number | null },
): SessionId | null {
  return origin && !isAtOrigin(origin, head) ? head.sessionId : baseSessionId;
}

/** Whether the head is still where the chain found it: nothing of this run has been committed. */
export function isAtOrigin(
  origin: ChainOrigin,
  head: { sessionId: SessionId | null; seq: number | null },
): boolean {
  return origin.headSessionId === head.sessionId && origin.headSeq === head.seq;
}
