import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js';

type History = ReturnType<typeof historyFromJSON>;

const folder = join(import.meta.dirname, '../replay/histories');

/** The histories that are committed, one per shape of a chain, by file name. */
export function recordedHistories(): [name: string, history: History][] {
  return readdirSync(folder).map((file) => [
    file,
    historyFromJSON(JSON.parse(readFileSync(join(folder, file), 'utf8')) as unknown),
  ]);
}

/** The history of a run that just ended. With RECORD_HISTORIES=1 it is written to test/replay/histories, too. */
export async function historyOf(client: Client, workflowId: string, shape: string): Promise<History> {
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  if (process.env['RECORD_HISTORIES']) {
    mkdirSync(folder, { recursive: true });
    // Without what names the machine it was recorded on; a replay reads neither.
    const json: unknown = JSON.parse(historyToJSON(history), (name, value: unknown) =>
      name === 'stackTrace' || name === 'identity' ? '' : value,
    );
    writeFileSync(join(folder, `${shape}.json`), `${JSON.stringify(json, null, 1)}\n`);
  }
  return history;
}
