import { describe, expect, it } from '@jest/globals';
import { questionTask } from '../../agent/kinds/question.js';
import {
  agentEnvironment,
  type EnvironmentParts,
  requireCredentials,
  shellGuard,
} from '../../agent/process/environment.js';
import { shippedDefinition } from '../../definition/shipped.js';

const parts: EnvironmentParts = {
  inherited: {},
  model: {},
  home: '/run/home',
  config: '/run/config',
  tmp: '/run/tmp',
  marker: { name: 'SESSION_CHAIN_AGENT', value: 'run-1' },
  shellGuardPath: '/run/shell-guard',
  task: { name: 'docs', kind: 'work' },
  mode: 'update',
  instructionKind: 'none',
};

describe('agentEnvironment', () => {
  it('passes only what is on its list', () => {
    const { env } = agentEnvironment({
      ...parts,
      inherited: {
        PATH: '/bin',
        LC_ALL: 'C.UTF-8',
        https_proxy: 'http://proxy',
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
    expect(env).toMatchObject({ PATH: '/bin', LC_ALL: 'C.UTF-8', https_proxy: 'http://proxy' });
    expect(env).toMatchObject({ HOME: '/run/home', CLAUDE_CONFIG_DIR: '/run/config', TMPDIR: '/run/tmp' });
    expect(env.SESSION_CHAIN_AGENT).toBe('run-1');
    for (const name of [
      'DATABASE_URL',
      'REDIS_URL',
      'TEMPORAL_API_KEY',
      'NODE_OPTIONS',
      'ANTHROPIC_API_KEY',
    ]) {
      expect(env).not.toHaveProperty(name);
    }
  });

  it('sends keys and tokens by descriptor', () => {
    const { env, descriptors, hidden } = agentEnvironment({
      ...parts,
      model: {
        ANTHROPIC_API_KEY: 'key',
        CLAUDE_CODE_OAUTH_TOKEN: 'token',
        ANTHROPIC_BASE_URL: 'http://model',
      },
    });
    expect(descriptors).toEqual(['key', 'token']);
    expect(env).toMatchObject({
      CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR: '3',
      CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR: '4',
      ANTHROPIC_BASE_URL: 'http://model',
    });
    expect(JSON.stringify(env)).not.toMatch(/"(key|token)"/);
    expect(hidden).toEqual([]);
    expect(env).not.toHaveProperty('CLAUDE_CODE_SHELL_PREFIX');
  });

  it('hides from the shell what has to stay in the environment', () => {
    const { env, hidden } = agentEnvironment({
      ...parts,
      model: { CLAUDE_CODE_USE_BEDROCK: '1', AWS_REGION: 'eu-west-1', AWS_SECRET_ACCESS_KEY: 'secret' },
    });
    expect(hidden).toEqual(['AWS_SECRET_ACCESS_KEY']);
    expect(env.CLAUDE_CODE_SHELL_PREFIX).toBe('/run/shell-guard');
    expect(shellGuard(hidden)).toContain('unset AWS_SECRET_ACCESS_KEY ');
  });

  const headersOf = (change: Partial<EnvironmentParts>) =>
    agentEnvironment({ ...parts, ...change }).env.ANTHROPIC_CUSTOM_HEADERS?.split('\n');

  it('tells the task by header, after the headers that were there', () => {
    expect(headersOf({ model: { ANTHROPIC_CUSTOM_HEADERS: 'x-gateway: one' } })).toEqual([
      'x-gateway: one',
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
