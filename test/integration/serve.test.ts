import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { FastifyInstance } from 'fastify';
import { type Keys, createKeys } from '../../client/keys.js';
import { createReadiness } from '../../client/readiness.js';
import { type SessionChain, createSessionChain } from '../../client/session-chain.js';
import { readConfig } from '../../config/environment.js';
import { parseVersionId } from '../../contracts/ids.js';
import type { KeyScope } from '../../contracts/keys.js';
import { type AppOptions, createApp } from '../../server/app.js';
import { quarantineSession } from '../../storage/operations/operations.js';
import { until } from '../support/chain-stack.js';
import { beginWithTranscript, commitAttempt, newKey, openNew } from '../support/chains.js';
import { createCommandLine } from '../support/cli.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Who may call the HTTP server, how much, and how it starts and stops. */

const main = join(import.meta.dirname, '../../dist/cli/main.js');
const nowhere = 'postgres://127.0.0.1:1/none';

let database: TestDatabase;
let keys: Keys;
const apps: FastifyInstance[] = [];
const processes: ChildProcess[] = [];
const folders: string[] = [];
const commandLine = createCommandLine();
beforeAll(async () => {
  database = await createTestDatabase();
  keys = createKeys(database.pool);
});
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});
afterAll(async () => {
  for (const one of processes) one.kill('SIGKILL');
  commandLine.stop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  await database.drop();
});

/** The app with a route of each kind; what the routes of the API do is not the matter here. */
async function appWith(options: Partial<AppOptions> = {}): Promise<FastifyInstance> {
  const app = await createApp({ sessionChain: {} as SessionChain, keys, ...options });
  const seen = { schema: { hide: true } };
  for (const scope of ['read', 'start', 'admin'] as const)
    app.post(`/p/:projectId/${scope}`, { ...seen, config: { scope } }, async ({ caller }) => caller);
  app.get('/p/:projectId', { ...seen, config: { scope: 'read' } }, async ({ caller }) => caller);
  app.get('/all', { ...seen, config: { scope: 'read' } }, async ({ caller }) => caller);
  app.get(
    '/mine',
    { ...seen, config: { scope: 'read', projects: 'filtered' } },
    async ({ caller }) => caller,
  );
  apps.push(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return app;
}

interface Sent {
  method?: string;
  url: string;
  headers?: OutgoingHttpHeaders;
  body?: string;
  /** The address of loopback that it comes from. */
  from?: string;
}

/** One request on a connection of its own, sent as it is given. */
async function send(app: FastifyInstance, { method = 'GET', url, headers = {}, body, from }: Sent) {
  const { port } = app.server.address() as AddressInfo;
  const sent = request({
    ...{ host: '127.0.0.1', port, method, path: url, headers, agent: false },
    ...(from === undefined ? {} : { localAddress: from }),
  }).end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const text = await textOf(answer);
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    text,
    json: () => JSON.parse(text) as unknown,
  };
}

async function keyOf(scope: KeyScope, ...projects: string[]): Promise<string> {
  const { key } = await keys.create({ name: 'a test', scope, ...(projects.length > 0 ? { projects } : {}) });
  return key;
}

/** A folder of these files, until the tests are over. */
function temporaryFolder(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'serve-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const baseOf = (app: FastifyInstance) => `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** Sends bytes on a connection of its own; what came back once it is closed. */
async function exchange(app: FastifyInstance, ...parts: string[]): Promise<string> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  let said = '';
  socket.on('data', (data: Buffer) => (said += data.toString())).on('error', () => undefined);
  for (const part of parts) socket.write(part);
  await once(socket, 'close');
  return said;
}

describe('a key', () => {
  it('opens what it is for, until it expires or is revoked; its secret is stored nowhere', async () => {
    const { id, key } = await keys.create({
      name: 'shop web',
      scope: 'start',
      projects: ['shop', 'shop'],
      lifetimeMs: 86_400_000,
    });
    expect(key).toMatch(/^sck_[0-9a-f]{12}_[0-9a-f]{48}$/);
    expect(await keys.check(key)).toMatchObject({ id, scope: 'start', projects: ['shop'] });
    const [listed] = await keys.list();
    expect(listed).toMatchObject({ id, name: 'shop web', revokedAt: null, lastUsedAt: expect.any(String) });
    const { rows } = await database.pool.query('SELECT * FROM session_chain.api_keys');
    expect(JSON.stringify([rows, listed])).not.toContain(key.slice(-48));

    const app = await appWith();
    const asked = async () => (await send(app, { url: '/p/shop', headers: bearer(key) })).status;
    expect(await asked()).toBe(200);
    const expire = `UPDATE session_chain.api_keys SET expires_at = now() + $2::interval WHERE id = $1`;
    await database.pool.query(expire, [id, '-1 second']);
    expect(await asked()).toBe(401);
    await database.pool.query(expire, [id, '1 day']);
    expect(await asked()).toBe(200);
    await keys.revoke(id);
    expect(await asked()).toBe(401);
    await keys.revoke(key);
    await expect(keys.revoke('000000000000')).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
  });

  it('notes its use once a minute', async () => {
    const { id, key } = await keys.create({ name: 'a', scope: 'read' });
    const used = async () => (await keys.list()).find((one) => one.id === id)?.lastUsedAt;
    await keys.check(`${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`);
    expect(await used()).toBeNull();
    await keys.check(key);
    const first = await used();
    await keys.check(key);
    expect(await used()).toBe(first);
    await database.pool.query(
      `UPDATE session_chain.api_keys SET last_used_at = now() - interval '2 minutes' WHERE id = $1`,
      [id],
    );
    await keys.check(key);
    expect(await used()).not.toBe(first);
  });

  it.each([
    { name: '', scope: 'read' },
    { name: 'x'.repeat(101), scope: 'read' },
    { name: 'two\nlines', scope: 'read' },
    { name: 'a', scope: 'all' },
    { name: 'a', scope: 'read', projects: [] },
    { name: 'a', scope: 'read', projects: ['no spaces'] },
    { name: 'a', scope: 'read', lifetimeMs: 1e15 },
    { name: 'a', scope: 'read', project: 'shop' },
  ])('is not made of %j', async (request) => {
    await expect(keys.create(request as never)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('is made, listed and revoked on the command line, which shows it once', async () => {
    const cli = async (...args: string[]) => {
      const ended = await commandLine.run(['keys', ...args], {
        PATH: process.env['PATH'],
        DATABASE_URL: database.url,
      });
      expect(ended).toMatchObject({ code: 0 });
      return ended;
    };
    const made = await cli('create', '--name', 'web', '--scope', 'read', '-p', 'a', 'b', '--expires', '90d');
    const key = made.stdout.trim();
    expect(made.stderr).not.toContain(key);
    const { id, projects } = (await keys.check(key)) ?? {};
    expect(projects).toEqual(['a', 'b']);
    const list = await cli('list');
    expect(list.stdout).toMatch(new RegExp(`^${id} +web +read +a b +until `, 'm'));
    expect(list.stdout).not.toContain(key.slice(-48));
    await cli('revoke', id ?? '', '-o', 'json');
    expect(await keys.check(key)).toBeNull();
  });
});

describe('a request', () => {
  it('shows a valid key in its header, and nowhere else', async () => {
    const app = await appWith();
    const key = await keyOf('read');
    const [, id = '', secret = ''] = key.split('_');
    const other = await keyOf('admin');
    const wrong: Record<string, string>[] = [
      {},
      { authorization: '' },
      { authorization: key },
      { authorization: `Basic ${Buffer.from(`key:${key}`).toString('base64')}` },
      { authorization: 'Bearer' },
      bearer('x'.repeat(5_000)),
      bearer(`${key}0`),
      bearer(key.toUpperCase()),
      bearer(`sck_${id}_${'0'.repeat(48)}`),
      bearer(`sck_${other.split('_')[1]}_${secret}`),
      bearer(`sck_000000000000_${secret}`),
      bearer("sck_' OR true --"),
      { cookie: `session_chain_0=${key}; session_chain_80=${key}` },
      { 'x-api-key': key },
    ];
    for (const headers of wrong) {
      const answer = await send(app, { url: `/mine?key=${key}&access_token=${key}`, headers });
      expect([headers, answer.status]).toEqual([headers, 401]);
      expect(answer.headers).toMatchObject({
        'www-authenticate': expect.stringMatching(/^Bearer realm="session-chain"/),
        'content-type': expect.stringContaining('application/problem+json'),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      });
      expect(answer.text).not.toContain(secret);
    }
    expect((await send(app, { url: '/mine', headers: bearer(key) })).status).toBe(200);
  });

  it('needs the scope of its route, which a higher one includes', async () => {
    const app = await appWith();
    const scopes = ['read', 'start', 'admin'] as const;
    for (const [has, scope] of scopes.entries()) {
      const headers = bearer(await keyOf(scope));
      for (const [needs, needed] of scopes.entries()) {
        const { status } = await send(app, { method: 'POST', url: `/p/shop/${needed}`, headers });
        expect([scope, needed, status]).toEqual([scope, needed, has >= needs ? 200 : 403]);
      }
    }
  });

  it('sees the projects of its key alone; others are as if they were not there', async () => {
    const app = await appWith();
    await database.pool.query(`INSERT INTO projects (project_id) VALUES ('shop'), ('other')`);
    const headers = bearer(await keyOf('admin', 'shop'));
    expect((await send(app, { url: '/p/shop', headers })).status).toBe(200);
    const problems = await Promise.all(
      ['other', 'none', 'Shop', 'shop%2F..%2Fother', '%73hop%20'].map(async (id) => {
        const answer = await send(app, { url: `/p/${id}`, headers });
        return [answer.status, answer.text.replaceAll(decodeURIComponent(id), '<id>')];
      }),
    );
    expect(new Set(problems.map(([status, body]) => `${status} ${body}`)).size).toBe(1);
    expect(problems[0]).toEqual([404, expect.stringContaining('PROJECT_NOT_FOUND')]);
    // A route over all projects either keeps to those of the key, or is not for it.
    expect((await send(app, { url: '/mine', headers })).json()).toMatchObject({ projects: ['shop'] });
    expect((await send(app, { url: '/all', headers })).status).toBe(403);
    const everything = bearer(await keyOf('read'));
    expect((await send(app, { url: '/all', headers: everything })).json()).toMatchObject({ projects: null });
    expect((await send(app, { url: '/p/other', headers: everything })).status).toBe(200);
  });

  it('comes from the pages of an allowed origin, and from no page by default', async () => {
    const preflight = { method: 'OPTIONS', url: '/mine' };
    const from = (origin: string) => ({ origin, 'access-control-request-method': 'GET' });
    const closed = await appWith();
    const refused = await send(closed, { ...preflight, headers: from('https://app.example') });
    expect(refused.headers['access-control-allow-origin']).toBeUndefined();
    const app = await appWith({ limits: { origins: ['https://app.example'] } });
    const allowed = await send(app, { ...preflight, headers: from('https://app.example') });
    expect(allowed.status).toBe(204);
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-headers': expect.stringContaining('authorization'),
      vary: 'origin',
    });
    for (const origin of ['https://app.example.evil', 'null', 'http://app.example']) {
      const { headers } = await send(app, { url: '/mine', headers: { origin } });
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
    // Also the refusal can be read by the page that it is for.
    const answer = await send(app, { url: '/mine', headers: { origin: 'https://app.example' } });
    expect(answer.status).toBe(401);
    expect(answer.headers['access-control-allow-origin']).toBe('https://app.example');
  });
});

describe('the projects of one key', () => {
  /** What the parameters of a path are for a project that the key must not see. Its ids hold the word `foreign`. */
  async function foreign(): Promise<Record<string, string>> {
    const { pool } = database;
    const key = newKey('foreign-project');
    const chain = await openNew(pool, { ...key, versionId: parseVersionId('foreign-version') });
    const attempt = await beginWithTranscript(pool, chain, 'build');
    await commitAttempt(pool, attempt, null);
    // Something for each list of what is not as it should be.
    await quarantineSession(pool, key.projectId, attempt.sessionId, 'For the list.');
    const begun = await beginWithTranscript(pool, chain, 'metadata');
    await pool.query(
      `UPDATE session_chain.attempts SET state = 'failed', ended_at = now(),
         failure = '{"code": "FENCED", "message": "For the list.", "remedy": "None."}' WHERE id = $1`,
      [begun.attemptId],
    );
    await pool.query(
      `INSERT INTO session_chain.chain_ends (event, chain, project_id, version_id, build_id, status, steps, ended_at)
       VALUES (1, $1, $2, 'foreign-version', $3, 'completed', '{}', now() - interval '1 hour')`,
      [chain.chainId, key.projectId, key.buildId],
    );
    return {
      ...{ projectId: key.projectId, versionId: 'foreign-version', buildId: key.buildId },
      ...{
        chatId: 'foreign-chat',
        messageId: 'foreign-message',
        sessionId: attempt.sessionId,
        cursor: '1.0',
        runId: 'foreign-run',
      },
    };
  }

  interface Operation {
    security?: object[];
    parameters?: { in: string; name: string; required?: boolean; schema: { enum?: string[] } }[];
  }
  function operationAt(paths: object, method: string, path: string): Operation {
    return (paths as Record<string, Record<string, Operation>>)[path]?.[method.toLowerCase()] ?? {};
  }

  /** The parameters that a route needs, as the document describes them: the first of the values that each may have. */
  function requiredQuery(paths: object, method: string, path: string): string {
    const needed = (operationAt(paths, method, path).parameters ?? []).filter(
      (parameter) => parameter.in === 'query' && parameter.required === true,
    );
    const pairs = needed.map(({ name, schema }): [string, string] => [name, schema.enum?.[0] ?? '']);
    return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs).toString()}`;
  }

  it('are all that it can read, on every route of the API', async () => {
    const sessionChain = createSessionChain({
      pool: database.pool,
      temporal: { address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' },
    });
    const app = await appWith({ sessionChain });
    const known = await foreign();
    const own = await keyOf('admin', 'own');
    const everything = await keyOf('admin');
    const { paths = {} } = app.swagger();
    const operations = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
    );
    expect(operations.length).toBeGreaterThan(20);
    for (const { method, path } of operations) {
      // An open route asks for no key, and knows of no project.
      if (operationAt(paths, method, path).security?.length === 0) continue;
      const filled = (ids: Record<string, string>) =>
        path.replace(/\{(\w+)\}/g, (_, name: string) => {
          const id = ids[name];
          // A route with a new parameter needs a decision here: what would be foreign to the key.
          if (id === undefined) throw new Error(`${path}: nothing is known of {${name}}.`);
          return id;
        });
      const absent = Object.fromEntries(Object.keys(known).map((name) => [name, `absent-${name}`]));
      const ask = async (key: string, ids: Record<string, string>) => {
        const url = filled(ids) + requiredQuery(paths, method, path);
        const { status, text } = await send(app, { method, url, headers: bearer(key) });
        // Whatever the answer says of an id, it may not say whether there is such a thing.
        const said = Object.entries(ids)
          .reduce((all, [name, id]) => all.replaceAll(id, `<${name}>`), text)
          .replace(/"since":"[^"]+"/, '"since":"<a day ago>"')
          .replace(/"projects":\["(own|none)"\]/, '"projects":"<of the key>"');
        return { route: `${method} ${path}`, status, said };
      };
      const answer = await ask(own, known);
      if (path.includes('{')) {
        expect(answer).toEqual(await ask(own, absent));
        expect([answer.route, answer.status]).toEqual([
          answer.route,
          path.includes('{projectId}') ? 404 : expect.any(Number),
        ]);
        if (!path.includes('{projectId}')) expect([403, 404]).toContain(answer.status);
      } else if (answer.status !== 403) {
        // It keeps to the projects of the key: this one has none, as if the foreign one were not there. Without the limit it is.
        expect([answer.route, answer.status]).toEqual([answer.route, 200]);
        expect(answer).toEqual(await ask(await keyOf('admin', 'none'), known));
        expect(await ask(everything, known)).not.toEqual(answer);
      }
    }
    await sessionChain.close();
    await database.pool.query('DELETE FROM session_chain.chain_ends');
  });
});

describe('on loopback', () => {
  const hosts = ['localhost', '127.0.0.1', '[::1]'];
  const listening = async () => {
    const app = await appWith({ hasLinks: true, limits: { hosts } });
    return { app, base: baseOf(app) };
  };
  const linkOf = async (base: string, key: string) => {
    const answer = await fetch(`${base}/v1/codes`, { method: 'POST', headers: bearer(key) });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { url: string }).url;
  };
  const opened = async (url: string) => await fetch(url, { redirect: 'manual' });

  it('refuses a Host that leads here by a name of another', async () => {
    const { app } = await listening();
    for (const host of [
      'evil.example',
      'evil.example:8420',
      '127.0.0.1.evil.example',
      '0.0.0.0',
      'localhost.',
    ]) {
      const answer = await send(app, { url: '/mine', headers: { host } });
      expect([host, answer.status]).toEqual([host, 421]);
    }
    for (const host of ['localhost', '127.0.0.1:8420', '[::1]:8420', 'LOCALHOST:1'])
      expect((await send(app, { url: '/mine', headers: { host } })).status).toBe(401);
  });

  it('exchanges a code once for a cookie, which acts for pages of the server alone', async () => {
    const { base } = await listening();
    const key = await keyOf('start', 'shop');
    const url = await linkOf(base, key);
    expect(url).not.toContain(key.slice(-48));
    // A program that only looks at the link leaves it as it is.
    const looked = await fetch(url, { method: 'HEAD' });
    expect([looked.status, looked.headers.get('allow')]).toEqual([405, 'GET, OPTIONS']);
    const first = await opened(url);
    expect(first.status).toBe(303);
    const set = first.headers.get('set-cookie') ?? '';
    expect(set).toMatch(/^session_chain_\d+=[0-9a-f]{48}; .*Path=\/; HttpOnly; SameSite=Strict$/);
    expect(set).not.toContain(key.slice(-48));
    expect((await opened(url)).status).toBe(401);
    expect((await opened(`${base}/login?code=${'0'.repeat(48)}`)).status).toBe(401);
    expect((await opened(`${base}/login?code=a&code=b`)).status).toBe(401);
    expect((await opened(`${base}/login`)).status).toBe(401);

    const [cookie = ''] = set.split(';');
    const ask = async (method: string, path: string, headers: Record<string, string>) =>
      (await fetch(`${base}${path}`, { method, headers: { cookie, ...headers } })).status;
    const own = { origin: base };
    expect(await ask('GET', '/p/shop', {})).toBe(200);
    expect(await ask('GET', '/p/other', {})).toBe(404);
    expect(await ask('POST', '/p/shop/start', own)).toBe(200);
    expect(await ask('POST', '/p/shop/start', { 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(await ask('POST', '/p/shop/admin', own)).toBe(403);
    // Another page of this machine is of the same site, and sends the cookie.
    for (const headers of [
      {},
      { origin: 'http://127.0.0.1:3000' },
      { origin: 'null' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'cross-site' },
    ])
      expect([headers, await ask('POST', '/p/shop/start', headers)]).toEqual([headers, 401]);
    expect(await ask('GET', '/p/shop', { 'sec-fetch-site': 'same-site' })).toBe(401);
    // A cookie makes no further code. The login is a row: another server takes it as well, and so would this one started again.
    expect(await ask('POST', '/v1/codes', own)).toBe(403);
    const other = await appWith({ limits: { hosts } });
    const onOther = async () =>
      (await send(other, { url: '/p/shop', headers: { cookie, host: new URL(base).host } })).status;
    expect(await onOther()).toBe(200);
    await keys.revoke(key);
    expect([await ask('GET', '/p/shop', {}), await onOther()]).toEqual([401, 401]);
  });

  it('shows the page where a browser opens a link that is not valid', async () => {
    const dashboard = temporaryFolder({ 'index.html': '<title>The page</title>' });
    const app = await appWith({ dashboard, hasLinks: true });
    const headers = { accept: 'text/html,*/*;q=0.8' };
    const used = await send(app, { url: `/login?code=${'0'.repeat(48)}`, headers });
    expect([used.status, used.text]).toEqual([401, '<title>The page</title>']);
    expect((await send(app, { url: '/login', headers })).status).toBe(200);
  });

  it('takes no code after its time', async () => {
    const { base } = await listening();
    const url = await linkOf(base, await keyOf('read'));
    const now = Date.now;
    try {
      Date.now = () => now() + 11 * 60_000;
      expect((await opened(url)).status).toBe(401);
    } finally {
      Date.now = now;
    }
  });
});

describe('a login', () => {
  const logIn = async (app: FastifyInstance, body: object, headers: OutgoingHttpHeaders = {}) =>
    await send(app, {
      ...{ method: 'POST', url: '/v1/login', body: JSON.stringify(body) },
      headers: { 'content-type': 'application/json', ...headers },
    });
  const cookieOf = ({ headers }: { headers: IncomingHttpHeaders }) => headers['set-cookie']?.[0] ?? '';
  const proxied = { host: 'dash.example', 'x-forwarded-proto': 'https' };

  it('is made with a key, and ends with itself, its key, its time, or the hundredth after it', async () => {
    const app = await appWith();
    await database.pool.query('DELETE FROM session_chain.logins');
    const { id, key } = await keys.create({ name: 'a', scope: 'start', projects: ['shop'] });
    const answer = await logIn(app, { key });
    expect([answer.status, answer.json()]).toEqual([200, { expiresAt: expect.any(String) }]);
    const cookie = cookieOf(answer).split(';')[0] ?? '';
    const token = cookie.split('=')[1] ?? '';
    const { rows } = await database.pool.query('SELECT * FROM session_chain.logins');
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(token);
    const ask = async (url = '/p/shop') => (await send(app, { url, headers: { cookie } })).status;
    expect([await ask(), await ask('/p/other'), await ask('/all')]).toEqual([200, 404, 403]);

    const change = async (sql: string) => void (await database.pool.query(sql));
    const expired = (table: string, by: string) =>
      `UPDATE session_chain.${table} SET expires_at = now() + interval '${by}'`;
    await change(`${expired('api_keys', '-1 s')} WHERE id = '${id}'`);
    expect(await ask()).toBe(401);
    await change(`${expired('api_keys', '1 day')} WHERE id = '${id}'`);
    expect(await ask()).toBe(200);
    await change(expired('logins', '-1 s'));
    expect(await ask()).toBe(401);
    await change(expired('logins', '1 s'));
    await Promise.all(Array.from({ length: 20 }, () => keys.logIn(key)));
    for (let n = 0; n < 90; n++) await keys.logIn(key);
    expect(await ask()).toBe(401);
    const { rows: left } = await database.pool.query('SELECT FROM session_chain.logins');
    expect(left.length).toBeLessThanOrEqual(100);
    await change(expired('logins', '-1 s'));
    const again = cookieOf(await logIn(app, { key })).split(';')[0] ?? '';
    expect((await database.pool.query('SELECT FROM session_chain.logins')).rowCount).toBe(1);

    const logOut = async (headers: OutgoingHttpHeaders) =>
      await send(app, { method: 'POST', url: '/v1/logout', headers: { cookie: again, ...headers } });
    // Another page cannot log one out.
    const foreign = await logOut({ 'sec-fetch-site': 'cross-site' });
    expect([foreign.json(), cookieOf(foreign)]).toEqual([{ ended: false }, '']);
    const ended = await logOut({ 'sec-fetch-site': 'same-origin' });
    expect([ended.json(), cookieOf(ended)]).toEqual([{ ended: true }, expect.stringContaining('Max-Age=0')]);
    expect((await send(app, { url: '/p/shop', headers: { cookie: again } })).status).toBe(401);
    expect((await logOut({ 'sec-fetch-site': 'same-origin' })).json()).toEqual({ ended: false });
  });

  it('is refused for what is no key, and counts as a guess', async () => {
    const app = await appWith({ limits: { failuresPerMinute: 3 } });
    const key = await keyOf('read');
    for (const body of [{}, { key: 1 }, { key: 'x'.repeat(201) }, { key, scope: 'admin' }, [key]])
      expect([body, (await logIn(app, body)).status]).toEqual([body, 400]);
    const form = await logIn(app, { key }, { 'content-type': 'application/x-www-form-urlencoded' });
    expect(form.status).toBe(415);
    const statuses = [];
    for (const wrong of ['', `${key}0`, `sck_${'0'.repeat(12)}_${'0'.repeat(48)}`, key])
      statuses.push((await logIn(app, { key: wrong })).status);
    expect(statuses).toEqual([401, 401, 401, 429]);
  });

  it('goes over loopback or TLS, and comes from pages of the server', async () => {
    const app = await appWith({
      limits: { trustedProxies: ['127.0.0.1'], origins: ['https://app.example'] },
    });
    const untrusting = await appWith();
    const key = await keyOf('start');
    const refused = [
      [app, { host: 'dash.example' }],
      [app, { ...proxied, 'x-forwarded-proto': 'http' }],
      [untrusting, proxied],
      [app, { ...proxied, 'sec-fetch-site': 'cross-site' }],
      [app, { ...proxied, origin: 'https://app.example' }],
      [app, { ...proxied, origin: 'http://dash.example' }],
      [app, { ...proxied, origin: 'null' }],
    ] as const;
    for (const [to, headers] of refused) {
      const answer = await logIn(to, { key }, headers);
      expect([headers, answer.status, cookieOf(answer)]).toEqual([headers, 403, '']);
      expect(answer.text).toMatch(/SESSION_CHAIN_HTTP_TRUSTED_PROXIES/);
    }
    const answer = await logIn(app, { key }, { ...proxied, origin: 'https://dash.example' });
    expect(cookieOf(answer)).toMatch(
      /^session_chain_443=\w+; Max-Age=43\d+; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
    const [cookie = ''] = cookieOf(answer).split(';');
    const act = async (headers: OutgoingHttpHeaders) =>
      (await send(app, { method: 'POST', url: '/p/shop/start', headers: { ...proxied, cookie, ...headers } }))
        .status;
    expect(await act({ origin: 'https://dash.example' })).toBe(200);
    expect(await act({ 'sec-fetch-site': 'same-origin', origin: 'https://dash.example' })).toBe(200);
    for (const headers of [{}, { origin: 'https://app.example' }, { origin: 'http://dash.example' }])
      expect([headers, await act(headers)]).toEqual([headers, 401]);
  });
});

describe('the dashboard', () => {
  const asPage = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
  const policy = expect.stringMatching(
    /^default-src 'none'; script-src 'self'; .*require-trusted-types-for 'script'; trusted-types 'none'$/,
  );
  const folder = () =>
    temporaryFolder({
      'index.html': '<title>The page</title>',
      'icon.svg': '<svg/>',
      'assets/main-1.js': 'export {}',
      'assets/main-1.js.gz': 'compressed',
    });

  it('is one page at each of its addresses, whatever stands in them, and says itself what is not there', async () => {
    const app = await appWith({ dashboard: folder() });
    const { port } = app.server.address() as AddressInfo;
    const long = 'x'.repeat(200);
    const known = [
      '/',
      '/projects',
      '/projects/',
      '/projects/a%2Fb',
      '/projects/%00',
      '/projects/..',
      `/projects/${long}`,
    ].concat([`/projects/a/chains/v/${long}`, '/projects/a/sessions/%2e%2e?entry=1', '/costs?by=day']);
    const unknown = ['/none', '/projects/a/b/c/d/e', '//evil.example/x'];
    for (const url of [...known, ...unknown]) {
      // As it is given: a client of Node tidies an address.
      const answer = await exchange(
        app,
        `GET ${url} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: ${asPage.accept}\r\nconnection: close\r\n\r\n`,
      );
      const said = [url, answer.split('\r\n')[0], answer.endsWith('<title>The page</title>')];
      expect(said).toEqual([url, `HTTP/1.1 ${known.includes(url) ? '200 OK' : '404 Not Found'}`, true]);
    }
    const { headers } = await send(app, { url: '/none', headers: asPage });
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    // Programs get problems, and so does whatever asks the API or for a file.
    for (const url of ['/v1/none', '/v1', '/assets/none.js', '/assets'])
      expect((await send(app, { url, headers: asPage })).json()).toMatchObject({ status: 404 });
    expect((await send(app, { url: '/none' })).json()).toMatchObject({ status: 404 });
    const head = await send(app, { method: 'HEAD', url: '/projects' });
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '23']);
    const posted = await send(app, { method: 'POST', url: '/projects/a' });
    expect([posted.status, posted.headers.allow]).toEqual([405, 'GET, HEAD, OPTIONS']);
    const malformed = await send(app, { url: '/projects/%E0%A4%A', headers: asPage });
    expect([malformed.status, malformed.headers['x-content-type-options']]).toEqual([400, 'nosniff']);
  });

  it('keeps its files for good, as small as the browser takes them, and serves nothing else', async () => {
    const app = await appWith({ dashboard: folder() });
    const ask = async (url: string, encoding = 'identity') =>
      await send(app, { url, headers: { 'accept-encoding': encoding } });
    const plain = await ask('/assets/main-1.js');
    expect([plain.status, plain.text]).toEqual([200, 'export {}']);
    expect(plain.headers).toMatchObject({
      'content-type': expect.stringContaining('text/javascript'),
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
    });
    const small = await ask('/assets/main-1.js', 'gzip');
    expect([small.text, small.headers['content-encoding']]).toEqual(['compressed', 'gzip']);
    expect([plain.headers.vary, small.headers.vary]).toEqual(['accept-encoding', 'accept-encoding']);
    // The name of an earlier build must not be kept as absent.
    const old = await ask('/assets/main-0.js');
    expect([old.status, old.headers['cache-control']]).toEqual([404, 'no-store']);
    for (const url of [
      '/assets/..%2Findex.html',
      '/assets/..%2F..%2Fpackage.json',
      '/assets/%00',
      '/index.html',
      '/assets/.%2E/icon.svg',
    ])
      expect([url, [403, 404].includes((await ask(url)).status)]).toEqual([url, true]);
  });

  it('is said to be missing where it was not built', async () => {
    const app = await appWith({ dashboard: temporaryFolder({}) });
    expect((await send(app, { url: '/', headers: asPage })).json()).toMatchObject({
      status: 404,
      detail: expect.stringContaining('was not built'),
      remedy: expect.stringContaining('npm run build'),
    });
    expect((await send(app, { url: '/projects', headers: asPage })).status).toBe(404);
  });
});

describe('limits', () => {
  it('a key that asks too often waits, and others do not', async () => {
    const app = await appWith({ limits: { requestsPerMinute: 3 } });
    const [one, other] = [bearer(await keyOf('read')), bearer(await keyOf('read'))];
    const statuses = [];
    for (let n = 0; n < 5; n++) statuses.push((await send(app, { url: '/mine', headers: one })).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = await send(app, { url: '/mine', headers: one });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.json()).toMatchObject({ status: 429, retryable: true, retryAfterMs: expect.any(Number) });
    expect((await send(app, { url: '/mine', headers: other })).status).toBe(200);
    expect((await send(app, { url: '/healthz' })).status).toBe(200);
  });

  it('an address that guesses keys is refused, while a good key at the same address goes on', async () => {
    const app = await appWith({ limits: { failuresPerMinute: 3 } });
    const good = bearer(await keyOf('read'));
    expect((await send(app, { url: '/mine', headers: good })).status).toBe(200);
    const statuses = [];
    for (let n = 0; n < 5; n++)
      statuses.push((await send(app, { url: '/mine', headers: bearer('guess') })).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect((await send(app, { url: '/mine', headers: good })).status).toBe(200);
    const elsewhere = await send(app, { url: '/mine', headers: bearer('guess'), from: '127.0.0.2' });
    expect(elsewhere.status).toBe(401);
    // A header that any caller may send tells no address.
    const forged = await send(app, {
      url: '/mine',
      headers: { ...bearer('x'), 'x-forwarded-for': '10.0.0.8' },
    });
    expect(forged.status).toBe(429);
  });

  it('bodies, heads and what is no HTTP are refused, each with a problem', async () => {
    const app = await appWith({ limits: { bodyLimit: 1_000 } });
    const headers = bearer(await keyOf('start'));
    const post = {
      method: 'POST',
      url: '/p/shop/start',
      headers: { ...headers, 'content-type': 'application/json' },
    };
    expect((await send(app, { ...post, body: JSON.stringify({ text: 'x'.repeat(2_000) }) })).status).toBe(
      413,
    );
    const chunked = `POST /p/shop/start HTTP/1.1\r\nhost: x\r\nauthorization: ${headers.authorization}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`;
    expect(await exchange(app, chunked, `800\r\n${' '.repeat(0x800)}\r\n`)).toMatch(/^HTTP\/1.1 413 /);
    const large = `GET /mine HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`;
    expect(await exchange(app, large)).toMatch(/^HTTP\/1.1 431 [^]*application\/problem\+json[^]*16 KiB/);
    expect(await exchange(app, 'hello\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [^]*"status":400/);
    expect(
      await exchange(
        app,
        'GET /mine HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1.1 400 /);
  });

  it('a client that sends slowly loses its connection, and others are served meanwhile', async () => {
    const headers = bearer(await keyOf('start'));
    const begun = [
      'GET /mine HTT',
      'GET /mine HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n',
      `POST /p/shop/start HTTP/1.1\r\nhost: x\r\nauthorization: ${headers.authorization}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":`,
    ];
    const impatient = await appWith({ limits: { requestTimeoutMs: 300, maxConnections: 20 } });
    for (const said of await Promise.all(begun.map((part) => exchange(impatient, part))))
      expect(said).toMatch(/^HTTP\/1.1 408 |^$/);
    // With the usual time: on a busy machine a client that is not slow may need more than that.
    const app = await appWith({ limits: { maxConnections: 20 } });
    let left = 0;
    const slow = begun.map(async (part) => (await exchange(app, part), (left += 1)));
    expect((await fetch(`${baseOf(app)}/mine`, { headers })).status).toBe(200);
    expect(left).toBe(0);
    app.server.closeAllConnections();
    await Promise.all(slow);
  });

  it('a connection too many is closed, and those that are there go on', async () => {
    const app = await appWith({ limits: { maxConnections: 2 } });
    const { port } = app.server.address() as AddressInfo;
    const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    await Promise.all(held.map((socket) => once(socket, 'connect')));
    await until(async () => (await promisify(app.server.getConnections.bind(app.server))()) === 2);
    expect(await exchange(app, 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')).toBe('');
    held[0]?.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const [answer] = (await once(held[0] ?? process, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /);
    for (const socket of held) socket.destroy();
  });
});

describe('probes', () => {
  it('look at the database once a second at most, and one at a time', async () => {
    let looks = 0;
    const counted = new Proxy(database.pool, {
      get(pool, name) {
        const value: unknown = Reflect.get(pool, name);
        if (name !== 'query' || typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          looks += 1;
          return (value as (...args: unknown[]) => unknown).apply(pool, args);
        };
      },
    });
    const ready = createReadiness(counted);
    // The first looks take longest.
    await until(() =>
      ready().then(
        () => true,
        () => false,
      ),
    );
    const first = looks;
    const startedAt = performance.now();
    await Promise.allSettled(Array.from({ length: 100 }, ready));
    expect(looks - first).toBeLessThanOrEqual(Math.ceil((performance.now() - startedAt) / 1000));
  });

  it('are answered without a key, and tell no reason', async () => {
    const app = await appWith({
      ready: async () => {
        throw new Error('password of db.internal');
      },
    });
    expect((await send(app, { url: '/healthz' })).json()).toEqual({ status: 'ok' });
    const answer = await send(app, { url: '/readyz' });
    expect([answer.status, answer.json()]).toEqual([503, { status: 'unavailable' }]);
  });
});

describe('the doctor of a server', () => {
  it('is asked by admins alone, makes one run at a time, and keeps its result', async () => {
    let runs = 0;
    let answer = (): void => undefined;
    const app = await appWith({
      doctor: async () => {
        runs += 1;
        await new Promise<void>((resolve) => (answer = resolve));
        if (runs === 1) throw new Error('a check that broke');
        return [{ check: 'database', status: 'ok', message: 'Postgres 16', remedy: null }];
      },
    });
    const key = await keyOf('admin');
    const ask = async (shown = key) => await send(app, { url: '/v1/doctor', headers: bearer(shown) });
    for (const lesser of [await keyOf('read'), await keyOf('start'), await keyOf('admin', 'shop')])
      expect((await ask(lesser)).status).toBe(403);
    const broken = ask();
    await until(() => runs === 1);
    answer();
    expect((await broken).status).toBe(500);
    const asked = [ask(), ask()];
    await until(() => runs === 2);
    answer();
    const [one, other] = await Promise.all(asked);
    expect(one?.json()).toMatchObject({ checkedAt: expect.any(String), findings: [{ check: 'database' }] });
    expect(other?.json()).toEqual(one?.json());
    expect((await ask()).json()).toEqual(one?.json());
    expect(runs).toBe(2);
  });

  it('lists keys for admins, with their state and no secret', async () => {
    const app = await appWith();
    const [valid, expired, revoked] = [
      await keyOf('admin'),
      await keyOf('read'),
      await keyOf('read', 'shop'),
    ];
    const idOf = (key: string) => key.split('_')[1] ?? '';
    await keys.revoke(idOf(revoked));
    await database.pool.query(
      `UPDATE session_chain.api_keys SET expires_at = clock_timestamp() WHERE id = $1`,
      [idOf(expired)],
    );
    expect((await send(app, { url: '/v1/keys', headers: bearer(await keyOf('start')) })).status).toBe(403);
    const { text, json } = await send(app, { url: '/v1/keys', headers: bearer(valid) });
    const listed = (json() as { keys: { id: string; state: string; projects: string[] | null }[] }).keys;
    const stateOf = (key: string) => listed.find(({ id }) => id === idOf(key))?.state;
    expect([valid, expired, revoked].map(stateOf)).toEqual(['valid', 'expired', 'revoked']);
    for (const key of [valid, expired, revoked]) expect(text).not.toContain(key.split('_')[2]);
    expect(text).not.toContain('hash');
  });
});

describe('session-chain serve', () => {
  const environment = (changes: Record<string, string> = {}) => ({
    PATH: process.env['PATH'],
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
    SESSION_CHAIN_HTTP_PORT: '0',
    ...changes,
  });
  function serve(changes: Record<string, string> = {}) {
    const child = spawn(process.execPath, [main, 'serve', '-o', 'json'], {
      ...{ cwd: '/', env: environment(changes), stdio: ['ignore', 'pipe', 'pipe'] },
    });
    processes.push(child);
    let log = '';
    child.stderr.on('data', (data: Buffer) => (log += data.toString()));
    const url = async () => {
      const found = () => /The server listens on (http:\S+)\./.exec(log)?.[1];
      await until(() => found() !== undefined);
      return found() ?? '';
    };
    return { child, exited: once(child, 'exit'), log: () => log, url };
  }

  it('is ready once the database is, and says in its log alone why not', async () => {
    const server = serve({ DATABASE_URL: nowhere });
    const base = await server.url();
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    const answer = await fetch(`${base}/readyz`);
    expect([answer.status, await answer.json()]).toEqual([503, { status: 'unavailable' }]);
    await until(() => server.log().includes('The database cannot be reached'));
    const refused = await fetch(`${base}/v1/none`, { headers: bearer(await keyOf('read')) });
    expect(refused.status).toBe(404);
    const unchecked = await fetch(`${base}/v1/projects`, { headers: bearer(await keyOf('read')) });
    const said = await unchecked.text();
    expect([unchecked.status, said]).toEqual([503, expect.stringContaining('DATABASE_UNAVAILABLE')]);
    expect(said).not.toContain(new URL(nowhere).hostname);
    server.child.kill('SIGTERM');
    expect(await server.exited).toEqual([0, null]);
  });

  it('finishes its requests when it is told to stop, and takes no more', async () => {
    const server = serve();
    const base = await server.url();
    const doctor = await fetch(`${base}/v1/doctor`, { headers: bearer(await keyOf('admin')) });
    const { findings } = (await doctor.json()) as { findings: { check: string; status: string }[] };
    expect(findings.map(({ check, status }) => `${check} ${status}`)).toEqual([
      ...['node ok', 'database ok', 'rights warn', 'host-tables ok', 'migrations ok', 'temporal ok'],
      ...['search-attributes ok', 'worker warn', 'activities ok', 'workflow-tasks ok', 'ends ok'],
      ...['retention ok', 'retention ok', 'redis ok'],
    ]);
    const key = await keyOf('read');
    await until(async () => (await fetch(`${base}/readyz`)).status === 200);
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN; LOCK TABLE session_chain.api_keys IN ACCESS EXCLUSIVE MODE');
    const asked = fetch(`${base}/v1/codes`, { method: 'POST', headers: bearer(key) });
    await until(async () => {
      const { rows } = await database.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'session-chain server' AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    });
    server.child.kill('SIGTERM');
    await until(() => server.log().includes('The server stops'));
    await until(
      async () =>
        await fetch(`${base}/healthz`).then(
          ({ status }) => status === 503,
          () => true,
        ),
    );
    await blocker.query('ROLLBACK');
    blocker.release();
    expect((await asked).status).toBe(201);
    expect(await server.exited).toEqual([0, null]);
    expect(server.log()).not.toContain(key);
  });

  it('ends at the end of its grace time, whatever a request waits for', async () => {
    const server = serve({ SESSION_CHAIN_SHUTDOWN_GRACE_MS: '100' });
    const base = await server.url();
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN; LOCK TABLE session_chain.api_keys IN ACCESS EXCLUSIVE MODE');
    const asked = fetch(`${base}/v1/codes`, {
      method: 'POST',
      headers: bearer(`sck_${'0'.repeat(12)}_${'0'.repeat(48)}`),
    });
    asked.catch(() => undefined);
    await until(async () => {
      const { rows } = await database.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'session-chain server' AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    });
    server.child.kill('SIGTERM');
    await expect(asked).rejects.toThrow();
    expect(await server.exited).toEqual([1, null]);
    await blocker.query('ROLLBACK');
    blocker.release();
  });

  it('does not start on an address that is not of this machine', async () => {
    const ended = await commandLine.run(['serve'], environment({ SESSION_CHAIN_HTTP_HOST: '203.0.113.1' }));
    expect(ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/cannot listen on 203\.0\.113\.1/),
    });
  });

  it.each([
    { SESSION_CHAIN_HTTP_PORT: 'http' },
    { SESSION_CHAIN_HTTP_PORT: '65536' },
    { SESSION_CHAIN_HTTP_HOST: 'http://localhost' },
    { SESSION_CHAIN_HTTP_ORIGINS: '*' },
    { SESSION_CHAIN_HTTP_ORIGINS: 'https://app.example/' },
    { SESSION_CHAIN_HTTP_HOSTS: 'https://app.example' },
    { SESSION_CHAIN_HTTP_TRUSTED_PROXIES: 'all' },
    { SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE: '0' },
  ])('is not configured by %j', (environment) => {
    expect(() => readConfig(environment)).toThrow(Object.keys(environment)[0]);
  });
});
