import { z } from 'zod';
import type { ApiKey } from '../../contracts/keys.js';
import { definitionsSchema, doctorSchema, keysSchema, storageSchema, workersSchema } from '../schemas.js';
import { type RouteOptions, type Routes, given, json, limit, reads } from './common.js';

/** What those who operate the server look after: workers, definitions, keys, and the checks of the doctor. */
export function operationRoutes(app: Routes, { sessionChain, keys, doctor }: RouteOptions): void {
  const tags = ['operations'];
  const querystring = z.strictObject({});

  app.get(
    '/v1/workers',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listWorkers', querystring },
        summary: 'The workers, what they run, and what waits in their task queues',
        response: reads(workersSchema),
      },
    },
    async () => json(await sessionChain.workers()),
  );

  app.get(
    '/v1/definitions',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listDefinitions', querystring },
        summary: 'The definitions that living workers have, the one of most workers first',
        description: 'Several are a rollout. Prompts, credentials and addresses are in none.',
        response: reads(definitionsSchema),
      },
    },
    async () => ({ definitions: json(await sessionChain.definitions()) }),
  );

  app.get(
    '/v1/storage',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getStorage', querystring: z.strictObject({ limit: limit(20) }) },
        summary: 'What takes space in the database and the archive, and the projects that take most',
        response: reads(storageSchema),
      },
    },
    async ({ query }) => json(await sessionChain.storage(given(query))),
  );

  app.get(
    '/v1/keys',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'listKeys', querystring },
        summary: 'The keys of the server, without their secrets',
        description: 'Keys are made and revoked on the command line: session-chain keys.',
        response: reads(keysSchema),
      },
    },
    async () => {
      const now = Date.now();
      return { keys: (await keys.list()).map((key) => ({ ...key, state: stateOf(key, now) })) };
    },
  );

  app.get(
    '/v1/doctor',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'getDoctor', querystring },
        summary: 'What the server needs, checked now or within the last 30 s',
        response: reads(doctorSchema),
      },
    },
    async () => json(await doctor()),
  );
}

function stateOf({ revokedAt, expiresAt }: ApiKey, now: number): 'valid' | 'expired' | 'revoked' {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && Date.parse(expiresAt) <= now ? 'expired' : 'valid';
}
