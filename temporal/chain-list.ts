import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { listWorkflows } from './listing.js';
import { workflowTypes } from './names.js';

/** A run of a chain, as Temporal lists it. */
export interface ListedRun {
  workflowId: string;
  runId: string;
  /** As Temporal calls it, such as RUNNING or COMPLETED. */
  status: string;
  startedAt: Date;
  /** Empty where it cannot be read, which then is of another installation. */
  memo: Record<string, unknown>;
}

/** Every run of a chain that Temporal lists, of one project or of all, whatever search attributes there are. */
export async function* listChainRuns(client: Client, projectId: string | null): AsyncGenerator<ListedRun> {
  const prefix = projectId === null ? 'chain/' : `chain/${projectId}/`;
  const ofProject = projectId === null ? '' : ` AND WorkflowId STARTS_WITH '${prefix}'`;
  const query = `WorkflowType = '${workflowTypes.chain}'${ofProject}`;
  for await (const run of listWorkflows(client, query)) {
    // A search may take no notice of case.
    if (!run.workflowId.startsWith(prefix)) continue;
    const { workflowId, runId, status, startTime: startedAt, memo } = run;
    yield { workflowId, runId, status: status.name, startedAt, memo: memo ?? {} };
  }
}

/** Ends a run of which the database knows nothing. */
export async function terminateUnknown(
  client: Client,
  { workflowId, runId }: Pick<ListedRun, 'workflowId' | 'runId'>,
): Promise<void> {
  await client.workflow
    .getHandle(workflowId, runId)
    .terminate('The database does not know this chain.')
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    });
}
