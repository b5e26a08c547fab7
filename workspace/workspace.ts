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
  if (roots.length === 0) throw refuse('is refused, for no workspace root is configured');
  const real = await realpath(path).catch(() => {
    throw refuse('does not exist');
  });
  if (!(await stat(real)).isDirectory()) throw refuse('is not a folder');
  // A root that does not exist holds nothing.
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => null)));
  if (realRoots.some((root) => root !== null && isWithin(root, real))) return real;
  throw refuse(`lies outside the workspace roots (${roots.join(', ')})`);
}

/** Whether `path` is `folder` or below it; both absolute, links resolved. */
function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}
