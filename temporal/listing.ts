import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { executionInfoFromRaw } from '@temporalio/client/lib/helpers.js';

type RawExecution = Parameters<typeof executionInfoFromRaw>[0];
export interface ListedWorkflow extends Omit<WorkflowExecutionInfo, 'raw' | 'memo'> {
  /** Null where this client cannot read it: it is of another application, with payloads of its own. */
  memo: Record<string, unknown> | null;
}

/**
 * The workflows that match a query, the newest first. A namespace may hold such that this client cannot read, at which its own list
 * would end.
 */
export async function* listWorkflows(
  client: Client,
  query: string,
  { pageSize = 100 } = {},
): AsyncGenerator<ListedWorkflow> {
  const { namespace, loadedDataConverter } = client.options;
  const read = async (raw: RawExecution): Promise<ListedWorkflow> => {
    const { memo = {}, ...info } = await executionInfoFromRaw(raw, loadedDataConverter, null, namespace);
    return { ...info, memo };
  };
  let nextPageToken: Uint8Array | null | undefined;
  do {
    const page = await client.workflowService.listWorkflowExecutions({
      ...{ namespace, query, pageSize },
      ...(nextPageToken ? { nextPageToken } : {}),
    });
    for (const raw of page.executions ?? []) {
      yield await read(raw).catch(async () => ({ ...(await read({ ...raw, memo: null })), memo: null }));
    }
    ({ nextPageToken } = page);
  } while (nextPageToken?.length);
}
