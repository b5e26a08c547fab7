/** The closed lists of names that code, SQL, API and documents share. */

/** The steps of a chain, in the order in which they run. */
export const stepNames = ['build', 'metadata', 'docs', 'compact'] as const;
export type StepName = (typeof stepNames)[number];

/** What an agent can be asked for: a step of a chain, or an answer in a chat. */
export type AgentTask = StepName | 'chat_plan';

/** How a build treats the workspace: `initial` makes the first version, `update` changes what is there. */
export const chainModes = ['initial', 'update'] as const;
export type ChainMode = (typeof chainModes)[number];

/** What moved a head; the column `source` of `session_transitions`. */
export const transitionSources = [
  'build',
  'metadata',
  'docs',
  'compact',
  'chat_plan',
  'context_reset',
  'recovery',
  'rewind',
  'import',
] as const;
export type TransitionSource = (typeof transitionSources)[number];

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
