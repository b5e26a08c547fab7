/** What a chain may wait for; `waiting_for` of the view `session_chain.chain_overview`. */
export const waitKinds = ['queue', 'worker', 'model', 'activity'] as const;
export type WaitKind = (typeof waitKinds)[number];

/** What an open chain waits for, since its last progress. */
export type WaitingFor = { since: Date } & (
  | {
      /** Another chain of its project. */
      kind: 'queue';
      /** 1 is the next to hold the project. */
      position: number | null;
      /** The workflow in the way; null in the moment in which the project becomes free. */
      behind: string | null;
    }
  | {
      /** A worker that takes it, or one that has what its step needs. */
      kind: 'worker';
      taskQueue: string;
      /** What workers lacked so far, such as the project's folder; null where any worker will do. */
      lacks: string | null;
      /** When it looks again; null where a worker only has to be there. */
      until: Date | null;
    }
  | {
      /** The model service, which has no room or does not answer. */
      kind: 'model';
      /** When it asks again. */
      until: Date | null;
    }
  | {
      /** An activity of the host, which was called and has not ended. */
      kind: 'activity';
      activity: string;
      taskQueue: string;
    }
);

/** Of a workflow that stands still: the task in which it goes on fails on every worker that tries, and Temporal lets them try again. */
export interface FailingTask {
  /** When it failed first. */
  since: Date;
  /** How often it has been tried. */
  tries: number;
  /** As Temporal names it, such as NON_DETERMINISTIC_ERROR. */
  cause: string;
  /** What the worker said, the first line. */
  message: string;
  /** The worker that said it; empty where Temporal does not know. */
  worker: string;
}

/** `NON_DETERMINISTIC_ERROR: [TMPRL1100] …`, and which worker said it. */
export function whatFails({ cause, message, worker }: FailingTask): string {
  return [cause, message].filter(Boolean).join(': ') + (worker === '' ? '' : ` (${worker})`);
}

/** What to do about it, by its cause. */
export function failingTaskRemedy(cause: string): string {
  return cause === 'TIMED_OUT'
    ? 'Run more workers, or lower the number of agents on each: a worker did not answer within 10 s, more than once.'
    : 'Run workers of the release before, which goes on with it by itself. Or terminate the workflow in Temporal (temporal workflow terminate), ' +
        'let session-chain status close the chain, and start it again: steps that are committed are not repeated.';
}
