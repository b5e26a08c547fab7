-- The chain that holds a project; no row while none does.
CREATE FUNCTION session_chain.holder_of(p_project text) RETURNS SETOF session_chain.chains
LANGUAGE sql STABLE ROWS 1 AS $$
  SELECT * FROM session_chain.chains c WHERE c.project_id = p_project AND c.status IN ('running', 'waiting')
$$;
