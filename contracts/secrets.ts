/**
 * Texts that are shown or kept carry no credential: an address keeps its host and path and loses the user, the password
 * and what its query names as secret, whichever library quoted it.
 */

const hidden = '***';

const userInfo = /\b([a-z][a-z0-9+.-]{0,20}:\/\/)(?:[^\s/?#"'<>@]*@)+/gi;
const secretParameter =
  /([?&;][\w.-]{0,40}?(?:pass|pwd|token|key|secret|sig|auth|cred)[\w.-]{0,40}=)[^&;\s"'#<>)\]}]+/gi;
const headerValues = /\b(Bearer\s+)[\w.~+/=-]{8,}/g;
const modelKeys = /\bsk-ant-[\w-]+/g;
const ownKeys = /\b(sck_[0-9a-f]{12}_)[0-9a-f]{8,}/g;

/** The text with `***` in place of the credentials in addresses, of bearer tokens, of keys of the model service and of our own. */
export function withoutCredentials(text: string): string {
  return text
    .replace(userInfo, `$1${hidden}@`)
    .replace(secretParameter, `$1${hidden}`)
    .replace(headerValues, `$1${hidden}`)
    .replace(modelKeys, hidden)
    .replace(ownKeys, `$1${hidden}`);
}

/** The text with `***` in place of each of these values, in any of the forms in which libraries quote them. */
export function withoutValues(text: string, values: readonly string[]): string {
  return values.reduce((shown, value) => shown.replaceAll(value, hidden), text);
}

// A name of a file that holds the secret is none.
const secretName =
  /(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|_PWD|AUTHORIZATION|CUSTOM_HEADERS)(?![A-Z]|.*_(FILE|PATH|DIR))/i;
/** Shorter ones are words, such as the password `postgres`, that stand everywhere. */
const shortestValue = 10;

/** The credentials that an environment holds, longest first: by the name of the variable, or in an address. */
export function credentialsIn(environment: Readonly<Record<string, string | undefined>>): string[] {
  const found = Object.entries(environment).flatMap(([name, value = '']) => [
    ...(secretName.test(name) ? linesOf(value) : []),
    ...inAddress(value),
  ]);
  const forms = found
    .filter((value) => value.length >= shortestValue)
    .flatMap((value) => [value, decoded(value)])
    .flatMap((value) => [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)]);
  return [...new Set(forms)].sort((one, other) => other.length - one.length);
}

/** Several lines are headers, `Name: value`, or the text of a key. */
function linesOf(value: string): string[] {
  return value
    .split('\n')
    .map((line) => line.replace(/^[\w-]+:\s+|^Bearer\s+/i, '').trim())
    .filter((line) => !line.startsWith('-----'));
}

/** User and password, and secret parameters, of an address; the password alone where it is not the user's name. */
function inAddress(value: string): string[] {
  const [, user = '', password = '', rest = ''] =
    /^(?:[a-z][a-z0-9+.-]*:\/\/)?([^\s/@:]*):(\S+)@(.*)$/i.exec(value) ?? [];
  const words = [user, decoded(rest.replace(/^[^/]*\/?/, '').replace(/[?#].*$/, ''))];
  const parameters = [...value.matchAll(secretParameter)].map(([whole, name = '']) =>
    whole.slice(name.length),
  );
  return [...(words.includes(password) ? [] : [password]), ...parameters];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
