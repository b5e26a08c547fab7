import { z } from 'zod';
import { createCodes } from '../codes.js';
import { HttpProblem } from '../problems.js';
import { loginSchema, logoutSchema } from '../schemas.js';
import { type RouteOptions, type Routes, json, takes } from './common.js';

/** The ways of a browser to a login and out of it. */
export function loginRoutes(app: Routes, { logins, rates, dashboard, hasLinks }: RouteOptions): void {
  const codes = createCodes();

  app.post(
    '/v1/login',
    {
      config: { scope: 'open' },
      schema: {
        tags: ['server'],
        operationId: 'logIn',
        summary: 'Exchange a key for a cookie, over https or on loopback',
        description:
          'The cookie (HttpOnly, SameSite=Strict) stands for the key on requests of pages of this server, for 12 hours or until the key ends.',
        querystring: z.strictObject({}),
        body: z.strictObject({
          key: z.string().max(200).describe('A key of `session-chain keys create`'),
        }),
        response: takes(loginSchema),
      },
    },
    async (request, reply) => {
      logins.requireLogin(request);
      await rates.requireFewFailures(request);
      const login = await logins.open(request, reply, request.body.key);
      if (login !== null) return json({ expiresAt: login.expiresAt });
      await rates.countFailure(request);
      throw new HttpProblem(
        401,
        'The key is not valid: it is malformed or unknown, was revoked, or has expired.',
        'Make one with session-chain keys create. session-chain keys list shows which are valid.',
      );
    },
  );

  app.post(
    '/v1/logout',
    {
      config: { scope: 'open' },
      schema: {
        tags: ['server'],
        operationId: 'logOut',
        summary: "End the login of the request's cookie",
        querystring: z.strictObject({}),
        response: takes(logoutSchema),
      },
    },
    async (request, reply) => json({ ended: await logins.end(request, reply) }),
  );

  // A HEAD, by which some programs look at links, would use up the code.
  const once = { exposeHeadRoute: false, config: { scope: 'open' as const }, schema: { hide: true } };
  app.get('/login', once, async (request, reply) => {
    const { code } = request.query as { code?: unknown };
    // Without a code it is the form for a key.
    if (code === undefined && dashboard?.isWantedBy(request)) return dashboard.send(reply);
    await rates.requireFewFailures(request);
    const key = typeof code === 'string' ? codes.take(code) : null;
    if (key !== null && (await logins.open(request, reply, key)) !== null)
      return await reply.redirect('/', 303);
    await rates.countFailure(request);
    // The page says the same, with a form for a key.
    if (dashboard?.isWantedBy(request)) return dashboard.send(reply, 401);
    throw new HttpProblem(
      401,
      'The code of this link is not valid: it was used already, is older than ten minutes, or is of a server that has ended.',
      'Get a new link: POST /v1/codes with the header Authorization: Bearer <key>.',
    );
  });

  if (!hasLinks) return;
  app.post(
    '/v1/codes',
    { config: { scope: 'read', projects: 'filtered' }, schema: { hide: true } },
    async (request, reply) => {
      const [, key] = /^Bearer +(\S+)/i.exec(request.headers.authorization ?? '') ?? [];
      if (key === undefined) {
        throw new HttpProblem(
          403,
          'A code is made for a key, not for a cookie.',
          'Send the header Authorization: Bearer <key>.',
        );
      }
      const { code, expiresAt } = codes.add(key);
      const url = `${request.protocol}://${request.host}/login?code=${code}`;
      return await reply.code(201).send({ url, expiresAt: expiresAt.toISOString() });
    },
  );
}
