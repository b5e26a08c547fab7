import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import pg from 'pg';
import type { ActivityStepInput } from 'session-chain/config';

// The host's own worker: it knows nothing of session-chain but the shape of the call.

const database = new pg.Pool({ connectionString: process.env['DATABASE_URL'] });
const releases = process.env['RELEASES'] ?? '/srv/releases';
const connection = await NativeConnection.connect({
  address: process.env['TEMPORAL_ADDRESS'] ?? 'localhost:7233',
});
const worker = await Worker.create({
  connection,
  taskQueue: process.env['DEPLOY_TASK_QUEUE'] ?? 'deploy',
  activities: { deployVersion },
});
await worker.run();
await connection.close();
await database.end();

/** Copies the project to the releases. Called at least once for a chain: the key tells a repeated call. */
async function deployVersion({ key, versionId, workspace }: ActivityStepInput): Promise<string> {
  const { rows } = await database.query<{ path: string }>('SELECT path FROM deployments WHERE key = $1', [
    key,
  ]);
  if (rows[0]) return rows[0].path;
  const path = join(releases, versionId);
  const incoming = `${path}.${key}`;
  // What a killed call left is made anew, and a release is there whole or not at all.
  await rm(incoming, { recursive: true, force: true });
  await cp(workspace, incoming, { recursive: true });
  await rm(path, { recursive: true, force: true });
  await rename(incoming, path);
  await database.query(
    'INSERT INTO deployments (key, version_id, path) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [key, versionId, path],
  );
  return path;
}
