import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { createKeys } from '../../client/keys.js';
import { createSessionChain } from '../../client/session-chain.js';
import { createHttpClient } from '../../http/client.js';
import { createApp } from '../../server/app.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { testProgram } from '../support/programs.js';

/** The routes of the HTTP server, on a chain that a real worker has run. Each answer is compared with docs/openapi.json. */

interface Operation {
  operationId: string;
  responses: Record<string, { $ref?: string; content?: Record<string, { schema?: object }> }>;
}
const document = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; responses: Record<string, never> };
};

let stack: ChainStack;
let app: Awaited<ReturnType<typeof createApp>>;
let base: string;
let key: string;
let projectId: string;
let chain: string;

beforeAll(async () => {
  stack = await startChainStack('http', { ownNamespace: true, heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  const keys = createKeys(stack.database.pool);
  key = (await keys.create({ name: 'test', scope: 'admin' })).key;
  app = await createApp({
    sessionChain: stack.sessionChain,
    keys,
    limits: { requestsPerMinute: 1_000_000 },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  await stack.startWorker();
});

afterAll(async () => {
  await app.close();
  await stack.stop();
});

interface Answered {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

/** Calls the server, and requires that its document has the path, the status and the shape of the answer. */
async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const answer = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
  const operation = operationOf(method, path);
  if (operation) {
    const declared = operation.responses[String(response.status)] ?? operation.responses['default'];
    if (!declared) throw new Error(`${method} ${path} answered ${response.status}, which is not declared.`);
    const [type = ''] = (response.headers.get('content-type') ?? '').split(';');
    const { content } = resolved(declared);
    const schema = content?.[type]?.schema;
    if (text !== '' && !schema) throw new Error(`${method} ${path} answered ${type}, which is not declared.`);
    if (schema) {
      const { error } = schemaOf(schema).safeParse(answer);
      if (error) throw new Error(`${method} ${path} does not answer as declared: ${error.message}`);
    }
  }
  return { status: response.status, headers: response.headers, body: answer };
}

function operationOf(method: string, path: string): Operation | undefined {
  const [plain = ''] = path.split('?');
  const found = Object.entries(document.paths)
    .filter(([template]) => new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(plain))
    // A path without parameters comes before one with.
    .sort(([one], [other]) => one.split('{').length - other.split('{').length)[0];
  return found?.[1][method.toLowerCase()];
}

function resolved({ $ref, ...response }: Operation['responses'][string]): {
  content?: Record<string, { schema?: object }>;
} {
  return $ref === undefined ? response : (document.components.responses[$ref.split('/').at(-1) ?? ''] ?? {});
}

function schemaOf(schema: object): z.ZodType {
  const all = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(all.replaceAll('#/components/schemas/', '#/$defs/')) as never);
}

describe('the HTTP server', () => {
  it('tells its document, which docs/openapi.json is', async () => {
    expect((await call('GET', '/openapi.json')).body).toEqual(document);
  });

  it('runs a chain, answers questions, and shows everything that it knows of them', async () => {
    // The names of the document's examples, so that what is made from them finds something.
    const request = { ...stack.request('shop'), versionId: 'shop-v2' };
    projectId = request.projectId;
    const project = `/v1/projects/${projectId}`;
    const { projectId: _, ...body } = request;
    const started = await call('POST', `${project}/chains`, body, { 'idempotency-key': '"build-1"' });
    expect(started).toMatchObject({ status: 202, body: { buildId: 'build-1', alreadyStarted: false } });
    chain = started.headers.get('location') ?? '';
    expect(chain).toBe(`${project}/chains/${request.versionId}/build-1`);
    const ended = async (): Promise<Answered> => {
      const state = await call('GET', `${chain}/state?waitMs=60000`);
      return ['queued', 'running', 'waiting'].includes(String(state.body['status'])) ? await ended() : state;
    };
    expect((await ended()).body['status']).toBe('completed');
    expect(await call('POST', `${project}/chains`, { ...body, buildId: 'build-1' })).toMatchObject({
      status: 200,
      body: { alreadyStarted: true, result: { status: 'completed' } },
    });

    const head = await call('GET', `${project}/head`);
    const { sessionId } = head.body as { sessionId: string };
    expect(head.headers.get('etag')).toBe(`"${sessionId}"`);
    const same = await call('GET', `${project}/head`, undefined, {
      'if-none-match': `W/"x", "${sessionId}"`,
    });
    expect(same).toMatchObject({ status: 304, body: {} });
    expect((await call('GET', `${project}/head`, undefined, { 'if-none-match': '"x"' })).status).toBe(200);

    const questions = `${project}/chats/${projectId}/questions`;
    const ask = async () => await call('POST', questions, { messageId: 'm-1', text: 'What is there?' });
    let asked = await ask();
    // A busy machine may take longer than the 10 s after which a question is to be asked again.
    await until(async () => asked.status !== 503 || (asked = await ask()).status !== 503);
    expect([200, 202]).toContain(asked.status);
    expect(asked.headers.get('location')).toBe(`${questions}/m-1`);
    const answered = await call('GET', `${questions}/m-1?waitMs=60000`);
    expect(answered.body).toMatchObject({ state: 'answered', reply: expect.stringMatching(/\w/) as unknown });
    const again = await call(
      'POST',
      `${questions}?waitMs=1`,
      { text: 'What is there?' },
      { 'idempotency-key': 'm-1' },
    );
    expect(again).toMatchObject({ status: 200, body: answered.body });
    expect(await call('POST', questions, { messageId: 'm-1', text: 'And else?' })).toMatchObject({
      status: 409,
      body: { code: 'MESSAGE_ID_REUSED', category: 'conflict', retryable: false },
    });

    expect((await call('GET', project)).body).toMatchObject({
      head: { sessionId: answered.body['sessionId'] },
      lastChain: { versionId: 'shop-v2', buildId: 'build-1', status: 'completed' },
    });
    expect((await call('GET', '/v1/projects/unknown')).body['code']).toBe('PROJECT_NOT_FOUND');

    for (const path of [
      ...['', '/state', '/attempts', '/spend', '/brief', '/progress', '/timeline', '/changes'].map(
        (part) => `${chain}${part}`,
      ),
      ...['/lineage', '/tree', '/tree?limit=1', '/spend', '/spend?by=step', '/sync', '/chains'].map(
        (part) => `${project}${part}`,
      ),
      `${project}/chains?status=completed&status=failed&limit=1&askTemporal=true`,
      ...['', '/entries?limit=3', '/entries?raw=false&maxText=9', '/entries/1.0'].map(
        (part) => `${project}/sessions/${sessionId}${part}`,
      ),
      `${project}/head?moment=committed&waitMs=1`,
      ...[
        questions,
        '/v1/projects',
        '/v1/chains?stuckForMs=1',
        '/v1/chains/counts',
        '/v1/spend?by=model',
        '/v1/sync?limit=1',
        ...['/v1/server', '/v1/workers', '/v1/definitions', '/v1/keys', '/v1/doctor'],
        `/v1/spend?by=project&projectId=${projectId}&until=2100-01-01&limit=1`,
        ...['sessions', 'attempts', 'ends'].map((list) => `/v1/integrity/${list}?limit=1`),
      ],
    ]) {
      expect([path, (await call('GET', path)).status]).toEqual([path, 200]);
    }

    // Page by page, each transition once.
    const seqs: unknown[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body: page }: Answered = await call(
        'GET',
        `${project}/transitions?limit=2${cursor && `&cursor=${cursor}`}`,
      );
      seqs.push(...(page['transitions'] as { seq: number }[]).map(({ seq }) => seq));
      cursor = page['nextCursor'] as string | null;
    }
    expect(seqs).toEqual([5, 4, 3, 2, 1]);

    expect(await call('POST', `${project}/rewind`, { to: 2, dryRun: true })).toMatchObject({
      status: 200,
      body: { sessionId: null, toSeq: 2, transitionSeq: 6 },
    });
    expect((await call('POST', `${project}/recover`, { dryRun: true })).body).toMatchObject({
      outcome: 'valid',
    });
    for (const body of [{}, { dryRun: true }])
      expect((await call('POST', `${project}/reconcile`, body)).body).toEqual({
        released: [],
        endingInMs: null,
      });
    const csv = await fetch(`${base}/v1/spend.csv?by=step`, { headers: { authorization: `Bearer ${key}` } });
    expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(await csv.text()).toMatch(/^step,cost_usd,attempts,.*\r\n"build",\d/);
    for (const query of ['by=hour', 'by=day&since=2026-11-02&until=2026-11-01', 'by=day&projectId=a%20b'])
      expect((await call('GET', `/v1/spend?${query}`)).status).toBe(400);
    expect((await call('GET', '/v1/spend.csv?by=day&projectId=unknown')).status).toBe(404);
    const recorded = { sessionId: answered.body['sessionId'], source: 'docs' };
    expect((await call('POST', `${project}/record`, recorded)).body).toMatchObject({ alreadyRecorded: true });
    expect(await call('POST', `${chain}/cancel`)).toMatchObject({
      status: 404,
      body: { code: 'CHAIN_NOT_FOUND' },
    });
    expect((await call('POST', `${project}/unbind`)).body).toMatchObject({
      projectId,
      path: request.workspace,
    });

    const http = createHttpClient({ baseUrl: `${base}/`, key });
    const { data } = await http.GET('/v1/projects/{projectId}/head', { params: { path: { projectId } } });
    expect(data?.sessionId).toBe((answered.body as { sessionId: string }).sessionId);
    const { error } = await http.GET('/v1/projects/{projectId}/head', {
      params: { path: { projectId: 'unknown' } },
    });
    expect(error).toMatchObject({ status: 404, code: 'PROJECT_NOT_FOUND' });
  });

  it('cancels a chain', async () => {
    const request = stack.request();
    const held = stack.model.holdNext(({ bodyText }) => bodyText.includes(request.projectId));
    const { projectId: own, ...body } = request;
    const started = await call('POST', `/v1/projects/${own}/chains`, body);
    await held.reached;
    const at = started.headers.get('location') ?? '';
    expect((await call('POST', `${at}/cancel`, { force: false })).status).toBe(202);
    held.release();
    expect((await call('GET', `${at}/state?waitMs=60000`)).body['status']).toBe('cancelled');
  });

  it('erases a project', async () => {
    const { projectId, ...body } = stack.request();
    const project = `/v1/projects/${projectId}`;
    await call('POST', `${project}/chains`, { ...body, steps: ['build'] });
    expect(await call('GET', `${project}/erasure`)).toMatchObject({
      status: 404,
      body: { code: 'ERASURE_NOT_FOUND' },
    });
    expect(await call('POST', `${project}/erase`, { dryRun: true })).toMatchObject({
      status: 200,
      body: { state: 'planned', counts: { projects: 1 } },
    });
    const erasing = await call('POST', `${project}/erase`, { by: 'Ada', reason: 'Why not' });
    expect([erasing.status, erasing.headers.get('location')]).toEqual([202, `${project}/erasure`]);
    const erasure = async () => (await call('GET', `${project}/erasure`)).body;
    await until(async () => (await erasure())['state'] === 'finished');
    expect(await erasure()).toMatchObject({
      erasureId: erasing.body['erasureId'],
      certificate: { requestedBy: expect.stringMatching(/^Ada \(key [0-9a-f]{12}\)$/), reason: 'Why not' },
    });
    expect((await call('GET', project)).status).toBe(404);
  });

  it('brings transitions of a project back, and puts it on hold', async () => {
    const projectId = `p-${randomUUID()}`;
    const project = `/v1/projects/${projectId}`;
    await stack.database.pool.query(
      `WITH project AS (
         INSERT INTO projects (project_id, session_seq, last_ai_session_id) VALUES ($1, 2, $3)
       ), transitions AS (
         INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source, seq, prev_seq, created_at)
         VALUES ($1, NULL, $2, 'import', 1, NULL, '2026-02-10'), ($1, $2, $3, 'import', 2, 1, '2026-03-10')
       )
       SELECT`,
      [projectId, randomUUID(), randomUUID()],
    );
    await stack.database.pool.query('SELECT session_chain.archive_transitions($1, 30, 10, true)', [
      projectId,
    ]);
    const none = { status: 404, body: { code: 'NOT_IN_ARCHIVE' } };
    expect(await call('GET', `${project}/restore`)).toMatchObject(none);
    const asked = await call('POST', `${project}/restore`, { month: '2026-02', keepDays: 7 });
    expect(asked.headers.get('location')).toBe(`${project}/restore`);
    const restoration = await call('GET', `${project}/restore?waitMs=60000`);
    expect(restoration).toMatchObject({
      status: 200,
      body: { state: 'finished', restored: { files: 0, transitions: 1 }, failure: null },
    });
    expect((await call('GET', `${project}/hold`)).body).toMatchObject({
      hold: null,
      restoredUntil: (restoration.body['restored'] as { keptUntil: string }).keptUntil,
    });
    expect(await call('POST', `${project}/restore?waitMs=60000`, { month: '2026-02' })).toMatchObject({
      status: 200,
      body: { state: 'failed', restored: null, failure: { code: 'NOT_IN_ARCHIVE' } },
    });

    const held = { status: 200, body: { hold: { reason: 'case 17/4', by: 'legal' } } };
    expect(await call('POST', `${project}/hold`, { reason: ' case 17/4', by: 'legal' })).toMatchObject(held);
    expect(await call('GET', `${project}/hold`)).toMatchObject(held);
    for (const released of [true, false]) {
      expect((await call('POST', `${project}/release`)).body).toMatchObject({ hold: null, released });
    }
  });

  it.each<[string, string, unknown, number, RegExp]>([
    ['GET', '/v1/projects/-/head', undefined, 400, /\/projectId: "-" is malformed: use 1 to 255/],
    ['GET', `/v1/projects/${'p'.repeat(256)}/head`, undefined, 400, /\/projectId: .* is malformed/],
    ['GET', '/v1/projects/%ZZ/head', undefined, 400, /not a valid url component/i],
    ['GET', '/v1/projects/shop%2F..%2Fother/head', undefined, 400, /is malformed/],
    ['GET', '/v1/projects/unknown/head', undefined, 404, /unknown/],
    ['GET', '/v1/projects/unknown/heads', undefined, 404, /Nothing is at GET/],
    ['GET', '/v1/projects/unknown/head/', undefined, 404, /Nothing is at GET/],
    ['GET', '/v1/chains?limt=5', undefined, 400, /querystring: Unrecognized key: "limt"/],
    ['GET', '/v1/chains?limit=0', undefined, 400, /\/limit: /],
    ['GET', '/v1/chains?limit=1e3', undefined, 400, /\/limit: must be a whole number/],
    ['GET', '/v1/chains?limit=1&limit=2', undefined, 400, /\/limit: must be a whole number, given once/],
    ['GET', '/v1/chains?status=odd', undefined, 400, /\/status\/0: /],
    ['GET', '/v1/chains?since=yesterday', undefined, 400, /since: must be ISO 8601/],
    ['GET', '/v1/chains?cursor=MQ', undefined, 400, /not one that a list of chains returned/],
    [
      'GET',
      '/v1/projects/unknown/transitions?cursor=-1',
      undefined,
      400,
      /not one that a page of transitions returned/,
    ],
    [
      'GET',
      '/v1/projects/unknown/sessions/s/entries?cursor=1',
      undefined,
      400,
      /not one that a page of entries returned/,
    ],
    ['POST', '/v1/projects/unknown/erase', { by: ' ' }, 400, /\/by: /],
    ['POST', '/v1/projects/unknown/erase', { dryrun: true }, 400, /Unrecognized key: "dryrun"/],
    [
      'POST',
      '/v1/projects/unknown/erase',
      { by: 'Ada' },
      404,
      /Nothing of the project unknown is in this database/,
    ],
    ['POST', '/v1/projects/unknown/hold', { reason: ' ', by: 'legal' }, 400, /\/reason: must not be empty/],
    ['POST', '/v1/projects/unknown/hold', { reason: 'case 17/4', by: 'legal' }, 404, /unknown/],
    ['POST', '/v1/projects/unknown/release', { hold: false }, 400, /Unrecognized key: "hold"/],
    ['POST', '/v1/projects/unknown/restore', { month: '2026-13' }, 400, /\/month: must be a month/],
    [
      'POST',
      '/v1/projects/unknown/restore',
      { month: '2026-03', sessionId: 's' },
      400,
      /give one of the two/,
    ],
    ['POST', '/v1/projects/unknown/restore', { keepDays: 0 }, 400, /\/keepDays: /],
    ['GET', '/v1/spend', undefined, 400, /\/by: /],
    ['GET', '/v1/projects/unknown/head?waitMs=60001', undefined, 400, /\/waitMs: /],
    ['GET', '/v1/projects/shop/chains/v/chat:1', undefined, 400, /The build id "chat:1" is reserved/],
    ['POST', '/v1/projects/shop/chains', undefined, 400, /body/],
    ['POST', '/v1/projects/shop/chains', '{', 400, /body/i],
    ['POST', '/v1/projects/shop/chains', '[]', 400, /expected object/],
    ['POST', '/v1/projects/shop/chains', '{"__proto__":{},"versionId":"v"}', 400, /not valid JSON/i],
    [
      'POST',
      '/v1/projects/shop/chains',
      { versionId: 'v', workspace: 'here', steps: [], foo: 1 },
      400,
      /\/workspace: must be an absolute path.*\/steps: must name.*"foo"/,
    ],
    [
      'POST',
      '/v1/projects/shop/chains',
      { versionId: 'v', workspace: '/w', projectId: 'other' },
      400,
      /"projectId"/,
    ],
    [
      'POST',
      '/v1/projects/shop/chains',
      { versionId: 'v', workspace: '/w', steps: Array.from({ length: 1_000 }, () => '') },
      400,
      /^.{1,1500}; and 980 more\.$/,
    ],
    ['POST', '/v1/projects/unknown/chains', { versionId: 'v', workspace: '/w' }, 404, /unknown/],
    ['POST', '/v1/projects/shop/rewind', { to: 1.5 }, 400, /\/to: /],
    ['POST', '/v1/projects/shop/chats/c/questions', { text: ' ' }, 400, /\/text: must not be empty/],
    ['POST', '/v1/projects/shop/chats/c/questions', { text: 'x'.repeat(1_100_000) }, 413, /too large/],
  ])('refuses the bad request %#: %s', async (method, path, body, status, detail) => {
    const answer = await call(method, path, body);
    expect(answer).toMatchObject({
      status,
      body: { type: 'about:blank', status, detail: expect.stringMatching(detail) as unknown },
    });
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(answer.body['remedy']).toMatch(/\w/);
  });

  it('refuses a body that is not JSON, and a key that differs from the body', async () => {
    const start = '/v1/projects/shop/chains';
    expect((await call('POST', start, '<a/>', { 'content-type': 'text/xml' })).status).toBe(415);
    const body = { versionId: 'v', workspace: '/w', buildId: 'one' };
    expect(await call('POST', start, body, { 'idempotency-key': 'two' })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('differs from buildId') as unknown },
    });
  });

  it('answers a wrong method on every path by 405 and what is allowed, and OPTIONS by that alone', async () => {
    for (const [template, operations] of Object.entries(document.paths)) {
      const path = template.replace(/\{\w+\}/g, 'x');
      const allowed = Object.keys(operations).map((one) => one.toUpperCase());
      const hasHead = allowed.includes('GET') && !path.endsWith('/stream');
      const allow = [...allowed, ...(hasHead ? ['HEAD'] : []), 'OPTIONS'].sort().join(', ');
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(
        (one) => !allowed.includes(one),
      )) {
        const { status, headers } = await call(method, path);
        expect([method, path, status, headers.get('allow')]).toEqual([method, path, 405, allow]);
      }
      const options = await call('OPTIONS', path);
      expect([options.status, options.headers.get('allow')]).toEqual([204, allow]);
    }
  });

  it('keeps to its document whatever Schemathesis makes of it', async () => {
    const checks = [
      ...['not_a_server_error', 'status_code_conformance', 'content_type_conformance'],
      ...['response_headers_conformance', 'response_schema_conformance', 'unsupported_method'],
    ];
    // It asks about one project, and would erase it.
    const left = ['--exclude-operation-id', 'eraseProject'];
    const args = [
      ...['run', `${base}/openapi.json`, '--header', `Authorization: Bearer ${key}`],
      ...left,
      ...['--checks', checks.join(), '--exclude-path-regex', '/stream$', '--max-examples', '8'],
      // By itself it gives an answer 10 s, as long as a question may wait for a worker.
      ...['--request-timeout', '240'],
      ...[
        '--phases',
        'examples,coverage,fuzzing',
        '--seed',
        '1',
        '--generation-database',
        'none',
        '--no-color',
      ],
    ];
    const { code, said } = await new Promise<{ code: unknown; said: string }>((resolve) => {
      execFile(
        testProgram('schemathesis'),
        args,
        { cwd: stack.root, maxBuffer: 1e8 },
        (error, stdout, stderr) => resolve({ code: error?.code ?? 0, said: stdout + stderr }),
      );
    });
    if (code !== 0) throw new Error(said);
    expect(said).toMatch(/\b\d{3,} generated, \d{3,} passed/);
  });

  // After Schemathesis, which asks again in whatever chat it learns of.
  it('refuses a question that no worker takes up', async () => {
    const lonely = createSessionChain({
      pool: stack.database.pool,
      temporal: stack.temporal,
      taskQueue: 'nobody-polls-this',
    });
    await expect(
      lonely.postQuestion({ projectId, chatId: `${projectId}-lonely`, text: 'Is there anybody?' }),
    ).rejects.toMatchObject({
      code: 'TEMPORAL_UNAVAILABLE',
      message: expect.stringMatching(/^No worker took up the question/) as unknown,
    });
  });
});
