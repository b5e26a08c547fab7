import type { SDKMessage } from '@anthropic-ai/claude-agent-sdk';
import { retryOf } from './results.js';

/** A sign of life. `alive` says only that the agent's process exists: it comes when nothing else did for a while. */
export interface AgentProgress {
  kind: 'turn' | 'tool' | 'status' | 'alive';
  /** Model turns so far, those of subagents included. */
  turns: number;
  toolName?: string;
  /** Relative to the workspace. */
  file?: string;
  /** What the agent reports about itself: `compacting`, `retry 2 of 10 after 529`, … */
  status?: string;
}

export interface Progress {
  onMessage(message: SDKMessage): void;
  onTool(toolName: string, file: string | null): void;
  /** Model turns so far. */
  turns(): number;
  end(): void;
}

/** Often enough for the shortest heartbeat timeout that makes sense; a model may think for minutes in silence. */
const aliveIntervalMs = 5000;

export function createProgress(report: (progress: AgentProgress) => void): Progress {
  const turns = new Set<string>();
  const tell = (progress: Omit<AgentProgress, 'turns'>) => report({ ...progress, turns: turns.size });
  const alive = setInterval(() => tell({ kind: 'alive' }), aliveIntervalMs);

  return {
    onMessage(message) {
      if (message.type === 'assistant') {
        if (message.message.model === '<synthetic>' || turns.has(message.message.id)) return;
        turns.add(message.message.id);
        tell({ kind: 'turn' });
        return;
      }
      const status = statusOf(message);
      if (status !== null) tell({ kind: 'status', status });
    },
    onTool(toolName, file) {
      tell({ kind: 'tool', toolName, ...(file === null ? {} : { file }) });
    },
    turns: () => turns.size,
    end() {
      clearInterval(alive);
    },
  };
}

function statusOf(message: SDKMessage): string | null {
  const retry = retryOf(message);
  if (retry !== null) {
    return `retry ${retry.attempt} of ${retry.max_retries} after ${retry.error_status ?? 'no connection'}`;
  }
  if (message.type === 'tool_progress') return `${message.tool_name} for ${message.elapsed_time_seconds} s`;
  // That it asks the model tells less than the tool that ran last.
  return message.type === 'system' && message.subtype === 'status' && message.status !== 'requesting'
    ? message.status
    : null;
}
