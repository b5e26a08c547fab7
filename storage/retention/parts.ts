import {
  type ArchivedAttempt,
  type ArchivedBrief,
  type ArchivedMetrics,
  type ArchivedSession,
  type ArchivedTransition,
  type PartLine,
  type PartWritten,
  projectFolder,
} from '../../contracts/archive.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import type { RetentionPolicy } from '../../contracts/retention.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';

/** A file of the archive whose content is chosen. */
export interface PlannedPart {
  id: string;
  projectId: ProjectId;
  /** As `2026-11`, UTC. */
  month: string;
}

/** The next file of the archive to be written of a project, an unfinished one first; null where nothing is due. */
export async function planPart(
  pool: Pool,
  projectId: ProjectId,
  policy: RetentionPolicy,
  location: string,
): Promise<PlannedPart | null> {
  const [part] = await queryRows<PlannedPart>(pool, {
    name: 'plan_part',
    text: `SELECT id::text AS id, project_id AS "projectId", to_char(month, 'YYYY-MM') AS month
           FROM session_chain.plan_part($1, $2, $3, $4)`,
    values: [projectId, jsonbOf(policy), location, projectFolder(projectId)],
  });
  return part ?? null;
}

/**
 * Notes that the file of a part was read back; what it holds may be dropped in time. Throws ARCHIVE_UNAVAILABLE where it is not
 * what the part is to hold any more: another try writes it anew.
 */
export async function verifyPart(
  pool: Pool,
  part: PlannedPart,
  { bytes, sha256, counts }: PartWritten,
): Promise<void> {
  const { outcome } = await queryOne<{ outcome: 'verified' | 'differs' | 'absent' }>(pool, {
    name: 'verify_part',
    text: 'SELECT session_chain.verify_part($1, $2, $3, $4) AS outcome',
    values: [part.id, bytes, sha256, jsonbOf(counts)],
  });
  if (outcome === 'verified') return;
  throw new SessionChainError(
    'ARCHIVE_UNAVAILABLE',
    `The file ${part.id} of the project ${part.projectId} and the month ${part.month} was not taken: ${
      outcome === 'absent'
        ? 'it is no longer wanted'
        : 'what it is to hold changed while it was written, or another worker wrote it'
    }.`,
    'No action needed: the next try looks again, and nothing was dropped.',
  );
}

/** A file of the archive that holds sessions whose transcripts are to be dropped from the database. */
export interface DroppablePart {
  id: string;
  location: string;
  object: string;
  /** What was written and read back. */
  expected: Pick<PartWritten, 'bytes' | 'sha256'>;
}

/** The files of which something is to be dropped; each is to be looked at once more before. */
export async function droppableParts(
  pool: Pool,
  projectId: ProjectId,
  { transcriptsDays, dropDays }: RetentionPolicy,
): Promise<DroppablePart[]> {
  return await queryRows<DroppablePart>(pool, {
    name: 'droppable_parts',
    text: `SELECT p.id::text AS id, p.location, p.object, jsonb_build_object('bytes', p.bytes, 'sha256', p.sha256) AS expected
           FROM session_chain.archive_parts p
           WHERE p.id IN (SELECT d.part FROM session_chain.droppable_sessions($1, $2, $3) d) ORDER BY p.verified_at, p.id`,
    values: [projectId, transcriptsDays, dropDays],
  });
}

/** So many that an append to the project, which has to wait, waits for less than a second; each call looks at all references. */
export const dropsAtOnce = 100;

/**
 * Drops the transcripts of at most `limit` sessions of a file that are due, in one transaction, and says how many and about what
 * they took. Fewer than `limit`: nothing more of it is due.
 */
export async function dropDue(
  pool: Pool,
  projectId: ProjectId,
  { transcriptsDays, dropDays }: RetentionPolicy,
  part: string,
  limit: number,
): Promise<{ sessions: number; bytes: number }> {
  return await queryOne(pool, {
    name: 'drop_sessions',
    text: 'SELECT sessions, bytes FROM session_chain.drop_sessions($1, $2, $3, $4, $5)',
    values: [projectId, transcriptsDays, dropDays, part, limit],
  });
}

/**
 * What the file of a part holds, in the order in which it is written: always the same lines for the same rows. Reads in small
 * statements; of texts only some megabytes are in memory. A session with a hole is left out, and goes into quarantine.
 */
export async function* readPartLines(pool: Pool, part: PlannedPart): AsyncGenerator<PartLine> {
  const written = new Set<number>();
  for await (const { rowId, ...session } of pagesOf<ArchivedSession & { rowId: number }>(
    pool,
    sessions,
    part,
  )) {
    const hole = await holeOf(pool, rowId);
    if (hole) {
      await queryRows(pool, {
        text: 'SELECT session_chain.leave_out_session($1, $2, $3)',
        values: [part.id, rowId, hole],
      });
      continue;
    }
    yield { kind: 'session', ...session };
    yield* appendLines(pool, rowId, session.session_id, written);
  }
  for await (const { rowId: _, ...row } of pagesOf<ArchivedTransition>(pool, transitions, part))
    yield { kind: 'transition', ...row };
  for await (const { rowId: _, ...row } of pagesOf<ArchivedAttempt>(pool, attempts, part))
    yield { kind: 'attempt', ...row };
  for await (const { rowId: _, ...row } of pagesOf<ArchivedMetrics>(pool, metrics, part))
    yield { kind: 'metrics', ...row };
  for await (const { rowId: _, ...row } of pagesOf<ArchivedBrief>(pool, briefs, part))
    yield { kind: 'brief', ...row };
}

/** Rows of one kind, in the order of a number, a page at a time: its statement begins after $2. */
async function* pagesOf<Row>(
  pool: Pool,
  text: string,
  { id }: PlannedPart,
): AsyncGenerator<Row & { rowId: number }> {
  for (let after = 0; ;) {
    const rows = await queryRows<Row & { rowId: number }>(pool, { text, values: [id, after, rowsPerPage] });
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < rowsPerPage) return;
    after = last.rowId;
  }
}

const rowsPerPage = 500;
const idsPerPage = 20_000;
const textsPerPage = 200;
const textBytesPerPage = 4_000_000;

/** The appends of a session, each after the texts that no line gave so far; `written` has their ids. */
async function* appendLines(
  pool: Pool,
  session: number,
  sessionId: SessionId,
  written: Set<number>,
): AsyncGenerator<PartLine> {
  for (let after = 0; ;) {
    const appends = await queryRows<{
      ordinal: number;
      append_id: string;
      subpath: string;
      patch: string | null;
      entries: string[];
      texts: string[];
    }>(pool, {
      name: 'appends_to_archive',
      text: `
        WITH page AS (
          SELECT b.*, sum(cardinality(b.entry_ids)) OVER (ORDER BY b.ordinal) - cardinality(b.entry_ids) AS before
          FROM (SELECT * FROM session_chain.transcript_batches b WHERE b.session = $1 AND b.ordinal > $2
            ORDER BY b.ordinal LIMIT $3) b
        )
        SELECT b.ordinal, b.append_id::text, b.subpath,
          (SELECT encode(t.digest, 'hex') FROM session_chain.transcript_texts t WHERE t.id = b.patch_id) AS patch,
          ARRAY(SELECT encode(t.digest, 'hex') FROM unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
            LEFT JOIN session_chain.transcript_texts t ON t.id = u.id ORDER BY u.n) AS entries,
          (array_remove(ARRAY[b.patch_id], NULL) || b.entry_ids)::text[] AS texts
        FROM page b WHERE b.before < $4 ORDER BY b.ordinal`,
      values: [session, after, rowsPerPage, idsPerPage],
    });
    if (appends.length === 0) return;
    const fresh = [...new Set(appends.flatMap(({ texts }) => texts.map(Number)))].filter(
      (text) => !written.has(text),
    );
    for (const text of fresh) written.add(text);
    yield* textLines(pool, fresh);
    for (const { texts: _, ...append } of appends) yield { kind: 'append', session_id: sessionId, ...append };
    after = appends.at(-1)?.ordinal ?? after;
  }
}

async function* textLines(pool: Pool, ids: number[]): AsyncGenerator<PartLine> {
  for (let done = 0; done < ids.length;) {
    const texts = await queryRows<{ digest: string; content: string }>(pool, {
      name: 'texts_to_archive',
      text: `
        SELECT digest, content FROM (
          SELECT u.n, encode(t.digest, 'hex') AS digest, t.content,
            sum(octet_length(t.content)) OVER (ORDER BY u.n) - octet_length(t.content) AS before
          FROM unnest($1::bigint[]) WITH ORDINALITY AS u (id, n) JOIN session_chain.transcript_texts t ON t.id = u.id) t
        WHERE before < ${textBytesPerPage} ORDER BY n`,
      values: [ids.slice(done, done + textsPerPage).map(String)],
    });
    if (texts.length === 0) throw new Error(`The texts ${ids.slice(done, done + 3).join(', ')} … are gone.`);
    for (const text of texts) yield { kind: 'text', ...text };
    done += texts.length;
  }
}

/** What a session lacks, for people; null for nothing. */
async function holeOf(pool: Pool, session: number): Promise<string | null> {
  const [hole] = await queryRows<{ ordinal: number; index: number }>(pool, {
    name: 'hole_before_archiving',
    text: `SELECT b.ordinal, u.n::integer AS index FROM session_chain.transcript_batches b
           CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
           WHERE b.session = $1 AND NOT EXISTS (SELECT FROM session_chain.transcript_texts t WHERE t.id = u.id) LIMIT 1`,
    values: [session],
  });
  return hole ? `It lacks entry ${hole.index} of its append ${hole.ordinal}, and was not archived.` : null;
}

const time = (column: string) =>
  `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ${column.replace(/^\w+\./, '')}`;

const sessions = `SELECT s.id AS "rowId", s.session_id, s.parent_session_id, ${time('s.created_at')}, ${time('s.appended_at')},
    s.appended_bytes::text, s.batches, s.entries::text, s.messages::text, s.context_tokens::text, ${time('s.sealed_at')},
    ${time('s.quarantined_at')}, s.quarantine_reason, ${time('s.given_up_at')}
  FROM session_chain.sessions s WHERE s.archive_part = $1 AND s.id > $2 ORDER BY s.id LIMIT $3`;

const transitions = `SELECT a.seq AS "rowId", a.id, a.seq::text, a.version_id, a.old_session_id, a.new_session_id, a.source,
    ${time('a.created_at')}, a.parent_session_id, a.step, a.attempt_id::text, a.rewound_to::text, a.host::text
  FROM session_chain.session_transitions_archive a WHERE a.part = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3`;

const attempts = `SELECT a.id AS "rowId", a.id::text, a.session_id, a.base_session_id, a.version_id, a.build_id, a.chain::text,
    a.ticket::text, a.step, a.round, a.role, a.attempt, a.adopts, a.input_digest, a.epoch::text, a.worker, a.state,
    ${time('a.scheduled_at')}, ${time('a.started_at')}, ${time('a.seen_at')}, a.lease_ms, ${time('a.ended_at')},
    a.result::text, a.value::text, a.failure::text, a.evidence::text
  FROM session_chain.attempts a WHERE a.archive_part = $1 AND a.id > $2 ORDER BY a.id LIMIT $3`;

const metricsColumns = [
  ...[
    'id',
    'attempt_id',
    'session_id',
    'project_id',
    'version_id',
    'build_id',
    'step',
    'model',
    'agent_version',
    'outcome',
  ],
  ...[
    'turns',
    'input_tokens',
    'output_tokens',
    'cache_read_tokens',
    'cache_write_tokens',
    'cost_usd',
    'cost_derived',
  ],
  ...['duration_ms', 'api_duration_ms', 'turn_in_flight_unknown', 'usage_by_model', 'created_at'],
];
const metrics = `SELECT m.attempt_id AS "rowId", m.id::text, m.attempt_id::text, m.session_id::text, m.version_id::text,
    m.build_id::text, m.step::text, m.model::text, m.agent_version::text, m.outcome::text, m.turns::integer,
    m.input_tokens::text, m.output_tokens::text, m.cache_read_tokens::text, m.cache_write_tokens::text, m.cost_usd::text,
    m.cost_derived, m.duration_ms::text, m.api_duration_ms::text, m.turn_in_flight_unknown, m.usage_by_model::text,
    ${time('m.created_at')}, (to_jsonb(m) - '{${metricsColumns.join(',')}}'::text[])::text AS host
  FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id
  WHERE a.archive_part = $1 AND a.id > $2 ORDER BY a.id LIMIT $3`;

// A chain has a brief or two.
const briefs = `SELECT n AS "rowId", chain::text, head_session_id, content, parts::text, created_at FROM (
    SELECT row_number() OVER (ORDER BY b.chain, b.head_session_id) AS n, b.chain, b.head_session_id, b.content, b.parts,
      ${time('b.created_at')}
    FROM session_chain.briefs b WHERE b.archive_part = $1) b
  WHERE n > $2 ORDER BY n LIMIT $3`;
