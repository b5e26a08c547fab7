/** The names that code, SQL, API and documents share. */

/** The name of a step, as its definition gives it: also its activity type and the source of its transitions. */
export type StepName = string;

/** SQL checks the same pattern. */
export const stepNamePattern = /^[a-z][a-z0-9_]{0,39}$/;

/** The kinds of step that run Claude Code and may move the head. */
export const agentStepKinds = ['work', 'submission', 'compaction'] as const;
export type AgentStepKind = (typeof agentStepKinds)[number];

/**
 * What a step of a chain is:
 * - `work`: the agent works on the project's files and ends its turn.
 * - `submission`: the agent submits a value that fits a schema.
 * - `compaction`: the session's context is replaced by a summary.
 * - `activity`: an activity of the host on a task queue of the host; it moves no head.
 */
export type StepKind = AgentStepKind | 'activity';

/** The kinds of agent tasks: steps of a chain, or the answer to a question. */
export type AgentTaskKind = AgentStepKind | 'question';

/**
 * What a chain knows a step as, whatever its name:
 * - `build`: it gets the caller's instruction, the brief and the notes, and decides the version's status.
 * - `deploy`: an activity whose outcome decides whether the version is deployed.
 */
export type StepRole = 'build' | 'deploy';

/** What moves a head and is not a step of a chain. */
export const reservedSources = ['chat_plan', 'context_reset', 'recovery', 'rewind', 'import'] as const;

/** What moved a head, the column `source` of `session_transitions`: a reserved source or the name of a step. */
export type TransitionSource = string;

/** An older name of the source `metadata`, accepted where callers name a source. */
export const sourceAlias = 'metadata_generation';

/**
 * Names that no step may have: activity types (`default` is Temporal's for any other), sources and the alias of a
 * source.
 */
export const reservedNames: readonly string[] = [
  'open',
  'commit',
  'default',
  ...reservedSources,
  sourceAlias,
];

/** How a build treats the workspace: `initial` makes the first version, `update` changes what is there. */
export const chainModes = ['initial', 'update'] as const;
export type ChainMode = (typeof chainModes)[number];

/** The states of a chain; the column `status` of `session_chain.chains`. */
export const chainStatuses = [
  'queued',
  'running',
  'waiting',
  'completed',
  'completed_with_warnings',
  'failed',
  'cancelled',
  'budget_exceeded',
] as const;
export type ChainStatus = (typeof chainStatuses)[number];

/** The states in which a chain is over; a chain in one of the last three may be started again. */
export type ClosedChainStatus = Exclude<ChainStatus, 'queued' | 'running' | 'waiting'>;

/** Whether a chain in this state is over. */
export function isClosed(status: ChainStatus): status is ClosedChainStatus {
  return status !== 'queued' && status !== 'running' && status !== 'waiting';
}
