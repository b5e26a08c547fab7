import { chainRoutes } from './chains.js';
import { chatRoutes } from './chats.js';
import type { RouteOptions, Routes } from './common.js';
import { erasureRoutes } from './erasure.js';
import { integrityRoutes } from './integrity.js';
import { loginRoutes } from './logins.js';
import { operationRoutes } from './operations.js';
import { projectRoutes } from './projects.js';
import { retentionRoutes } from './retention.js';
import { restoreRoutes } from './restore.js';
import { serverRoutes } from './server.js';

/** The routes of `/v1`, and the document that describes them. */
export async function routes(app: Routes, options: RouteOptions): Promise<void> {
  projectRoutes(app, options);
  chainRoutes(app, options);
  chatRoutes(app, options);
  integrityRoutes(app, options);
  serverRoutes(app, options);
  loginRoutes(app, options);
  operationRoutes(app, options);
  retentionRoutes(app, options);
  erasureRoutes(app, options);
  restoreRoutes(app, options);
  app.get('/openapi.json', { config: { scope: 'open' }, schema: { hide: true } }, async () => app.swagger());
}
