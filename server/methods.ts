import { METHODS } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { HttpProblem } from './problems.js';
import './scopes.js';

/**
 * Watches which routes are added; the function that it returns gives each of their paths an answer to every other method: 405 with
 * Allow, and OPTIONS alone says what is allowed. A route without a scope is an error of ours.
 */
export function methods(app: FastifyInstance): () => void {
  const allowed = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method, config }) => {
    if (config?.scope === undefined) throw new Error(`The route ${String(method)} ${url} names no scope.`);
    const known = allowed.get(url) ?? new Set();
    for (const one of [method].flat()) known.add(one.toUpperCase());
    allowed.set(url, known);
  });
  return () => {
    const all = METHODS.filter((method) => method !== 'CONNECT');
    for (const method of all) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method);
    for (const [url, known] of [...allowed]) {
      const allow = [...known, 'OPTIONS'].sort().join(', ');
      app.route({
        method: all.filter((method) => !known.has(method)),
        url,
        config: { scope: 'open' },
        schema: { hide: true },
        onRequest: async ({ method }, reply) => {
          reply.header('allow', allow);
          if (method === 'OPTIONS') return reply.code(204).send();
          throw new HttpProblem(405, `${url} does not take ${method}.`, `Use one of ${allow}.`);
        },
        handler: async () => undefined,
      });
    }
  };
}
