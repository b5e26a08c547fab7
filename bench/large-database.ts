import type { Pool } from '../storage/db/pool.js';

/** A small one shows that what measures it runs, no more. */
export type Size = 'small' | 'full';

const chainsEach = 50;
const steps = 4;

/**
 * Rows as 5,000 projects with 50 chains each leave them: 250,000 chains, and 1,000,000 attempts, sessions, rows of metrics and
 * transitions, over the last 30 days. Of the newest chains some run, wait or are queued, and some have failed. Resolves with
 * the number of projects and of sessions.
 */
export async function makeLargeDatabase(
  pool: Pool,
  size: Size,
): Promise<{ projects: number; sessions: number }> {
  const projects = size === 'small' ? 50 : 5_000;
  const switchTriggers = async (to: 'DISABLE' | 'ENABLE') => {
    for (const table of ['chains', 'attempts'])
      await pool.query(`ALTER TABLE session_chain.${table} ${to} TRIGGER USER`);
    await pool.query(`ALTER TABLE session_transitions ${to} TRIGGER USER`);
  };
  // Their events would take longer than all rows.
  await switchTriggers('DISABLE');
  for (const statement of statementsFor(projects)) await pool.query(statement);
  await switchTriggers('ENABLE');
  await pool.query('VACUUM ANALYZE');
  return { projects, sessions: projects * chainsEach * steps };
}

function statementsFor(projects: number): string[] {
  const chains = projects * chainsEach;

  /** Chain `c` (from 1, the oldest first) is the next one of each project in turn; the seconds between two chains fill 30 days. */
  const project = `'large-' || lpad(((c - 1) % ${projects})::text, 5, '0')`;
  const version = `${project} || '-v' || ((c - 1) / ${projects} + 1)`;
  const startedAt = `now() - (${chains} - c) * interval '1 second' * ${(30 * 86_400) / chains}`;
  /** The newest chains of all are open. */
  const age = `(${chains} - c)`;
  const status = `CASE WHEN ${age} < 20 THEN 'running' WHEN ${age} < 25 THEN 'waiting' WHEN ${age} < 35 THEN 'queued'
  WHEN c % 40 = 0 THEN 'failed' ELSE 'completed' END`;
  const isOpen = `${age} < 35`;
  const code = `(ARRAY['MODEL_REFUSED', 'AGENT_FAILED', 'STEP_TIMED_OUT'])[c / 40 % 3 + 1]`;
  const session = `md5('session' || c || '/' || s)::uuid::text`;
  const before = `md5('session' || CASE WHEN s > 1 THEN c || '/' || (s - 1) ELSE c - ${projects} || '/${steps}' END)::uuid::text`;
  const seq = `((c - 1) / ${projects} * ${steps} + s)`;
  const step = `(ARRAY['build', 'metadata', 'docs', 'compact'])[s]`;
  const every = `generate_series(1, ${chains}) AS c CROSS JOIN generate_series(1, ${steps}) AS s`;
  const endedAt = `${startedAt} + s * interval '20 seconds'`;

  return [
    `INSERT INTO projects (project_id) SELECT ${project} FROM generate_series(1, ${projects}) AS c`,
    `INSERT INTO project_versions (version_id, project_id, status, created_at, ai_session_id)
   SELECT ${version}, ${project}, 'deployed', ${startedAt}, CASE WHEN c % 97 > 0 THEN ${session} END
   FROM generate_series(1, ${chains}) AS c, (SELECT ${steps} AS s) s`,
    `INSERT INTO session_chain.chains (id, project_id, version_id, build_id, run_id, ticket, last_ticket, mode, plan, workspace,
     instruction, status, result, waiting_until, waiting_for, waiting_code, created_at, requested_at, opened_at, closed_at)
   SELECT c, ${project}, ${version}, ${version}, 'run', CASE WHEN ${isOpen} THEN c END, c, 'update',
     '[{"name": "build", "kind": "work", "role": "build"}, {"name": "metadata", "kind": "submission"}, {"name": "docs", "kind": "work"}, {"name": "compact", "kind": "compaction"}]',
     '/srv/' || ${project}, 'Add a search field', ${status},
     CASE WHEN NOT ${isOpen} THEN jsonb_build_object('status', ${status}, 'steps', '[]'::jsonb, 'warnings', '[]'::jsonb, 'failure',
       CASE WHEN c % 40 = 0 THEN jsonb_build_object('code', ${code}, 'message', 'What went wrong.', 'remedy', 'What to do.') END) END,
     CASE WHEN ${status} = 'waiting' THEN now() + interval '5 minutes' END,
     CASE WHEN ${status} = 'waiting' THEN 'MODEL_UNAVAILABLE' END, CASE WHEN ${status} = 'waiting' THEN 'MODEL_UNAVAILABLE' END,
     ${startedAt}, ${startedAt}, CASE WHEN ${status} <> 'queued' THEN ${startedAt} END,
     CASE WHEN NOT ${isOpen} THEN ${startedAt} + interval '80 seconds' END
   FROM generate_series(1, ${chains}) AS c`,
    `INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id, created_at, appended_at)
   SELECT ${project}, ${session}, ${before}, ${startedAt}, ${endedAt} FROM ${every}`,
    `INSERT INTO session_chain.attempts (id, project_id, version_id, build_id, chain, ticket, step, attempt, session_id, base_session_id,
     input_digest, state, scheduled_at, worker, lease_ms, seen_at, started_at, ended_at, result)
   SELECT (c - 1) * ${steps} + s, ${project}, ${version}, ${version}, c, c, ${step}, 1, ${session}, ${before},
     'digest', 'committed', ${startedAt}, 'worker', 60000, ${endedAt}, ${endedAt} - interval '20 seconds', ${endedAt}, '{}'
   FROM ${every}`,
    `INSERT INTO project_ai_session_metrics (session_id, project_id, version_id, build_id, step, attempt_id, outcome, model, agent_version,
     input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, usage_by_model, cost_usd, turns, duration_ms, api_duration_ms, created_at)
   SELECT ${session}, ${project}, ${version}, ${version}, ${step}, (c - 1) * ${steps} + s, 'committed', 'model', '1', 100, 500, 20000, 1000,
     '{"model": {"inputTokens": 100, "outputTokens": 500, "cacheReadTokens": 20000, "cacheWriteTokens": 1000, "costUsd": 0.05}}',
     CASE WHEN c % 500 > 0 THEN 0.05 END, 5, 20000, 15000, ${endedAt} FROM ${every}`,
    `INSERT INTO session_transitions (project_id, version_id, old_session_id, new_session_id, source, created_at, seq, prev_seq,
     parent_session_id, step, attempt_id)
   SELECT ${project}, ${version}, CASE WHEN ${seq} > 1 THEN ${before} END, ${session}, ${step}, ${endedAt}, ${seq}, nullif(${seq} - 1, 0),
     ${before}, ${step}, (c - 1) * ${steps} + s FROM ${every}`,
    `UPDATE projects p SET last_ai_session_id = new.session, last_ai_session_updated_at = new.moved_at, session_seq = new.seq
   FROM (SELECT ${project} AS id, ${session} AS session, ${endedAt} AS moved_at, ${seq} AS seq
     FROM generate_series(${chains - projects + 1}, ${chains}) AS c, (SELECT ${steps} AS s) s) new WHERE p.project_id = new.id`,
    `UPDATE session_chain.attempts a SET state = 'running', result = NULL, ended_at = NULL, seen_at = now() + interval '1 hour'
   FROM session_chain.chains c WHERE a.chain = c.id AND c.status = 'running' AND a.step = 'compact'`,
  ];
}
