import { z } from 'zod';

const memorySchema = z.object({
  operations: z.int().nonnegative(),
  compactions: z.int().nonnegative(),
  app: z.object({ title: z.string(), version: z.int().positive() }).optional(),
  files: z.array(z.object({ path: z.string(), purpose: z.string() })),
  metadata: z.object({ name: z.string(), description: z.string() }).optional(),
  lastRequest: z.string().optional(),
});

/** What the received messages show of earlier work; everything that a compaction must carry on. */
export interface Memory {
  /** Finished operations before the one that is being worked on. */
  operations: number;
  compactions: number;
  app?: { title: string; version: number } | undefined;
  /** Paths are relative to the working directory, so that they hold on another host too. */
  files: { path: string; purpose: string }[];
  metadata?: { name: string; description: string } | undefined;
  lastRequest?: string | undefined;
}

export const emptyMemory: Memory = { operations: 0, compactions: 0, files: [] };

/** The line of a summary that the next reader takes its memory from. */
export function rememberLine(memory: Memory): string {
  // A summary must not hold tags of its own: the agent cuts it out by its tags.
  return `Remembered: ${JSON.stringify(memory).replaceAll('<', '\\u003c')}`;
}

/** The memory that a summary carries, undefined when it carries none. */
export function readRememberLine(summary: string): Memory | undefined {
  const line = /^Remembered: (\{.*\})\s*$/m.exec(summary)?.[1];
  if (line === undefined) return undefined;
  try {
    return memorySchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // Truncated or edited on the way: treated as no memory.
  }
}

/** A memory in words, for replies: 'Pocket Tasks at Version 2 (3 files), 4 earlier operations'. */
export function describeMemory(memory: Memory): string {
  const earlier = `${memory.operations} earlier ${memory.operations === 1 ? 'operation' : 'operations'}`;
  const files = `${memory.files.length} ${memory.files.length === 1 ? 'file' : 'files'}`;
  if (memory.app) return `${memory.app.title} at Version ${memory.app.version} (${files}), ${earlier}`;
  return memory.files.length > 0
    ? `${files} (${memory.files.map(({ path }) => path).join(', ')}), ${earlier}`
    : earlier;
}

/** Whether it holds anything about the project. */
export function knowsProject(memory: Memory): boolean {
  return memory.app !== undefined || memory.files.length > 0;
}

/** The same memory with a file added; a file that is known already stays where it is in the list. */
export function rememberFile(memory: Memory, path: string): Memory {
  if (memory.files.some((file) => file.path === path)) return memory;
  return { ...memory, files: [...memory.files, { path, purpose: purposes[path] ?? 'written on request' }] };
}

const purposes: Record<string, string> = {
  'index.html': 'the page: structure, features, version badge',
  'style.css': 'the look',
  'app.js': 'the behaviour: tasks, storage, counting',
  'README.md': 'what the app is and how to open it',
  'NOTES.md': 'what was asked for and done',
};
