/** A value as a jsonb parameter; its texts as {@link storableText} leaves them. */
export function jsonbOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'string' ? storableText(part) : part,
  );
}

/**
 * A text as Postgres takes it: U+0000 and half an emoji, as a model's words or a message that was cut may hold them,
 * become U+FFFD.
 */
export function storableText(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8').replaceAll('\u0000', '\ufffd');
}
