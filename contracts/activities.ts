import type { CloseInput, OpenInput, OpenResult, StepInput, StepResult } from './chain.js';

/**
 * What a chain asks of the outside world. The names are the activity types that Temporal's Web UI groups by, so that
 * every step has one of its own. Failures arrive as ApplicationFailure whose type is a FailureCode.
 */
export interface ChainActivities {
  /** Takes the project's turn and says where the head is, or takes a place in the line and says who is in the way. */
  open(input: OpenInput): Promise<OpenResult>;
  build(input: StepInput): Promise<StepResult>;
  metadata(input: StepInput): Promise<StepResult>;
  docs(input: StepInput): Promise<StepResult>;
  compact(input: StepInput): Promise<StepResult>;
  /** Closes the chain, hands on the turn and wakes the next in line. Writes nothing when the chain is no longer this run's. */
  commit(input: CloseInput): Promise<void>;
}
