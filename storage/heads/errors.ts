import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId, VersionId } from '../../contracts/ids.js';

/** The errors of an operation whose input does not match the rows. */

export function projectNotFound(projectId: ProjectId): SessionChainError {
  return new SessionChainError('PROJECT_NOT_FOUND', `The project ${projectId} is not in the table projects.`);
}

export function versionNotFound(versionId: VersionId | null): SessionChainError {
  return new SessionChainError(
    'VERSION_NOT_FOUND',
    `The version ${String(versionId)} is not in the table project_versions.`,
  );
}

export function versionOfAnotherProject(
  projectId: ProjectId,
  versionId: VersionId | null,
): SessionChainError {
  return new SessionChainError(
    'VERSION_OF_ANOTHER_PROJECT',
    `The version ${String(versionId)} does not belong to the project ${projectId}.`,
  );
}

export function sessionOfAnotherProject(
  projectId: ProjectId,
  sessionId: SessionId | null,
): SessionChainError {
  return new SessionChainError(
    'SESSION_ALREADY_KNOWN',
    `The session ${String(sessionId)} belongs to another project; the project ${projectId} is as it was.`,
    'Record or import it for its own project. To go on from it in this one, fork it in Claude Code (claude --resume … --fork-session), and import the session that this makes.',
  );
}

/** Why a chain may not continue, by `session_chain.chain_standing`. */
export type Refusal = 'project_not_found' | 'version_not_found' | 'request_lost' | 'went_back' | 'fenced';

/** The error of a chain that may not begin `what`; with `fenced`, `why` says what has ended its right. */
export function refused(
  refusal: Refusal,
  {
    projectId,
    versionId,
    what,
    why,
  }: { projectId: ProjectId; versionId: VersionId | null; what: string; why?: string | null },
): SessionChainError {
  switch (refusal) {
    case 'project_not_found':
      return projectNotFound(projectId);
    case 'version_not_found':
      return versionNotFound(versionId);
    case 'request_lost':
      return new SessionChainError(
        'REQUEST_LOST',
        `The ${what} may not begin: its chain is not in the database any more. The row was deleted, or the database went back to before the chain was asked for.`,
      );
    case 'went_back':
      return new SessionChainError(
        'DATABASE_WENT_BACK',
        `The ${what} may not begin: the database does not know the chain's ticket or head any more. It went back to an earlier state.`,
      );
    case 'fenced':
      return new SessionChainError(
        'FENCED',
        `The ${what} of the project ${projectId} may not begin: ${why ?? 'its chain does not hold the project'}.`,
      );
  }
}
