import { SessionChainError } from '../contracts/failures.js';
import type { Transition, TransitionPlace } from '../storage/heads/heads.js';

/** A place in the transitions of a project as a caller keeps it: `<number>` or, among those without one, `<number>+<how many>`. */
export function cursorAfterTransitions(
  page: readonly Transition[],
  { before, skip }: TransitionPlace,
): string {
  const numbered = page.flatMap(({ seq }) => (seq === null ? [] : [seq]));
  const skipped = numbered.length > 0 ? page.length - numbered.length : skip + page.length;
  // Of a project whose moves have no numbers: below the first.
  return `${numbered.at(-1) ?? before ?? 1}${skipped === 0 ? '' : `+${skipped}`}`;
}

/** Throws INVALID_INPUT. */
export function transitionPlaceOf(cursor: string): TransitionPlace {
  const [, before, skip = '0'] = /^([1-9]\d{0,14})(?:\+([1-9]\d{0,8}))?$/.exec(cursor) ?? [];
  if (before !== undefined) return { before: Number(before), skip: Number(skip) };
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a page of transitions returned.',
    'Pass nextCursor of the page before, unchanged, or none for the first page.',
  );
}
