import { z } from 'zod';
import type { Caller } from '../caller.js';
import { erasureSchema } from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  given,
  json,
  optionalBody,
  projectParams as params,
  reads,
  takes,
  waitMs,
} from './common.js';

const tags = ['retention'];

/** Erasing all of a project, and its certificate. */
export function erasureRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.post(
    '/v1/projects/:projectId/erase',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'eraseProject', params },
        summary: 'Erase everything of a project, for good, or say what there is to erase',
        description:
          '202: it is under way; Location is where it stands. 200: it is finished, within `waitMs`, or a dry run. Meanwhile nothing is begun in the project. What stays is the certificate. While one is under way, the same is returned; afterwards another call looks everywhere anew. A key that is restricted to this project is deleted with it.',
        querystring: z.strictObject({ waitMs }),
        body: optionalBody(
          z.strictObject({
            by: z
              .string()
              .trim()
              .min(1)
              .max(150)
              .describe('Who asks, for the certificate, which names the key of the call as well')
              .optional(),
            reason: z.string().trim().min(1).max(1_000).describe('Why, for the certificate').optional(),
            dryRun: z.boolean().describe('Only say what there is to erase; default: false').optional(),
          }),
        ),
        response: { ...takes(erasureSchema), 202: erasureSchema },
      },
    },
    async (
      { params: { projectId }, body: { by, ...body }, query: { waitMs: timeoutMs = 0 }, caller },
      reply,
    ) => {
      const erasure = await sessionChain.erase(projectId, {
        ...given(body),
        by: nameOf(by, caller),
        timeoutMs,
      });
      if (erasure.state === 'running')
        reply.code(202).header('location', `/v1/projects/${encodeURIComponent(projectId)}/erasure`);
      return json(erasure);
    },
  );

  app.get(
    '/v1/projects/:projectId/erasure',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getErasure', params, querystring: z.strictObject({}) },
        summary: 'The erasure of a project that is under way, else the last one with its certificate',
        response: reads(erasureSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.erasure(projectId)),
  );
}

/** A key proves who called; a name is what the caller says. */
function nameOf(by: string | undefined, { keyId }: Caller): string {
  const key = keyId === null ? 'no key' : `key ${keyId}`;
  return by === undefined ? key : `${by} (${key})`;
}
