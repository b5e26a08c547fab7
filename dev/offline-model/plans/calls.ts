import { join } from 'node:path';
import type { Conversation, ToolCall } from '../conversation.js';

export interface Call {
  name: string;
  input: Record<string, unknown>;
}

export function readFile(conversation: Conversation, path: string): Call {
  return { name: 'Read', input: { file_path: absolute(conversation, path) } };
}

function writeFile(conversation: Conversation, path: string, content: string): Call {
  return { name: 'Write', input: { file_path: absolute(conversation, path), content } };
}

export function editFile(
  conversation: Conversation,
  path: string,
  oldString: string,
  newString: string,
): Call {
  const input = { file_path: absolute(conversation, path), old_string: oldString, new_string: newString };
  return { name: 'Edit', input };
}

export function runShell(command: string, description: string): Call {
  return { name: 'Bash', input: { command, description } };
}

export const listFolder = runShell('ls -1', 'List the folder');

/** The names in the folder, undefined when the current operation has not looked or could not. */
export function folderListing(conversation: Conversation): string[] | undefined {
  const call = lastCall(conversation, ({ input }) => input.command === listFolder.input.command);
  if (!call?.ok) return undefined;
  return call.result.split('\n').filter((line) => line !== '' && !line.startsWith('('));
}

/** The latest matching call of the current operation. */
export function lastCall(
  conversation: Conversation,
  fits: (call: ToolCall) => boolean,
): ToolCall | undefined {
  return conversation.calls.findLast(fits);
}

/**
 * The next call needed to write a file in this operation, undefined once it is written. The agent refuses
 * to overwrite a file that it has not read, so a refused write is followed by a read.
 */
export function nextWrite(conversation: Conversation, path: string, content: string): Call | undefined {
  const last = lastCall(
    conversation,
    (call) => call.path === path && (call.name === 'Write' || call.name === 'Read'),
  );
  if (last?.name === 'Write' && last.ok) return undefined;
  return last?.name === 'Write' ? readFile(conversation, path) : writeFile(conversation, path, content);
}

function absolute({ cwd }: Conversation, path: string): string {
  return join(cwd ?? '/', path);
}
