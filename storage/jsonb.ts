/** A value as a jsonb parameter, with U+FFFD in its texts and keys for characters that Postgres does not accept. */
export function jsonbOf(value: object): string {
  return JSON.stringify(value).replace(escapes, (escape, what: string) =>
    what.length > 1 ? '\ufffd' : escape,
  );
}

// Every escape of a JSON text, so that the second half of an escaped backslash is not mistaken for the start of one.
// JSON.stringify escapes half of a surrogate pair, in small letters, and never a whole pair.
const escapes = /\\(u0000|ud[89a-f][0-9a-f]{2}|[^])/g;
