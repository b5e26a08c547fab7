-- Removes a recording that was not committed from the journal, so that its session can be recorded later.
CREATE FUNCTION session_chain.forget_recording(p_attempt bigint) RETURNS void
LANGUAGE sql AS $$
  WITH forgotten AS (
    DELETE FROM session_chain.attempts WHERE id = p_attempt AND chain IS NULL AND state = 'running' AND build_id LIKE 'record:%'
    RETURNING project_id, session_id
  )
  DELETE FROM session_chain.sessions s USING forgotten f
  WHERE s.project_id = f.project_id AND s.session_id = f.session_id AND s.batches = 0
$$;
