import { z } from 'zod';
import { serverSchema } from '../schemas.js';
import { type RouteOptions, type Routes, json, reads } from './common.js';

/** What the server is, for whom calls it. */
export function serverRoutes(app: Routes, { about }: RouteOptions): void {
  app.get(
    '/v1/server',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        tags: ['server'],
        operationId: 'getServer',
        summary: 'What this server is, and what the key may',
        querystring: z.strictObject({}),
        response: reads(serverSchema),
      },
    },
    async ({ caller }) => json({ ...about, key: { scope: caller.scope, projects: caller.projects } }),
  );
}
