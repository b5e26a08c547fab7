-- Ends attempts that were left running: their sessions take no further entry.
CREATE FUNCTION session_chain.end_attempts(p_attempts bigint[]) RETURNS void
LANGUAGE sql AS $$
  WITH ended AS (
    UPDATE session_chain.attempts a
    SET state = 'failed', ended_at = clock_timestamp(),
      failure = coalesce(a.failure, '{"code": "WORKER_LOST", "message": "The attempt was not seen to end."}')
    WHERE a.id = ANY (p_attempts) AND a.state IN ('running', 'waiting')
    RETURNING a.project_id, a.session_id
  )
  UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
  FROM ended e WHERE s.project_id = e.project_id AND s.session_id = e.session_id AND s.sealed_at IS NULL;
$$;
