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
