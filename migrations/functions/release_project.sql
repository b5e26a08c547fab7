-- Ends the legal hold of a project; whether there was one.
CREATE FUNCTION session_chain.release_project(p_project text) RETURNS boolean
LANGUAGE sql AS $$
  WITH released AS (
    UPDATE session_chain.project_retention r SET held_at = NULL, held_by = NULL, hold_reason = NULL
    WHERE r.project_id = p_project AND r.held_at IS NOT NULL RETURNING r.project_id
  )
  SELECT EXISTS (SELECT FROM released)
$$;
