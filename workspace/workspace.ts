import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, relative, sep } from 'node:path';
import { SessionChainError } from '../contracts/failures.js';

/**
 * The real path of a project's folder, links resolved. Throws WORKSPACE_NOT_ALLOWED for what is not an existing folder at
 * or below one of `roots` (absolute paths).
 */
export async function resolveWorkspace(path: string, roots: readonly string[]): Promise<string> {
  const refuse = (why: string) =>
    new SessionChainError('WORKSPACE_NOT_ALLOWED', `The workspace ${path} ${why}.`);
  if (!isAbsolute(path)) throw refuse('is not an absolute path');
  if (roots.length === 0) throw refuse('is refused, because no workspace root is configured');
  const real = await realpath(path).catch((error: unknown) => {
    throw refuse(isMissing(error) ? 'does not exist' : `cannot be reached (${codeOf(error)})`);
  });
  if (!(await isFolder(real))) throw refuse('is not a folder');
  // A root that does not exist holds nothing.
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => null)));
  if (realRoots.some((root) => root !== null && isWithin(root, real))) return real;
  throw refuse(`lies outside the workspace roots (${roots.join(', ')})`);
}

/**
 * Throws INVALID_INPUT if no root is a folder here: such a worker would take steps only to find that it cannot do them.
 * Returns the roots that are not folders.
 */
export async function requireRoots(roots: readonly string[]): Promise<string[]> {
  const there = await Promise.all(roots.map((root) => isFolder(root)));
  if (there.includes(true)) return roots.filter((_, index) => !there[index]);
  throw new SessionChainError(
    'INVALID_INPUT',
    roots.length === 0
      ? 'SESSION_CHAIN_WORKSPACE_ROOTS is not set: no worker starts, and every workspace is refused.'
      : `None of SESSION_CHAIN_WORKSPACE_ROOTS is a folder here, and no worker starts: ${roots.join(', ')}.`,
    "Set SESSION_CHAIN_WORKSPACE_ROOTS to the folders that hold the projects' files, separated by ':'.",
  );
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** Whether `path` is `folder` or below it; both absolute, links resolved. */
function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}
