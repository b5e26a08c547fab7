/**
 * Texts from outside. Postgres accepts no U+0000 and no half of a surrogate pair; Temporal, Redis and JSON do. A
 * caller's text is rejected ({@link unstorable}); the text of a model, an agent, a tool or a host's activity is stored
 * as {@link storableText} leaves it, which is applied in the one place where parameters go to Postgres.
 */

// Halves are matched one by one, pairs are not: \p{Surrogate} means those without a partner.
const notStorable = /[\u0000\p{Surrogate}]/u;
const allNotStorable = /[\u0000\p{Surrogate}]/gu;

/** The text with U+FFFD in place of what Postgres does not accept. */
export function storableText(text: string): string {
  return notStorable.test(text) ? text.replace(allNotStorable, '\ufffd') : text;
}

/**
 * What Postgres would not accept in a text, and where, as `U+0000 in line 2, column 5`; null if it accepts the text.
 */
export function unstorable(text: string): string | null {
  const [found] = notStorable.exec(text) ?? [];
  if (found === undefined) return null;
  const what = found === '\u0000' ? 'U+0000' : `half a character (U+${codeOf(found)})`;
  return `${what} in ${placeAt(text, text.search(notStorable))}`;
}

/** `line 2, column 5`, both from 1. */
export function placeAt(text: string, index: number): string {
  const lines = text.slice(0, index).split('\n');
  return `line ${lines.length}, column ${[...(lines.at(-1) ?? '')].length + 1}`;
}

function codeOf(character: string): string {
  return character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
}

/** The beginning of a text, at most `length` UTF-16 units, without half a character. */
export function startOf(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[\ud800-\udbff]$/, '');
}

/** The end of a text, at most `length` UTF-16 units, without half a character. */
export function endOf(text: string, length: number): string {
  return text.length <= length ? text : text.slice(text.length - length).replace(/^[\udc00-\udfff]/, '');
}

/** The beginning of a longer text, with a sign that something is missing. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${startOf(text, length)} …`;
}
