import type { ProjectId, SessionId } from '../contracts/ids.js';
import { type Pool, queryRows } from '../storage/db/pool.js';

/** What was done to a project on purpose, which the checks have to know. */
export interface KnownFaults {
  /** Sessions whose transcripts were deleted. */
  lost: readonly SessionId[];
  /** Sessions that an older writer made the head by a plain UPDATE. */
  written: readonly SessionId[];
  /** Moves of the head after which a build had to start a fresh session. */
  resetAfter: number;
}

interface Fact {
  seq: number;
  prevSeq: number | null;
  source: string;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  parentSessionId: SessionId | null;
  attemptState: string | null;
  attemptBase: SessionId | null;
  attemptEpoch: number | null;
  resultSession: SessionId | null;
  resultSeq: number | null;
  metrics: number;
  isWhole: boolean;
  isSealed: boolean;
  oldAncestors: SessionId[] | null;
}

/**
 * Looks at everything that a project has left in the database, once nothing works on it any more, and names everything
 * that a guarantee rules out; empty for none.
 */
export async function brokenGuarantees(
  pool: Pool,
  projectId: ProjectId,
  known: KnownFaults,
): Promise<string[]> {
  const facts = await readFacts(pool, projectId);
  return [
    ...brokenLine(facts),
    ...brokenCommits(facts),
    ...brokenForks(facts, known),
    ...lateResets(facts, known),
    ...(await brokenHead(pool, projectId, facts)),
    ...(await leftOpen(pool, projectId)),
  ];
}

/** Each move starts where the one before ended, without a gap. */
function brokenLine(facts: readonly Fact[]): string[] {
  return facts.flatMap(({ seq, prevSeq, oldSessionId, newSessionId }, index) => {
    const before = facts[index - 1];
    return [
      ...(seq === index + 1 ? [] : [`G1: the ${index + 1}th move has the number ${seq}`]),
      ...(oldSessionId === (before?.newSessionId ?? null)
        ? []
        : [`G1: ${seq} does not start where ${seq - 1} ended`]),
      ...(prevSeq === (before?.seq ?? null) ? [] : [`G1: ${seq} follows ${prevSeq ?? 'nothing'}`]),
      ...(facts.some((other) => other.seq < seq && other.newSessionId === newSessionId)
        ? [`G1: ${seq} moves to a session that was head before`]
        : []),
    ];
  });
}

/** Transition, journal and metrics agree. */
function brokenCommits(facts: readonly Fact[]): string[] {
  return facts
    .filter(({ source }) => source !== 'import')
    .flatMap(({ seq, attemptState, resultSession, resultSeq, newSessionId, metrics, isSealed }) => [
      ...(attemptState === 'committed' ? [] : [`G2: the attempt of ${seq} is ${attemptState ?? 'missing'}`]),
      ...(resultSession === newSessionId && resultSeq === seq
        ? []
        : [`G2: the journal tells another result of ${seq}`]),
      ...(metrics === 1 ? [] : [`G10: ${seq} has ${metrics} rows in the ledger`]),
      ...(isSealed ? [] : [`G9: the session of ${seq} takes entries still`]),
    ]);
}

/**
 * A step forks the head; only what had to continue from elsewhere did. What was forked is stored, unless it was
 * deleted.
 */
function brokenForks(facts: readonly Fact[], { lost, written }: KnownFaults): string[] {
  const missing = new Set<SessionId>([...lost, ...written]);
  return facts.flatMap((fact) => {
    const { seq, source, parentSessionId, oldSessionId, newSessionId, oldAncestors, isWhole } = fact;
    const isFork = parentSessionId === oldSessionId;
    const isRightFork =
      source === 'import' || source === 'context_reset'
        ? parentSessionId === null
        : source === 'recovery'
          ? parentSessionId === null || (oldAncestors ?? []).includes(parentSessionId)
          : source === 'chat_plan' || isFork;
    return [
      ...(isRightFork ? [] : [`the ${source} ${seq} forked ${parentSessionId ?? 'nothing'}`]),
      ...(isWhole || missing.has(newSessionId) ? [] : [`G9: the transcript of ${seq} is not whole`]),
      ...(source === 'import' && !written.includes(newSessionId)
        ? [`${seq} adopted a session that no older program wrote`]
        : []),
      ...(source === 'recovery' && oldSessionId !== null && !missing.has(oldSessionId)
        ? [`${seq} recovered from a head that was whole`]
        : []),
    ];
  });
}

/** No build continues from a session that was due for a reset; a recovery is exempt. */
function lateResets(facts: readonly Fact[], { resetAfter }: KnownFaults): string[] {
  let since = 0;
  return facts.flatMap(({ seq, attemptBase, source }) => {
    since = attemptBase === null && source !== 'import' ? 1 : since + 1;
    return source === 'build' && since > resetAfter
      ? [`the build ${seq} is the ${since}th move that went on from another`]
      : [];
  });
}

async function brokenHead(pool: Pool, projectId: ProjectId, facts: readonly Fact[]): Promise<string[]> {
  const last = facts.at(-1);
  const heads = await queryRows<{ head: SessionId | null; seq: number | null; version: SessionId | null }>(
    pool,
    {
      text: `SELECT p.last_ai_session_id AS head, p.session_seq AS seq,
             (SELECT v.ai_session_id FROM project_versions v WHERE v.project_id = p.project_id
              ORDER BY v.created_at DESC LIMIT 1) AS version
           FROM projects p WHERE p.project_id = $1`,
      values: [projectId],
    },
  );
  const [head] = heads;
  return [
    ...(head?.head === last?.newSessionId && head?.seq === last?.seq
      ? []
      : ['G1: the head is not what the last move made it']),
    ...(head?.version === head?.head ? [] : ['the newest version is out of sync']),
  ];
}

/** Nothing works and nothing waits: every chain has ended, every attempt is judged, no step is committed twice. */
async function leftOpen(pool: Pool, projectId: ProjectId): Promise<string[]> {
  const left = await queryRows<{ problem: string }>(pool, {
    text: `
      SELECT 'G8: the chain ' || workflow_id || ' is ' || status AS problem FROM session_chain.chains
        WHERE project_id = $1 AND closed_at IS NULL
      UNION ALL
      SELECT 'G8: an attempt of ' || step || ' is ' || state FROM session_chain.attempts
        WHERE project_id = $1 AND state IN ('running', 'waiting')
      UNION ALL
      SELECT 'G3: ' || build_id || ' has ' || step || ' committed ' || count(*) || ' times' FROM session_chain.attempts
        WHERE project_id = $1 AND state = 'committed' GROUP BY chain, build_id, step, round HAVING count(*) > 1
      UNION ALL
      SELECT 'G3: an attempt of ' || step || ' has ' || count(*) || ' transitions' FROM session_transitions
        WHERE project_id = $1 AND attempt_id IS NOT NULL GROUP BY attempt_id, step HAVING count(*) > 1
      UNION ALL
      SELECT 'G10: an attempt of ' || a.step || ' is not in the ledger' FROM session_chain.attempts a
        LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
        WHERE a.project_id = $1 AND m.attempt_id IS NULL
      UNION ALL
      SELECT 'G10: the cost of an attempt of ' || step || ' is not known' FROM project_ai_session_metrics
        WHERE project_id = $1 AND cost_usd IS NULL`,
    values: [projectId],
  });
  return left.map(({ problem }) => problem);
}

async function readFacts(pool: Pool, projectId: ProjectId): Promise<Fact[]> {
  return await queryRows<Fact>(pool, {
    text: `SELECT t.seq, t.prev_seq AS "prevSeq", t.source, t.old_session_id AS "oldSessionId",
             t.new_session_id AS "newSessionId", t.parent_session_id AS "parentSessionId", a.state AS "attemptState",
             a.base_session_id AS "attemptBase", a.epoch AS "attemptEpoch", a.result ->> 'newSessionId' AS "resultSession",
             (a.result ->> 'seq')::bigint AS "resultSeq",
             (SELECT count(*)::integer FROM project_ai_session_metrics m WHERE m.attempt_id = a.id) AS metrics,
             session_chain.session_fitness($1, t.new_session_id) = 'whole' AS "isWhole",
             EXISTS (SELECT FROM session_chain.sessions s WHERE s.project_id = $1 AND s.session_id = t.new_session_id
               AND s.sealed_at IS NOT NULL) AS "isSealed",
             CASE WHEN t.source = 'recovery' THEN ARRAY(SELECT n.session_id
               FROM session_chain.session_ancestors($1, t.old_session_id) n) END AS "oldAncestors"
           FROM session_transitions t LEFT JOIN session_chain.attempts a ON a.id = t.attempt_id
           WHERE t.project_id = $1 AND t.seq IS NOT NULL ORDER BY t.seq`,
    values: [projectId],
  });
}
