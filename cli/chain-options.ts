import type { Command } from 'commander';
import { chainKey } from '../client/chain-key.js';
import type { ChainKey } from '../contracts/ids.js';

export interface ChainOptions {
  project: string;
  version: string;
  build?: string;
}

/** The options that name one chain. */
export function withChainOptions(command: Command): Command {
  return command
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .requiredOption('-v, --version <id>', 'its version (project_versions.version_id)')
    .option('-b, --build <id>', 'the build, the key of one chain of the version (default: the version)');
}

/** Throws INVALID_INPUT for a malformed id. */
export function keyOf({ project, version, build }: ChainOptions): ChainKey {
  return chainKey({ projectId: project, versionId: version, buildId: build });
}

/** The options of a key, for a command line to copy. */
export function keyArguments({ projectId, versionId, buildId }: ChainKey): string {
  return `--project ${projectId} --version ${versionId}${buildId === (versionId as string) ? '' : ` --build ${buildId}`}`;
}
