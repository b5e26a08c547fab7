import { createHash, createHmac } from 'node:crypto';
import type { SignatureV4 } from '@smithy/signature-v4';
import type { GoogleAuth } from 'google-auth-library';
import { SessionChainError } from '../../contracts/failures.js';

/**
 * The service that a worker's model variables name. Claude Code talks to the proxy as if it were the service; the credential
 * is put in here and is nowhere else.
 */
export interface ModelService {
  /** What Claude Code gets in place of the model variables, for a proxy at this address. Nothing in it is a secret. */
  environment(proxy: string): Record<string, string>;
  /** Where a request goes; null for one that a run of the agent does not need. `path` is as it was sent. */
  urlOf(method: string, path: string): URL | null;
  /** The body is part of the signature. */
  signsBody: boolean;
  /** The headers that prove who pays. */
  credentials(call: ModelCall): Promise<Record<string, string>>;
  /** The operator's own headers, such as those that a gateway wants. */
  headers: Readonly<Record<string, string>>;
}

interface ModelCall {
  method: string;
  url: URL;
  /** Empty unless `signsBody`. */
  body: Buffer;
}

// The libraries of clouds are loaded where they are used: they take a worker's time and memory.

type Model = Readonly<Record<string, string>>;
type Provider = Omit<ModelService, 'headers'>;

/** Instead of every secret. */
const placeholder = 'held-by-the-worker';
/** Model variables that pass as they are. */
const openNames = ['ANTHROPIC_MODEL', 'CLAUDE_CODE_MAX_OUTPUT_TOKENS', 'ENABLE_TOOL_SEARCH'];
const messagePaths = /^\/v1\/messages(\/count_tokens)?$/;
const anthropic = 'https://api.anthropic.com';
const defaultAwsRegion = 'us-east-1';

/** Throws CREDENTIALS_MISSING and INVALID_INPUT, which name the variable and not its value. */
export function modelServiceOf(model: Model): ModelService {
  const provider = model.CLAUDE_CODE_USE_BEDROCK
    ? bedrock(model)
    : model.CLAUDE_CODE_USE_VERTEX
      ? vertex(model)
      : model.CLAUDE_CODE_USE_FOUNDRY
        ? foundry(model)
        : firstParty(model);
  const open = Object.fromEntries(openNames.flatMap((name) => (model[name] ? [[name, model[name]]] : [])));
  return {
    ...provider,
    environment: (proxy) => ({ ...open, ...provider.environment(proxy) }),
    headers: customHeaders(model.ANTHROPIC_CUSTOM_HEADERS ?? ''),
  };
}

function firstParty(model: Model): Provider {
  const base = addressIn(model, 'ANTHROPIC_BASE_URL') ?? new URL(anthropic);
  const { ANTHROPIC_API_KEY: key, ANTHROPIC_AUTH_TOKEN: token, CLAUDE_CODE_OAUTH_TOKEN: oauth } = model;
  const bearer = token ?? (key === undefined ? oauth : undefined);
  return {
    environment: (proxy) => ({
      ANTHROPIC_BASE_URL: proxy,
      ...(token === undefined && key === undefined
        ? { CLAUDE_CODE_OAUTH_TOKEN: placeholder }
        : {
            // In place of an API key as well: with that, Claude Code asks the real api.anthropic.com for the limits of its
            // organization, and waits seconds for an answer that cannot come.
            ANTHROPIC_AUTH_TOKEN: placeholder,
            // Otherwise it leaves out what only Anthropic's own service knows.
            ...(base.host === 'api.anthropic.com' && { _CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL: '1' }),
          }),
    }),
    urlOf: (method, path) => (method === 'POST' ? below(base, path, messagePaths) : null),
    signsBody: false,
    credentials: async () => ({
      ...(key !== undefined && { 'x-api-key': key }),
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    }),
  };
}

function foundry(model: Model): Provider {
  const { ANTHROPIC_FOUNDRY_API_KEY: key, ANTHROPIC_FOUNDRY_RESOURCE: resource } = model;
  if (key === undefined) {
    throw new SessionChainError('CREDENTIALS_MISSING', 'Foundry needs ANTHROPIC_FOUNDRY_API_KEY.');
  }
  const base =
    addressIn(model, 'ANTHROPIC_FOUNDRY_BASE_URL') ??
    (/^[A-Za-z0-9-]+$/.test(resource ?? '')
      ? new URL(`https://${resource}.services.ai.azure.com/anthropic`)
      : null);
  if (base === null) {
    throw new SessionChainError(
      'INVALID_INPUT',
      'Foundry needs ANTHROPIC_FOUNDRY_RESOURCE or ANTHROPIC_FOUNDRY_BASE_URL.',
    );
  }
  return {
    environment: (proxy) => ({
      CLAUDE_CODE_USE_FOUNDRY: '1',
      ANTHROPIC_FOUNDRY_BASE_URL: proxy,
      ANTHROPIC_FOUNDRY_API_KEY: placeholder,
    }),
    urlOf: (method, path) => (method === 'POST' ? below(base, path, messagePaths) : null),
    signsBody: false,
    credentials: async () => ({ 'x-api-key': key }),
  };
}

function vertex(model: Model): Provider {
  const { ANTHROPIC_VERTEX_PROJECT_ID: project, CLOUD_ML_REGION: region } = model;
  if (project === undefined) {
    throw new SessionChainError('INVALID_INPUT', 'Vertex needs ANTHROPIC_VERTEX_PROJECT_ID.');
  }
  const own = addressIn(model, 'ANTHROPIC_VERTEX_BASE_URL');
  const keyFile = model.GOOGLE_APPLICATION_CREDENTIALS;
  let google: GoogleAuth | undefined;
  const paths =
    /^\/projects\/([a-z][a-z0-9.:-]+)\/locations\/([a-z0-9-]+)\/publishers\/anthropic\/models\/[a-z][A-Za-z0-9@._-]+:(stream)?[rR]awPredict$/;
  return {
    environment: (proxy) => ({
      CLAUDE_CODE_USE_VERTEX: '1',
      CLAUDE_CODE_SKIP_VERTEX_AUTH: '1',
      ANTHROPIC_VERTEX_BASE_URL: proxy,
      ANTHROPIC_VERTEX_PROJECT_ID: project,
      ...(region !== undefined && { CLOUD_ML_REGION: region }),
    }),
    urlOf(method, path) {
      const [, asked, location = ''] = paths.exec(pathOf(path)) ?? [];
      if (method !== 'POST' || asked !== project) return null;
      // Not every location makes a name of a host.
      const address = `https://${vertexHost(location)}/v1`;
      const base = own ?? (URL.canParse(address) ? new URL(address) : null);
      return base && below(base, path, paths);
    },
    signsBody: false,
    async credentials({ url }) {
      google ??= new (await import('google-auth-library')).GoogleAuth({
        scopes: 'https://www.googleapis.com/auth/cloud-platform',
        ...(keyFile !== undefined && { keyFilename: keyFile }),
      });
      return Object.fromEntries(await google.getRequestHeaders(url.origin));
    },
  };
}

function vertexHost(location: string): string {
  if (location === 'global') return 'aiplatform.googleapis.com';
  if (location === 'us' || location === 'eu') return `aiplatform.${location}.rep.googleapis.com`;
  return `${location}-aiplatform.googleapis.com`;
}

function bedrock(model: Model): Provider {
  const region = model.AWS_REGION ?? defaultAwsRegion;
  const own = addressIn(model, 'ANTHROPIC_BEDROCK_BASE_URL');
  const { AWS_BEARER_TOKEN_BEDROCK: bearer } = model;
  const signer = bearer === undefined ? awsSigner(model, region) : null;
  // A model's id may be an ARN, with its colons and slashes encoded.
  const invocations =
    /^\/model\/[A-Za-z0-9](?:[A-Za-z0-9._:-]|%3A|%2F)*\/(?:invoke|invoke-with-response-stream|count-tokens)$/i;
  return {
    environment: (proxy) => ({
      CLAUDE_CODE_USE_BEDROCK: '1',
      CLAUDE_CODE_SKIP_BEDROCK_AUTH: '1',
      ANTHROPIC_BEDROCK_BASE_URL: proxy,
      AWS_REGION: region,
    }),
    urlOf(method, path) {
      const at = (service: string) => own ?? new URL(`https://${service}.${region}.amazonaws.com`);
      if (method === 'POST') return below(at('bedrock-runtime'), path, invocations);
      // Which models this account reaches under which names; Claude Code asks at its start.
      return method === 'GET' ? below(at('bedrock'), path, /^\/inference-profiles$/) : null;
    },
    signsBody: signer !== null,
    credentials: async (call) => (signer === null ? { authorization: `Bearer ${bearer}` } : signer(call)),
  };
}

/** Signs with the access keys of the model variables, else with what the worker's AWS profile or role gives. */
function awsSigner(model: Model, region: string): (call: ModelCall) => Promise<Record<string, string>> {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_PROFILE: profile,
  } = model;
  async function load(): Promise<SignatureV4> {
    const { SignatureV4 } = await import('@smithy/signature-v4');
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    const credentials =
      accessKeyId !== undefined && secretAccessKey !== undefined
        ? { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) }
        : defaultProvider({ ...(profile !== undefined && { profile }) });
    return new SignatureV4({ service: 'bedrock', region, sha256: Sha256, credentials });
  }
  let signature: Promise<SignatureV4> | undefined;
  return async ({ method, url, body }) => {
    const { headers } = await (
      await (signature ??= load())
    ).sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: { host: url.host },
      body,
    });
    delete headers.host;
    return headers;
  };
}

class Sha256 {
  private readonly hash;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(secret));
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.hash.update(bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
  reset(): void {
    throw new Error('Used once.');
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

function addressIn(model: Model, name: string): URL | null {
  const value = model[name];
  if (value === undefined) return null;
  const url = URL.canParse(value) ? new URL(value) : null;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new SessionChainError('INVALID_INPUT', `${name} is not an address by http or https.`);
  if (url.username === '' && url.password === '') return url;
  throw new SessionChainError(
    'INVALID_INPUT',
    `${name} holds a user or a password, which requests to a model service do not carry.`,
    'Name the address alone, and put what a gateway wants into ANTHROPIC_CUSTOM_HEADERS, such as Authorization: Basic ….',
  );
}

function pathOf(path: string): string {
  return path.split('?', 1)[0] ?? '';
}

/** The address of a path below the base, character by character; null unless it is one of the paths with a plain query. */
function below(base: URL, path: string, paths: RegExp): URL | null {
  const query = path.slice(pathOf(path).length);
  if (!paths.test(pathOf(path)) || path.includes('..') || !/^(\?[A-Za-z0-9._~%=&-]*)?$/.test(query))
    return null;
  return new URL(`${base.origin}${base.pathname.replace(/\/+$/, '')}${path}`);
}

/** One `name: value` a line, as Claude Code reads it. */
function customHeaders(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(/\r?\n/).flatMap((line) => {
      const [, name, value] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name.toLowerCase(), value]];
    }),
  );
}
