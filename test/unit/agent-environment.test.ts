import { describe, expect, it } from '@jest/globals';
import {
  agentEnvironment,
  type EnvironmentParts,
  requireCredentials,
} from '../../agent/process/environment.js';

const parts: EnvironmentParts = {
  inherited: {},
  egress: {},
  home: '/run/home',
  config: '/run/config',
  tmp: '/run/tmp',
  marker: { name: 'SESSION_CHAIN_AGENT', value: 'run-1' },
};

describe('agentEnvironment', () => {
  it('passes only what is on its list', () => {
    const env = agentEnvironment({
      ...parts,
      inherited: {
        PATH: '/bin',
        LC_ALL: 'C.UTF-8',
        https_proxy: 'http://user:password@proxy',
        NODE_EXTRA_CA_CERTS: '/etc/ca.pem',
        DATABASE_URL: 'postgres://db',
        REDIS_URL: 'redis://cache',
        TEMPORAL_API_KEY: 'key',
        TEMPORAL_ADDRESS: 'here',
        NODE_OPTIONS: '--inspect',
        HOME: '/root',
        ANTHROPIC_API_KEY: 'of the worker',
        UNSET: undefined,
      },
    });
    expect(env).toMatchObject({ PATH: '/bin', LC_ALL: 'C.UTF-8', NODE_EXTRA_CA_CERTS: '/etc/ca.pem' });
    expect(env).toMatchObject({ HOME: '/run/home', CLAUDE_CONFIG_DIR: '/run/config', TMPDIR: '/run/tmp' });
    expect(env.SESSION_CHAIN_AGENT).toBe('run-1');
    for (const name of [
      'DATABASE_URL',
      'REDIS_URL',
      'TEMPORAL_API_KEY',
      'NODE_OPTIONS',
      'ANTHROPIC_API_KEY',
      'https_proxy',
    ]) {
      expect(env).not.toHaveProperty(name);
    }
  });
});

describe('requireCredentials', () => {
  it('takes any way to authenticate and nothing less', () => {
    for (const name of [
      'ANTHROPIC_API_KEY',
      'ANTHROPIC_AUTH_TOKEN',
      'CLAUDE_CODE_OAUTH_TOKEN',
      'CLAUDE_CODE_USE_VERTEX',
    ]) {
      expect(() => requireCredentials({ [name]: '1' })).not.toThrow();
    }
    for (const model of [{}, { ANTHROPIC_API_KEY: '' }, { ANTHROPIC_BASE_URL: 'http://model' }]) {
      expect(() => requireCredentials(model)).toThrow(
        expect.objectContaining({ code: 'CREDENTIALS_MISSING' }),
      );
    }
  });
});
