/** A Temporal run that holds a project or waits for it, as the database knows it. */
export interface ChainRun {
  workflowId: string;
  runId: string;
  /** Temporal cluster and namespace in which the run lives; null where that is unknown. */
  home: string | null;
}

/** What only Temporal knows about the runs of other chains. */
export interface ChainRuns {
  /** Identifies the cluster and namespace that this process talks to. */
  home(): Promise<string>;
  /**
   * Whether nothing works for the chain any more: the latest run of its workflow is over, or its history is gone. For a
   * workflow id that equals `ownWorkflowId` the given run counts, because the latest one is the caller. False for a run
   * that lives elsewhere, and where Temporal does not answer.
   */
  isGone(run: ChainRun, ownWorkflowId?: string): Promise<boolean>;
  /** Hints to a queued chain that the project may be free; false when its workflow is over. A lost hint is no error. */
  wake(run: ChainRun): Promise<boolean>;
}
