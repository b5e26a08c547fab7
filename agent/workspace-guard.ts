import { lstat, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { writtenPath } from '../transcript/written-files.js';

/** The inputs of the file tools that name a place; a pattern can leave its folder just as a path can. */
const placesOfTool: Record<string, { paths: string[]; patterns: string[] }> = {
  Read: { paths: ['file_path'], patterns: [] },
  Write: { paths: ['file_path'], patterns: [] },
  Edit: { paths: ['file_path'], patterns: [] },
  MultiEdit: { paths: ['file_path'], patterns: [] },
  NotebookEdit: { paths: ['notebook_path'], patterns: [] },
  NotebookRead: { paths: ['notebook_path'], patterns: [] },
  Glob: { paths: ['path'], patterns: ['pattern'] },
  Grep: { paths: ['path'], patterns: ['glob'] },
  LS: { paths: ['path'], patterns: [] },
};

/**
 * Why a file tool may not run on this input: it would touch a place outside the workspace, directly or through a
 * symbolic link. Null when it may, and for a tool that names no files. Bash cannot be confined like this: a shell
 * command names its files in ways that no hook can read. If that matters, confine the worker (container, user).
 *
 * @param workspace the real path of the project's folder
 * @param cwd what relative paths start from
 */
export async function outsideWorkspace(
  toolName: string,
  toolInput: unknown,
  workspace: string,
  cwd: string,
): Promise<string | null> {
  const places = placesOfTool[toolName];
  if (places === undefined) return null;
  for (const path of stringsOf(toolInput, places.paths)) {
    if (path.startsWith('~') || !isInside(await resolveLinks(resolve(cwd, path)), workspace)) {
      return `${path} is outside the project folder ${workspace}.`;
    }
  }
  for (const pattern of stringsOf(toolInput, places.patterns)) {
    const fixedPart = pattern.split(/[*?[{]/, 1)[0] ?? '';
    const climbs = pattern.startsWith('~') || /(^|[/{,])\.\.([/},]|$)/.test(pattern);
    if (climbs || (isAbsolute(pattern) && !isInside(await resolveLinks(resolve(fixedPart)), workspace))) {
      return `${pattern} reaches outside the project folder ${workspace}.`;
    }
  }
  return null;
}

/** Whether a path of the workspace leads out of it through a link. */
export async function leadsOutside(path: string, workspace: string): Promise<boolean> {
  return !isInside(await resolveLinks(resolve(workspace, path)), workspace);
}

/** The file that a tool writes, relative to the workspace; null for other tools and other places. */
export function writtenFile(
  toolName: string,
  toolInput: unknown,
  workspace: string,
  cwd: string,
): string | null {
  const path = writtenPath(toolName, toolInput);
  if (path === null) return null;
  const absolute = resolve(cwd, path);
  return isInside(absolute, workspace) ? absolute.slice(workspace.length + 1) : null;
}

/** Where a path really leads, also when its last parts do not exist yet or a link on the way points to nothing. */
async function resolveLinks(path: string, depth = 0): Promise<string> {
  // The same limit as in Linux; a cycle of links is not inside anything.
  if (depth > 40) return sep;
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    if (parent === path) return path;
    const real = join(await resolveLinks(parent, depth + 1), basename(path));
    const isLink = await lstat(real).then(
      (stat) => stat.isSymbolicLink(),
      () => false,
    );
    return isLink ? resolveLinks(resolve(dirname(real), await readlink(real)), depth + 1) : real;
  }
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder + sep);
}

function stringsOf(input: unknown, names: string[]): string[] {
  if (typeof input !== 'object' || input === null) return [];
  const record = input as Record<string, unknown>;
  return names.map((name) => record[name]).filter((value) => typeof value === 'string');
}
