import { z } from 'zod';
import { retentionRunSchema, retentionStatusSchema } from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  given,
  id,
  json,
  optionalBody,
  reads,
  takes,
  waitMs,
} from './common.js';

const tags = ['retention'];

/** What is old and not needed: when it goes, and letting it go now. */
export function retentionRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.get(
    '/v1/retention',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getRetention', querystring: z.strictObject({}) },
        summary: 'When retention runs, the last run, the policies of the workers, the files of the archive',
        response: reads(retentionStatusSchema),
      },
    },
    async () => json(await sessionChain.retentionStatus()),
  );

  app.post(
    '/v1/retention/runs',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'runRetention' },
        summary: 'Run retention now, or say what a run would do',
        description: '202: it runs; Location is its address. 200: it has ended, within `waitMs`.',
        querystring: z.strictObject({ waitMs }),
        body: optionalBody(
          z.strictObject({
            projectId: id.describe('Only this project').optional(),
            dryRun: z.boolean().describe('Write nothing; default: false').optional(),
          }),
        ),
        response: { ...takes(retentionRunSchema), 202: retentionRunSchema },
      },
    },
    async ({ body, query: { waitMs = 0 } }, reply) => {
      const started = await sessionChain.startRetention(given(body));
      reply.header('location', `/v1/retention/runs/${encodeURIComponent(started.id)}`);
      const now = await sessionChain.retentionRun(started.id, { waitMs });
      reply.code(now.state === 'running' ? 202 : 200);
      return json(now);
    },
  );

  app.get(
    '/v1/retention/runs/:runId',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getRetentionRun', params: z.strictObject({ runId: id }) },
        summary: 'A run of retention as it stands',
        description: 'With `waitMs` it answers once the run has ended, or when the time is over.',
        querystring: z.strictObject({ waitMs }),
        response: reads(retentionRunSchema),
      },
    },
    async ({ params: { runId }, query: { waitMs = 0 } }) =>
      json(await sessionChain.retentionRun(runId, { waitMs })),
  );
}
