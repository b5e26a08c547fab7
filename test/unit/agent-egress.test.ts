import { describe, expect, it } from '@jest/globals';
import { createEgress } from '../../agent/egress/egress.js';
import { modelServiceOf } from '../../agent/egress/model-service.js';

const vertex = { CLAUDE_CODE_USE_VERTEX: '1', ANTHROPIC_VERTEX_PROJECT_ID: 'proj-1' };
const bedrock = { CLAUDE_CODE_USE_BEDROCK: '1', AWS_REGION: 'eu-west-1', AWS_BEARER_TOKEN_BEDROCK: 'canary' };
const foundry = { CLAUDE_CODE_USE_FOUNDRY: '1', ANTHROPIC_FOUNDRY_API_KEY: 'canary' };
const profiles = 'arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.x-v1%3A0';

describe('a model service', () => {
  const urlOf = (model: Record<string, string>, request: string) => {
    const [method = '', path = ''] = request.split(' ');
    return modelServiceOf(model).urlOf(method, path)?.href ?? null;
  };
  const predict = (location: string) =>
    `/projects/proj-1/locations/${location}/publishers/anthropic/models/claude-x@20250101:rawPredict`;

  it.each([
    [{ ANTHROPIC_API_KEY: 'canary' }, 'POST /v1/messages?beta=true', 'https://api.anthropic.com'],
    [{ ANTHROPIC_BASE_URL: 'http://gate/way/' }, 'POST /v1/messages/count_tokens', 'http://gate/way'],
    [
      { ...foundry, ANTHROPIC_FOUNDRY_RESOURCE: 'res-1' },
      'POST /v1/messages',
      'https://res-1.services.ai.azure.com/anthropic',
    ],
    [vertex, `POST ${predict('global')}`, 'https://aiplatform.googleapis.com/v1'],
    [vertex, `POST ${predict('eu')}`, 'https://aiplatform.eu.rep.googleapis.com/v1'],
    [vertex, `POST ${predict('europe-west1')}`, 'https://europe-west1-aiplatform.googleapis.com/v1'],
    [bedrock, 'POST /model/eu.anthropic.x/invoke', 'https://bedrock-runtime.eu-west-1.amazonaws.com'],
    [bedrock, `POST /model/${profiles}/invoke`, 'https://bedrock-runtime.eu-west-1.amazonaws.com'],
    [bedrock, 'GET /inference-profiles?nextToken=a%2Fb', 'https://bedrock.eu-west-1.amazonaws.com'],
  ])('of %j is asked %s at %s', (model, request, base) => {
    expect(urlOf(model, request)).toBe(`${base}${request.split(' ')[1]}`);
  });

  it.each([
    [bedrock, 'POST /model/./invoke'],
    [bedrock, 'POST /model/%2e%2e/invoke'],
    [bedrock, 'POST /model/a/../b/invoke'],
    [bedrock, 'POST /model/a%2F..%2Fb/invoke'],
    [bedrock, 'POST /model/a/invoke-async'],
    [bedrock, 'GET /foundation-models'],
    [vertex, `POST ${predict('a.evil.test')}`],
    [vertex, `POST ${predict('xn--a')}`],
    [vertex, `POST ${predict('xn--')}`],
    [vertex, `POST ${predict('a@evil.test')}`],
    [vertex, `POST ${predict('us').replace('proj-1', 'proj-2')}`],
    [vertex, `POST ${predict('us').replace('anthropic', 'google')}`],
    [{ ...foundry, ANTHROPIC_FOUNDRY_RESOURCE: 'res-1' }, 'GET /v1/messages'],
  ])('of %j is never asked %s', (model, request) => {
    expect(urlOf(model, request)).toBeNull();
  });

  it.each([
    { ANTHROPIC_API_KEY: 'canary', ANTHROPIC_CUSTOM_HEADERS: 'x-gateway: canary' },
    { ANTHROPIC_AUTH_TOKEN: 'canary', ANTHROPIC_BASE_URL: 'http://canary' },
    { CLAUDE_CODE_OAUTH_TOKEN: 'canary' },
    {
      CLAUDE_CODE_USE_BEDROCK: '1',
      AWS_ACCESS_KEY_ID: 'canary',
      AWS_SECRET_ACCESS_KEY: 'canary',
      AWS_PROFILE: 'canary',
    },
    bedrock,
    { ...vertex, GOOGLE_APPLICATION_CREDENTIALS: '/canary' },
    { ...foundry, ANTHROPIC_FOUNDRY_RESOURCE: 'canary' },
  ])('gives Claude Code nothing of %j that is secret', (model) => {
    const environment = modelServiceOf({ ...model, ANTHROPIC_MODEL: 'model-1' }).environment('http://proxy');
    expect(environment).toMatchObject({ ANTHROPIC_MODEL: 'model-1' });
    expect(Object.values(environment)).toContain('http://proxy');
    expect(JSON.stringify(environment)).not.toContain('canary');
  });

  it.each([
    [{ CLAUDE_CODE_USE_FOUNDRY: '1' }, 'CREDENTIALS_MISSING'],
    [{ ...foundry, ANTHROPIC_FOUNDRY_RESOURCE: 'canary/x' }, 'INVALID_INPUT'],
    [{ CLAUDE_CODE_USE_VERTEX: '1' }, 'INVALID_INPUT'],
    [{ ANTHROPIC_BASE_URL: 'canary' }, 'INVALID_INPUT'],
    [{ ANTHROPIC_BASE_URL: 'http://user:canary@host' }, 'INVALID_INPUT'],
  ])('of %j is refused as %s, without its value', (model, code) => {
    expect(() => modelServiceOf(model)).toThrow(
      expect.objectContaining({ code, message: expect.not.stringContaining('canary') as unknown }),
    );
  });
});

it('refuses a proxy of the worker that it cannot use, without its value', () => {
  const worker = { HTTPS_PROXY: 'socks5://user:canary@host:1' };
  expect(() => createEgress({ model: {}, worker, allow: [], log: () => undefined })).toThrow(
    expect.objectContaining({
      code: 'INVALID_INPUT',
      message: 'HTTPS_PROXY is not the address of a proxy by HTTP.',
    }),
  );
});
