import { join } from 'node:path';
import type { ChainDefinition } from '../definition/definition.js';
import { leadsOutside } from './workspace-guard.js';

/** Whether Claude Code is to read CLAUDE.md of the workspace in a run, and what is wrong with it. */
export interface ClaudeMd {
  isRead: boolean;
  warnings: string[];
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
  if (!claudeMd) return { isRead: false, warnings: [] };
  const leading = await Promise.all(files.map((file) => leadsOutside(file, workspace)));
  const warnings = files
    .filter((_, index) => leading[index])
    .map((file) => `${file} is a link out of the project folder, so that no CLAUDE.md was read.`);
  return { isRead: warnings.length === 0, warnings };
}
