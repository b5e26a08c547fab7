import { posix } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { acceptedCalls } from './entries.js';

/** The tools that write a file, and which field of their input names it. */
const writingTools: Record<string, string> = {
  Write: 'file_path',
  Edit: 'file_path',
  MultiEdit: 'file_path',
  NotebookEdit: 'notebook_path',
};

/** The path that a tool call writes, as the model gave it; null for other tools. */
export function writtenPath(toolName: string, toolInput: unknown): string | null {
  const field = Object.hasOwn(writingTools, toolName) ? writingTools[toolName] : undefined;
  if (field === undefined || typeof toolInput !== 'object' || toolInput === null) return null;
  const path = (toolInput as Record<string, unknown>)[field];
  return typeof path === 'string' ? path : null;
}

/**
 * The files that these entries wrote with a file tool, each once, in the order of their first write: relative to the
 * folder in which the agent worked, or in full where they are outside it. What a shell command wrote is not known.
 */
export function writtenFiles(entries: SessionStoreEntry[]): string[] {
  const folder = entries.map(({ cwd }) => cwd).findLast((cwd) => typeof cwd === 'string') ?? '/';
  const files = acceptedCalls(entries).flatMap(({ name, input }) => {
    const path = writtenPath(name, input);
    return path === null ? [] : [relativeTo(folder, posix.resolve(folder, path))];
  });
  return [...new Set(files)];
}

export function relativeTo(folder: string, path: string): string {
  return path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path;
}
