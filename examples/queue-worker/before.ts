import { query } from '@anthropic-ai/claude-agent-sdk';
import { type Job, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { BuildJob } from './job.js';

// A build worker as many have it: it runs Claude Code itself and keeps the latest session id in three places. Killed
// between two of its lines, it leaves them different; retried, it pays for the finished steps again; two jobs of one
// project fork its memory.

const database = new pg.Pool({ connectionString: process.env['DATABASE_URL'] });
const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://localhost:6379', { maxRetriesPerRequest: null });

const worker = new Worker<BuildJob>(process.env['QUEUE'] ?? 'builds', build, { connection: redis });
console.log('ready');
process.once('SIGTERM', () => void stop());

async function build({ data }: Job<BuildJob>): Promise<void> {
  const { rows } = await database.query<{ session: string | null }>(
    'SELECT last_ai_session_id AS session FROM projects WHERE project_id = $1',
    [data.projectId],
  );
  let session = rows[0]?.session ?? null;
  for (const prompt of [data.instruction, 'Write the docs of this project into docs/.']) {
    session = await runClaude(prompt, data.workspace, session);
    await database.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      data.projectId,
      session,
    ]);
    await database.query('UPDATE project_versions SET ai_session_id = $2 WHERE version_id = $1', [
      data.versionId,
      session,
    ]);
    await redis.set(`claude:session:${data.versionId}`, session);
  }
  await database.query("UPDATE project_versions SET status = 'deployed' WHERE version_id = $1", [
    data.versionId,
  ]);
}

async function runClaude(prompt: string, cwd: string, session: string | null): Promise<string> {
  const options = {
    cwd,
    permissionMode: 'dontAsk' as const,
    allowedTools: ['Read', 'Write', 'Edit', 'Bash'],
    settingSources: [],
    ...(session === null ? {} : { resume: session }),
  };
  for await (const message of query({ prompt, options })) {
    if (message.type !== 'result') continue;
    if (message.subtype !== 'success' || message.is_error)
      throw new Error(`Claude failed: ${message.subtype}`);
    return message.session_id;
  }
  throw new Error('Claude ended without a result.');
}

async function stop(): Promise<void> {
  await worker.close();
  redis.disconnect();
  await database.end();
}
