import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  type AgentStepDefinition,
  type ChainDefinition,
  isAgentStep,
  submissionSteps,
} from './definition.js';

/**
 * Identifies what an attempt is asked to do: evidence of another attempt counts only for the same input. Budgets and
 * time limits are left out, because they do not change what was done; of servers only the names are included, because
 * the rest may hold secrets.
 */
export function inputDigest(
  definition: ChainDefinition,
  asked: { prompt: string; allowedTools: readonly string[]; model: string },
): string {
  return digest({
    ...shared(definition),
    prompt: asked.prompt,
    allowedTools: asked.allowedTools,
    model: asked.model,
  });
}

/**
 * Identifies the definition of a step, so that a worker can tell whether it has the one that a chain was planned with.
 * Limits and models are left out: the plan itself holds them. A prompt is included as its source text.
 */
export function stepDigest(definition: ChainDefinition, step: AgentStepDefinition): string {
  const { name, kind } = step;
  const own =
    step.kind === 'compaction'
      ? { instructions: step.instructions ?? null }
      : {
          prompt: step.prompt.toString(),
          allowedTools: step.allowedTools,
          ...(step.kind === 'work'
            ? { role: step.role ?? null, writes: step.writes ?? [] }
            : { column: step.column ?? null }),
        };
  return digest({ ...shared(definition), name, kind, ...own });
}

/** The step of the definition that a plan names, where it is the planned one; undefined where it is not. */
export function stepOfDigest(
  definition: ChainDefinition,
  { name, digest: planned }: { name: string; digest: string },
): AgentStepDefinition | undefined {
  return definition.steps
    .filter(isAgentStep)
    .find((step) => step.name === name && stepDigest(definition, step) === planned);
}

/** What all steps share. */
function shared(definition: ChainDefinition) {
  const { houseRules, tools, claudeMd, mcpServers } = definition;
  return {
    houseRules,
    tools,
    claudeMd,
    mcpServers: Object.keys(mcpServers).sort(),
    schemas: submissionSteps(definition).map(({ name, schema }) => [name, z.toJSONSchema(schema)]),
  };
}

/** SHA-256 of a value as JSON, in hex. */
export function digest(value: object): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
