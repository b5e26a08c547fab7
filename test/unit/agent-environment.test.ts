import { describe, expect, it } from '@jest/globals';
import { questionTask } from '../../agent/kinds/question.js';
import {
  agentEnvironment,
  type EnvironmentParts,
  requireCredentials,
} from '../../agent/process/environment.js';
import { shippedDefinition } from '../../definition/shipped.js';

const parts: EnvironmentParts = {
  inherited: {},
  egress: {},
  home: '/run/home',
  config: '/run/config',
  tmp: '/run/tmp',
  marker: { name: 'SESSION_CHAIN_AGENT', value: 'run-1' },
  task: { name: 'docs', kind: 'work' },
  mode: 'update',
  instructionKind: 'none',
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

  const headersOf = (change: Partial<EnvironmentParts>) =>
    agentEnvironment({ ...parts, ...change }).ANTHROPIC_CUSTOM_HEADERS?.split('\n');

  it('tells the task by header', () => {
    expect(headersOf({})).toEqual([
      'x-session-chain-step: docs',
      'x-session-chain-kind: work',
      'x-session-chain-mode: update',
      'x-session-chain-instruction: none',
    ]);
  });

  it('tells the role of a step that has one, and what a question is', () => {
    const task = { name: 'make', kind: 'work', role: 'build' } as const;
    expect(headersOf({ task, mode: 'initial', instructionKind: 'free' })).toEqual([
      'x-session-chain-step: make',
      'x-session-chain-kind: work',
      'x-session-chain-role: build',
      'x-session-chain-mode: initial',
      'x-session-chain-instruction: free',
    ]);
    expect(headersOf({ task: questionTask(shippedDefinition) })?.slice(0, 2)).toEqual([
      'x-session-chain-step: chat_plan',
      'x-session-chain-kind: question',
    ]);
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
