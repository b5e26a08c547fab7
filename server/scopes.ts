/** What a route asks of its caller. `admin` includes `start`, and `start` includes `read`; an `open` route asks nothing. */
export type RouteScope = 'open' | 'read' | 'start' | 'admin';

declare module 'fastify' {
  interface FastifyContextConfig {
    scope?: RouteScope;
  }
}
