import type {
  BeginActivityInput,
  BegunActivity,
  ChainCost,
  CloseInput,
  CommittedStep,
  EndActivityInput,
  OpenInput,
  OpenResult,
  StepCall,
  StepInput,
  StepResult,
} from './chain.js';
import type { StepName } from './steps.js';

/**
 * The short activities of a chain, which touch only the database. The names are the activity types that Temporal's Web UI
 * groups by. Failures arrive as ApplicationFailure whose type is a FailureCode.
 */
export interface ChainActivities {
  /** Takes the project and says where the head is, or queues and says which chain is in the way. */
  open(input: OpenInput): Promise<OpenResult>;
  /**
   * Settles a step whose activity failed: its result, which may have been lost on the way, or null, and then none of its
   * attempts commits any more.
   */
  committedStep(input: StepCall): Promise<CommittedStep | null>;
  /** Journals that an activity of the host is about to be called. */
  beginActivity(input: BeginActivityInput): Promise<BegunActivity>;
  /** Journals how an activity of the host ended. */
  endActivity(input: EndActivityInput): Promise<void>;
  /**
   * Closes the chain, frees the project and wakes the next; returns what it cost. Writes nothing when the chain is no longer this run's. Fails with
   * DATABASE_WENT_BACK for a completed chain whose ticket or head the database does not know.
   */
  commit(input: CloseInput): Promise<ChainCost>;
}

/** A worker has no place for another agent, though it took the activity: it goes to all workers. Nothing was begun. */
export interface Returned {
  outcome: 'returned';
}

/** The activities that run Claude Code: one per step of the definition, under the step's name. */
export type AgentActivities = Record<StepName, (input: StepInput) => Promise<StepResult>>;

/** The same, as a workflow calls them. */
export type CalledActivities = Record<StepName, (input: StepInput) => Promise<StepResult | Returned>>;
