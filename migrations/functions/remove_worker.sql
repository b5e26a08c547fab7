-- A worker that stops takes its row along.
CREATE FUNCTION session_chain.remove_worker(p_id uuid) RETURNS void
LANGUAGE sql AS $$
  DELETE FROM session_chain.workers WHERE id = p_id
$$;
