import { SessionChainError } from '../../contracts/failures.js';
import type { ChainId, ProjectId } from '../../contracts/ids.js';
import { projectNotFound } from '../heads/errors.js';
import { type Pool, queryOne } from '../db/pool.js';

/** Which folder belongs to which project. A worker sees folders, the database knows whose they are. */

/** A folder as a worker sees it. */
export interface SeenFolder {
  /** Real path, links resolved. */
  path: string;
  /** What the marker in the folder says; null where there is none. */
  marker: string | null;
  /** Identifies the folder on this machine until it reboots. */
  identity: string;
}

export interface BindRequest {
  projectId: ProjectId;
  /** The chain that is to work there; without one nothing is bound. */
  chain?: { chainId: ChainId; ticket: number };
  /** The path that was asked for; a different one means another folder. */
  requested: string;
  folder: SeenFolder;
  /** Names the process that sees it. */
  worker: string;
}

export type Binding =
  /** The folder is the project's; `marker` belongs in it. */
  | { outcome: 'bound'; marker: string }
  /** The project has no folder yet, or another one was asked for. */
  | { outcome: 'unbound' }
  /** The project's folder is another one, seen last at `path` by `worker`. */
  | { outcome: 'other_folder'; path: string; worker: string }
  /** It is another project's folder, is inside or around that one, or carries its marker. */
  | { outcome: 'taken'; projectId: string; path: string };

/**
 * Whether a folder is the project's. A chain binds a project that has none, or that is to have another. Throws FENCED.
 */
export async function bindWorkspace(
  pool: Pool,
  { projectId, chain, requested, folder, worker }: BindRequest,
): Promise<Binding> {
  const row = await queryOne<{
    outcome: Binding['outcome'] | 'fenced';
    marker: string;
    other_project: string;
    other_path: string;
    other_worker: string;
    why: string | null;
  }>(pool, {
    name: 'bind_workspace',
    text: `SELECT outcome, marker, other_project, other_path, other_worker,
             CASE outcome WHEN 'fenced' THEN session_chain.why_chain_fenced($2, $3, NULL, NULL, NULL) END AS why
           FROM session_chain.bind_workspace($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      projectId,
      chain?.chainId ?? null,
      chain?.ticket ?? null,
      requested,
      folder.path,
      folder.marker,
      folder.identity,
      worker,
    ],
  });
  switch (row.outcome) {
    case 'bound':
      return { outcome: 'bound', marker: row.marker };
    case 'unbound':
      return { outcome: 'unbound' };
    case 'other_folder':
      return { outcome: 'other_folder', path: row.other_path, worker: row.other_worker };
    case 'taken':
      return { outcome: 'taken', projectId: row.other_project, path: row.other_path };
    case 'fenced':
      throw new SessionChainError(
        'FENCED',
        `The folder of the project ${projectId} is not bound for the chain: ${row.why ?? 'it does not hold the project'}.`,
      );
  }
}

/** What became of a project's binding. */
export interface UnboundWorkspace {
  projectId: ProjectId;
  /** The folder that was released; null where the project had none. */
  path: string | null;
}

/** Lets go of a project's folder. Throws PROJECT_NOT_FOUND, and PROJECT_BUSY while a chain holds the project. */
export async function unbindWorkspace(pool: Pool, projectId: ProjectId): Promise<UnboundWorkspace> {
  const row = await queryOne<{
    outcome: 'released' | 'unbound' | 'busy' | 'unknown';
    path: string | null;
    holder_workflow_id: string;
  }>(pool, {
    name: 'unbind_workspace',
    text: 'SELECT outcome, path, holder_workflow_id FROM session_chain.unbind_workspace($1)',
    values: [projectId],
  });
  if (row.outcome === 'unknown') throw projectNotFound(projectId);
  if (row.outcome !== 'busy') return { projectId, path: row.path };
  throw new SessionChainError(
    'PROJECT_BUSY',
    `The chain ${row.holder_workflow_id} holds the project ${projectId}; its agent may be at work in the folder.`,
  );
}
