import { createHash, randomUUID } from 'node:crypto';
import { lstat, opendir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainDefinition } from '../definition/definition.js';
import { leadsOutside } from './workspace-guard.js';

/** Whether Claude Code is to read CLAUDE.md of the workspace in a run, and what is wrong with it. */
export interface ClaudeMd {
  isRead: boolean;
  warnings: string[];
  /** Changes with what Claude Code reads; of files that import others, or that cannot be read, it is always new. */
  digest: string;
}

/**
 * Claude Code keeps the imports of these files, and .claude/rules/, inside the folder, but follows the files themselves
 * anywhere.
 */
const files = ['CLAUDE.md', join('.claude', 'CLAUDE.md')];

/** Not read where it is a link out of the workspace: Claude Code would follow it past every hook. */
export async function readableClaudeMd(
  { claudeMd }: Pick<ChainDefinition, 'claudeMd'>,
  workspace: string,
): Promise<ClaudeMd> {
  if (!claudeMd) return { isRead: false, warnings: [], digest: '' };
  const leading = await Promise.all(files.map((file) => leadsOutside(file, workspace)));
  const warnings = files
    .filter((_, index) => leading[index])
    .map((file) => `${file} is a link out of the project folder, so that no CLAUDE.md was read.`);
  const isRead = warnings.length === 0;
  return { isRead, warnings, digest: isRead ? await digestOf(workspace) : '' };
}

async function digestOf(workspace: string): Promise<string> {
  const hash = createHash('sha256');
  const rules = await filesBelow(join(workspace, '.claude', 'rules'));
  if (rules === null) return randomUUID();
  for (const path of [...files.map((file) => join(workspace, file)), ...rules]) {
    const found = await stat(path).catch(() => null);
    // Whatever else has the name of a file may be read for ever: a pipe, a device.
    if (found && !(found.isFile() && found.size <= mostBytes)) return randomUUID();
    const text = found && (await readFile(path, 'utf8').catch(() => null));
    if (text?.includes('@')) return randomUUID();
    hash.update(JSON.stringify([path, text]));
  }
  return hash.digest('hex');
}

/** Of one file. */
const mostBytes = 1024 ** 2;
const mostRules = 1000;

/** Null for a folder elsewhere, for one that cannot be read, and for too many. */
async function filesBelow(folder: string): Promise<string[] | null> {
  const found = await lstat(folder).catch(() => null);
  if (found === null) return [];
  if (!found.isDirectory()) return null;
  const paths: string[] = [];
  try {
    for await (const entry of await opendir(folder, { recursive: true })) {
      if (!entry.isDirectory()) paths.push(join(entry.parentPath, entry.name));
      if (paths.length > mostRules) return null;
    }
  } catch {
    return null;
  }
  return paths.sort();
}
