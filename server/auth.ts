import { createHash } from 'node:crypto';
import cookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type KeyRights, type Keys, requireProject } from '../client/keys.js';
import { includesScope } from '../contracts/keys.js';
import { anonymous } from './caller.js';
import type { Rates } from './limits.js';
import { type Logins, createLogins } from './login.js';
import { HttpProblem } from './problems.js';
import './scopes.js';

export interface AuthOptions {
  keys: Keys;
  /** On loopback alone: a one-time code is exchanged for a cookie of a browser. Default: no. */
  login?: boolean;
}

/**
 * Who calls, and what it may: every request but those of open routes shows a key, and its scope and its projects decide before
 * the route does.
 */
export async function auth(
  app: FastifyInstance,
  { keys, login = false }: AuthOptions,
  rates: Rates,
): Promise<void> {
  await app.register(cookie);
  app.decorateRequest('caller', null as never);
  const logins = login ? createLogins(app, rates) : null;
  const known = recentKeys();
  app.addHook('onRequest', async (request, reply) => {
    request.caller = anonymous;
    // A route without a scope is an error that methods.ts finds; until then it takes most.
    const { scope = 'admin', projects } = request.routeOptions.config;
    if (request.is404 || scope === 'open') return;
    const key = shownKey(request, logins);
    // An address that guesses is refused before the database is asked; a key that is known to be good is not its matter.
    if (key === null || !known.has(key)) await rates.requireFewFailures(request);
    const rights = key === null ? null : await keys.check(key);
    if (key === null || rights === null) {
      await rates.countFailure(request);
      throw unauthorized(reply, key);
    }
    known.add(key);
    request.caller = {
      keyId: rights.id,
      scope: rights.scope,
      projects: rights.projects,
      isStillAllowed: async () => (await keys.check(key)) !== null,
    };
    await rates.countRequest(request);
    if (!includesScope(rights.scope, scope)) throw forbidden(reply, rights, scope);
    if (rights.projects === null) return;
    const { projectId } = request.params as { projectId?: string };
    if (projectId !== undefined) requireProject(rights.projects, projectId);
    else if (projects !== 'filtered') throw overAllProjects(rights);
  });
}

/** The key in the header, or the one that the cookie stands for; null where the request shows none. Never one in the address. */
function shownKey(request: FastifyRequest, logins: Logins | null): string | null {
  const { authorization } = request.headers;
  if (authorization === undefined) return logins?.keyOf(request) ?? null;
  const [, key] = /^Bearer +(\S{1,200}) *$/i.exec(authorization) ?? [];
  return key ?? '';
}

function unauthorized(reply: FastifyReply, key: string | null): HttpProblem {
  reply.header(
    'www-authenticate',
    `Bearer realm="session-chain"${key === null ? '' : ', error="invalid_token"'}`,
  );
  return key === null
    ? new HttpProblem(401, 'The request shows no key.', 'Send the header Authorization: Bearer <key>.')
    : new HttpProblem(
        401,
        'The key is not valid: it is malformed or unknown, was revoked, or has expired.',
        'Send a valid key as Authorization: Bearer <key>. The list of keys shows which are valid.',
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

/** The keys that were good lately, by their hashes. It only tells callers from guesses; each request is checked all the same. */
function recentKeys() {
  const recent = new Set<string>();
  const hashOf = (key: string) => createHash('sha256').update(key).digest('base64');
  return {
    has: (key: string) => recent.has(hashOf(key)),
    add(key: string) {
      const hash = hashOf(key);
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
