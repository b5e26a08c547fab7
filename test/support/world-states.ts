import { randomUUID } from 'node:crypto';
import { parseRecordRequest } from '../../client/record-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { type FailureCode, failureOfCode } from '../../contracts/failures.js';
import {
  type ChainKey,
  type SessionId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { closeChain } from '../../storage/chains/chains.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import type { Pool } from '../../storage/db/pool.js';
import { quarantineSession } from '../../storage/operations/operations.js';
import { recordSession } from '../../storage/operations/record.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import {
  type OpenedChain,
  begin,
  beginWithTranscript,
  openNew,
  register,
  runStep,
  shippedStatus,
} from './chains.js';

/** Projects in states that a chain comes to only when something went wrong, and many small ones: made by the storage functions. */

export const keyOf = (projectId: string, version = 'v1'): ChainKey => ({
  projectId: parseProjectId(projectId),
  versionId: parseVersionId(`${projectId}-${version}`),
  buildId: parseBuildId(`${projectId}-${version}`),
});

/** Closes a chain as its workflow would. */
async function close(
  pool: Pool,
  chain: OpenedChain,
  status: ChainResult['status'] = 'completed',
  code?: FailureCode,
): Promise<void> {
  const state = await readChainState(pool, chain);
  const result = { ...state, status, ...(code ? { failure: failureOfCode(code) } : {}) } as ChainResult;
  const { ticket, runId } = chain;
  await closeChain(pool, chain, { ticket, runId, result, versionStatus: shippedStatus });
}

/** A project whose chain ran these steps and is closed. */
async function built(pool: Pool, key: ChainKey, ...steps: StepName[]): Promise<OpenedChain> {
  const chain = await openNew(pool, key);
  for (const step of steps) await runStep(pool, chain, step);
  await close(pool, chain);
  return chain;
}

async function loseTranscript(pool: Pool, projectId: string, sessionId: string): Promise<void> {
  await pool.query(
    `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
     WHERE s.id = b.session AND s.project_id = $1 AND s.session_id = $2`,
    [projectId, sessionId],
  );
}

/** A head moved by an old writer, a version that no chain opened, lost, quarantined and holed sessions, a fenced attempt, an empty project. */
export async function makeBrokenProjects(pool: Pool): Promise<void> {
  // As on a host's database, where old writers may still move heads.
  await pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
  await Promise.all([
    (async () => {
      const { projectId } = await built(pool, keyOf('moved-outside'), 'build');
      await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
        projectId,
        randomUUID(),
      ]);
    })(),
    (async () => {
      await built(pool, keyOf('not-opened'), 'build');
      await register(pool, keyOf('not-opened', 'v2'));
    })(),
    (async () => {
      const { projectId, head } = await built(pool, keyOf('lost-head'), 'build', 'metadata', 'docs');
      await loseTranscript(pool, projectId, head ?? '');
    })(),
    (async () => {
      const request = { projectId: 'never-stored', source: 'build', notInStore: true } as const;
      await register(pool, keyOf('never-stored'));
      await recordSession(pool, parseRecordRequest({ ...request, sessionId: randomUUID() }));
    })(),
    (async () => {
      const { projectId, head } = await built(pool, keyOf('quarantined'), 'build', 'docs');
      await quarantineSession(
        pool,
        projectId,
        head as SessionId,
        'An entry follows one that is not in the store.',
      );
    })(),
    (async () => {
      const { projectId, head } = await built(pool, keyOf('with-hole'), 'build', 'docs');
      await storeConversation(pool, projectId, head ?? '', 4);
      await pool.query(
        `UPDATE session_chain.transcript_batches b SET entry_ids = b.entry_ids[2:] FROM session_chain.sessions s
         WHERE s.id = b.session AND b.ordinal = 2 AND s.project_id = $1 AND s.session_id = $2`,
        [projectId, head],
      );
    })(),
    (async () => {
      const chain = await openNew(pool, keyOf('fenced'));
      await runStep(pool, chain, 'build');
      await beginWithTranscript(pool, chain, 'metadata');
      // The second try of the step stops the first one.
      await begin(pool, chain, 'metadata');
      await runStep(pool, chain, 'metadata');
      await close(pool, chain);
    })(),
    pool.query(`INSERT INTO projects (project_id) VALUES ('empty')`),
  ]);
}

/** Appends a plain conversation to a session that is not sealed any more. */
async function storeConversation(
  pool: Pool,
  projectId: ChainKey['projectId'],
  sessionId: string,
  turns: number,
): Promise<void> {
  await pool.query('UPDATE session_chain.sessions SET sealed_at = NULL WHERE session_id = $1', [sessionId]);
  const store = createTranscriptStore({ pool, projectId });
  let parentUuid: string | null = null;
  const entries = [];
  for (let turn = 0; turn < turns; turn++) {
    for (const role of ['user', 'assistant'] as const) {
      const uuid = randomUUID();
      const content = [{ type: 'text', text: `Turn ${turn + 1} of the ${role}.` }];
      entries.push({ type: role, uuid, parentUuid, sessionId, message: { role, content } });
      parentUuid = uuid;
    }
  }
  await store.append({ projectKey: 'any', sessionId }, entries);
}

const endings: [every: number, status: ChainResult['status'], code: FailureCode][] = [
  [9, 'failed', 'MODEL_REFUSED'],
  [14, 'failed', 'STEP_TIMED_OUT'],
  [17, 'cancelled', 'CANCELLED'],
  [23, 'budget_exceeded', 'BUDGET_EXCEEDED'],
];

/** So many projects `small-001`, … with a chain each, over the last thirty days; some failed. */
export async function makeSmallProjects(pool: Pool, count: number): Promise<void> {
  const make = async (n: number) => {
    const chain = await openNew(pool, keyOf(`small-${String(n).padStart(3, '0')}`));
    const [, status, code] = endings.find(([every]) => n % every === 0) ?? [0, 'completed' as const];
    await runStep(pool, chain, 'build');
    if (status === 'completed') await runStep(pool, chain, 'docs');
    await close(pool, chain, status, code);
  };
  let next = 1;
  const work = async () => {
    while (next <= count) await make(next++);
  };
  await Promise.all(Array.from({ length: 8 }, work));
  await spread(pool, 'small-%', 30);
}

/** A project `long-line` of so many builds, each with up to four moves of the head. */
export async function makeLongLine(pool: Pool, builds: number): Promise<void> {
  for (let n = 1; n <= builds; n++) {
    const steps: StepName[] = n % 3 === 0 ? ['build'] : ['build', 'metadata', 'docs', 'compact'];
    await built(pool, keyOf('long-line', `v${n}`), ...steps);
  }
  await spread(pool, 'long-line', 60);
}

/** Spreads what happened just now evenly over the last days, in its order, and makes its times and figures those of a real agent. */
async function spread(pool: Pool, projects: string, days: number): Promise<void> {
  await pool.query(
    `WITH chain AS (
       SELECT c.id, c.project_id, c.version_id,
         now() - interval '30 min' - ($2 * interval '1 day') * (1 - row_number() OVER (ORDER BY c.id)::float8 / count(*) OVER ()) AS at
       FROM session_chain.chains c WHERE c.project_id LIKE $1),
     attempt AS (
       SELECT a.id, a.session_id, c.id AS chain, c.at + interval '4 min' * (row_number() OVER (PARTITION BY c.id ORDER BY a.id) - 1) AS at,
         a.id % 7 AS dice
       FROM chain c JOIN session_chain.attempts a ON a.chain = c.id),
     chains AS (
       UPDATE session_chain.chains t SET created_at = c.at, requested_at = c.at, opened_at = c.at,
         closed_at = c.at + interval '4 min' * (SELECT count(*) FROM attempt a WHERE a.chain = c.id)
       FROM chain c WHERE t.id = c.id),
     versions AS (
       UPDATE project_versions t SET created_at = c.at FROM chain c WHERE t.version_id = c.version_id),
     attempts AS (
       UPDATE session_chain.attempts t SET scheduled_at = a.at, started_at = a.at,
         seen_at = a.at + interval '3 min', ended_at = a.at + interval '3 min'
       FROM attempt a WHERE t.id = a.id),
     sessions AS (
       UPDATE session_chain.sessions t SET created_at = a.at, appended_at = a.at + interval '3 min'
       FROM attempt a WHERE t.session_id = a.session_id),
     transitions AS (
       UPDATE session_transitions t SET created_at = a.at + interval '3 min' FROM attempt a WHERE t.attempt_id = a.id),
     usage AS (
       SELECT a.id, a.at, (ARRAY['claude-sonnet-4-5', 'claude-haiku-4-5', 'claude-opus-4-1'])[1 + a.dice % 3] AS model,
         0.03 + 0.045 * a.dice AS cost, 900 * (1 + a.dice) AS output, 40000 + 9000 * a.dice AS read, 3000 * (1 + a.dice) AS write
       FROM attempt a)
     UPDATE project_ai_session_metrics t SET created_at = u.at + interval '3 min', model = u.model, cost_usd = u.cost, turns = 3 + u.output / 900,
       input_tokens = 24, output_tokens = u.output, cache_read_tokens = u.read, cache_write_tokens = u.write,
       duration_ms = 180000, api_duration_ms = 95000,
       usage_by_model = jsonb_build_object(u.model, jsonb_build_object('inputTokens', 24, 'outputTokens', u.output,
         'cacheReadTokens', u.read, 'cacheWriteTokens', u.write, 'costUsd', u.cost))
     FROM usage u WHERE t.attempt_id = u.id`,
    [projects, days],
  );
}
