import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Rates } from './limits.js';
import { HttpProblem } from './problems.js';
import './caller.js';
import './scopes.js';

/** The way of a browser on the same machine to a key, without the key in an address: a link with a code that works once. */
export interface Logins {
  /** The key that the cookie of a request stands for; null where it has none that counts. */
  keyOf(request: FastifyRequest): string | null;
}

const codeMs = 10 * 60_000;
const cookieMs = 12 * 3_600_000;
/** So many at a time; the oldest goes. */
const maxEntries = 100;

/** Adds the routes; codes and cookies are those of this process, and end with it. */
export function createLogins(app: FastifyInstance, rates: Rates): Logins {
  const codes = expiringKeys(codeMs);
  const cookies = expiringKeys(cookieMs);

  app.post(
    '/v1/codes',
    { config: { scope: 'read', projects: 'filtered' }, schema: { hide: true } },
    async (request, reply) => {
      const [, key] = /^Bearer +(\S+)/i.exec(request.headers.authorization ?? '') ?? [];
      if (key === undefined) {
        throw new HttpProblem(
          403,
          'A code is made for a key, not for a cookie.',
          'Send the header Authorization: Bearer <key>.',
        );
      }
      const { token, expiresAt } = codes.add(key);
      const url = `http://${request.headers.host ?? ''}/login?code=${token}`;
      return await reply.code(201).send({ url, expiresAt: expiresAt.toISOString() });
    },
  );

  // A HEAD, by which some programs look at links, would use up the code.
  const once = { exposeHeadRoute: false, config: { scope: 'open' as const }, schema: { hide: true } };
  app.get('/login', once, async (request, reply) => {
    await rates.requireFewFailures(request);
    const { code } = request.query as { code?: unknown };
    const key = typeof code === 'string' ? codes.take(code) : null;
    if (key === null) {
      await rates.countFailure(request);
      throw new HttpProblem(
        401,
        'The code of this link is not valid: it was used already, is older than ten minutes, or is of a server that has ended.',
        'Get a new link: POST /v1/codes with the header Authorization: Bearer <key>.',
      );
    }
    return await reply
      .setCookie(cookieName(request), cookies.add(key).token, {
        path: '/',
        httpOnly: true,
        sameSite: 'strict',
        maxAge: cookieMs / 1_000,
      })
      .redirect('/', 303);
  });

  return {
    keyOf: (request) => {
      const token = request.cookies[cookieName(request)];
      return token === undefined || !isOfOwnPage(request) ? null : cookies.get(token);
    },
  };
}

/** Cookies are the same for all ports of a host. */
function cookieName({ socket }: FastifyRequest): string {
  return `session_chain_${socket.localPort ?? 0}`;
}

/** A page of another origin must not act with the cookie: not even one of the same machine, which a browser counts as the same site. */
function isOfOwnPage({ method, headers }: FastifyRequest): boolean {
  const { origin, host = '', 'sec-fetch-site': site } = headers;
  if (origin !== undefined && origin !== `http://${host}`) return false;
  if (method === 'GET' || method === 'HEAD')
    return site === undefined || site === 'same-origin' || site === 'none';
  return origin !== undefined || site === 'same-origin';
}

/** Keys by random tokens, each for so long. */
function expiringKeys(lifetimeMs: number) {
  const entries = new Map<string, { key: string; expiresAt: Date }>();
  const get = (token: string) => {
    const entry = entries.get(token);
    return entry !== undefined && entry.expiresAt.getTime() > Date.now() ? entry.key : null;
  };
  return {
    get,
    add(key: string) {
      const token = randomBytes(24).toString('hex');
      const expiresAt = new Date(Date.now() + lifetimeMs);
      entries.set(token, { key, expiresAt });
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries) break;
        entries.delete(oldest);
      }
      return { token, expiresAt };
    },
    take(token: string) {
      const key = get(token);
      entries.delete(token);
      return key;
    },
  };
}
