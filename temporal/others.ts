import { type Client, WorkflowNotFoundError } from '@temporalio/client';

/** What a worker said that leaves a pending activity of a workflow to workers of another installation; null where none did. */
export async function refusedByOthers(client: Client, workflowId: string): Promise<string | null> {
  const described = await client.workflow
    .getHandle(workflowId)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    });
  const failures = (described?.raw.pendingActivities ?? []).flatMap(({ lastFailure }) => lastFailure ?? []);
  return (
    failures.find(({ applicationFailureInfo }) => applicationFailureInfo?.type === 'OTHER_INSTALLATION')
      ?.message ?? null
  );
}
