import type { FailureCode } from './failures.js';
import type { OfInstallation } from './installation.js';
import type { HostActivity, payloadVersion } from './plan.js';
import type { ClosedChainStatus, StepName } from './steps.js';

/** The activity of the host that is called at every end of a chain, as a person names it. */
export type OnEndInput = Pick<HostActivity, 'activity' | 'taskQueue'> & Partial<HostActivity>;

/** What the activity of the host is called with; the client reads the rest. */
export interface ChainEndCall {
  /** A uuid, the same at every call for this end of this chain: the key by which a repeated call is recognised. */
  key: string;
  projectId: string;
  versionId: string;
  buildId: string;
  chainId: string;
  /** The id of the event `chain.closed`. */
  eventId: number;
  status: ClosedChainStatus;
  /** Null for a chain that completed. */
  failureCode: FailureCode | null;
  /** The project's head as the chain left it, with the number of its transition. */
  sessionId: string | null;
  seq: number | null;
  /** The steps of its plan, in order; none for a chain that never opened. */
  steps: StepName[];
  /** ISO 8601. Calls for several ends may arrive in another order. */
  endedAt: string;
}

/** What is known of the delivery of an end. */
export interface ChainEnd extends ChainEndCall {
  /** When the activity of the host succeeded; null until then. */
  deliveredAt: Date | null;
  /** How often calls for it began; a round ends with success, or once its tries are used up. */
  rounds: number;
  /** Why the last round failed; null where none has. */
  failure: string | null;
  /** When the next round begins at the latest; null once it is delivered. */
  dueAt: Date | null;
}

/** The input of the workflow that calls the activity of the host for one end. */
export interface DeliverEndInput extends OfInstallation {
  version: typeof payloadVersion;
  key: string;
  onEnd: HostActivity;
}

/** The input of the activities of that workflow. */
export interface EndInput extends OfInstallation {
  version: typeof payloadVersion;
  key: string;
}

export interface EndActivities {
  /** What to call the activity of the host with; null for what was delivered, or is not in the database any more. */
  beginEnd(input: EndInput): Promise<ChainEndCall | null>;
  /** Notes how the round came out; `failure` is null for success. */
  noteEnd(input: EndInput & { failure: string | null }): Promise<void>;
}
