import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { sep } from 'node:path';
import { Context } from '@temporalio/activity';
import { SessionChainError, toSessionChainError } from '../contracts/failures.js';
import type { ChainId, ProjectId } from '../contracts/ids.js';
import { type SeenFolder, bindWorkspace } from '../storage/workspaces/workspaces.js';
import {
  type Search,
  type Trouble,
  endSearch,
  noteLook,
  othersAtWork,
} from '../storage/workspaces/searches.js';
import { markerFile, readFolder, writeMarker } from '../workspace/marker.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import type { ActivityDependencies } from './dependencies.js';
import { type ActivityLog, type LogFields, failureFields, isWorthALine, waitFields } from './log.js';

type Deps = Pick<ActivityDependencies, 'pool' | 'workspaceRoots' | 'workspaceWaitMs' | 'log'>;

// In a container the process id is the same after every start, and the host's name may be.
const name = `${process.pid}-${randomUUID().slice(0, 8)}@${hostname()}`;

/** The name of this process, in the journal and in Temporal: `<pid>-<8 hex>@<hostname>`, unlike that of any other. */
export const workerName = () => name;

export interface WorkspaceRequest {
  projectId: ProjectId;
  /** The folder as requested. */
  path: string;
  /** The chain that is to work there; a question only reads. */
  chain?: { chainId: ChainId; ticket: number };
  /** Identifies the operation among those that wait for a folder. */
  search: string;
  /** Whether it may have waited for a folder before. */
  hasWaited: boolean;
}

export type FoundWorkspace =
  | {
      /** Real path. */
      path: string;
      /** Restores the marker if the agent has removed it. */
      keepMarker: () => Promise<void>;
      /** WORKSPACE_CHANGED if another folder has taken its place; null as long as it is the same. */
      replaced: () => Promise<SessionChainError | null>;
    }
  /** This worker does not have the folder; another one may. */
  | { trouble: SessionChainError };

/** The project's folder, if this worker has it. Throws WORKSPACE_TAKEN for another project's folder, FENCED. */
export async function findWorkspace(deps: Deps, request: WorkspaceRequest): Promise<FoundWorkspace> {
  try {
    const path = await resolveWorkspace(request.path, deps.workspaceRoots);
    const seen = { path, ...(await readFolder(path)) };
    const marker = await bind(deps, request, seen);
    // A question only reads.
    const kept = request.chain ? marker : null;
    if (kept !== null) await putBack(seen, kept);
    if (request.hasWaited) await endSearch(deps.pool, request.search);
    return {
      path,
      keepMarker: async () => await keepMarker(deps, seen, kept),
      replaced: async () => await lookForAnother(seen, marker),
    };
  } catch (error) {
    const failure = toSessionChainError(error);
    if (failure.code === 'WORKSPACE_NOT_ALLOWED' || failure.code === 'WORKSPACE_CHANGED') {
      return { trouble: failure };
    }
    throw error;
  }
}

/** The marker that belongs in the folder; null if the project has no folder yet. */
async function bind(
  { pool }: Deps,
  { projectId, path: requested, chain }: WorkspaceRequest,
  folder: SeenFolder,
): Promise<string | null> {
  const ask = async (seen: SeenFolder) =>
    await bindWorkspace(pool, {
      ...{ projectId, requested, folder: seen, worker: workerName() },
      ...(chain ? { chain } : {}),
    });
  let binding = await ask(folder);
  // The other project's own folder is also here: this one is a copy of it, including its marker.
  if (binding.outcome === 'taken' && folder.marker !== null && (await isOriginal(binding.path, folder))) {
    binding = await ask({ ...folder, marker: null });
  }
  switch (binding.outcome) {
    case 'bound':
      return binding.marker;
    case 'unbound':
      return null;
    case 'other_folder':
      throw new SessionChainError(
        'WORKSPACE_CHANGED',
        `The workspace ${folder.path} is not the folder of the project ${projectId}: its ${markerFile} ` +
          `${folder.marker === null ? 'is missing' : 'is of another one'}. The right one was seen last at ${binding.path} by ${binding.worker}.`,
      );
    case 'taken':
      throw new SessionChainError(
        'WORKSPACE_TAKEN',
        `The workspace ${folder.path} ${relation(folder.path, binding.path)} ${binding.path}, the folder of the project ${binding.projectId}.`,
      );
  }
}

async function isOriginal(path: string, { marker, identity }: SeenFolder): Promise<boolean> {
  const original = await readFolder(path).catch(() => null);
  return original !== null && original.marker === marker && original.identity !== identity;
}

function relation(path: string, other: string): string {
  if (path === other) return 'is';
  if (path.startsWith(`${other}${sep}`)) return 'is inside';
  if (other.startsWith(`${path}${sep}`)) return 'lies around';
  return `is, by its ${markerFile}, or a copy of it with that file:`;
}

async function putBack({ path, marker: found }: SeenFolder, marker: string): Promise<void> {
  if (found === marker) return;
  await writeMarker(path, marker).catch((error: unknown) => {
    throw new SessionChainError(
      'WORKSPACE_NOT_ALLOWED',
      `The workspace ${path} cannot be written: ${error instanceof Error ? error.message : String(error)}.`,
      'Give the worker the right to write in the folder.',
      { cause: error },
    );
  });
}

async function keepMarker(
  { log }: Deps,
  { path, identity }: SeenFolder,
  marker: string | null,
): Promise<void> {
  if (marker === null) return;
  try {
    const now = await readFolder(path);
    // Another folder may have taken its place meanwhile, such as the mount point of a lost mount.
    if (now.identity === identity) await putBack({ path, ...now }, marker);
  } catch (error) {
    log.warn('workspace.marker_not_kept', { ...failureFields(toSessionChainError(error)), workspace: path });
  }
}

/** The same folder may have been mounted again meanwhile, which its marker shows. */
async function lookForAnother(
  { path, identity }: SeenFolder,
  marker: string | null,
): Promise<SessionChainError | null> {
  let why = 'another folder is there now, and what the agent wrote since then may be in it';
  try {
    const now = await readFolder(path);
    if (now.identity === identity || (marker !== null && now.marker === marker)) return null;
  } catch (error) {
    why = `it cannot be read any more: ${error instanceof Error ? error.message : String(error)}`;
  }
  return new SessionChainError(
    'WORKSPACE_CHANGED',
    `The folder ${path} was replaced while the agent worked, and its work is not committed: ${why}.`,
  );
}

/** The minimum number of looks: in a fleet that restarts, the worker with the folder may come last. */
const minLooks = 10;

export interface Look {
  search: string;
  /** Why this worker leaves the operation to others. */
  trouble: Trouble;
}

/**
 * Records that this worker left an operation to others; returns when to look again and whether the search has lasted
 * its full time.
 */
export async function lookAgain(
  { pool, workspaceWaitMs }: Pick<Deps, 'pool' | 'workspaceWaitMs'>,
  { search, trouble }: Look,
): Promise<Search & { waitMs: number; isOverdue: boolean }> {
  const forgetAfterMs = Math.max(workspaceWaitMs, 60_000);
  const found = await noteLook(pool, { search, worker: workerName(), trouble, forgetAfterMs });
  const { looks, searchedMs } = found;
  return {
    ...found,
    // Longer each time, so that a worker that cannot do it is not busy with it; not so long that another one stays
    // idle.
    waitMs: Math.ceil(Math.min(1_000 * 2 ** (looks - 1), Math.max(workspaceWaitMs / 40, searchedMs / 10))),
    isOverdue: looks >= minLooks && searchedMs >= workspaceWaitMs,
  };
}

/**
 * Leaves an operation to a worker that has the project's folder: records what this one found, and returns when to look
 * again. Throws the obstacle once no worker has had the folder for the full time; a worker that is busy elsewhere and
 * has not looked may have it.
 */
export async function waitForWorkspace(
  deps: Deps,
  { projectId, path, search }: WorkspaceRequest,
  trouble: SessionChainError,
): Promise<number> {
  const { pool, workspaceRoots } = deps;
  const { code, message } = trouble;
  const said = `${message} Its roots: ${workspaceRoots.join(', ')}.`;
  const { looks, searchedMs, workers, waitMs, isOverdue } = await lookAgain(deps, {
    search,
    trouble: { code, message: said },
  });
  if (!isOverdue || (await othersAtWork(pool, Object.keys(workers)))) {
    tellWait(deps.log, looks, {
      ...failureFields(trouble),
      ...waitFields('a worker that has the folder', waitMs),
    });
    return waitMs;
  }
  await endSearch(pool, search);
  const all = Object.entries(workers);
  const changed = all.some(([, one]) => one.code === 'WORKSPACE_CHANGED');
  throw new SessionChainError(
    changed ? 'WORKSPACE_CHANGED' : 'WORKSPACE_NOT_ALLOWED',
    `No worker had the folder ${path} of the project ${projectId} for ${Math.round(searchedMs / 1_000)} s, in ${looks} looks. ` +
      all.map(([name, one]) => `${name}: ${one.message}`).join(' '),
  );
}

/** Tells that an operation is left to another worker: loudly the first time, then at every doubling. */
export function tellWait({ ids, ...log }: ActivityLog, looks: number, fields: LogFields): void {
  if (!isWorthALine(looks)) return;
  log[looks === 1 ? 'warn' : 'info'](ids.step === undefined ? 'question.waiting' : 'chain.waiting', {
    ...fields,
    looks,
  });
}

/** Earlier tries of this activity: they count if the operation continues in another activity. */
export const triesBefore = () => Context.current().info.attempt - 1;
