import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { WorkerOptions } from '@temporalio/worker';
import { packageVersion } from '../config/package-version.js';
import { workflowBundle } from './workflow-bundles.js';

/** A worker deployment of Temporal, in which each release is a version. */
export interface Deployment {
  name: string;
  /** Whether an open workflow stays with the release with which it began, or goes on with the current one. */
  versioning: 'pinned' | 'auto-upgrade';
}

/** What a release is called, to Temporal its build id: as configured, or the package's version and a hash of the workflows. */
export function releaseOf(configured?: string): string {
  if (configured !== undefined) return configured;
  const hash = createHash('sha256').update(readFileSync(workflowBundle().codePath)).digest('hex');
  return `${packageVersion()}-${hash.slice(0, 8)}`;
}

/** What a worker of the host tells Temporal itself, which comes before ours; null for nothing. */
export function releaseOfHost({
  workerDeploymentOptions: options,
  buildId,
}: Pick<WorkerOptions, 'workerDeploymentOptions' | 'buildId'>): {
  release: string;
  deployment: Deployment | undefined;
} | null {
  if (!options) return buildId === undefined ? null : { release: buildId, deployment: undefined };
  const { version, useWorkerVersioning, defaultVersioningBehavior } = options;
  const versioning = defaultVersioningBehavior === 'PINNED' ? 'pinned' : 'auto-upgrade';
  return {
    release: version.buildId,
    deployment: useWorkerVersioning ? { name: version.deploymentName, versioning } : undefined,
  };
}

type DeploymentOptions = Required<Pick<WorkerOptions, 'workerDeploymentOptions'>>;

/**
 * How a worker tells Temporal its release. Without a deployment it takes tasks of every release, and the release is only told.
 */
export function deploymentOptions(deployment: Deployment | undefined, release: string): DeploymentOptions {
  const version = { deploymentName: deployment?.name ?? 'session-chain', buildId: release };
  if (!deployment) return { workerDeploymentOptions: { version, useWorkerVersioning: false } };
  const defaultVersioningBehavior = deployment.versioning === 'pinned' ? 'PINNED' : 'AUTO_UPGRADE';
  return { workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior } };
}

/**
 * The same for the queues that one worker alone polls. They belong to no version: those of stopped workers would be missed in the next
 * one, and Temporal bounds the queues of a version.
 */
export function unversioned({ workerDeploymentOptions }: Pick<WorkerOptions, 'workerDeploymentOptions'>) {
  if (!workerDeploymentOptions) return {};
  const { version } = workerDeploymentOptions;
  return { workerDeploymentOptions: { version, useWorkerVersioning: false as const } };
}
