/** Text that a model, a tool or a user wrote, so that a reader sees all of it: what would be invisible or would reorder a line is a mark. */

export interface VisiblePart {
  text: string;
  /** It stands for a character that cannot be seen. */
  isMark: boolean;
}

/** What is dropped: colours of terminals, which say nothing. */
const colours = /\u001b\[[0-9;:]*m/g;
/**
 * What is kept of what is invisible: a joiner within an emoji, and one choice of how a character looks. Everything else that has
 * no shape of its own, orders the text, ends a line in a way of its own, or is half of a character, is marked.
 */
const kept = /(?<=\p{Emoji}\ufe0f?)\u200d(?=\p{Extended_Pictographic})|(?<=\p{Emoji})[\ufe0e\ufe0f]/u.source;
const unseen =
  /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}\ufff9-\ufffb]|(?![\t\n])\p{Cc}/u
    .source;
const pattern = new RegExp(`(?:${kept})|(${unseen})`, 'gu');
const anyUnseen = new RegExp(unseen, 'u');

/** The text in parts: as it is, and the marks of what cannot be seen. A mark is plain text. */
export function visibleParts(text: string): VisiblePart[] {
  if (!anyUnseen.test(text)) return text === '' ? [] : [{ text, isMark: false }];
  const plain = text.replace(/\r\n/g, '\n').replace(colours, '');
  const parts: VisiblePart[] = [];
  let end = 0;
  for (const match of plain.matchAll(pattern)) {
    const [, found] = match;
    if (found === undefined) continue;
    if (match.index > end) parts.push({ text: plain.slice(end, match.index), isMark: false });
    parts.push({ text: markOf(found), isMark: true });
    end = match.index + found.length;
  }
  if (end < plain.length) parts.push({ text: plain.slice(end), isMark: false });
  return parts;
}

/** The text as {@link visibleParts} shows it. */
export function visibleText(text: string): string {
  return visibleParts(text)
    .map((part) => part.text)
    .join('');
}

/** `␛` for what has a picture of its own, else `⟨U+202E⟩`. */
function markOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
}
