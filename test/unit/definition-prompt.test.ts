import { describe, expect, it } from '@jest/globals';
import { SessionChainError } from '../../contracts/failures.js';
import { checkDefinition } from '../../definition/check.js';
import { type PromptContext, type StepInput, isAgentStep } from '../../definition/definition.js';
import { promptFor } from '../../definition/prompt.js';
import { newKey } from '../support/chains.js';

const context = {
  ...newKey('shop'),
  mode: 'update',
  instruction: 'Blue.',
  workspace: '/srv/shop',
  values: { metadata: { name: 'Shop' } },
} as const;

async function ask(step: StepInput): Promise<string> {
  const { definition } = checkDefinition({ steps: [step] }, { file: '/srv/my.config.ts' });
  const [only] = definition.steps.filter(isAgentStep);
  if (!only) throw new Error('The step runs no agent.');
  return await promptFor(definition, only, context);
}

describe('the prompt of a step', () => {
  it('is made of what is known of the chain, at once or later', async () => {
    const prompt = ({ step, mode, instruction, workspace }: PromptContext) =>
      `${step} ${mode} ${instruction} ${workspace}`;
    expect(await ask({ name: 'docs', prompt })).toBe('docs update Blue. /srv/shop');
    const later = async (given: PromptContext) => await Promise.resolve(prompt(given));
    expect(await ask({ name: 'docs', prompt: later })).toBe('docs update Blue. /srv/shop');
  });

  it('knows the chain by its ids, and what earlier submissions handed in', async () => {
    let given: PromptContext | undefined;
    const prompt = (seen: PromptContext) => {
      given = seen;
      return 'Test it.';
    };
    expect(await ask({ name: 'test', kind: 'work', prompt })).toBe('Test it.');
    expect(given).toEqual({ ...context, step: 'test' });
  });

  it('holds no half of a character, which a model service would refuse', async () => {
    const prompt = () => 'Look at: 😀'.slice(0, -1);
    expect(await ask({ name: 'docs', prompt })).toBe('Look at: \ufffd');
  });

  it('of a compaction carries its instructions', async () => {
    expect(await ask({ name: 'compact' })).toBe('/compact');
    expect(await ask({ name: 'compact', instructions: 'Keep names.' })).toBe('/compact Keep names.');
  });

  it.each<[string, unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no such template');
      },
      /failed: no such template/,
    ],
    ['rejects', () => Promise.reject(new Error('no such template')), /failed: no such template/],
    ['gives no text', () => undefined, /gave undefined, not a text/],
    ['gives an empty text', () => ' \n', /gave an empty text/],
    [
      'gives a command',
      ({ instruction }: { instruction: string }) => `  /clear ${instruction}`,
      /starts with "\/"/,
    ],
    ['gives a library', () => 'x'.repeat(1_000_001), /more than 1000000 characters/],
  ])('that %s names file, step and reason', async (_how, prompt, reason) => {
    for (const step of [
      { name: 'docs', prompt },
      { name: 'test', kind: 'work', prompt },
      { name: 'metadata', prompt },
    ]) {
      const error: unknown = await ask(step as StepInput).catch((failure: unknown) => failure);
      if (!(error instanceof SessionChainError)) throw new Error('It was expected to fail.');
      expect(error.code).toBe('PROMPT_FAILED');
      expect(error.message.startsWith(`/srv/my.config.ts: steps.${step.name}.prompt `)).toBe(true);
      expect(error.message).toMatch(reason);
    }
  });
});
