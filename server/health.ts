import type { FastifyInstance } from 'fastify';
import './scopes.js';

export interface HealthOptions {
  /** Rejects while the database cannot be used; it answers within a second and may be asked at any rate. */
  ready: () => Promise<void>;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
}

/** For probes: they need no key and tell nothing but a state, whose reason is in the log. */
export async function health(app: FastifyInstance, { ready, draining }: HealthOptions): Promise<void> {
  const options = { config: { scope: 'open' as const }, schema: { hide: true } };
  app.get('/healthz', options, async () => ({ status: 'ok' }));
  let said = '';
  app.get('/readyz', options, async (request, reply) => {
    const reason = draining.aborted
      ? 'The server is stopping.'
      : await ready().then(
          () => '',
          (error: unknown) => (error instanceof Error ? error.message : String(error)),
        );
    // A probe comes every few seconds, for as long as it lasts.
    if (reason !== said && reason !== '') request.log.warn({ reason }, 'The server is not ready.');
    if (reason === '' && said !== '') request.log.info('The server is ready again.');
    said = reason;
    return await reply
      .code(reason === '' ? 200 : 503)
      .send({ status: reason === '' ? 'ready' : draining.aborted ? 'stopping' : 'unavailable' });
  });
}
