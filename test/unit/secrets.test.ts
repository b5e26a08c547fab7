import { describe, expect, it } from '@jest/globals';
import { SessionChainError } from '../../contracts/failures.js';
import { credentialsIn, withoutCredentials, withoutValues } from '../../contracts/secrets.js';

const canary = 'canary-9f2c71d0';

describe('an address in a text', () => {
  it.each([
    [`postgres://app:${canary}@db:5432/shop`, 'postgres://***@db:5432/shop'],
    [`connect to "redis://:${canary}@cache:6379/0" failed`, 'connect to "redis://***@cache:6379/0" failed'],
    [`https://${canary}@proxy.example`, 'https://***@proxy.example'],
    [`postgresql://app:a@${canary}@db/shop`, 'postgresql://***@db/shop'],
    [
      `postgres://db/shop?user=app&password=${canary}&ssl=1`,
      'postgres://db/shop?user=app&password=***&ssl=1',
    ],
    [`https://model/v1?api_key=${canary}#top`, 'https://model/v1?api_key=***#top'],
    [`https://model/v1?x=1;X-Amz-Signature=${canary}`, 'https://model/v1?x=1;X-Amz-Signature=***'],
    [`{"url":"http://u:${canary}@h/"}`, '{"url":"http://***@h/"}'],
    [`authorization: Bearer ${canary}`, 'authorization: Bearer ***'],
    [`the key sk-ant-api03-${canary} is not valid`, 'the key *** is not valid'],
    [`it showed sck_0123456789ab_${'4f'.repeat(24)}, once`, 'it showed sck_0123456789ab_***, once'],
  ])('%s', (text, shown) => {
    expect(withoutCredentials(text)).toBe(shown);
    expect(new SessionChainError('INTERNAL', text, text)).toMatchObject({ message: shown, remedy: shown });
  });

  it.each([
    'postgres://db:5432/shop?sslmode=verify-full',
    'chain/shop/v1/v1 polls as 12@host',
    'https://registry.example/@scope/package',
    'Pass --max-cost-usd to start, or budget.maxCostUsd.',
  ])('stays as it is without one: %s', (text) => {
    expect(withoutCredentials(text)).toBe(text);
  });

  it('takes no time that a long text could stretch', () => {
    for (const part of ['a.', '?pass', 'a://b@', '?sig=&', 'Bearer ']) {
      // Of the processor: a busy machine lets it wait.
      const begun = process.cpuUsage();
      withoutCredentials(part.repeat(200_000));
      expect(process.cpuUsage(begun).user).toBeLessThan(5_000_000);
    }
  });
});

describe('the credentials of an environment', () => {
  const named = (environment: Record<string, string>) => credentialsIn(environment);

  it.each([
    { ANTHROPIC_API_KEY: canary },
    { TEMPORAL_API_KEY: canary },
    { AWS_BEARER_TOKEN_BEDROCK: canary },
    { PGPASSWORD: canary },
    { POSTGRES_PWD: canary },
    { ANTHROPIC_CUSTOM_HEADERS: `X-Team: shop\nX-Gateway: ${canary}` },
    { TEMPORAL_GRPC_META_AUTHORIZATION: `Bearer ${canary}` },
    { TEMPORAL_TLS_CLIENT_KEY_DATA: `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----` },
    { DATABASE_URL: `postgres://app:${canary}@db/shop` },
    { DATABASE_URL: `postgres://db/shop?user=app&password=${canary}` },
    { REDIS_URL: `redis://:${canary}@cache` },
    { HTTPS_PROXY: `http://u:${canary}@proxy:3128` },
    { TEMPORAL_ADDRESS: `u:${canary}@temporal:7233` },
  ])('%o', (environment) => {
    expect(named(environment)).toContain(canary);
  });

  it('are found in the forms in which libraries quote them', () => {
    const values = named({ DATABASE_URL: 'postgres://app:p%40ss%2Fword%22x@db/shop' });
    for (const quoted of ['p@ss/word"x', 'p%40ss%2Fword%22x', String.raw`p@ss/word\"x`]) {
      expect(withoutValues(`it says ${quoted}.`, values)).toBe('it says ***.');
    }
  });

  it('do not hide words: names of users and databases, short passwords, files, folders', () => {
    const values = named({
      DATABASE_URL: 'postgres://session_chain:session_chain@db/session_chain',
      REDIS_URL: 'redis://:secret@cache',
      PWD: '/srv/projects/shop',
      GOOGLE_APPLICATION_CREDENTIALS: '/run/secrets/google.json',
      TEMPORAL_TLS_CLIENT_KEY_PATH: '/run/secrets/temporal.pem',
      SESSION_CHAIN_TASK_QUEUE: 'session-chain',
    });
    expect(values).toEqual([]);
  });
});
