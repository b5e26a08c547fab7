import type { ChainMode } from '../../contracts/steps.js';
import type { AgentTask } from '../kinds/kind.js';

/** What a process works on at the moment, and the session that gets it. */
export interface TaskHeaders {
  sessionId: string;
  task: Pick<AgentTask, 'name' | 'kind' | 'role'>;
  mode: ChainMode;
  instructionKind: 'none' | 'free';
}

/**
 * The task travels by header, not by wording; a model service that does not know the names ignores them. The worker's proxy
 * adds them, because they change with the task of a process.
 */
export function taskHeaders({ sessionId, task, mode, instructionKind }: TaskHeaders): Record<string, string> {
  return {
    'x-session-chain-session': sessionId,
    'x-session-chain-step': task.name,
    'x-session-chain-kind': task.kind,
    ...(task.role ? { 'x-session-chain-role': task.role } : {}),
    'x-session-chain-mode': mode,
    'x-session-chain-instruction': instructionKind,
  };
}
