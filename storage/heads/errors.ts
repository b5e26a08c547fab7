import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, VersionId } from '../../contracts/ids.js';

/** What an operation says of rows of the host that are not as its input claims. */

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
