import type {
  HookCallback,
  HookJSONOutput,
  Options,
  PreToolUseHookInput,
} from '@anthropic-ai/claude-agent-sdk';
import type { SandboxLimit } from '../contracts/limits.js';
import { subagentTool } from '../definition/definition.js';
import { submissionServerName } from '../definition/submission.js';
import { isAllowed } from './allowed-tools.js';
import { cutAnswers, endsWithFullContext, ownEntries } from '../transcript/entries.js';
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
  /** The only tools that may run, whatever the agent's own rules would allow. */
  allowedTools: readonly string[];
  /** Model turns that the run may take. */
  maxTurns: number;
  /** Whether Claude Code itself ends the run at this number of turns; it does not count those of subagents. */
  hasOwnTurnLimit: boolean;
}

/** As often as Claude Code accepts a truncated answer without a tool call; it would never stop those with one. */
const mostCutAnswers = 4;

/** Longer than any step: the gate has its own limit, and a hook that timed out would let the tool run. */
const timeoutSeconds = 24 * 3600;

/** The shell's status of a command that the kernel ended at a limit: by SIGXCPU, by SIGXFSZ. */
const limitOfExit: Readonly<Record<string, SandboxLimit>> = { 152: 'cpuSeconds', 153: 'fileMb' };

/** What is between the model and its tools: the gate, the bounds of the workspace, and the record of what was done. */
export function agentHooks(parts: HookParts): NonNullable<Options['hooks']> {
  const { gate, progress, workspace, onFile, stop, allowedTools, maxTurns, hasOwnTurnLimit } = parts;

  const beforeTool: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PreToolUse') return {};
    progress.onTool(input.tool_name, writtenFile(input.tool_name, input.tool_input, workspace, input.cwd));
    if (!isAllowed(allowedTools, input.tool_name, input.tool_input)) {
      return deny(`${input.tool_name} is not allowed here as it was called.`);
    }
    const outside = await outsideWorkspace(input.tool_name, input.tool_input, workspace, input.cwd);
    if (outside !== null) return deny(outside);
    const unfit = unfitForSubagents(input);
    if (unfit !== null) return deny(unfit);
    const admitted = await gate.admit({
      id: input.tool_use_id,
      name: input.tool_name,
      input: input.tool_input,
    });
    const hasSubagents = input.tool_name === subagentTool || gate.appendedBySubagents().length > 0;
    if (admitted && (hasSubagents || !hasOwnTurnLimit) && gate.turns() >= maxTurns)
      stop.orderly('turns_used');
    if (admitted && stop.reason() === null) return {};
    // The agent is being stopped. An answer now would only make it ask the model again.
    await stop.killed();
    return deny('The step ends here.');
  };

  const afterTool: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PostToolUse') return {};
    const file = writtenFile(input.tool_name, input.tool_input, workspace, input.cwd);
    if (file !== null) onFile(file);
    return {};
  };

  const afterFailure: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PostToolUseFailure') return {};
    const limit = limitOfExit[/^Exit code (\d+)/.exec(input.error)?.[1] ?? ''];
    if (input.tool_name === 'Bash' && limit !== undefined) stop.orderly(limit);
    return {};
  };

  /** Ends the turn if the model is asked again for what it cannot write: its stop reason is in the stored entry, and in the stream. */
  const afterTools: HookCallback = async (input) => {
    if (input.hook_event_name !== 'PostToolBatch') return {};
    if (input.tool_calls.every(({ tool_use_id: id }) => gate.endedForTools(id))) return {};
    for (const call of input.tool_calls) {
      if (!(await gate.isStored(call.tool_use_id))) return {};
    }
    const own =
      input.agent_id === undefined
        ? ownEntries(gate.appended(), gate.base())
        : gate.appendedBySubagents().filter(({ agentId }) => agentId === input.agent_id);
    return endsWithFullContext(own) || cutAnswers(own) >= mostCutAnswers ? { continue: false } : {};
  };

  return {
    // 'block': if the hook itself fails, the tool does not run.
    PreToolUse: [{ hooks: [beforeTool], timeout: timeoutSeconds, onFailure: 'block' }],
    PostToolUse: [{ hooks: [afterTool] }],
    PostToolUseFailure: [{ hooks: [afterFailure] }],
    PostToolBatch: [{ hooks: [afterTools], timeout: timeoutSeconds }],
  };
}

/** Why a call may not be made by a subagent, or for one; null when it may. */
function unfitForSubagents({ tool_name: name, tool_input: toolInput, agent_id: id }: PreToolUseHookInput) {
  if (id !== undefined && name.startsWith(`mcp__${submissionServerName}__`)) {
    // No later session would find it in the transcript of a subagent.
    return `${name} is for the agent that has the step; report to it what is to be submitted.`;
  }
  const { isolation } = (toolInput ?? {}) as { isolation?: unknown };
  return name === subagentTool && isolation !== undefined
    ? 'A subagent works in the project folder: isolation is not available. Call it without.'
    : null;
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
