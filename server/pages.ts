import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HttpProblem, problemOf, sendProblem } from './problems.js';
import './scopes.js';

/** The built dashboard: one page, which shows by itself what is at an address, and the files that it loads. */
export interface Dashboard {
  /** Whether a browser opens an address, whose reader would be shown a problem as JSON. */
  isWantedBy(request: FastifyRequest): boolean;
  send(reply: FastifyReply, status?: number): FastifyReply;
  files: ReadonlyMap<string, DashboardFile>;
}

interface DashboardFile {
  type: string;
  /** As it is, and as the build has compressed it. */
  content: Buffer;
  compressed: ReadonlyMap<string, Buffer>;
}

/** The addresses of the pages; dashboard/app.tsx has the same. */
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
  // No text becomes HTML.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const types: Record<string, string> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
/** The better one first, with the ending of its files. */
const encodings = { br: 'br', gzip: 'gz' };

/**
 * What the build put into the folder; null where it did not. It is held in memory: the files of a server fit each other, also while
 * a new version is being installed, and a request reads nothing from the disk.
 */
export function readDashboard(folder: string): Dashboard | null {
  const index = join(folder, 'index.html');
  if (!existsSync(index)) return null;
  const html = readFileSync(index);
  const files = new Map<string, DashboardFile>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = types[/\.(\w+)$/.exec(name)?.[1] ?? ''];
    if (type === undefined) continue;
    const compressed = Object.entries(encodings)
      .map(([encoding, ending]) => [encoding, join(folder, `${name}.${ending}`)] as const)
      .filter(([, file]) => existsSync(file))
      .map(([encoding, file]) => [encoding, readFileSync(file)] as const);
    const content = readFileSync(join(folder, name));
    files.set(name.replaceAll('\\', '/'), { type, content, compressed: new Map(compressed) });
  }
  return {
    files,
    isWantedBy: ({ method, url, headers }) =>
      (method === 'GET' || method === 'HEAD') &&
      !/^\/(v1|assets)(\/|\?|$)/.test(url) &&
      /\btext\/html\b/.test(headers.accept ?? ''),
    send: (reply, status = 200) =>
      reply
        .code(status)
        .headers({ 'content-security-policy': policy, 'cross-origin-opener-policy': 'same-origin' })
        .type('text/html; charset=utf-8')
        .send(html),
  };
}

/**
 * Serves the dashboard to anyone; what it shows it asks the API for, with a key. In a browser the page also says what is not
 * there.
 */
export function pages(app: FastifyInstance, dashboard: Dashboard | null): void {
  app.setNotFoundHandler((request, reply) => {
    if (dashboard?.isWantedBy(request)) return dashboard.send(reply, 404);
    return sendProblem(reply, problemOf(nothingAt(request)));
  });
  const open = { config: { scope: 'open' as const }, schema: { hide: true } };
  if (dashboard === null) {
    app.get('/', open, async () => {
      throw new HttpProblem(
        404,
        'The dashboard is not there: it was not built.',
        'Run npm run build and start the server again. The API is under /v1.',
      );
    });
    return;
  }
  const addresses = paths.flatMap((path) => (path === '/' ? [path] : [path, `${path}/`]));
  for (const url of addresses) app.get(url, open, async (_request, reply) => dashboard.send(reply));
  app.get('/icon.svg', open, async (request, reply) =>
    sendFile(request, reply, dashboard.files.get('icon.svg'), 'public, max-age=86400'),
  );
  // Their names change with what they hold.
  app.get('/assets/:name', open, async (request, reply) => {
    const { name } = request.params as { name: string };
    return sendFile(
      request,
      reply,
      dashboard.files.get(`assets/${name}`),
      'public, max-age=31536000, immutable',
    );
  });
}

function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: DashboardFile | undefined,
  cacheControl: string,
): FastifyReply {
  if (file === undefined) throw nothingAt(request);
  reply.type(file.type).headers({ 'cache-control': cacheControl, vary: 'accept-encoding' });
  const accepted = (request.headers['accept-encoding'] ?? '').toString();
  for (const [encoding, content] of file.compressed) {
    if (new RegExp(`\\b${encoding}\\b(?!\\s*;\\s*q=0(\\.0*)?\\s*(,|$))`).test(accepted))
      return reply.header('content-encoding', encoding).send(content);
  }
  return reply.send(file.content);
}

function nothingAt({ method, url }: FastifyRequest): HttpProblem {
  return new HttpProblem(
    404,
    `Nothing is at ${method} ${url.split('?')[0] ?? ''}.`,
    'Look at /openapi.json, which lists every path.',
  );
}
