import { z } from 'zod';
import { holdShape, restoreShape } from '../../client/restore.js';
import { holdSchema, releasedSchema, restorationSchema } from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  described,
  given,
  json,
  optionalBody,
  projectParams as params,
  reads,
  takes,
  waitMs,
} from './common.js';

const tags = ['retention'];
const { sessionId, month, keepDays } = restoreShape;

/** Bringing back what was archived, and legal holds. */
export function restoreRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.post(
    '/v1/projects/:projectId/restore',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'restore', params },
        summary: 'Bring a session, a month or everything of a project back from the archive',
        description:
          'A worker does it, a file at a time; what is here and the same is left. 200: it has ended within `waitMs`; `state` says how. 202: it goes on; Location is its address. 409 while another restoration of the project is under way.',
        querystring: z.strictObject({ waitMs }),
        body: optionalBody(
          z.strictObject({
            sessionId: sessionId.unwrap().describe('Only this session').optional(),
            month: month
              .unwrap()
              .meta({
                description: 'What was archived of this month (UTC), and the transitions from it on',
                examples: ['2026-03'],
              })
              .optional(),
            keepDays: keepDays
              .unwrap()
              .describe('How long retention leaves the project alone; default 30')
              .optional(),
          }),
        ),
        response: { ...takes(restorationSchema), 202: restorationSchema },
      },
    },
    async ({ params: { projectId }, body, query: { waitMs } }, reply) => {
      const started = await sessionChain.startRestore({ projectId, ...given(body) });
      const now = waitMs ? await sessionChain.restoration(projectId, { waitMs }) : started;
      reply.code(now.state === 'running' ? 202 : 200);
      reply.header('location', `/v1/projects/${encodeURIComponent(projectId)}/restore`);
      return json(now);
    },
  );

  app.get(
    '/v1/projects/:projectId/restore',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getRestoration', params },
        summary: 'The restoration that is under way, or the last one',
        querystring: z.strictObject({ waitMs }),
        response: reads(restorationSchema),
      },
    },
    async ({ params: { projectId }, query }) => json(await sessionChain.restoration(projectId, given(query))),
  );

  app.get(
    '/v1/projects/:projectId/hold',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getHold', params },
        summary: 'Whether a project is on legal hold, or left alone because something of it was restored',
        querystring: z.strictObject({}),
        response: reads(holdSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.projectHold(projectId)),
  );

  app.post(
    '/v1/projects/:projectId/hold',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'hold', params },
        summary: 'Put a project on legal hold',
        description: 'Nothing of it is archived away, dropped or erased until it is released.',
        body: described(z.strictObject(holdShape), {
          reason: { description: 'Why', examples: ['case 17/4'] },
          by: { description: 'Who says so', examples: ['legal@example.com'] },
        }),
        response: takes(holdSchema),
      },
    },
    async ({ params: { projectId }, body }) => json(await sessionChain.hold(projectId, body as never)),
  );

  app.post(
    '/v1/projects/:projectId/release',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'release', params },
        summary: 'End the legal hold of a project',
        body: optionalBody(z.strictObject({})),
        response: takes(releasedSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.release(projectId)),
  );
}
