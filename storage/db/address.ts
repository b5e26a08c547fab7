import { X509Certificate, createPrivateKey } from 'node:crypto';
import pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';
import { SessionChainError } from '../../contracts/failures.js';

/**
 * What node-postgres makes of the address of a database, with what users of libpq write there. A parameter that would have
 * no effect, or another than in libpq, is INVALID_INPUT, which names it and quotes nothing else of the address.
 */
export function settingsOf(url: string): pg.PoolConfig {
  if (!/^postgres(ql)?:\/\//.test(url)) throw unusable('it does not begin with postgres://');
  if (/[\s#]|%(?![0-9a-f]{2})/i.test(url)) {
    throw unusable(
      'it has a space, a #, or a % that does not begin an escape',
      'Write a space as %20, a # as %23, a % as %25.',
    );
  }
  const [, base = '', authority = '', path = '', search = ''] =
    /^(\w+:\/\/([^/?]*)([^?]*))\??(.*)$/.exec(url) ?? [];
  if (`${path}${search.replace(/=[^&]*/g, '')}`.includes('@')) {
    throw unusable(
      'a @ follows the host',
      'Write a / in the password as %2F, a ? as %3F; a @ in the name of the database as %40.',
    );
  }
  const parameters = new URLSearchParams(search);
  if (authority.includes(',') || /,/.test(`${parameters.get('host') ?? ''}${parameters.get('port') ?? ''}`)) {
    throw unusable(
      'it names several hosts',
      'Name one that leads to the primary: a name that moves with it, or a connection pooler.',
    );
  }
  const translated = translate(parameters);
  const rest = parameters.toString();
  let settings: pg.PoolConfig;
  try {
    settings = {
      ...parseIntoClientConfig(rest === '' ? base : `${base}?${rest}`),
      // The library leaves some escapes in the name.
      ...(path.length < 2 ? {} : { database: decodeURIComponent(path.slice(1)) }),
      ...translated,
    };
    // What it cannot use together it says when a client is made, which connects to nothing yet.
    new pg.Client(settings);
  } catch (error) {
    throw unusable(error instanceof Error ? error.message : String(error));
  }
  if (typeof settings.ssl === 'object') requireUsable(settings.ssl);
  return settings;
}

/** The settings that node-postgres takes only as options, of parameters that it would not heed; these are removed. */
function translate(parameters: URLSearchParams): object {
  const settings: Record<string, unknown> = {};
  for (const [name, value] of [...parameters]) {
    const known = parametersOf.get(name);
    if (known === undefined) throw unusable(`it has the parameter ${name}`, leaveOut(name));
    if (!(known.values?.test(value) ?? true)) {
      const shown = value.length < 30 ? `${name}=${value}` : name;
      throw unusable(`it has the parameter ${shown}`, known.instead ?? leaveOut(name));
    }
    if (known.heeded) continue;
    parameters.delete(name);
    Object.assign(settings, known.as?.(value));
  }
  heedTls(parameters);
  return settings;
}

/**
 * `require` and `verify-ca` check the server's certificate and its name, as node-postgres has it, which warns that this
 * changes; `system` stands for the authorities that Node knows. `ssl` is a mode, for its texts are not heeded by all of
 * node-postgres: with ssl=no-verify it would not encrypt.
 */
function heedTls(parameters: URLSearchParams): void {
  const [ssl, sslmode] = [parameters.get('ssl'), parameters.get('sslmode')];
  if (ssl !== null) {
    const mode = /^(false|0)$/.test(ssl) ? 'disable' : ssl === 'no-verify' ? ssl : 'verify-full';
    if (sslmode !== null && (mode === 'disable') !== (sslmode === 'disable'))
      throw unusable(`ssl=${ssl} and sslmode=${sslmode} contradict each other`, 'Write sslmode alone.');
    parameters.delete('ssl');
    parameters.set('sslmode', sslmode ?? mode);
  }
  if (parameters.get('sslrootcert') === 'system') {
    if (/^(disable|no-verify)$/.test(parameters.get('sslmode') ?? ''))
      throw unusable('sslrootcert=system needs a mode that verifies', 'Write sslmode=verify-full.');
    parameters.delete('sslrootcert');
    parameters.set('sslmode', 'verify-full');
  }
  // With it node-postgres verifies in this mode, too.
  if (parameters.get('sslmode') === 'no-verify') parameters.delete('uselibpqcompat');
  if (parameters.get('uselibpqcompat') === 'true') return;
  if (/^(require|verify-ca)$/.test(parameters.get('sslmode') ?? '')) parameters.set('sslmode', 'verify-full');
}

/** Throws where a file holds something else: node-postgres would say so when it connects, or not at all. */
function requireUsable({ ca, cert, key }: { ca?: unknown; cert?: unknown; key?: unknown }): void {
  const read = <Read>(name: string, text: unknown, as: (text: string) => Read, what: string): Read | null => {
    if (typeof text !== 'string') return null;
    try {
      return as(text);
    } catch {
      throw unusable(`the file of ${name} holds no ${what}`, `Name a file in PEM (${name}).`);
    }
  };
  read('sslrootcert', ca, (text) => new X509Certificate(text), 'certificate');
  const certificate = read('sslcert', cert, (text) => new X509Certificate(text), 'certificate');
  const privateKey = read('sslkey', key, createPrivateKey, 'private key that can be read without a password');
  if (certificate === null && privateKey === null) return;
  if (certificate === null || privateKey === null)
    throw unusable('it has one of sslcert and sslkey', 'Name both, or neither.');
  if (!certificate.checkPrivateKey(privateKey))
    throw unusable(
      'the key of sslkey is not that of the certificate of sslcert',
      'Name two files that belong together (sslcert, sslkey).',
    );
}

interface Parameter {
  /** node-postgres reads it in the address itself. */
  heeded?: true;
  /** The values that count. */
  values?: RegExp;
  /** What to do in place of another value. */
  instead?: string;
  /** The settings of node-postgres that mean the same; none where the value says what is so anyway. */
  as?: (value: string) => object;
}

const heeded: Parameter = { heeded: true };
const milliseconds: Parameter = { heeded: true, values: /^\d+$/, instead: 'Give a number of milliseconds.' };
const seconds = (as: (ms: number) => object): Parameter => ({
  values: /^\d+$/,
  instead: 'Give a number of seconds.',
  as: (value) => as(Number(value) * 1_000),
});

const parametersOf = new Map<string, Parameter>(
  Object.entries<Parameter>({
    host: heeded,
    user: heeded,
    password: heeded,
    options: heeded,
    application_name: heeded,
    fallback_application_name: heeded,
    sslcert: heeded,
    sslkey: heeded,
    sslrootcert: heeded,
    sslnegotiation: { heeded: true, values: /^(postgres|direct)$/, instead: 'Give postgres or direct.' },
    uselibpqcompat: { heeded: true, values: /^(true|false)$/, instead: 'Give true or false.' },
    statement_timeout: milliseconds,
    lock_timeout: milliseconds,
    idle_in_transaction_session_timeout: milliseconds,
    port: { heeded: true, values: /^\d+$/, instead: 'Give one number.' },
    ssl: { heeded: true, values: /^(true|false|1|0|no-verify)$/, instead: 'Use sslmode.' },
    sslmode: {
      heeded: true,
      values: /^(disable|no-verify|require|verify-ca|verify-full)$/,
      instead:
        'Use verify-full, or disable; no-verify encrypts and trusts every server. Modes that leave open whether the connection is encrypted do not exist here.',
    },
    dbname: { as: (database) => ({ database }) },
    connect_timeout: seconds((connectionTimeoutMillis) => ({ connectionTimeoutMillis })),
    keepalives: { values: /^[01]$/, instead: 'Give 1 or 0.', as: (value) => ({ keepAlive: value === '1' }) },
    keepalives_idle: seconds((keepAliveInitialDelayMillis) => ({ keepAliveInitialDelayMillis })),
    channel_binding: {
      values: /^(prefer|disable)$/,
      instead:
        'Use channel_binding=prefer with sslmode=verify-full: it is used where the server offers it, but not demanded.',
      as: (value) => ({ enableChannelBinding: value === 'prefer' }),
    },
    client_encoding: { values: /^(utf-?8|unicode|auto)$/i, instead: 'Leave it out: it is always UTF8.' },
    target_session_attrs: {
      values: /^any$/,
      instead:
        'Leave it out, and name a host that leads to the primary: a server that cannot write is waited for.',
    },
    load_balance_hosts: { values: /^disable$/ },
    gssencmode: { values: /^(disable|prefer)$/, instead: 'Use TLS (sslmode=verify-full).' },
  }),
);

const insteadOf = new Map(
  Object.entries({
    hostaddr: 'Write the address as the host.',
    service: 'Write out what the service stands for.',
    passfile: 'Name the file in PGPASSFILE.',
    sslpassword: 'Name a key file without a password (sslkey).',
    keepalives_interval: 'Set it for the system (net.ipv4.tcp_keepalive_intvl).',
    keepalives_count: 'Set it for the system (net.ipv4.tcp_keepalive_probes).',
    tcp_user_timeout: 'Set it for the system (net.ipv4.tcp_retries2).',
  }),
);

function leaveOut(name: string): string {
  return (
    insteadOf.get(name) ??
    `Leave ${name} out, which has no meaning here. A setting of the server is written options=-c%20name%3Dvalue.`
  );
}

/** Without a cause, which would quote the address and so the password. */
function unusable(why: string, instead?: string): SessionChainError {
  return new SessionChainError(
    'INVALID_INPUT',
    `The address of the database is not usable: ${why}.`,
    `Correct the address (DATABASE_URL): ${instead ?? 'postgres://user:password@host:port/database, and the files that it names.'}`,
  );
}
