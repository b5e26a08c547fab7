import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { packageVersion } from '../../config/package-version.js';

type History = ReturnType<typeof historyFromJSON>;

/** A folder per release. */
const folder = join(import.meta.dirname, '../replay/histories');

/** The releases whose histories are committed: those that are out, and the next one. */
export const recordedReleases = () => readdirSync(folder);

/** The histories that are committed, one per release and shape of a chain, by `<version>/<shape>.json`. */
export function recordedHistories(): [name: string, history: History][] {
  return recordedReleases()
    .flatMap((version) => readdirSync(join(folder, version)).map((file) => join(version, file)))
    .map((file) => [file, historyFromJSON(JSON.parse(readFileSync(join(folder, file), 'utf8')) as unknown)]);
}

/** The history of a run that just ended. With RECORD_HISTORIES=1 it is also written to the folder of this version. */
export async function historyOf(client: Client, workflowId: string, shape: string): Promise<History> {
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  if (process.env['RECORD_HISTORIES']) {
    const own = join(folder, packageVersion());
    mkdirSync(own, { recursive: true });
    // Without what names the machine it was recorded on; a replay reads neither.
    const json: unknown = JSON.parse(historyToJSON(history), (name, value: unknown) =>
      name === 'stackTrace' || name === 'identity' ? '' : value,
    );
    writeFileSync(join(own, `${shape}.json`), `${JSON.stringify(json, null, 1)}\n`);
  }
  return history;
}
