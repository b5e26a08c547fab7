import type { AttemptId } from './ids.js';
import type { StepName } from './steps.js';

/** Lines of a file that follow one another, and what became of them. */
export interface Hunk {
  /** The first line as it was before and after, from 1; null where the tool did not say, 0 for a file that was not there. */
  oldStart: number | null;
  newStart: number | null;
  /** Each begins with a space (stayed), `-` (removed) or `+` (added). */
  lines: string[];
}

/** One write of a file by a tool. */
export interface FileChange {
  /** Relative to the folder in which the agent worked, or in full where it is outside. */
  path: string;
  /** The tool that wrote it. */
  tool: string;
  /** The file was not there before. */
  isNew: boolean;
  /** The entry with the tool's result; null where it has no id. */
  entryId: string | null;
  /** ISO 8601, as Claude Code says; null where it does not. */
  at: string | null;
  hunks: Hunk[];
  /** Lines were shortened or left out. */
  isCut: boolean;
}

/** What a chain wrote with file tools, step by step. What shell commands wrote is not known. */
export interface ChainChanges {
  steps: {
    step: StepName;
    /** In the order of the writes, attempt by attempt. */
    changes: (FileChange & { attemptId: AttemptId })[];
    /** Later changes of the step that did not fit. */
    leftOut: number;
  }[];
}
