import { describe, expect, it } from '@jest/globals';
import { allowedTools, continuePrompt, digestOf, modelOf } from '../../agent/steps.js';
import { completeDefinition } from '../../definition/check.js';
import { defaultDefinition } from '../../definition/shipped.js';
import type { ChainDefinitionInput } from '../../definition/definition.js';
import { metadataTool } from '../../definition/metadata.js';
import { stepNames } from '../../contracts/steps.js';
import { shippedPrompt } from '../support/shipped-prompt.js';

describe('the shipped steps', () => {
  const allowed = (step: (typeof stepNames)[number]) => allowedTools(defaultDefinition, step);

  it('allow only tools that every step has', () => {
    const known = new Set([...defaultDefinition.tools, metadataTool]);
    for (const step of stepNames) expect(allowed(step).filter((tool) => !known.has(tool))).toEqual([]);
  });

  it('submit metadata in the metadata step alone, which writes nothing', () => {
    expect(stepNames.filter((step) => allowed(step).includes(metadataTool))).toEqual(['metadata']);
    for (const tool of ['Bash', 'Edit', 'Write']) expect(allowed('metadata')).not.toContain(tool);
  });

  it('carry the instruction in the build and nowhere else', async () => {
    expect(await shippedPrompt('build', 'initial', ' A shop. ')).toContain('What is wanted:\n\nA shop.\n');
    for (const step of ['metadata', 'docs', 'compact'] as const) {
      expect(await shippedPrompt(step, 'update', 'A shop.')).not.toContain('A shop.');
    }
  });

  it('differ by mode, and a blank instruction is none', async () => {
    expect(await shippedPrompt('build', 'initial')).not.toBe(await shippedPrompt('build', 'update'));
    expect(await shippedPrompt('build', 'update', '  \n')).toBe(await shippedPrompt('build', 'update'));
  });

  it('never start a build with a slash, which Claude Code would take for a command', async () => {
    expect(await shippedPrompt('build', 'initial', '/compact')).toMatch(/^Step: build\./);
    expect(await shippedPrompt('compact', 'update')).toBe('/compact');
    for (const step of stepNames) expect(continuePrompt(step)).toMatch(/^Step: /);
  });
});

describe('the digest of what an attempt was given', () => {
  const digest = (input: ChainDefinitionInput, asked: { prompt?: string; model?: string } = {}) => {
    const { definition } = completeDefinition(input);
    const model = modelOf(definition, 'docs', asked.model);
    return digestOf(definition, { step: 'docs', prompt: asked.prompt ?? 'Write docs.', model });
  };
  const plain = digest({});

  it.each<[string, ChainDefinitionInput]>([
    ['house rules', { houseRules: 'Be brief.' }],
    ['tools', { tools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'] }],
    ['allowed tools', { steps: { docs: { allowedTools: ['Read', 'Write'] } } }],
    ['the model of the chain', { model: 'claude-a' }],
    ['the model of the step', { steps: { docs: { model: 'claude-a' } } }],
    ['settings sources', { settingSources: ['project'] }],
    ['servers', { mcpServers: { search: { command: 'search' } } }],
    ['the schema of the metadata', { steps: { metadata: { schema: { type: 'object', properties: {} } } } }],
  ])('changes with %s', (_what, input) => {
    expect(digest(input)).not.toBe(plain);
  });

  it('changes with the prompt and with the model that the start names', () => {
    expect(digest({}, { prompt: 'Write more.' })).not.toBe(plain);
    expect(digest({}, { model: 'claude-a' })).toBe(digest({ steps: { docs: { model: 'claude-a' } } }));
  });

  it.each<[string, ChainDefinitionInput]>([
    ['budgets and time limits', { steps: { docs: { timeoutMs: 5_000, maxTurns: 3, maxAttempts: 1 } } }],
    ['another step', { steps: { build: { prompt: () => 'Build.', allowedTools: ['Read'] } } }],
  ])('does not change with %s', (_what, input) => {
    expect(digest(input)).toBe(plain);
  });

  it('holds of a server the name alone, for the rest may be a secret', () => {
    const of = (token: string) =>
      digest({ mcpServers: { search: { type: 'http', url: 'http://localhost:1', headers: { token } } } });
    expect(of('one')).toBe(of('two'));
  });
});
