import { execFile } from 'node:child_process';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createAgent } from '../../agent/agent.js';
import {
  createEgress,
  type EgressEvent,
  type EgressListener,
  type OpenEgress,
} from '../../agent/egress/egress.js';
import { parseSessionId } from '../../contracts/ids.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { startScriptedModel, toolResults, type ScriptedModel } from '../../agent/probe/scripted-model.js';
import { renewedLease } from '../support/agent-runner.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';

/** The proxy that holds the credential, by raw connections and with the real Claude Code. */

const secret = `sk-canary-${randomUUID()}`;
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'egress-')));
const path = process.env.PATH ?? '';
const servers: Server[] = [];
let opened: OpenEgress[] = [];
let events: EgressEvent[] = [];

afterEach(async () => {
  await Promise.all(opened.map((each) => each.close()));
  opened = [];
  events = [];
});
afterAll(() => {
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const build = {
  sessionId: 'a-session',
  task: { name: 'build', kind: 'work', role: 'build' },
  mode: 'initial',
  instructionKind: 'none',
} as const;

interface Opening {
  model?: Record<string, string>;
  worker?: Record<string, string>;
  allow?: string[];
  listen?: EgressListener;
}

async function openProxy({ model = {}, worker = {}, allow = [], listen = 'loopback' }: Opening) {
  const egress = createEgress({ model, worker, allow, log: (event) => events.push(event) });
  const proxy = await egress.open({ listen });
  proxy.attach(build);
  opened.push(proxy);
  const url = new URL(proxy.environment.HTTP_PROXY ?? '');
  const [, token = ''] = /\/([0-9a-f]{32})$/.exec(proxy.environment.ANTHROPIC_BASE_URL ?? '') ?? [];
  return { ...proxy, host: url.host, port: Number(url.port), token };
}

/** Sends exactly these bytes and returns all that comes back. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  return text(socket).catch(() => 'reset');
}

describe('a raw connection', () => {
  let seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  let upstream: string;
  let model: Record<string, string>;
  beforeAll(async () => {
    upstream = await serve((incoming, outgoing) => {
      void text(incoming).then((body) => {
        seen.push({
          method: incoming.method ?? '',
          url: incoming.url ?? '',
          headers: incoming.headers,
          body,
        });
        if (incoming.url?.includes('redirect'))
          outgoing.writeHead(307, { location: `http://${upstream}/elsewhere` });
        outgoing.end('answered');
      });
    });
    model = { ANTHROPIC_BASE_URL: `http://${upstream}/base`, ANTHROPIC_API_KEY: secret };
  });
  afterEach(() => {
    seen = [];
  });

  it('puts the credential in, and leaves the rest as it is', async () => {
    const proxy = await openProxy({
      model: { ...model, ANTHROPIC_CUSTOM_HEADERS: 'x-gateway: one\nanthropic-beta: b' },
    });
    const answer = await raw(
      proxy.port,
      `POST /${proxy.token}/v1/messages?beta=true HTTP/1.1\r\nHost: else.where\r\nx-api-key: held\r\nAuthorization: Bearer held\r\n` +
        'anthropic-beta: a\r\nConnection: close, x-hop\r\nx-hop: 1\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n' +
        'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    );
    expect(answer).toMatch(/200 OK[^]*answered/);
    expect(answer + JSON.stringify(proxy.environment)).not.toContain(secret);
    expect(seen).toMatchObject([{ url: '/base/v1/messages?beta=true', body: '{}' }]);
    const { headers } = seen[0]!;
    expect(headers).toMatchObject({
      host: upstream,
      'x-api-key': secret,
      'x-gateway': 'one',
      'anthropic-beta': 'a,b',
    });
    for (const name of ['authorization', 'x-hop', 'upgrade', 'expect'])
      expect(headers).not.toHaveProperty(name);
  });

  it('has no other way to the model service', async () => {
    const proxy = await openProxy({ model });
    const at = (line: string, headers = '') =>
      raw(proxy.port, `${line}\r\nHost: ${upstream}\r\nConnection: close\r\n${headers}\r\n`);
    const t = `/${proxy.token}`;
    for (const target of [
      ...['/v1/messages', '/wrong/v1/messages', `${t}/v1/messages/../files`, `${t}/v1/messages/%2e%2e/files`],
      ...[
        `${t}//v1/messages`,
        `${t}/v1/messages/`,
        `${t}/v1%2fmessages`,
        `${t}/v1/messages?a=#b`,
        `${t}/v1/messages?a=\\..`,
      ],
      ...[
        `${t}/v1/files`,
        `${t}/v1/messages/batches`,
        `${t}/v1/messages?beta=/../x`,
        `//${upstream}${t}/v1/messages`,
        t,
        '*',
      ],
    ]) {
      expect(await at(`POST ${target} HTTP/1.1`, 'Content-Length: 0\r\n')).toMatch(/^HTTP\/1\.1 40[04]/);
    }
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE']) {
      expect(await at(`${method} ${t}/v1/messages HTTP/1.1`)).toMatch(/^HTTP\/1\.1 404/);
    }
    // As a proxy, it reaches the model service no more than any other host.
    expect(await at(`POST http://${upstream}${t}/v1/messages HTTP/1.1`)).toMatch(/^HTTP\/1\.1 403/);
    expect(await at(`CONNECT ${upstream} HTTP/1.1`)).toMatch(/^HTTP\/1\.1 403/);
    // Requests that two servers may read differently.
    expect(
      await at(`POST ${t}/v1/messages HTTP/1.1`, 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n'),
    ).toMatch(/400/);
    expect(await at(`POST ${t}/v1/messages HTTP/1.1`, 'Content-Length: 1\r\nContent-Length: 2\r\n')).toMatch(
      /400/,
    );
    expect(await at(`POST ${t}/v1/messages HTTP/1.1`, 'x: a\nx-api-key: b\r\n')).toMatch(/400/);
    expect(await at(`POST ${t}/v1/messages HTTP/1.1`, `x: ${'a'.repeat(70_000)}\r\n`)).toMatch(/431|reset/);
    expect(seen).toEqual([]);
    // A request by HTTP/1.0 is one like any other; a redirect is not followed.
    expect(await at(`POST ${t}/v1/messages HTTP/1.0`, 'Content-Length: 0\r\n')).toContain('200 OK');
    expect(await at(`POST ${t}/v1/messages?redirect HTTP/1.1`, 'Content-Length: 0\r\n')).toContain('307');
    expect(seen.map(({ url }) => url)).toEqual(['/base/v1/messages', '/base/v1/messages?redirect']);
  });

  it('reaches the hosts of the list, without the credential, and says of others that they are not on it', async () => {
    const [allowed = '', port] = ['localhost', upstream.split(':')[1]];
    const proxy = await openProxy({ model, allow: [`LocalHost:${port}`] });
    const curl = async (...args: string[]) =>
      (
        await promisify(execFile)('curl', ['-s', '-i', '-x', `http://${proxy.host}`, ...args]).catch(
          (error: { stdout: string; code: number }) => ({ stdout: `${error.code} ${error.stdout}` }),
        )
      ).stdout;
    expect(await curl(`http://${allowed}:${port}/plain`)).toContain('answered');
    expect(await curl('--proxytunnel', `http://${allowed}:${port}/tunnel`)).toContain('answered');
    expect(seen.map(({ url }) => url)).toEqual(['/plain', '/tunnel']);
    expect(JSON.stringify(seen)).not.toContain(secret);
    // By another name, another port, by address.
    for (const other of [`127.0.0.1:${port}`, 'localhost:1', 'localhost.:1', '[::1]:80', 'x@localhost:2']) {
      expect(await curl(`http://${other}/`)).toMatch(/HTTP\/1\.1 40[03]/);
      expect(await curl('--proxytunnel', `http://${other}/`)).toMatch(
        /HTTP\/1\.1 403 \S+ is not reachable|^\d+ /,
      );
    }
    expect(await raw(proxy.port, 'CONNECT localhost:1%0d%0a HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/);
    expect(
      await raw(proxy.port, 'GET ftp://localhost/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    ).toMatch(/400/);
    const refused = events.map(
      (event) => `${event.event} ${event.host} ${'port' in event ? event.port : ''} ${event.step}`,
    );
    expect(refused).toContain('agent.egress_refused localhost 1 build');
    expect(new Set(refused).size).toBe(refused.length);
  });

  it('goes through the proxy of the worker where it has one', async () => {
    const asked: string[] = [];
    const company = createServer((incoming, outgoing) => {
      asked.push(`${incoming.method} ${incoming.url} ${incoming.headers['proxy-authorization']}`);
      outgoing.end('through');
    }).on('connect', (incoming: IncomingMessage, socket) => {
      asked.push(`CONNECT ${incoming.url} ${incoming.headers['proxy-authorization']}`);
      socket.end('HTTP/1.1 200 OK\r\n\r\nthrough');
    });
    servers.push(company.listen(0, '127.0.0.1'));
    await once(company, 'listening');
    const address = `http://us%40er:${secret}@127.0.0.1:${(company.address() as AddressInfo).port}`;
    const proxy = await openProxy({
      model: { ANTHROPIC_API_KEY: 'key', ANTHROPIC_BASE_URL: 'http://model.test' },
      worker: { HTTP_PROXY: address, https_proxy: address, no_proxy: 'other.test, .inner.localhost' },
      allow: ['registry.test:443', 'a.inner.localhost:1'],
    });
    expect(JSON.stringify(proxy.environment)).not.toContain(secret);
    const basic = `Basic ${Buffer.from(`us@er:${secret}`).toString('base64')}`;
    expect(await raw(proxy.port, 'CONNECT registry.test:443 HTTP/1.1\r\n\r\n')).toContain('through');
    expect(
      await raw(
        proxy.port,
        `POST /${proxy.token}/v1/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      ),
    ).toContain('through');
    expect(await raw(proxy.port, 'CONNECT a.inner.localhost:1 HTTP/1.1\r\n\r\n')).toMatch(
      /502 .*(ENOTFOUND|EAI_AGAIN|ECONNREFUSED)/,
    );
    expect(asked[0]).toBe(`CONNECT registry.test:443 ${basic}`);
    expect(asked[1]).toMatch(/model\.test/);
    expect(asked).toHaveLength(2);
  });

  it('streams both ways, and an end on one side ends the other', async () => {
    let answer: ServerResponse | undefined;
    let isGone = false;
    const slow = await serve((incoming, outgoing) => {
      answer = outgoing;
      incoming.resume();
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write('first');
      outgoing.on('close', () => (isGone = true));
    });
    const proxy = await openProxy({ model: { ...model, ANTHROPIC_BASE_URL: `http://${slow}` } });
    const ask = async () => {
      const sent = request({ port: proxy.port, path: `/${proxy.token}/v1/messages`, method: 'POST' });
      sent.on('error', () => undefined).end('{}');
      const [received] = (await once(sent, 'response')) as [IncomingMessage];
      const [chunk] = (await once(received, 'data')) as [Buffer];
      expect(chunk.toString()).toBe('first');
      return received;
    };
    // What is not read is not taken from the service.
    const received = await ask();
    received.pause();
    const megabyte = Buffer.alloc(1024 * 1024);
    let written = 0;
    while (written < 200 && answer?.write(megabyte)) written += 1;
    expect(written).toBeLessThan(50);
    received.destroy();
    await until(() => isGone);
    const second = await ask();
    const ended = once(second, 'error');
    answer?.destroy();
    expect(((await ended)[0] as Error).message).toMatch(/aborted/);
    // Whoever was stopped and hung up says nothing about the service.
    await until(() => events.length > 0);
    expect(events).toEqual([
      {
        ...{ event: 'agent.model_unreachable', sessionId: 'a-session', step: 'build' },
        ...{ host: slow, error: 'UND_ERR_SOCKET' },
      },
    ]);
  });

  it('listens on a socket whose path is long, and says that a service is away', async () => {
    const deep = join(folder, 'd'.repeat(100), 'e'.repeat(100));
    mkdirSync(deep, { recursive: true });
    const socketPath = join(deep, 'egress.sock');
    const proxy = await openProxy({
      model: { ANTHROPIC_AUTH_TOKEN: secret, ANTHROPIC_BASE_URL: 'http://127.0.0.1:1' },
      listen: { socket: socketPath },
    });
    expect(proxy.environment).toMatchObject({
      HTTPS_PROXY: 'http://127.0.0.1:8787',
      no_proxy: 'localhost,127.0.0.1,::1',
    });
    const { stdout } = await promisify(execFile)('sh', [
      ...[
        '-c',
        'cd "$1" && curl -s --unix-socket egress.sock -d "{}" -i "http://a/$2/v1/messages"',
        'sh',
        deep,
        proxy.token,
      ],
    ]);
    expect(stdout).toMatch(
      /502 Bad Gateway[^]*"api_error","message":"The model service cannot be reached: ECONNREFUSED\."/,
    );
    expect(events).toEqual([
      {
        ...{ event: 'agent.model_unreachable', sessionId: 'a-session', step: 'build' },
        ...{ host: '127.0.0.1:1', error: 'ECONNREFUSED' },
      },
    ]);
  });
});

describe('the real Claude Code', () => {
  const region = 'eu-west-1';
  const keys = { id: `AKIA-${randomUUID()}`, secret: `${secret}-of-aws`, session: `${secret}-of-session` };
  const keyFile = join(folder, 'workload-identity.json');
  /** What no process, file or answer inside may hold. */
  const canaries = [secret, keys.id, keyFile];
  let model: ScriptedModel;
  let reached: string[] = [];
  let found: string[] = [];
  let scans = false;
  let scanned = 0;
  let url: string;

  beforeAll(async () => {
    model = await startScriptedModel(async (request) => {
      if (toolResults(request).length > 0) {
        for (const pid of scans ? processesNaming(join(folder, 'scratch')) : []) {
          scanned += 1;
          found.push(...(await canariesIn(pid, canaries)));
        }
        return { text: 'Done.' };
      }
      const command =
        'env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n"; grep -r . "$HOME" "$CLAUDE_CONFIG_DIR" "$TMPDIR" -a -h';
      return { tools: [{ name: 'Bash', input: { command, description: 'Looks around' } }] };
    });
    url = `http://${await serve((incoming, outgoing) => void service(incoming, outgoing).catch(() => outgoing.destroy()))}`;
    writeFileSync(`${keyFile}.token`, `${secret}-of-workload`);
    const token = 'urn:ietf:params:oauth:token-type:jwt';
    writeFileSync(
      keyFile,
      JSON.stringify({
        ...{ type: 'external_account', audience: '//iam.test/pool', subject_token_type: token },
        ...{ token_url: `${url}/token`, credential_source: { file: `${keyFile}.token` } },
      }),
    );
  });
  afterAll(() => model.stop());

  /** Every model service in one: checks the credential and answers by the scripted model. */
  async function service(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url: target = '', headers } = incoming;
    const body = await text(incoming);
    if (target === '/token') {
      const isProved = new URLSearchParams(body).get('subject_token') === `${secret}-of-workload`;
      outgoing.writeHead(isProved ? 200 : 400, { 'content-type': 'application/json' });
      outgoing.end(
        JSON.stringify({ access_token: `${secret}-of-google`, expires_in: 3600, token_type: 'Bearer' }),
      );
      return;
    }
    const proof = proofOf(method, target, headers, body);
    reached.push(`${proof} ${method} ${target.replace(/\?.*/, '')}`);
    if (proof === 'none') return void outgoing.writeHead(401).end('{}');
    if (target.startsWith('/bedrock/inference-profiles'))
      return void outgoing.end('{"inferenceProfileSummaries":[]}');
    const asked = { model: 'claude', stream: true, ...(JSON.parse(body) as object) };
    const answer = await fetch(`${model.url}/v1/messages`, { method: 'POST', body: JSON.stringify(asked) });
    const isBedrock = target.startsWith('/bedrock/');
    outgoing.writeHead(answer.status, {
      'content-type': isBedrock ? 'application/vnd.amazon.eventstream' : 'text/event-stream',
    });
    const events = await answer.text();
    if (!isBedrock) return void outgoing.end(events);
    for (const [, data = ''] of events.matchAll(/^data: (.*)$/gm)) outgoing.write(awsChunk(data));
    outgoing.end();
  }

  function proofOf(
    method: string,
    target: string,
    headers: IncomingMessage['headers'],
    body: string,
  ): string {
    if (headers.authorization === `Bearer ${secret}`) return 'bearer';
    if (headers['x-api-key'] === secret) return 'key';
    if (headers.authorization === `Bearer ${secret}-of-google`) return 'google';
    const [, signed = '', signature] =
      /^AWS4-HMAC-SHA256 Credential=[^,]+, SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
        headers.authorization ?? '',
      ) ?? [];
    return signature !== undefined && signature === awsSignature(method, target, headers, signed, body)
      ? 'signed'
      : 'none';
  }

  /** Written down after AWS's description, not with the library that signs. */
  function awsSignature(
    method: string,
    target: string,
    headers: IncomingMessage['headers'],
    signed: string,
    body: string,
  ): string {
    const sha = (value: string) => createHash('sha256').update(value).digest('hex');
    const hmac = (key: string | Buffer, value: string) => createHmac('sha256', key).update(value).digest();
    const [path = '', query = ''] = target.split('?');
    const at = String(headers['x-amz-date']);
    const scope = `${at.slice(0, 8)}/${region}/bedrock/aws4_request`;
    const canonical = [
      ...[method, path.split('/').map(encodeURIComponent).join('/'), query.split('&').sort().join('&')],
      ...signed.split(';').map((name) => `${name}:${String(headers[name])}`),
      ...['', signed, sha(body)],
    ].join('\n');
    const key = [at.slice(0, 8), region, 'bedrock', 'aws4_request'].reduce<string | Buffer>(
      hmac,
      `AWS4${keys.secret}`,
    );
    return hmac(key, ['AWS4-HMAC-SHA256', at, scope, sha(canonical)].join('\n')).toString('hex');
  }

  const bedrock = { CLAUDE_CODE_USE_BEDROCK: '1', AWS_REGION: region };
  it.each<{ kind: string; variables: () => Record<string, string>; reaches: RegExp }>([
    {
      kind: 'an API key',
      variables: () => ({ ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: secret }),
      reaches: /^key POST \/v1\/messages$/,
    },
    {
      kind: 'a token',
      variables: () => ({ ANTHROPIC_BASE_URL: `${url}/gateway/`, ANTHROPIC_AUTH_TOKEN: secret }),
      reaches: /^bearer POST \/gateway\/v1\/messages$/,
    },
    {
      kind: 'an OAuth token',
      variables: () => ({ ANTHROPIC_BASE_URL: url, CLAUDE_CODE_OAUTH_TOKEN: secret }),
      reaches: /^bearer POST \/v1\/messages$/,
    },
    {
      kind: 'a bearer token of Bedrock',
      variables: () => ({
        ...bedrock,
        ANTHROPIC_BEDROCK_BASE_URL: `${url}/bedrock`,
        AWS_BEARER_TOKEN_BEDROCK: secret,
      }),
      reaches:
        /^bearer (POST \/bedrock\/model\/[^/]+\/invoke-with-response-stream|GET \/bedrock\/inference-profiles)$/,
    },
    {
      kind: 'access keys of Bedrock',
      variables: () => ({
        ...bedrock,
        ANTHROPIC_BEDROCK_BASE_URL: `${url}/bedrock`,
        ANTHROPIC_MODEL: 'arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-5-5-v1:0',
        ...{
          AWS_ACCESS_KEY_ID: keys.id,
          AWS_SECRET_ACCESS_KEY: keys.secret,
          AWS_SESSION_TOKEN: keys.session,
        },
      }),
      reaches:
        /^signed (POST \/bedrock\/model\/[^/]+\/invoke-with-response-stream|GET \/bedrock\/inference-profiles)$/,
    },
    {
      kind: 'a workload identity of Vertex',
      variables: () => ({
        ...{
          CLAUDE_CODE_USE_VERTEX: '1',
          ANTHROPIC_VERTEX_PROJECT_ID: 'proj',
          CLOUD_ML_REGION: 'europe-west1',
        },
        ...{ ANTHROPIC_VERTEX_BASE_URL: `${url}/v1`, GOOGLE_APPLICATION_CREDENTIALS: keyFile },
      }),
      reaches:
        /^google POST \/v1\/projects\/proj\/locations\/europe-west1\/publishers\/anthropic\/models\/[^/]+:streamRawPredict$/,
    },
    {
      kind: 'a key of Foundry',
      variables: () => ({
        ...{ CLAUDE_CODE_USE_FOUNDRY: '1', ANTHROPIC_FOUNDRY_BASE_URL: `${url}/anthropic` },
        ANTHROPIC_FOUNDRY_API_KEY: secret,
      }),
      reaches: /^key POST \/anthropic\/v1\/messages$/,
    },
  ])('works with $kind, which nothing that it starts can find', async ({ kind, variables, reaches }) => {
    [reached, found, scanned] = [[], [], 0];
    // It takes seconds, and all go the same way.
    scans = kind === 'an API key';
    const workspace = mkdtempSync(join(folder, 'project-'));
    const environment = variables();
    const agent = createAgent({
      modelEnvironment: environment,
      inheritedEnvironment: { PATH: path },
      scratchRoot: join(folder, 'scratch'),
      definition: shippedDefinition,
      sandbox: defaultSandbox,
      log: (event) => {
        if (event.event === 'agent.egress_refused' || event.event === 'agent.model_unreachable')
          events.push(event);
      },
    });
    const result = await agent.run(
      {
        task: { name: 'build', kind: 'work', role: 'build', allowedTools: shippedDefinition.tools },
        ...{ model: environment.ANTHROPIC_MODEL ?? 'default', mode: 'initial', instructionKind: 'none' },
        ...{
          sessionId: parseSessionId(randomUUID()),
          baseSessionId: null,
          store: new InMemorySessionStore(),
        },
        ...{ prompt: 'Look around.', workspace, maxTurns: 5, timeoutMs: 100_000 },
      },
      { signal: new AbortController().signal, lease: renewedLease(3_600_000), onProgress: () => undefined },
    );
    expect(result.turns).toBe(2);
    for (const each of reached) expect(each).toMatch(reaches);
    // Requests for nothing else, and to nobody else.
    expect(events).toEqual([]);
    const [shown = ''] = toolResults(model.requests.at(-1)!);
    expect(shown).toContain('HTTPS_PROXY=http://127.0.0.1:');
    for (const canary of canaries) expect(shown).not.toContain(canary);
    // Nor is it in the memory of any process of the run.
    expect(scanned > 0).toBe(scans);
    expect(found).toEqual([]);
  });
});

/** One event in the framing of AWS's event streams. */
function awsChunk(data: string): Buffer {
  const header = (name: string, value: string) =>
    Buffer.concat([
      Buffer.from([name.length]),
      Buffer.from(name),
      Buffer.from([7, 0, value.length]),
      Buffer.from(value),
    ]);
  const headers = Buffer.concat([
    ...[
      header(':event-type', 'chunk'),
      header(':content-type', 'application/json'),
      header(':message-type', 'event'),
    ],
  ]);
  const payload = Buffer.from(JSON.stringify({ bytes: Buffer.from(data).toString('base64') }));
  const uint32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const prelude = Buffer.concat([uint32(headers.length + payload.length + 16), uint32(headers.length)]);
  const message = Buffer.concat([prelude, uint32(crc32(prelude)), headers, payload]);
  return Buffer.concat([message, uint32(crc32(message))]);
}

/** Which of the canaries are in the writable memory of a process. */
async function canariesIn(pid: number, canaries: string[]): Promise<string[]> {
  const memory = await open(`/proc/${pid}/mem`, 'r');
  const found = new Set<string>();
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm);
    const piece = Buffer.alloc(1 << 20);
    for (const [, from = '', to = ''] of maps) {
      // Pieces overlap, so that nothing lies across two.
      for (let at = parseInt(from, 16); at < parseInt(to, 16); at += piece.length - 128) {
        const length = Math.min(piece.length, parseInt(to, 16) - at);
        const { bytesRead } = await memory.read(piece, 0, length, at).catch(() => ({ bytesRead: 0 }));
        if (bytesRead === 0) break;
        const seen = piece.subarray(0, bytesRead);
        for (const canary of canaries) if (seen.includes(canary)) found.add(canary);
      }
    }
  } finally {
    await memory.close();
  }
  return [...found];
}
