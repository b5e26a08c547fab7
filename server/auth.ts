import { createHash } from 'node:crypto';
import cookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type KeyRights, type Keys, requireProject } from '../client/keys.js';
import { includesScope } from '../contracts/keys.js';
import { anonymous } from './caller.js';
import type { Rates } from './limits.js';
import type { Logins } from './login.js';
import { HttpProblem } from './problems.js';
import './scopes.js';

/**
 * Who calls, and what it may: every request but those of open routes shows a key, or the cookie of a login with one, and the scope
 * and the projects of the key decide before the route does.
 */
export async function auth(
  app: FastifyInstance,
  { keys, logins, rates }: { keys: Keys; logins: Logins; rates: Rates },
): Promise<void> {
  await app.register(cookie);
  app.decorateRequest('caller', null as never);
  const known = recentKeys();
  app.addHook('onRequest', async (request, reply) => {
    request.caller = anonymous;
    // A route without a scope is an error that methods.ts finds; until then it takes most.
    const { scope = 'admin', projects } = request.routeOptions.config;
    if (request.is404 || scope === 'open') return;
    const shown = shownBy(request, logins);
    // An address that guesses is refused before the database is asked; a key that is known to be good is not its matter.
    if (shown === null || !known.has(shown)) await rates.requireFewFailures(request);
    const check = async () =>
      shown === null ? null : await ('key' in shown ? keys.check(shown.key) : keys.checkLogin(shown.login));
    const rights = await check();
    if (shown === null || rights === null) {
      await rates.countFailure(request);
      throw unauthorized(reply, shown);
    }
    known.add(shown);
    request.caller = {
      keyId: rights.id,
      scope: rights.scope,
      projects: rights.projects,
      isStillAllowed: async () => (await check()) !== null,
    };
    await rates.countRequest(request);
    if (!includesScope(rights.scope, scope)) throw forbidden(reply, rights, scope);
    if (rights.projects === null) return;
    const { projectId } = request.params as { projectId?: string };
    if (projectId !== undefined) requireProject(rights.projects, projectId);
    else if (projects !== 'filtered') throw overAllProjects(rights);
  });
}

/** The secret that a request shows: a key in its header, or the token of a login in its cookie. */
type Shown = { key: string } | { login: string };

/** Null where the request shows nothing. Never what stands in the address. */
function shownBy(request: FastifyRequest, logins: Logins): Shown | null {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const [, key] = /^Bearer +(\S{1,200}) *$/i.exec(authorization) ?? [];
    return { key: key ?? '' };
  }
  const login = logins.tokenOf(request);
  return login === null ? null : { login };
}

function unauthorized(reply: FastifyReply, shown: Shown | null): HttpProblem {
  const isKey = shown !== null && 'key' in shown;
  reply.header('www-authenticate', `Bearer realm="session-chain"${isKey ? ', error="invalid_token"' : ''}`);
  if (shown === null)
    return new HttpProblem(401, 'The request shows no key.', 'Send the header Authorization: Bearer <key>.');
  return isKey
    ? new HttpProblem(
        401,
        'The key is not valid: it is malformed or unknown, was revoked, or has expired.',
        'Send a valid key as Authorization: Bearer <key>. The list of keys shows which are valid.',
      )
    : new HttpProblem(
        401,
        'The login has ended: it was for 12 hours at most, or its key was revoked or has expired.',
        'Log in again, with a valid key.',
      );
}

function forbidden(reply: FastifyReply, { id, scope }: KeyRights, needed: string): HttpProblem {
  reply.header('www-authenticate', 'Bearer realm="session-chain", error="insufficient_scope"');
  return new HttpProblem(
    403,
    `The key ${id} has the scope ${scope}, and this takes ${needed}.`,
    `Call with a key of the scope ${needed}.`,
  );
}

function overAllProjects({ id }: KeyRights): HttpProblem {
  return new HttpProblem(
    403,
    `The key ${id} is for some projects, and this is over all of them.`,
    'Call with a key for every project.',
  );
}

const maxRecent = 1_000;

/** The keys and logins that were good lately, by their hashes. It only tells callers from guesses; each request is checked all the same. */
function recentKeys() {
  const recent = new Set<string>();
  const hashOf = (shown: Shown) => createHash('sha256').update(JSON.stringify(shown)).digest('base64');
  return {
    has: (shown: Shown) => recent.has(hashOf(shown)),
    add(shown: Shown) {
      const hash = hashOf(shown);
      // The one that was used last stands last.
      recent.delete(hash);
      recent.add(hash);
      for (const oldest of recent) {
        if (recent.size <= maxRecent) break;
        recent.delete(oldest);
      }
    },
  };
}
