import { realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SessionChainError } from '../../contracts/failures.js';
import type { SandboxSettings } from '../../contracts/sandbox.js';

/** What is kept apart from an agent whatever its sandbox is told: what a worker runs, and the folders of other agents. */

/** The package, or the clone, that this module is part of. */
const ownFolder = dirname(dirname(fileURLToPath(new URL('.', import.meta.url))));

/** Throws WORKSPACE_NOT_ALLOWED. The workspace is a real path. */
export async function requireApart(
  workspace: string,
  { scratchRoot, binary }: { scratchRoot: string; binary: string },
): Promise<void> {
  for (const path of [scratchRoot, tmpdir(), binary, ownFolder]) {
    if (!isWithin(workspace, await realpath(path))) continue;
    throw new SessionChainError(
      'WORKSPACE_NOT_ALLOWED',
      `The folder ${workspace} holds ${path}, which belongs to the worker: an agent there could change what the worker runs, or read what another agent does.`,
      'Give the project a folder of its own, or move what belongs to the worker: SESSION_CHAIN_SCRATCH_DIR, TMPDIR, or the place where it is installed.',
    );
  }
}

/**
 * The settings as a worker uses them, and the paths of `read` that do not exist here and are left out. Throws
 * SANDBOX_UNAVAILABLE where agents would be root of the machine, INVALID_CONFIG for a path of `read` by which an agent
 * would see other projects or runs.
 */
export async function checkSandbox(
  settings: SandboxSettings,
  { workspaceRoots, scratchRoot }: { workspaceRoots: readonly string[]; scratchRoot: string },
): Promise<{ sandbox: SandboxSettings; missing: string[] }> {
  if (settings.kind === 'none') {
    refuseRoot();
    return { sandbox: settings, missing: [] };
  }
  const closed = [
    ...workspaceRoots.map((path) => ({ path, what: `the workspace root ${path}` })),
    { path: scratchRoot, what: `the folders of running agents in ${scratchRoot}` },
    { path: tmpdir(), what: `the temporary files of the worker in ${tmpdir()}` },
  ];
  const [read, missing]: [string[], string[]] = [[], []];
  for (const path of settings.read) {
    const real = await realpath(path).catch(() => null);
    if (real === null) {
      missing.push(path);
      continue;
    }
    read.push(path);
    for (const one of closed) {
      if (!isWithin(real, await realpath(one.path).catch(() => resolve(one.path)))) continue;
      throw new SessionChainError(
        'INVALID_CONFIG',
        `sandbox.read (SESSION_CHAIN_SANDBOX_READ) names ${path}, which holds ${one.what}: agents would read other projects and runs.`,
        'Name only the files and folders in it that agents need.',
      );
    }
  }
  return { sandbox: { ...settings, read }, missing };
}

function refuseRoot(): void {
  if (process.geteuid?.() !== 0) return;
  throw new SessionChainError(
    'SANDBOX_UNAVAILABLE',
    'This worker runs as root and without a sandbox (SESSION_CHAIN_SANDBOX=none): its agents would be root of the machine.',
    'Run the worker as another user, or with the sandbox bwrap.',
  );
}

/** Whether a path is a folder or lies below it; both are real paths. */
function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? folder : `${folder}/`);
}
