import { z } from 'zod';
import { recordRequestSchema } from '../../client/record-request.js';
import { requireProject } from '../../client/keys.js';
import { sessionMoments } from '../../contracts/question.js';
import { chainStatuses } from '../../contracts/steps.js';
import {
  headSchema,
  nextCursor,
  reconciledSchema,
  recordedSchema,
  recoveredSchema,
  rewoundSchema,
  projectPageSchema,
  projectSchema,
  projectSpendSchema,
  projectStorageSchema,
  entriesSchema,
  entrySchema,
  groupsSchema,
  sessionSchema,
  syncSchema,
  transitionSchema,
  treeSchema,
  unboundSchema,
} from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  cursor,
  described,
  entryParams,
  flag,
  given,
  json,
  limit,
  optionalBody,
  projectParams as params,
  id,
  reads,
  refusals,
  sessionParams,
  several,
  takes,
  waitMs,
  whole,
  within,
} from './common.js';
import type { Caller } from '../caller.js';
import { spendCsv } from '../csv.js';

const tags = ['projects'];
const by = z.enum(['day', 'step', 'model', 'project']).describe('How it is grouped; days are UTC');
const period = {
  since: z.string().describe('From this moment on; ISO 8601; default: 30 days before `until`').optional(),
  until: z.string().describe('Before this moment; ISO 8601; default: now').optional(),
};

/** A project's head, its past, and what moves or repairs it outside chains. */
export function projectRoutes(app: Routes, { sessionChain, redisUrl }: RouteOptions): void {
  app.get(
    '/v1/projects',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'listProjects' },
        summary: 'Projects, in the order of their ids or by when their heads moved',
        querystring: z.strictObject({
          inSync: flag('Whether the newest version names the head').optional(),
          status: several(chainStatuses, 'The status of the newest chain'),
          search: z.string().min(1).max(255).describe('The id contains this, whatever its case').optional(),
          order: z
            .enum(['id', 'moved'])
            .describe('`moved`: the head that moved last comes first; default: id')
            .optional(),
          limit: limit(50),
          cursor,
        }),
        response: reads(projectPageSchema),
      },
    },
    async ({ query, caller }) => json(await sessionChain.projects({ ...given(query), ...within(caller) })),
  );

  app.get(
    '/v1/projects/:projectId',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getProject', params },
        summary: 'A project: its head, its newest chain, whether it is in sync, what it cost',
        querystring: z.strictObject({}),
        response: reads(projectSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.project(projectId)),
  );

  app.get(
    '/v1/projects/:projectId/storage',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getProjectStorage', params, querystring: z.strictObject({}) },
        summary: 'What a project takes in the database and the archive, and what retention frees of it',
        response: reads(projectStorageSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.projectStorage(projectId)),
  );

  const spendQuery = z.strictObject({
    by,
    ...period,
    projectId: id.describe('Only this project').optional(),
    limit: whole(1, 10_000, 'Groups at most, those that cost most; default: all').optional(),
  });
  const spendOf = async ({ by, projectId, ...rest }: z.infer<typeof spendQuery>, caller: Caller) => {
    if (projectId !== undefined) {
      if (caller.projects !== null) requireProject(caller.projects, projectId);
      await sessionChain.head(projectId);
    }
    const only = projectId === undefined ? within(caller) : { projectIds: [projectId] };
    return await sessionChain.spendBy(by, { ...given(rest), ...only });
  };

  app.get(
    '/v1/spend',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'getSpend', querystring: spendQuery },
        summary: 'What was spent, by day, step, model or project',
        response: reads(groupsSchema),
      },
    },
    async ({ query, caller }) => ({ groups: json(await spendOf(query, caller)) }),
  );

  app.get(
    '/v1/spend.csv',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'getSpendCsv', querystring: spendQuery },
        summary: 'The same as a table',
        description: 'RFC 4180, a line per group. No cell is a formula for a spreadsheet.',
        response: {
          ...refusals,
          200: {
            description: 'A line with the names of the columns, and a line per group',
            content: { 'text/csv': { schema: z.string() } },
          },
        },
      },
    },
    async ({ query, caller }, reply) => {
      const groups = await spendOf(query, caller);
      reply.type('text/csv; charset=utf-8; header=present');
      reply.header('content-disposition', `attachment; filename="spend-by-${query.by}.csv"`);
      return spendCsv(query.by, groups);
    },
  );

  app.get(
    '/v1/projects/:projectId/head',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getHead', params },
        summary: 'The latest session of a project',
        description:
          'The ETag is the session id: a request with If-None-Match is answered by 304 while the head is the same. `moment` waits until the running step has ended (`after_step`) or the working chain is closed (`committed`), for `waitMs` at most.',
        headers: z.looseObject({ 'if-none-match': z.string().optional() }),
        querystring: z.strictObject({
          moment: z.enum(sessionMoments).describe('Default: now').optional(),
          waitMs,
        }),
        response: {
          ...reads(headSchema),
          304: z.undefined().describe('The head is the one of If-None-Match'),
        },
      },
    },
    async ({ params: { projectId }, query: { moment = 'now', waitMs: timeoutMs = 0 }, headers }, reply) => {
      const head =
        moment === 'now'
          ? await sessionChain.head(projectId)
          : await sessionChain.sessionFor(projectId, moment, { timeoutMs });
      const etag = `"${head.sessionId ?? ''}"`;
      reply.header('etag', etag).header('cache-control', 'no-cache');
      if (isKnown(headers['if-none-match'], etag)) return await reply.code(304).send();
      return json(head);
    },
  );

  app.get(
    '/v1/projects/:projectId/lineage',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getLineage', params },
        summary: 'The sessions that the head comes from, the newest first',
        querystring: z.strictObject({}),
        response: reads(z.object({ sessionIds: z.array(z.string()) }).meta({ id: 'SessionIds' })),
      },
    },
    async ({ params: { projectId } }) => ({ sessionIds: json(await sessionChain.lineage(projectId)) }),
  );

  app.get(
    '/v1/projects/:projectId/tree',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getTree', params },
        summary: 'The sessions of a project as a tree',
        querystring: z.strictObject({
          limit: whole(1, 10_000, 'The last heads to show; default 200').optional(),
        }),
        response: reads(treeSchema),
      },
    },
    async ({ params: { projectId }, query }) => json(await sessionChain.tree(projectId, given(query))),
  );

  app.get(
    '/v1/projects/:projectId/transitions',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listTransitions', params },
        summary: 'The moves of the head, the newest first',
        querystring: z.strictObject({ limit: limit(100), cursor }),
        response: reads(
          z.object({ transitions: z.array(transitionSchema), nextCursor }).meta({ id: 'TransitionPage' }),
        ),
      },
    },
    async ({ params: { projectId }, query }) =>
      json(await sessionChain.transitionPage(projectId, given(query))),
  );

  app.get(
    '/v1/projects/:projectId/spend',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getProjectSpend', params },
        summary: 'What a project has spent, failed attempts included',
        description: 'With `by` also what was spent from `since` to `until`, by day, step or model.',
        querystring: z.strictObject({ by: by.exclude(['project']).optional(), ...period }),
        response: reads(projectSpendSchema),
      },
    },
    async ({ params: { projectId }, query: { by, ...period } }) => {
      const spent = json(await sessionChain.spend(projectId));
      if (by === undefined) return spent;
      const groups = await sessionChain.spendBy(by, { ...given(period), projectIds: [projectId] });
      return { ...spent, groups: json(groups) };
    },
  );

  app.get(
    '/v1/projects/:projectId/sessions/:sessionId',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getSession', params: sessionParams },
        summary: 'A session: what it forked, the condition of its transcript, the attempt that wrote it',
        querystring: z.strictObject({}),
        response: reads(sessionSchema),
      },
    },
    async ({ params: { projectId, sessionId } }) => json(await sessionChain.session(projectId, sessionId)),
  );

  app.get(
    '/v1/projects/:projectId/sessions/:sessionId/entries',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listEntries', params: sessionParams },
        summary: 'The entries of a session, oldest first',
        description: 'A session may be running: what is stored later comes after the last cursor.',
        querystring: z.strictObject({
          limit: limit(100),
          cursor: z
            .string()
            .max(500)
            .describe('`cursor` of an entry, or `nextCursor` of the page before')
            .optional(),
          raw: flag('Whether each entry also has what Claude Code wrote; default true').optional(),
          maxText: whole(
            1,
            10_000_000,
            'Texts of parts are cut to so many characters; default: whole',
          ).optional(),
        }),
        response: reads(entriesSchema),
      },
    },
    async ({ params, query: { cursor: after, ...query } }) =>
      json(await sessionChain.entries({ ...params, ...given({ ...query, after }) })),
  );

  app.get(
    '/v1/projects/:projectId/sessions/:sessionId/entries/:cursor',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getEntry', params: entryParams },
        summary: 'One entry of a session, whole',
        querystring: z.strictObject({}),
        response: reads(entrySchema),
      },
    },
    async ({ params }) => json(await sessionChain.entry(params)),
  );

  app.post(
    '/v1/projects/:projectId/rewind',
    {
      config: { scope: 'start' },
      schema: {
        ...{ tags, operationId: 'rewind', params },
        summary: 'Take the conversation back to an earlier transition',
        description:
          'A copy of the session of the transition becomes the head. The files of the workspace are not taken back.',
        body: z.strictObject({
          to: z
            .int()
            .min(1)
            .meta({ description: 'The number of the transition to go back to', examples: [12] }),
          key: z.string().describe('With it the call may be repeated, and moves nothing again').optional(),
          versionId: z.string().describe('The version that moves along; default: the newest').optional(),
          dryRun: z.boolean().describe('Report what would be done, and do nothing').optional(),
        }),
        response: takes(rewoundSchema),
      },
    },
    async ({ params: { projectId }, body }) =>
      json(await sessionChain.rewind(projectId, given(body) as typeof body & object as never)),
  );

  app.post(
    '/v1/projects/:projectId/record',
    {
      config: { scope: 'start' },
      schema: {
        ...{ tags, operationId: 'recordSession', params },
        summary: 'Record a Claude operation that ran outside a chain',
        description: 'Its session becomes the head.',
        body: described(recordRequestSchema.omit({ projectId: true }), {
          versionId: { description: 'Default: the newest version of the project' },
          sessionId: { description: 'The session on which the operation ended' },
          source: { description: 'The name of a step, or a reserved source', examples: ['docs'] },
          metrics: { description: 'What it took; absent counts are 0, an absent cost is unknown' },
          notInStore: { description: 'Record it though its transcript is not in the store; default false' },
        }),
        response: takes(recordedSchema),
      },
    },
    async ({ params: { projectId }, body }) =>
      json(await sessionChain.recordSession({ projectId, ...body } as never)),
  );

  app.post(
    '/v1/projects/:projectId/recover',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'recover', params },
        summary: 'Give up a head that is lost, and say what the next chain continues from',
        body: optionalBody(
          z.strictObject({
            sessionId: z.string().describe('Default: the head').optional(),
            dryRun: z.boolean().describe('Report what would be done, and do nothing').optional(),
          }),
        ),
        response: takes(recoveredSchema),
      },
    },
    async ({ params: { projectId }, body: { sessionId, dryRun } }) =>
      json(await sessionChain.validateAndRecover(projectId, sessionId, given({ dryRun }))),
  );

  app.post(
    '/v1/projects/:projectId/reconcile',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'reconcile', params },
        summary: 'Close the chains of a project whose workflows are gone',
        body: optionalBody(
          z.strictObject({
            dryRun: z.boolean().describe('Report what would be done, and do nothing').optional(),
          }),
        ),
        response: takes(reconciledSchema),
      },
    },
    async ({ params: { projectId }, body }) => json(await sessionChain.reconcile(projectId, given(body))),
  );

  app.post(
    '/v1/projects/:projectId/unbind',
    {
      config: { scope: 'admin' },
      schema: {
        ...{ tags, operationId: 'unbindWorkspace', params },
        summary: "Let go of a project's folder",
        body: optionalBody(z.strictObject({})),
        response: takes(unboundSchema),
      },
    },
    async ({ params: { projectId } }) => json(await sessionChain.unbindWorkspace(projectId)),
  );

  const report = async (only: { projectId: string } | { projectIds?: readonly string[] }, limit?: number) =>
    json(await sessionChain.syncReport({ ...only, ...given({ limit, redisUrl }) }));

  app.get(
    '/v1/projects/:projectId/sync',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getProjectSync', params },
        summary: 'Whether a project is in sync, and why it is not',
        querystring: z.strictObject({}),
        response: reads(syncSchema),
      },
    },
    async ({ params: { projectId } }) => await report({ projectId }),
  );

  app.get(
    '/v1/sync',
    {
      config: { scope: 'read', projects: 'filtered' },
      schema: {
        ...{ tags, operationId: 'getSync' },
        summary: 'How many projects are in sync, and why the others are not',
        querystring: z.strictObject({
          limit: whole(
            0,
            10_000,
            'Drifted projects to show; 0 only counts, which is fast; default 100',
          ).optional(),
        }),
        response: reads(syncSchema),
      },
    },
    async ({ query: { limit }, caller }) => await report(within(caller), limit),
  );
}

/** Whether If-None-Match names this version. */
function isKnown(header: string | undefined, etag: string): boolean {
  const known = header?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? [];
  return known.includes(etag) || known.includes('*');
}
