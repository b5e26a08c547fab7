import type { ChainDefinition, PromptContext, StepDefinition } from './definition.js';
import { metadataSchema } from './metadata-schema.js';
import { submissionTool } from './submission.js';

const minutes = 60_000;

/** No subagents: a fork does not know what they did, only what they answered. */
const tools = ['Bash', 'Edit', 'Glob', 'Grep', 'NotebookEdit', 'Read', 'Write'];

const steps: readonly StepDefinition[] = [
  {
    name: 'build',
    purpose: 'Builds what the instruction asks for',
    kind: 'work',
    role: 'build',
    prompt: buildPrompt,
    allowedTools: tools,
    critical: true,
    timeoutMs: 60 * minutes,
    maxTurns: 200,
    maxAttempts: 5,
  },
  {
    name: 'metadata',
    purpose: 'Describes the project in a few fields',
    kind: 'submission',
    schema: metadataSchema,
    column: 'ai_metadata',
    prompt: () =>
      [
        'Step: metadata. Describe the project as it is now.',
        `Call the tool ${submissionTool('metadata')} once; its fields say what is wanted. ` +
          'If it is not accepted, correct what the answer names and call it again. Change no files.',
      ].join('\n\n'),
    allowedTools: ['Glob', 'Grep', 'Read', submissionTool('metadata')],
    critical: false,
    timeoutMs: 15 * minutes,
    maxTurns: 50,
    maxAttempts: 5,
  },
  {
    name: 'docs',
    purpose: 'Brings the documentation up to date',
    kind: 'work',
    writes: ['README.md', 'docs/'],
    prompt: () =>
      [
        'Step: docs. Bring the documentation up to date with the project as it is now.',
        'Write README.md: what the project is, how to run it, which file holds what. ' +
          'Longer texts go in the folder docs/. Change no other files.',
      ].join('\n\n'),
    allowedTools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'],
    critical: false,
    timeoutMs: 15 * minutes,
    maxTurns: 50,
    maxAttempts: 5,
  },
  {
    name: 'compact',
    purpose: 'Replaces the context by a summary',
    kind: 'compaction',
    thresholdTokens: 20_000,
    critical: false,
    timeoutMs: 15 * minutes,
    maxAttempts: 5,
  },
];

/** The shipped chain, which supplies what a configuration file leaves out. No cost limit until one is set. */
export const shippedDefinition: ChainDefinition = {
  file: null,
  tools,
  houseRules: houseRulesFor(steps),
  claudeMd: false,
  mcpServers: {},
  steps,
  reset: { operations: 20, contextTokens: 150_000 },
  sandbox: {},
  onEnd: null,
};

/** The house rules of a chain that names none. */
export function houseRulesFor(steps: readonly Pick<StepDefinition, 'name' | 'kind'>[]): string {
  const names = steps.filter(({ kind }) => kind !== 'activity').map(({ name }) => name);
  const submissions = steps
    .filter(({ kind }) => kind === 'submission')
    .map(({ name }) => submissionTool(name));
  return [
    `You work unattended on one project, in a chain of steps: ${names.join(', ')}.`,
    'Each message from the user is one step. Do what it asks, completely, and nothing beyond it.',
    'Nobody can answer questions: decide yourself, and say in your last message what you decided.',
    'Work inside the project folder only. Do not start programs that keep running after a command.',
    ...(submissions.length === 0 ? [] : [`Call ${submissions.join(', ')} only in a step that asks for it.`]),
  ].join('\n');
}

function buildPrompt({ mode, instruction }: Pick<PromptContext, 'mode' | 'instruction'>): string {
  const wanted = instruction?.trim() ?? '';
  return [
    mode === 'initial'
      ? 'Step: build. Make the first working version of this project in the current folder.'
      : 'Step: build. Update the project in the current folder; keep what works and change what is asked.',
    wanted !== ''
      ? `What is wanted:\n\n${wanted}`
      : mode === 'initial'
        ? 'Nothing more is specified: choose a small, complete web app that opens in a browser without a build.'
        : 'Nothing more is specified: make one improvement that a user of the project would notice.',
    'End with a short summary of what you made and which files hold it.',
  ].join('\n\n');
}
