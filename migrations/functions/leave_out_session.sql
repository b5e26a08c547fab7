-- Takes a session out of a planned file of the archive, because it has a hole: it goes into quarantine, where retention leaves it.
CREATE FUNCTION session_chain.leave_out_session(p_part uuid, p_session bigint, p_reason text) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.sessions s SET archive_part = NULL, quarantined_at = coalesce(s.quarantined_at, clock_timestamp()),
    quarantine_reason = coalesce(s.quarantine_reason, p_reason)
  FROM session_chain.archive_parts p
  WHERE p.id = p_part AND p.state = 'planned' AND s.id = p_session AND s.archive_part = p.id
$$;
