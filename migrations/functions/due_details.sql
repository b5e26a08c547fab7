-- Details of a project that may be archived and dropped: of attempts that ended longer ago than p_days, in a chain that has
-- been closed for as long or outside chains, what they spent (kind attempt, id of the attempt); of such chains the briefs
-- (kind brief, id of the chain, once for each). `at` says to which month they belong. An attempt that has not accounted for itself is not due.
-- None where the host created its tables, unless p_host_tables lets rows of them be deleted.
CREATE FUNCTION session_chain.due_details(p_project text, p_days integer, p_host_tables boolean)
RETURNS TABLE (kind text, id bigint, at timestamptz)
LANGUAGE sql STABLE AS $$
  WITH old AS (SELECT clock_timestamp() - p_days * interval '1 day' AS at
    FROM session_chain.installation i WHERE i.owns_host_tables OR p_host_tables)
  SELECT 'attempt', a.id, a.ended_at FROM old
  JOIN session_chain.attempts a ON a.project_id = p_project AND a.archive_part IS NULL AND a.ended_at < old.at
  LEFT JOIN session_chain.chains c ON c.id = a.chain
  WHERE (a.chain IS NULL OR c.closed_at < old.at)
    AND EXISTS (SELECT FROM project_ai_session_metrics m WHERE m.attempt_id = a.id)
  UNION ALL
  SELECT 'brief', c.id, c.closed_at FROM old
  JOIN session_chain.chains c ON c.project_id = p_project AND c.closed_at < old.at
  JOIN session_chain.briefs b ON b.chain = c.id AND b.archive_part IS NULL
$$;
