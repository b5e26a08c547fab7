import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk';
import type { z } from 'zod';
import type { StepLimits } from '../contracts/limits.js';
import type { BuildId, ProjectId, VersionId } from '../contracts/ids.js';
import type { ResetPolicy } from '../contracts/origin.js';
import type { OnEndInput } from '../contracts/end.js';
import type { ActivityStepPlan, HostActivity } from '../contracts/plan.js';
import type { SandboxInput } from '../contracts/sandbox.js';
import type { ChainMode, StepName } from '../contracts/steps.js';

/** A chain as data: its steps in order, and what they share. A worker has one; `checkDefinition` completes it. */
export interface ChainDefinition {
  /** The file that it was loaded from, for messages; null for none. */
  file: string | null;
  /** Default: SESSION_CHAIN_MODEL, else ANTHROPIC_MODEL, else Claude Code's own default. */
  model?: string;
  /** The built-in tools of every step; `allowedTools` of a step says which of them it may use. */
  tools: readonly string[];
  /** Appended to Claude Code's own system prompt. */
  houseRules: string;
  /**
   * Whether the agent reads CLAUDE.md and .claude/rules/ of the workspace. Settings of the workspace never have an
   * effect.
   */
  claudeMd: boolean;
  mcpServers: Readonly<Record<string, McpServer>>;
  steps: readonly StepDefinition[];
  /** When a build starts a fresh session with a brief instead of continuing from the head. */
  reset: Readonly<ResetPolicy>;
  /** How agents are kept in; the environment and the worker's options come first. */
  sandbox: Readonly<SandboxInput>;
  /** An activity of the host that is called at every end of a chain, at least once; the worker's options come first. Null for none. */
  onEnd: Readonly<HostActivity> | null;
}

export type StepDefinition = AgentStepDefinition | ActivityStep;

/** A step that runs Claude Code. */
export type AgentStepDefinition = WorkStep | SubmissionStep | CompactionStep;

export interface NamedStep {
  /** Also the activity type in Temporal's Web UI, and the source of the step's transition. */
  name: StepName;
  /** What the step is for, on one line: its first words are shown in Temporal's Web UI, and stored in its histories. */
  purpose?: string;
  /** A failure of the step fails the chain. */
  critical: boolean;
}

export interface PromptedStep extends NamedStep, StepLimits {
  /** The user message of the step. The same context must give the same text: a different text starts the step over. */
  prompt: (context: PromptContext) => string | Promise<string>;
  /** The tools that the step may use, such as `Read`, `Bash(npm test)` or `mcp__name__tool`. */
  allowedTools: readonly string[];
  /** Another model than the chain's; the prompt cache is not shared with it. */
  model?: string;
}

/** The agent works on the project's files and ends its turn. */
export interface WorkStep extends PromptedStep {
  kind: 'work';
  /**
   * `build`: it gets the instruction, the brief and the notes, and decides the version's status. One step has this
   * role.
   */
  role?: 'build';
  /**
   * Files, and folders that end with a slash, of which it should write at least one; a step that writes none causes a
   * warning.
   */
  writes?: readonly string[];
}

/** The agent submits a value that fits a schema, through a tool of the step's own. */
export interface SubmissionStep extends PromptedStep {
  kind: 'submission';
  schema: SubmissionSchema;
  /** A json or jsonb column of `project_versions` that gets the value. Later prompts always get it. */
  column?: string;
}

/** The session's context is replaced by a summary. */
export interface CompactionStep extends NamedStep, Omit<StepLimits, 'maxTurns'> {
  kind: 'compaction';
  /** What the summary must keep, in words. */
  instructions?: string;
  /** Below this context size, in tokens, compaction is skipped. */
  thresholdTokens: number;
}

/** An activity of the host. With the role `deploy` its outcome decides whether the version is deployed. */
export type ActivityStep = ActivityStepPlan;

/**
 * A definition as a person writes it. A step is the name of a shipped step, an object that changes the shipped step of
 * that name, or a step of its own; the chain has the listed steps, in order. Without `steps` it is the shipped chain.
 * Any other absent field is as shipped.
 */
export interface ChainDefinitionInput extends Partial<
  Omit<ChainDefinition, 'file' | 'steps' | 'reset' | 'mcpServers' | 'onEnd'>
> {
  mcpServers?: Record<string, McpServer>;
  steps?: readonly (StepName | StepInput)[];
  reset?: Partial<ResetPolicy>;
  onEnd?: OnEndInput;
}

export type StepInput =
  | ({ name: StepName; kind?: 'work' } & Partial<Omit<WorkStep, 'name' | 'kind'>>)
  | ({ name: StepName; kind?: 'submission'; schema?: SubmissionSchema | JsonSchema } & Partial<
      Omit<SubmissionStep, 'name' | 'kind' | 'schema'>
    >)
  | ({ name: StepName; kind?: 'compaction' } & Partial<Omit<CompactionStep, 'name' | 'kind'>>)
  | ({ kind: 'activity' } & Pick<ActivityStep, 'name' | 'activity' | 'taskQueue'> & Partial<ActivityStep>);

/** What a prompt function is called with. */
export interface PromptContext {
  projectId: ProjectId;
  versionId: VersionId;
  buildId: BuildId;
  step: StepName;
  mode: ChainMode;
  /** The caller's own text of this chain; null where none was given. */
  instruction: string | null;
  /** The real path of the project's folder on this worker. */
  workspace: string;
  /** The values that earlier steps of this chain submitted, by step name. */
  values: Readonly<Record<StepName, unknown>>;
}

/** A server of the Model Context Protocol: a program, an address, or a function that makes one in the worker's process. */
export type McpServer = McpProgram | McpAddress | (() => McpSdkServerConfigWithInstance);

export interface McpProgram {
  type?: 'stdio';
  command: string;
  args?: string[];
  env?: Record<string, string>;
  /** Of one tool call, in ms. */
  timeout?: number;
}

export interface McpAddress {
  type: 'http' | 'sse';
  url: string;
  headers?: Record<string, string>;
  /** Of one tool call, in ms. */
  timeout?: number;
}

/** The shape of the value of a submission step. */
export type SubmissionSchema = z.ZodObject;
export type JsonSchema = Record<string, unknown>;

/** Whether a step runs Claude Code. */
export function isAgentStep(step: StepDefinition): step is AgentStepDefinition {
  return step.kind !== 'activity';
}

/** The tool that starts a subagent. */
export const subagentTool = 'Agent';

/** The submission steps of a definition. */
export function submissionSteps({ steps }: Pick<ChainDefinition, 'steps'>): SubmissionStep[] {
  return steps.filter((step) => step.kind === 'submission');
}
