import { describe, expect, it } from '@jest/globals';
import { stepTask } from '../../agent/kinds/kinds.js';
import type { ChainOverrides } from '../../contracts/plan.js';
import { checkDefinition } from '../../definition/check.js';
import { type ChainDefinitionInput, type StepInput, isAgentStep } from '../../definition/definition.js';
import { inputDigest } from '../../definition/digest.js';
import { resolvePlan } from '../../definition/resolve-plan.js';

describe('the digest of what an attempt was given', () => {
  /** As a worker makes it for the docs step. */
  const digest = (
    input: ChainDefinitionInput,
    { prompt = 'Write docs.', ...overrides }: { prompt?: string } & ChainOverrides = {},
  ) => {
    const { definition } = checkDefinition(input);
    const docs = definition.steps.filter(isAgentStep).find(({ name }) => name === 'docs');
    const planned = resolvePlan(definition, [overrides]).plan.steps.find(({ name }) => name === 'docs');
    if (!docs || !planned || planned.kind === 'activity') throw new Error('There is no step docs.');
    const { allowedTools } = stepTask(docs);
    return inputDigest(definition, { prompt, allowedTools, model: planned.model });
  };
  const chain = (...steps: StepInput[]): ChainDefinitionInput => ({
    steps: ['build', 'metadata', 'docs', 'compact'].map(
      (name) => steps.find((step) => step.name === name) ?? name,
    ),
  });
  const plain = digest({});

  it.each<[string, ChainDefinitionInput]>([
    ['house rules', { houseRules: 'Be brief.' }],
    ['tools', { tools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'] }],
    ['allowed tools', chain({ name: 'docs', allowedTools: ['Read', 'Write'] })],
    ['the model of the chain', { model: 'claude-a' }],
    ['the model of the step', chain({ name: 'docs', model: 'claude-a' })],
    ['CLAUDE.md', { claudeMd: true }],
    ['servers', { mcpServers: { search: { command: 'search' } } }],
    ['the schema of a submission', chain({ name: 'metadata', schema: { type: 'object', properties: {} } })],
  ])('changes with %s', (_what, input) => {
    expect(digest(input)).not.toBe(plain);
  });

  it('changes with the prompt and with the model that the start names', () => {
    expect(digest({}, { prompt: 'Write more.' })).not.toBe(plain);
    expect(digest({}, { model: 'claude-a' })).toBe(digest(chain({ name: 'docs', model: 'claude-a' })));
  });

  it.each<[string, ChainDefinitionInput]>([
    [
      'budgets and time limits',
      chain({ name: 'docs', timeoutMs: 5_000, maxTurns: 3, maxAttempts: 1, critical: true }),
    ],
    ['another step', chain({ name: 'build', prompt: () => 'Build.', allowedTools: ['Read'] })],
    ['where a value is stored', chain({ name: 'metadata', column: 'ai_other' })],
  ])('does not change with %s', (_what, input) => {
    expect(digest(input)).toBe(plain);
  });

  it('holds of a server the name alone, for the rest may be a secret', () => {
    const of = (token: string) =>
      digest({ mcpServers: { search: { type: 'http', url: 'http://localhost:1', headers: { token } } } });
    expect(of('one')).toBe(of('two'));
  });
});
