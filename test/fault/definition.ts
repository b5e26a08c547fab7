import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChainDefinition, StepDefinition } from '../../definition/definition.js';
import { loadChainDefinition } from '../../definition/load.js';
import { shippedDefinition } from '../../definition/shipped.js';

/** The steps of the matrix, in their order: the shipped four, and between them three of the host's own. */
export const stepNames = ['build', 'test', 'metadata', 'review', 'docs', 'deploy', 'compact'] as const;
export type MatrixStep = (typeof stepNames)[number];

/** The variable that names the task queue of the host's own worker. */
export const deployTaskQueue = 'DEPLOY_TASK_QUEUE';

/** As a host writes it. */
const configuration = `import { defineChain } from 'session-chain/config';

export default defineChain({
  steps: [
    'build',
    {
      name: 'test',
      kind: 'work',
      prompt: () => 'Step: test. Look at what was built, and write to test.md what works and what does not.',
      allowedTools: ['Bash', 'Edit', 'Glob', 'Grep', 'Read', 'Write'],
      writes: ['test.md'],
    },
    'metadata',
    {
      name: 'review',
      kind: 'submission',
      schema: {
        type: 'object',
        properties: {
          verdict: { type: 'string', enum: ['good', 'bad'] },
          summary: { type: 'string', minLength: 1 },
          findings: { type: 'array', items: { type: 'string' } },
        },
        required: ['verdict', 'summary', 'findings'],
        additionalProperties: false,
      },
      prompt: () => 'Step: review. Read the project and hand in your review once. Change no files.',
    },
    'docs',
    {
      name: 'deploy',
      kind: 'activity',
      role: 'deploy',
      activity: 'deployVersion',
      taskQueue: process.env.${deployTaskQueue} ?? 'deploy',
      startToCloseTimeoutMs: 20_000,
      maxAttempts: 5,
    },
    { name: 'compact', thresholdTokens: 0 },
  ],
});
`;

/** Writes the configuration file of the matrix into a folder, and loads it as a worker does. */
export async function writeDefinition(
  folder: string,
): Promise<{ file: string; definition: ChainDefinition }> {
  const file = join(folder, 'session-chain.config.ts');
  writeFileSync(file, configuration);
  const { definition } = await loadChainDefinition({
    SESSION_CHAIN_CONFIG: file,
    SESSION_CHAIN_MODEL: undefined,
  });
  return { file, definition };
}

export function stepOf({ steps }: Pick<ChainDefinition, 'steps'>, name: string): StepDefinition {
  const step = steps.find((one) => one.name === name);
  if (!step) throw new Error(`The definition has no step ${name}.`);
  return step;
}

/** A shipped step that runs Claude Code. */
export function shippedStep(name: string): Exclude<StepDefinition, { kind: 'activity' }> {
  const step = stepOf(shippedDefinition, name);
  if (step.kind === 'activity') throw new Error(`The step ${name} runs no agent.`);
  return step;
}
