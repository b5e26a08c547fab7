import type { ChainDefinitionInput } from './definition.js';

export { shippedDefinition } from './shipped.js';
export type {
  ActivityStep,
  AgentStepDefinition,
  ChainDefinition,
  ChainDefinitionInput,
  CompactionStep,
  JsonSchema,
  McpAddress,
  McpProgram,
  McpServer,
  NamedStep,
  PromptContext,
  PromptedStep,
  StepDefinition,
  StepInput,
  SubmissionSchema,
  SubmissionStep,
  WorkStep,
} from './definition.js';
export type { SandboxInput, SandboxLimits, SandboxSettings } from '../contracts/sandbox.js';
export type { ChainEndCall, OnEndInput } from '../contracts/end.js';
export type { ActivityStepInput, ActivityStepPlan, HostActivity } from '../contracts/plan.js';

/**
 * The definition of a chain, for the default export of session-chain.config.ts. It only provides the types: a worker
 * checks the definition when it loads the file, and takes absent fields from the shipped one.
 */
export function defineChain(definition: ChainDefinitionInput): ChainDefinitionInput {
  return definition;
}
