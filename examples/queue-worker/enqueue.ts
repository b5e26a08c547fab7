import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { BuildJob } from './job.js';

// The API's side, the same before and after: a version is asked for, its row is committed, then the job is added.
//   node enqueue.js <project> <version> <workspace> <instruction>

const [projectId = '', versionId = '', workspace = '', instruction = ''] = process.argv.slice(2);
const database = new pg.Client(process.env['DATABASE_URL']);
const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://localhost:6379', { maxRetriesPerRequest: null });
const queue = new Queue<BuildJob>(process.env['QUEUE'] ?? 'builds', { connection: redis });

await database.connect();
await database.query('BEGIN');
await database.query('INSERT INTO projects (project_id) VALUES ($1) ON CONFLICT DO NOTHING', [projectId]);
await database.query(
  'INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
  [versionId, projectId],
);
await database.query('COMMIT');

// Only now: a worker that was quicker than the commit would find no version. The job id makes a second click one job.
await queue.add(
  'build',
  { projectId, versionId, workspace, instruction },
  { jobId: versionId, attempts: 10, backoff: { type: 'exponential', delay: 1_000 } },
);

await queue.close();
redis.disconnect();
await database.end();
