-- A worker that stops says so; its row is forgotten with the others.
CREATE FUNCTION session_chain.remove_worker(p_id uuid) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.workers SET stopped_at = clock_timestamp() WHERE id = p_id
$$;
