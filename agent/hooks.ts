import type { HookCallback, HookJSONOutput, Options } from '@anthropic-ai/claude-agent-sdk';
import { isAllowed } from './allowed-tools.js';
import type { Progress } from './progress.js';
import type { Stop } from './stop.js';
import type { ToolGate } from './tool-gate.js';
import { outsideWorkspace, writtenFile } from './workspace-guard.js';

export interface HookParts {
  gate: ToolGate;
  progress: Progress;
  workspace: string;
  /** Gets each file that a tool wrote, relative to the workspace. */
  onFile: (file: string) => void;
  stop: Stop;
  /** The only tools that may run, whatever the agent's own rules would let pass. */
  allowedTools: readonly string[];
}

/** Longer than any step: the gate has a limit of its own, and a hook that timed out would let the tool run. */
const timeoutSeconds = 24 * 3600;

/** What stands between the model and its tools: the gate, the workspace's bounds, and the notes of what was done. */
export function agentHooks(parts: HookParts): NonNullable<Options['hooks']> {
  const { gate, progress, workspace, onFile, stop, allowedTools } = parts;

  const beforeTool: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PreToolUse') return {};
    progress.onTool(input.tool_name, writtenFile(input.tool_name, input.tool_input, workspace, input.cwd));
    if (!isAllowed(allowedTools, input.tool_name, input.tool_input)) {
      return deny(`${input.tool_name} is not allowed here as it was called.`);
    }
    const outside = await outsideWorkspace(input.tool_name, input.tool_input, workspace, input.cwd);
    if (outside !== null) return deny(outside);
    if ((await gate.admit(input.tool_use_id)) && stop.reason() === null) return {};
    // The agent is being stopped. An answer before its end would only make it ask the model once more.
    await stop.killed();
    return deny('The step ends here.');
  };

  const afterTool: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PostToolUse') return {};
    const file = writtenFile(input.tool_name, input.tool_input, workspace, input.cwd);
    if (file !== null) onFile(file);
    return {};
  };

  return {
    // 'block': where the hook itself fails, the tool does not run.
    PreToolUse: [{ hooks: [beforeTool], timeout: timeoutSeconds, onFailure: 'block' }],
    PostToolUse: [{ hooks: [afterTool] }],
  };
}

function deny(reason: string): HookJSONOutput {
  return {
    hookSpecificOutput: {
      hookEventName: 'PreToolUse',
      permissionDecision: 'deny',
      permissionDecisionReason: reason,
    },
  };
}
