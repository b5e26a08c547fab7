import type { ChainMode, StepName } from '../../contracts/steps.js';
import { isAgentStep } from '../../definition/definition.js';
import { promptFor } from '../../definition/prompt.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { newKey } from './chains.js';

/** The message with which the shipped definition starts a step. */
export async function shippedPrompt(
  name: StepName,
  mode: ChainMode,
  instruction: string | null = null,
): Promise<string> {
  const step = shippedDefinition.steps.filter(isAgentStep).find((one) => one.name === name);
  if (!step) throw new Error(`The shipped chain has no step ${name}.`);
  return await promptFor(shippedDefinition, step, {
    ...newKey(),
    mode,
    instruction,
    workspace: '/workspace',
    values: {},
  });
}
