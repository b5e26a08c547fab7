import type { ProjectId } from '../../contracts/ids.js';
import type { ProjectRetained, RetentionPolicy } from '../../contracts/retention.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';
import { jsonbOf } from '../jsonb.js';

/**
 * The next projects, in the order of their ids, of which something may be due: a look at indexes that is made for each
 * project, so that one may be listed for a session that turns out to be needed.
 */
export async function dueProjects(
  pool: Pool,
  policy: RetentionPolicy,
  after: ProjectId | null,
  limit: number,
): Promise<ProjectId[]> {
  const rows = await queryRows<{ projectId: ProjectId }>(pool, {
    // Without a name, so that it is planned for where it begins.
    text: `
      WITH since AS MATERIALIZED (
        SELECT clock_timestamp() - make_interval(days => ($1::jsonb ->> 'transitionsDays')::integer) AS transitions,
          clock_timestamp() - make_interval(days => ($1::jsonb ->> 'transcriptsDays')::integer) AS transcripts,
          clock_timestamp() - make_interval(days => ($1::jsonb ->> 'dropDays')::integer) AS dropped,
          clock_timestamp() - make_interval(days => ($1::jsonb ->> 'detailsDays')::integer) AS details,
          ($1::jsonb ->> 'hostTables')::boolean OR i.owns_host_tables AS may_take,
          $1::jsonb ->> 'archive' IS NOT NULL AS has_archive
        FROM session_chain.installation i
      )
      SELECT p.project_id::text AS "projectId" FROM projects p CROSS JOIN since
      CROSS JOIN LATERAL (SELECT p.project_id::text AS id) k
      WHERE ${after === null ? '$2::text IS NULL' : 'p.project_id > session_chain.project_key($2)'} AND (
        -- The first one that is kept has no link.
        (since.may_take AND EXISTS (SELECT FROM session_transitions t
          WHERE t.project_id = session_chain.transition_project_key(k.id) AND t.seq IS NOT NULL AND t.prev_seq IS NULL
            AND t.created_at < since.transitions AND t.seq < p.session_seq))
        OR (since.has_archive AND (
          EXISTS (SELECT FROM session_chain.archive_parts a WHERE a.project_id = k.id AND (
            a.state = 'planned' OR (a.rolled_up_at IS NULL AND since.may_take)))
          -- Versions keep theirs for ever: compared as sets, because nothing says that a host has an index on them.
          OR EXISTS (SELECT s.session_id FROM session_chain.sessions s
            WHERE s.project_id = k.id AND s.archive_part IS NULL AND s.quarantined_at IS NULL AND s.batches > 0
              AND s.created_at < since.transcripts AND greatest(s.created_at, s.appended_at, s.restored_at) < since.transcripts
              AND s.session_id IS DISTINCT FROM p.last_ai_session_id
            EXCEPT SELECT v.ai_session_id::text FROM project_versions v WHERE v.project_id = p.project_id)
          OR EXISTS (SELECT FROM session_chain.sessions s JOIN session_chain.archive_parts a ON a.id = s.archive_part
            WHERE s.project_id = k.id AND s.dropped_at IS NULL AND a.verified_at < since.dropped
              AND coalesce(s.restored_at < since.transcripts, true))
          OR EXISTS (SELECT FROM session_chain.session_transitions_archive a
            WHERE a.project_id = k.id AND a.part IS NULL AND a.created_at < date_trunc('month', since.transitions, 'UTC'))
          OR (since.may_take AND EXISTS (SELECT FROM session_chain.attempts a LEFT JOIN session_chain.chains c ON c.id = a.chain
            WHERE a.project_id = k.id AND a.archive_part IS NULL AND a.ended_at < since.details
              AND (a.chain IS NULL OR c.closed_at < since.details)
              AND EXISTS (SELECT FROM project_ai_session_metrics m WHERE m.attempt_id = a.id))))))
      ORDER BY p.project_id LIMIT $3`,
    values: [jsonbOf(policy), after, limit],
  });
  return rows.map(({ projectId }) => projectId);
}

/** What a run would do for a project, and why it would do less than the policy says: the same selection, writing nothing. */
export async function dryRunOf(
  pool: Pool,
  projectId: ProjectId,
  policy: RetentionPolicy,
): Promise<
  Pick<
    ProjectRetained,
    'transitions' | 'archivedSessions' | 'droppedSessions' | 'freedBytes' | 'details' | 'leftAlone'
  >
> {
  return await queryOne(pool, {
    text: `
      WITH policy AS (
        SELECT p.*, p."hostTables" OR i.owns_host_tables AS may_take, p.archive IS NOT NULL AS has_archive
        FROM jsonb_to_record($2::jsonb) AS p ("transitionsDays" integer, "transcriptsDays" integer, "dropDays" integer,
          "detailsDays" integer, "hostTables" boolean, archive text)
        CROSS JOIN session_chain.installation i
      ), due AS MATERIALIZED (
        SELECT session_chain.why_left_alone($1) AS why,
          (SELECT count(*) FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key($1)
            AND t.seq <= session_chain.last_due_transition($1, p."transitionsDays"))::integer AS transitions,
          (SELECT count(*) FROM session_chain.due_sessions($1, p."transcriptsDays"))::integer AS sessions,
          (SELECT count(*) FROM session_chain.sessions s JOIN session_chain.archive_parts a ON a.id = s.archive_part
            WHERE s.project_id = $1 AND a.state = 'planned')::integer AS planned,
          ARRAY(SELECT d.id FROM session_chain.droppable_sessions($1, p."transcriptsDays", p."dropDays") d) AS dropped,
          (SELECT count(*) FROM session_chain.due_details($1, p."detailsDays", true))::integer AS details, p.may_take, p.has_archive
        FROM policy p
      )
      SELECT CASE WHEN d.why IS NULL AND d.may_take THEN d.transitions ELSE 0 END AS transitions,
        CASE WHEN d.why IS NULL AND d.has_archive THEN d.sessions + d.planned ELSE 0 END AS "archivedSessions",
        CASE WHEN d.why IS NULL AND d.has_archive THEN cardinality(d.dropped) ELSE 0 END AS "droppedSessions",
        CASE WHEN d.why IS NULL AND d.has_archive AND d.dropped <> '{}' THEN (
          SELECT coalesce(sum(pg_column_size(t.content)), 0) FROM session_chain.texts_of_none_but($1, d.dropped) AS own (id)
          JOIN session_chain.transcript_texts t ON t.id = own.id) ELSE 0 END::bigint AS "freedBytes",
        CASE WHEN d.why IS NULL AND d.has_archive AND d.may_take THEN d.details ELSE 0 END AS details,
        CASE WHEN d.why IS NOT NULL THEN d.why
             WHEN NOT d.may_take AND d.transitions + d.details > 0 THEN 'host_tables'
             WHEN NOT d.has_archive AND d.sessions + d.details > 0 THEN 'no_archive' END AS "leftAlone"
      FROM due d`,
    values: [projectId, jsonbOf(policy)],
  });
}
