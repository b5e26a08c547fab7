import type { KeyScope } from '../contracts/keys.js';

/** What a route asks of its caller. `admin` includes `start`, and `start` includes `read`; an `open` route asks nothing. */
export type RouteScope = 'open' | KeyScope;

declare module 'fastify' {
  interface FastifyContextConfig {
    scope?: RouteScope;
    /**
     * Of a route whose path names no project: it answers with what is of `request.caller.projects` alone. Without it, a key that
     * is for some projects is refused there.
     */
    projects?: 'filtered';
  }
}
