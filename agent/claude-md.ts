import { createHash, randomUUID } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainDefinition } from '../definition/definition.js';
import { leadsOutside } from './workspace-guard.js';

/** Whether Claude Code is to read CLAUDE.md of the workspace in a run, and what is wrong with it. */
export interface ClaudeMd {
  isRead: boolean;
  warnings: string[];
  /** Changes with what Claude Code reads; of files that import others it is always new. */
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
  const rules = await readdir(join(workspace, '.claude', 'rules'), {
    recursive: true,
    withFileTypes: true,
  }).catch(() => []);
  const paths = [
    ...files.map((file) => join(workspace, file)),
    ...rules.map(({ parentPath, name }) => join(parentPath, name)).sort(),
  ];
  const hash = createHash('sha256');
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => null);
    if (text?.includes('@')) return randomUUID();
    hash.update(JSON.stringify([path, text]));
  }
  return hash.digest('hex');
}
