import { createHash } from 'node:crypto';
import type { McpServerConfig } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { ChainDefinition, PromptContext } from '../definition/definition.js';
import { SessionChainError } from '../contracts/failures.js';
import { metadataServerName } from '../definition/metadata.js';
import type { AgentTask, StepName } from '../contracts/steps.js';
import { createMetadataServer } from './metadata-server.js';

const promptWithinMs = 60_000;
const longestPrompt = 1_000_000;

/**
 * The user message that starts a step, from the definition's own function. Throws PROMPT_FAILED when that throws, gives
 * no usable text or does not return within a minute.
 */
export async function promptFor(
  definition: ChainDefinition,
  context: Omit<PromptContext, 'step'> & { step: StepName },
): Promise<string> {
  const { step } = context;
  if (step === 'compact')
    return ['/compact', definition.steps.compact.instructions].filter(Boolean).join(' ');
  const failed = (why: string, cause?: unknown) =>
    new SessionChainError(
      'PROMPT_FAILED',
      `${definition.file ?? 'The definition'}: steps.${step}.prompt ${why}.`,
      undefined,
      { cause },
    );
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`it did not return within ${promptWithinMs / 1000} s`)),
      promptWithinMs,
    );
  });
  const prompt: unknown = await Promise.race([
    Promise.resolve({ ...context, step }).then((given) => definition.steps[step].prompt(given)),
    late,
  ])
    .catch((cause: unknown) => {
      throw failed(`failed: ${messageOf(cause)}`, cause);
    })
    .finally(() => clearTimeout(timer));
  if (typeof prompt !== 'string')
    throw failed(`gave ${prompt === null ? 'null' : typeof prompt}, not a text`);
  if (prompt.trim() === '') throw failed('gave an empty text');
  if (prompt.length > longestPrompt) throw failed(`gave more than ${longestPrompt} characters`);
  // An instruction that a user typed must not become one.
  if (prompt.trimStart().startsWith('/'))
    throw failed('gave a text that starts with "/", a command of Claude Code');
  return prompt;
}

/** The user message that lets a step go on whose agent was stopped half-way. */
export function continuePrompt(step: StepName): string {
  return [
    `Step: ${step}, continued. You were stopped in the middle of it; what you did until then is above and stands.`,
    'Go on from there and finish the step. Check the outcome of a tool call that was interrupted before you repeat it.',
  ].join('\n\n');
}

/** The tools that a step may use without being asked. */
export function allowedTools({ steps, tools }: ChainDefinition, task: AgentTask): readonly string[] {
  // A chat reads and never writes, whatever the definition lets a step do.
  if (task === 'chat_plan') return ['Glob', 'Grep', 'Read'].filter((tool) => tools.includes(tool));
  return task === 'compact' ? [] : steps[task].allowedTools;
}

/** What the caller of the chain named, else what the step names, else the chain; undefined leaves it to Claude Code. */
export function modelOf(
  { model, steps }: ChainDefinition,
  task: AgentTask,
  ofTheStart: string | undefined,
): string | undefined {
  const ofTheStep = task === 'compact' || task === 'chat_plan' ? undefined : steps[task].model;
  return ofTheStart ?? ofTheStep ?? model;
}

/** The servers of every step, the chain's own among them, made anew for each run. Throws INVALID_CONFIG. */
export function serversOf({ file, mcpServers, steps }: ChainDefinition): Record<string, McpServerConfig> {
  const own = Object.entries(mcpServers).map(([name, server]): [string, McpServerConfig] => {
    // Connected before the first request: a list of tools that grows later is another prompt.
    if (typeof server !== 'function') return [name, { ...server, alwaysLoad: true }];
    try {
      return [name, server()];
    } catch (cause) {
      const message = `${file ?? 'The definition'}: mcpServers.${name} failed: ${messageOf(cause)}.`;
      throw new SessionChainError('INVALID_CONFIG', message, undefined, { cause });
    }
  });
  return {
    ...Object.fromEntries(own),
    [metadataServerName]: createMetadataServer(steps.metadata.schema),
  };
}

/**
 * Names what an attempt is asked to do: evidence of another attempt counts only for the same. Budgets and time limits
 * are left out, for they change nothing of what was done; of servers the names count, for the rest may hold secrets.
 */
export function digestOf(
  definition: ChainDefinition,
  asked: { step: AgentTask; prompt: string; model: string | undefined },
): string {
  const { houseRules, tools, settingSources, mcpServers, steps } = definition;
  const given = {
    prompt: asked.prompt,
    houseRules,
    tools,
    allowedTools: allowedTools(definition, asked.step),
    model: asked.model ?? null,
    settingSources,
    mcpServers: Object.keys(mcpServers).sort(),
    schema: z.toJSONSchema(steps.metadata.schema),
  };
  return createHash('sha256').update(JSON.stringify(given)).digest('hex');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
