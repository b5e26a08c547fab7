import type { ProjectEvent, WatchGap } from '../../contracts/events.js';
import type { ChainId, ProjectId } from '../../contracts/ids.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** What follows an id, in order; with a gap it is empty, and the gap says where to go on. */
export interface EventPage {
  events: ProjectEvent[];
  gap: WatchGap | null;
  /** How far there were events: of a project its newest id, of all the horizon. While that stays there is nothing new. */
  through: number;
}

/**
 * The events of a project, or of one of its chains, after an id: of an event of any project, of a gap, or 0 for the oldest
 * that is kept.
 */
export async function readProjectEvents(
  pool: Pool,
  { projectId, chainId }: { projectId: ProjectId; chainId?: ChainId | undefined },
  after: number,
  limit: number,
): Promise<EventPage> {
  const rows = await queryRows<PageRow>(pool, {
    name: 'project_events',
    text: `WITH kept AS (
             SELECT coalesce((SELECT t.id FROM session_chain.trimmed_events t WHERE t.project_id = $1), 0) AS trimmed,
               (SELECT max(e.id) FROM session_chain.events e WHERE e.project_id = $1) AS newest, ${isKnown('$2')} AS "isKnown"
           )
           SELECT kept.*, ${eventColumns} FROM kept LEFT JOIN LATERAL (
             SELECT * FROM session_chain.events e
             WHERE e.project_id = $1 AND e.id > $2 AND ($3::bigint IS NULL OR e.chain = $3) ORDER BY e.id LIMIT $4) e ON true
           ORDER BY e.id`,
    values: [projectId, after, chainId ?? null, limit],
  });
  return pageOf(rows, after, rows[0]?.newest ?? 0);
}

/**
 * The events of all projects after an id, as far as no event with a lower id can become visible any more. Two statements,
 * the second of which sees what the first has judged; of the primary, for only that knows which transactions run.
 */
export async function readAllEvents(pool: Pool, after: number, limit: number): Promise<EventPage> {
  const horizon = await eventsHorizon(pool);
  const rows = await queryRows<PageRow>(pool, {
    name: 'all_events',
    text: `WITH kept AS (
             SELECT coalesce((SELECT max(t.id) FROM session_chain.trimmed_events t), 0) AS trimmed,
               (SELECT max(e.id) FROM session_chain.events e WHERE e.id < $3) AS newest, ${isKnown('$1')} AS "isKnown"
           )
           SELECT kept.*, ${eventColumns} FROM kept LEFT JOIN LATERAL (
             SELECT * FROM session_chain.events e WHERE e.id > $1 AND e.id < $3 ORDER BY e.id LIMIT $2) e ON true
           ORDER BY e.id`,
    values: [after, limit, horizon],
  });
  return pageOf(rows, after, horizon);
}

/** A project, and how far a page said that it had events. */
export interface EventsSeen {
  projectId: ProjectId;
  through: number;
}

/** A connection that died silently never answers. */
const lookTimeoutMs = 5_000;

/** Those of the projects that have got other events since, in one statement however many. */
export async function projectsWithNews(pool: Pool, seen: readonly EventsSeen[]): Promise<EventsSeen[]> {
  return await queryRows<EventsSeen>(pool, {
    name: 'projects_with_news',
    text: `SELECT w.project_id AS "projectId", w.through FROM unnest($1::text[], $2::bigint[]) w (project_id, through)
           WHERE w.through <> coalesce((SELECT max(e.id) FROM session_chain.events e WHERE e.project_id = w.project_id), 0)`,
    values: [seen.map(({ projectId }) => projectId), seen.map(({ through }) => String(through))],
    query_timeout: lookTimeoutMs,
  });
}

/** The id after which come the events from now on, of a project or of all. */
export async function lastEventId(pool: Pool, projectId: ProjectId | null): Promise<number> {
  const horizon = projectId === null ? await eventsHorizon(pool) : null;
  const { last } = await queryOne<{ last: number }>(pool, {
    name: 'last_event',
    text: `SELECT greatest(
             (SELECT e.id FROM session_chain.events e WHERE e.project_id = $1 ORDER BY e.id DESC LIMIT 1),
             (SELECT max(e.id) FROM session_chain.events e WHERE $1 IS NULL AND e.id < $2),
             (SELECT max(t.id) FROM session_chain.trimmed_events t WHERE t.project_id = coalesce($1, t.project_id)), 0) AS last`,
    values: [projectId, horizon],
  });
  return last;
}

/** The id after which come the events of a chain since it was last started, or of what is kept of them. */
export async function beforeNewestStart(
  pool: Pool,
  { projectId, chainId }: { projectId: ProjectId; chainId: ChainId },
): Promise<number> {
  const { last } = await queryOne<{ last: number }>(pool, {
    name: 'before_newest_start',
    text: `SELECT greatest(
             (SELECT max(b.id) FROM session_chain.events b WHERE b.project_id = $1 AND b.id < (
               SELECT max(e.id) FROM session_chain.events e WHERE e.project_id = $1 AND e.chain = $2 AND e.type = 'chain.queued')),
             (SELECT t.id FROM session_chain.trimmed_events t WHERE t.project_id = $1), 0) AS last`,
    values: [projectId, chainId],
  });
  return last;
}

/** The id after which come the events of a question since it was last asked, or of what is kept of them. */
export async function beforeQuestion(
  pool: Pool,
  { projectId, questionId }: { projectId: ProjectId; questionId: string },
): Promise<number> {
  const { last } = await queryOne<{ last: number }>(pool, {
    name: 'before_question',
    text: `SELECT greatest(
             (SELECT b.id FROM session_chain.events b WHERE b.project_id = $1 AND b.id < (
               SELECT e.id FROM session_chain.events e
               WHERE e.project_id = $1 AND e.type = 'question.asked' AND e.data ->> 'questionId' = $2
               ORDER BY e.id DESC LIMIT 1) ORDER BY b.id DESC LIMIT 1),
             (SELECT t.id FROM session_chain.trimmed_events t WHERE t.project_id = $1), 0) AS last`,
    values: [projectId, questionId],
  });
  return last;
}

/** The id below which no event of any project can become visible any more; events are read in a later statement. */
export async function eventsHorizon(pool: Pool): Promise<number> {
  const { horizon } = await queryOne<{ horizon: number }>(pool, {
    name: 'events_horizon',
    text: 'SELECT session_chain.events_horizon() AS horizon',
    query_timeout: lookTimeoutMs,
  });
  return horizon;
}

/** Ids are never drawn twice, even where the database went back: one that is not there was trimmed, or is of what was lost. */
function isKnown(after: string): string {
  return `(${after} <= coalesce((SELECT max(t.id) FROM session_chain.trimmed_events t), 0)
               OR EXISTS (SELECT FROM session_chain.events e WHERE e.id = ${after}))`;
}

const eventColumns = `e.id, e.project_id AS "projectId", e.version_id AS "versionId", e.build_id AS "buildId",
             e.chain::text AS "chainId", e.type, e.at, e.data`;

type PageRow = { trimmed: number; newest: number | null; isKnown: boolean } & (
  (Omit<ProjectEvent, 'cursor' | 'at'> & { at: Date }) | { id: null }
);

function pageOf(rows: PageRow[], after: number, through: number): EventPage {
  const [{ trimmed, newest, isKnown } = { trimmed: 0, newest: null, isKnown: true }] = rows;
  const gap = (reason: WatchGap['reason'], id: number): EventPage => ({
    events: [],
    through,
    gap: { type: 'gap', cursor: String(id), reason },
  });
  if (after > 0 && after < trimmed) return gap('trimmed', trimmed);
  if (after > 0 && !isKnown) return gap('ahead', Math.max(newest ?? 0, trimmed));
  return {
    gap: null,
    through,
    events: rows.flatMap((row) => (row.id === null ? [] : [eventOf(row)])),
  };
}

function eventOf({
  id,
  at,
  projectId,
  versionId,
  buildId,
  chainId,
  type,
  data,
}: Exclude<PageRow, { id: null }>) {
  const event = {
    type,
    cursor: String(id),
    id,
    at: at.toISOString(),
    projectId,
    versionId,
    buildId,
    chainId,
    data,
  };
  return event as ProjectEvent;
}
