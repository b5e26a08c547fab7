import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { SessionChainError, createSessionChain, isRetryable } from 'session-chain/client';

// Starts the chain of every request, once. Any number may run: each takes a request that no other one holds. A relay that
// dies between the start and its commit leaves the row open; the next one starts the same chain, which has begun already.

interface BuildRequest {
  id: string;
  project_id: string;
  version_id: string;
  workspace: string;
  instruction: string;
}

// The oldest of its project, so that versions are started in the order in which they were asked for.
const nextRequest = `
  SELECT id, project_id, version_id, workspace, instruction FROM build_requests r
  WHERE started_at IS NULL AND failure IS NULL AND NOT EXISTS (
    SELECT FROM build_requests older
    WHERE older.project_id = r.project_id AND older.id < r.id AND older.started_at IS NULL AND older.failure IS NULL
  )
  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`;

const databaseUrl = process.env['DATABASE_URL'] ?? 'postgres://localhost/app';
const database = new pg.Pool({ connectionString: databaseUrl });
const sessionChain = createSessionChain({
  databaseUrl,
  temporal: { address: process.env['TEMPORAL_ADDRESS'] ?? 'localhost:7233' },
  taskQueue: process.env['SESSION_CHAIN_TASK_QUEUE'] ?? 'session-chain',
});

const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
while (!stopping.signal.aborted) {
  const relayed = await relayOne().catch((error: unknown) => {
    console.error('Trying again:', error);
    return false;
  });
  if (!relayed) await sleep(500, undefined, { signal: stopping.signal }).catch(() => undefined);
}
await sessionChain.close();
await database.end();

/** False when there is nothing to do. */
async function relayOne(): Promise<boolean> {
  const client = await database.connect();
  try {
    await client.query('BEGIN');
    const { rows } = await client.query<BuildRequest>(nextRequest);
    const [request] = rows;
    if (request) await startAndMark(client, request);
    await client.query('COMMIT');
    return request !== undefined;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

async function startAndMark(client: pg.PoolClient, request: BuildRequest): Promise<void> {
  const { id, project_id, version_id, workspace, instruction } = request;
  try {
    const started = await sessionChain.start({
      projectId: project_id,
      versionId: version_id,
      workspace,
      instruction,
    });
    await client.query('UPDATE build_requests SET started_at = now() WHERE id = $1', [id]);
    console.log(`${started.workflowId} ${started.alreadyStarted ? 'had begun' : 'started'}`);
  } catch (error) {
    if (!(error instanceof SessionChainError) || isRetryable(error.code)) throw error;
    await client.query('UPDATE build_requests SET failure = $2 WHERE id = $1', [
      id,
      `${error.code}: ${error.message} ${error.remedy}`,
    ]);
  }
}
