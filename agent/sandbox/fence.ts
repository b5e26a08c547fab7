import type { AgentProcess } from '../process/process.js';
import type { Scratch } from '../process/scratch.js';
import type { Sandbox } from './sandbox.js';

/** What separates two tasks that one process does. */
export interface Fence {
  /**
   * Ends what the agent has started and brings its private folders back to what they were. Null; or why the process must
   * not go on with another task.
   */
  close(): Promise<string | null>;
}

export function openFence(_run: { started: AgentProcess; scratch: Scratch; sandbox: Sandbox }): Fence {
  return { close: async () => null };
}
