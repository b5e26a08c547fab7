import { type ChainStatus, chainStatuses, isClosed } from '../../contracts/steps.js';
import { type Pool, queryOne } from '../db/pool.js';
import { syncQuery } from '../heads/sync.js';

/** Numbers over all projects, for a monitoring. */
export interface Stats {
  /** Open chains; of the closed ones those that were asked for first within the last day. */
  chains: Record<ChainStatus, number>;
  /** Open chains without progress for {@link stuckAfterMs}, see `stuckForMs` of a list. */
  stuck: Record<OpenStatus, number>;
  queues: {
    /** Chains that wait for another one of their project. */
    chains: Queue;
    /** Questions that no attempt answers yet. */
    questions: Queue;
  };
  /** Ends of chains that the activity of the host (`onEnd`) has not been told of. */
  ends: {
    /** Their first round of calls is to begin, or is under way. */
    waiting: number;
    /** The last round failed, and the next one follows. */
    failed: number;
  };
  /** The share of the projects with a head and a version whose newest version names the head; null where there are none. */
  syncShare: number | null;
  /** The share of the input tokens of the newest 1,000 attempts that came from the prompt cache; null where there are none. */
  cacheReadShare: number | null;
}

export interface Queue {
  length: number;
  /** How long the one that waits longest has waited; 0 where none waits. */
  longestWaitMs: number;
}

export type OpenStatus = (typeof openStatuses)[number];
const openStatuses = ['queued', 'running', 'waiting'] as const satisfies ChainStatus[];

/** Longer than a step is quiet that works. */
export const stuckAfterMs = 1_800_000;

/** One statement, which reads what is open, and of the past a bounded part. */
export async function readStats(pool: Pool): Promise<Stats> {
  const row = await queryOne<{
    chains: Partial<Record<ChainStatus, number>>;
    stuck: Partial<Record<OpenStatus, number>>;
    queuedMs: number;
    questions: number;
    askedMs: number;
    endsWaiting: number;
    endsFailed: number;
    syncShare: number | null;
    cacheReadShare: number | null;
  }>(pool, { name: 'stats', text: statsQuery, values: [[...openStatuses], closedStatuses, stuckAfterMs] });
  return {
    chains: zeros(chainStatuses, row.chains),
    stuck: zeros(openStatuses, row.stuck),
    queues: {
      chains: { length: row.chains.queued ?? 0, longestWaitMs: row.queuedMs },
      questions: { length: row.questions, longestWaitMs: row.askedMs },
    },
    ends: { waiting: row.endsWaiting, failed: row.endsFailed },
    syncShare: row.syncShare,
    cacheReadShare: row.cacheReadShare,
  };
}

const closedStatuses = chainStatuses.filter(isClosed);

const statsQuery = `
  WITH open AS (
    SELECT c.status, c.requested_at, c.progress_at < clock_timestamp() - $3 * interval '1 ms' AS stuck
    FROM session_chain.chain_overview c WHERE c.status = ANY ($1)
  ),
  counts AS (
    SELECT status, count(*) AS chains, count(*) FILTER (WHERE stuck) AS stuck FROM open GROUP BY status
    UNION ALL
    SELECT s.status, n.count, 0 FROM unnest($2::text[]) AS s (status)
    CROSS JOIN LATERAL (SELECT count(*) FROM session_chain.chains c
      WHERE c.status = s.status AND c.created_at > clock_timestamp() - interval '1 day') n
  )
  SELECT (SELECT jsonb_object_agg(status, chains) FROM counts) AS chains,
    (SELECT jsonb_object_agg(status, stuck) FROM counts) AS stuck,
    (SELECT ${age('min(requested_at)')} FROM open WHERE status = 'queued') AS "queuedMs",
    q.count AS questions, q.age AS "askedMs", e.waiting AS "endsWaiting", e.failed AS "endsFailed",
    (SELECT avg((s.sync_status = 'SYNCED')::integer)::float8 FROM (${syncQuery}) s
     WHERE s.project_session IS NOT NULL) AS "syncShare",
    (SELECT (sum(m.cache_read_tokens) / nullif(sum(coalesce(m.input_tokens, 0) + coalesce(m.cache_read_tokens, 0)
       + coalesce(m.cache_write_tokens, 0)), 0))::float8
     FROM (SELECT * FROM project_ai_session_metrics WHERE attempt_id IS NOT NULL ORDER BY attempt_id DESC LIMIT 1000) m
    ) AS "cacheReadShare"
  FROM (SELECT count(*) AS count, ${age('min(l.asked_at)')} AS age FROM project_chat_log_minimal l
    WHERE l.state IN ('asked', 'running') AND l.question_id IS NOT NULL AND l.state = 'asked') q,
    (SELECT count(*) FILTER (WHERE failure IS NULL) AS waiting, count(failure) AS failed
     FROM session_chain.chain_ends WHERE delivered_at IS NULL) e`;

/** Milliseconds since then. */
function age(since: string): string {
  return `coalesce(extract(epoch FROM clock_timestamp() - ${since}) * 1000, 0)::float8`;
}

function zeros<Key extends string>(
  keys: readonly Key[],
  counts: Partial<Record<Key, number>>,
): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, counts[key] ?? 0])) as Record<Key, number>;
}
