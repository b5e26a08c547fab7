-- Takes a session out of use: no step continues from it.
CREATE FUNCTION session_chain.quarantine_session(p_project text, p_session text, p_reason text) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.sessions SET quarantined_at = clock_timestamp(), quarantine_reason = p_reason
  WHERE project_id = p_project AND session_id = p_session AND quarantined_at IS NULL
$$;
