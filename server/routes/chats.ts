import { z } from 'zod';
import { askRequestSchema } from '../../client/chats.js';
import { chatPageSchema, questionPageSchema, questionSchema } from '../schemas.js';
import {
  type RouteOptions,
  type Routes,
  chatParams,
  cursor,
  described,
  given,
  json,
  keyOf,
  limit,
  projectParams,
  questionParams,
  reads,
  takes,
  waitMs,
} from './common.js';

const tags = ['chats'];

/** Questions about a project. */
export function chatRoutes(app: Routes, { sessionChain }: RouteOptions): void {
  app.get(
    '/v1/projects/:projectId/chats',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listChats', params: projectParams },
        summary: 'The chats of a project, the one with the newest question first',
        querystring: z.strictObject({ limit: limit(50), cursor }),
        response: reads(chatPageSchema),
      },
    },
    async ({ params: { projectId }, query }) => json(await sessionChain.chats(projectId, given(query))),
  );

  app.get(
    '/v1/projects/:projectId/chats/:chatId/questions',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'listQuestions', params: chatParams },
        summary: 'The newest questions of a chat, oldest first',
        description: '`nextCursor` leads to the questions before them.',
        querystring: z.strictObject({ limit: limit(100), cursor }),
        response: reads(questionPageSchema),
      },
    },
    async ({ params: { projectId, chatId }, query }) =>
      json(await sessionChain.questionPage(projectId, { ...given(query), chatId })),
  );

  app.post(
    '/v1/projects/:projectId/chats/:chatId/questions',
    {
      config: { scope: 'start' },
      schema: {
        ...{ tags, operationId: 'ask', params: chatParams },
        summary: "Ask a question that is answered on a read-only fork of the project's session",
        description:
          'Idempotent by message id, which the header Idempotency-Key may carry. 202: it will be answered; Location is the address of the question. 200: it is answered or has failed, within `waitMs` or before.',
        headers: z.looseObject({
          'idempotency-key': z.string().describe('Another way to give the message id').optional(),
        }),
        querystring: z.strictObject({ waitMs }),
        body: described(askRequestSchema.omit({ projectId: true, chatId: true }), {
          messageId: {
            description: "The caller's key of the question; default: a new one",
            examples: ['m-1'],
          },
          text: { description: 'The question', examples: ['Which files hold the search?'] },
          when: { description: 'Which session to read while a chain works on the project; default: now' },
          aside: { description: 'The answer never becomes the head; default: false' },
          workspace: { description: "Absolute path of the project's files, as the worker sees it" },
        }),
        response: { ...takes(questionSchema), 202: questionSchema },
      },
    },
    async (request, reply) => {
      const { projectId, chatId } = request.params;
      const { waitMs = 0 } = request.query;
      const messageId = keyOf(request, 'messageId', request.body.messageId);
      const question = { ...given({ ...request.body, messageId }), projectId, chatId } as never;
      const posted = await sessionChain.postQuestion(question);
      const path = [projectId, 'chats', chatId, 'questions', posted.messageId]
        .map(encodeURIComponent)
        .join('/');
      reply.header('location', `/v1/projects/${path}`);
      const now = await sessionChain.question(projectId, posted.messageId, { chatId, waitMs });
      reply.code(now.state === 'answered' || now.state === 'failed' ? 200 : 202);
      return json(now);
    },
  );

  app.get(
    '/v1/projects/:projectId/chats/:chatId/questions/:messageId',
    {
      config: { scope: 'read' },
      schema: {
        ...{ tags, operationId: 'getQuestion', params: questionParams },
        summary: 'A question as it stands',
        description:
          'With `waitMs` it answers once the question is answered or has failed, or when the time is over.',
        querystring: z.strictObject({ waitMs }),
        response: reads(questionSchema),
      },
    },
    async ({ params: { projectId, chatId, messageId }, query: { waitMs = 0 } }) =>
      json(await sessionChain.question(projectId, messageId, { chatId, waitMs })),
  );
}
