import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk';
import type { z } from 'zod';
import type { StepLimits } from '../contracts/chain.js';
import type { BuildId, ProjectId, VersionId } from '../contracts/ids.js';
import type { ResetPolicy } from '../contracts/origin.js';
import type { AfterActivity, ChainPlan } from '../contracts/plan.js';
import type { ChainMode, StepName } from '../contracts/steps.js';

/** What the steps of a chain are: prompts, tools, limits. A worker has one; `completeDefinition` makes it whole. */
export interface ChainDefinition {
  /** Where it was loaded from, for messages; null for one that was not. */
  file: string | null;
  /** Left out, SESSION_CHAIN_MODEL, else Claude Code chooses. */
  model?: string;
  /** The built-in tools of every step; what a step may not use it is not allowed. */
  tools: readonly string[];
  /** Appended to Claude Code's own system prompt. */
  houseRules: string;
  /** What Claude Code reads from files: `project` makes CLAUDE.md and .claude/ of the workspace count. */
  settingSources: readonly SettingSource[];
  mcpServers: Readonly<Record<string, McpServer>>;
  steps: {
    build: StepDefinition;
    metadata: StepDefinition & { schema: MetadataSchema };
    docs: StepDefinition;
    compact: CompactDefinition;
  };
  /** When a build starts a fresh session with a brief, instead of going on from the head. */
  reset: Readonly<ResetPolicy>;
  /** Activities of the host that a chain calls after a step has committed. */
  after: Readonly<Partial<Record<StepName, AfterActivity>>>;
}

/** A definition as a person writes it: what is left out is as in the shipped one. */
export interface ChainDefinitionInput extends Partial<
  Omit<ChainDefinition, 'file' | 'steps' | 'reset' | 'after' | 'mcpServers'>
> {
  mcpServers?: Record<string, McpServer>;
  steps?: {
    build?: Partial<StepDefinition>;
    metadata?: Partial<StepDefinition> & { schema?: MetadataSchema | JsonSchema };
    docs?: Partial<StepDefinition>;
    compact?: Partial<CompactDefinition>;
  };
  reset?: Partial<ResetPolicy>;
  after?: Partial<Record<StepName, AfterActivityInput>>;
}

export type AfterActivityInput = Pick<AfterActivity, 'activity' | 'taskQueue'> & Partial<AfterActivity>;

export interface StepDefinition extends StepLimits {
  /** The user message of the step. The same context must give the same text: another text starts the step afresh. */
  prompt: (context: PromptContext) => string | Promise<string>;
  /** The tools that the step may use without being asked, such as `Read`, `Bash(npm test)` or `mcp__name__tool`. */
  allowedTools: readonly string[];
  /** Another model than the chain's; the prompt cache is not shared with it. */
  model?: string;
  /** A failure of the step fails the chain. */
  critical: boolean;
}

export interface CompactDefinition extends Omit<StepLimits, 'maxTurns'> {
  /** What the summary must keep, in words. */
  instructions?: string;
  /** Below this context size, in tokens, compaction is skipped. */
  thresholdTokens: number;
  critical: boolean;
}

/** The steps that have a prompt. */
export type PromptedStep = Exclude<StepName, 'compact'>;

/** What a prompt is made of. */
export interface PromptContext {
  projectId: ProjectId;
  versionId: VersionId;
  buildId: BuildId;
  step: PromptedStep;
  mode: ChainMode;
  /** The caller's own text of this chain; null where none was given. */
  instruction: string | null;
  /** The real path of the project's folder on this worker. */
  workspace: string;
}

export type SettingSource = 'user' | 'project' | 'local';

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

/** The shape of what the metadata step hands in. */
export type MetadataSchema = z.ZodObject;
export type JsonSchema = Record<string, unknown>;

/** What a chain takes over from the definition when it opens, so that a replay sees the same. */
export function planOf({ steps, after }: ChainDefinition): ChainPlan {
  const { build, metadata, docs, compact } = steps;
  const planned = (step: StepName, { critical, ...definition }: StepLimits & { critical: boolean }) => ({
    limits: limitsOf(definition),
    critical,
    ...(after[step] ? { after: after[step] } : {}),
  });
  return {
    steps: {
      build: planned('build', build),
      metadata: planned('metadata', metadata),
      docs: planned('docs', docs),
      compact: planned('compact', { ...compact, maxTurns: compactTurns }),
    },
    compactThresholdTokens: compact.thresholdTokens,
  };
}

// A compaction is no turn in Claude Code's count.
const compactTurns = 50;

function limitsOf({ timeoutMs, maxTurns, maxCostUsd, maxAttempts }: StepLimits): StepLimits {
  return { timeoutMs, maxTurns, maxAttempts, ...(maxCostUsd === undefined ? {} : { maxCostUsd }) };
}
