import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Keys, Login } from '../client/keys.js';
import { HttpProblem } from './problems.js';

/** The cookie of a browser that logged in with a key: it stands for the key, and no script can read it. */
export interface Logins {
  /** The token of a request's cookie; null where it has none, or is not of a page of this server. */
  tokenOf(request: FastifyRequest): string | null;
  /** Throws 403 where the cookie could be read on its way, or a page of another origin asks. */
  requireLogin(request: FastifyRequest): void;
  /** Sets the cookie; null where the key is not valid. */
  open(request: FastifyRequest, reply: FastifyReply, key: string): Promise<Login | null>;
  /** Ends the login of the cookie, and takes the cookie away; whether there was one. */
  end(request: FastifyRequest, reply: FastifyReply): Promise<boolean>;
}

export function createLogins(keys: Keys): Logins {
  const tokenOf = (request: FastifyRequest) =>
    isOfOwnPage(request) ? (request.cookies[cookieName(request)] ?? null) : null;
  return {
    tokenOf,
    requireLogin(request) {
      const { origin, 'sec-fetch-site': site } = request.headers;
      // A program says neither.
      if ((origin !== undefined || site !== undefined) && !isOfOwnPage(request))
        throw new HttpProblem(
          403,
          'A page of another origin may not log a browser in.',
          'Send the header Authorization: Bearer <key> from there. Behind a proxy, let it pass on the header Host, and name it in SESSION_CHAIN_HTTP_TRUSTED_PROXIES.',
        );
      if (request.protocol === 'https' || isLoopbackName(request.hostname)) return;
      throw new HttpProblem(
        403,
        'The server was asked over HTTP without TLS, where a login could be read on its way.',
        'Use its https address. Where a proxy in front speaks TLS, name it in SESSION_CHAIN_HTTP_TRUSTED_PROXIES and let it set X-Forwarded-Proto.',
      );
    },
    async open(request, reply, key) {
      const login = await keys.logIn(key);
      if (login === null) return null;
      const maxAge = Math.floor((login.expiresAt.getTime() - Date.now()) / 1_000);
      reply.setCookie(cookieName(request), login.token, { ...attributesFor(request), maxAge });
      return login;
    },
    async end(request, reply) {
      const token = tokenOf(request);
      if (token === null) return false;
      reply.clearCookie(cookieName(request), attributesFor(request));
      return await keys.logOut(token);
    },
  };
}

function attributesFor({ protocol }: FastifyRequest) {
  return { path: '/', httpOnly: true, sameSite: 'strict', secure: protocol === 'https' } as const;
}

/** Cookies are the same for all ports of a host: the name has the port, as the browser's address has it. */
function cookieName({ port, protocol }: FastifyRequest): string {
  return `session_chain_${port ?? (protocol === 'https' ? 443 : 80)}`;
}

/** The connection of a browser to such a name does not leave its machine. */
function isLoopbackName(name: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(name);
}

/**
 * A page of another origin must not act with the cookie: not even one of the same machine, which a browser counts as the same site.
 * Where the browser says whose page it is, that decides; an older one sends the origin.
 */
function isOfOwnPage({ method, headers, protocol, host }: FastifyRequest): boolean {
  const { origin, 'sec-fetch-site': site } = headers;
  const isRead = method === 'GET' || method === 'HEAD';
  if (site !== undefined) return site === 'same-origin' || (isRead && site === 'none');
  return origin === undefined ? isRead : origin === `${protocol}://${host}`;
}
