import { z } from 'zod';
import { brokenSessionsSchema, fencedAttemptsSchema, lateEndsSchema } from '../schemas.js';
import { type RouteOptions, type Routes, cursor, given, json, limit, reads, within } from './common.js';

const tags = ['integrity'];
const querystring = z.strictObject({ limit: limit(50), cursor });

/** What is not as it should be, and what was rejected. */
export function integrityRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.get(
    '/v1/integrity/sessions',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'listBrokenSessions', querystring },
        summary: 'Heads from which no operation can go on, and sessions in quarantine',
        description:
          'It reads no transcript; a dry run of `recover` also finds what only a scan of every entry tells.',
        response: reads(brokenSessionsSchema),
      },
    },
    async ({ query, caller }) =>
      json(await sessionChain.brokenSessions({ ...given(query), ...within(caller) })),
  );

  app.get(
    '/v1/integrity/attempts',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'listFencedAttempts', querystring },
        summary: 'Attempts whose right to go on ended before they could commit, the newest first',
        response: reads(fencedAttemptsSchema),
      },
    },
    async ({ query, caller }) =>
      json(await sessionChain.fencedAttempts({ ...given(query), ...within(caller) })),
  );

  app.get(
    '/v1/integrity/ends',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'listLateEnds', querystring },
        summary: 'Ends of chains that the host has not been told of for more than a minute, the newest first',
        response: reads(lateEndsSchema),
      },
    },
    async ({ query, caller }) => json(await sessionChain.lateEnds({ ...given(query), ...within(caller) })),
  );
}
