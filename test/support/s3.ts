import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { startServer } from '../../dev/server.js';
import { testProgram } from './programs.js';

export interface S3Server {
  url: string;
  /** What a program needs to use the bucket. */
  environment: Record<string, string>;
  bucket: string;
  stop(): Promise<void>;
}

/** A server of S3 with one bucket and one user, which refuses wrong credentials. */
export async function startS3(bucket = 'archive'): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-s3-'));
  const { server, ports } = await startServer({
    name: 'S3',
    logFile: join(folder, 's3.log'),
    ports: { port: undefined },
    command: ({ port }) => ({
      command: testProgram('moto'),
      args: ['-H', '127.0.0.1', '-p', String(port)],
    }),
    isReady: async ({ port }) => (await fetch(`http://127.0.0.1:${port}/moto-api/data.json`)).ok,
  });
  const url = `http://127.0.0.1:${ports.port}`;
  const key = await createUser(url);
  await expectOk(fetch(`${url}/${bucket}`, { method: 'PUT', headers: signedFor('s3') }));
  // From here on it looks at signatures and rights.
  await expectOk(fetch(`${url}/moto-api/reset-auth`, { method: 'POST', body: '0' }));
  return {
    url,
    bucket,
    environment: { ...key, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: url },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function createUser(url: string) {
  const ask = async (action: string, parameters: Record<string, string> = {}) => {
    const body = new URLSearchParams({
      ...{ Action: action, Version: '2010-05-08', UserName: 'archivist' },
      ...parameters,
    });
    return (await expectOk(fetch(url, { method: 'POST', body, headers: signedFor('iam') }))).text();
  };
  await ask('CreateUser');
  const everything = { Effect: 'Allow', Action: '*', Resource: '*' };
  await ask('PutUserPolicy', {
    PolicyName: 'everything',
    PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [everything] }),
  });
  const answer = await ask('CreateAccessKey');
  const [, id = ''] = /<AccessKeyId>(.*)<\/AccessKeyId>/.exec(answer) ?? [];
  const [, secret = ''] = /<SecretAccessKey>(.*)<\/SecretAccessKey>/.exec(answer) ?? [];
  return { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret };
}

/** The server tells its services apart by this header. */
function signedFor(service: string) {
  return {
    authorization: `AWS4-HMAC-SHA256 Credential=none/20261126/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=none`,
  };
}

async function expectOk(answer: Promise<Response>): Promise<Response> {
  const response = await answer;
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response;
}

type Answer = (request: IncomingMessage, response: ServerResponse, pass: () => void) => void;

export interface HostileProxy {
  url: string;
  /** How requests are answered from now on. */
  answer: Answer;
  /** How many came since this was set. */
  requests: number;
  stop(): Promise<void>;
}

/** In front of a server of S3, which it passes requests on to, or answers them in its place. */
export async function startHostileProxy(target: string): Promise<HostileProxy> {
  const server = createServer((request, response) => {
    proxy.requests += 1;
    request.on('error', () => undefined);
    proxy.answer(request, response, () => passOn(request, response));
  });
  function passOn(request: IncomingMessage, response: ServerResponse): void {
    const { method, url = '/', headers } = request;
    const upstream = httpRequest(target + url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: HostileProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (_request, _response, pass) => pass(),
    requests: 0,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return proxy;
}
