import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import './scopes.js';

/** Where the build puts the dashboard. */
const folder = join(import.meta.dirname, '../dashboard');

/** The addresses of the dashboard's pages; dashboard/app.tsx has the same. */
const paths = [
  '/',
  '/projects',
  '/projects/:projectId',
  '/projects/:projectId/chains/:versionId/:buildId',
  '/projects/:projectId/sessions/:sessionId',
  '/integrity',
  '/costs',
  '/settings',
];

/** Nothing but the page's own files runs or is loaded, whatever a transcript says. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The dashboard: its page at each of its addresses, for anyone; what it shows it asks the API for, with a key. */
export async function pages(app: FastifyInstance): Promise<void> {
  if (!existsSync(join(folder, 'index.html'))) return;
  const html = readFileSync(join(folder, 'index.html'));
  const open = { config: { scope: 'open' as const }, schema: { hide: true } };
  for (const url of paths) {
    app.get(url, open, async (_request, reply) =>
      reply
        .header('content-security-policy', policy)
        .header('cache-control', 'no-cache')
        .type('text/html')
        .send(html),
    );
  }
  await app.register(fastifyStatic, { root: folder, serve: false, preCompressed: true });
  app.get('/icon.svg', open, async (_request, reply) => await reply.sendFile('icon.svg', { maxAge: '1d' }));
  // Their names change with what they hold.
  app.get('/assets/:name', open, async ({ params }, reply) =>
    reply.sendFile(`assets/${(params as { name: string }).name}`, { immutable: true, maxAge: '365d' }),
  );
}
