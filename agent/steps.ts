import { assertNever } from '../contracts/assert-never.js';
import type { ChainMode, StepName } from '../contracts/steps.js';

/**
 * The tools of every step. The list never changes from step to step, because another list would cost the prompt
 * cache; what a step may not use it is not allowed (see {@link allowedTools}). No subagents: their transcripts are
 * not copied into a fork.
 */
export const agentTools = ['Bash', 'Edit', 'Glob', 'Grep', 'NotebookEdit', 'Read', 'Write'] as const;

export const metadataServerName = 'chain';
export const metadataToolName = 'submit_metadata';
export const metadataTool = `mcp__${metadataServerName}__${metadataToolName}`;

/** Appended to Claude Code's own system prompt, the same in every step. */
export const houseRules = [
  'You work unattended on one project, in a chain of steps: build, metadata, docs, compact.',
  'Each message from the user is one step. Do what it asks, completely, and nothing beyond it.',
  'Nobody can answer questions: decide yourself, and say in your last message what you decided.',
  'Work inside the project folder only. Do not start programs that keep running after a command.',
  `Call ${metadataTool} only in a step that asks for it.`,
].join('\n');

/** The tools that a step may use without being asked. */
export function allowedTools(step: StepName): string[] {
  switch (step) {
    case 'build':
      return [...agentTools];
    case 'metadata':
      return ['Glob', 'Grep', 'Read', metadataTool];
    case 'docs':
      return ['Edit', 'Glob', 'Grep', 'Read', 'Write'];
    case 'compact':
      return [];
    default:
      return assertNever(step);
  }
}

/** The user message that starts a step. `instruction` is the caller's own text and only a build has one. */
export function promptFor(step: StepName, mode: ChainMode, instruction?: string): string {
  switch (step) {
    case 'build':
      return buildPrompt(mode, instruction?.trim() ?? '');
    case 'metadata':
      return metadataPrompt;
    case 'docs':
      return docsPrompt;
    case 'compact':
      return '/compact';
    default:
      return assertNever(step);
  }
}

/** The user message that lets a step go on whose agent was stopped half-way. */
export function continuePrompt(step: StepName): string {
  return [
    `Step: ${step}, continued. You were stopped in the middle of it; what you did until then is above and stands.`,
    'Go on from there and finish the step. Check the outcome of a tool call that was interrupted before you repeat it.',
  ].join('\n\n');
}

function buildPrompt(mode: ChainMode, instruction: string): string {
  const task =
    mode === 'initial'
      ? 'Step: build. Make the first working version of this project in the current folder.'
      : 'Step: build. Update the project in the current folder; keep what works and change what is asked.';
  const wanted =
    instruction !== ''
      ? `What is wanted:\n\n${instruction}`
      : mode === 'initial'
        ? 'Nothing more is specified: choose a small, complete web app that opens in a browser without a build.'
        : 'Nothing more is specified: make one improvement that a user of the project would notice.';
  return [task, wanted, 'End with a short summary of what you made and which files hold it.'].join('\n\n');
}

const metadataPrompt = [
  'Step: metadata. Describe the project as it is now.',
  `Call the tool ${metadataTool} once with its name, a description, tags and recommendations for what to do next. ` +
    'If it is not accepted, correct what the answer names and call it again. Change no files.',
].join('\n\n');

const docsPrompt = [
  'Step: docs. Bring the documentation up to date with the project as it is now.',
  'Write README.md: what the project is, how to run it, which file holds what. ' +
    'Longer texts go in the folder docs/. Change no other files.',
].join('\n\n');
