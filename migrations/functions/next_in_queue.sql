-- The chain that may take a project; no row while one holds it or none is queued.
CREATE FUNCTION session_chain.next_in_queue(p_project text) RETURNS TABLE (workflow_id text, run_id text, home text)
LANGUAGE sql STABLE AS $$
  SELECT c.workflow_id, c.run_id, c.home FROM session_chain.chains c
  WHERE c.project_id = p_project AND c.closed_at IS NULL AND c.ticket IS NOT NULL
    AND NOT EXISTS (SELECT FROM session_chain.holder_of(p_project))
  ORDER BY c.ticket LIMIT 1
$$;
