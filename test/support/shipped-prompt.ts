import { promptFor } from '../../agent/steps.js';
import { defaultDefinition } from '../../definition/shipped.js';
import type { ChainMode, StepName } from '../../contracts/steps.js';
import { newKey } from './chains.js';

/** The message with which the shipped definition starts a step. */
export async function shippedPrompt(
  step: StepName,
  mode: ChainMode,
  instruction: string | null = null,
): Promise<string> {
  return await promptFor(defaultDefinition, {
    ...newKey(),
    step,
    mode,
    instruction,
    workspace: '/workspace',
  });
}
