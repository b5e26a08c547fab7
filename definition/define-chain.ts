import type { ChainDefinitionInput } from './definition.js';

export { defaultDefinition } from './shipped.js';
export type {
  AfterActivityInput,
  ChainDefinition,
  ChainDefinitionInput,
  CompactDefinition,
  JsonSchema,
  McpAddress,
  McpProgram,
  McpServer,
  MetadataSchema,
  PromptContext,
  PromptedStep,
  SettingSource,
  StepDefinition,
} from './definition.js';
export type { AfterActivity, AfterStepInput } from '../contracts/plan.js';

/**
 * The definition of a chain, for the default export of session-chain.config.ts. It only gives the types: a worker checks
 * the definition when it loads the file, and takes what is left out from the shipped one.
 */
export function defineChain(definition: ChainDefinitionInput): ChainDefinitionInput {
  return definition;
}
