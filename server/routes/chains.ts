import { z } from 'zod';
import { startRequestSchema } from '../../client/start-request.js';
import { failureCodes } from '../../contracts/failures.js';
import { chainStatuses } from '../../contracts/steps.js';
import { waitKinds } from '../../contracts/waiting.js';
import {
  attemptSchema,
  briefSchema,
  chainCountsSchema,
  changesSchema,
  chainDetailsSchema,
  chainPageSchema,
  chainSpendSchema,
  chainStateSchema,
  progressSchema,
  startedChainSchema,
  timelineSchema,
} from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  chainParams as params,
  cursor,
  described,
  flag,
  given,
  json,
  keyOf,
  limit,
  optionalBody,
  projectParams,
  reads,
  several,
  takes,
  waitMs,
  whole,
  within,
} from './common.js';
import { chainKey } from '../../client/chain-key.js';

const tags = ['chains'];

const filter = {
  versionId: z.string().optional(),
  buildId: z.string().optional(),
  status: several(chainStatuses, 'The status'),
  waitingFor: several(waitKinds, 'Open, and waiting for this'),
  since: z.string().describe('Asked for at this moment or later; ISO 8601').optional(),
  stuckForMs: whole(0, 1_000_000_000_000, 'Open, and without progress for longer than so many ms').optional(),
  failureCode: z.enum(failureCodes).describe('Failed with this code').optional(),
  askTemporal: flag(
    'Also ask Temporal which task queues no worker polls, and which chains stand still',
  ).optional(),
  limit: limit(50),
  cursor,
};

const body = described(startRequestSchema.omit({ projectId: true }), {
  versionId: { description: 'A version of the project', examples: ['shop-v2'] },
  buildId: { description: "The caller's key of the chain; default: the version id" },
  workspace: {
    description: "Absolute path of the project's files, as the worker sees it",
    examples: ['/srv/projects/shop'],
  },
  mode: { description: 'Default: `initial` for a project without a session, else `update`' },
  instruction: { description: "What to build, in the user's words", examples: ['Add a search field'] },
  steps: { description: "A subset of the steps of the workers' definition; default: all" },
  limits: {
    description: "Limits of steps, instead of those of the worker's definition: ms, model turns, US dollars",
  },
  model: { description: 'The model of every step' },
  compactThresholdTokens: { description: 'Context size below which compaction is skipped' },
  budget: { description: 'The limits of the whole chain: US dollars, model turns, ms' },
  reset: { description: 'When the build starts a fresh session; 0 for never' },
  recover: { description: 'Continue from the nearest ancestor in the store' },
  createRows: { description: 'Insert missing rows of projects and project_versions' },
});

/** Starting, reading and cancelling chains. */
export function chainRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.get(
    '/v1/chains',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'listChains' },
        summary: 'Chains of all projects, the newest first',
        querystring: z.strictObject(filter),
        response: reads(chainPageSchema),
      },
    },
    async ({ query, caller }) => json(await sessionChain.chains({ ...given(query), ...within(caller) })),
  );

  app.get(
    '/v1/chains/counts',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'countChains' },
        summary: 'How many chains work, wait and for what, and how many ended and how',
        querystring: z.strictObject({
          since: z.string().describe('ISO 8601; default: a day ago').optional(),
        }),
        response: reads(chainCountsSchema),
      },
    },
    async ({ query, caller }) => json(await sessionChain.chainCounts({ ...given(query), ...within(caller) })),
  );

  app.get(
    '/v1/projects/:projectId/chains',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listProjectChains', params: projectParams },
        summary: 'Chains of a project, the newest first',
        querystring: z.strictObject(filter),
        response: reads(chainPageSchema),
      },
    },
    async ({ params: { projectId }, query }) =>
      json(await sessionChain.chains({ ...given(query), projectId })),
  );

  app.post(
    '/v1/projects/:projectId/chains',
    {
      config: { scope: 'start' },
      schema: {
        ...{ tags, operationId: 'startChain', params: projectParams },
        summary: 'Start the chain of a build',
        description:
          'Idempotent by build id, which the header Idempotency-Key may carry: a second start of the same key is 200 and starts nothing. Location is the address of the chain.',
        headers: z.looseObject({
          'idempotency-key': z.string().describe('Another way to give the build id').optional(),
        }),
        body,
        response: { ...takes(startedChainSchema), 202: startedChainSchema },
      },
    },
    async (request, reply) => {
      const { projectId } = request.params;
      const buildId = keyOf(request, 'buildId', request.body.buildId);
      const started = await sessionChain.start({
        ...given({ ...request.body, buildId }),
        projectId,
      } as never);
      const { versionId, buildId: build } = started;
      const path = [projectId, 'chains', versionId, build].map(encodeURIComponent).join('/');
      reply.code(started.alreadyStarted ? 200 : 202).header('location', `/v1/projects/${path}`);
      return json(started);
    },
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChain', params },
        summary: 'Everything that is known of a chain',
        description: 'It reads transcripts: for a look at where the chain stands, `state` is cheaper.',
        querystring: z.strictObject({}),
        response: reads(chainDetailsSchema),
      },
    },
    async ({ params }) => json(await sessionChain.chain(chainKey(params))),
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/state',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainState', params },
        summary: 'Where a chain stands',
        description: 'With `waitMs` it answers once the chain is closed, or when the time is over.',
        querystring: z.strictObject({ waitMs }),
        response: reads(chainStateSchema),
      },
    },
    async ({ params, query: { waitMs = 0 } }) => {
      const key = chainKey(params);
      if (waitMs > 0) {
        const signal = AbortSignal.timeout(waitMs);
        await sessionChain.wait(key, { signal }).catch((error: unknown) => {
          if (!signal.aborted) throw error;
        });
      }
      return json(await sessionChain.state(key));
    },
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/attempts',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listAttempts', params },
        summary: 'The attempts of a chain, step by step',
        querystring: z.strictObject({}),
        response: reads(
          z
            .object({ attempts: z.array(z.object({ step: z.string(), ...attemptSchema.shape })) })
            .meta({ id: 'Attempts' }),
        ),
      },
    },
    async ({ params }) => {
      const { steps } = await sessionChain.chain(chainKey(params));
      return {
        attempts: json(steps.flatMap(({ step, journal }) => journal.map((one) => ({ step, ...one })))),
      };
    },
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/timeline',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainTimeline', params },
        summary: 'Where the time of a chain went: queue, agent, model, tools, waits',
        description: 'It reads transcripts. Of a long chain short spans are merged (`isMerged`).',
        querystring: z.strictObject({}),
        response: reads(timelineSchema),
      },
    },
    async ({ params }) => json(await sessionChain.timeline(chainKey(params))),
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/changes',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainChanges', params },
        summary: 'What a chain wrote with file tools, as diffs',
        description:
          'What shell commands wrote is not known. Long changes are cut (`isCut`), later ones left out (`leftOut`). It reads transcripts.',
        querystring: z.strictObject({}),
        response: reads(changesSchema),
      },
    },
    async ({ params }) => json(await sessionChain.changes(chainKey(params))),
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/spend',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainSpend', params },
        summary: 'What a chain has spent over all its runs, by step',
        querystring: z.strictObject({}),
        response: reads(chainSpendSchema),
      },
    },
    async ({ params }) => json(await sessionChain.chainSpend(chainKey(params))),
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/brief',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainBrief', params },
        summary: "What the chain's fresh session was told about the project's state",
        querystring: z.strictObject({}),
        response: reads(briefSchema),
      },
    },
    async ({ params }) => ({ brief: json(await sessionChain.brief(chainKey(params))) }),
  );

  app.get(
    '/v1/projects/:projectId/chains/:versionId/:buildId/progress',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getChainProgress', params },
        summary: 'What the running step is doing right now, as Temporal knows it',
        querystring: z.strictObject({}),
        response: reads(progressSchema),
      },
    },
    async ({ params }) => ({ progress: json(await sessionChain.progress(chainKey(params))) }),
  );

  app.post(
    '/v1/projects/:projectId/chains/:versionId/:buildId/cancel',
    {
      config: { scope: 'start' },
      schema: {
        ...{ tags, operationId: 'cancelChain', params },
        summary: 'Ask a chain to stop',
        description:
          'The head stays at the last committed session. 202: it was told; its state says when it has stopped.',
        body: optionalBody(
          z.strictObject({
            force: z
              .boolean()
              .describe('Close a chain whose workflow is gone, or of another Temporal')
              .optional(),
          }),
        ),
        response: { ...takes(chainStateSchema), 202: chainStateSchema },
      },
    },
    async ({ params, body }, reply) => {
      const key = chainKey(params);
      await sessionChain.cancel(key, given(body));
      reply.code(202);
      return json(await sessionChain.state(key));
    },
  );
}
