-- Locks a project's row until the end of the transaction, for a caller that may not write to it.
CREATE FUNCTION session_chain.lock_project(p_project text) RETURNS void
LANGUAGE sql AS $$
  SELECT FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE
$$;
