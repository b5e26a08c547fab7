import { subagentTool } from '../definition/definition.js';

/**
 * Whether a step's list names this call: `Read`, `mcp__server` with all its tools, `mcp__server__tool`, or a shell
 * command by a pattern such as `Bash(npm test)` or `Bash(npm run:*)`, subagents of one type by `Agent(Explore)`. Claude
 * Code's own rules allow more (read-only shell commands, of which git runs what the workspace's configuration names;
 * subagents of any type); here only the list counts.
 */
export function isAllowed(allowedTools: readonly string[], toolName: string, toolInput: unknown): boolean {
  return allowedTools.some((allowed) => {
    const [, name = '', pattern] = /^([^(]+)(?:\((.*)\))?$/s.exec(allowed) ?? [];
    if (name !== toolName && !(name.startsWith('mcp__') && toolName.startsWith(`${name}__`))) return false;
    if (pattern === undefined) return true;
    if (toolName === 'Bash') return matchesCommand(pattern, commandOf(toolInput));
    if (toolName === subagentTool) return pattern === subagentType(toolInput);
    // A pattern can limit no other tool, and checkDefinition rejects it: Claude Code allows reading with any pattern.
    return false;
  });
}

/** Anything by which a shell runs, reads or writes more than the one command that the pattern names. */
const shellSyntax = /[;&|<>`$()\n\r\\]/;

function matchesCommand(pattern: string, command: string): boolean {
  if (command === pattern) return true;
  const [, prefix] = /^(.*?)(?::\*| ?\*)$/s.exec(pattern) ?? [];
  if (prefix === '') return true;
  if (prefix === undefined || shellSyntax.test(command)) return false;
  return command === prefix || command.startsWith(`${prefix} `);
}

function subagentType(toolInput: unknown): unknown {
  const { subagent_type: type } = (toolInput ?? {}) as { subagent_type?: unknown };
  return type ?? 'general-purpose';
}

function commandOf(toolInput: unknown): string {
  const { command } = (toolInput ?? {}) as { command?: unknown };
  return typeof command === 'string' ? command.trim() : '';
}
