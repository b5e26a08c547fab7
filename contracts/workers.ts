import type { ResetPolicy } from './origin.js';
import type { RetentionPolicy } from './retention.js';
import type { SandboxSettings } from './sandbox.js';
import type { StepKind, StepName, StepRole } from './steps.js';

/** What a running worker tells of itself through the database: no prompt, no credential, no environment. */
export interface WorkerFacts {
  /** How Temporal knows it too: `<pid>-<8 hex>@<hostname>` of its process, unless the host's worker has a name of its own. */
  identity: string;
  host: string;
  /** Of the package session-chain. */
  version: string;
  /** To Temporal its build id. */
  release: string;
  /** The worker deployment of Temporal whose version the release is; null where it takes tasks of every release. */
  deployment: string | null;
  /** Null where Claude Code did not tell. */
  claudeCode: string | null;
  /** Version of the Claude Agent SDK. */
  sdk: string;
  sandbox: SandboxSettings['kind'];
  namespace: string;
  /** The queue of the chains; agents and chats add `-agents` and `-chats`. */
  taskQueue: string;
  limits: WorkerLimitsInForce;
  definition: ShownDefinition;
  definitionDigest: string;
  /** Null for one that came from no file. */
  definitionFile: string | null;
}

/** The limits of one worker, and how long it keeps what. */
export interface WorkerLimitsInForce {
  maxAgents: number;
  maxChats: number;
  heartbeatThrottleMs: number;
  shutdownGraceMs: number;
  workspaceWaitMs: number;
  eventsDays: number;
  warm: boolean;
  retention: RetentionPolicy;
}

/** A chain's definition as it may be shown. */
export interface ShownDefinition {
  /** The model of steps that name none; `default` for Claude Code's own choice. */
  model: string;
  /** The built-in tools of every step. */
  tools: string[];
  houseRulesCharacters: number;
  /** Whether CLAUDE.md of the workspace is read. */
  claudeMd: boolean;
  /** Names alone. */
  mcpServers: string[];
  /** In order. */
  steps: ShownStep[];
  /** When a build starts a fresh session. */
  reset: ResetPolicy;
  /** The activity of the host that is called at every end of a chain. */
  onEnd: { activity: string; taskQueue: string } | null;
}

/** A step of it; a field is null where the kind of the step has no such thing. */
export interface ShownStep {
  name: StepName;
  purpose: string | null;
  kind: StepKind;
  role: StepRole | null;
  /** A failure of the step fails the chain. */
  critical: boolean;
  /** The model of the step; null for an activity. */
  model: string | null;
  /** The tools that it may use. */
  allowedTools: string[];
  /** Of one attempt. */
  timeoutMs: number;
  maxTurns: number | null;
  maxCostUsd: number | null;
  maxAttempts: number;
  /** Files and folders of which it should write at least one. */
  writes: string[];
  /** The column of `project_versions` that gets what it submits. */
  column: string | null;
  /** Of a compaction: the size of the context, in tokens, below which it is skipped. */
  thresholdTokens: number | null;
  /** Of an activity of the host: its type, and the queue that is polled for it. */
  activity: string | null;
  taskQueue: string | null;
}
