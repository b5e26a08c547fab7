/** What the API asks the queue for. */
export interface BuildJob {
  projectId: string;
  versionId: string;
  /** Absolute path of the project's files. */
  workspace: string;
  instruction: string;
}
