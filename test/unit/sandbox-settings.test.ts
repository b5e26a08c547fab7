import { describe, expect, it } from '@jest/globals';
import { readConfig } from '../../config/environment.js';
import { sandboxOfVariables, sandboxSettings } from '../../config/sandbox.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { checkDefinition } from '../../definition/check.js';
import { stepDigest } from '../../definition/digest.js';
import type { AgentStepDefinition } from '../../definition/definition.js';

const ofVariables = (variables: Record<string, string>) => sandboxOfVariables(readConfig(variables));

describe('the settings of the sandbox', () => {
  it('are field by field those of the environment, of the configuration file, the defaults', () => {
    const { sandbox } = checkDefinition({
      sandbox: { read: ['/opt/node'], egress: ['a.example:443'], limits: { memoryMb: 100, tmpMb: 50 } },
    }).definition;
    const variables = ofVariables({
      SESSION_CHAIN_SANDBOX_EGRESS: 'b.example:443, [::1]:80',
      SESSION_CHAIN_SANDBOX_MEMORY_MB: '200',
    });
    expect(sandboxSettings(sandbox, variables)).toEqual({
      ...defaultSandbox,
      read: ['/opt/node'],
      egress: ['b.example:443', '[::1]:80'],
      limits: { ...defaultSandbox.limits, memoryMb: 200, tmpMb: 50 },
    });
    expect(sandboxSettings({}, ofVariables({}))).toEqual(defaultSandbox);
  });

  it('are all settable by variables', () => {
    expect(
      sandboxSettings(
        ofVariables({
          SESSION_CHAIN_SANDBOX: 'command',
          SESSION_CHAIN_SANDBOX_COMMAND: '/usr/local/bin/wrap',
          SESSION_CHAIN_SANDBOX_READ: '/opt/node:/opt/my tools',
          SESSION_CHAIN_SANDBOX_EGRESS: 'packages.example.com:443',
          SESSION_CHAIN_SANDBOX_PROCESSES: '1',
          SESSION_CHAIN_SANDBOX_MEMORY_MB: '2',
          SESSION_CHAIN_SANDBOX_FILE_MB: '3',
          SESSION_CHAIN_SANDBOX_OPEN_FILES: '4',
          SESSION_CHAIN_SANDBOX_CPU_SECONDS: '5',
          SESSION_CHAIN_SANDBOX_TMP_MB: '6',
        }),
      ),
    ).toEqual({
      kind: 'command',
      command: '/usr/local/bin/wrap',
      read: ['/opt/node', '/opt/my tools'],
      egress: ['packages.example.com:443'],
      limits: { processes: 1, memoryMb: 2, fileMb: 3, openFiles: 4, cpuSeconds: 5, tmpMb: 6 },
    });
  });

  it.each([
    [{ SESSION_CHAIN_SANDBOX: 'docker' }, /SESSION_CHAIN_SANDBOX: .*"bwrap"\|"command"\|"none"/],
    [{ SESSION_CHAIN_SANDBOX_COMMAND: 'wrap' }, /SESSION_CHAIN_SANDBOX_COMMAND: must be an absolute path/],
    [{ SESSION_CHAIN_SANDBOX_READ: '/a:b' }, /SESSION_CHAIN_SANDBOX_READ\.1: must be an absolute path/],
    [{ SESSION_CHAIN_SANDBOX_EGRESS: 'a.example' }, /SESSION_CHAIN_SANDBOX_EGRESS\.0: must be host:port/],
    [{ SESSION_CHAIN_SANDBOX_EGRESS: 'https://a.example:1' }, /must be host:port/],
    [{ SESSION_CHAIN_SANDBOX_EGRESS: 'a.example:65536' }, /must be host:port/],
    [{ SESSION_CHAIN_SANDBOX_MEMORY_MB: '4G' }, /SESSION_CHAIN_SANDBOX_MEMORY_MB: /],
    [{ SESSION_CHAIN_SANDBOX_TMP_MB: '0' }, /SESSION_CHAIN_SANDBOX_TMP_MB: /],
  ])('refuse the variables %p by name', (variables, said) => {
    expect(() => readConfig(variables)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringMatching(said) }),
    );
  });

  it.each([
    [{ kind: 'Bwrap' }, 'sandbox.kind'],
    [{ egress: ['a.example'] }, 'sandbox.egress[0]: must be host:port, such as packages.example.com:443'],
    [{ read: ['~/tools'] }, 'sandbox.read[0]: must be an absolute path'],
    [{ limit: {} }, 'sandbox.limit: unknown field'],
    [{ limits: { memory: 1 } }, 'sandbox.limits.memory: unknown field'],
  ])('refuse %p in the configuration file by name', (sandbox, said) => {
    expect(() => checkDefinition({ sandbox })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(said) }),
    );
  });

  it('need a program for the sandbox `command`', () => {
    expect(() => sandboxSettings({ kind: 'command' })).toThrow(/SESSION_CHAIN_SANDBOX_COMMAND/);
  });

  it('are not part of what a step is', () => {
    const digests = [undefined, { kind: 'none' }].map((sandbox) => {
      const { definition } = checkDefinition({ sandbox });
      return stepDigest(definition, definition.steps[0] as AgentStepDefinition);
    });
    expect(digests[0]).toBe(digests[1]);
  });
});
